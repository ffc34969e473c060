//! Publishing to an SNS topic: one signed form. The whole SDK of SNS is not needed for it.

use std::fmt::Write as _;
use std::path::Path;
use std::time::SystemTime;

use aws_credential_types::Credentials;
use aws_credential_types::provider::ProvideCredentials as _;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4::SigningParams;

use crate::aws::{config, https, identity};

const FORM: &str = "application/x-www-form-urlencoded; charset=utf-8";

/// Publishes `message` under `subject`, which is short ASCII text.
/// Errors: Why not, in one line.
pub(crate) async fn publish(
    topic: &str,
    subject: &str,
    message: &str,
    endpoint: Option<&str>,
    home: Option<&Path>,
) -> Result<(), String> {
    let settings = Box::pin(identity::settings(home)).await;
    let provider = settings.credentials_provider().ok_or("the AWS SDK has no provider of credentials")?;
    let credentials = provider.provide_credentials().await.map_err(|error| config::causes(&error))?;
    let region = topic.split(':').nth(3).unwrap_or_default();
    let url = endpoint.map_or_else(|| address(topic, region), |url| format!("{}/", url.trim_end_matches('/')));
    let body = form(&[
        ("Action", "Publish"),
        ("Version", "2010-03-31"),
        ("TopicArn", topic),
        ("Subject", subject),
        ("Message", message),
    ]);
    let headers = signed(&url, region, credentials, &body)?;
    https::post(&url, &headers, body).await
}

/// Source: AWS service endpoints, by partition.
fn address(topic: &str, region: &str) -> String {
    let domain = match topic.split(':').nth(1) {
        Some("aws-cn") => "amazonaws.com.cn",
        Some("aws-eusc") => "amazonaws.eu",
        _ => "amazonaws.com",
    };
    format!("https://sns.{region}.{domain}/")
}

fn signed(url: &str, region: &str, credentials: Credentials, body: &str) -> Result<Vec<(String, String)>, String> {
    let identity = credentials.into();
    let params = SigningParams::builder().identity(&identity).region(region).name("sns").time(SystemTime::now());
    let params = params.settings(SigningSettings::default()).build().map_err(|error| error.to_string())?;
    let head = [("content-type", FORM)];
    let request = SignableRequest::new("POST", url, head.into_iter(), SignableBody::Bytes(body.as_bytes()));
    let request = request.map_err(|error| error.to_string())?;
    let (signature, _) = sign(request, &params.into()).map_err(|error| error.to_string())?.into_parts();
    let added = signature.headers().map(|(name, value)| (name.to_owned(), value.to_owned()));
    Ok(head.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).chain(added).collect())
}

fn form(fields: &[(&str, &str)]) -> String {
    let fields = fields.iter().map(|(name, value)| format!("{name}={}", encoded(value)));
    fields.collect::<Vec<_>>().join("&")
}

fn encoded(text: &str) -> String {
    text.bytes().fold(String::new(), |mut out, byte| {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => out.push(char::from(byte)),
            byte => drop(write!(out, "%{byte:02X}")),
        }
        out
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_is_asked_where_its_partition_and_region_are_and_a_text_is_encoded_whole() {
        for (partition, url) in [
            ("aws", "https://sns.eu-west-1.amazonaws.com/"),
            ("aws-us-gov", "https://sns.eu-west-1.amazonaws.com/"),
            ("aws-cn", "https://sns.eu-west-1.amazonaws.com.cn/"),
            ("aws-eusc", "https://sns.eu-west-1.amazonaws.eu/"),
        ] {
            assert_eq!(address(&format!("arn:{partition}:sns:eu-west-1:123456789012:t"), "eu-west-1"), url);
        }
        assert_eq!(form(&[("Message", "a b&c=é\n"), ("X", "~-_.")]), "Message=a%20b%26c%3D%C3%A9%0A&X=~-_.");
    }
}
