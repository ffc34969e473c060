//! The journal of systemd, where systemd connected us to it: each line goes there with its priority and with fields to
//! filter by. Everywhere else nothing of this happens.
//!
//! Source: <https://systemd.io/JOURNAL_NATIVE_PROTOCOL/>.

use std::fmt::Write as _;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixDatagram;
use std::sync::{Mutex, OnceLock, PoisonError};

use nix::sys::stat::fstat;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

use crate::ui::screen::row::Meaning;
use crate::values::secret::masked;
use crate::values::text::shorten;

const SOCKET: &str = "/run/systemd/journal/socket";

/// The longest message, in characters: what is longer would need another way than a datagram.
const LONGEST: usize = 16_000;

/// What ended, for `journalctl MESSAGE_ID=…` and alarms. They never change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    Succeeded,
    Failed,
    RolledBack,
}

impl Ended {
    const fn message_id(self) -> &'static str {
        match self {
            Self::Succeeded => "6d3a1f0c2b7e4f559a0d8c1e5b42f7a1",
            Self::Failed => "b81e27d94c6a4c3f8f5570a9d2e36b18",
            Self::RolledBack => "0f9c52e7a1d843b6b6c4e83d7a215f90",
        }
    }
}

/// What a line is about.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct About {
    pub(crate) name: String,
    pub(crate) deployment: String,
    pub(crate) event: String,
    pub(crate) image: String,
}

struct Journal {
    socket: UnixDatagram,
    /// Standard output is connected to it; and standard error.
    has: (bool, bool),
}

static JOURNAL: OnceLock<Option<Journal>> = OnceLock::new();

static ABOUT: Mutex<Option<About>> = Mutex::new(None);

/// Connects, where `JOURNAL_STREAM` names what standard output or standard error is.
pub(crate) fn start(stream: Option<&str>) {
    JOURNAL.get_or_init(|| {
        let is = |fd: BorrowedFd<'_>| stream.is_some() && stream == name_of(fd).as_deref();
        let has = (is(std::io::stdout().as_fd()), is(std::io::stderr().as_fd()));
        let socket = (has.0 || has.1).then(connected).flatten()?;
        Some(Journal { socket, has })
    });
}

fn connected() -> Option<UnixDatagram> {
    let socket = UnixDatagram::unbound().ok()?;
    socket.connect(SOCKET).ok().map(|()| socket)
}

/// `device:inode`, as in `JOURNAL_STREAM`.
fn name_of(fd: BorrowedFd<'_>) -> Option<String> {
    fstat(fd).ok().map(|stat| format!("{}:{}", stat.st_dev, stat.st_ino))
}

pub(crate) fn has_stdout() -> bool {
    JOURNAL.get().and_then(Option::as_ref).is_some_and(|journal| journal.has.0)
}

pub(crate) fn has_stderr() -> bool {
    JOURNAL.get().and_then(Option::as_ref).is_some_and(|journal| journal.has.1)
}

/// What the lines from here on are about.
pub(crate) fn is_about(about: About) {
    *ABOUT.lock().unwrap_or_else(PoisonError::into_inner) = Some(about);
}

/// The same, once the image is known.
pub(crate) fn is_of_image(image: String) {
    if let Some(about) = ABOUT.lock().unwrap_or_else(PoisonError::into_inner).as_mut() {
        about.image = image;
    }
}

/// A line that the console shows. True where it went to the journal.
pub(crate) fn line(text: &str, meaning: Meaning, ended: Option<Ended>) -> bool {
    let priority = match meaning {
        Meaning::Bad => 3,
        Meaning::Warning => 4,
        // Units may limit what they log to notices: what we have to say is one.
        Meaning::Plain | Meaning::Good | Meaning::Hint | Meaning::Detail => 5,
    };
    send(text, priority, ended)
}

fn send(message: &str, priority: u8, ended: Option<Ended>) -> bool {
    let Some(journal) = JOURNAL.get().and_then(Option::as_ref) else { return false };
    let about = ABOUT.lock().unwrap_or_else(PoisonError::into_inner).clone().unwrap_or_default();
    let message = shorten(&masked(message), LONGEST);
    journal.socket.send(&entry(&message, priority, ended, &about)).is_ok()
}

fn entry(message: &str, priority: u8, ended: Option<Ended>, about: &About) -> Vec<u8> {
    let mut entry = Vec::new();
    field(&mut entry, "MESSAGE", message);
    field(&mut entry, "PRIORITY", &priority.to_string());
    field(&mut entry, "SYSLOG_IDENTIFIER", "balehook");
    ended.iter().for_each(|ended| field(&mut entry, "MESSAGE_ID", ended.message_id()));
    let About { name, deployment, event, image } = about;
    let fields = [("NAME", name), ("DEPLOYMENT", deployment), ("EVENT", event), ("IMAGE", image)];
    for (key, value) in fields.into_iter().filter(|(_, value)| !value.is_empty()) {
        field(&mut entry, &format!("BALEHOOK_{key}"), value);
    }
    entry
}

/// `KEY=value`; a value of several lines with its length.
fn field(entry: &mut Vec<u8>, key: &str, value: &str) {
    entry.extend_from_slice(key.as_bytes());
    if value.contains('\n') {
        entry.push(b'\n');
        entry.extend_from_slice(&(value.len() as u64).to_le_bytes());
    } else {
        entry.push(b'=');
    }
    entry.extend_from_slice(value.as_bytes());
    entry.push(b'\n');
}

/// Log lines.
pub(crate) struct JournalLayer;

impl<S: Subscriber> Layer<S> for JournalLayer {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut text = Text::default();
        event.record(&mut text);
        let priority = match *event.metadata().level() {
            Level::ERROR => 3,
            Level::WARN => 4,
            Level::INFO => 6,
            Level::DEBUG | Level::TRACE => 7,
        };
        send(&format!("{}{}", text.message, text.fields), priority, None);
    }
}

/// An event as one line: `begins operation=docker start web`.
#[derive(Default)]
struct Text {
    message: String,
    fields: String,
}

impl Visit for Text {
    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "message" => self.message.push_str(value),
            name => _ = write!(self.fields, " {name}={value}"),
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        match field.name() {
            "message" => _ = write!(self.message, "{value:?}"),
            name => _ = write!(self.fields, " {name}={value:?}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_has_the_fields_that_are_known_and_a_value_of_several_lines_its_length() {
        let about = About { name: "web".into(), event: "resume".into(), ..About::default() };
        let text = |message, ended| String::from_utf8_lossy(&entry(message, 3, ended, &about)).into_owned();
        assert_eq!(
            text("no", Some(Ended::Failed)),
            "MESSAGE=no\nPRIORITY=3\nSYSLOG_IDENTIFIER=balehook\nMESSAGE_ID=b81e27d94c6a4c3f8f5570a9d2e36b18\n\
             BALEHOOK_NAME=web\nBALEHOOK_EVENT=resume\n"
        );
        let several = text("a\nBALEHOOK_NAME=other", None);
        assert!(
            several.starts_with("MESSAGE\n\u{15}\0\0\0\0\0\0\0a\nBALEHOOK_NAME=other\nPRIORITY=3\n"),
            "{several:?}"
        );
    }
}
