//! Log lines: on stderr with `-v`, and always in a file of our own, for when the agent has closed the pipes.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::Mutex;

use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Layer, fmt};

use crate::cli::{LogFormat, Settings};

/// The log file's name in the state folder of a deployment.
pub(crate) const FILE: &str = "balehook.log";

/// A log file larger than this is moved to `balehook.log.1` first.
const ROTATE_AT: u64 = 1024 * 1024;

/// Starts logging; `folder` is the deployment's state folder. A second call changes nothing.
pub(crate) fn start(settings: &Settings, folder: Option<&Path>) {
    let file = folder.and_then(|folder| open(folder).ok()).map(|file| {
        let layer = fmt::layer().with_writer(Mutex::new(file)).with_ansi(false);
        in_form(layer, settings.log_format).with_filter(levels(settings.verbose.max(1)))
    });
    let stderr = (settings.verbose > 0).then(|| {
        let layer = fmt::layer().with_writer(io::stderr).with_ansi(false);
        in_form(layer, settings.log_format).with_filter(levels(settings.verbose))
    });
    let _ = tracing_subscriber::registry().with(file).with(stderr).try_init();
}

fn in_form<S, W>(
    layer: fmt::Layer<S, fmt::format::DefaultFields, fmt::format::Format, W>,
    form: LogFormat,
) -> Box<dyn Layer<S> + Send + Sync>
where
    S: tracing::Subscriber + for<'a> tracing_subscriber::registry::LookupSpan<'a>,
    W: for<'a> fmt::MakeWriter<'a> + Send + Sync + 'static,
{
    match form {
        LogFormat::Text => Box::new(layer),
        LogFormat::Json => Box::new(layer.json()),
    }
}

/// Ours in more detail than the libraries'.
fn levels(verbose: u8) -> Targets {
    match verbose {
        0 => Targets::new().with_default(LevelFilter::OFF),
        1 => Targets::new().with_target("balehook", LevelFilter::INFO).with_default(LevelFilter::ERROR),
        2 => Targets::new().with_target("balehook", LevelFilter::TRACE).with_default(LevelFilter::INFO),
        _ => Targets::new().with_default(LevelFilter::DEBUG),
    }
}

fn open(folder: &Path) -> io::Result<File> {
    let path = folder.join(FILE);
    if fs::metadata(&path).is_ok_and(|meta| meta.len() > ROTATE_AT) {
        fs::rename(&path, folder.join(format!("{FILE}.1")))?;
    }
    OpenOptions::new().append(true).create(true).mode(0o600).open(path)
}
