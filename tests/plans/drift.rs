//! The printed plan and the run plan cannot drift apart: a host that writes down what it receives, in words of its
//! own making, must have written what the plan printed.

use std::time::{Duration, Instant};

use balehook::config::Probe;
use balehook::deploy::execute::{self, Host, OldRelease, Progress, Stop, UndoLimit};
use balehook::deploy::state::{Holder, Store};
use balehook::engine::request::ContainerSpec;
use balehook::error::{Failure, Kind};
use balehook::health::check::HealthCheck;
use balehook::images::operation::{ImageOperation, Import};
use balehook::modes::compose::operation::ComposeOperation;
use balehook::modes::compose::project::Project;
use balehook::modes::container::operation::ContainerOperation;
use balehook::modes::operation::{Operation, Plan};
use balehook::modes::swarm::operation::SwarmOperation;
use balehook::ports::operation::PortsOperation;
use balehook::tasks::operation::{HostCommand, TaskOperation};
use balehook::values::operation::{Moment, Outcome};
use balehook::values::pin::ImagePin;

use crate::scenes;

/// Writes down what it is asked; fails or never ends where it is told to.
#[derive(Default)]
pub struct Scribe {
    pub received: Vec<String>,
    pub fails_at: Option<&'static str>,
    pub then_at: Option<&'static str>,
    pub hangs_at: Option<&'static str>,
    /// Whether what is done changes anything.
    pub repairs: bool,
}

impl Scribe {
    fn write(&mut self, line: String) -> Result<(), Failure> {
        let fails = self.fails_at.is_some_and(|start| line.starts_with(start));
        self.received.push(line);
        if fails {
            self.fails_at = self.then_at.take();
            return Err(Failure::new(Kind::Container, "told to fail"));
        }
        Ok(())
    }
}

fn argument(pin: &ImagePin) -> String {
    match pin {
        ImagePin::Registry { repository, digest, .. } => format!("{repository}@{digest}"),
        ImagePin::Content { config, .. } => config.to_string(),
        ImagePin::Unread { archive, reference, .. } => reference.clone().unwrap_or_else(|| archive.clone()),
        ImagePin::Unknown { wanted } => wanted.clone(),
    }
}

impl Host for Scribe {
    type Operation = Operation;

    async fn perform(&mut self, operation: &Operation, _: Option<Duration>) -> Result<Outcome, Failure> {
        let line = received(operation);
        let hangs = self.hangs_at.is_some_and(|start| line.starts_with(start));
        self.write(line)?;
        if hangs {
            std::future::pending().await
        }
        Ok(Outcome { messages: Vec::new(), changed: self.repairs })
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
    }
}

fn image(operation: &ImageOperation) -> String {
    let import = |import: &Import| match import {
        Import::Pull { image, platform: None, .. } => format!("docker pull {}", argument(image)),
        Import::Pull { image, platform: Some(platform), .. } => {
            format!("docker pull --platform {platform} {}", argument(image))
        }
        Import::Load { archive, missing, .. } => {
            let missing = missing.expect("the scenes know what is missing");
            format!("load {archive} {}/{}", missing.layers, missing.of)
        }
    };
    match operation {
        ImageOperation::Import(wanted) => import(wanted),
        ImageOperation::ImportIfLost(wanted) => format!("if lost {}", import(wanted)),
        ImageOperation::Retain { image, tag } => format!("docker tag {} {tag}", argument(image)),
        ImageOperation::Untag { reference } => format!("docker rmi {reference}"),
    }
}

fn task(operation: &TaskOperation) -> String {
    match operation {
        TaskOperation::Container { spec, timeout, .. } => {
            format!("timeout {} docker run --rm {}", timeout.as_secs(), request(spec))
        }
        TaskOperation::Command { command, timeout, .. } => command_line(command, *timeout),
        TaskOperation::Remove { container } => format!("docker rm --force --volumes {container}"),
        TaskOperation::End { name } => format!("kill task {name}"),
    }
}

