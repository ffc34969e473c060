//! The execution of plans of a host without a mode: its operations succeed, fail or hang, and it writes down what it did.
//! The clock is tokio's: it leaps when nothing else can happen.
#![allow(clippy::unwrap_used)]

use std::fmt;
use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::deploy::execute::{self, Host, Progress};
use crate::deploy::journal::Left;
use crate::deploy::outcome::{Failed, OldRelease, RunsNow, Stop};
use crate::deploy::plan::{self, Action, Old, Plan};
use crate::deploy::state::{Holder, LockedStore, Store};
use crate::deploy::undo::UndoLimit;
use crate::error::{Failure, Kind};
use crate::values::operation::{Moment, Outcome, Role, Traits};
use crate::values::target::Target;
use crate::values::types::Name;

/// An operation by its name. `back …` is what the old release depends on to come back, `check …` asks whether it is
/// healthy, and `hasten …` only hastens a later step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Step(String);

fn step(name: &str) -> Step {
    Step(name.to_owned())
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl plan::Operation for Step {
    fn title(&self) -> String {
        self.to_string()
    }

    fn details(&self) -> Vec<String> {
        Vec::new()
    }

    fn traits(&self) -> Traits {
        let (is_check, is_back) = (self.0.starts_with("check"), self.0.starts_with("back"));
        Traits {
            role: if is_check { Role::ChecksHealth } else { Role::Interrupts },
            is_long: self.0.contains("slowly"),
            restores: is_check || is_back,
            hastens: self.0.starts_with("hasten"),
        }
    }
}

#[derive(Default)]
struct Machine {
    done: Vec<String>,
    fails: &'static [&'static str],
    hangs: &'static [&'static str],
    /// It has no answer to these the first time.
    slow: Vec<&'static str>,
    /// How long this one takes.
    takes: Option<(&'static str, Duration)>,
    /// From the first step that hangs everything does.
    is_gone: bool,
    /// It is not named: it was not waited for long enough.
    is_unnamed: bool,
    /// What runs in the end.
    runs: RunsNow,
}

impl Host for Machine {
    type Operation = Step;

    async fn perform(&mut self, Step(name): &Step, _: Option<Duration>) -> Result<Outcome, Failure> {
        if self.is_gone || self.hangs.contains(&name.as_str()) {
            // One that is checked answers, and is not healthy yet.
            self.is_gone = !name.starts_with("check");
            std::future::pending().await
        }
        if let Some(slow) = self.slow.iter().position(|slow| slow == name) {
            self.slow.remove(slow);
            std::future::pending().await
        }
        if let Some((_, time)) = self.takes.filter(|(step, _)| step == name) {
            tokio::time::sleep(time).await;
        }
        if self.fails.contains(&name.as_str()) {
            return Err(Failure::new(Kind::Container, format!("no {name}")));
        }
        self.done.push(name.clone());
        Ok(Outcome::changed())
    }

    async fn evidence(&mut self, _: &Step, _: Moment) -> Vec<String> {
        if self.is_gone { std::future::pending().await } else { Vec::new() }
    }

    fn given_up(&mut self) -> Option<String> {
        (self.is_gone && !self.is_unnamed).then(|| "the machine has not answered".to_owned())
    }

    async fn runs_now(&mut self, _: &Old) -> RunsNow {
        if self.is_gone { std::future::pending().await } else { self.runs.clone() }
    }
}

struct Silent;

impl Progress<Step> for Silent {
    fn begins(&mut self, _: usize, _: usize, _: &Step) {}
    fn fails(&mut self, _: usize, _: usize, _: &Failure) {}
    fn undoes(&mut self, _: &Step) {}
    fn not_undone(&mut self, _: &str) {}
}

const LIMIT: Duration = Duration::from_secs(30);
const OVERTIME: Duration = Duration::from_secs(3);
const AFTER_SIGNAL: Duration = Duration::from_secs(4);

