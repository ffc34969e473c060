//! Asks until everything is healthy, something can no longer become so, or the time is up.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use futures_util::stream::FuturesUnordered;
use futures_util::{Stream, StreamExt as _};

use crate::config::Probe;
use crate::engine::Engine;
use crate::error::{Failure, Kind};
use crate::health::check::HealthCheck;
use crate::health::container::{First, Lifecycle, Member, State, published};
use crate::health::question::{Ask, Question};
use crate::poll;

/// A HEALTHCHECK that has passed is run again after so long while others have not passed yet: it costs the host a process.
const PASSED: Duration = Duration::from_secs(5);

/// The same while everything has passed and must stay so.
const STABLE: Duration = Duration::from_secs(1);

/// The key of the question from outside; those to a container have its ID.
const OUTSIDE: &str = "";

#[derive(Default)]
pub(crate) struct Members {
    pub(crate) containers: Vec<Member>,
    /// What is not there yet: `db: 1 of 2 containers`.
    pub(crate) missing: Vec<String>,
}

pub(crate) struct Unhealthy {
    pub(crate) failure: Failure,
    /// IDs and names of the containers whose logs say more.
    pub(crate) containers: Vec<(String, String)>,
    /// The time was up: more of it may help.
    pub(crate) is_late: bool,
}

impl From<Failure> for Unhealthy {
    fn from(failure: Failure) -> Self {
        Self { failure, containers: Vec::new(), is_late: false }
    }
}

/// One check, and after it was cut off what it had come to.
#[derive(Default)]
pub(crate) struct HealthChecker {
    subject: String,
    wanted: Option<HealthCheck>,
    containers: BTreeMap<String, (First, String)>,
    questions: BTreeMap<String, Question>,
    /// What is waited for that answers no question, with the container that it is about.
    waiting: Vec<(Option<String>, String)>,
    /// Since when nothing is waited for.
    complete_since: Option<Instant>,
    /// The last answers of a check that ended well.
    pub(crate) said: Vec<String>,
    /// What earlier checks of this plan have come to, the first ones.
    past: Vec<String>,
}

impl HealthChecker {
    /// Waits until `subject` is healthy. `observe` is called every [`HealthCheck::interval`].
    /// Errors: [`Kind::Health`]: a container ended, restarted or is unhealthy, or the time is up; those of `observe`.
    pub(crate) async fn check(
        &mut self,
        engine: &Engine,
        subject: &str,
        wanted: &HealthCheck,
        observe: impl AsyncFnMut() -> Result<Members, Failure>,
    ) -> Result<(), Unhealthy> {
        let past = self.answers();
        *self = Self { subject: subject.to_owned(), wanted: Some(wanted.clone()), past, ..Self::default() };
        let outcome = self.rounds(engine, wanted, observe).await;
        let said = self.questions.values().filter(|_| outcome.is_ok()).filter_map(Question::said).collect();
        *self = Self { past: self.answers(), said, ..Self::default() };
        outcome
    }

    /// What was asked in all checks so far, also in one that was cut off.
    pub(crate) fn answers(&self) -> Vec<String> {
        let mut all = self.past.clone();
        let waiting = self.waiting.iter().map(|(_, why)| why.clone());
        let all_open = self.questions.values().map(Question::summary).chain(waiting);
        all.extend(all_open.map(|answer| format!("{}: {answer}", self.subject)));
        let is_settled = self.questions.is_empty() && self.waiting.is_empty() && !self.containers.is_empty();
        all.extend(is_settled.then(|| format!("{}: it runs without a restart", self.subject)));
        all
    }

    /// What a check that was cut off still waited for: each question with its last answer, how often and since when.
    pub(crate) fn last_answer(&self) -> Option<String> {
        let open = self.open(self.wanted.as_ref()?);
        (!open.is_empty()).then(|| format!("{} is not healthy yet: {}", self.subject, open.join("; ")))
    }

    /// The same as IDs and names of the containers whose logs may say why.
    pub(crate) fn cut_off(&self) -> Vec<(String, String)> {
        self.wanted.as_ref().map(|wanted| self.open_containers(wanted)).unwrap_or_default()
    }

