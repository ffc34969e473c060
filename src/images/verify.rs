//! What `verify` asks of an image, looked at before the engine gets anything of it.
//!
//! An archive is read as a whole once, for its digest. What is loaded afterwards is bound to that: an object in S3 by its
//! entity tag, each layer by its digest, and a compressed archive by its digest as it is sent.

use std::path::Path;

use aws_lc_rs::digest;
use serde::Deserialize;
use sha2::Digest as _;

use crate::aws::scan::Findings;
use crate::config::verify::{Checksum, Key, KeyPlace, Verify};
use crate::error::{Failure, Kind, ObserveFailure};
use crate::images::archive::ReadAt as _;
use crate::images::cosign::{self, Unverified};
use crate::images::credentials::CredentialSettings;
use crate::images::kms_key;
use crate::images::registry::{self, Repository};
use crate::images::scan;
use crate::images::source::Archive;
use crate::inputs;
use crate::values::public_key::{Detached, LIMIT, PublicKey};
use crate::values::reference::ImageReference;
use crate::values::text::{printable, shorten};
use crate::values::types::{ContentDigest, Refused};

use futures_util::StreamExt as _;

/// What a person may do.
const NEXT: &str = "nothing of it was loaded: deploy what was built and signed, or correct `verify`";

/// Looks at the bytes of an archive; returns their digest.
/// Errors: [`Kind::Image`]: they are others, or cannot be read.
pub(crate) async fn archive(verify: &Verify, archive: &Archive, bundle: &Path) -> Result<ContentDigest, Failure> {
    let name = archive.name();
    let wanted = verify.sha256.as_ref().map(|sum| checksum(sum, &name, bundle)).transpose()?;
    let signature = match &verify.signature {
        Some(signature) => {
            Some((signature, read(&signature.file, bundle, Detached::parse)?, key(&signature.key, bundle)?))
        }
        None => None,
    };
    let mut minisign = match &signature {
        Some((written, Detached::Minisign(signature), PublicKey::Minisign(key))) => {
            let verifier = key.verify_stream(signature).map_err(|error| match error {
                minisign_verify::Error::UnexpectedKeyId => {
                    refused(&name, format!("its signature was made by another key than {}", written.key))
                }
                _ => refused(&name, "its signature is of minisign's old form, or damaged: sign it again".to_owned()),
            });
            Some(verifier?)
        }
        _ => None,
    };
    let longer = signature.as_ref().and_then(|(.., key)| key.longer_digest());
    let mut longer = longer.map(digest::Context::new);
    let digest = read_whole(archive, &name, |chunk| {
        if let Some(longer) = &mut longer {
            longer.update(chunk);
        }
        if let Some(verifier) = &mut minisign {
            verifier.update(chunk);
        }
    })
    .await?;
    if let Some(wanted) = wanted.filter(|wanted| *wanted != digest) {
        return Err(refused(&name, format!("its digest is {digest}, `verify` says {wanted}")));
    }
    let Some((written, signature, key)) = &signature else { return Ok(digest) };
    let holds = match (signature, &mut minisign) {
        (Detached::OfDigest(signature), _) => {
            key.has_signed_digest(&digest, longer.map(digest::Context::finish), signature)
        }
        (Detached::Minisign(_), Some(verifier)) => verifier.finalize().is_ok(),
        (Detached::Minisign(_), None) => false,
    };
    let not_by =
        || format!("its signature is not by {}, or it was changed after it was signed ({digest})", written.key);
    if holds { Ok(digest) } else { Err(refused(&name, not_by())) }
}

/// Reads all of it; it must not be written to meanwhile.
async fn read_whole(archive: &Archive, name: &str, mut take: impl FnMut(&[u8])) -> Result<ContentDigest, Failure> {
    let broken = |why: &dyn std::fmt::Display| {
        Failure::new(Kind::Image, format!("cannot read {name} to verify it: {why}")).next("deploy again")
    };
    tracing::info!(archive = name, bytes = archive.len(), "read as a whole to verify it");
    let (mut hasher, mut stream) = (sha2::Sha256::new(), archive.stream(0..archive.len()));
    while let Some(chunk) = stream.next().await {
        let chunk = chunk.map_err(|error| broken(&error))?;
        hasher.update(&chunk);
        take(&chunk);
        tokio::task::yield_now().await;
    }
    match archive.was_written() {
        Ok(false) => Ok(ContentDigest::finish(hasher)),
        Ok(true) => Err(broken(&"it was written to while it was read")),
        Err(error) => Err(broken(&error)),
    }
}

