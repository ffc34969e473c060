//! A public key that KMS keeps: asked for at each deployment, so that a key which was disabled or replaced counts at once.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::json;

use crate::aws::json::{CallError, Json, Service};
use crate::error::{Failure, Kind, ObserveFailure};
use crate::values::public_key::PublicKey;
use crate::values::types::Refused;

/// Asks for the key, in the region of its ARN or of the host.
/// Errors: [`Kind::Image`]: there is none, it may not be read, or it signs nothing.
pub(crate) async fn fetch(id: &str, region: Option<&str>, aws: &Json) -> Result<PublicKey, ObserveFailure> {
    let input = json!({ "KeyId": id });
    let answer = match aws.call(Service::Kms, "GetPublicKey", region, &input).await {
        Ok(answer) => answer,
        Err(error) => {
            let own = aws.region().await;
            return Err(refused(id, region.or(own.as_deref()).unwrap_or_default(), &error));
        }
    };
    let unusable = |why: &str| definite(format!("key {id} of KMS {why}"), "name the key that `cosign sign` signs with");
    if answer["KeyUsage"].as_str() != Some("SIGN_VERIFY") {
        return Err(unusable("is not for signatures"));
    }
    let der = BASE64_STANDARD.decode(answer["PublicKey"].as_str().unwrap_or_default()).unwrap_or_default();
    PublicKey::of_kms(&der).map_err(|Refused(why)| unusable(&why))
}

/// Source: KMS API, GetPublicKey, "Errors".
fn refused(id: &str, region: &str, error: &CallError) -> ObserveFailure {
    if error.is_denied() {
        let words = error.of(Service::Kms);
        let next =
            "let the instance role kms:GetPublicKey on it, in the key's own policy too where it is another account's";
        return definite(format!("key {id} of KMS may not be read: {words}"), next);
    }
    if error.is(&["NotFoundException", "InvalidArnException"]) {
        return definite(format!("KMS has no key {id} in {region}"), "name it by its whole ARN, with its region");
    }
    if error.is(&["UnsupportedOperationException", "InvalidKeyUsageException"]) {
        return definite(format!("key {id} of KMS has no public half"), "it must be an asymmetric key that signs");
    }
    let words = format!("key {id} cannot be read: {}", error.of(Service::Kms));
    let next = "can this host reach KMS, with a role and a region? nothing is pulled before";
    ObserveFailure { definite: matches!(error, CallError::Refused { .. }), ..definite(words, next) }
}

fn definite(why: String, next: &str) -> ObserveFailure {
    let failure = Failure::new(Kind::Image, format!("the image cannot be verified: {why}")).next(next);
    ObserveFailure { failure, definite: true }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::aws::json::tests::{client, server};

    async fn said(status: u16, answer: serde_json::Value, region: Option<&str>) -> (String, Vec<String>) {
        let (url, requests) = server(vec![(status, answer.to_string())]).await;
        let failed = fetch("alias/release", region, &client(&url)).await.unwrap_err();
        let requests = requests.lock().unwrap().clone();
        (failed.failure.message, requests)
    }

    #[tokio::test]
    async fn why_a_key_of_kms_cannot_be_used_is_told_and_it_is_asked_for_in_the_region_of_its_arn() {
        let refused = |code: &str| serde_json::json!({"__type": code, "message": "in its words"});
        for (code, wanted) in [
            ("AccessDeniedException", "may not be read: KMS answered AccessDeniedException: in its words"),
            ("NotFoundException", "KMS has no key alias/release in eu-west-1"),
            ("UnsupportedOperationException", "has no public half"),
            ("DisabledException", "cannot be read: KMS answered DisabledException: in its words"),
        ] {
            let (said, requests) = said(400, refused(code), None).await;
            assert!(said.starts_with("the image cannot be verified: ") && said.contains(wanted), "{said}");
            assert!(
                requests[0].contains("TrentService.GetPublicKey")
                    && requests[0].contains("/eu-west-1/kms/aws4_request")
            );
        }
        let (_, requests) = said(400, refused("NotFoundException"), Some("us-east-1")).await;
        assert!(requests[0].contains("/us-east-1/kms/aws4_request"), "{}", requests[0]);
        let other = serde_json::json!({"KeyUsage": "ENCRYPT_DECRYPT", "PublicKey": ""});
        assert!(said(200, other, None).await.0.ends_with("is not for signatures"));
        let unknown = serde_json::json!({"KeyUsage": "SIGN_VERIFY", "PublicKey": "MAA="});
        assert!(said(200, unknown, None).await.0.contains("is no key of a known kind"));
    }
}
