//! The client against engines of every bad kind: they refuse, say nothing, break off, dribble. The clock is tokio's: it
//! leaps when nothing else can happen.
#![allow(clippy::unwrap_used)]

use futures_util::StreamExt as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixListener;

use super::*;
use crate::values::target::Target;

/// An engine on a socket of its own.
pub(crate) struct FakeEngine {
    _folder: tempfile::TempDir,
    pub(crate) engine: Engine,
}

#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Then {
    Closed,
    Open,
}

impl FakeEngine {
    /// Answers a request, which begins with its method and path, with these bytes.
    pub(crate) fn answering(then: Then, answer: impl Fn(&str) -> String + Send + Sync + 'static) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("docker.sock");
        let listener = UnixListener::bind(&path).unwrap();
        tokio::spawn(async move {
            let mut open = Vec::new();
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut request = [0; 4096];
                let count = stream.read(&mut request).await.unwrap_or(0);
                let answer = answer(&String::from_utf8_lossy(&request[..count]));
                let _ = stream.write_all(answer.as_bytes()).await;
                if then == Then::Open {
                    open.push(stream);
                }
            }
        });
        Self { engine: Engine::connect(Some(&format!("unix://{}", path.display()))).unwrap(), _folder: folder }
    }

    fn silent() -> Self {
        Self::answering(Then::Open, |_| String::new())
    }

    fn said(&self, call: &str, time: &str) -> (Kind, String) {
        (Kind::Engine, format!("the engine at {} has not answered `{call}` for {time}", self.engine.address))
    }
}

