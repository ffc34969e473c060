//! One question to the health service of a gRPC server: `grpc.health.v1.Health/Check`.
//!
//! Source: grpc/grpc, doc/health-checking.md and doc/PROTOCOL-HTTP2.md; grpc/grpc-proto, grpc/health/v1/health.proto.

use bytes::Bytes;
use http::{HeaderMap, Request, Response, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;

use crate::config::GrpcProbe;
use crate::health::http::{UNKNOWN_ISSUER, name};
use crate::health::probe::{LIMIT, connect};
use crate::tls;
use crate::values::text::{printable, shorten};

const METHOD: &str = "/grpc.health.v1.Health/Check";

/// The most that is read of an answer, in bytes: a good one has seven.
const MOST: usize = 1024;

/// Characters of the server's own words in a message.
const WORDS: usize = 120;

/// Field 1 of `HealthCheckResponse`, a number.
const STATUS: u64 = 0x08;

/// Of `HealthCheckResponse.ServingStatus`.
const SERVING: u64 = 1;

/// Whether the server says SERVING.
/// Errors: Why not, in one clause.
pub(super) async fn ask(asked: &GrpcProbe) -> Result<String, String> {
    timeout(LIMIT, dial(asked)).await.unwrap_or_else(|_| Err(format!("no answer within {LIMIT:?}")))
}

async fn dial(asked: &GrpcProbe) -> Result<String, String> {
    let authority: http::uri::Authority = asked.address.parse().map_err(|error| format!("no address: {error}"))?;
    let host = authority.host().trim_start_matches('[').trim_end_matches(']');
    let stream = connect(host, authority.port_u16().ok_or("it names no port")?).await?;
    let Some(trust) = &asked.tls else { return exchange(stream, asked, "http").await };
    let config = tls::client(trust, None, &[b"h2"])?;
    let stream = tls::connect(stream, &name(asked.host.as_deref(), host), config, UNKNOWN_ISSUER).await?;
    exchange(stream, asked, "https").await
}

async fn exchange<S>(stream: S, asked: &GrpcProbe, scheme: &str) -> Result<String, String>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let host = asked.host.as_deref().unwrap_or(&asked.address);
    let request = Request::post(format!("{scheme}://{host}{METHOD}"))
        .header(header::CONTENT_TYPE, "application/grpc")
        .header(header::TE, "trailers")
        .header(header::USER_AGENT, concat!("balehook/", env!("CARGO_PKG_VERSION")))
        .body(Full::new(Bytes::from(framed(&asked.service))))
        .map_err(|error| error.to_string())?;
    let handshake = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await;
    let (mut sender, connection) = handshake.map_err(|error| no_http2(&error))?;
    let driver = tokio::spawn(connection);
    let verdict = match sender.send_request(request).await {
        Ok(response) => judge(asked, response).await,
        Err(error) => Err(no_http2(&error)),
    };
    driver.abort();
    verdict
}

fn no_http2(error: &hyper::Error) -> String {
    format!("it does not speak HTTP/2 as gRPC does: {}", crate::error::chain(error))
}

async fn judge(asked: &GrpcProbe, response: Response<Incoming>) -> Result<String, String> {
    let (head, body) = response.into_parts();
    let kind = head.headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    if !head.status.is_success() || !kind.starts_with("application/grpc") {
        return Err(format!("it answered {}, and is no gRPC server", head.status));
    }
    let body = Limited::new(body, MOST).collect().await.map_err(|error| format!("its answer broke off: {error}"))?;
    let trailers = body.trailers().cloned().unwrap_or_default();
    // An error alone comes in the head.
    let end = if trailers.contains_key("grpc-status") { &trailers } else { &head.headers };
    match number(end) {
        Some(0) => serving(&body.to_bytes()),
        Some(code) => Err(refused(asked, code, end)),
        None => Err("its answer has no grpc-status".to_owned()),
    }
}

fn number(headers: &HeaderMap) -> Option<u32> {
    headers.get("grpc-status")?.to_str().ok()?.parse().ok()
}

fn serving(message: &[u8]) -> Result<String, String> {
    match status(message) {
        Some(SERVING) => Ok("SERVING".to_owned()),
        Some(0) => Err("it answered UNKNOWN".to_owned()),
        Some(2) => Err("it answered NOT_SERVING".to_owned()),
        Some(3) => Err("it answered SERVICE_UNKNOWN".to_owned()),
        Some(other) => Err(format!("it answered the status {other}, which is not known")),
        None => Err("its answer is no HealthCheckResponse".to_owned()),
    }
}

/// What a server says that does not answer the question.
fn refused(asked: &GrpcProbe, code: u32, end: &HeaderMap) -> String {
    let words = end.get("grpc-message").and_then(|words| words.to_str().ok()).unwrap_or_default();
    let words = shorten(&printable(words), WORDS);
    let words = if words.is_empty() { words } else { format!(": {words}") };
    match code {
        5 => format!("the server's health service knows no service `{}` (NOT_FOUND)", asked.service),
        12 => format!("the server has no health service grpc.health.v1.Health (UNIMPLEMENTED{words})"),
        14 => format!("it answered UNAVAILABLE{words}"),
        16 => format!("it answered UNAUTHENTICATED{words}"),
        code => format!("it answered grpc-status {code}{words}"),
    }
}

/// A `HealthCheckRequest` of a service, behind the five bytes that say it is not compressed, and how long it is.
fn framed(service: &str) -> Vec<u8> {
    let mut message = Vec::new();
    if !service.is_empty() {
        // Field 1, a text.
        message.push(0x0a);
        push_varint(&mut message, service.len());
        message.extend_from_slice(service.as_bytes());
    }
    let length = u32::try_from(message.len()).unwrap_or(u32::MAX).to_be_bytes();
    [[0].as_slice(), &length, &message].concat()
}

fn push_varint(to: &mut Vec<u8>, mut value: usize) {
    while value >= 0x80 {
        to.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    to.push(value as u8);
}

/// The status of a `HealthCheckResponse` behind its five bytes: field 1, a number, which is left out where it is 0.
fn status(framed: &[u8]) -> Option<u64> {
    let (head, mut message) = framed.split_at_checked(5)?;
    let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]);
    if head[0] != 0 || usize::try_from(length).ok()? != message.len() {
        return None;
    }
    let mut status = 0;
    while !message.is_empty() {
        let tag = varint(&mut message)?;
        match tag & 7 {
            0 => {
                let value = varint(&mut message)?;
                status = if tag == STATUS { value } else { status };
            }
            // A text or a message that a later version may have.
            2 => {
                let length = usize::try_from(varint(&mut message)?).ok()?;
                message = message.get(length..)?;
            }
            _ => return None,
        }
    }
    Some(status)
}

fn varint(from: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for place in 0..10 {
        let (byte, rest) = from.split_first()?;
        *from = rest;
        value |= u64::from(byte & 0x7f).checked_shl(7 * place)?;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}