fn checksum(checksum: &Checksum, archive: &str, bundle: &Path) -> Result<ContentDigest, Failure> {
    match checksum {
        Checksum::Digest(digest) => Ok(digest.clone()),
        Checksum::File(path) => read(path, bundle, |content| {
            let name = archive.rsplit('/').next().unwrap_or(archive);
            let text = String::from_utf8_lossy(content);
            listed(&text, name).ok_or_else(|| Refused(format!("has no SHA-256 of {name}")))
        }),
    }
}

/// The digest of a file in what `sha256sum`, with `--tag` too, prints; or the only digest, without any name.
fn listed(text: &str, name: &str) -> Option<ContentDigest> {
    let digest = |hex: &str| format!("sha256:{}", hex.to_lowercase()).parse::<ContentDigest>().ok();
    let is_it = |path: &str| path.rsplit('/').next() == Some(name);
    if let [word] = text.split_whitespace().collect::<Vec<_>>().as_slice() {
        return digest(word);
    }
    let mut found = text.lines().filter_map(|line| {
        if let Some(tagged) = line.strip_prefix("SHA256 (") {
            let (path, hex) = tagged.split_once(") = ")?;
            return digest(hex.trim()).filter(|_| is_it(path));
        }
        let (hex, path) = line.split_once(' ')?;
        let path = path.strip_prefix([' ', '*']).unwrap_or(path);
        digest(hex).filter(|_| is_it(path))
    });
    let first = found.next()?;
    found.all(|other| other == first).then_some(first)
}

/// The public key of a file.
fn key(key: &Key, bundle: &Path) -> Result<PublicKey, Failure> {
    match &key.place {
        KeyPlace::File(path) => read(path, bundle, PublicKey::parse),
        KeyPlace::Kms { .. } => Err(Failure::new(Kind::Unexpected, format!("{key} is asked for no archive"))),
    }
}

fn read<T>(path: &Path, bundle: &Path, parse: impl Fn(&[u8]) -> Result<T, Refused>) -> Result<T, Failure> {
    let bad = |why: String| {
        Failure::new(Kind::Image, format!("the image cannot be verified: {} {why}", path.display()))
            .next("put the right file there: without it nothing is loaded")
    };
    let content = inputs::read(path, Some(bundle), LIMIT).map_err(|error| bad(format!("cannot be read: {error}")))?;
    parse(&content).map_err(|Refused(why)| bad(why))
}

fn refused(name: &str, why: String) -> Failure {
    Failure::new(Kind::Image, format!("{name} is refused: {why}")).next(NEXT)
}

/// An image of a registry.
pub(crate) struct InRegistry<'a> {
    pub(crate) reference: &'a ImageReference,
    pub(crate) digest: &'a ContentDigest,
    /// The processor whose image the engine takes.
    pub(crate) architecture: Option<&'a str>,
}

impl InRegistry<'_> {
    /// By its digest.
    pub(crate) fn name(&self) -> String {
        format!("{}@{}", self.reference.repository(), self.digest)
    }

    /// The registry cannot be asked.
    pub(crate) fn unreadable(&self, why: &str) -> ObserveFailure {
        let failure = Failure::new(Kind::Image, format!("{} cannot be verified: {why}", self.name()))
            .next("can this host reach the registry with those credentials? nothing is pulled before");
        ObserveFailure { failure, definite: false }
    }
}

