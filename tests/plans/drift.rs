//! The printed plan and the run plan cannot drift apart: a host that writes down what it receives, in words of its
//! own making, must have written what the plan printed.

use std::time::{Duration, Instant};

use balehook::config::Probe;
use balehook::deploy::execute::{self, Host, Progress};
use balehook::deploy::outcome::{Done, Failed, OldRelease, RunsNow, Stop};
use balehook::deploy::plan::Old;
use balehook::deploy::state::{Holder, Store};
use balehook::deploy::undo::UndoLimit;
use balehook::error::{Failure, Kind};
use balehook::health::check::HealthCheck;
use balehook::images::operation::{ImageOperation, Import};
use balehook::modes::by_hand::MarkOperation;
use balehook::modes::compose::operation::ComposeOperation;
use balehook::modes::compose::project::Project;
use balehook::modes::compose::service_change::{Change, ServiceChange};
use balehook::modes::compose::wait::ProjectHealth;
use balehook::modes::container::operation::ContainerOperation;
use balehook::modes::operation::{Operation, Plan};
use balehook::modes::release::Release;
use balehook::modes::swarm::operation::SwarmOperation;
use balehook::ports::operation::PortsOperation;
use balehook::tasks::operation::{HostCommand, TaskOperation};
use balehook::ui::text;
use balehook::values::operation::{Moment, Outcome};
use balehook::values::pin::ImagePin;

use serde_json::Value;

use crate::{request, scenes};

/// Writes down what it is asked; fails or never ends where it is told to.
#[derive(Default)]
pub struct Scribe {
    pub received: Vec<String>,
    pub fails_at: Option<&'static str>,
    pub then_at: Option<&'static str>,
    pub hangs_at: Option<&'static str>,
    /// What that waits for.
    pub waits_for: Option<&'static str>,
    /// Whether what is done changes anything.
    pub repairs: bool,
    /// The number of the operation that fails.
    pub fails_step: Option<usize>,
    /// What runs in the end.
    pub runs: RunsNow,
}

impl Scribe {
    fn write(&mut self, line: String) -> Result<(), Failure> {
        let fails =
            self.fails_at.is_some_and(|start| line.starts_with(start)) || self.fails_step == Some(self.received.len());
        self.received.push(line);
        if fails {
            self.fails_at = self.then_at.take();
            return Err(Failure::new(Kind::Container, "told to fail"));
        }
        Ok(())
    }
}

pub fn argument(pin: &ImagePin) -> String {
    match pin {
        ImagePin::Registry { repository, digest, .. } => format!("{repository}@{digest}"),
        ImagePin::Content { config, .. } => config.to_string(),
        ImagePin::Unread { archive, reference, .. } => reference.clone().unwrap_or_else(|| archive.clone()),
        ImagePin::Unknown { wanted } => wanted.clone(),
    }
}

impl Host for Scribe {
    type Operation = Operation;

    fn given_up(&mut self) -> Option<String> {
        self.waits_for.map(str::to_owned)
    }

    async fn perform(&mut self, operation: &Operation, _: Option<Duration>) -> Result<Outcome, Failure> {
        let line = received(operation);
        let hangs = self.hangs_at.is_some_and(|start| line.starts_with(start));
        self.write(line)?;
        if hangs {
            std::future::pending().await
        }
        Ok(Outcome { messages: Vec::new(), changed: self.repairs })
    }

    async fn runs_now(&mut self, _: &Old) -> RunsNow {
        self.runs.clone()
    }

    async fn evidence(&mut self, operation: &Operation, moment: Moment) -> Vec<String> {
        match (operation, moment) {
            (Operation::Container(ContainerOperation::Remove { container, .. }), Moment::BeforeUndo) => {
                vec![format!("log of {}", container.name)]
            }
            (Operation::Swarm(SwarmOperation::RolloutCheck(wanted)), Moment::Failed(Kind::Deadline)) => {
                vec![format!("what {} waits for", wanted.service)]
            }
            _ => Vec::new(),
        }
    }
}