pub(crate) fn http(status: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

fn web() -> Target {
    Target { name: "web".into(), id: Some("0123".into()) }
}

fn message<T: std::fmt::Debug>(result: Result<T, Failure>) -> (Kind, String) {
    let failure = result.unwrap_err();
    (failure.kind, failure.message)
}

#[tokio::test(start_paused = true)]
async fn an_engine_that_accepts_and_says_nothing_is_named_with_what_was_asked_and_for_how_long() {
    let fake = FakeEngine::silent();
    let engine = &fake.engine;
    assert_eq!(message(engine.hello().await), fake.said("docker version", "10 s"));
    assert_eq!(message(engine.inspect("web").await), fake.said("docker inspect web", "10 s"));
    assert_eq!(message(engine.start(&web()).await), fake.said("docker start web", "60 s"));
    let stopped = engine.stop(&web(), Duration::from_secs(30)).await;
    assert_eq!(message(stopped), fake.said("docker stop web", "40 s"));
    let updated = api::Api::of(engine).call(http::Method::POST, "/services/0123/update?version=7", None, None).await;
    let said = fake.said("docker service update 0123", "30 s");
    assert_eq!(message(updated.map_err(|error| error.failure("update service web"))), said);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_its_caller_gives_up_can_be_named_in_that_moment() {
    let fake = FakeEngine::silent();
    let nine = Duration::from_secs(9);
    assert!(tokio::time::timeout(nine, fake.engine.clone().start(&web())).await.is_err());
    assert_eq!(fake.engine.waits.given_up(), Some(fake.said("docker start web", "9 s").1));
    assert!(tokio::time::timeout(nine, fake.engine.load().end()).await.is_err());
    assert_eq!(fake.engine.waits.given_up(), Some(fake.said("docker load", "9 s").1));
}

#[tokio::test(start_paused = true)]
async fn a_body_that_stops_in_the_middle_counts_as_no_answer() {
    let fake = FakeEngine::answering(Then::Open, |_| "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"Id\":".into());
    assert_eq!(message(fake.engine.inspect("web").await), fake.said("docker inspect web", "10 s"));
}

#[tokio::test]
async fn an_engine_that_is_not_there_cannot_be_reached_and_one_that_breaks_off_is_said_to() {
    let nowhere = Engine::connect(Some("unix:///nowhere/docker.sock")).unwrap();
    let (kind, said) = message(nowhere.hello().await);
    assert_eq!(kind, Kind::Engine);
    let reached = "the engine at unix:///nowhere/docker.sock cannot be reached: No such file or directory";
    assert!(said.starts_with(reached), "{said}");
    let fake = FakeEngine::answering(Then::Closed, |_| "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{".into());
    let (kind, said) = message(fake.engine.inspect("web").await);
    assert_eq!(kind, Kind::Engine);
    let broke = format!("cannot inspect web: the connection to the engine at {} broke: ", fake.engine.address);
    assert!(said.starts_with(&broke), "{said}");
}

#[tokio::test(start_paused = true)]
async fn a_pull_that_goes_silent_ends_with_that_after_what_was_said() {
    let line = "{\"status\":\"Downloading\",\"id\":\"a\"}\r\n";
    let answer = format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{line}\r\n", line.len());
    let fake = FakeEngine::answering(Then::Open, move |_| answer.clone());
    let items: Vec<_> = fake.engine.pull("r.example/web@sha256:0", None, None).collect().await;
    let [Ok(first), Err(last)] = items.as_slice() else { panic!("{items:?}") };
    assert_eq!(first.status.as_deref(), Some("Downloading"));
    assert!(last.is_silence(), "{last:?}");
    assert_eq!(last.message, fake.said("docker pull r.example/web@sha256:0", "60 s").1);
}

#[tokio::test(start_paused = true)]
async fn a_load_whose_body_is_not_taken_is_given_up() {
    let fake = FakeEngine::silent();
    let loading = fake.engine.load();
    let chunk = bytes::Bytes::from(vec![0; 1024 * 1024]);
    let error = loop {
        match loading.body().unwrap().send(chunk.clone()).await {
            Ok(()) => {}
            Err(load::NotTaken::Silent(error)) => break error,
            Err(load::NotTaken::Ended) => panic!("the engine has ended nothing"),
        }
    };
    assert_eq!(error.message, fake.said("docker load", "60 s").1);
}

#[tokio::test(start_paused = true)]
async fn a_load_without_an_answer_is_given_up_at_once_where_the_engine_answers_nothing_else_either() {
    let fake = FakeEngine::silent();
    let error = fake.engine.load().end().await.unwrap_err();
    assert_eq!(error.message, fake.said("docker load", "60 s").1);
    let works = FakeEngine::answering(Then::Open, |request| match request.contains("/version") {
        true => http("200 OK", "{}"),
        false => String::new(),
    });
    let error = works.engine.load().end().await.unwrap_err();
    assert_eq!(error.message, works.said("docker load", "600 s").1, "it may be unpacking");
}

#[tokio::test]
async fn what_is_done_already_is_no_failure() {
    let gone = FakeEngine::answering(Then::Closed, |_| http("404 Not Found", ""));
    assert_eq!(gone.engine.stop(&web(), Duration::ZERO).await, Ok(()));
    assert_eq!(gone.engine.kill(&web()).await, Ok(()));
    assert_eq!(gone.engine.remove("web").await, Ok(()));
    assert_eq!(gone.engine.inspect("web").await, Ok(None));
    let (kind, _) = message(gone.engine.start(&web()).await);
    assert_eq!(kind, Kind::Container, "a container that is gone cannot be started");
    let runs = FakeEngine::answering(Then::Closed, |_| "HTTP/1.1 304 Not Modified\r\n\r\n".into());
    assert_eq!(runs.engine.start(&web()).await, Ok(()));
}

#[tokio::test]
async fn the_engines_own_words_are_passed_on() {
    let body = r#"{"message":"driver  failed:\nport"}"#;
    let fake = FakeEngine::answering(Then::Closed, move |_| http("500 Internal Server Error", body));
    let said = "cannot start web: driver failed: port".to_owned();
    assert_eq!(message(fake.engine.start(&web()).await), (Kind::Container, said));
}

#[tokio::test(start_paused = true)]
async fn an_engine_that_is_away_is_waited_for_a_minute_by_who_may_wait_and_is_named_then() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("docker.sock");
    let away = || Engine::connect(Some(&format!("unix://{}", path.display()))).unwrap();
    let asked = async |engine: &Engine| {
        let began = tokio::time::Instant::now();
        let failure = engine.list().await.unwrap_err();
        assert!(failure.message.ends_with("cannot be reached: No such file or directory (os error 2)"), "{failure}");
        began.elapsed().as_secs()
    };
    let engine = away().patient(absence::PATIENCE);
    assert_eq!((asked(&away()).await, asked(&engine).await), (0, 60));
    assert_eq!(asked(&engine).await, 0, "it has been waited for");
    assert_eq!(engine.absences(), 1);
}

/// Answers after so long, from its first connection on.
fn slow_engine(path: &std::path::Path, after: Duration) {
    let listener = UnixListener::bind(path).unwrap();
    tokio::spawn(async move {
        let began = tokio::time::Instant::now();
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                tokio::time::sleep_until(began + after).await;
                let _ = stream.read(&mut [0; 4096]).await;
                let _ = stream.write_all(http("200 OK", r#"{"Version":"20.10.24"}"#).as_bytes()).await;
            });
        }
    });
}

