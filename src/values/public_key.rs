//! A public key that images are verified with, and the forms in which signatures are kept: those of `cosign`, `openssl`
//! and `minisign`.

use aws_lc_rs::digest::{self, Digest, SHA256, SHA384, SHA512};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P384_SHA256_ASN1, ECDSA_P384_SHA384_ASN1, ECDSA_P521_SHA256_ASN1,
    ECDSA_P521_SHA512_ASN1, ED25519, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256, RSA_PSS_2048_8192_SHA256,
    VerificationAlgorithm,
};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::values::types::{ContentDigest, Refused};

/// Largest file of a key or of a signature, in bytes.
pub(crate) const LIMIT: u64 = 256 * 1024;

/// What a key may be, and each way in which it may sign. The larger curves sign a longer digest by cosign 3 and by KMS, and a
/// SHA-256 by older cosigns and `openssl dgst -sha256`; an RSA key of KMS may sign by PSS.
///
/// Source: Sigstore's algorithm registry; KMS Developer Guide, "Asymmetric key specs".
static KINDS: [(&str, &[&dyn VerificationAlgorithm]); 5] = [
    ("ECDSA P-256", &[&ECDSA_P256_SHA256_ASN1]),
    (P384, &[&ECDSA_P384_SHA384_ASN1, &ECDSA_P384_SHA256_ASN1]),
    (P521, &[&ECDSA_P521_SHA512_ASN1, &ECDSA_P521_SHA256_ASN1]),
    ("RSA", &[&RSA_PKCS1_2048_8192_SHA256, &RSA_PSS_2048_8192_SHA256]),
    (ED, &[&ED25519]),
];

const P384: &str = "ECDSA P-384";

const P521: &str = "ECDSA P-521";

const ED: &str = "Ed25519";

/// A key that can be used.
#[derive(Debug, Clone)]
pub(crate) enum PublicKey {
    /// `BEGIN PUBLIC KEY`, or what is inside of it.
    Spki {
        algorithm: &'static str,
        /// The same key, for each way in which it may sign.
        keys: Vec<ParsedPublicKey>,
    },
    Minisign(minisign_verify::PublicKey),
}

/// A signature of a file.
#[derive(Clone)]
pub(crate) enum Detached {
    /// Of its SHA-256, by a PEM key.
    OfDigest(Vec<u8>),
    Minisign(Box<minisign_verify::Signature>),
}

impl PublicKey {
    /// Reads the content of a file.
    /// Errors: It is no public key, or one of a kind that is not known.
    pub(crate) fn parse(content: &[u8]) -> Result<Self, Refused> {
        let text = std::str::from_utf8(content).map_err(|_| refused("is no text"))?;
        if text.contains("PRIVATE KEY") || text.contains("minisign encrypted secret key") {
            return Err(refused("is a private key; name the public one, and keep this one away from hosts"));
        }
        if let Some(der) = pem(text) {
            return spki(&der).ok_or_else(|| {
                refused(
                    "is no key of a known kind: ECDSA P-256, P-384 or P-521, RSA from 2048 bits, or Ed25519 is needed",
                )
            });
        }
        let minisign =
            minisign_verify::PublicKey::decode(text).or_else(|_| minisign_verify::PublicKey::from_base64(text.trim()));
        minisign
            .map(Self::Minisign)
            .map_err(|_| refused("is no public key, neither PEM (`BEGIN PUBLIC KEY`) nor minisign"))
    }

    /// Reads what KMS answers: SubjectPublicKeyInfo in DER.
    /// Errors: It is of a kind that is not known.
    pub(crate) fn of_kms(der: &[u8]) -> Result<Self, Refused> {
        let found = spki(der).filter(|key| key.kind() != ED);
        found.ok_or_else(|| {
            refused("is no key of a known kind: ECC_NIST_P256, ECC_NIST_P384, ECC_NIST_P521 or RSA is needed")
        })
    }

