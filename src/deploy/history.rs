//! What each deployment did on this host, failed ones too, and the last words of the containers of those that failed.
//!
//! `deployments/<number>.json`, and beside it `<number>.log.gz`. Nothing here is needed to deploy or to recover.

use std::fs::{self, File, TryLockError};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::deploy::command::EventOrCommand;
use crate::deploy::file::read;
use crate::deploy::origin::{MANUAL, Origin};
use crate::deploy::release::FORMAT;
use crate::deploy::state::{LockedStore, Store, numbered};
use crate::error::Failure;
use crate::files::{replace, unwritable, write_unsynced};
use crate::inputs;
use crate::values::options::OptionChange;

/// The folder of the records.
pub(super) const FOLDER: &str = "deployments";

/// So many deployments are remembered.
const RECORDS: usize = 100;
/// Among so many of the newest the deployment of an event is looked for: others may have come between.
const RECENT: usize = 5;
/// So many of them with the log of their containers.
const LOGS: usize = 10;
/// A log is kept for so long.
const LOG_AGE: Duration = Duration::from_secs(90 * 24 * 3600);
/// The most that is read of a log, unpacked, in bytes.
const LOG_MOST: u64 = 16 * 1024 * 1024;
/// So many events of one deployment are remembered: the first and the last ones.
const EVENTS: usize = 40;

/// One deployment on this host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DeploymentRecord {
    pub(crate) format: u32,
    /// CodeDeploy's deployment ID, or `manual`, or the command that a person or the boot unit ran.
    pub(crate) deployment: String,
    /// Where the revision came from.
    pub(crate) revision: String,
    /// Its images, as a person reads them: `web:1.4.2 (sha256:0123456789ab)`.
    pub(crate) images: Vec<String>,
    /// Its events, in the order in which they began.
    pub(crate) events: Vec<EventRecord>,
}

/// One event of a deployment, or a command by itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct EventRecord {
    pub(crate) event: EventOrCommand,
    /// Who ran it by hand, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) by: Option<String>,
    /// When it began, RFC 3339.
    pub(crate) at: String,
    pub(crate) took_ms: u64,
    pub(crate) ended: Ended,
    /// Bytes of images that were transferred.
    pub(crate) moved: u64,
    /// From the first interruption until the new release was healthy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) down_ms: Option<u64>,
    pub(crate) steps: Vec<StepRecord>,
    /// The last lines that it printed.
    pub(crate) console: Vec<String>,
    #[serde(default, skip_serializing_if = "Details::are_none")]
    pub(crate) details: Details,
}

/// What a report shows of an event beside that. Older records have none of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Details {
    /// The deployment group.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) group: Option<String>,
    /// Bytes of layers that the engine had: they were left out.
    pub(crate) left_out: u64,
    /// Layers that were left out, of so many.
    pub(crate) layers: (usize, usize),
    /// With what the options were compared.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) compared_with: Option<String>,
    pub(crate) changes: Vec<OptionChange>,
    /// What was asked about health, and the answers.
    pub(crate) health: Vec<String>,
}

impl Details {
    fn are_none(&self) -> bool {
        *self == Self::default()
    }
}

/// How an event ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "result", rename_all = "kebab-case")]
pub(crate) enum Ended {
    /// It has not, or was killed.
    NotYet {
        pid: u32,
    },
    Succeeded,
    Failed {
        exit_code: u8,
        cause: String,
    },
}

/// One step of a plan, as it was run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StepRecord {
    pub(crate) step: String,
    /// From the begin of the event, in milliseconds.
    pub(crate) after_ms: u64,
    pub(crate) took_ms: u64,
    pub(crate) is_undo: bool,
    pub(crate) failed: bool,
}

impl DeploymentRecord {
    fn new(origin: &Origin) -> Self {
        let (deployment, revision) = (origin.deployment.clone(), origin.revision.clone());
        Self { format: FORMAT, deployment, revision, images: vec![origin.source.clone()], events: Vec::new() }
    }

    /// What `--deployment` takes: several by hand have one deployment ID.
    pub(crate) fn label(&self, number: u64) -> String {
        let is_by_hand = self.deployment == MANUAL || self.is_command();
        if is_by_hand { format!("{}.{number}", self.deployment) } else { self.deployment.clone() }
    }

    /// Whether a command made it, which is none of the deployments.
    pub(crate) fn is_command(&self) -> bool {
        self.events.first().is_some_and(|first| matches!(first.event, EventOrCommand::Command(_)))
    }

