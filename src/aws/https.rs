//! One request over HTTPS or HTTP, by the SDK's own client: its roots, and the proxy that HTTPS_PROXY and its like name.

pub(crate) use aws_smithy_http_client::Connector;
use aws_smithy_http_client::proxy::ProxyConfig;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore};
use aws_smithy_runtime_api::client::http::HttpConnector as _;
use aws_smithy_types::body::SdkBody;
use base64::Engine as _;
use bytes::Bytes;
use http::{Method, StatusCode};
use http_body_util::{BodyExt as _, Limited};
use rustls::RootCertStore;

use crate::error::chain;
use crate::values::secret::masked;
use crate::values::text::{printable, shorten};

/// So much of an answer is read where only its beginning is shown.
const MOST: usize = 16 * 1024;

/// So much of what is fetched; manifests have at most 4 MiB.
const MOST_FETCHED: usize = 4 * 1024 * 1024;

/// What was answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    /// The `WWW-Authenticate` headers.
    pub(crate) challenges: Vec<String>,
    /// Where the answer is instead.
    pub(crate) location: Option<String>,
    pub(crate) body: Bytes,
}

/// Fetches something small; the caller bounds the time. `certificates`: in DER, trusted beside the system's.
/// Errors: Why there is no answer, in one line, without the address.
pub(crate) async fn get(url: &str, headers: &[(String, String)], certificates: &[Vec<u8>]) -> Result<Answer, String> {
    let request = request(Method::GET, url, headers, SdkBody::empty())?;
    ask(&connector(certificates)?, request, MOST_FETCHED).await
}

/// What several requests are sent by: the system's roots are read once, and a connection serves again.
/// Errors: Why there is none.
pub(crate) fn client() -> Result<Connector, String> {
    connector(&[])
}

/// Sends it; the caller bounds the time. The answer's body may have `most` bytes.
/// Errors: Why there is no answer, in one line, without the address.
pub(crate) async fn send(
    client: &Connector,
    url: &str,
    headers: &[(String, String)],
    body: String,
    most: usize,
) -> Result<Answer, String> {
    ask(client, request(Method::POST, url, headers, SdkBody::from(body))?, most).await
}

/// The same where only a success counts, and no word of its answer.
/// Errors: Why it was not taken, in one line, without the address.
pub(crate) async fn post(url: &str, headers: &[(String, String)], body: String) -> Result<(), String> {
    let request = request(Method::POST, url, headers, SdkBody::from(body))?;
    let answer = call(&client()?, request).await?;
    let status = answer.status();
    if status.is_success() {
        return Ok(());
    }
    let body = start(answer.into_body(), MOST).await;
    let text = shorten(&masked(&printable(&String::from_utf8_lossy(&body))), 200);
    let said = if text.trim().is_empty() { String::new() } else { format!(": {}", text.trim()) };
    Err(format!("it answered {}{said}", status.as_u16()))
}

type Request = aws_smithy_runtime_api::http::Request<SdkBody>;
type Response = aws_smithy_runtime_api::http::Response<SdkBody>;

fn request(method: Method, url: &str, headers: &[(String, String)], body: SdkBody) -> Result<Request, String> {
    let mut request = http::Request::builder().method(method).uri(url);
    for (name, value) in headers {
        request = request.header(name, value);
    }
    let request = request.body(body).map_err(|error| error.to_string())?;
    request.try_into().map_err(|error| format!("it cannot be sent: {}", chain(&error)))
}

async fn ask(connector: &Connector, request: Request, most: usize) -> Result<Answer, String> {
    let answer = call(connector, request).await?;
    let challenges = answer.headers().get_all("www-authenticate").map(str::to_owned).collect();
    let location = answer.headers().get("location").map(str::to_owned);
    let status = StatusCode::from_u16(answer.status().as_u16()).map_err(|error| error.to_string())?;
    let body = match status.is_success() {
        true => whole(answer.into_body(), most).await?,
        false => start(answer.into_body(), most).await,
    };
    Ok(Answer { status, challenges, location, body })
}

async fn call(connector: &Connector, request: Request) -> Result<Response, String> {
    connector.call(request).await.map_err(|error| said(&chain(&error)))
}

async fn whole(body: SdkBody, most: usize) -> Result<Bytes, String> {
    let body = Limited::new(body, most).collect().await.map_err(|error| said(&error.to_string()))?;
    Ok(body.to_bytes())
}

/// What comes of a refusal's body until it ends, breaks off or has `most` bytes: the status has said enough.
async fn start(mut body: SdkBody, most: usize) -> Bytes {
    let mut start = Vec::new();
    while let Some(Ok(frame)) = body.frame().await {
        start.extend_from_slice(&frame.into_data().unwrap_or_default());
        if start.len() >= most {
            break;
        }
    }
    start.truncate(most);
    start.into()
}

fn said(why: &str) -> String {
    shorten(&masked(&printable(why)), 300)
}

fn connector(certificates: &[Vec<u8>]) -> Result<Connector, String> {
    let mut roots = TrustStore::default();
    // The client ends the program at one that it cannot read.
    let good = |der: &&Vec<u8>| RootCertStore::empty().add(der.as_slice().into()).is_ok();
    for der in certificates.iter().filter(good) {
        let body = base64::engine::general_purpose::STANDARD.encode(der);
        let pem = format!("-----BEGIN CERTIFICATE-----\n{body}\n-----END CERTIFICATE-----\n");
        roots.add_pem_certificate(pem.into_bytes());
    }
    let context = TlsContext::builder().with_trust_store(roots).build().map_err(|error| error.to_string())?;
    let connector = Connector::builder().proxy_config(ProxyConfig::from_env());
    Ok(connector.tls_provider(Provider::Rustls(CryptoMode::AwsLc)).tls_context(context).build())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    /// A server that promises a body of 99 bytes and sends `why`; then it hangs up, or stays silent.
    async fn broken(status: u16, hangs_up: bool) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let _ = stream.read(&mut [0; 4096]).await.unwrap();
            let answer = format!("HTTP/1.1 {status} X\r\ncontent-length: 99\r\n\r\nwhy");
            stream.write_all(answer.as_bytes()).await.unwrap();
            if !hangs_up {
                std::future::pending::<()>().await;
            }
        });
        url
    }

    #[tokio::test]
    async fn a_status_counts_although_the_body_after_it_breaks_off_or_never_ends() {
        for hangs_up in [true, false] {
            let url = broken(200, hangs_up).await;
            assert_eq!(post(&url, &[], "{}".into()).await, Ok(()));
        }
        let url = broken(403, true).await;
        assert_eq!(post(&url, &[], "{}".into()).await, Err("it answered 403: why".into()));
        let url = broken(404, true).await;
        let answer = get(&url, &[], &[]).await.unwrap();
        assert_eq!((answer.status.as_u16(), &answer.body[..]), (404, &b"why"[..]));
    }

    #[tokio::test]
    async fn a_body_that_is_wanted_must_be_whole() {
        let url = broken(200, true).await;
        let why = get(&url, &[], &[]).await.unwrap_err();
        assert!(why.contains("error reading a body"), "{why}");
    }
}