/// Looks at the signatures, at the config, and at the scan of the image with this digest: the one that is pulled. Returns
/// what the scan has found.
/// Errors: [`Kind::Image`]: it does not hold, or the registry cannot be asked.
pub(crate) async fn in_registry(
    verify: &Verify,
    image: &InRegistry<'_>,
    settings: &CredentialSettings,
    bundle: &Path,
) -> Result<Option<Findings>, ObserveFailure> {
    let (name, unreadable) = (image.name(), |why: String| image.unreadable(&why));
    let definite = |failure| ObserveFailure { failure, definite: true };
    let key = match &verify.cosign {
        Some(Key { place: KeyPlace::Kms { id, region }, written }) => {
            Some((written, Box::pin(kms_key::fetch(id, region.as_deref(), &settings.json)).await?))
        }
        Some(written) => Some((&written.written, key(written, bundle).map_err(definite)?)),
        None => None,
    };
    let repository = Repository::of(image.reference, settings).await.map_err(unreadable)?;
    if let Some((written, key)) = key {
        let verified = cosign::verify(&repository, image.digest, &key).await;
        verified.map_err(|why| match why {
            Unverified::Unreadable(why) => unreadable(why),
            Unverified::Unsigned => {
                definite(refused(&name, "it is not signed: sign it with `cosign sign --key`".into()))
            }
            Unverified::OtherKey(1) => definite(refused(&name, format!("its signature is not by {written}"))),
            Unverified::OtherKey(count) => {
                definite(refused(&name, format!("none of its {count} signatures is by {written}")))
            }
            Unverified::OtherImage(other) => {
                definite(refused(&name, format!("the signature that {written} made is of another image, {other}")))
            }
        })?;
    }
    if verify.is_of_config() {
        let found = registry::config::configs(&repository, image.digest, image.architecture).await;
        for config in found.map_err(unreadable)? {
            self::config(verify, &name, &config).map_err(definite)?;
        }
    }
    match &verify.scan {
        Some(scan) => Box::pin(scan::check(scan, image, &repository, settings)).await.map(Some),
        None => Ok(None),
    }
}