/// An operation in this host's own words.
fn received(operation: &Operation) -> String {
    match operation {
        Operation::Image(operation) => image(operation),
        Operation::Container(operation) => container(operation),
        Operation::Ports(operation) => ports(operation),
        Operation::Compose(operation) => compose(operation),
        // Only the request that an engine would get is read here.
        Operation::Swarm(operation) => crate::swarm::received(operation),
        Operation::Task(operation) => task(operation),
        Operation::Mark(MarkOperation::SaveStopped) => "save that it was stopped by hand: resume leaves it so".into(),
        Operation::Mark(MarkOperation::Pin { number: _, what }) => format!("pin {what}: it is never pruned"),
        Operation::Mark(MarkOperation::Unpin { number: _, what }) => format!("unpin {what}: it goes as others do"),
        Operation::Mark(MarkOperation::DeleteStopped) => "save that it is to run: resume starts it".into(),
    }
}

fn image(operation: &ImageOperation) -> String {
    let import = |import: &Import| match import {
        Import::Pull { image, platform: None, .. } => format!("docker pull {}", described(image)),
        Import::Pull { image, platform: Some(platform), .. } => {
            format!("docker pull --platform {platform} {}", described(image))
        }
        Import::Load { archive, missing, .. } => {
            let missing = missing.expect("the scenes know what is missing");
            let [bytes, total] = [missing.bytes, missing.total].map(|bytes| format!("{:.1} MB", bytes as f64 / 1e6));
            let layers = format!("{} of {} layers missing", missing.layers, missing.of);
            format!("load {} from {archive}: {layers}, {bytes} of {total}", described(import.image()))
        }
    };
    match operation {
        ImageOperation::Import(wanted) => import(wanted),
        ImageOperation::ImportIfLost(wanted) => {
            format!("import {} again if it is lost: {}", described(wanted.image()), import(wanted))
        }
        ImageOperation::Retain { image, tag } => format!("docker tag {} {tag}", described(image)),
        ImageOperation::Untag { reference } => format!("docker rmi {reference}"),
    }
}

fn task(operation: &TaskOperation) -> String {
    match operation {
        TaskOperation::Container { name, spec, timeout } => {
            let (container, image) = (&spec.name, described(&spec.image));
            let line = format!("task {name}: run container {container} from {image}, within {}s", timeout.as_secs());
            with_rows(line, request::container(spec))
        }
        TaskOperation::Command { command, timeout, .. } => command_line(command, *timeout),
        TaskOperation::Remove { container } => format!("docker rm --force --volumes {container}"),
        TaskOperation::End { name } => format!("kill task {name}"),
    }
}

fn container(operation: &ContainerOperation) -> String {
    match operation {
        ContainerOperation::Create(spec) => {
            let line = format!("create container {} from {}", spec.name, described(&spec.image));
            with_rows(line, request::container(spec))
        }
        ContainerOperation::Recreate { container, spec } => {
            format!("create container {} anew from {} if it is gone", container.name, described(&spec.image))
        }
        ContainerOperation::Stop { container, grace } => {
            format!("docker stop --time {} {}", grace.as_secs(), container.name)
        }
        ContainerOperation::Kill { container } => format!("docker kill {}", container.name),
        ContainerOperation::Rename { container, to } => format!("docker rename {} {to}", container.name),
        ContainerOperation::Start { container } => format!("docker start {}", container.name),
        ContainerOperation::CheckHealth { container, health_check } => {
            format!("check health of {}: {}", container.name, health(health_check))
        }
        ContainerOperation::SaveRelease { container, release } => {
            format!("save release {}: {}", container.name, saved(release))
        }
        ContainerOperation::WriteSecrets(set) => {
            let names: Vec<&str> = set.files.iter().map(|file| file.name.as_str()).collect();
            format!("write to memory, below {}: {}", set.folder, names.join(", "))
        }
        ContainerOperation::RemoveSecrets { folder } => format!("remove secrets: {folder}"),
        ContainerOperation::Remove { container, volumes } => {
            format!("docker rm --force {}{}", if *volumes { "--volumes " } else { "" }, container.name)
        }
    }
}

/// Everything that a health check does, in this host's own words.
pub fn health(check: &HealthCheck) -> String {
    let HealthCheck { probe, healthcheck, .. } = check;
    let what = match (probe, healthcheck) {
        (Probe::Auto, true) => {
            format!("its HEALTHCHECK passes, or it runs for {:?} without a restart", check.settle)
        }
        (Probe::Auto, false) => format!("it runs for {:?} without a restart", check.settle),
        (probe, true) => format!("{}, its HEALTHCHECK passes where it has one", probed(probe)),
        (probe, false) => probed(probe),
    };
    what + &terms(check)
}

