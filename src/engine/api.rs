//! The swarm part of the engine's API as plain JSON: a typed service loses what its type does not know.

use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, header};
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::TokioIo;
use serde_json::Value;

use crate::engine::Engine;
use crate::error::{Failure, Kind};

/// How long one call may take: a manager that waits for a new leader gives up after 20 s.
/// Source: moby, daemon/cluster, `swarmRequestTimeout`.
const CALL: Duration = Duration::from_secs(30);

/// How long a swarm may be without a leader before that is a failure. One round of an election takes 10 to 20 s, and
/// comes to nothing where two managers stand at once or are slow. Source: swarmkit, `DefaultRaftConfig`.
const LEADERLESS: Duration = Duration::from_secs(120);

/// Between two calls meanwhile.
const ELECTION: Duration = Duration::from_millis(250);

/// The engine's API for swarm.
#[derive(Debug, Clone)]
pub struct Api {
    address: String,
}

/// Why a call failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiError {
    /// The HTTP status; `None` where there was no answer.
    pub status: Option<u16>,
    /// The engine's own words.
    pub message: String,
}

impl ApiError {
    /// Somebody wrote between our look and our write.
    pub fn is_stale(&self) -> bool {
        self.message.contains("update out of sequence")
    }

    /// A new leader is being elected, or does not answer yet. What is too large, or not known to it, comes as 5xx too and
    /// stays so. Source: moby, api/server/httpstatus.
    pub fn is_leaderless(&self) -> bool {
        let words = ["rpc error", "leader", "context deadline", "not a swarm manager", "connection"];
        let refusals = ["code = ResourceExhausted", "code = Unimplemented"];
        self.status.is_some_and(|status| status >= 500)
            && !self.is_stale()
            && !refusals.iter().any(|code| self.message.contains(code))
            && words.iter().any(|word| self.message.to_lowercase().contains(word))
    }

    /// As a failure of what was tried.
    pub fn failure(&self, what: &str) -> Failure {
        let kind = if self.status.is_some_and(|status| status < 500) { Kind::Container } else { Kind::Engine };
        let failure = Failure::new(kind, format!("cannot {what}: {}", self.message));
        if self.is_leaderless() { failure.next("docker node ls on a manager says who is there") } else { failure }
    }
}

impl Api {
    /// The API of an engine.
    pub fn of(engine: &Engine) -> Self {
        Self { address: engine.address.clone() }
    }

    /// A call that is made again while a new leader is being elected: what was written without an answer is then said to
    /// be there already, or to be stale.
    ///
    /// # Errors
    /// See [`ApiError`].
    pub async fn call(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
        auth: Option<&HeaderValue>,
    ) -> Result<Value, ApiError> {
        let mut since: Option<Instant> = None;
        loop {
            let answer = self.once(method.clone(), path, body, auth).await;
            let Some(error) = answer.as_ref().err().filter(|error| error.is_leaderless()) else { return answer };
            let since = since.get_or_insert_with(|| {
                tracing::warn!(path, said = error.message, "waiting for the swarm to elect a leader");
                Instant::now()
            });
            if since.elapsed() >= LEADERLESS {
                return answer;
            }
            tokio::time::sleep(ELECTION).await;
        }
    }

    /// A call that is made once.
    ///
    /// # Errors
    /// See [`ApiError`].
    pub async fn once(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
        auth: Option<&HeaderValue>,
    ) -> Result<Value, ApiError> {
        let bytes = self.bytes(method, path, body, auth).await?;
        if bytes.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_slice(&bytes).map_err(|error| lost(&format!("the engine's answer is no JSON: {error}")))
    }