fn container(operation: &ContainerOperation) -> String {
    match operation {
        ContainerOperation::Create(spec) => format!("docker create {}", request(spec)),
        ContainerOperation::Stop { container, grace } => {
            format!("docker stop --time {} {}", grace.as_secs(), container.name)
        }
        ContainerOperation::Kill { container } => format!("docker kill {}", container.name),
        ContainerOperation::Rename { container, to } => format!("docker rename {} {to}", container.name),
        ContainerOperation::Start { container } => format!("docker start {}", container.name),
        ContainerOperation::CheckHealth { container, health_check } => {
            format!("check health of {}{}", container.name, asked(health_check))
        }
        ContainerOperation::SaveRelease { container, release } => {
            format!("save release {} {} {}", container.name, argument(&release.image), release.deployment)
        }
        ContainerOperation::Remove { container, volumes } => {
            format!("docker rm --force {}{}", if *volumes { "--volumes " } else { "" }, container.name)
        }
    }
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
    let place = |project: &Project| format!("{}/compose/{}", project.state.display(), project.id);
    match operation {
        ComposeOperation::Retain(copy) => format!("keep {} {}", copy.tree.folder.display(), place(&copy.project)),
        ComposeOperation::Place { project } => format!("lay out {}", place(project)),
        ComposeOperation::Up { .. } | ComposeOperation::Stop { .. } | ComposeOperation::Down { .. } => {
            operation.argv().unwrap().join(" ")
        }
        ComposeOperation::RunTask(task) => format!("timeout {} {}", task.timeout.as_secs(), task.argv().join(" ")),
        ComposeOperation::Wait { name, health_check } => {
            let services = health_check.services.iter();
            let services = services.map(|(service, count)| format!("\u{1f}{service}\u{1f}*{count}"));
            format!("check health of {name}{}{}", services.collect::<String>(), asked(&health_check.check))
        }
        ComposeOperation::SaveRelease(release) => {
            format!("save release: {} {}", argument(&release.image), release.deployment)
        }
        ComposeOperation::Forget { id, .. } => format!("forget {id}"),
    }
}

/// All that a health check does, in words of its own.
pub fn asked(check: &HealthCheck) -> String {
    let HealthCheck { probe, healthcheck, timeout, interval, stable_for, successes } = check;
    let probe = match probe {
        Probe::Auto => "nothing".to_owned(),
        Probe::Http(url) => format!("GET {url} "),
        Probe::Tcp(address) => format!("{address} accepts"),
    };
    let own = if *healthcheck { "HEALTHCHECK" } else { "-" };
    format!(
        "\u{1f}{probe}\u{1f}{own}\u{1f}every {interval:?}\u{1f}within {timeout:?}\u{1f}stable {stable_for:?}\u{1f}row {successes}"
    )
}

/// Whether a printed health check says each part of the received one, and claims nothing more.
fn is_checked(printed: &str, received: &str) -> bool {
    let mut parts = received.split('\u{1f}');
    let subject = format!("check health of {}: ", parts.next().unwrap());
    let Some(printed) = printed.strip_prefix(&subject) else { return false };
    let is_project = printed.contains(" healthy, running or exited with 0, ");
    let mut service = "";
    parts.all(|part| match part.split_once(' ').unwrap_or((part, "")) {
        ("nothing", _) => !printed.contains("GET ") && !printed.contains(" accepts "),
        // A service's own HEALTHCHECK is what makes it healthy.
        ("HEALTHCHECK", _) => is_project || printed.contains("its HEALTHCHECK passes"),
        ("-", _) => !printed.contains("HEALTHCHECK"),
        ("stable", "0ns") => !printed.contains("stable"),
        ("stable", time) => printed.ends_with(&format!(", stable for {time}")),
        ("row", "1") => !printed.contains("in a row"),
        ("row", count) => printed.contains(&format!(", {count} times in a row, ")),
        ("*1", _) => !printed.contains(&format!("{service} (")),
        (count, "") if count.starts_with('*') => printed.contains(&format!("{service} ({} containers)", &count[1..])),
        (name, "") => {
            service = name;
            is_project && printed.split([',', ' ']).any(|word| word == name)
        }
        _ => printed.contains(part),
    })
}

pub fn command_line(command: &HostCommand, timeout: Duration) -> String {
    let words = command.words.join(" ").replace(&command.folder, ".");
    let env = command.environment.iter().map(|var| match var.hidden {
        true => format!("env {}=*** ", var.name),
        false => format!("env {}={} ", var.name, var.value.as_ref().unwrap().reveal()),
    });
    format!("timeout {} {}{words}", timeout.as_secs(), env.collect::<String>())
}

