//! What is on a host beside what serves, in words that two runs have in common.

use std::fmt;

use super::subject::{Host, Mode, Subject};
use crate::support::world::command_in;

/// Lines, sorted: `container NAME running`, `image balehook/NAME:#`, `state releases/#.json`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot(Vec<String>);

/// Networks that the engine, or every deployment with `start-first`, makes once.
pub fn is_engines(network: &str) -> bool {
    ["bridge", "host", "none", "ingress", "docker_gwbridge"].contains(&network)
}

impl Snapshot {
    /// What runs, and what is there to run.
    pub fn take(host: &Host, subject: &Subject<'_>) -> Self {
        let mut lines = Vec::new();
        let mut add = |kind: &str, found: Vec<String>| {
            lines.extend(found.iter().map(|line| format!("{kind} {}", normal(line, subject))));
        };
        // A swarm keeps the containers of ended tasks for a while.
        let containers: &[&str] = match host.mode {
            Mode::Swarm => &["ps", "--format", "{{.Names}} {{.State}}"],
            Mode::StopFirst | Mode::StartFirst | Mode::Compose => &["ps", "--all", "--format", "{{.Names}} {{.State}}"],
        };
        add("container", host.lines(containers));
        let networks = host.lines(&["network", "ls", "--format", "{{.Name}}"]);
        add("network", networks.into_iter().filter(|name| !is_engines(name) && name != "balehook").collect());
        add("volume", host.lines(&["volume", "ls", "--format", "{{.Name}}"]));
        if host.mode == Mode::Swarm {
            // One that was scaled to nothing says that a task has been run.
            let services = host.lines(&["service", "ls", "--format", "{{.Name}} {{.Replicas}}"]);
            add("service", services.into_iter().filter(|line| !line.ends_with(" 0/0")).collect());
        }
        if host.mode == Mode::StartFirst {
            add("rule", rules(host, subject));
        }
        lines.sort_unstable();
        Self(lines)
    }

    /// The same with what a good deployment tidies up: images, a swarm's configs and ended tasks, the state's files.
    pub fn whole(host: &Host, subject: &Subject<'_>) -> Self {
        let Self(mut lines) = Self::take(host, subject);
        let mut add = |kind: &str, found: Vec<String>| {
            lines.extend(found.iter().map(|line| format!("{kind} {}", normal(line, subject))));
        };
        add("image", images(host));
        add("state", subject.state_files());
        if host.mode == Mode::Swarm {
            add("config", host.lines(&["config", "ls", "--format", "{{.Name}}"]));
            add("job", host.lines(&["service", "ls", "--format", "{{.Name}}"]));
        }
        lines.sort_unstable();
        Self(lines)
    }

    /// As [`Self::take`] has it.
    pub fn without_tidying(&self) -> Self {
        self.without(&["image ", "state ", "config ", "job "])
    }

    /// A first release that failed leaves its named volumes: nothing of ours removes data.
    pub fn without_volumes(&self) -> Self {
        self.without(&["volume "])
    }

    fn without(&self, kinds: &[&str]) -> Self {
        let is_other = |line: &&String| !kinds.iter().any(|kind| line.starts_with(kind));
        Self(self.0.iter().filter(is_other).cloned().collect())
    }

    /// What this has that the other has not, and the other way round.
    pub fn difference(&self, wanted: &Self) -> Option<Difference> {
        let difference = Difference { more: less(&self.0, &wanted.0), missing: less(&wanted.0, &self.0) };
        (!difference.more.is_empty() || !difference.missing.is_empty()).then_some(difference)
    }
}