    /// The event that ended it, or the last one so far.
    pub(crate) fn last(&self) -> Option<&EventRecord> {
        let failed = |event: &&EventRecord| matches!(event.ended, Ended::Failed { .. });
        self.events.iter().rev().find(failed).or_else(|| self.events.last())
    }

    pub(crate) fn moved(&self) -> u64 {
        self.events.iter().map(|event| event.moved).sum()
    }

    /// How long its service was down, where an event could tell.
    pub(crate) fn down_ms(&self) -> Option<u64> {
        self.events.iter().filter_map(|event| event.down_ms).reduce(|a, b| a + b)
    }

    /// From the begin of the first event to the end of the last one, in milliseconds.
    pub(crate) fn took_ms(&self) -> u64 {
        let time = |event: &EventRecord| event.at.parse::<Timestamp>().ok();
        let (first, last) = (self.events.first().and_then(time), self.events.last().and_then(time));
        let between = first.zip(last).map_or(0, |(first, last)| last.duration_since(first).as_millis());
        u64::try_from(between).unwrap_or(0) + self.events.last().map_or(0, |event| event.took_ms)
    }

    /// Whether an event goes on with it. By hand every run of events is a deployment of its own, and so is a command.
    fn goes_on_with(&self, event: EventOrCommand) -> bool {
        let EventOrCommand::Event(_) = event else { return false };
        let is_after = |last: &EventRecord| last.ended == Ended::Succeeded && last.event < event;
        self.deployment != MANUAL || self.events.last().is_some_and(is_after)
    }
}

impl Store {
    /// The deployments, the newest first, each with its number.
    pub(crate) fn history(&self) -> Vec<(u64, DeploymentRecord)> {
        self.records(&self.numbers_of_records()).collect()
    }

    /// The newest of them that no command made.
    pub(crate) fn last_deployment(&self) -> Option<(u64, DeploymentRecord)> {
        self.records(&self.numbers_of_records()).find(|(_, record)| !record.is_command())
    }

    fn records(&self, numbers: &[u64]) -> impl Iterator<Item = (u64, DeploymentRecord)> {
        numbers.iter().filter_map(|number| Some((*number, read(&self.record_path(*number))?)))
    }

    /// The newest first.
    fn numbers_of_records(&self) -> Vec<u64> {
        let mut numbers = numbered(&self.folder().join(FOLDER));
        numbers.sort_unstable_by(|a, b| b.cmp(a));
        numbers
    }

    fn record_path(&self, number: u64) -> PathBuf {
        self.folder().join(FOLDER).join(format!("{number:06}.json"))
    }

    fn log_path(&self, number: u64) -> PathBuf {
        self.folder().join(FOLDER).join(format!("{number:06}.log.gz"))
    }

    pub(crate) fn has_log(&self, number: u64) -> bool {
        self.log_path(number).exists()
    }

    /// Whether an event or `resume` is at work now.
    pub(crate) fn is_locked(&self) -> bool {
        let held = |lock: File| matches!(lock.try_lock_shared(), Err(TryLockError::WouldBlock));
        File::open(self.folder().join("lock")).is_ok_and(held)
    }

    /// The last words of the containers of a deployment that failed; `None` where none were kept.
    pub(crate) fn kept_log(&self, number: u64) -> Option<Vec<u8>> {
        let packed = inputs::read_state(&self.log_path(number)).ok()?;
        let mut text = Vec::new();
        GzDecoder::new(packed.as_slice()).take(LOG_MOST).read_to_end(&mut text).ok()?;
        Some(text)
    }
}

/// The record of the deployment whose event is under way.
#[derive(Debug)]
pub(crate) struct History {
    number: u64,
    record: DeploymentRecord,
}

impl History {
    /// Begins an event, in a record of its own or in that of its deployment.
    pub(crate) fn begin(store: &LockedStore, origin: &Origin, event: EventRecord) -> Result<Self, Failure> {
        let numbers = store.store().numbers_of_records();
        let last = numbers.first().copied().unwrap_or(0);
        let recent = &numbers[..numbers.len().min(RECENT)];
        let found = store.store().records(recent).find(|(_, record)| record.deployment == origin.deployment);
        let found = found.filter(|(_, record)| record.goes_on_with(event.event));
        let (number, mut record) = found.unwrap_or_else(|| (last + 1, DeploymentRecord::new(origin)));
        if number > last {
            prune(store.store(), &numbers);
        }
        if record.events.len() >= EVENTS {
            record.events.remove(EVENTS / 2);
        }
        record.events.push(event);
        let history = Self { number, record };
        history.write(store)?;
        Ok(history)
    }

