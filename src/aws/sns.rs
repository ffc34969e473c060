//! Publishing to an SNS topic: one signed form. The whole SDK of SNS is not needed for it.

use std::fmt::Write as _;
use std::path::Path;

use crate::aws::sign::{Post, address, credentials};
use crate::aws::{https, identity};

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
    let credentials = credentials(&settings).await?;
    let region = topic.split(':').nth(3).unwrap_or_default();
    let url = endpoint.map_or_else(|| address("sns", region), |url| format!("{}/", url.trim_end_matches('/')));
    let body = form(&[
        ("Action", "Publish"),
        ("Version", "2010-03-31"),
        ("TopicArn", topic),
        ("Subject", subject),
        ("Message", message),
    ]);
    let head = [("content-type", FORM)];
    let post = Post { url: &url, service: "sns", region, head: &head, body: &body };
    let headers = post.signed(credentials)?;
    https::post(&url, &headers, body).await
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
    fn a_text_is_encoded_whole() {
        assert_eq!(form(&[("Message", "a b&c=é\n"), ("X", "~-_.")]), "Message=a%20b%26c%3D%C3%A9%0A&X=~-_.");
    }
}