    /// The same, with the answer as it is.
    ///
    /// # Errors
    /// See [`ApiError`].
    pub async fn bytes(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
        auth: Option<&HeaderValue>,
    ) -> Result<Bytes, ApiError> {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, "docker")
            .header(header::CONTENT_TYPE, "application/json");
        if let Some(auth) = auth {
            request = request.header("X-Registry-Auth", auth);
        }
        let text = body.map(Value::to_string).unwrap_or_default();
        let request = request.body(Full::new(Bytes::from(text))).map_err(|error| lost(&error.to_string()))?;
        let sent = tokio::time::timeout(CALL, self.send(request)).await;
        let (status, bytes) =
            sent.map_err(|_| lost(&format!("no answer within {CALL:?}")))?.map_err(|why| lost(&why))?;
        match status {
            200..300 => Ok(bytes),
            _ => Err(ApiError { status: Some(status), message: words(&bytes) }),
        }
    }

    async fn send(&self, request: Request<Full<Bytes>>) -> Result<(u16, Bytes), String> {
        let text = |error: &dyn std::error::Error| crate::error::chain(error);
        if let Some(path) = self.address.strip_prefix("unix://") {
            let stream = tokio::net::UnixStream::connect(path).await.map_err(|error| text(&error))?;
            return exchange(TokioIo::new(stream), request).await.map_err(|error| text(&error));
        }
        let authority = self.address.split_once("://").map_or(self.address.as_str(), |(_, rest)| rest);
        let stream = tokio::net::TcpStream::connect(authority).await.map_err(|error| text(&error))?;
        exchange(TokioIo::new(stream), request).await.map_err(|error| text(&error))
    }

    /// A question.
    ///
    /// # Errors
    /// See [`ApiError`].
    pub async fn get(&self, path: &str) -> Result<Value, ApiError> {
        self.call(Method::GET, path, None, None).await
    }

    /// The same, where "not found" is an answer.
    ///
    /// # Errors
    /// See [`ApiError`].
    pub async fn find(&self, path: &str) -> Result<Option<Value>, ApiError> {
        match self.get(path).await {
            Ok(found) => Ok(Some(found)),
            Err(error) if error.status == Some(404) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Removes what is at `path`. Nothing to do when it is gone.
    ///
    /// # Errors
    /// See [`ApiError`].
    pub async fn remove(&self, path: &str) -> Result<(), ApiError> {
        match self.call(Method::DELETE, path, None, None).await {
            Err(error) if error.status != Some(404) => Err(error),
            _ => Ok(()),
        }
    }
}

async fn exchange<S>(stream: TokioIo<S>, request: Request<Full<Bytes>>) -> Result<(u16, Bytes), hyper::Error>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) = hyper::client::conn::http1::handshake(stream).await?;
    let driver = tokio::spawn(connection);
    let answer = async {
        let response = sender.send_request(request).await?;
        let status = response.status().as_u16();
        Ok((status, response.into_body().collect().await?.to_bytes()))
    };
    let answer = answer.await;
    driver.abort();
    answer
}

fn lost(message: &str) -> ApiError {
    ApiError { status: None, message: message.to_owned() }
}

fn words(bytes: &[u8]) -> String {
    let parsed = serde_json::from_slice::<Value>(bytes).ok();
    let message = parsed.as_ref().and_then(|answer| answer["message"].as_str()).map(str::to_owned);
    let text = message.unwrap_or_else(|| String::from_utf8_lossy(bytes).into_owned());
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// `{"name": ["web"]}` as it stands in a query.
pub fn filter(key: &str, value: &str) -> String {
    let json = serde_json::json!({ key: [value] }).to_string();
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    let encoded: Vec<String> = json
        .bytes()
        .map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect();
    format!("filters={}", encoded.concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stale_version_is_not_taken_for_a_missing_leader() {
        let error = |status, message: &str| ApiError { status, message: message.into() };
        let stale = error(Some(500), "rpc error: code = Unknown desc = update out of sequence");
        assert!(stale.is_stale() && !stale.is_leaderless());
        let leaderless = error(Some(503), "rpc error: code = Unknown desc = The swarm does not have a leader.");
        assert!(leaderless.is_leaderless() && !leaderless.is_stale());
        assert!(!error(Some(409), "rpc error: code = AlreadyExists").is_leaderless());
        let refused = "rpc error: code = ResourceExhausted desc = grpc: received message larger than max (5 vs. 4)";
        assert!(!error(Some(500), refused).is_leaderless(), "it is as large the next time");
        assert!(!error(None, "connection refused").is_leaderless(), "an engine that is gone elects nobody");
    }

    #[test]
    fn a_filter_is_safe_in_a_query() {
        assert_eq!(filter("name", "a b&c"), "filters=%7B%22name%22%3A%5B%22a%20b%26c%22%5D%7D");
    }
}