    /// What its images were resolved to.
    pub(crate) fn resolved(&mut self, images: Vec<String>) {
        if !images.is_empty() {
            self.record.images = images;
        }
    }

    /// Ends the event.
    pub(crate) fn end(mut self, store: &LockedStore, event: EventRecord) -> Result<(), Failure> {
        if let Some(last) = self.record.events.last_mut() {
            *last = event;
        }
        self.write(store)
    }

    /// Keeps what the containers of a release that failed have said last.
    pub(crate) fn keep_log(&self, store: &LockedStore, log: &[u8]) -> Result<(), Failure> {
        let path = store.store().log_path(self.number);
        let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
        let packed = packed.write_all(log).and_then(|()| packed.finish());
        packed.and_then(|packed| replace(&path, &packed)).map_err(|error| unwritable(&path, &error))
    }

    fn write(&self, store: &LockedStore) -> Result<(), Failure> {
        write_unsynced(&store.store().record_path(self.number), &self.record)
    }
}

/// Makes room for one more.
fn prune(store: &Store, numbers: &[u64]) {
    for number in numbers.iter().skip(RECORDS - 1) {
        let _ = fs::remove_file(store.record_path(*number));
        let _ = fs::remove_file(store.log_path(*number));
    }
    let logs = numbers.iter().map(|number| store.log_path(*number)).filter(|path| path.exists());
    for (index, path) in logs.enumerate() {
        if index >= LOGS - 1 || is_old(&path).unwrap_or(false) {
            let _ = fs::remove_file(path);
        }
    }
}

