//! One POST over HTTPS or HTTP, by the SDK's own client: its roots, and the proxy that HTTPS_PROXY and its like name.

use aws_smithy_http_client::Connector;
use aws_smithy_http_client::proxy::ProxyConfig;
use aws_smithy_http_client::tls::Provider;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_runtime_api::client::http::HttpConnector as _;
use aws_smithy_types::body::SdkBody;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Limited};

use crate::error::chain;
use crate::values::secret::masked;
use crate::values::text::{printable, shorten};

/// So much of an answer is read where only its beginning is shown.
const MOST: usize = 16 * 1024;

/// Sends it; the caller bounds the time. Returns the status, and the answer's body up to `most` bytes.
/// Errors: Why there is no answer, in one line, without the address.
pub(crate) async fn send(
    url: &str,
    headers: &[(String, String)],
    body: String,
    most: usize,
) -> Result<(u16, Bytes), String> {
    let mut request = http::Request::post(url);
    for (name, value) in headers {
        request = request.header(name, value);
    }
    let request = request.body(SdkBody::from(body)).map_err(|error| error.to_string())?;
    let request = request.try_into().map_err(|error| format!("it cannot be sent: {}", chain(&error)))?;
    let connector = Connector::builder().proxy_config(ProxyConfig::from_env());
    let connector = connector.tls_provider(Provider::Rustls(CryptoMode::AwsLc)).build();
    let answer = connector.call(request).await.map_err(|error| shorten(&masked(&printable(&chain(&error))), 300))?;
    let status = answer.status().as_u16();
    let body = Limited::new(answer.into_body(), most).collect().await;
    Ok((status, body.map_err(|error| shorten(&masked(&printable(&error.to_string())), 300))?.to_bytes()))
}

/// The same where only a success counts.
/// Errors: Why it was not taken, in one line, without the address.
pub(crate) async fn post(url: &str, headers: &[(String, String)], body: String) -> Result<(), String> {
    let (status, text) = send(url, headers, body, MOST).await?;
    if (200..300).contains(&status) {
        return Ok(());
    }
    let text = shorten(&masked(&printable(&String::from_utf8_lossy(&text))), 200);
    let said = if text.trim().is_empty() { String::new() } else { format!(": {}", text.trim()) };
    Err(format!("it answered {status}{said}"))
}
