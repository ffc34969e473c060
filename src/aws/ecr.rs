//! ECR: its host names, and a token where no credential helper is configured.

use std::path::Path;
use std::time::Duration;

use aws_config::{Region, SdkConfig};
use aws_sdk_ecr::error::SdkError;
use base64::Engine as _;

use crate::aws::config;
use crate::aws::json::{Json, Service};
use crate::values::text::seconds;
use crate::values::types::Secret;

/// The registry of ECR's public gallery, and the one region where its API is.
pub(crate) const PUBLIC: &str = "public.ecr.aws";
const PUBLIC_REGION: &str = "us-east-1";

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct EcrHost {
    /// The twelve digits of the account.
    pub(crate) account: String,
    /// As `eu-west-1`.
    pub(crate) region: String,
    pub(crate) fips: bool,
    pub(crate) dual_stack: bool,
}

/// Domains of `<account>.dkr.ecr[-fips].<region>.<domain>`: the commercial, Chinese, European sovereign and isolated partitions.
const DOMAINS: [&str; 7] = [
    "amazonaws.com", "amazonaws.com.cn", "amazonaws.eu", "c2s.ic.gov", "sc2s.sgov.gov", "cloud.adc-e.uk",
    "csp.hci.ic.gov",
];
/// Domains of `<account>.dkr-ecr[-fips].<region>.<domain>`.
const DUAL_STACK_DOMAINS: [&str; 3] = ["on.aws", "on.amazonwebservices.com.cn", "on.amazonwebservices.eu"];

impl EcrHost {
    /// Reads a registry's host name; `None` for any other registry, [`PUBLIC`] too: its token is another one.
    ///
    /// Source: Amazon ECR private registry and IPv6 (dual-stack) endpoints, AWS General Reference.
    pub(crate) fn parse(host: &str) -> Option<Self> {
        let (account, rest) = host.split_once('.')?;
        let is_account = account.len() == 12 && account.bytes().all(|digit| digit.is_ascii_digit());
        let (dual_stack, rest) = match (rest.strip_prefix("dkr.ecr"), rest.strip_prefix("dkr-ecr")) {
            (Some(rest), _) => (false, rest),
            (None, Some(rest)) => (true, rest),
            (None, None) => return None,
        };
        let (fips, rest) = rest.strip_prefix("-fips").map_or((false, rest), |rest| (true, rest));
        let (region, domain) = rest.strip_prefix('.')?.split_once('.')?;
        let domains: &[&str] = if dual_stack { &DUAL_STACK_DOMAINS } else { &DOMAINS };
        let is_region =
            !region.is_empty() && region.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        (is_account && is_region && domains.contains(&domain)).then(|| Self {
            account: account.to_owned(),
            region: region.to_owned(),
            fips,
            dual_stack,
        })
    }
}

/// Why there is no token where ECR says nothing for so long.
pub(crate) fn silent(waited: Duration) -> String {
    format!("it has not answered for {}", seconds(waited))
}

/// The SDK's own settings; the host's name asks for what it says on top of `AWS_USE_FIPS_ENDPOINT` and its like.
pub(super) async fn settings(host: &EcrHost, home: Option<&Path>) -> SdkConfig {
    let mut loader = config::defaults(home).region(Region::new(host.region.clone()));
    if host.fips {
        loader = loader.use_fips(true);
    }
    if host.dual_stack {
        loader = loader.use_dual_stack(true);
    }
    Box::pin(loader.load()).await
}

/// Asks the public gallery for the same: it is in one region alone.
/// Errors: Why there is none, in one line.
pub(crate) async fn public_token(json: &Json) -> Result<(String, Secret), String> {
    let nothing = serde_json::json!({});
    let asked = json.call(Service::EcrPublic, "GetAuthorizationToken", Some(PUBLIC_REGION), &nothing);
    let answer = Box::pin(asked).await.map_err(|error| error.of(Service::EcrPublic))?;
    pair(answer["authorizationData"]["authorizationToken"].as_str())
}