async fn locked(folder: &Path) -> LockedStore {
    let me = Holder { pid: 1, deployment: "d-1".into(), event: "ApplicationStart".into() };
    let name: Name = "web".parse().unwrap();
    Store::new(folder, &name).lock(&me, std::time::Instant::now(), |_| {}).await.unwrap()
}

/// Two actions, each with what undoes it, of which the second may fail or hang.
fn replacement() -> Plan<Step> {
    let mut plan = Plan::new("ApplicationStart", &"web".parse().unwrap());
    plan.actions = vec![
        Action::undone_by(step("stop"), vec![step("back kill"), step("back start")]),
        Action::undone_by(step("start"), vec![step("kill new"), step("remove new")]),
    ];
    plan
}

/// Runs a plan, which must stop after so long; how it failed, and how long that took.
async fn run(
    plan: &Plan<Step>,
    machine: &mut Machine,
    store: &LockedStore,
    stop: (Duration, Stop),
) -> (Failed, Duration) {
    let began = Instant::now();
    let mut journal = store.journal("d-1");
    let limit = UndoLimit { end: (began + LIMIT).into_std(), overtime: OVERTIME, after_signal: AFTER_SIGNAL };
    let (after, why) = stop;
    let stop = async move {
        tokio::time::sleep(after).await;
        why
    };
    let failed = execute::run(plan, machine, &mut Silent, &mut journal, limit, stop).await.unwrap_err();
    (*failed, began.elapsed())
}

fn deadline() -> (Duration, Stop) {
    (Duration::from_secs(25), Stop::Deadline(LIMIT))
}

/// What the journal says is left to do.
fn left(store: &LockedStore) -> Option<Vec<String>> {
    match store.store().left::<Step>()? {
        Left::Plan(left) => Some(left.operations().iter().map(ToString::to_string).collect()),
        Left::Format1(_) => None,
    }
}

#[tokio::test(start_paused = true)]
async fn where_nothing_answers_any_more_a_deadline_names_that_and_all_has_ended_before_the_agent_kills() {
    let folder = tempfile::tempdir().unwrap();
    let store = locked(folder.path()).await;
    let mut machine = Machine { hangs: &["start"], ..Machine::default() };
    let (failed, took) = run(&replacement(), &mut machine, &store, deadline()).await;
    assert_eq!(failed.failure.kind, Kind::Undo);
    let said = "the time for ApplicationStart was up after 30s: the machine has not answered";
    assert_eq!(failed.failure.message, said);
    assert_eq!(failed.not_undone.len(), 4);
    assert_eq!(failed.not_undone[0], "back kill: the machine has not answered", "what serves comes first");
    assert!(took < LIMIT + OVERTIME, "{took:?}");
    assert_eq!(left(&store).unwrap(), ["kill new", "remove new", "back kill", "back start"]);
}

#[tokio::test(start_paused = true)]
async fn where_nothing_answers_any_more_all_has_ended_within_its_time_after_a_signal() {
    let folder = tempfile::tempdir().unwrap();
    let store = locked(folder.path()).await;
    let mut machine = Machine { hangs: &["start"], ..Machine::default() };
    let at = Duration::from_secs(2);
    let (failed, took) = run(&replacement(), &mut machine, &store, (at, Stop::Signal("SIGTERM"))).await;
    assert_eq!(failed.failure.message, "SIGTERM was received: the machine has not answered");
    assert!(took <= at + AFTER_SIGNAL, "{took:?}");
    assert_eq!(left(&store).unwrap().len(), 4);

    let mut machine = Machine { hangs: &["start"], is_unnamed: true, ..Machine::default() };
    let (_, took) = run(&replacement(), &mut machine, &store, (at, Stop::Signal("SIGTERM"))).await;
    assert!(took <= at + AFTER_SIGNAL, "each step asks for what was said before it: {took:?}");
}