/// What an image's config says of it.
#[derive(Deserialize)]
struct ImageConfig {
    #[serde(default)]
    architecture: String,
    #[serde(default)]
    os: String,
    #[serde(default)]
    variant: String,
    #[serde(default)]
    config: Option<Inner>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Inner {
    labels: Option<std::collections::BTreeMap<String, String>>,
}

/// Looks at the labels and the platform in an image's config.
/// Errors: [`Kind::Image`]: the first that is another one.
pub(crate) fn config(verify: &Verify, name: &str, config: &[u8]) -> Result<(), Failure> {
    let read: ImageConfig = serde_json::from_slice(config)
        .map_err(|error| refused(name, format!("its config cannot be read: {}", printable(&error.to_string()))))?;
    let has = read.config.and_then(|inner| inner.labels).unwrap_or_default();
    for (label, wanted) in &verify.labels {
        match has.get(label) {
            Some(value) if value == wanted => {}
            Some(value) => {
                let value = shorten(&printable(value), 100);
                return Err(refused(name, format!("its label {label} is `{value}`, `verify` says `{wanted}`")));
            }
            None => return Err(refused(name, format!("it has no label {label}, `verify` says `{wanted}`"))),
        }
    }
    let full = [read.os, read.architecture, read.variant].map(|part| printable(&part)).join("/");
    let full = full.trim_end_matches('/');
    let is_it = |wanted: &String| {
        full == wanted || full.strip_prefix(wanted.as_str()).is_some_and(|rest| rest.starts_with('/'))
    };
    match verify.platform.as_ref().filter(|wanted| !is_it(wanted)) {
        Some(wanted) => Err(refused(name, format!("it is built for {full}, `verify` says {wanted}"))),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::aws::s3::S3;
    use crate::config::ArchiveLocation;
    use crate::config::verify::Signature;
    use crate::images::source::Archives;
    use crate::waits::Waits;

    #[test]
    fn the_digest_of_an_archive_is_found_in_what_sha256sum_prints() {
        let (one, two) = ("1".repeat(64), "2".repeat(64));
        let digest = |hex: &str| Some(format!("sha256:{hex}").parse::<ContentDigest>().unwrap());
        assert_eq!(listed(&format!("{one}\n"), "web.tar"), digest(&one), "a digest alone");
        assert_eq!(listed(&format!("{one}  other.tar\n{two} *out/web.tar\n"), "web.tar"), digest(&two));
        assert_eq!(listed(&format!("SHA256 (web.tar) = {two}\n"), "web.tar"), digest(&two));
        assert_eq!(listed(&format!("{one}  other.tar\n"), "web.tar"), None, "of another file");
        assert_eq!(listed(&format!("{one}  web.tar\n{two}  b/web.tar\n"), "web.tar"), None, "two that differ");
        assert_eq!(listed("<html>", "web.tar"), None);
    }

    /// What is said of a file with this content, by a signature and a key of `tests/signatures`.
    async fn signed(content: &str, signature: &str, key: &str) -> Result<ContentDigest, String> {
        let (folder, files) =
            (tempfile::tempdir().unwrap(), Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/signatures"));
        let path = folder.path().join("web.tar");
        std::fs::write(&path, content).unwrap();
        let key = Key { written: key.to_owned(), place: KeyPlace::File(files.join(key)) };
        let signature = Some(Signature { file: files.join(signature), key });
        let archives = Archives::new(S3::from_env(&|_| None, &Waits::default()), None);
        let opened = archives.open(&ArchiveLocation::File(path), None).await.unwrap();
        let verify = Verify { signature, ..Verify::default() };
        opened.verified(&verify, folder.path()).await.map_err(|failure| failure.message)
    }

    #[tokio::test]
    async fn an_archive_is_verified_by_what_minisign_and_openssl_have_signed_and_no_other_one() {
        for (signature, key) in [("m.minisig", "m.pub"), ("p256.b64", "p256.pub"), ("rsa.b64", "rsa.pub")] {
            assert_eq!(signed("an archive\n", signature, key).await, Ok(ContentDigest::of(b"an archive\n")));
            let changed = signed("another archive\n", signature, key).await.unwrap_err();
            assert!(changed.contains(&format!("its signature is not by {key}, or it was changed")), "{changed}");
        }
        let other = signed("an archive\n", "p256.b64", "m.pub").await.unwrap_err();
        assert!(other.contains("its signature is not by m.pub"), "{other}");
        let other = signed("an archive\n", "m.minisig", "p256.pub").await.unwrap_err();
        assert!(other.contains("its signature is not by p256.pub"), "{other}");
        let old = signed("an archive\n", "ml.minisig", "m.pub").await.unwrap_err();
        assert!(old.contains("of minisign's old form"), "{old}");
        let none = signed("an archive\n", "none", "m.pub").await.unwrap_err();
        assert!(none.contains("the image cannot be verified: ") && none.contains("cannot be read"), "{none}");
    }

    #[test]
    fn an_image_without_a_wanted_label_or_for_another_platform_is_refused_with_what_it_has() {
        let labels = [("team".to_owned(), "web".to_owned())].into();
        let said =
            |verify: &Verify, text: &str| config(verify, "web.tar", text.as_bytes()).map_err(|error| error.message);
        let wanted = Verify { labels, platform: Some("linux/arm64".into()), ..Verify::default() };
        let image = |label: &str, architecture: &str| {
            format!(
                r#"{{"os": "linux", "architecture": "{architecture}", "variant": "v8", "config": {{"Labels": {label}}}}}"#
            )
        };
        assert_eq!(said(&wanted, &image(r#"{"team": "web"}"#, "arm64")), Ok(()));
        for (label, architecture, why) in [
            ("null", "arm64", "it has no label team, `verify` says `web`"),
            (r#"{"team": "db"}"#, "arm64", "its label team is `db`, `verify` says `web`"),
            (r#"{"team": "web"}"#, "amd64", "it is built for linux/amd64/v8, `verify` says linux/arm64"),
        ] {
            assert_eq!(said(&wanted, &image(label, architecture)), Err(format!("web.tar is refused: {why}")));
        }
        assert!(said(&wanted, "[").unwrap_err().contains("its config cannot be read"));
    }
}
