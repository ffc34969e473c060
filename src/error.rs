//! Failures by stage, their exit codes, and their one rendering.

use std::fmt;

/// The stage a failure belongs to. Each has one documented exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Something unforeseen.
    Unexpected,
    /// `appspec.yml` or its `x-balehook` section.
    Appspec,
    /// The hook environment.
    Hook,
    /// The engine does not answer, or refuses.
    Engine,
    /// The image could not be imported.
    Image,
    /// The new container could not be created or started.
    Container,
    /// The new container was not healthy.
    Health,
    /// The hook's time was up.
    Deadline,
    /// Another deployment holds the lock.
    Locked,
    /// The state directory or a record in it.
    State,
    /// SIGTERM or SIGINT.
    Interrupted,
    /// Putting the old container back failed.
    Undo,
    /// A task before or after the deployment failed.
    Task,
    /// The host's policy refuses the deployment, or cannot be used.
    Policy,
    /// The command line.
    Usage,
}

/// Exit code of `plan --detailed-exitcode` where a deployment would change something.
pub(crate) const CHANGES: u8 = 2;

impl Kind {
    /// Every kind, in the order of its exit code.
    pub const ALL: [Self; 15] = [
        Self::Unexpected,
        Self::Appspec,
        Self::Hook,
        Self::Engine,
        Self::Image,
        Self::Container,
        Self::Health,
        Self::Deadline,
        Self::Locked,
        Self::State,
        Self::Interrupted,
        Self::Undo,
        Self::Task,
        Self::Policy,
        Self::Usage,
    ];

    /// The process exit code.
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::Unexpected => 1,
            Self::Appspec => 3,
            Self::Hook => 4,
            Self::Engine => 5,
            Self::Image => 6,
            Self::Container => 7,
            Self::Health => 8,
            Self::Deadline => 9,
            Self::Locked => 10,
            Self::State => 11,
            Self::Interrupted => 12,
            Self::Undo => 13,
            Self::Task => 14,
            Self::Policy => 15,
            Self::Usage => 64,
        }
    }

    /// What the exit code says, in one clause.
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::Unexpected => "unexpected error",
            Self::Appspec => "appspec.yml or its x-balehook section is wrong; nothing was touched",
            Self::Hook => "the hook environment is wrong (sudo: true drops CodeDeploy's variables)",
            Self::Engine => "the engine cannot be reached or refuses",
            Self::Image => "the image could not be imported",
            Self::Container => "a container, project or service could not be created or started",
            Self::Health => "what was started, or runs, is not healthy",
            Self::Deadline => "the hook's time was up",
            Self::Locked => "another deployment of the same name holds the lock",
            Self::State => "the state directory or a record in it cannot be used",
            Self::Interrupted => "stopped by SIGTERM or SIGINT",
            Self::Undo => "an undo or a recovery failed: look at the host",
            Self::Task => "a task before or after the deployment failed",
            Self::Policy => "the host's policy refuses it or cannot be used; nothing was touched",
            Self::Usage => "wrong command line",
        }
    }
}

impl Kind {
    /// What to do then.
    pub const fn remedy(self) -> &'static str {
        match self {
            Self::Unexpected => "report it, with the log",
            Self::Appspec => "`balehook check`",
            Self::Hook => "use `runas:`, or run an event by hand with `balehook run`",
            Self::Engine => "`systemctl status docker`",
            Self::Image => "look at credentials, the tag, the bucket, the room on the disk",
            Self::Container => "the message has the engine's words",
            Self::Health => "read its last log lines in the report",
            Self::Deadline => "raise `timeout:`, or find out what took so long",
            Self::Locked => "wait for it",
            Self::State => "the message names the file",
            Self::Interrupted => "deploy again; after `resume`, run it again",
            Self::Undo => "`balehook resume`",
            Self::Task => "its last lines are in the report",
            Self::Policy => "see what a host allows",
            Self::Usage => "`balehook --help`",
        }
    }
}

/// Exit codes that are no failure, with their meaning.
pub(crate) const NO_FAILURES: [(u8, &str); 2] =
    [(0, "success, or nothing to do"), (CHANGES, "plan --detailed-exitcode: a deployment would change something")];