#[tokio::test(start_paused = true)]
async fn what_was_undone_before_an_undo_is_cut_off_is_not_left_in_the_journal() {
    let folder = tempfile::tempdir().unwrap();
    let store = locked(folder.path()).await;
    let mut machine = Machine { fails: &["start", "remove new"], hangs: &["back start"], ..Machine::default() };
    let plan = replacement();
    let cut_off = run(&plan, &mut machine, &store, deadline());
    assert!(tokio::time::timeout(Duration::from_secs(1), cut_off).await.is_err());
    assert_eq!(machine.done, ["stop", "kill new", "back kill"]);
    assert_eq!(left(&store).unwrap(), ["remove new", "back start"]);
}

#[tokio::test(start_paused = true)]
async fn a_recovery_that_fails_leaves_in_the_journal_what_it_has_not_done() {
    let folder = tempfile::tempdir().unwrap();
    let store = locked(folder.path()).await;
    let mut first = Machine { fails: &["start", "back kill", "back start", "remove new"], ..Machine::default() };
    run(&replacement(), &mut first, &store, deadline()).await;
    let mut next = replacement();
    next.recover(left(&store).unwrap().iter().map(|name| Action::required(step(name))));
    let mut machine = Machine { fails: &["back start"], ..Machine::default() };
    let (failed, _) = run(&next, &mut machine, &store, deadline()).await;
    assert_eq!((failed.failure.kind, failed.failure.message.as_str()), (Kind::Undo, "no back start"));
    assert_eq!(machine.done, ["remove new", "back kill"]);
    assert_eq!(left(&store).unwrap(), ["back start"]);
}

/// The same of one that serves; whether it is healthy again is asked.
fn checked() -> Plan<Step> {
    let mut plan = replacement();
    plan.old = Old::Running(Target { name: "web".into(), id: None });
    plan.actions[0] = Action::undone_by(step("stop"), vec![step("back start"), step("check back")]);
    plan
}

#[tokio::test(start_paused = true)]
async fn whether_the_old_release_is_healthy_is_asked_last_and_not_where_it_could_not_be_started() {
    let folder = tempfile::tempdir().unwrap();
    let store = locked(folder.path()).await;
    let mut machine = Machine { fails: &["start"], ..Machine::default() };
    let (failed, _) = run(&checked(), &mut machine, &store, deadline()).await;
    assert_eq!(machine.done, ["stop", "kill new", "remove new", "back start", "check back"]);
    assert!(matches!(failed.old, OldRelease::Back(..)) && left(&store).is_none(), "{failed:?}");

    let mut machine = Machine { fails: &["start", "back start"], ..Machine::default() };
    let (failed, _) = run(&checked(), &mut machine, &store, deadline()).await;
    assert_eq!(machine.done, ["stop", "kill new", "remove new"]);
    assert_eq!(
        (failed.failure.kind, failed.not_undone.as_slice()),
        (Kind::Undo, ["back start: no back start".into()].as_slice())
    );
    assert_eq!(left(&store).unwrap(), ["back start", "check back"]);
}

#[tokio::test(start_paused = true)]
async fn an_old_release_that_is_not_healthy_is_lost_and_one_that_there_was_no_time_to_see_healthy_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let store = locked(folder.path()).await;
    let mut machine = Machine { fails: &["start", "check back"], ..Machine::default() };
    let (failed, _) = run(&checked(), &mut machine, &store, deadline()).await;
    assert!(matches!(&failed.old, OldRelease::Lost(why) if why == "check back: no check back"), "{failed:?}");
    assert_eq!((failed.failure.kind, left(&store).unwrap()), (Kind::Undo, vec!["check back".to_owned()]));

    let mut machine = Machine { fails: &["start"], hangs: &["check back"], ..Machine::default() };
    let (failed, took) = run(&checked(), &mut machine, &store, deadline()).await;
    assert!(matches!(failed.old, OldRelease::Unchecked(..)) && took <= LIMIT, "{took:?} {failed:?}");
    assert_eq!((failed.failure.kind, left(&store)), (Kind::Container, None));
}

