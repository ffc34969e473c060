//! The client against engines of every bad kind: listeners that refuse, say nothing, break off, or dribble.
#![allow(clippy::unwrap_used)]

use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixListener;

use super::*;
use crate::engine::request::Target;

const SOON: Duration = Duration::from_millis(300);

/// An engine that answers every request with these bytes, and then closes the connection, or keeps it open.
struct FakeEngine {
    _folder: tempfile::TempDir,
    engine: Engine,
}

impl FakeEngine {
    fn new(answer: impl Into<String>, keeps_open: bool) -> Self {
        let answer = answer.into();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("docker.sock");
        let listener = UnixListener::bind(&path).unwrap();
        tokio::spawn(async move {
            let mut open = Vec::new();
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut request = [0; 4096];
                let _ = stream.read(&mut request).await;
                let _ = stream.write_all(answer.as_bytes()).await;
                if keeps_open {
                    open.push(stream);
                }
            }
        });
        Self { engine: Engine::connect(Some(&format!("unix://{}", path.display()))).unwrap(), _folder: folder }
    }

    fn address(&self) -> &str {
        &self.engine.address
    }

    /// The engine, of which nothing is asked for long.
    fn soon(&self) -> Engine {
        self.engine.until(Instant::now() + SOON)
    }
}

fn web() -> Target {
    Target { name: "web".into(), id: Some("0123".into()) }
}

fn message<T: std::fmt::Debug>(result: Result<T, Failure>) -> (Kind, String) {
    let failure = result.unwrap_err();
    (failure.kind, failure.message)
}

#[tokio::test]
async fn an_engine_that_accepts_and_says_nothing_is_named_with_what_was_asked_and_for_how_long() {
    let fake = FakeEngine::new("", true);
    let said = |call: &str, time| format!("the engine at {} has not answered `{call}` for {time}", fake.address());
    assert_eq!(message(fake.soon().start(&web()).await), (Kind::Engine, said("docker start web", "0.3 s")));
    let stopped = fake.soon().stop(&web(), Duration::from_secs(30)).await;
    assert_eq!(message(stopped), (Kind::Engine, said("docker stop web", "0.3 s")));
    assert_eq!(message(fake.soon().hello().await), (Kind::Engine, said("docker version", "0.3 s")));
    let body = serde_json::json!({});
    let api = api::Api::of(&fake.soon());
    let updated = api.call(http::Method::POST, "/services/0123/update?version=7", Some(&body), None).await;
    assert_eq!(updated.unwrap_err().message, said("docker service update 0123", "0.3 s"));
}

#[tokio::test]
async fn a_body_that_stops_in_the_middle_counts_as_no_answer() {
    let fake = FakeEngine::new("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"Id\":", true);
    let (kind, said) = message(fake.soon().inspect("web").await);
    assert_eq!(kind, Kind::Engine);
    assert!(said.ends_with("has not answered `docker inspect web` for 0.3 s"), "{said}");
}

#[tokio::test]
async fn when_no_time_is_left_nothing_is_waited_for_and_the_message_says_so() {
    let fake = FakeEngine::new("", true);
    let late = fake.engine.until(Instant::now()).until(Instant::now() + Duration::from_secs(60));
    let (kind, said) = message(late.remove("web").await);
    assert_eq!(kind, Kind::Engine);
    let address = fake.address();
    assert_eq!(said, format!("no time was left to ask the engine at {address} for `docker rm --force web`"));
}

#[tokio::test]
async fn an_engine_that_is_not_there_cannot_be_reached_and_one_that_breaks_off_is_said_to() {
    let nowhere = Engine::connect(Some("unix:///nowhere/docker.sock")).unwrap();
    let (kind, said) = message(nowhere.hello().await);
    assert_eq!(kind, Kind::Engine);
    let reached = "the engine at unix:///nowhere/docker.sock cannot be reached: No such file or directory";
    assert!(said.starts_with(reached), "{said}");
    let fake = FakeEngine::new("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{", false);
    let (kind, said) = message(fake.engine.inspect("web").await);
    assert_eq!(kind, Kind::Engine);
    assert!(said.starts_with(&format!("the connection to the engine at {} broke: ", fake.address())), "{said}");
}

#[tokio::test]
async fn a_pull_that_goes_silent_ends_with_that_after_what_was_said() {
    let line = "{\"status\":\"Downloading\",\"id\":\"a\"}\r\n";
    let answer = format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{line}\r\n", line.len());
    let fake = FakeEngine::new(answer, true);
    let items: Vec<_> = fake.soon().pull("r.example/web@sha256:0", None, None).collect().await;
    let [Ok(first), Err(last)] = items.as_slice() else { panic!("{items:?}") };
    assert_eq!(first.status.as_deref(), Some("Downloading"));
    assert!(last.is_silence(), "{last:?}");
    assert!(last.message.contains("has not answered `docker pull r.example/web@sha256:0` for 0."), "{last:?}");
}

#[tokio::test]
async fn a_load_whose_body_is_not_taken_is_given_up() {
    let fake = FakeEngine::new("", true);
    let loading = fake.soon().load();
    let chunk = bytes::Bytes::from(vec![0; 1024 * 1024]);
    let error = loop {
        match loading.body().unwrap().send(chunk.clone()).await {
            Ok(()) => {}
            Err(load::NotTaken::Silent(error)) => break error,
            Err(load::NotTaken::Ended) => panic!("the engine has ended nothing"),
        }
    };
    assert!(error.message.contains("has not answered `docker load` for "), "{error:?}");
}

#[tokio::test]
async fn a_load_without_an_answer_is_given_up_where_the_engine_answers_nothing_else_either() {
    let fake = FakeEngine::new("", true);
    let error = fake.soon().load().end().await.unwrap_err();
    assert!(error.is_silence() && error.message.contains("has not answered `docker load` for 0."), "{error:?}");
}

#[tokio::test]
async fn what_is_done_already_is_no_failure() {
    let gone = FakeEngine::new("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", false);
    assert_eq!(gone.engine.stop(&web(), Duration::ZERO).await, Ok(()));
    assert_eq!(gone.engine.kill(&web()).await, Ok(()));
    assert_eq!(gone.engine.remove("web").await, Ok(()));
    assert_eq!(gone.engine.inspect("web").await, Ok(None));
    let (kind, _) = message(gone.engine.start(&web()).await);
    assert_eq!(kind, Kind::Container, "a container that is gone cannot be started");
    let runs = FakeEngine::new("HTTP/1.1 304 Not Modified\r\n\r\n", false);
    assert_eq!(runs.engine.start(&web()).await, Ok(()));
}

#[tokio::test]
async fn the_engines_own_words_are_passed_on() {
    let body = r#"{"message":"driver  failed:\nport"}"#;
    let answer = format!("HTTP/1.1 500 Internal Server Error\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    let fake = FakeEngine::new(answer, false);
    let said = "cannot start web: driver failed: port".to_owned();
    assert_eq!(message(fake.engine.start(&web()).await), (Kind::Container, said));
}