#[tokio::test(start_paused = true)]
async fn an_engine_that_accepts_while_it_is_starting_is_waited_for_a_minute_and_one_that_hangs_is_named_after_ten_seconds()
 {
    let own = std::process::id().to_string();
    let asked = async |name: &str, at: u64, answers_after: u64, patience: Duration| {
        let (folder, proc) = (tempfile::tempdir().unwrap(), starting::tests::proc(&[(own.as_str(), name, at)]));
        let path = folder.path().join("docker.sock");
        slow_engine(&path, Duration::from_secs(answers_after));
        let mut engine = Engine::connect(Some(&format!("unix://{}", path.display()))).unwrap().patient(patience);
        engine.dial.proc = proc.path().to_owned();
        let began = tokio::time::Instant::now();
        let answer = engine.hello().await.map(|facts| facts.version).map_err(|failure| failure.kind);
        (answer, began.elapsed().as_secs())
    };
    let (young, old) = (990, 10);
    assert_eq!(asked("dockerd", young, 25, absence::PATIENCE).await, (Ok("20.10.24".into()), 25));
    assert_eq!(asked("dockerd", young, 900, absence::PATIENCE).await, (Err(Kind::Engine), 60));
    assert_eq!(asked("dockerd", old, 25, absence::PATIENCE).await, (Err(Kind::Engine), 10), "it hangs");
    assert_eq!(asked("proxy", young, 25, absence::PATIENCE).await, (Err(Kind::Engine), 10));
    assert_eq!(asked("dockerd", young, 25, Duration::ZERO).await, (Err(Kind::Engine), 10), "a plan does not wait");
}

#[tokio::test]
async fn a_question_that_a_restart_of_the_engine_cut_off_is_asked_once_more_and_a_change_is_not_made_twice() {
    use std::sync::atomic::{AtomicUsize, Ordering};
    let asked = std::sync::Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    let cut = FakeEngine::answering(Then::Closed, move |request| match count.fetch_add(1, Ordering::SeqCst) {
        0 => String::new(),
        _ if request.starts_with("GET") => http("200 OK", "[]"),
        _ => String::new(),
    });
    let engine = cut.engine.clone().patient(absence::PATIENCE);
    assert_eq!(engine.list().await.unwrap(), []);
    let failure = engine.start(&web()).await.unwrap_err();
    assert!(failure.message.contains("broke"), "{failure}");
    assert_eq!(asked.load(Ordering::SeqCst), 3);
    assert_eq!(engine.absences(), 1);
}