/// `user:password` of a token.
fn pair(token: Option<&str>) -> Result<(String, Secret), String> {
    let token = token.ok_or("the answer holds no token")?;
    let pair = base64::engine::general_purpose::STANDARD.decode(token).map_err(|_| "the token is not base64")?;
    let pair = String::from_utf8(pair).map_err(|_| "the token is not text")?;
    let (username, password) = pair.split_once(':').ok_or("the token is not `user:password`")?;
    Ok((username.to_owned(), Secret::new(password)))
}

/// Asks ECR for a user (`AWS`) and a password, which is valid for 12 hours.
/// Errors: The chain of causes, in one line.
pub(crate) async fn authorization_token(host: &EcrHost, home: Option<&Path>) -> Result<(String, Secret), String> {
    let client = aws_sdk_ecr::Client::new(&settings(host, home).await);
    let answer = Box::pin(client.get_authorization_token().send()).await;
    let answer = answer.map_err(|error| match error {
        SdkError::TimeoutError(_) => silent(config::ANSWER),
        error => config::causes(&error),
    })?;
    pair(answer.authorization_data().first().and_then(|data| data.authorization_token()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn other_registries_are_not_ecr() {
        for host in [
            "docker.io",
            "public.ecr.aws",
            "12345.dkr.ecr.eu-west-1.amazonaws.com",
            "123456789012.dkr.ecr.eu-west-1.amazonaws.com.evil.test",
            "123456789012.dkr.ecr.eu-west-1.on.aws",
            "123456789012.dkr.ecr..amazonaws.com",
            "123456789012.dkr.ecr-fips.amazonaws.com",
        ] {
            assert_eq!(EcrHost::parse(host), None, "{host}");
        }
    }

    #[test]
    fn private_fips_dual_stack_chinese_and_isolated_names_are_read() {
        for (host, region, fips, dual_stack) in [
            ("123456789012.dkr.ecr.eu-west-1.amazonaws.com", "eu-west-1", false, false),
            ("123456789012.dkr.ecr-fips.us-gov-west-1.amazonaws.com", "us-gov-west-1", true, false),
            ("123456789012.dkr.ecr.cn-north-1.amazonaws.com.cn", "cn-north-1", false, false),
            ("123456789012.dkr-ecr.eu-central-1.on.aws", "eu-central-1", false, true),
            ("123456789012.dkr-ecr-fips.us-east-1.on.aws", "us-east-1", true, true),
            ("123456789012.dkr-ecr.cn-north-1.on.amazonwebservices.com.cn", "cn-north-1", false, true),
            ("123456789012.dkr.ecr.eusc-de-east-1.amazonaws.eu", "eusc-de-east-1", false, false),
            ("123456789012.dkr-ecr.eusc-de-east-1.on.amazonwebservices.eu", "eusc-de-east-1", false, true),
            ("123456789012.dkr.ecr.us-iso-east-1.c2s.ic.gov", "us-iso-east-1", false, false),
        ] {
            let found = EcrHost::parse(host).unwrap();
            assert_eq!((found.region.as_str(), found.fips, found.dual_stack), (region, fips, dual_stack), "{host}");
        }
    }
    #[tokio::test]
    async fn a_plain_host_leaves_the_settings_of_the_environment_as_they_are() {
        let plain = EcrHost::parse("123456789012.dkr.ecr.us-east-1.amazonaws.com").unwrap();
        let fips = EcrHost::parse("123456789012.dkr-ecr-fips.us-east-1.on.aws").unwrap();
        let (plain, fips) = (settings(&plain, None).await, settings(&fips, None).await);
        assert_eq!((plain.use_fips(), plain.use_dual_stack()), (None, None), "the SDK's environment decides");
        assert_eq!((fips.use_fips(), fips.use_dual_stack()), (Some(true), Some(true)));
    }
}