    /// Its kind, as a person reads it.
    pub(crate) const fn kind(&self) -> &'static str {
        match self {
            Self::Spki { algorithm, .. } => algorithm,
            Self::Minisign(_) => "minisign",
        }
    }

    /// Whether it is one that `cosign` signs with.
    pub(crate) const fn is_of_cosign(&self) -> bool {
        matches!(self, Self::Spki { .. })
    }

    /// Why it can verify no file; `None` where it can.
    pub(crate) fn lacks_digest(&self) -> Option<&'static str> {
        (self.kind() == ED)
            .then_some("is an Ed25519 key, which signs a file as a whole: sign archives with minisign, ECDSA or RSA")
    }

    /// Whether `signature` is of this message.
    pub(crate) fn has_signed(&self, message: &[u8], signature: &[u8]) -> bool {
        match self {
            Self::Spki { keys, .. } => keys.iter().any(|key| key.verify_sig(message, signature).is_ok()),
            Self::Minisign(_) => false,
        }
    }

    /// The digest of a content that it may have signed in place of its SHA-256.
    pub(crate) fn longer_digest(&self) -> Option<&'static digest::Algorithm> {
        match self.kind() {
            P384 => Some(&SHA384),
            P521 => Some(&SHA512),
            _ => None,
        }
    }

    /// Whether `signature` is of a content with this SHA-256, or with this [longer digest](Self::longer_digest).
    pub(crate) fn has_signed_digest(&self, digest: &ContentDigest, longer: Option<Digest>, signature: &[u8]) -> bool {
        let bytes = hex(digest.hex());
        let sha256 = Digest::import_less_safe(&bytes, &SHA256).ok();
        let has_signed = |digest: &Digest| match self {
            Self::Spki { keys, .. } => keys.iter().any(|key| key.verify_digest_sig(digest, signature).is_ok()),
            Self::Minisign(_) => false,
        };
        sha256.iter().chain(&longer).any(has_signed)
    }
}

impl Detached {
    /// Reads the content of a file: base64 or JSON as `cosign sign-blob` writes it, what `openssl dgst -sign` writes,
    /// or minisign's.
    /// Errors: It is none of these.
    pub(crate) fn parse(content: &[u8]) -> Result<Self, Refused> {
        let Ok(text) = std::str::from_utf8(content) else { return Ok(Self::OfDigest(content.to_vec())) };
        let text = text.trim();
        if text.starts_with("untrusted comment:") {
            let signature = minisign_verify::Signature::decode(text);
            return signature
                .map(|read| Self::Minisign(Box::new(read)))
                .map_err(|_| refused("is a damaged minisign signature"));
        }
        let in_bundle = serde_json::from_str::<serde_json::Value>(text).ok().filter(serde_json::Value::is_object);
        let encoded = match &in_bundle {
            Some(bundle) => {
                bundle["messageSignature"]["signature"].as_str().or_else(|| bundle["base64Signature"].as_str())
            }
            None => Some(text),
        };
        let encoded = encoded.ok_or_else(|| refused("is JSON without a signature of a file"))?;
        let line: String = encoded.split_ascii_whitespace().collect();
        match STANDARD.decode(line) {
            Ok(bytes) if !bytes.is_empty() => Ok(Self::OfDigest(bytes)),
            _ => Err(refused("is no signature (base64, DER or minisign is needed)")),
        }
    }
}

/// The key in SubjectPublicKeyInfo in DER; `None`: it is of a kind that is not known.
fn spki(der: &[u8]) -> Option<PublicKey> {
    KINDS.iter().find_map(|(algorithm, ways)| {
        let keys = ways.iter().map(|way| ParsedPublicKey::new(*way, der).ok()).collect::<Option<Vec<_>>>()?;
        Some(PublicKey::Spki { algorithm, keys })
    })
}

/// The first public key of a PEM file.
fn pem(text: &str) -> Option<Vec<u8>> {
    let (_, rest) = text.split_once("-----BEGIN PUBLIC KEY-----")?;
    let (body, _) = rest.split_once("-----END PUBLIC KEY-----")?;
    STANDARD.decode(body.split_ascii_whitespace().collect::<String>()).ok()
}

/// The bytes of hexadecimal digits.
fn hex(digits: &str) -> Vec<u8> {
    let pairs = digits.as_bytes().chunks(2).filter_map(|pair| std::str::from_utf8(pair).ok());
    pairs.filter_map(|pair| u8::from_str_radix(pair, 16).ok()).collect()
}

