//! Signatures that cosign keeps beside an image in its registry, verified with a public key and without a network but the
//! registry's.
//!
//! Source: cosign's SIGNATURE_SPEC and BUNDLE_SPEC: the tag `sha256-<digest>.sig` with one layer for each signature, of a
//! "simple signing" payload; and a Sigstore bundle that refers to the image, of a DSSE envelope with an in-toto statement.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;

use crate::images::registry::Repository;
use crate::values::public_key::PublicKey;
use crate::values::types::ContentDigest;

/// So many signatures of an image are looked at.
const MOST: usize = 50;

const SIGNATURE: &str = "dev.cosignproject.cosign/signature";

const PAYLOAD: &str = "application/vnd.dev.cosign.simplesigning.v1+json";

const BUNDLE: &str = "application/vnd.dev.sigstore.bundle";

/// What cosign 3 writes into the tag that stands in for a list, in place of the artifact's own type: its config's.
const EMPTY: &str = "application/vnd.oci.empty.v1+json";

const STATEMENT: &str = "application/vnd.in-toto+json";

/// What a bundle of `cosign sign` states; others say how an image was built, or what is in it.
const SIGNED: &str = "https://sigstore.dev/cosign/sign/v1";

/// Why an image is not verified.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Unverified {
    /// The registry has no signature of it.
    Unsigned,
    /// Those that it has are by other keys, or damaged.
    OtherKey(usize),
    /// The key has signed, but this image.
    OtherImage(String),
    /// The registry cannot be asked, or its answer cannot be read.
    Unreadable(String),
}

impl From<String> for Unverified {
    fn from(why: String) -> Self {
        Self::Unreadable(why)
    }
}

/// One signature, as it was found.
#[derive(Debug)]
struct Found {
    message: Vec<u8>,
    signature: Vec<u8>,
    /// The image that the message is of.
    image: Option<String>,
}

/// Whether `key` has signed the image with this digest.
/// Errors: Why that is not so.
pub(crate) async fn verify(repository: &Repository, digest: &ContentDigest, key: &PublicKey) -> Result<(), Unverified> {
    let mut found = by_tag(repository, digest).await?;
    if judge(&found, digest, key).is_ok() {
        return Ok(());
    }
    found.extend(by_referrers(repository, digest).await?);
    judge(&found, digest, key)
}

fn judge(found: &[Found], digest: &ContentDigest, key: &PublicKey) -> Result<(), Unverified> {
    let mut of_other = None;
    for signed in found.iter().filter(|found| key.has_signed(&found.message, &found.signature)) {
        match &signed.image {
            Some(image) if image == digest.as_str() => return Ok(()),
            other => of_other = Some(other.clone().unwrap_or_else(|| "nothing that is an image".into())),
        }
    }
    Err(match (of_other, found.len()) {
        (Some(image), _) => Unverified::OtherImage(image),
        (None, 0) => Unverified::Unsigned,
        (None, count) => Unverified::OtherKey(count),
    })
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Descriptor {
    digest: ContentDigest,
    #[serde(default)]
    media_type: String,
    #[serde(default)]
    artifact_type: String,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct Manifest {
    #[serde(default)]
    layers: Vec<Descriptor>,
}

#[derive(Deserialize)]
struct Index {
    #[serde(default)]
    manifests: Vec<Descriptor>,
}

/// The signatures below the tag that is made of the digest.
async fn by_tag(repository: &Repository, digest: &ContentDigest) -> Result<Vec<Found>, Unverified> {
    let tag = format!("sha256-{}.sig", digest.hex());
    let Some(manifest) = repository.manifest(&tag).await? else { return Ok(Vec::new()) };
    let manifest: Manifest = parse(&manifest, &tag)?;
    let mut all = Vec::new();
    for layer in manifest.layers.iter().filter(|layer| layer.media_type == PAYLOAD).take(MOST) {
        let Some(signature) = layer.annotations.get(SIGNATURE) else { continue };
        let Ok(signature) = STANDARD.decode(signature.trim()) else { continue };
        let message = repository.blob(&layer.digest).await?;
        all.push(Found { image: simple_image(&message), message, signature });
    }
    Ok(all)
}

#[derive(Deserialize)]
struct SimpleSigning {
    critical: Critical,
}

#[derive(Deserialize)]
struct Critical {
    image: SimpleImage,
    #[serde(rename = "type")]
    kind: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct SimpleImage {
    docker_manifest_digest: String,
}

/// The image that a payload is of. As with `cosign verify`, its `docker-reference` is not compared: images are copied.
fn simple_image(payload: &[u8]) -> Option<String> {
    let payload: SimpleSigning = serde_json::from_slice(payload).ok()?;
    let is_signature = payload.critical.kind == "cosign container image signature";
    is_signature.then_some(payload.critical.image.docker_manifest_digest)
}

/// The bundles that refer to the image: by the registry's own list, or the tag that stands in for one.
async fn by_referrers(repository: &Repository, digest: &ContentDigest) -> Result<Vec<Found>, Unverified> {
    let index = match repository.referrers(digest).await? {
        Some(index) => Some(index),
        None => repository.manifest(&format!("sha256-{}", digest.hex())).await?,
    };
    let Some(index) = index else { return Ok(Vec::new()) };
    let index: Index = parse(&index, "its list of referrers")?;
    let mut all = Vec::new();
    let may_be = |kind: &str| kind.is_empty() || kind == EMPTY || kind.starts_with(BUNDLE);
    for referrer in index.manifests.iter().filter(|referrer| may_be(&referrer.artifact_type)).take(MOST) {
        let Some(manifest) = repository.manifest(referrer.digest.as_str()).await? else { continue };
        let manifest: Manifest = parse(&manifest, referrer.digest.as_str())?;
        for layer in manifest.layers.iter().filter(|layer| layer.media_type.starts_with(BUNDLE)).take(1) {
            all.extend(of_bundle(&repository.blob(&layer.digest).await?));
        }
    }
    Ok(all)
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Bundle {
    dsse_envelope: Envelope,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Envelope {
    payload: String,
    payload_type: String,
    signatures: Vec<EnvelopeSignature>,
}

#[derive(Deserialize)]
struct EnvelopeSignature {
    sig: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Statement {
    predicate_type: String,
    subject: Vec<Subject>,
}

#[derive(Deserialize)]
struct Subject {
    digest: BTreeMap<String, String>,
}

/// The signature in a bundle; none in one that states something else than that an image was signed.
fn of_bundle(bundle: &[u8]) -> Option<Found> {
    let Bundle { dsse_envelope: Envelope { payload, payload_type, signatures } } =
        serde_json::from_slice(bundle).ok()?;
    let (payload, signature) = (STANDARD.decode(payload).ok()?, STANDARD.decode(&signatures.first()?.sig).ok()?);
    let statement: Statement = serde_json::from_slice(&payload).ok()?;
    if payload_type != STATEMENT || statement.predicate_type != SIGNED {
        return None;
    }
    let image = match statement.subject.as_slice() {
        [subject] => subject.digest.get("sha256").map(|hex| format!("sha256:{hex}")),
        _ => None,
    };
    // What DSSE signs. Source: the DSSE specification, "PAE".
    let head = format!("DSSEv1 {} {payload_type} {} ", payload_type.len(), payload.len());
    Some(Found { message: [head.as_bytes(), &payload].concat(), signature, image })
}

fn parse<T: DeserializeOwned>(text: &[u8], what: &str) -> Result<T, Unverified> {
    serde_json::from_slice(text).map_err(|error| Unverified::Unreadable(format!("{what} cannot be read: {error}")))
}
