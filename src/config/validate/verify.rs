//! Reading `verify` of an image.

use std::path::PathBuf;
use std::time::Duration;

use crate::config::ArchiveLocation;
use crate::config::field::Field;
use crate::config::service::{ParseContext, location};
use crate::config::verify::{Checksum, KMS, Key, KeyPlace, Scan, Signature, Verify};
use crate::config::yaml::Value;
use crate::inputs;
use crate::values::public_key::{Detached, LIMIT, PublicKey};
use crate::values::severity::{LIMITS, Severity};
use crate::values::types::{ContentDigest, Refused};

const DIGITS: usize = 64;

/// How long a scan that goes on is waited for: ECR's own take a minute or two.
const SCAN: Duration = Duration::from_secs(5 * 60);

/// Reads it; `is_archive`: whether the image comes from an archive.
pub(crate) fn read(field: &Field<'_>, is_archive: bool, around: &ParseContext<'_>) -> Option<Verify> {
    let before = field.problems.errors();
    let of_registry = [field.key("cosign"), field.key("ecr")];
    let of_archive = [field.key("signature"), field.key("sha256")];
    let verify = field.mapping(|keys| {
        let sha256 = keys.get("sha256", |field| checksum(field, around));
        let (signature, key) = (keys.know("signature"), keys.know("key"));
        Verify {
            sha256,
            signature: detached(signature, key, around),
            cosign: keys.get("cosign", |field| cosign(field, around)),
            labels: keys.all("labels", |field| field.map().into_iter().collect()).unwrap_or_default(),
            platform: keys.parsed("platform", platform),
            scan: keys.get("ecr", scan),
        }
    });
    match is_archive {
        true => of_registry.iter().flatten().for_each(|key| {
            let help = "sign the archive: `signature: FILE`, `key: FILE`";
            key.error(format!("`{}` is for an image of a registry", last(key)), help);
        }),
        false => of_archive.iter().flatten().for_each(|key| {
            key.error(
                format!("`{}` is for an archive", last(key)),
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

/// The name of a key.
fn last(key: &Field<'_>) -> String {
    key.path.rsplit('.').next().unwrap_or_default().to_owned()
}

/// `ecr: {max_severity: high, wait: 5m}`.
fn scan(field: &Field<'_>) -> Option<Scan> {
    const WRITE: &str = "write `ecr: {max_severity: high}`: what is worse is refused";
    if !matches!(field.node.value, Value::Mapping(_)) {
        return field.refuse(format!("expected a mapping, not {}", field.node.describe()), WRITE);
    }
    let (most, wait) = field.mapping(|keys| (keys.know("max_severity"), keys.get("wait", Field::duration)));
    let Some(most) = most else { return field.lacks("`max_severity` is missing", WRITE) };
    let most = Severity::limit(most.one_of(&LIMITS)?)?;
    Some(Scan { most, wait: wait.unwrap_or(SCAN) })
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
        Some(key) if key.node.as_text().is_some_and(|text| text.starts_with(KMS)) => {
            key.parsed(kms).map(|place| Key { written: key.text().unwrap_or_default(), place })
        }
        Some(key) => self::key(&key, around, |key| match key.is_of_cosign() {
            true => Ok(()),
            false => Err(Refused("is minisign's: cosign signs with PEM keys".into())),
        }),
        None => field.lacks("`key` is missing", "write `cosign: {key: /etc/balehook/cosign.pub}`"),
    }
}

/// `awskms:///alias/release`, an ID or an ARN, as `cosign` takes them; its host is for tests.
fn kms(text: &str) -> Result<KeyPlace, Refused> {
    let (host, id) = text.strip_prefix(KMS).and_then(|rest| rest.split_once('/')).unwrap_or((text, ""));
    if !host.is_empty() && !id.is_empty() {
        return Err(Refused(format!(
            "names the host {host}: write `{KMS}/{id}`, and AWS_ENDPOINT_URL_KMS for the host"
        )));
    }
    let is_name =
        |name: &str| !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"/_-".contains(&b));
    let is_key = |key: &str| key.strip_prefix("alias/").map_or_else(|| !key.contains('/') && is_name(key), is_name);
    let region = match id.split(':').collect::<Vec<_>>().as_slice() {
        ["arn", _, "kms", region, account, key]
            if !region.is_empty() && !account.is_empty() && is_key(key.strip_prefix("key/").unwrap_or(key)) =>
        {
            Some((*region).to_owned())
        }
        [key] if is_key(key) => None,
        _ => return Err(Refused(format!("is no key of KMS: write `{KMS}/alias/NAME`, `{KMS}/ID` or `{KMS}/ARN`"))),
    };
    Ok(KeyPlace::Kms { id: id.to_owned(), region })
}

/// A public key; one that is there already is read, so that a wrong one is found by `check`.
fn key(field: &Field<'_>, around: &ParseContext<'_>, fits: impl Fn(&PublicKey) -> Result<(), Refused>) -> Option<Key> {
    let written = field.text()?;
    if written.starts_with(KMS) {
        return field.refuse(
            format!("`{written}` is a key of KMS, which is asked for images of a registry alone"),
            "keep its public half in a file: `aws kms get-public-key`, as the page on trusted images shows",
        );
    }
    let path = file(field, around, |content| PublicKey::parse(content).and_then(|key| fits(&key)))?;
    Some(Key { written, place: KeyPlace::File(path) })
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