fn refused(why: &str) -> Refused {
    Refused(why.to_owned())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// What `tests/signatures` were made of, by openssl and minisign.
    const CONTENT: &[u8] = b"an archive\n";

    fn file(name: &str) -> Vec<u8> {
        std::fs::read(format!("{}/tests/signatures/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap()
    }

    fn key(name: &str) -> PublicKey {
        PublicKey::parse(&file(name)).unwrap()
    }

    fn of_digest(content: &[u8]) -> Vec<u8> {
        match Detached::parse(content).unwrap() {
            Detached::OfDigest(bytes) => bytes,
            Detached::Minisign(_) => panic!("not of minisign"),
        }
    }

    #[test]
    fn what_openssl_signed_is_verified_by_its_key_and_by_no_other_and_of_no_other_content() {
        let digest = ContentDigest::of(CONTENT);
        for (name, kind) in [("p256", "ECDSA P-256"), ("p384", "ECDSA P-384"), ("rsa", "RSA")] {
            let (key, text) = (key(&format!("{name}.pub")), file(&format!("{name}.b64")));
            let signature = of_digest(&text);
            assert_eq!(key.kind(), kind);
            assert!(key.has_signed_digest(&digest, None, &signature), "{name}");
            assert!(key.has_signed(CONTENT, &signature), "{name}");
            assert!(!key.has_signed_digest(&ContentDigest::of(b"another"), None, &signature), "{name}");
            let bundle =
                |key: &str| format!("{{\"{key}\": {}}}", serde_json::json!(String::from_utf8(text.clone()).unwrap()));
            assert_eq!(of_digest(&signature), signature, "as it is");
            assert_eq!(of_digest(bundle("base64Signature").as_bytes()), signature);
            let nested = format!("{{\"messageSignature\": {}}}", bundle("signature"));
            assert_eq!(of_digest(nested.as_bytes()), signature);
            let others = ["p256.pub", "p384.pub", "rsa.pub", "ed.pub", "m.pub"].into_iter();
            for other in others.filter(|other| *other != format!("{name}.pub")) {
                assert!(!self::key(other).has_signed_digest(&digest, None, &signature), "{name} by {other}");
            }
        }
    }

    #[test]
    fn a_key_of_kms_verifies_by_the_ways_of_kms_and_is_of_a_kind_that_signs_so() {
        let der = |name: &str| pem(std::str::from_utf8(&file(name)).unwrap()).unwrap();
        for name in ["p256", "rsa"] {
            let (key, signature) =
                (PublicKey::of_kms(&der(&format!("{name}.pub"))).unwrap(), of_digest(&file(&format!("{name}.b64"))));
            assert!(key.has_signed(CONTENT, &signature) && !key.has_signed(b"another", &signature), "{name}");
        }
        assert!(PublicKey::of_kms(&der("ed.pub")).unwrap_err().0.contains("ECC_NIST_P256"));
    }

    /// `c384` and `c521`: by `cosign import-key-pair` and `cosign sign-blob --bundle`.
    #[test]
    fn what_cosign_3_signed_with_a_larger_curve_is_verified_by_its_longer_digest() {
        for (name, kind, longer) in [("c384", P384, &SHA384), ("c521", P521, &SHA512)] {
            let (key, signature) = (key(&format!("{name}.pub")), of_digest(&file(&format!("{name}.bundle"))));
            assert_eq!((key.kind(), key.longer_digest()), (kind, Some(longer)));
            let (digest, other) = (ContentDigest::of(CONTENT), digest::digest(longer, b"another"));
            assert!(key.has_signed_digest(&digest, Some(digest::digest(longer, CONTENT)), &signature), "{name}");
            assert!(!key.has_signed_digest(&digest, Some(other), &signature), "{name}");
            assert!(!key.has_signed_digest(&digest, None, &signature), "{name} signs no SHA-256");
            assert!(key.has_signed(CONTENT, &signature) && !key.has_signed(b"another", &signature), "{name}");
        }
    }

    #[test]
    fn ed25519_verifies_a_message_and_says_that_it_verifies_no_archive() {
        let (key, signature) = (key("ed.pub"), of_digest(&file("ed.b64")));
        assert!(key.has_signed(CONTENT, &signature) && !key.has_signed(b"another", &signature));
        assert!(key.lacks_digest().unwrap().contains("minisign"));
        assert_eq!(super::tests::key("p256.pub").lacks_digest(), None);
    }

    #[test]
    fn what_is_no_key_or_no_signature_is_refused_with_what_it_is() {
        let of_key = |text: &[u8]| PublicKey::parse(text).unwrap_err().0;
        assert!(of_key(b"-----BEGIN EC PRIVATE KEY-----\n").starts_with("is a private key"));
        assert!(of_key(b"hello").starts_with("is no public key, neither PEM"));
        assert!(
            of_key(b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----")
                .starts_with("is no key of a known kind")
        );
        let of_signature = |text: &[u8]| Detached::parse(text).err().unwrap().0;
        assert!(of_signature(b"<html>").starts_with("is no signature"));
        assert!(of_signature(b"").starts_with("is no signature"));
        assert!(of_signature(b"{}").starts_with("is JSON without"));
        assert!(of_signature(b"untrusted comment: x\ny").starts_with("is a damaged minisign"));
    }
}
