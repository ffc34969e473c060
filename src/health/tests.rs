//! Checks of real listeners, and of containers as an engine would show them.

#![allow(clippy::unwrap_used)]

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bollard::models::ContainerInspectResponse;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use crate::config::Probe;
use crate::engine::Engine;
use crate::error::Failure;
use crate::health::check::HealthCheck;
use crate::health::checker::{HealthChecker, Members, Unhealthy};
use crate::health::container::{Lifecycle, Member};

const GOOD: &str = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
const MOVED: &str = "HTTP/1.1 302 Found\r\nlocation: /login\r\ncontent-length: 0\r\n\r\n";
const BUSY: &str = "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 10\r\n\r\noverloaded";
const ABSENT: &str = "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n";
/// Accepts, reads and says nothing.
const SILENT: &str = "silent";
/// Accepts and closes.
const CLOSES: &str = "closes";

/// A web server with one answer for each request: the last one for ever.
struct Server {
    address: SocketAddr,
    asked: Arc<AtomicUsize>,
    times: Arc<Mutex<Vec<Instant>>>,
}

impl Server {
    async fn on(host: &str, answers: &[&'static str]) -> Self {
        let listener = TcpListener::bind((host, 0)).await.unwrap();
        let server = Self { address: listener.local_addr().unwrap(), asked: Arc::default(), times: Arc::default() };
        let (asked, times, answers) = (server.asked.clone(), server.times.clone(), answers.to_vec());
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let number = asked.fetch_add(1, Ordering::SeqCst);
                times.lock().unwrap().push(Instant::now());
                let answer = answers[number.min(answers.len() - 1)];
                tokio::spawn(async move {
                    let _ = stream.read(&mut [0; 1024]).await;
                    match answer {
                        CLOSES => {}
                        SILENT => std::future::pending().await,
                        answer => drop(stream.write_all(answer.as_bytes()).await),
                    }
                });
            }
        });
        server
    }

    async fn answering(answers: &[&'static str]) -> Self {
        Self::on("127.0.0.1", answers).await
    }

    fn http(&self) -> HealthCheck {
        wanted(Probe::Http(format!("http://{}/healthz", self.address).into()))
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    /// Whether it was asked so often; the answer to the last time may still have been on its way.
    fn counted(&self, times: usize) -> bool {
        (times..=times + 1).contains(&self.asked())
    }
}

fn wanted(probe: Probe) -> HealthCheck {
    HealthCheck {
        probe,
        healthcheck: true,
        timeout: Duration::from_millis(600),
        interval: Duration::from_millis(20),
        stable_for: Duration::ZERO,
        successes: 1,
        settle: Duration::from_secs(3),
    }
}

/// Long enough for what ends by itself.
fn patient(wanted: HealthCheck) -> HealthCheck {
    HealthCheck { timeout: Duration::from_secs(30), ..wanted }
}

/// An engine that nobody listens for: commands cannot be run.
fn no_engine() -> Engine {
    Engine::connect(Some("tcp://127.0.0.1:1")).unwrap()
}

async fn from_outside(wanted: &HealthCheck) -> Result<(), String> {
    checked(wanted, Members::default).await.map_err(|unhealthy| unhealthy.failure.message)
}

async fn checked(wanted: &HealthCheck, mut members: impl FnMut() -> Members) -> Result<(), Unhealthy> {
    let observe = async || Ok::<_, Failure>(members());
    HealthChecker::default().check(&no_engine(), "web", wanted, observe).await
}

/// A check of the container `web`, or of the service `web` of a project, that is shown as these states one after another.
async fn shown(lifecycle: Lifecycle, wanted: &HealthCheck, states: impl AsRef<[Value]>) -> Result<(), Unhealthy> {
    let (mut number, states) = (0, states.as_ref());
    checked(wanted, || {
        let state = &states[number.min(states.len() - 1)];
        number += 1;
        Members { containers: vec![member(lifecycle, state)], missing: Vec::new() }
    })
    .await
}

fn member(lifecycle: Lifecycle, shown: &Value) -> Member {
    let name = if lifecycle == Lifecycle::Service { "service web" } else { "web" };
    let mut shown: ContainerInspectResponse = serde_json::from_value(shown.clone()).unwrap();
    shown.id = Some("0123".into());
    Member { name: name.into(), lifecycle, shown }
}

fn running() -> Value {
    json!({ "State": { "Status": "running", "Running": true, "StartedAt": "2026-01-02T03:04:05Z" } })
}

/// Not running for long enough yet to be healthy by that alone.
fn young() -> Value {
    with(running(), "State.StartedAt", jiff::Timestamp::now().to_string())
}

fn with(mut shown: Value, path: &str, value: impl Into<Value>) -> Value {
    let mut at = &mut shown;
    for key in path.split('.') {
        at = &mut at[key];
    }
    *at = value.into();
    shown
}

fn exited(code: i64) -> Value {
    let state = json!({ "Status": "exited", "Running": false, "ExitCode": code, "StartedAt": "2026-01-02T03:04:05Z" });
    json!({ "State": state })
}

fn with_healthcheck(shown: Value) -> Value {
    with(shown, "Config", json!({ "Healthcheck": { "Test": ["CMD", "/bin/check", "-v"] } }))
}

fn message(outcome: Result<(), Unhealthy>) -> String {
    outcome.unwrap_err().failure.message
}

/// How often the last answer came: the number in `(41 times in 20 s)`.
fn times(message: &str) -> usize {
    let (_, count) = message.rsplit_once(" (").unwrap();
    let (count, _) = count.split_once(" in ").unwrap_or_else(|| panic!("{message}"));
    count.strip_suffix(" times").map_or(1, |number| number.parse().unwrap())
}

#[tokio::test]
async fn an_address_that_refuses_is_reported_with_how_often_and_since_when_it_did() {
    let address = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    for (probe, question) in [
        (Probe::Http(format!("http://{address}/").into()), format!("GET http://{address}/")),
        (Probe::Tcp(address.to_string()), format!("TCP {address}")),
        (Probe::Tcp(format!(":{}", address.port())), format!("TCP {address}")),
    ] {
        let message = from_outside(&wanted(probe)).await.unwrap_err();
        let start = format!("web was not healthy within 600ms: {question}: cannot connect: Connection refused");
        assert!(message.starts_with(&start), "{message}");
        assert!(times(&message) > 1 && message.ends_with(" s)"), "{message}");
    }
}

#[tokio::test]
async fn an_answer_that_is_not_good_is_reported_with_its_status_line_and_first_words() {
    let server = Server::answering(&[BUSY]).await;
    let message = from_outside(&server.http()).await.unwrap_err();
    assert!(message.contains("/healthz: it answered 503 Service Unavailable overloaded ("), "{message}");
    assert!(server.counted(times(&message)), "{message}");
}

#[tokio::test]
async fn a_server_that_closes_at_once_or_never_answers_is_not_healthy() {
    let closes = from_outside(&Server::answering(&[CLOSES]).await.http()).await.unwrap_err();
    assert!(closes.contains("connection closed before message completed ("), "{closes}");
    let silent = Server::answering(&[SILENT]).await;
    let began = Instant::now();
    let message = from_outside(&silent.http()).await.unwrap_err();
    assert!(message.contains("/healthz: no answer within "), "{message}");
    assert!(began.elapsed() < Duration::from_secs(4), "the check's own limit holds, not that of one question");
}

#[tokio::test]
async fn the_last_answer_is_counted_apart_from_other_answers_before_it() {
    let server = Server::answering(&[BUSY, BUSY, ABSENT]).await;
    // Three answers come within it on a busy machine too.
    let check = HealthCheck { timeout: Duration::from_secs(3), ..server.http() };
    let message = from_outside(&check).await.unwrap_err();
    assert!(message.contains("it answered 404 Not Found (") && !message.contains("503"), "{message}");
    assert!(message.contains(&format!(", asked {} times in ", times(&message) + 2)), "{message}");
    assert!(server.counted(times(&message) + 2), "{message}");
}

#[tokio::test]
async fn good_answers_must_come_in_a_row_and_one_failure_begins_it_anew() {
    let server = Server::answering(&[GOOD, GOOD, BUSY, GOOD, GOOD, GOOD]).await;
    let check = HealthCheck { successes: 3, ..patient(server.http()) };
    assert_eq!(from_outside(&check).await, Ok(()));
    assert_eq!(server.asked(), 6);
}

#[tokio::test]
async fn a_row_that_is_too_short_when_time_is_up_is_reported_as_that() {
    let server = Server::answering(&[GOOD]).await;
    let check = HealthCheck { successes: 100_000, ..server.http() };
    let message = from_outside(&check).await.unwrap_err();
    assert!(message.contains("/healthz: good answers, but not 100000 in a row (good "), "{message}");
    let check = HealthCheck { stable_for: Duration::from_secs(9), ..server.http() };
    let message = from_outside(&check).await.unwrap_err();
    assert!(message.contains("/healthz: good answers, but not for 9s (good "), "{message}");
}

#[tokio::test]
async fn what_must_be_stable_is_healthy_only_so_long_after_its_last_bad_answer() {
    let server = Server::answering(&[GOOD, GOOD, BUSY, GOOD]).await;
    let check = HealthCheck { stable_for: Duration::from_millis(200), ..patient(server.http()) };
    assert_eq!(from_outside(&check).await, Ok(()));
    let bad = server.times.lock().unwrap()[2];
    assert!(bad.elapsed() >= check.stable_for, "{:?}", bad.elapsed());
    assert!(server.asked() > 4, "it is asked all that time");
}

#[tokio::test]
async fn good_answers_do_not_count_while_the_next_one_is_overdue() {
    let server = Server::answering(&[GOOD, SILENT]).await;
    let (began, mut check) = (Instant::now(), server.http());
    check.timeout = Duration::from_millis(1500);
    let outcome = checked(&check, || {
        let is_there = began.elapsed() > Duration::from_millis(1200);
        let missing = if is_there { Vec::new() } else { vec!["service db: 0 of 1 containers".to_owned()] };
        Members { containers: Vec::new(), missing }
    });
    let message = message(outcome.await);
    assert!(message.contains("/healthz: no answer for ") && message.ends_with(" s (good once before)"), "{message}");
}

#[tokio::test]
async fn a_redirect_an_open_port_and_an_ipv6_address_are_good() {
    let server = Server::answering(&[MOVED]).await;
    assert_eq!(from_outside(&patient(server.http())).await, Ok(()));
    assert_eq!(from_outside(&patient(wanted(Probe::Tcp(server.address.to_string())))).await, Ok(()));
    let server = Server::on("::1", &[GOOD]).await;
    assert_eq!(from_outside(&patient(server.http())).await, Ok(()));
    assert_eq!(from_outside(&patient(wanted(Probe::Tcp(server.address.to_string())))).await, Ok(()));
}

#[tokio::test]
async fn a_path_is_asked_of_the_published_tcp_port_with_the_lowest_container_port() {
    let server = Server::answering(&[GOOD]).await;
    let bound = |port: u16| json!([{ "HostIp": "0.0.0.0", "HostPort": port.to_string() }]);
    let ports =
        json!({ "53/udp": bound(1), "8080/tcp": bound(server.address.port()), "9000/tcp": bound(2), "80/tcp": null });
    let shown =
        |ports: Value| member(Lifecycle::KeepsRunning, &with(running(), "NetworkSettings", json!({ "Ports": ports })));
    let check = patient(wanted(Probe::Http("/healthz".into())));
    let members = |ports: &Value| Members { containers: vec![shown(ports.clone())], missing: Vec::new() };
    assert!(checked(&check, || members(&ports)).await.is_ok());
    assert_eq!(server.asked(), 1);

    let none = checked(&check, || members(&json!({ "53/udp": bound(1) }))).await;
    assert_eq!(message(none), "web: health.http names a path, but no TCP port is published");
}

#[tokio::test]
async fn a_container_that_exits_ends_the_check_at_once_with_its_exit_code_and_the_engines_words() {
    let check = patient(Server::answering(&[SILENT]).await.http());
    let killed = with(with(exited(137), "State.OOMKilled", true), "State.Error", "no memory");
    let restarted = with(running(), "RestartCount", 1);
    let started_again = with(running(), "State.StartedAt", "2026-01-02T03:04:09Z");
    for (now, words) in [
        (exited(3), "web exited with code 3"),
        (exited(0), "web exited with code 0"),
        (killed, "web exited with code 137, out of memory: no memory"),
        (restarted, "web exited and was restarted by the engine"),
        (started_again, "web exited and was started again"),
    ] {
        let unhealthy = shown(Lifecycle::KeepsRunning, &check, [running(), now]).await.unwrap_err();
        assert_eq!((unhealthy.failure.message.as_str(), unhealthy.is_late), (words, false));
        assert_eq!(unhealthy.containers, [("0123".to_owned(), "web".to_owned())]);
    }
}

#[tokio::test]
async fn a_container_that_exits_right_after_its_good_answer_is_not_healthy() {
    let check = patient(Server::answering(&[GOOD]).await.http());
    let outcome = shown(Lifecycle::KeepsRunning, &check, [running(), exited(1)]).await;
    assert_eq!(message(outcome), "web exited with code 1");
}

#[tokio::test]
async fn a_service_of_a_project_may_end_with_0_unless_it_is_restarted_then() {
    let check = wanted(Probe::Auto);
    assert!(shown(Lifecycle::Service, &check, [exited(0)]).await.is_ok());
    let restarts = |shown: Value| with(shown, "HostConfig", json!({ "RestartPolicy": { "Name": "always" } }));
    for (now, words) in [
        (exited(7), "service web exited with code 7"),
        (restarts(exited(0)), "service web exited with code 0"),
        (with(exited(9), "State.Status", "restarting"), "service web keeps exiting with code 9"),
        (with(running(), "RestartCount", 1), "service web exited and was restarted by the engine"),
    ] {
        assert_eq!(message(shown(Lifecycle::Service, &patient(check.clone()), [young(), now]).await), words);
    }
}

#[tokio::test]
async fn a_container_without_a_healthcheck_must_run_for_3_s_where_nothing_else_is_asked() {
    let (young, check) = (young(), wanted(Probe::Auto));
    let late = "web was not healthy within 600ms: it has not run for 3s without a restart";
    assert_eq!(message(shown(Lifecycle::KeepsRunning, &check, [young.clone()]).await), late);
    assert!(shown(Lifecycle::KeepsRunning, &check, [running()]).await.is_ok());
    let http = patient(Server::answering(&[GOOD]).await.http());
    assert!(shown(Lifecycle::KeepsRunning, &http, [young.clone()]).await.is_ok());
    let service = HealthCheck { timeout: check.timeout, ..http };
    let late = "web was not healthy within 600ms: service web: it has not run for 3s without a restart";
    assert_eq!(message(shown(Lifecycle::Service, &service, [young]).await), late);
}

#[tokio::test]
async fn a_healthcheck_must_pass_too_where_an_address_answers_unless_it_is_turned_off() {
    let server = Server::answering(&[GOOD]).await;
    let container = [with_healthcheck(running())];
    let failed = shown(Lifecycle::KeepsRunning, &server.http(), &container).await.unwrap_err();
    let start = "web was not healthy within 600ms: HEALTHCHECK `/bin/check -v`: ";
    assert!(failed.failure.message.starts_with(start), "{}", failed.failure.message);
    assert!(!failed.failure.message.contains("GET"), "{}", failed.failure.message);
    assert!(failed.is_late);

    let off = HealthCheck { healthcheck: false, ..patient(server.http()) };
    assert!(shown(Lifecycle::KeepsRunning, &off, &container).await.is_ok());
    let none = with(running(), "Config", json!({ "Healthcheck": { "Test": ["NONE"] } }));
    assert!(shown(Lifecycle::KeepsRunning, &patient(server.http()), [none]).await.is_ok());
}

#[tokio::test]
async fn a_service_that_the_engine_calls_healthy_from_the_first_moment_is_not_asked_and_an_unhealthy_one_ends_the_check()
 {
    let health = |status: &str| with(with_healthcheck(running()), "State.Health", json!({ "Status": status }));
    let check = patient(wanted(Probe::Auto));
    assert!(shown(Lifecycle::Service, &check, [health("healthy")]).await.is_ok());
    let sick = message(shown(Lifecycle::Service, &check, [health("starting"), health("unhealthy")]).await);
    assert!(sick.starts_with("service web is unhealthy: HEALTHCHECK `/bin/check -v`: "), "{sick}");
    // Healthy later counts for nothing here: it was one good answer, at the engine's own pace.
    let later = shown(Lifecycle::Service, &wanted(Probe::Auto), [health("starting"), health("healthy")]).await;
    assert!(message(later).starts_with("web was not healthy within 600ms: service web: HEALTHCHECK"));
}

#[tokio::test]
async fn containers_that_are_not_there_yet_are_waited_for() {
    let created = json!({ "State": { "Status": "created", "Running": false } });
    let check = wanted(Probe::Auto);
    let late = "web was not healthy within 600ms: service web: created";
    assert_eq!(message(shown(Lifecycle::Service, &check, [created.clone()]).await), late);
    assert!(shown(Lifecycle::Service, &patient(check.clone()), [created, running()]).await.is_ok());
    let missing = || Members { containers: Vec::new(), missing: vec!["service web: 1 of 2 containers".into()] };
    let late = "web was not healthy within 600ms: service web: 1 of 2 containers";
    assert_eq!(message(checked(&check, missing).await), late);
}

#[tokio::test]
async fn a_check_that_is_cut_off_says_its_last_answer_and_one_that_ended_says_nothing_more() {
    let server = Server::answering(&[BUSY]).await;
    let (engine, mut checker, check) = (no_engine(), HealthChecker::default(), patient(server.http()));
    assert_eq!(checker.last_answer(), None);
    let nothing = async || Ok(Members::default());
    let running = checker.check(&engine, "web", &check, nothing);
    assert!(tokio::time::timeout(Duration::from_millis(500), running).await.is_err());
    let said = checker.last_answer().unwrap();
    let start = format!("web is not healthy yet: GET http://{}/healthz: it answered 503", server.address);
    assert!(said.starts_with(&start) && server.counted(times(&said)), "{said}");

    assert!(checker.check(&engine, "web", &server.http(), nothing).await.is_err());
    assert_eq!(checker.last_answer(), None);
}

#[test]
fn a_check_prints_all_that_it_asks_and_how() {
    let check = HealthCheck {
        probe: Probe::Http("/up".into()),
        healthcheck: true,
        timeout: Duration::from_secs(45),
        interval: Duration::from_millis(250),
        stable_for: Duration::from_secs(2),
        successes: 3,
        settle: Duration::from_secs(3),
    };
    let terms = "3 times in a row, asked every 250ms, within 45s, stable for 2s";
    assert_eq!(
        check.to_string(),
        format!("GET /up answers 2xx or 3xx, its HEALTHCHECK passes where it has one, {terms}")
    );
    let off = HealthCheck { healthcheck: false, ..check.clone() };
    assert_eq!(off.to_string(), format!("GET /up answers 2xx or 3xx, {terms}"));
    let own = HealthCheck { probe: Probe::Auto, successes: 1, stable_for: Duration::ZERO, ..check };
    let terms = "asked every 250ms, within 45s";
    assert_eq!(own.to_string(), format!("its HEALTHCHECK passes, or it runs for 3s without a restart, {terms}"));
    let off = HealthCheck { healthcheck: false, ..own };
    assert_eq!(off.to_string(), format!("it runs for 3s without a restart, {terms}"));
}

#[tokio::test]
async fn a_container_that_the_engines_own_restart_started_again_is_checked_anew() {
    let folder = tempfile::tempdir().unwrap();
    let socket = format!("unix://{}", folder.path().join("docker.sock").display());
    let engine = Engine::connect(Some(&socket)).unwrap().patient(Duration::from_millis(10));
    let mut round = 0;
    let observe = async || {
        round += 1;
        // Away while it is asked the second time.
        if round == 2 {
            engine.list().await.unwrap_err();
        }
        let state = if round == 1 { young() } else { with(running(), "State.StartedAt", "2026-01-02T03:05:00Z") };
        Ok::<_, Failure>(Members { containers: vec![member(Lifecycle::KeepsRunning, &state)], missing: Vec::new() })
    };
    let outcome = HealthChecker::default().check(&engine, "web", &wanted(Probe::Auto), observe).await;
    assert!(outcome.is_ok(), "{}", message(outcome));
    assert_eq!(round, 2);
}