    async fn rounds(
        &mut self,
        engine: &Engine,
        wanted: &HealthCheck,
        mut observe: impl AsyncFnMut() -> Result<Members, Failure>,
    ) -> Result<(), Unhealthy> {
        let mut answers = FuturesUnordered::new();
        let mut absences = engine.absences();
        let healthy = poll::until(wanted.timeout, wanted.interval, async || {
            let members = observe().await?;
            if std::mem::replace(&mut absences, engine.absences()) != engine.absences() {
                // The engine was away, and has started again what ran: that is no fault of the containers.
                self.begin_anew();
            }
            self.observed(wanted, &members)?;
            if self.is_healthy(wanted) {
                return Ok(Some(()));
            }
            answers.extend(self.due(wanted).into_iter().map(async |(key, ask)| {
                let answer = ask.put(engine).await;
                (key, ask, answer)
            }));
            self.listen(wanted, &mut answers).await;
            // Where all is healthy now, the containers are observed once more at once: one may have ended meanwhile.
            if self.is_healthy(wanted) {
                self.observed(wanted, &observe().await?)?;
            }
            Ok::<_, Unhealthy>(self.is_healthy(wanted).then_some(()))
        });
        healthy.await?.ok_or_else(|| self.late(wanted))
    }

    fn begin_anew(&mut self) {
        self.containers.clear();
        self.questions.clear();
        self.complete_since = None;
    }

    /// Takes answers while there are any to come, for one interval at most: then the containers are observed again.
    async fn listen(
        &mut self,
        wanted: &HealthCheck,
        answers: &mut (impl Stream<Item = (String, Ask, Result<String, String>)> + Unpin),
    ) {
        let take = async {
            while !self.is_healthy(wanted) {
                let Some((key, ask, answer)) = answers.next().await else { break };
                self.answered(&key, &ask, answer);
            }
        };
        let _ = tokio::time::timeout(wanted.interval, take).await;
    }

    fn observed(&mut self, wanted: &HealthCheck, seen: &Members) -> Result<(), Unhealthy> {
        self.waiting = seen.missing.iter().map(|why| (None, why.clone())).collect();
        let is_there = |id: &String| id == OUTSIDE || seen.containers.iter().any(|member| member.id() == id);
        self.containers.retain(|id, _| is_there(id));
        self.questions.retain(|id, _| is_there(id));
        let mut failed = Vec::new();
        for member in &seen.containers {
            failed.extend(self.failed(wanted, member).map(|why| (member, format!("{} {why}", member.name))));
        }
        if !failed.is_empty() {
            return Err(broken(&failed));
        }
        self.ask_outside(wanted, &seen.containers)?;
        self.complete_since = self.waiting.is_empty().then(|| self.complete_since.unwrap_or_else(Instant::now));
        Ok(())
    }

    /// Why a container will not become healthy. What it must still answer, or come to, is noted.
    fn failed(&mut self, wanted: &HealthCheck, member: &Member) -> Option<String> {
        let id = member.id().to_owned();
        let new = || (First::of(member), member.name.clone());
        let (first, _) = self.containers.entry(id.clone()).or_insert_with(new);
        match member.state_since(first) {
            State::Failed(why) => return Some(why),
            State::Running => return self.running(wanted, member),
            State::StartedAgain => {
                self.containers.insert(id.clone(), new());
                self.questions.remove(&id);
                return self.running(wanted, member);
            }
            State::Waiting(why) => self.waiting.push((Some(id.clone()), format!("{}{why}", self.prefix(member)))),
            State::Completed => {}
        }
        self.questions.remove(&id);
        None
    }

    fn running(&mut self, wanted: &HealthCheck, member: &Member) -> Option<String> {
        let (first, _) = self.containers.get(member.id())?;
        let Some((command, limit)) = member.healthcheck().filter(|_| wanted.healthcheck) else {
            let must_settle = wanted.probe == Probe::Auto || member.lifecycle == Lifecycle::Service;
            if must_settle && !first.is_settled(wanted.settle) {
                let settle = wanted.settle;
                let why = format!("{}it has not run for {settle:?} without a restart", self.prefix(member));
                self.waiting.push((Some(member.id().to_owned()), why));
            }
            return None;
        };
        if first.is_healthy_still(member) {
            self.questions.remove(member.id());
            return None;
        }
        let prefix = self.prefix(member);
        let ask = Ask::Command { container: member.id().to_owned(), command, limit };
        let question = self.questions.entry(member.id().to_owned()).or_insert_with(|| Question::new(prefix, ask));
        (member.is_unhealthy() && question.is_bad()).then(|| format!("is unhealthy: {}", question.describe(wanted)))
    }

