//! The swarm part of the engine's API as plain JSON: a typed service loses what its type does not know.

use std::time::Duration;

use bollard::BollardRequest;
use bytes::Bytes;
use http::{HeaderValue, Method, Request, header};
use http_body_util::BodyExt as _;
use serde_json::Value;

use crate::engine::Engine;
pub(crate) use crate::engine::call::CallError as ApiError;
use crate::engine::call::{CallError, Limit};
use crate::error::{Failure, Kind};
use crate::poll;

/// How long a swarm may be without a leader before that is a failure. One round of an election takes 10 to 20 s, and
/// comes to nothing where two managers stand at once or are slow. Source: swarmkit, `DefaultRaftConfig`.
const LEADERLESS: Duration = Duration::from_secs(120);

/// Between two calls meanwhile.
const ELECTION: Duration = Duration::from_millis(250);

#[derive(Debug, Clone)]
pub(crate) struct Api {
    engine: Engine,
}

impl CallError {
    /// Another writer came between our read and our write.
    pub(crate) fn is_stale(&self) -> bool {
        self.message.contains("update out of sequence")
    }

    /// A new leader is being elected, or does not answer yet. What is too large, or not known to it, comes as 5xx too and
    /// stays so. Source: moby, api/server/httpstatus.
    pub(crate) fn is_leaderless(&self) -> bool {
        let words = ["rpc error", "leader", "context deadline", "not a swarm manager", "connection"];
        let refusals = ["code = ResourceExhausted", "code = Unimplemented"];
        self.status.is_some_and(|status| status >= 500)
            && !self.is_stale()
            && !refusals.iter().any(|code| self.message.contains(code))
            && words.iter().any(|word| self.message.to_lowercase().contains(word))
    }

    pub(crate) fn failure(&self, what: &str) -> Failure {
        let kind = if self.status.is_some_and(|status| status < 500) { Kind::Container } else { Kind::Engine };
        let failure = self.failure_of(kind, what);
        if self.is_leaderless() { failure.next("docker node ls on a manager says who is there") } else { failure }
    }
}

impl Api {
    pub(crate) fn of(engine: &Engine) -> Self {
        Self { engine: engine.clone() }
    }

    pub(crate) const fn engine(&self) -> &Engine {
        &self.engine
    }

    /// A call that is made again while a new leader is being elected: what was written without an answer is then said to
    /// be there already, or to be stale.
    pub(crate) async fn call(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
        auth: Option<&HeaderValue>,
    ) -> Result<Value, ApiError> {
        let mut is_first = true;
        let is_open = |answer: &Result<Value, ApiError>| answer.as_ref().is_err_and(ApiError::is_leaderless);
        poll::while_open(LEADERLESS, ELECTION, is_open, async || {
            let answer = self.once(method.clone(), path, body, auth).await;
            if let Some(error) = answer.as_ref().err().filter(|error| is_first && error.is_leaderless()) {
                tracing::warn!(path, said = error.message, "waiting for the swarm to elect a leader");
                is_first = false;
            }
            answer
        })
        .await
    }

    pub(crate) async fn once(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
        auth: Option<&HeaderValue>,
    ) -> Result<Value, ApiError> {
        let request = request(&self.engine, method, path, body, auth).map_err(|error| CallError::unreadable(&error))?;
        let call = call_name(request.method(), path);
        let (status, bytes) = self.engine.answer(Limit::Swarm, &call, self.engine.exchange(request)).await?;
        match status {
            200..300 if bytes.is_empty() => Ok(Value::Null),
            200..300 => serde_json::from_slice(&bytes).map_err(|error| CallError::unreadable(&error)),
            _ => Err(CallError::refused(Some(status), &words(&bytes))),
        }
    }

    pub(crate) async fn get(&self, path: &str) -> Result<Value, ApiError> {
        self.call(Method::GET, path, None, None).await
    }

    /// The same, where "not found" is an answer.
    pub(crate) async fn find(&self, path: &str) -> Result<Option<Value>, ApiError> {
        match self.get(path).await {
            Ok(found) => Ok(Some(found)),
            Err(error) if error.status == Some(404) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Removes what is at `path`. Nothing to do when it is gone.
    pub(crate) async fn remove(&self, path: &str) -> Result<(), ApiError> {
        match self.call(Method::DELETE, path, None, None).await {
            Err(error) if error.status != Some(404) => Err(error),
            _ => Ok(()),
        }
    }
}

impl Engine {
    /// Sends a request, and reads the whole answer.
    async fn exchange(&self, request: BollardRequest) -> Result<(u16, Bytes), bollard::errors::Error> {
        let response = self.dial.clone().send(request).await?;
        let status = response.status().as_u16();
        Ok((status, response.into_body().collect().await?.to_bytes()))
    }
}

fn request(
    engine: &Engine,
    method: Method,
    path: &str,
    body: Option<&Value>,
    auth: Option<&HeaderValue>,
) -> Result<BollardRequest, http::Error> {
    let uri = format!("{}{path}", engine.dial.base());
    let mut request = Request::builder().method(method).uri(uri).header(header::CONTENT_TYPE, "application/json");
    if let Some(auth) = auth {
        request = request.header("X-Registry-Auth", auth);
    }
    request.body(bollard::body_full(body.map(Value::to_string).unwrap_or_default().into()))
}

/// A call by docker's own name: `docker service update web`.
fn call_name(method: &Method, path: &str) -> String {
    let mut words = path.split('?').next().unwrap_or_default().trim_matches('/').split('/');
    let collection = words.next().unwrap_or_default();
    let (object, verb) = match (method, words.next(), words.next()) {
        (&Method::DELETE, object, _) => (object, "rm"),
        (&Method::POST, Some(verb), None) => (None, verb),
        (_, object, Some(verb)) => (object, verb),
        (_, Some(object), None) => (Some(object), "inspect"),
        (_, None, None) => (None, if collection == "info" { "" } else { "ls" }),
    };
    let words = ["docker", collection.trim_end_matches('s'), verb, object.unwrap_or_default()];
    words.into_iter().filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
}

fn words(bytes: &[u8]) -> String {
    let parsed = serde_json::from_slice::<Value>(bytes).ok();
    let message = parsed.as_ref().and_then(|answer| answer["message"].as_str()).map(str::to_owned);
    message.unwrap_or_else(|| String::from_utf8_lossy(bytes).into_owned())
}

/// `{"name": ["web"]}` as it stands in a query.
pub(crate) fn filter(key: &str, value: &str) -> String {
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
        let error = CallError::refused;
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
    fn a_call_has_dockers_own_name() {
        let names = [
            (Method::GET, "/info", "docker info"),
            (Method::GET, "/nodes", "docker node ls"),
            (Method::GET, "/services/web?status=true", "docker service inspect web"),
            (Method::POST, "/services/create", "docker service create"),
            (Method::POST, "/configs/0123/update?version=7", "docker config update 0123"),
            (Method::POST, "/swarm/init", "docker swarm init"),
            (Method::DELETE, "/secrets/0123", "docker secret rm 0123"),
        ];
        for (method, path, name) in names {
            assert_eq!(call_name(&method, path), name);
        }
    }

    #[test]
    fn a_filter_is_safe_in_a_query() {
        assert_eq!(filter("name", "a b&c"), "filters=%7B%22name%22%3A%5B%22a%20b%26c%22%5D%7D");
    }
}
