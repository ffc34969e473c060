//! The kill matrix: a deployment is struck at every action of its plan, in every way, in every mode.
//!
//! The actions are the program's own: an undisturbed deployment is watched first, and its plan is compared with what it
//! printed and asked of the engine. So a new action is struck without anybody thinking of it. `make test-crash` runs
//! all of it and prints it as a table; `make test` runs a few cells. `BALEHOOK_CRASH` chooses: `all`, or a word of cells'
//! names (`over/7`, `SIGTERM`, `start-first`); `BALEHOOK_CRASH_SEED` another sample, `BALEHOOK_CRASH_HOSTS` how many hosts at once.

mod snapshot;
mod strike;
pub mod subject;

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use snapshot::{Difference, Snapshot};
use strike::{Blow, Hook, Place, Point, Seen, Trace};
use subject::{Host, Mode, Subject};

/// Cells of each mode that `make test` runs.
const SAMPLE: usize = 3;
/// The timeout of a hook whose time is not to be up, in seconds.
const LONG: u64 = 60;
/// The agent sends SIGKILL so long after SIGTERM.
const AGENTS_PATIENCE: Duration = Duration::from_secs(5);

/// What the deployment finds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Before {
    /// A release that serves.
    Over,
    /// Nothing.
    First,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Interruption {
    Sigkill,
    Sigterm,
    Deadline,
    EngineRestart,
    StateLost,
}

impl Interruption {
    const ALL: [Self; 5] = [Self::Sigkill, Self::Sigterm, Self::Deadline, Self::EngineRestart, Self::StateLost];

    const fn name(self) -> &'static str {
        match self {
            Self::Sigkill => "SIGKILL",
            Self::Sigterm => "SIGTERM",
            Self::Deadline => "deadline",
            Self::EngineRestart => "engine restart",
            Self::StateLost => "state lost",
        }
    }
}

/// What comes after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Then {
    Resume,
    NextEvent,
}

/// One cell of the matrix.
#[derive(Debug, Clone, Copy)]
struct Cell {
    mode: Mode,
    before: Before,
    point: Point,
    interruption: Interruption,
    then: Then,
    /// When its action began in the undisturbed deployment.
    began: Duration,
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let before = if self.before == Before::Over { "over" } else { "first" };
        let then = if self.then == Then::Resume { "resume" } else { "next event" };
        let (mode, point) = (self.mode, self.point);
        write!(f, "{mode}/{before}/{}/{}/{}/{then}", point.action, point.place, self.interruption.name())
    }
}

/// An undisturbed deployment of this kind, and what is there after each of its releases.
struct Reference {
    traces: Vec<Trace>,
    one: Snapshot,
    two: Snapshot,
    three: Snapshot,
}

impl Reference {
    fn observe(host: &Host, before: Before) -> Self {
        let mut subject = Subject::new(host);
        if before == Before::Over {
            subject.release("one", LONG);
            subject.hook("ApplicationStart").exits(0);
            subject.serves(Some("one")).unwrap();
            host.wait_until_ended_tasks_are_gone();
        }
        let one = Snapshot::take(host, &subject);
        subject.release("two", LONG);
        let planned = subject.plan().unwrap();
        let nobody = Blow::Kill;
        let hook = Hook::start(&host.docker_host(), None, nobody, |docker_host| subject.start_by(docker_host));
        let Seen { outcome, traces, .. } = hook.wait();
        outcome.exits(0);
        let titles: Vec<&str> = traces.iter().map(|trace| trace.title.as_str()).collect();
        assert_eq!(titles.len(), planned.len(), "what is planned is what is done:\n{planned:#?}\n{titles:#?}");
        subject.serves(Some("two")).unwrap();
        let two = Snapshot::take(host, &subject);
        subject.release("three", LONG);
        deploy(&subject).unwrap();
        let three = Snapshot::whole(host, &subject);
        host.clean();
        Self { traces, one, two, three }
    }

