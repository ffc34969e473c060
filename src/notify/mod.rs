//! Tells others how a deployment ended. Nothing of it can change that: what cannot be sent is a warning.

pub(crate) mod report;

use std::path::{Path, PathBuf};
use std::time::Duration;

use futures_util::future::join_all;

use crate::aws::{config, https, sns};
use crate::config::hook_env::HookEnv;
use crate::config::notify::{Notify, Receiver};
use crate::notify::report::Report;
use crate::process::Program;
use crate::values::secret::masked;
use crate::values::text::seconds;

/// How much of a command's output a warning shows, in letters.
const WORDS: usize = 200;

/// What a receiver is told with.
pub(crate) struct Sender<'a> {
    pub(crate) env: &'a HookEnv,
    /// The bundle, where it is known: the commands' folder.
    pub(crate) folder: &'a Path,
    pub(crate) limit: Duration,
}

/// Sends the report to all that want to hear of it, at the same time. Returns why one was not told, each in a line.
pub(crate) async fn send(all: &[Notify], report: &Report, sender: &Sender<'_>) -> Vec<String> {
    let wanted = all.iter().filter(|notify| notify.on.contains(&report.occasion));
    let sent = join_all(wanted.map(async |notify| {
        let answer = Box::pin(tokio::time::timeout(sender.limit, one(&notify.to, report, sender))).await;
        let late = || Err(format!("it has not answered for {}", seconds(sender.limit)));
        answer.unwrap_or_else(|_| late()).map_err(|why| format!("{} was not told: {why}", words(&notify.to)))
    }));
    sent.await.into_iter().filter_map(Result::err).collect()
}

/// A receiver, without its secrets.
fn words(receiver: &Receiver) -> String {
    match receiver {
        Receiver::Command(command) => {
            format!("the command {}", command.first().map(String::as_str).unwrap_or_default())
        }
        Receiver::Webhook { url, .. } => {
            let url: Option<http::Uri> = url.reveal().parse().ok();
            let host = url.as_ref().and_then(http::Uri::host).unwrap_or_default();
            format!("the webhook at {host}")
        }
        Receiver::Sns(topic) => format!("the topic {topic}"),
    }
}

async fn one(receiver: &Receiver, report: &Report, sender: &Sender<'_>) -> Result<(), String> {
    match receiver {
        Receiver::Command(command) => run(command, report, sender).await,
        Receiver::Webhook { url, headers } => {
            let headers = headers.iter().map(|header| (header.name.clone(), header.value.reveal().to_owned()));
            let json = ("content-type".to_owned(), "application/json".to_owned());
            https::post(url.reveal(), &[json].into_iter().chain(headers).collect::<Vec<_>>(), report.body()).await
        }
        Receiver::Sns(topic) => {
            let variable = |name: &str| sender.env.lookup(name).map(str::to_owned);
            let home = config::home_if_unset(&variable);
            let endpoint = variable("AWS_ENDPOINT_URL_SNS").or_else(|| variable("AWS_ENDPOINT_URL"));
            sns::publish(topic, &report.subject(), &report.body(), endpoint.as_deref(), home.as_deref()).await
        }
    }
}

async fn run(command: &[String], report: &Report, sender: &Sender<'_>) -> Result<(), String> {
    let (name, args) = command.split_first().ok_or("it is empty")?;
    let program = program(name, sender)?;
    let program = Program::new(program).args(args).envs(sender.env.vars()).envs(report.variables());
    // It is killed with all that it started at the limit's end: the timeout around it drops it.
    let ended = program.folder(sender.folder).input(report.body()).run(sender.limit, WORDS).await;
    let ended = ended.map_err(|error| error.to_string())?;
    match ended.status.success() {
        true => Ok(()),
        false => Err(masked(&format!("{}: {}", ended.status, ended.words(WORDS)))),
    }
}

/// A path is in the bundle or absolute; a bare name is looked for on PATH.
fn program(name: &str, sender: &Sender<'_>) -> Result<PathBuf, String> {
    if name.contains('/') {
        return Ok(sender.folder.join(name));
    }
    let path = sender.env.lookup("PATH").unwrap_or("/usr/local/bin:/usr/bin:/bin");
    crate::process::find(name, path.as_ref()).ok_or_else(|| "it is not on PATH".to_owned())
}