fn probed(probe: &Probe) -> String {
    match probe {
        Probe::Auto => String::new(),
        Probe::Http(request) => match serde_json::to_value(request).unwrap() {
            Value::String(address) => format!("GET {address} answers 2xx or 3xx"),
            saved => long_request(&saved),
        },
        Probe::Grpc(asked) => long_grpc(&serde_json::to_value(asked).unwrap()),
        Probe::Tcp(address) => format!("{address} accepts a connection"),
    }
}

/// From what a record has of it.
fn long_request(saved: &Value) -> String {
    let (address, options) = (saved["address"].as_str().unwrap(), &saved["options"]);
    let list = |key: &str| options[key].as_array().unwrap().clone();
    let method = if options["head"] == true { "HEAD" } else { "GET" };
    let https = if options["https"] == true { " (https)" } else { "" };
    let status: Vec<String> = list("status").iter().map(|range| format!("{}", range[0])).collect();
    let status = if status.is_empty() { "2xx or 3xx".to_owned() } else { status.join(" or ") };
    let body = options["body"].as_str().map_or(String::new(), |text| format!(" with `{text}` in it"));
    let names: Vec<_> = list("headers").iter().map(|one| one["name"].as_str().unwrap().to_owned()).collect();
    let headers = if names.is_empty() { String::new() } else { format!(", with {}", names.join(", ")) };
    let host = named(&options["host"]);
    format!("{method} {address}{https} answers {status}{body}{host}{headers}{}", trusted(&options["trust"]))
}

fn long_grpc(saved: &Value) -> String {
    let text = |key: &str| saved[key].as_str().unwrap();
    let service = if text("service").is_empty() { String::new() } else { format!(" of {}", text("service")) };
    let tls = if saved["tls"].is_null() { "" } else { " (TLS)" };
    let (address, trust) = (text("address"), trusted(&saved["tls"]));
    format!("gRPC health{service} at {address}{tls} is SERVING{}{trust}", named(&saved["host"]))
}

fn named(host: &Value) -> String {
    host.as_str().map_or(String::new(), |host| format!(", as {host}"))
}

fn trusted(trust: &Value) -> String {
    match trust["ca"]["file"].as_str() {
        Some(file) => format!(", certificate by {file}"),
        None if trust == "any" => ", with any certificate (insecure)".to_owned(),
        None => String::new(),
    }
}

fn terms(check: &HealthCheck) -> String {
    let HealthCheck { probe: _, healthcheck: _, timeout, interval, stable_for, successes, settle: _ } = check;
    let times = if *successes == 1 { String::new() } else { format!(", {successes} times in a row") };
    let stable = if stable_for.is_zero() { String::new() } else { format!(", stable for {stable_for:?}") };
    format!("{times}, asked every {interval:?}, within {timeout:?}{stable}")
}

fn ports(operation: &PortsOperation) -> String {
    match operation {
        PortsOperation::Network(network) => {
            let (first, prefix) = network.subnet;
            let v6 = network.subnet6.map(|(first, prefix)| format!(" --ipv6 --subnet {first}/{prefix}"));
            format!(
                "docker network create --subnet {first}/{prefix} --gateway {} --ip-range {}{} --opt com.docker.network.bridge.name={} balehook",
                balehook::ports::operation::gateway(network),
                balehook::ports::operation::ip_range(network),
                v6.unwrap_or_default(),
                network.bridge
            )
        }
        PortsOperation::Switch { name, to, .. } => {
            let ports: Vec<String> = to.forwards.iter().map(ToString::to_string).collect();
            format!("switch {} of {name} to {}", ports.join(" "), to.address)
        }
        PortsOperation::Close { name, .. } => format!("close the ports of {name}"),
        PortsOperation::Drain { container, time } => format!("drain {} for {}s", container.name, time.as_secs()),
    }
}

