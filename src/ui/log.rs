//! Log lines: on stderr with `-v`, and always in a file of our own, for when the agent has closed the pipes.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Mutex;

use nix::fcntl::OFlag;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Layer, fmt};

use crate::cli::{LogFormat, Settings};
use crate::folder::Folder;
use crate::ui::journal::{self, JournalLayer};
use crate::ui::screen::LogLines;

/// The log file's name in the state folder of a deployment.
pub(crate) const FILE: &str = "balehook.log";

/// A log file larger than this is moved to `balehook.log.1` first.
const ROTATE_AT: i64 = 1024 * 1024;

/// Starts logging; `folder` is the deployment's state folder. A second call changes nothing.
pub(crate) fn start(settings: &Settings, folder: Option<&Path>) {
    let file = folder.and_then(|folder| open(folder).ok()).map(|file| {
        let layer = fmt::layer().with_writer(Mutex::new(file)).with_ansi(false);
        in_form(layer, settings.log_format).with_filter(levels(settings.verbose.max(1)))
    });
    let stderr = (settings.verbose > 0 && !journal::has_stderr()).then(|| {
        let layer = fmt::layer().with_writer(LogLines::default).with_ansi(false);
        in_form(layer, settings.log_format).with_filter(levels(settings.verbose))
    });
    // The journal has what the console shows: of the log only warnings, unless more is wanted.
    let journal = journal::has_stderr().then(|| {
        let levels = if settings.verbose > 0 { levels(settings.verbose) } else { warnings() };
        JournalLayer.with_filter(levels)
    });
    let _ = tracing_subscriber::registry().with(file).with(stderr).with(journal).try_init();
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

fn warnings() -> Targets {
    Targets::new().with_target("balehook", LevelFilter::WARN).with_default(LevelFilter::ERROR)
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
    let (folder, name) = (Folder::open_last(folder)?, OsStr::new(FILE));
    if folder.stat(name)?.is_some_and(|(_, stat)| stat.st_size > ROTATE_AT) {
        folder.rename(name, OsStr::new(&format!("{FILE}.1")))?;
    }
    folder.file(name, OFlag::O_WRONLY | OFlag::O_APPEND | OFlag::O_CREAT)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::fs;

    use super::*;

    #[test]
    fn a_link_in_the_place_of_the_log_is_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("passwd");
        fs::write(&target, "of the host").unwrap();
        std::os::unix::fs::symlink(&target, folder.path().join(FILE)).unwrap();
        open(folder.path()).unwrap_err();
        assert_eq!(fs::read_to_string(target).unwrap(), "of the host");
    }
}