/// The exit codes as a table for `--help`.
pub(crate) fn exit_code_table() -> String {
    let mut rows = NO_FAILURES.to_vec();
    rows.extend(Kind::ALL.map(|kind| (kind.exit_code(), kind.meaning())));
    rows.sort_by_key(|(code, _)| *code);
    rows.iter().map(|(code, meaning)| format!("  {code:>2}  {meaning}\n")).collect()
}

/// One failure: what failed with its object and cause, the evidence, and what to do next.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Failure {
    /// The stage.
    pub kind: Kind,
    /// The object and the cause, one line.
    pub message: String,
    /// Lines that show it: the container's last log lines, the probe's last answer.
    pub(crate) evidence: Vec<String>,
    /// What to do next.
    pub next: Option<String>,
    #[serde(skip)]
    pub(crate) reported: bool,
    /// The log of what failed says more: its last lines are among the evidence, or that it has none.
    #[serde(skip)]
    pub(crate) has_log: bool,
    /// What was found free was taken before it was used: a new plan finds another.
    #[serde(skip)]
    pub(crate) overtaken: bool,
}

impl Failure {
    /// A failure without evidence.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            evidence: Vec::new(),
            next: None,
            reported: false,
            has_log: false,
            overtaken: false,
        }
    }

    #[must_use]
    pub(crate) fn next(mut self, next: impl Into<String>) -> Self {
        self.next = Some(next.into());
        self
    }

    #[must_use]
    pub(crate) fn evidence(mut self, lines: Vec<String>) -> Self {
        self.evidence = lines;
        self
    }

    #[must_use]
    pub(crate) const fn with_log(mut self) -> Self {
        self.has_log = true;
        self
    }

    #[must_use]
    pub(crate) const fn reported(mut self) -> Self {
        self.reported = true;
        self
    }

    /// A new plan would not meet it.
    #[must_use]
    pub(crate) const fn overtaken(mut self) -> Self {
        self.overtaken = true;
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

/// What libraries call their own parts: it says nothing to who is on call.
const INSIDES: [&str; 11] = [
    "Error in the hyper legacy client",
    "client error (Connect)",
    "client error (SendRequest)",
    "tcp connect error",
    "dispatch failure",
    "io error",
    "service error",
    "unhandled error",
    "other",
    "streaming error",
    "Error",
];

/// An error with its causes, in one line: what a cause's own text says already is not said twice, nor the names of a library's parts.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        let more = inner.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        source = inner.source();
    }
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let said: Vec<&str> = text.split(": ").filter(|part| !INSIDES.contains(part)).collect();
    if said.is_empty() { text } else { said.join(": ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_of_a_librarys_parts_are_left_out_of_a_cause() {
        let said = |text: &str| chain(&std::io::Error::other(text.to_owned()));
        let refused = "Error in the hyper legacy client: client error (Connect): tcp connect error: Connection refused (os error 111)";
        assert_eq!(said(refused), "Connection refused (os error 111)");
        assert_eq!(said("dispatch failure: timeout: no answer"), "timeout: no answer");
        assert_eq!(
            said("service error: unhandled error"),
            "service error: unhandled error",
            "there is nothing else to say"
        );
    }

    #[test]
    fn every_kind_has_its_own_exit_code_and_none_is_that_of_success_or_changes() {
        let mut codes: Vec<u8> = Kind::ALL.map(Kind::exit_code).to_vec();
        assert!(!codes.contains(&0) && !codes.contains(&CHANGES));
        codes.sort_unstable();
        codes.dedup();
        assert_eq!(codes.len(), Kind::ALL.len());
    }
}

/// What could not be observed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObserveFailure {
    pub(crate) failure: Failure,
    /// The answer was no; otherwise there was no answer, and a dry run may assume.
    pub(crate) definite: bool,
}

impl ObserveFailure {
    /// The first, with what else is wrong: it is all put right before the next deployment.
    pub(crate) fn all_in_one(all: &[Self]) -> Option<Failure> {
        let (first, others) = all.split_first()?;
        let mut failure = first.failure.clone();
        for other in others.iter().filter(|other| other.failure.message != failure.message) {
            let line = format!("also: {}", other.failure.message);
            if !failure.evidence.contains(&line) {
                failure.evidence.push(line);
            }
        }
        Some(failure)
    }
}