fn is_old(path: &Path) -> io::Result<bool> {
    let age = SystemTime::now().duration_since(fs::metadata(path)?.modified()?);
    Ok(age.is_ok_and(|age| age > LOG_AGE))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::time::Instant;

    use super::*;
    use crate::deploy::command::Command;
    use crate::deploy::records_for_tests;
    use crate::deploy::state::Holder;
    use crate::values::types::LifecycleEvent;

    async fn locked(folder: &Path) -> LockedStore {
        let me = Holder { pid: 1, deployment: "d-1".into(), event: "ApplicationStart".into() };
        Store::new(folder, &"web".parse().unwrap()).lock(&me, Instant::now(), |_| {}).await.unwrap()
    }

    fn origin(deployment: &str) -> Origin {
        Origin { deployment: deployment.into(), revision: "local".into(), etag: None, source: "web:1".into() }
    }

    fn event(event: impl Into<EventOrCommand>, ended: Ended) -> EventRecord {
        records_for_tests::event(event, "10:00:00", ended)
    }

    /// Runs these events; each is a deployment, an event and whether it succeeds.
    fn run(store: &LockedStore, deployment: &str, name: LifecycleEvent, ended: Ended) {
        let history = History::begin(store, &origin(deployment), event(name, Ended::NotYet { pid: 7 })).unwrap();
        if !matches!(ended, Ended::NotYet { .. }) {
            history.end(store, event(name, ended)).unwrap();
        }
    }

    fn failed() -> Ended {
        Ended::Failed { exit_code: 8, cause: "web exited".into() }
    }

    /// The records as `deployment: its events`, the newest first.
    fn told(store: &LockedStore) -> Vec<String> {
        let all = store.store().history().into_iter();
        let each = all.map(|(number, record)| {
            let events: Vec<String> = record.events.iter().map(|event| event.event.to_string()).collect();
            format!("{}: {}", record.label(number), events.join(" "))
        });
        each.collect()
    }

    #[tokio::test]
    async fn the_events_of_a_deployment_are_one_record_and_by_hand_each_run_is_one() {
        use LifecycleEvent::{AfterInstall, ApplicationStart, ValidateService};
        let folder = tempfile::tempdir().unwrap();
        let store = locked(folder.path()).await;
        run(&store, "d-1", AfterInstall, Ended::Succeeded);
        run(&store, MANUAL, AfterInstall, Ended::Succeeded);
        run(&store, "d-1", ApplicationStart, failed());
        run(&store, MANUAL, ApplicationStart, Ended::Succeeded);
        run(&store, MANUAL, ApplicationStart, failed());
        run(&store, MANUAL, ValidateService, Ended::Succeeded);
        let wanted = [
            "manual.4: ValidateService",
            "manual.3: ApplicationStart",
            "manual.2: AfterInstall ApplicationStart",
            "d-1: AfterInstall ApplicationStart",
        ];
        assert_eq!(told(&store), wanted);
        let last = store.store().history().remove(3).1;
        assert_eq!(last.last().unwrap().ended, failed());
    }

    #[tokio::test]
    async fn each_command_is_a_record_of_its_own_and_no_event_goes_on_with_it() {
        use LifecycleEvent::{ApplicationStart, ValidateService};
        let folder = tempfile::tempdir().unwrap();
        let store = locked(folder.path()).await;
        run(&store, "d-1", ApplicationStart, Ended::Succeeded);
        for command in [Command::Stop, Command::Stop, Command::Rollback] {
            let began = event(command, Ended::NotYet { pid: 7 });
            History::begin(&store, &origin(command.as_str()), began).unwrap();
        }
        run(&store, "d-1", ValidateService, Ended::Succeeded);
        let wanted = ["rollback.4: rollback", "stop.3: stop", "stop.2: stop", "d-1: ApplicationStart ValidateService"];
        assert_eq!(told(&store), wanted);
    }

    #[tokio::test]
    async fn a_record_of_the_last_version_is_read_and_an_event_goes_on_with_it() {
        let folder = tempfile::tempdir().unwrap();
        let store = locked(folder.path()).await;
        let path = store.store().record_path(1);
        fs::write(&path, include_str!("../../tests/golden/deployment-2.json")).unwrap();
        run(&store, "d-1", LifecycleEvent::ValidateService, Ended::Succeeded);
        let record = store.store().history().remove(0).1;
        let before: serde_json::Value =
            serde_json::from_str(include_str!("../../tests/golden/deployment-2.json")).unwrap();
        assert_eq!(serde_json::to_value(&record.events[0]).unwrap(), before["events"][0], "it is kept as it was");
        assert_eq!(told(&store), ["d-1: ApplicationStart ValidateService"]);
    }

    #[tokio::test]
    async fn an_event_that_was_killed_stays_as_one_that_has_not_ended_and_the_lock_tells_it_from_one_under_way() {
        let folder = tempfile::tempdir().unwrap();
        let store = locked(folder.path()).await;
        run(&store, "d-1", LifecycleEvent::ApplicationStart, Ended::NotYet { pid: 7 });
        let reader = store.store().clone();
        assert_eq!(reader.history()[0].1.last().unwrap().ended, Ended::NotYet { pid: 7 });
        assert!(reader.is_locked());
        drop(store);
        assert!(!reader.is_locked());
    }

    #[tokio::test]
    async fn records_and_logs_are_bounded_and_a_damaged_record_is_passed_over() {
        let folder = tempfile::tempdir().unwrap();
        let store = locked(folder.path()).await;
        for number in 0..RECORDS + 5 {
            let id = format!("d-{number}");
            let begun = event(LifecycleEvent::ApplicationStart, Ended::NotYet { pid: 7 });
            let history = History::begin(&store, &origin(&id), begun).unwrap();
            history.keep_log(&store, b"no database\n").unwrap();
        }
        let all = store.store().history();
        assert_eq!((all.len(), all[0].1.deployment.as_str()), (RECORDS, "d-104"));
        let with_log = all.iter().filter(|(number, _)| store.store().has_log(*number)).count();
        assert_eq!(with_log, LOGS);
        assert_eq!(store.store().kept_log(all[0].0).unwrap(), b"no database\n");
        let first = all[0].0;
        fs::write(store.store().record_path(first), "{").unwrap();
        assert_eq!(store.store().history()[0].1.deployment, "d-103");
        run(&store, "d-new", LifecycleEvent::ApplicationStart, Ended::Succeeded);
        assert_eq!(store.store().history()[0].0, first + 1, "what is damaged is not written over");
    }

    #[tokio::test]
    async fn a_deployment_whose_events_are_repeated_for_ever_keeps_the_first_and_the_last_of_them() {
        let folder = tempfile::tempdir().unwrap();
        let store = locked(folder.path()).await;
        run(&store, "d-1", LifecycleEvent::AfterInstall, Ended::Succeeded);
        for _ in 0..EVENTS + 9 {
            run(&store, "d-1", LifecycleEvent::ApplicationStart, failed());
        }
        let (_, record) = store.store().history().remove(0);
        assert_eq!((record.events.len(), record.events[0].event), (EVENTS, LifecycleEvent::AfterInstall.into()));
    }
}