#[tokio::test(start_paused = true)]
async fn what_runs_is_asked_when_all_is_done_and_not_known_where_nothing_answers_any_more() {
    let folder = tempfile::tempdir().unwrap();
    let store = locked(folder.path()).await;
    let mut machine = Machine { fails: &["start"], runs: RunsNow::Old, ..Machine::default() };
    assert_eq!(run(&checked(), &mut machine, &store, deadline()).await.0.runs, RunsNow::Old);
    let mut machine = Machine { hangs: &["start"], runs: RunsNow::Old, ..Machine::default() };
    assert_eq!(run(&checked(), &mut machine, &store, deadline()).await.0.runs, RunsNow::NotKnown);
}

#[tokio::test(start_paused = true)]
async fn what_was_touched_and_no_step_puts_back_is_not_back_nor_is_what_a_recovery_that_was_cut_off_had_begun() {
    let folder = tempfile::tempdir().unwrap();
    let store = locked(folder.path()).await;
    let mut stop = checked();
    stop.actions.iter_mut().for_each(|action| action.undo.clear());
    let mut machine = Machine { fails: &["start"], ..Machine::default() };
    assert_eq!(run(&stop, &mut machine, &store, deadline()).await.0.old, OldRelease::NotBack);

    let mut next = checked();
    next.recover([Action::required(step("kill new")), Action::required(step("slowly start the old one"))]);
    let mut machine = Machine { hangs: &["slowly start the old one"], ..Machine::default() };
    let (failed, _) = run(&next, &mut machine, &store, deadline()).await;
    assert_eq!((failed.failure.kind, failed.old), (Kind::Deadline, OldRelease::NotBack));

    // What a recovery has put back is not touched by a plan that fails before it touches anything.
    let mut machine = Machine { fails: &["prepare"], ..Machine::default() };
    next.recovery = Some(vec![Action::required(step("kill new"))]);
    next.actions.insert(0, Action { role: Role::Prepares, ..Action::required(step("prepare")) });
    assert_eq!(run(&next, &mut machine, &store, deadline()).await.0.old, OldRelease::Untouched);
}

#[tokio::test(start_paused = true)]
async fn a_step_that_only_hastens_a_later_one_fails_no_undo() {
    let folder = tempfile::tempdir().unwrap();
    let store = locked(folder.path()).await;
    let mut plan = replacement();
    plan.actions[1] = Action::undone_by(step("start"), vec![step("hasten it"), step("remove new")]);
    let mut machine = Machine { fails: &["start", "hasten it"], ..Machine::default() };
    let (failed, _) = run(&plan, &mut machine, &store, deadline()).await;
    assert_eq!((failed.failure.kind, failed.not_undone.len(), left(&store)), (Kind::Container, 0, None));
}

#[tokio::test(start_paused = true)]
async fn what_had_no_time_to_be_cleaned_up_is_done_once_more_when_the_old_release_is_back() {
    let folder = tempfile::tempdir().unwrap();
    let store = locked(folder.path()).await;
    let mut machine = Machine { fails: &["start"], slow: vec!["remove new"], ..Machine::default() };
    let (failed, _) = run(&checked(), &mut machine, &store, deadline()).await;
    assert_eq!(machine.done, ["stop", "kill new", "back start", "remove new", "check back"]);
    assert_eq!((failed.failure.kind, failed.not_undone.len(), left(&store)), (Kind::Container, 0, None));
}

#[tokio::test(start_paused = true)]
async fn what_could_not_be_cleaned_up_takes_no_time_from_the_old_release_where_nobody_is_silent() {
    let folder = tempfile::tempdir().unwrap();
    let store = locked(folder.path()).await;
    let takes = Some(("back kill", Duration::from_secs(1)));
    let mut machine = Machine { slow: vec!["start", "remove new"], takes, ..Machine::default() };
    let at = Duration::from_secs(2);
    let (failed, took) = run(&replacement(), &mut machine, &store, (at, Stop::Signal("SIGTERM"))).await;
    assert_eq!(machine.done, ["stop", "kill new", "back kill", "back start", "remove new"]);
    assert_eq!((failed.failure.kind, left(&store)), (Kind::Interrupted, None));
    assert!(took <= at + AFTER_SIGNAL, "{took:?}");
}
