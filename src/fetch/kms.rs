//! Texts that KMS decrypts.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::json;

use crate::aws::json::{Json, Service};
use crate::fetch::{FetchError, Fetched};
use crate::values::source::Ciphertext;

/// Answers for a key of another region, for a damaged text and for another context.
///
/// Source: KMS API, Decrypt, "Errors".
const NOT_DECRYPTED: [&str; 4] =
    ["InvalidCiphertextException", "IncorrectKeyException", "NotFoundException", "InvalidKeyUsageException"];

pub(super) async fn decrypt(aws: &Json, text: &Ciphertext, context: &BTreeMap<String, String>) -> Fetched {
    let mut input = json!({"CiphertextBlob": text.as_str()});
    if !context.is_empty() {
        input["EncryptionContext"] = json!(context);
    }
    match aws.call(Service::Kms, "Decrypt", None, &input).await {
        Ok(answer) => {
            let bytes = BASE64_STANDARD.decode(answer["Plaintext"].as_str().unwrap_or_default());
            bytes.map_err(|_| FetchError::Binary)
        }
        Err(error) if error.is(&NOT_DECRYPTED) => {
            let region = aws.region().await.unwrap_or_default();
            Err(FetchError::NotDecrypted(format!("no key of {region} decrypts it with this context")))
        }
        Err(error) => Err(match FetchError::of(Service::Kms, "kms:Decrypt", error) {
            FetchError::Denied { why, .. } if why.is_empty() => {
                FetchError::KeyDenied { region: aws.region().await.unwrap_or_default() }
            }
            error => error,
        }),
    }
}