/// References of images. Those do not count that only a container of an ended task of a swarm holds: an engine lets none of
/// them go, and how many there are depends on how many releases have run. An engine that was restarted ends some before
/// they have started.
fn images(host: &Host) -> Vec<String> {
    let of = |states: &[&str]| -> Vec<String> {
        let filters = states.iter().flat_map(|state| ["--filter", state]);
        let list: Vec<&str> = ["ps", "--all", "--quiet"].into_iter().chain(filters).collect();
        host.lines(&list).iter().flat_map(|id| host.lines(&["inspect", "--format", "{{.Image}}", id])).collect()
    };
    let running = of(&["status=running"]);
    let over = ["status=exited", "status=created", "status=dead"];
    let mut ended = if host.mode == Mode::Swarm { of(&over) } else { Vec::new() };
    ended.retain(|image| !running.contains(image));
    let all = host.lines(&["images", "--all", "--no-trunc", "--format", "{{.ID}} {{.Repository}}:{{.Tag}}"]);
    let all = all.iter().filter_map(|line| line.split_once(' '));
    all.filter(|(id, _)| !ended.contains(&(*id).to_owned())).map(|(_, reference)| reference.to_owned()).collect()
}

/// Lines that the other has not as often.
fn less(some: &[String], other: &[String]) -> Vec<String> {
    let mut rest = other.to_vec();
    let is_more = |line: &&String| rest.iter().position(|known| known == *line).map(|at| rest.remove(at)).is_none();
    some.iter().filter(is_more).cloned().collect()
}

/// What is too much on a host, and what is missing.
pub struct Difference {
    more: Vec<String>,
    missing: Vec<String>,
}

impl Difference {
    /// Images alone cost room on the disk; anything else may serve, or be in the way.
    pub fn is_of_images(&self) -> bool {
        self.more.iter().chain(&self.missing).all(|line| line.starts_with("image "))
    }

    /// The same in a word.
    pub fn word(&self) -> &'static str {
        if self.is_of_images() { "image" } else { "left" }
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (what, lines) in [("too much", &self.more), ("missing", &self.missing)] {
            if !lines.is_empty() {
                write!(f, "{what}: {}; ", lines.join(", "))?;
            }
        }
        Ok(())
    }
}

/// The rules that lead this port somewhere; addresses by the containers that have them.
fn rules(host: &Host, subject: &Subject<'_>) -> Vec<String> {
    let saved = command_in(host.cluster.init(1), "iptables-save").output().unwrap().stdout;
    let names = host.lines(&["ps", "--quiet"]);
    let format = "{{range .NetworkSettings.Networks}}{{.IPAddress}} {{end}}{{.Name}}";
    let addresses: Vec<String> = names.iter().flat_map(|id| host.lines(&["inspect", "--format", format, id])).collect();
    let port = subject.port.to_string();
    let of_port = |line: &&str| line.contains("BALEHOOK") && line.split([' ', ':']).any(|word| word == port);
    let text = String::from_utf8_lossy(&saved).into_owned();
    let named = |line: &str| {
        addresses.iter().fold(line.to_owned(), |line, known| {
            let (found, name) = known.rsplit_once(' ').unwrap_or_default();
            found.split(' ').filter(|found| !found.is_empty()).fold(line, |line, found| line.replace(found, name))
        })
    };
    text.lines().filter(of_port).map(named).collect()
}

/// A name without what differs from run to run.
fn normal(text: &str, subject: &Subject<'_>) -> String {
    let text = text.replace(&subject.name, "NAME").replace(&subject.port.to_string(), "PORT");
    let mut out = String::new();
    for word in text.split_inclusive(|letter: char| !letter.is_ascii_alphanumeric()) {
        let bare = word.trim_end_matches(|letter: char| !letter.is_ascii_alphanumeric());
        // `1/1`: how many run of those that should.
        let is_replicas = word.ends_with('/') && bare.len() == 1 || out.ends_with('/') && bare.len() == 1;
        let is_number = !is_replicas && !bare.is_empty() && bare.bytes().all(|byte| byte.is_ascii_digit());
        let is_hex = bare.len() >= 12 && bare.bytes().all(|byte| byte.is_ascii_hexdigit());
        let is_id = bare.len() >= 20 || ["one", "two", "three"].contains(&bare);
        out += if is_number || is_hex || is_id { "#" } else { bare };
        out += &word[bare.len()..];
    }
    out
}