    /// Every cell of it.
    fn cells(&self, mode: Mode, before: Before) -> Vec<Cell> {
        let mut cells = Vec::new();
        for (index, trace) in self.traces.iter().enumerate() {
            for place in places(trace) {
                for interruption in Interruption::ALL {
                    let point = Point { action: index + 1, place, asks: trace.requests > 0 };
                    // Where the state is lost, no name is left that `resume` could look for.
                    let then = match interruption {
                        Interruption::StateLost => Then::NextEvent,
                        _ => [Then::Resume, Then::NextEvent][(cells.len() + index) % 2],
                    };
                    cells.push(Cell { mode, before, point, interruption, then, began: trace.began });
                }
            }
        }
        cells
    }
}

/// Where an action can be struck.
fn places(trace: &Trace) -> Vec<Place> {
    let halfway = trace.took / 2;
    let is_long = trace.changes == 0 && halfway > Duration::from_millis(150);
    let changes = (1..=trace.changes).map(Place::Change);
    [Place::Start].into_iter().chain(changes).chain(is_long.then_some(Place::After(halfway))).collect()
}

/// All events of a deployment that must go well.
fn deploy(subject: &Subject<'_>) -> Result<(), String> {
    for event in ["BeforeInstall", "AfterInstall", "ApplicationStart", "ValidateService"] {
        let outcome = subject.hook(event);
        if outcome.code != Some(0) {
            return Err(format!("{event} exits with {:?}: {}", outcome.code, last_words(&outcome.stdout)));
        }
    }
    subject.serves(Some("three"))
}

fn last_words(stdout: &str) -> String {
    let lines: Vec<&str> = stdout.lines().collect();
    lines[lines.len().saturating_sub(5)..].join(" | ")
}

/// The hook's timeout, in seconds, for its time to be up while it is held at its action.
fn timeout(cell: &Cell) -> u64 {
    if cell.interruption == Interruption::Deadline { (cell.began * 2).as_secs() + 6 } else { LONG }
}

/// A sixth of the hook's time, from 2 s to 15 s, is kept for putting the old release back.
fn deadline(timeout: u64) -> Duration {
    let timeout = Duration::from_secs(timeout);
    timeout - (timeout / 6).clamp(Duration::from_secs(2), Duration::from_secs(15))
}

fn blow(host: &Host, cell: &Cell) -> Blow {
    match cell.interruption {
        Interruption::Sigkill | Interruption::StateLost => Blow::Kill,
        Interruption::Sigterm => Blow::Term,
        Interruption::Deadline => Blow::Until(Instant::now() + deadline(timeout(cell))),
        Interruption::EngineRestart => {
            let cluster = host.cluster.clone();
            Blow::Beside(std::sync::Arc::new(move || cluster.restart_engine(1)))
        }
    }
}

/// How a cell ended.
enum Ended {
    Right,
    /// Its point was not met.
    Missed(String),
    Wrong(Wrong),
}

/// What is wrong, in a word for the table and in full.
struct Wrong {
    word: &'static str,
    why: String,
}

fn wrong(word: &'static str) -> impl Fn(String) -> Wrong {
    move |why| Wrong { word, why }
}

impl Wrong {
    fn but(self, said: impl Fn(&str) -> String) -> Self {
        Self { why: said(&self.why), ..self }
    }
}

