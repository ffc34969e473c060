//! Signing one POST, and where a service is asked: for services whose whole SDK is not needed.

use std::time::SystemTime;

use aws_config::SdkConfig;
use aws_credential_types::Credentials;
use aws_credential_types::provider::ProvideCredentials as _;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4::SigningParams;

use crate::aws::config;

/// A request to be signed, without its credentials.
pub(crate) struct Post<'a> {
    pub(crate) url: &'a str,
    /// As in the signature: `sns`.
    pub(crate) service: &'a str,
    pub(crate) region: &'a str,
    pub(crate) head: &'a [(&'a str, &'a str)],
    pub(crate) body: &'a str,
}

impl Post<'_> {
    /// Its headers, with those of the signature.
    pub(crate) fn signed(&self, credentials: Credentials) -> Result<Vec<(String, String)>, String> {
        let identity = credentials.into();
        let params = SigningParams::builder().identity(&identity).region(self.region).name(self.service);
        let params = params.time(SystemTime::now()).settings(SigningSettings::default()).build();
        let params = params.map_err(|error| error.to_string())?;
        let body = SignableBody::Bytes(self.body.as_bytes());
        let request = SignableRequest::new("POST", self.url, self.head.iter().copied(), body);
        let request = request.map_err(|error| error.to_string())?;
        let (signature, _) = sign(request, &params.into()).map_err(|error| error.to_string())?.into_parts();
        let added = signature.headers().map(|(name, value)| (name.to_owned(), value.to_owned()));
        Ok(self.head.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).chain(added).collect())
    }
}

/// The credentials that the SDK finds.
/// Errors: Why there are none, in one line.
pub(crate) async fn credentials(settings: &SdkConfig) -> Result<Credentials, String> {
    let provider = settings.credentials_provider().ok_or("the AWS SDK has no provider of credentials")?;
    provider.provide_credentials().await.map_err(|error| config::causes(&error))
}

/// Source: AWS service endpoints, by partition; a region's name begins with its partition's.
pub(crate) fn address(service: &str, region: &str) -> String {
    let domain = match region.split('-').take(2).collect::<Vec<_>>().as_slice() {
        ["cn", _] => "amazonaws.com.cn",
        ["eusc", _] => "amazonaws.eu",
        ["us", "iso"] => "c2s.ic.gov",
        ["us", "isob"] => "sc2s.sgov.gov",
        ["eu", "isoe"] => "cloud.adc-e.uk",
        ["us", "isof"] => "csp.hci.ic.gov",
        _ => "amazonaws.com",
    };
    format!("https://{service}.{region}.{domain}/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_is_asked_where_the_partition_of_its_region_is() {
        for (region, host) in [
            ("eu-west-1", "ssm.eu-west-1.amazonaws.com"),
            ("us-gov-west-1", "ssm.us-gov-west-1.amazonaws.com"),
            ("cn-north-1", "ssm.cn-north-1.amazonaws.com.cn"),
            ("eusc-de-east-1", "ssm.eusc-de-east-1.amazonaws.eu"),
            ("us-iso-east-1", "ssm.us-iso-east-1.c2s.ic.gov"),
            ("us-isob-east-1", "ssm.us-isob-east-1.sc2s.sgov.gov"),
        ] {
            assert_eq!(address("ssm", region), format!("https://{host}/"));
        }
    }
}