fn compose(operation: &ComposeOperation) -> String {
    let snapshot = |project: &Project| format!("{}/compose/{}", project.state.display(), project.id);
    match operation {
        ComposeOperation::Snapshot(new) => {
            let (folder, bytes) = (&new.folder, new.folder.bytes as f64 / 1e3);
            let what = format!("{} ({} files, {bytes:.1} kB)", folder.path.display(), folder.files);
            let rows = new.override_file.lines().map(|line| line.trim().to_owned()).collect();
            with_rows(format!("snapshot {what} to {}", snapshot(&new.project)), rows)
        }
        ComposeOperation::CheckOut { project } => {
            format!("check out {} to {}/project", snapshot(project), project.state.display())
        }
        ComposeOperation::Up { services, .. } => {
            with_rows(operation.argv().unwrap().join(" "), services.iter().map(changed_service).collect())
        }
        ComposeOperation::Stop { .. } | ComposeOperation::Halt { .. } | ComposeOperation::Down { .. } => {
            operation.argv().unwrap().join(" ")
        }
        ComposeOperation::RunTask(task) => format!("timeout {} {}", task.timeout.as_secs(), task.argv().join(" ")),
        ComposeOperation::EndStops { name } => format!("kill containers of {name} that are being stopped"),
        ComposeOperation::Wait { name, health_check } => {
            format!("check health of {name}: {}", project_health(health_check))
        }
        ComposeOperation::SaveRelease(release) => format!("save release: {}", saved(release)),
        ComposeOperation::Withdraw { name, but } => {
            let but: Vec<&str> = but.iter().map(|container| container.name.as_str()).collect();
            format!("docker rm --force what project {name} has beside {}", but.join(", "))
        }
        ComposeOperation::DeleteSnapshot { snapshot } => format!("delete snapshot {}", snapshot.display()),
    }
}

fn project_health(health_check: &ProjectHealth) -> String {
    let ProjectHealth { services, check } = health_check;
    let services = services.iter().map(|(name, count)| match count {
        1 => name.clone(),
        count => format!("{name} ({count} containers)"),
    });
    let outside = if check.probe == Probe::Auto { String::new() } else { format!(", {}", probed(&check.probe)) };
    let services = services.collect::<Vec<_>>().join(", ");
    format!("{services} healthy, running for {:?} or exited with 0{outside}{}", check.settle, terms(check))
}

fn changed_service(change: &ServiceChange) -> String {
    let what = match &change.change {
        Change::Unchanged => "unchanged".to_owned(),
        Change::Created => "created".to_owned(),
        Change::Started => "started".to_owned(),
        Change::Removed => "removed".to_owned(),
        Change::Recreated(options) => format!("recreated ({})", options.join(", ")).replace(" ()", ""),
    };
    let from = change.from.as_ref().map(|from| format!("{from} -> ")).unwrap_or_default();
    let image = change.to.as_ref().map(|to| format!(", image {from}{to}")).unwrap_or_default();
    format!("{}: {what}{image}", change.service)
}

pub fn command_line(command: &HostCommand, timeout: Duration) -> String {
    let words = command.words.join(" ").replace(&command.folder, ".");
    let env = command.environment.iter().map(|var| match var.is_hidden() {
        true => format!("env {}=*** ", var.name),
        false => format!("env {}={} ", var.name, var.value.as_ref().unwrap().reveal()),
    });
    format!("timeout {} {}{words}", timeout.as_secs(), env.collect::<String>())
}

/// A line, and below it the rows in the order of their names.
pub fn with_rows(line: String, mut rows: Vec<String>) -> String {
    rows.sort();
    rows.insert(0, line);
    rows.join("\n")
}