    /// `service db: `; nothing for the one container that the whole check is about.
    fn prefix(&self, member: &Member) -> String {
        if member.name == self.subject { String::new() } else { format!("{}: ", member.name) }
    }

    fn ask_outside(&mut self, wanted: &HealthCheck, members: &[Member]) -> Result<(), Failure> {
        if wanted.probe == Probe::Auto || self.questions.contains_key(OUTSIDE) {
            return Ok(());
        }
        let nowhere = "health.http names a path, but no TCP port is published";
        match Ask::of(&wanted.probe, || published(members)) {
            Some(ask) => drop(self.questions.insert(OUTSIDE.to_owned(), Question::new(String::new(), ask))),
            None if self.waiting.is_empty() => {
                return Err(Failure::new(Kind::Health, format!("{}: {nowhere}", self.subject)));
            }
            None => self.waiting.push((None, nowhere.to_owned())),
        }
        Ok(())
    }

    fn due(&mut self, wanted: &HealthCheck) -> Vec<(String, Ask)> {
        let all_pass = self.waiting.is_empty() && self.questions.values().all(|asked| asked.is_good(wanted.successes));
        let passed = if all_pass { STABLE.min(wanted.stable_for / 2) } else { PASSED };
        let mut due = Vec::new();
        for (key, question) in &mut self.questions {
            let rests = matches!(question.ask, Ask::Command { .. }) && question.is_good(wanted.successes);
            if question.is_due(if rests { passed } else { Duration::ZERO }) {
                due.push((key.clone(), question.asks()));
            }
        }
        due
    }

    fn answered(&mut self, key: &str, ask: &Ask, answer: Result<String, String>) {
        // The container may have been replaced meanwhile.
        if let Some(question) = self.questions.get_mut(key).filter(|question| question.ask == *ask) {
            question.answered(answer);
        }
    }

    fn is_healthy(&self, wanted: &HealthCheck) -> bool {
        self.complete_since.is_some_and(|since| since.elapsed() >= wanted.stable_for)
            && self.questions.values().all(|question| question.is_stable(wanted))
    }

    /// What is not healthy: each question that has no good answer, and what is waited for.
    fn open(&self, wanted: &HealthCheck) -> Vec<String> {
        let bad = self.questions.values().filter(|question| !question.is_stable(wanted));
        let bad = bad.map(|question| format!("{}{}", question.of, question.describe(wanted)));
        bad.chain(self.waiting.iter().map(|(_, why)| why.clone())).collect()
    }

    fn late(&self, wanted: &HealthCheck) -> Unhealthy {
        let open = match self.open(wanted) {
            open if open.is_empty() => format!("it was healthy, but not for {:?}", wanted.stable_for),
            open => open.join("; "),
        };
        let message = format!("{} was not healthy within {:?}: {open}", self.subject, wanted.timeout);
        Unhealthy {
            failure: Failure::new(Kind::Health, message),
            containers: self.open_containers(wanted),
            is_late: true,
        }
    }

    /// IDs and names of the containers whose logs may say what is not healthy.
    fn open_containers(&self, wanted: &HealthCheck) -> Vec<(String, String)> {
        let is_open = |id: &String| {
            self.waiting.iter().any(|(of, _)| of.as_ref() == Some(id))
                || self.questions.get(id).is_some_and(|question| !question.is_stable(wanted))
        };
        // Where only the address is unhealthy, any of them may say why.
        let is_any_open = self.containers.keys().any(is_open);
        let containers = self.containers.iter().filter(|(id, _)| !is_any_open || is_open(id));
        containers.map(|(id, (_, name))| (id.clone(), name.clone())).collect()
    }
}

fn broken(failed: &[(&Member, String)]) -> Unhealthy {
    let words: Vec<&str> = failed.iter().map(|(_, why)| why.as_str()).collect();
    let containers = failed.iter().map(|(member, _)| (member.id().to_owned(), member.name.clone()));
    Unhealthy {
        failure: Failure::new(Kind::Health, words.join("; ")),
        containers: containers.collect(),
        is_late: false,
    }
}
