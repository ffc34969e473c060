//! Reading `verify` of an image.

use std::path::PathBuf;

use crate::config::ArchiveLocation;
use crate::config::field::Field;
use crate::config::service::{ParseContext, location};
use crate::config::verify::{Checksum, Key, Signature, Verify};
use crate::config::yaml::Value;
use crate::inputs;
use crate::values::public_key::{Detached, LIMIT, PublicKey};
use crate::values::types::{ContentDigest, Refused};

const DIGITS: usize = 64;

/// Reads it; `is_archive`: whether the image comes from an archive.
pub(crate) fn read(field: &Field<'_>, is_archive: bool, around: &ParseContext<'_>) -> Option<Verify> {
    let before = field.problems.errors();
    let (cosign_key, signature_key, sha256_key) = (field.key("cosign"), field.key("signature"), field.key("sha256"));
    let verify = field.mapping(|keys| {
        let sha256 = keys.get("sha256", |field| checksum(field, around));
        let (signature, key) = (keys.know("signature"), keys.know("key"));
        Verify {
            sha256,
            signature: detached(signature, key, around),
            cosign: keys.get("cosign", |field| cosign(field, around)),
            labels: keys.all("labels", |field| field.map().into_iter().collect()).unwrap_or_default(),
            platform: keys.parsed("platform", platform),
        }
    });
    match is_archive {
        true => cosign_key.iter().for_each(|key| {
            key.error("`cosign` is for an image of a registry", "sign the archive: `signature: FILE`, `key: FILE`");
        }),
        false => signature_key.iter().chain(&sha256_key).for_each(|key| {
            let name = key.path.rsplit('.').next().unwrap_or_default().to_owned();
            key.error(
                format!("`{name}` is for an archive"),
                "write `cosign: {key: FILE}`, or name the digest: `reference: web@sha256:…`",
            );
        }),
    }
    if verify == Verify::default() && field.problems.errors() == before {
        return field.refuse(
            "`verify` asks for nothing",
            "write `verify: {signature: web.tar.sig, key: /etc/balehook/release.pub}` or `verify: {cosign: {key: …}}`",
        );
    }
    (field.problems.errors() == before).then_some(verify)
}

fn checksum(field: &Field<'_>, around: &ParseContext<'_>) -> Option<Checksum> {
    let text = field.text()?;
    let digits = text.strip_prefix("sha256:").unwrap_or(&text);
    if digits.len() == DIGITS && digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        let digest: Result<ContentDigest, _> = format!("sha256:{}", digits.to_lowercase()).parse();
        return digest.ok().map(Checksum::Digest);
    }
    if text.starts_with("sha256:") {
        return field.refuse(format!("`{text}` has not 64 digits of 0-9 and a-f"), "");
    }
    file(field, around, |_| Ok(())).map(Checksum::File)
}

fn detached(signature: Option<Field<'_>>, key: Option<Field<'_>>, around: &ParseContext<'_>) -> Option<Signature> {
    match (signature, key) {
        (None, None) => None,
        (Some(signature), Some(key)) => {
            let key = self::key(&key, around, |key| key.lacks_digest().map_or(Ok(()), |why| Err(Refused(why.into()))));
            let file = file(&signature, around, |content| Detached::parse(content).map(drop));
            Some(Signature { file: file?, key: key? })
        }
        (Some(signature), None) => {
            signature.lacks("`key` is missing", "write `key: /etc/balehook/release.pub`: the public key that signed")
        }
        (None, Some(key)) => {
            key.lacks("`signature` is missing", "write `signature: web.tar.sig`: a file of the bundle")
        }
    }
}

fn cosign(field: &Field<'_>, around: &ParseContext<'_>) -> Option<Key> {
    if !matches!(field.node.value, Value::Mapping(_)) {
        return field.refuse(
            format!("expected a mapping, not {}", field.node.describe()),
            "write `cosign: {key: /etc/balehook/cosign.pub}`",
        );
    }
    let key = field.mapping(|keys| keys.know("key"));
    match key {
        Some(key) => self::key(&key, around, |key| match key.is_of_cosign() {
            true => Ok(()),
            false => Err(Refused("is minisign's: cosign signs with PEM keys".into())),
        }),
        None => field.lacks("`key` is missing", "write `cosign: {key: /etc/balehook/cosign.pub}`"),
    }
}

/// A public key; one that is there already is read, so that a wrong one is found by `check`.
fn key(field: &Field<'_>, around: &ParseContext<'_>, fits: impl Fn(&PublicKey) -> Result<(), Refused>) -> Option<Key> {
    let written = field.text()?;
    if written.starts_with("awskms://") {
        return field.refuse(
            format!("`{written}` is a key of KMS, which is not asked"),
            "keep its public half in a file: aws kms get-public-key, as `balehook`'s page on trusted images shows",
        );
    }
    let path = file(field, around, |content| PublicKey::parse(content).and_then(|key| fits(&key)))?;
    Some(Key { written, path })
}

/// A file of the bundle or of the host. What others bring later is not there yet.
fn file(
    field: &Field<'_>,
    around: &ParseContext<'_>,
    is_good: impl Fn(&[u8]) -> Result<(), Refused>,
) -> Option<PathBuf> {
    field.parsed(|text| match location(text, around.bundle_root)? {
        ArchiveLocation::S3(_) => Err(Refused("is in S3: it must be a file of the bundle or of the host".into())),
        ArchiveLocation::File(path) if !path.exists() => {
            let comes = !path.starts_with(around.bundle_root) || !around.pending.scripts.is_empty();
            if comes { Ok(path) } else { Err(Refused("is not a file of the bundle".into())) }
        }
        ArchiveLocation::File(path) => {
            let content = inputs::read(&path, Some(around.bundle_root), LIMIT);
            is_good(&content.map_err(|error| Refused(format!("cannot be read: {error}")))?)?;
            Ok(path)
        }
    })
}

fn platform(text: &str) -> Result<String, Refused> {
    let parts: Vec<&str> = text.split('/').collect();
    match parts.as_slice() {
        [os, rest @ ..] if !os.is_empty() && (1..=2).contains(&rest.len()) && !rest.contains(&"") => {
            Ok(text.to_owned())
        }
        _ => Err(Refused("is no platform: write `linux/amd64` or `linux/arm64`".into())),
    }
}