pub fn saved(release: &Release) -> String {
    let more = match release.more_images.len() {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!("{}{more} of {}", described(&release.image), release.deployment)
}

pub fn described(pin: &ImagePin) -> String {
    match pin {
        ImagePin::Registry { repository, tag, digest } => {
            format!("{repository}:{} ({})", tag.as_ref().unwrap(), &digest.to_string()[..19])
        }
        ImagePin::Content { reference, config, .. } => {
            format!("{} ({})", reference.as_ref().unwrap(), &config.to_string()[..19])
        }
        ImagePin::Unread { archive, reference, .. } => format!("{} of {archive}", reference.as_ref().unwrap()),
        ImagePin::Unknown { wanted } => format!("{wanted} (not resolved)"),
    }
}

/// What the plan said while it ran.
#[derive(Default)]
pub struct ConsoleProgress {
    pub begun: Vec<String>,
    pub undone: Vec<String>,
    pub failed: Vec<String>,
}

impl Progress<Operation> for ConsoleProgress {
    fn begins(&mut self, _: usize, _: usize, operation: &Operation) {
        self.begun.push(operation.to_string());
    }

    fn fails(&mut self, number: usize, of: usize, failure: &Failure) {
        assert!(self.undone.is_empty(), "the cause is said before anything is undone");
        self.failed.push(format!("[{number}/{of}] {failure}"));
    }

    fn undoes(&mut self, operation: &Operation) {
        self.undone.push(operation.to_string());
    }

    fn not_undone(&mut self, why: &str) {
        self.failed.push(why.to_owned());
    }
}

pub fn run(plan: &Plan, host: &mut Scribe) -> (ConsoleProgress, Result<Done, Box<Failed>>) {
    run_until(plan, host, std::future::pending())
}

/// The same where the plan must stop at some time.
pub fn run_until(
    plan: &Plan,
    host: &mut Scribe,
    stop: impl Future<Output = Stop>,
) -> (ConsoleProgress, Result<Done, Box<Failed>>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut progress = ConsoleProgress::default();
    let folder = tempfile::tempdir().unwrap();
    let outcome = runtime.block_on(async {
        let me = Holder { pid: 1, deployment: "d-NEW".into(), event: "ApplicationStart".into() };
        let store = Store::new(folder.path(), &"web".parse().unwrap());
        let store = store.lock(&me, Instant::now(), |_| {}).await.unwrap();
        let mut journal = store.journal("d-NEW");
        let minute = Duration::from_secs(60);
        let limit = UndoLimit { end: Instant::now() + minute, overtime: Duration::ZERO, after_signal: minute };
        execute::run(plan, host, &mut progress, &mut journal, limit, stop).await
    });
    (progress, outcome)
}

/// The steps of a printed plan as the scribe writes them: without numbers, columns and what the values were before.
pub fn printed(plan: &Plan) -> Vec<String> {
    let text = text::plan(plan);
    let mut steps: Vec<(String, Vec<String>)> = Vec::new();
    for line in text.lines().skip(1) {
        match line.strip_prefix("       ").filter(|_| !steps.is_empty()) {
            Some(row) => steps.last_mut().unwrap().1.extend(printed_row(row)),
            None => steps.extend(printed_step(line).map(|step| (step, Vec::new()))),
        }
    }
    steps.into_iter().map(|(step, rows)| with_rows(step, rows)).collect()
}

fn printed_step(line: &str) -> Option<String> {
    let (number, step) = line[1..].split_once(". ")?;
    number.trim().parse::<usize>().ok()?;
    Some(step.to_owned())
}

fn printed_row(row: &str) -> Option<String> {
    if row.starts_with("if it fails: ") {
        return None;
    }
    let (name, value) = row.trim().split_once("  ").map_or((row.trim(), ""), |(name, value)| (name, value.trim()));
    Some(format!("{name} {value}").trim_end().to_owned())
}

/// Without quotes, which the scribe does not know, and with as much of each digest as is printed.
pub fn bare(text: &str) -> String {
    let mut parts = text.split("sha256:");
    let first = parts.next().unwrap_or_default().to_owned();
    let digests = parts.map(|part| {
        let count = part.bytes().take_while(u8::is_ascii_hexdigit).count();
        let shown = if count == 64 { format!("{}{}", &part[..12], &part[64..]) } else { part.to_owned() };
        format!("sha256:{shown}")
    });
    let text: String = std::iter::once(first).chain(digests).collect();
    text.replace(['\'', '"'], "")
}

/// What a host receives is what the plan prints, all of it, and nothing else is printed.
#[track_caller]
pub fn assert_received_as_printed(name: &str, plan: &Plan) {
    let mut host = Scribe::default();
    let (told, outcome) = run(plan, &mut host);
    outcome.unwrap();
    let steps: Vec<String> = plan.all().map(|action| action.operation.to_string()).collect();
    assert_eq!(told.begun, steps, "{name}: what is told while it runs is what the plan prints");
    assert_eq!(host.received.len(), steps.len(), "{name}");
    for (received, printed) in host.received.iter().zip(printed(plan)) {
        assert_eq!(bare(received), bare(&printed), "{name}: but for quotes, which the scribe does not know");
    }
}

#[test]
fn a_host_receives_exactly_what_every_plan_prints() {
    scenes::plans().iter().for_each(|(name, plan)| assert_received_as_printed(name, plan));
}

#[test]
fn no_two_health_checks_are_printed_alike() {
    let first = HealthCheck {
        probe: Probe::Http("/up".into()),
        healthcheck: true,
        timeout: Duration::from_secs(45),
        interval: Duration::from_millis(100),
        stable_for: Duration::ZERO,
        successes: 1,
        settle: Duration::from_secs(3),
    };
    let check = |change: fn(&mut HealthCheck)| {
        let mut check = first.clone();
        change(&mut check);
        check
    };
    let all = [
        first.clone(),
        check(|check| check.probe = Probe::Auto),
        check(|check| (check.probe, check.settle) = (Probe::Auto, Duration::from_secs(1))),
        check(|check| check.probe = Probe::Http("/up/more".into())),
        check(|check| check.probe = Probe::Tcp(":80".into())),
        check(|check| check.probe = long(r#"{"grpc": {"address": "127.0.0.1:1", "service": ""}}"#)),
        check(|check| {
            check.probe = long(r#"{"grpc": {"address": "[::1]:2", "service": "a.B", "host": "h", "tls": "any"}}"#);
        }),
        check(|check| {
            check.probe = long(
                r#"{"http": {"address": "/up", "options": {"https": true, "host": "web.test", "body": "ok", "head": true,
                "headers": [{"name": "A", "value": "b"}], "status": [[204, 204]], "trust": {"ca": {"file": "f", "pem": ""}}}}}"#,
            );
        }),
        check(|check| check.healthcheck = false),
        check(|check| check.timeout = Duration::from_secs(4)),
        check(|check| check.interval = Duration::from_millis(250)),
        check(|check| check.stable_for = Duration::from_secs(2)),
        check(|check| check.successes = 3),
    ];
    for printed in &all {
        let container = balehook::values::target::Target { name: "web".into(), id: None };
        let line = ContainerOperation::CheckHealth { container, health_check: printed.clone() }.to_string();
        for received in &all {
            let received_line = format!("check health of web: {}", health(received));
            assert_eq!(line == received_line, printed == received, "{line}\n{received:?}");
        }
    }
}

/// A probe as a record has it.
fn long(saved: &str) -> Probe {
    serde_json::from_str(saved).unwrap()
}

const ANEW: &str =
    "create container web anew from registry.test:5443/team/web:1.4.1 (sha256:f0b672321a89) if it is gone";

#[test]
fn whichever_step_fails_what_was_begun_is_undone_in_reverse_and_the_old_container_is_back() {
    let plan = scenes::planned(balehook::values::types::LifecycleEvent::ApplicationStart, &scenes::serving());
    let healthy_again = "check health of web: its HEALTHCHECK passes, or it runs for 1s without a restart, asked every 100ms, within 30s";
    let cases = [
        ("docker pull", vec![]),
        ("docker tag", vec![]),
        ("create container", vec!["docker rm --force --volumes web.balehook-new"]),
        (
            "docker stop",
            vec![
                ANEW,
                "docker kill web",
                "docker start web",
                "docker rm --force --volumes web.balehook-new",
                healthy_again,
            ],
        ),
        (
            "docker rename web web.balehook-old",
            vec![
                ANEW,
                "docker rename web.balehook-old web",
                "docker kill web",
                "docker start web",
                "docker rm --force --volumes web.balehook-new",
                healthy_again,
            ],
        ),
        (
            "check health",
            vec![
                "docker kill web",
                "docker rename web web.balehook-new",
                ANEW,
                "docker rename web.balehook-old web",
                "docker kill web",
                "docker start web",
                "docker rm --force --volumes web.balehook-new",
                healthy_again,
            ],
        ),
    ];
    for (step, undone) in cases {
        let mut host = Scribe { fails_at: Some(step), ..Scribe::default() };
        let (told, outcome) = run(&plan, &mut host);
        let failed = outcome.unwrap_err();
        assert_eq!(told.undone, undone, "{step}");
        let is_back = matches!(failed.old, OldRelease::Back(..));
        assert_eq!(is_back, told.undone.iter().any(|line| line == "docker start web"), "{step}: {:?}", failed.old);
        assert!(!host.received.iter().any(|line| line.starts_with("save release")), "{step}: nothing is recorded");
    }
}

#[test]
fn whichever_step_of_a_project_fails_the_previous_one_comes_back_in_its_own_order() {
    use balehook::values::types::LifecycleEvent::ApplicationStart;
    let (serving, first) = (crate::compose::serving(), crate::compose::empty());
    let up = "/plugins/docker-compose --project-name web";
    let undone = |facts, fails_at| {
        let mut host = Scribe { fails_at: Some(fails_at), ..Scribe::default() };
        let (told, outcome) = run(&scenes::planned(ApplicationStart, facts), &mut host);
        let failed = outcome.unwrap_err();
        assert!(!host.received.iter().any(|line| line.starts_with("save release")), "{fails_at}: nothing is recorded");
        (told.undone.iter().map(|line| line.split(' ').next().unwrap().to_owned()).collect::<Vec<_>>(), failed.old)
    };
    assert_eq!(undone(&serving, "docker pull").0, Vec::<String>::new());
    assert_eq!(undone(&serving, "snapshot").0, Vec::<String>::new());
    let (steps, old) = undone(&serving, up);
    assert_eq!(steps, ["check", "kill", "/plugins/docker-compose", "check"]);
    assert!(matches!(old, OldRelease::Back(..)), "{old:?}");
    let (steps, old) = undone(&serving, "check health");
    assert_eq!(steps, ["check", "kill", "/plugins/docker-compose", "check"]);
    assert!(matches!(old, OldRelease::Back(..)), "{old:?}");
    let (steps, old) = undone(&first, "check health");
    assert!(steps == ["/plugins/docker-compose"] && matches!(old, OldRelease::Back(_)), "{steps:?} {old:?}");
}

#[test]
fn a_handover_that_fails_leads_the_ports_back_before_the_new_container_ends_and_never_touches_the_old_one() {
    let all = scenes::handovers();
    let (_, plan) = all.iter().find(|(name, _)| *name == "handover").unwrap();
    let back = [
        "docker rename web web.balehook-new",
        "docker rename web.balehook-old web",
        "switch 127.0.0.1:9000->9000/udp 80->8080/tcp of web to 198.18.200.130",
        "docker kill web.balehook-new",
        "docker rm --force --volumes web.balehook-new",
    ];
    for (step, undone) in [
        ("check health", &back[3..]),
        ("docker rename web.balehook-new", &back[..]),
        ("switch 80", &back[..]),
        ("save release", &back[..]),
    ] {
        let mut host = Scribe { fails_at: Some(step), ..Scribe::default() };
        let (told, outcome) = run(plan, &mut host);
        let failed = outcome.unwrap_err();
        assert_eq!(told.undone, undone, "{step}");
        assert!(matches!(failed.old, OldRelease::Untouched), "{step}: {:?}", failed.old);
        assert!(!host.received.iter().any(|line| line.starts_with("docker stop")), "{step}");
    }
}

#[test]
fn an_undo_that_fails_is_said_and_the_rest_is_still_undone() {
    let plan = scenes::planned(balehook::values::types::LifecycleEvent::ApplicationStart, &scenes::serving());
    // The second failure waits for the undoing: only there the old container gets its name back.
    let mut host = Scribe {
        fails_at: Some("check health"),
        then_at: Some("docker rename web.balehook-old web"),
        ..Scribe::default()
    };

    let (told, outcome) = run(&plan, &mut host);

    let failed = outcome.unwrap_err();
    assert_eq!(failed.failure.kind, Kind::Undo);
    assert!(matches!(&failed.old, OldRelease::Lost(why) if why.contains("told to fail")), "{:?}", failed.old);
    assert!(told.undone.contains(&"docker start web".to_owned()), "{:?}", told.undone);
}

#[test]
fn after_the_record_nothing_fails_the_deployment_any_more() {
    let plan = scenes::planned(balehook::values::types::LifecycleEvent::ApplicationStart, &scenes::serving());
    let mut host = Scribe { fails_at: Some("docker rm --force web.balehook-old"), ..Scribe::default() };

    let (told, outcome) = run(&plan, &mut host);

    assert!(outcome.unwrap().warnings[0].contains("told to fail"));
    assert!(told.undone.is_empty());
}

#[test]
fn a_deadline_that_is_up_already_stops_the_plan_before_its_first_step_and_undoes_only_that() {
    let plan = scenes::planned(balehook::values::types::LifecycleEvent::ApplicationStart, &scenes::serving());
    let mut host = Scribe::default();
    let stop = std::future::ready(Stop::Deadline(Duration::from_secs(5)));

    let failed = run_until(&plan, &mut host, stop).1.unwrap_err();

    assert_eq!((failed.failure.kind, failed.number), (Kind::Deadline, 1));
    assert!(matches!(failed.old, OldRelease::Untouched) && host.received.is_empty());
}