/// Only the request that an engine would get is read here.
fn request(spec: &ContainerSpec) -> String {
    let body = serde_json::to_value(&spec.options.body).unwrap();
    let mut line = format!("--name {}", spec.name);
    for (name, value) in leaves("", &body) {
        line.push_str(&format!(" {name}={value}"));
    }
    for (network, _) in &spec.options.extra_networks {
        line.push_str(&format!(" network={network}"));
    }
    for var in &spec.environment {
        line.push_str(&format!(
            " env={}={}",
            var.name,
            if var.hidden { "***" } else { var.value.as_ref().unwrap().reveal() }
        ));
    }
    format!("{line} {}", argument(&spec.image))
}

/// Every scalar of a request with the path to it.
pub fn leaves(path: &str, value: &serde_json::Value) -> Vec<(String, String)> {
    use serde_json::Value;
    match value {
        Value::Null => Vec::new(),
        Value::Object(entries) => {
            entries.iter().flat_map(|(name, value)| leaves(&format!("{path}/{name}"), value)).collect()
        }
        Value::Array(items) => items.iter().flat_map(|item| leaves(path, item)).collect(),
        Value::String(text) => vec![(path.to_owned(), text.clone())],
        other => vec![(path.to_owned(), other.to_string())],
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

pub fn run(plan: &Plan, host: &mut Scribe) -> (ConsoleProgress, Result<execute::Done, Box<execute::Failed>>) {
    run_until(plan, host, std::future::pending())
}

/// The same where the plan must stop at some time.
pub fn run_until(
    plan: &Plan,
    host: &mut Scribe,
    stop: impl Future<Output = Stop>,
) -> (ConsoleProgress, Result<execute::Done, Box<execute::Failed>>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut progress = ConsoleProgress::default();
    let folder = tempfile::tempdir().unwrap();
    let outcome = runtime.block_on(async {
        let me = Holder { pid: 1, deployment: "d-NEW".into(), event: "ApplicationStart".into() };
        let store = Store::new(folder.path(), &"web".parse().unwrap());
        let store = store.lock(&me, Instant::now(), |_| {}).await.unwrap();
        let mut journal = store.journal("d-NEW");
        let limit = UndoLimit { end: Instant::now() + Duration::from_secs(60), after_signal: Duration::from_secs(60) };
        execute::run(plan, host, &mut progress, &mut journal, limit, stop).await
    });
    (progress, outcome)
}

/// Whether a printed step says what the host received: the same words, and for a request every value of it.
pub fn says(printed: &str, received: &str) -> bool {
    if let Some(rest) = received.strip_prefix("check health of ") {
        return is_checked(printed, rest);
    }
    let request =
        received.strip_prefix("docker create ").or(received.split_once(" docker run --rm ").map(|(_, rest)| rest));
    if let Some(request) = request {
        // Times are printed as 5s and sent in nanoseconds.
        let request =
            request.replace("=5000000000", "=5s").replace("=CMD ", "= ").replace("Test=NONE", "Test=--no-healthcheck");
        let values = request.split(" /").skip(1).filter_map(|leaf| Some(leaf.split_once('=')?.1));
        let texts = values.map(|value| value.split(" env=").next().unwrap().split(" network=").next().unwrap());
        return texts.into_iter().all(|value| {
            let value = value.trim_end_matches(|letter: char| letter.is_whitespace());
            let first = value.split(" registry.test").next().unwrap();
            first.is_empty() || first == "true" || printed.contains(first)
        });
    }
    if let Some(rest) = received.strip_prefix("if lost ") {
        return printed.split_once(" again if it is lost: ").is_some_and(|(_, import)| says(import, rest));
    }
    if let Some(rest) = received.strip_prefix("save release") {
        let what = printed.strip_prefix("save release").unwrap();
        let container = rest.split_once(' ').map(|(container, _)| container).unwrap();
        return what.starts_with(container) && what.ends_with(rest.rsplit(' ').next().unwrap());
    }
    if let Some(rest) = received.strip_prefix("load ") {
        let (archive, layers) = rest.split_once(' ').unwrap();
        let layers = layers.replace('/', " of ");
        return printed.contains(&format!(" from {archive}: {layers} layers missing"));
    }
    let request = received.strip_prefix("request\u{1f}").or(Some(received).filter(|text| text.contains('\u{1f}')));
    if let Some(values) = request {
        let missing = values.split('\u{1f}').find(|value| !printed.contains(value));
        assert_eq!(missing, None, "{printed}");
        return true;
    }
    if let Some(rest) = received.strip_prefix("keep ") {
        let (folder, copy) = rest.split_once(' ').unwrap();
        return printed.starts_with(&format!("copy {folder} (")) && printed.ends_with(&format!(") to {copy}"));
    }
    if let Some(copy) = received.strip_prefix("lay out ") {
        return printed.starts_with(&format!("lay {copy} out in "));
    }
    if let Some(id) = received.strip_prefix("forget ") {
        return printed.starts_with(&format!("forget the copy {id} of "));
    }
    printed == received
}

#[test]
fn a_host_receives_exactly_what_every_plan_prints() {
    for (name, plan) in scenes::plans() {
        let mut host = Scribe::default();
        let (told, outcome) = run(&plan, &mut host);
        outcome.unwrap();
        let printed: Vec<String> = plan.all().map(|action| action.operation.to_string()).collect();
        assert_eq!(told.begun, printed, "{name}: what is told while it runs is what the plan prints");
        assert_eq!(printed.len(), host.received.len(), "{name}");
        for (printed, received) in printed.iter().zip(&host.received) {
            assert!(says(printed, received), "{name}:\nprinted:  {printed}\nreceived: {received}");
        }
    }
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
    };
    let check = |change: fn(&mut HealthCheck)| {
        let mut check = first.clone();
        change(&mut check);
        check
    };
    let all = [
        first.clone(),
        check(|check| check.probe = Probe::Auto),
        check(|check| check.probe = Probe::Http("/up/more".into())),
        check(|check| check.probe = Probe::Tcp(":80".into())),
        check(|check| check.healthcheck = false),
        check(|check| check.timeout = Duration::from_secs(4)),
        check(|check| check.interval = Duration::from_millis(250)),
        check(|check| check.stable_for = Duration::from_secs(2)),
        check(|check| check.successes = 3),
    ];
    for printed in &all {
        let container = balehook::engine::request::Target { name: "web".into(), id: None };
        let line = ContainerOperation::CheckHealth { container, health_check: printed.clone() }.to_string();
        for received in &all {
            let received_line = format!("check health of web{}", asked(received));
            assert_eq!(says(&line, &received_line), printed == received, "{line}\n{received:?}");
        }
    }
}

#[test]
fn whichever_step_fails_what_was_begun_is_undone_in_reverse_and_the_old_container_is_back() {
    let plan = scenes::planned(balehook::values::types::LifecycleEvent::ApplicationStart, &scenes::serving());
    let cases = [
        ("docker pull", vec![]),
        ("docker tag", vec![]),
        ("docker create", vec!["docker rm --force --volumes web.balehook-new"]),
        ("docker stop", vec!["docker kill web", "docker start web", "docker rm --force --volumes web.balehook-new"]),
        (
            "docker rename web web.balehook-old",
            vec![
                "docker rename web.balehook-old web",
                "docker kill web",
                "docker start web",
                "docker rm --force --volumes web.balehook-new",
            ],
        ),
        (
            "check health",
            vec![
                "docker kill web",
                "docker rename web web.balehook-new",
                "docker rename web.balehook-old web",
                "docker kill web",
                "docker start web",
                "docker rm --force --volumes web.balehook-new",
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
    assert_eq!(undone(&serving, "keep").0, Vec::<String>::new());
    let (steps, old) = undone(&serving, up);
    assert_eq!(steps, ["lay", "/plugins/docker-compose", "check"]);
    assert!(matches!(old, OldRelease::Back(..)), "{old:?}");
    let (steps, old) = undone(&serving, "check health");
    assert_eq!(steps, ["lay", "/plugins/docker-compose", "check"]);
    assert!(matches!(old, OldRelease::Back(..)), "{old:?}");
    let (steps, old) = undone(&first, "check health");
    assert_eq!((steps.as_slice(), old), (["/plugins/docker-compose".to_owned()].as_slice(), OldRelease::None));
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
        assert!(matches!(failed.old, OldRelease::Untouched(_)), "{step}: {:?}", failed.old);
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
    assert!(matches!(&failed.old, OldRelease::Lost(_, why) if why.contains("told to fail")), "{:?}", failed.old);
    assert!(told.undone.contains(&"docker start web".to_owned()), "{:?}", told.undone);
}

#[test]
fn after_the_record_nothing_fails_the_deployment_any_more() {
    let plan = scenes::planned(balehook::values::types::LifecycleEvent::ApplicationStart, &scenes::serving());
    let mut host = Scribe { fails_at: Some("docker rm --force --volumes web.balehook-old"), ..Scribe::default() };

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
    assert!(matches!(failed.old, OldRelease::Untouched(_)) && host.received.is_empty());
}