/// Everything a cell must show.
fn run(host: &Host, cell: &Cell, reference: &Reference) -> Result<Ended, Wrong> {
    let mut subject = Subject::new(host);
    if cell.before == Before::Over {
        subject.release("one", LONG);
        let outcome = subject.hook("ApplicationStart");
        if outcome.code != Some(0) {
            return Ok(Ended::Missed(format!("the first release: {}", last_words(&outcome.stdout))));
        }
        host.wait_until_ended_tasks_are_gone();
    }
    subject.release("two", timeout(cell));
    let blow = blow(host, cell);
    let hook = Hook::start(&host.docker_host(), Some(cell.point), blow, |docker_host| subject.start_by(docker_host));
    let seen = hook.wait();
    if !seen.struck {
        return Ok(Ended::Missed(last_words(&seen.outcome.stdout)));
    }
    let old = (cell.before == Before::Over).then_some("one");
    let is_recorded = subject.is_recorded("two");
    let right = if is_recorded { Some("two") } else { old };
    let said = |what: &str| format!("{what}\n      hook: {}", last_words(&seen.outcome.stdout));
    honest(cell, &seen, is_recorded).map_err(|wrong| wrong.but(said))?;
    at_once(cell, &subject, right).map_err(|why| wrong("serves")(said(&why)))?;
    if cell.interruption == Interruption::StateLost {
        subject.lose_state();
    }
    host.wait_for_engine();
    if cell.then == Then::NextEvent {
        subject.release("three", LONG);
    }
    let outcome = match cell.then {
        Then::Resume => subject.resume(),
        Then::NextEvent => subject.hook("BeforeInstall"),
    };
    let said = |what: &str| said(&format!("after it: {what}\n      then: {}", last_words(&outcome.stdout)));
    if outcome.code != Some(0) {
        return Err(wrong("then")(said(&format!("exit code {:?}", outcome.code))));
    }
    settled(host, cell, &subject, right, reference).map_err(|wrong| wrong.but(said))?;
    subject.release("three", LONG);
    let said = |what: &str| said(&format!("the next deployment: {what}"));
    deploy(&subject).map_err(|why| wrong("next")(said(&why)))?;
    // Which images were ours is lost with the state.
    let compare = || match cell.interruption {
        Interruption::StateLost => Snapshot::take(host, &subject).difference(&reference.three.without_tidying()),
        _ => Snapshot::whole(host, &subject).difference(&reference.three),
    };
    let mut difference = settles(host, compare);
    if host.mode == Mode::Swarm && difference.as_ref().is_some_and(Difference::is_of_images) {
        // A swarm's engine may have had the container of an ended task until now: its image goes with the next event.
        subject.hook("BeforeInstall");
        difference = settles(host, compare);
    }
    match difference {
        Some(difference) => Err(wrong(difference.word())(said(&difference.to_string()))),
        None => Ok(Ended::Right),
    }
}

/// The exit code says whether the release is in place, and comes in time.
fn honest(cell: &Cell, seen: &Seen, is_recorded: bool) -> Result<(), Wrong> {
    let codes: &[Option<i32>] = match cell.interruption {
        Interruption::Sigkill | Interruption::StateLost => &[None],
        _ if is_recorded => &[Some(0)],
        Interruption::Sigterm => &[Some(12)],
        // An engine that answers no question is named after 10 s, which may be before the deadline.
        Interruption::Deadline => &[Some(9), Some(5)],
        // Refused by an engine that goes, or by one that is gone when the old release is to be put back.
        Interruption::EngineRestart => &[Some(5), Some(6), Some(7), Some(8), Some(13), Some(14)],
    };
    if !codes.contains(&seen.outcome.code) {
        let record = if is_recorded { "it is on record" } else { "it is not on record" };
        return Err(wrong("code")(format!("exit code {:?} where {record}", seen.outcome.code)));
    }
    let limit = Duration::from_secs(timeout(cell)) + AGENTS_PATIENCE;
    if cell.interruption == Interruption::Deadline && seen.outcome.took > limit {
        return Err(wrong("late")(format!("the hook took {:?} of {limit:?}", seen.outcome.took)));
    }
    match seen.after {
        Some(after) if cell.interruption == Interruption::Sigterm && after > AGENTS_PATIENCE => {
            Err(wrong("late")(format!("it ended {after:?} after SIGTERM")))
        }
        _ => Ok(()),
    }
}

/// What serves when the hook has ended: one that could undo has done so.
fn at_once(cell: &Cell, subject: &Subject<'_>, right: Option<&str>) -> Result<(), String> {
    match cell.interruption {
        Interruption::Sigterm | Interruption::Deadline => subject.serves(right),
        Interruption::Sigkill if cell.mode == Mode::StartFirst && cell.before == Before::Over => match subject.page() {
            Some(_) => Ok(()),
            None => Err("nothing serves between the kill and what comes then".into()),
        },
        Interruption::Sigkill | Interruption::StateLost | Interruption::EngineRestart => Ok(()),
    }
    .map_err(|what| format!("at once: {what}"))
}

