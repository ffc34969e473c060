//! How a plan ends: well, or with what failed and what became of that which served before.

use std::time::Duration;

use crate::deploy::execute::{Host, Progress, Run};
use crate::deploy::plan::{Old, Operation as _};
use crate::deploy::undo::Undone;
use crate::error::{Failure, Kind};
use crate::values::target::Target;

/// The plan of `balehook resume`, which is no event of a hook.
pub(crate) const RESUME: &str = "resume";

/// Why a plan must end before its last action.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stop {
    /// The hook's time, less the reserve for undoing, is up.
    Deadline(Duration),
    /// A signal, by its name.
    Signal(&'static str),
}

impl Stop {
    /// `waited`: who or what had not ended, where that is the reason.
    pub(crate) fn failure(&self, event: &str, waited: Option<String>) -> Failure {
        self.said(event, "", waited)
    }

    /// Where all that was done so far was to look.
    pub(crate) fn early(&self, event: &str, waited: Option<String>) -> Failure {
        self.said(event, " before anything was changed", waited)
    }

    fn said(&self, event: &str, when: &str, waited: Option<String>) -> Failure {
        let waited = waited.map(|waited| format!(": {waited}")).unwrap_or_default();
        let (kind, what, next) = match self {
            Self::Deadline(limit) => (
                Kind::Deadline,
                format!("the time for {event} was up after {limit:?}"),
                format!("raise the `timeout:` of the {event} hook, or find out what took so long"),
            ),
            Self::Signal(name) => {
                (Kind::Interrupted, format!("{name} was received"), "deploy again when the host is ready".into())
            }
        };
        // No hook's `timeout:` ends it, and no deployment does what it left.
        let next = if event == RESUME { "run `balehook resume` again".into() } else { next };
        Failure::new(kind, format!("{what}{when}{waited}")).next(next)
    }
}

/// How a plan ended well.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Done {
    /// From the first interruption until the new release was healthy.
    pub(crate) down: Option<Duration>,
    pub(crate) messages: Vec<String>,
    /// What went wrong where it could not fail the event.
    pub warnings: Vec<String>,
}

/// How a plan failed.
#[derive(Debug, PartialEq, Eq)]
pub struct Failed {
    /// The action that failed, as printed.
    pub step: String,
    /// Its number, from 1.
    pub number: usize,
    pub(crate) of: usize,
    /// Why.
    pub failure: Failure,
    pub(crate) subject: String,
    /// What was there before the plan.
    pub(crate) before: Old,
    /// What became of it.
    pub old: OldRelease,
    /// What runs when everything is done.
    pub runs: RunsNow,
    /// Undo steps that failed, each with its reason: the journal keeps them.
    pub(crate) not_undone: Vec<String>,
}

/// What the plan and its undo did to the release before, where there is one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OldRelease {
    /// Nothing.
    Untouched,
    /// It was touched, and put back after so long.
    Back(Duration),
    /// The same; there was no time to see it healthy.
    Unchecked(Duration),
    /// It could not be put back: why.
    Lost(String),
    /// It was touched, and nothing has put it back.
    NotBack,
}

/// What runs under the plan's name, as it was observed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum RunsNow {
    /// It could not be observed.
    #[default]
    NotKnown,
    /// Nothing.
    Nothing,
    /// The release before the plan.
    Old,
    /// Another container.
    Other(Target),
    /// A project or a service; of which release is not observed.
    Some,
}

impl<H: Host, P: Progress<H::Operation>> Run<'_, H, P> {
    pub(super) fn failure_at(&self, index: usize, failure: Failure, undone: &Undone) -> Failed {
        Failed {
            step: self.plan.all().nth(index).map(|action| action.operation.title()).unwrap_or_default(),
            number: index + 1,
            of: self.of,
            failure,
            subject: self.plan.subject.clone(),
            before: self.plan.old.clone(),
            old: self.old(undone),
            runs: RunsNow::NotKnown,
            not_undone: undone.failures.clone(),
        }
    }

    fn old(&self, undone: &Undone) -> OldRelease {
        match (&undone.lost, self.touched_at) {
            (Some(why), _) => OldRelease::Lost(why.clone()),
            (None, Some(since)) if undone.is_unchecked => OldRelease::Unchecked(since.elapsed()),
            (None, Some(since)) if undone.is_restored => OldRelease::Back(since.elapsed()),
            (None, Some(_)) => OldRelease::NotBack,
            (None, None) => OldRelease::Untouched,
        }
    }

    /// As far as the host answers at once.
    pub(super) async fn runs_now(&mut self) -> RunsNow {
        let answer = self.host.runs_now(&self.plan.old);
        tokio::time::timeout(self.budget.for_report(), answer).await.unwrap_or_default()
    }
}