/// Exactly one right release serves, and nothing is beside it.
fn settled(
    host: &Host,
    cell: &Cell,
    subject: &Subject<'_>,
    right: Option<&str>,
    reference: &Reference,
) -> Result<(), Wrong> {
    if cell.interruption == Interruption::StateLost {
        return settled_without_state(cell, subject).map_err(wrong("serves"));
    }
    // An event leaves the service to the swarm, which may go on with the update: another manager may have found it healthy.
    let goes_on = cell.mode == Mode::Swarm && cell.then == Then::NextEvent && cell.before == Before::Over;
    let right = match right {
        Some("one") if goes_on && subject.serves(right).is_err() => Some("two"),
        right => right,
    };
    subject.serves(right).map_err(wrong("serves"))?;
    let wanted = if right == Some("two") { &reference.two } else { &reference.one };
    let difference = || {
        let seen = Snapshot::take(host, subject);
        match cell.before {
            Before::First => seen.without_volumes().difference(&wanted.without_volumes()),
            Before::Over => seen.difference(wanted),
        }
    };
    match settles(host, difference) {
        Some(difference) => Err(wrong(difference.word())(difference.to_string())),
        None => Ok(()),
    }
}

/// What is still different after a while: an engine, and more so a swarm, removes in its own time.
fn settles(host: &Host, difference: impl Fn() -> Option<Difference>) -> Option<Difference> {
    let limit = Duration::from_secs(if host.mode == Mode::Swarm { 15 } else { 2 });
    let began = Instant::now();
    loop {
        let now = difference();
        if now.is_none() || began.elapsed() > limit {
            return now;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// What runs is the truth then: one of both serves.
fn settled_without_state(cell: &Cell, subject: &Subject<'_>) -> Result<(), String> {
    match cell.before {
        Before::First => Ok(()),
        Before::Over => subject.serves(Some("one")).or_else(|_| subject.serves(Some("two"))),
    }
}

/// One host with what it knows of undisturbed deployments.
struct Worker {
    host: Host,
    references: BTreeMap<Before, Reference>,
}

impl Worker {
    fn start(mode: Mode, kinds: &[Before]) -> Self {
        let host = Host::start(mode);
        let references = kinds.iter().map(|before| (*before, Reference::observe(&host, *before))).collect();
        Self { host, references }
    }

    fn run(&self, cell: &Cell) -> Ended {
        let ended = catch_unwind(AssertUnwindSafe(|| run(&self.host, cell, &self.references[&cell.before])));
        let ended = match ended {
            Ok(Ok(ended)) => ended,
            Ok(Err(why)) => Ended::Wrong(why),
            Err(panic) => {
                Ended::Wrong(wrong("test")(panic.downcast_ref::<String>().cloned().unwrap_or_else(|| "a panic".into())))
            }
        };
        self.host.clean();
        ended
    }
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

fn seed() -> u64 {
    variable("BALEHOOK_CRASH_SEED").and_then(|seed| seed.parse().ok()).unwrap_or(12)
}

/// The deployments that are struck: both kinds, or one of them in a sample.
fn kinds(mode: Mode) -> &'static [Before] {
    match variable("BALEHOOK_CRASH") {
        Some(_) => &[Before::Over, Before::First],
        None if (seed() + mode as u64).is_multiple_of(4) => &[Before::First],
        None => &[Before::Over],
    }
}

/// Whether the end depends on how fast this machine is: an undo that must end in time. `make test-crash` has these cells too.
fn depends_on_speed(cell: &Cell) -> bool {
    match cell.interruption {
        Interruption::Deadline => true,
        Interruption::Sigterm => cell.mode == Mode::Compose,
        Interruption::Sigkill | Interruption::EngineRestart | Interruption::StateLost => false,
    }
}

/// The cells that are run: all, those that are named, or the sample.
fn chosen(mut cells: Vec<Cell>) -> Vec<Cell> {
    match variable("BALEHOOK_CRASH").as_deref() {
        Some("all") => {}
        Some(words) => cells.retain(|cell| words.split('|').any(|word| cell.to_string().contains(word))),
        None => {
            cells.retain(|cell| !depends_on_speed(cell));
            let mut seed = seed();
            while cells.len() > SAMPLE {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                cells.swap_remove(usize::try_from(seed >> 33).unwrap() % cells.len());
            }
        }
    }
    cells
}

/// Runs the matrix of a mode.
fn matrix(mode: Mode) {
    let first = Worker::start(mode, kinds(mode));
    let all = first.references.iter().flat_map(|(before, reference)| reference.cells(mode, *before)).collect();
    let cells = chosen(all);
    let workers = variable("BALEHOOK_CRASH_HOSTS").and_then(|count| count.parse().ok()).unwrap_or(1usize);
    let (queue, results) = (Mutex::new(cells.iter().enumerate()), Mutex::new(Vec::new()));
    let work = |worker: &Worker| {
        while let Some((index, cell)) = { queue.lock().unwrap().next() } {
            let mut ended = worker.run(cell);
            if matches!(ended, Ended::Missed(_)) {
                ended = worker.run(cell);
            }
            if variable("BALEHOOK_CRASH").is_some() {
                println!("{cell}: {}", short(&ended));
            }
            results.lock().unwrap().push((index, ended));
        }
    };
    let (work, first) = (&work, &first);
    std::thread::scope(|scope| {
        for _ in 1..workers {
            scope.spawn(move || work(&Worker::start(mode, kinds(mode))));
        }
        work(first);
    });
    let mut results = results.into_inner().unwrap();
    results.sort_unstable_by_key(|(index, _)| *index);
    let results: Vec<(Cell, Ended)> = results.into_iter().map(|(index, ended)| (cells[index], ended)).collect();
    let table = table(mode, &results, &first.references);
    println!("{table}");
    let wrong = results.iter().filter(|(_, ended)| !matches!(ended, Ended::Right)).count();
    assert_eq!(wrong, 0, "{wrong} of {} cells are wrong:\n{table}", results.len());
}

fn short(ended: &Ended) -> String {
    match ended {
        Ended::Right => "ok".into(),
        Ended::Missed(why) => format!("MISSED: {why}"),
        Ended::Wrong(wrong) => format!("{}: {}", wrong.word, wrong.why),
    }
}

/// A row for each point, a column for each interruption; what is wrong is numbered and said below.
fn table(mode: Mode, results: &[(Cell, Ended)], references: &BTreeMap<Before, Reference>) -> String {
    let mut out = String::new();
    let mut notes = Vec::new();
    for (before, reference) in references {
        let what = if *before == Before::Over { "over one that serves" } else { "the first" };
        let _ = write!(out, "\n{mode}: a release, {what}\n{:<58}", "");
        Interruption::ALL.iter().for_each(|interruption| {
            let _ = write!(out, "{:<16}", interruption.name());
        });
        out.push('\n');
        for (index, trace) in reference.traces.iter().enumerate() {
            for place in places(trace) {
                let title: String = trace.title.chars().take(40).collect();
                let _ = write!(out, "{:>2} {title:<42}{:<13}", index + 1, place.to_string());
                for interruption in Interruption::ALL {
                    let found = results.iter().find(|(cell, _)| {
                        (cell.before, cell.interruption) == (*before, interruption)
                            && (cell.point.action, cell.point.place) == (index + 1, place)
                    });
                    let _ =
                        write!(out, "{:<16}", found.map_or("".into(), |(cell, ended)| mark(cell, ended, &mut notes)));
                }
                out.push('\n');
            }
        }
    }
    out + &notes.concat()
}

fn mark(cell: &Cell, ended: &Ended, notes: &mut Vec<String>) -> String {
    let (word, why) = match ended {
        Ended::Right => return if cell.then == Then::Resume { "ok, resume".into() } else { "ok, next event".into() },
        Ended::Missed(why) => ("not met", why),
        Ended::Wrong(wrong) => (wrong.word, &wrong.why),
    };
    let number = notes.len() + 1;
    notes.push(format!("{number:>4}. {cell}: {why}\n"));
    format!("{word} {number}")
}

#[test]
fn whatever_interrupts_a_container_that_is_replaced_exactly_one_right_release_serves_in_the_end() {
    matrix(Mode::StopFirst);
}

#[test]
fn whatever_interrupts_a_container_whose_ports_are_switched_exactly_one_right_release_serves_in_the_end() {
    matrix(Mode::StartFirst);
}

#[test]
fn whatever_interrupts_a_compose_project_exactly_one_right_release_serves_in_the_end() {
    matrix(Mode::Compose);
}

#[test]
fn whatever_interrupts_a_service_of_a_swarm_exactly_one_right_release_serves_in_the_end() {
    matrix(Mode::Swarm);
}
