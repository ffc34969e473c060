//! The screen of a person who watches a plan run: finished steps stay as lines, and below them what is under way is drawn
//! anew ten times a second. Everything else that is printed meanwhile goes above it. The cursor is never hidden, and
//! stands below it: a person who kills us finds the terminal as it was.

pub(crate) mod look;
pub(crate) mod row;
pub(crate) mod steps;

use std::io::{self, Write};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use console::Term;

use crate::ui::screen::row::Row;
use crate::ui::screen::steps::{How, Steps, WIDEST};

/// How often it is drawn.
const EVERY: Duration = Duration::from_millis(100);

/// The columns and rows of a terminal that does not say.
const USUAL: (usize, usize) = (80, 24);

/// There is one terminal. Nothing is logged while this is held: the log is printed on it.
static SCREEN: Mutex<Option<Screen>> = Mutex::new(None);

struct Screen {
    steps: Steps,
    has_color: bool,
    /// How wide the rows are that stand there now.
    drawn: Vec<usize>,
    term: Term,
    /// Its end ends the thread that draws.
    _is_there: Sender<()>,
}

fn screen() -> MutexGuard<'static, Option<Screen>> {
    SCREEN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Begins to draw.
pub(crate) fn begin(steps: Steps, has_color: bool) {
    let (is_there, ended) = channel::<()>();
    let draws = move || {
        while ended.recv_timeout(EVERY) == Err(RecvTimeoutError::Timeout) {
            update(|_, _| Vec::new());
        }
    };
    // Without the thread it is drawn when something happens.
    let _ = std::thread::Builder::new().name("screen".into()).spawn(draws);
    end();
    *screen() =
        Some(Screen { steps, has_color, drawn: Vec::new(), term: Term::buffered_stdout(), _is_there: is_there });
    update(|_, _| Vec::new());
}

/// What is under way has ended well, where nothing else was said of it; nothing is drawn any more.
pub(crate) fn end() {
    update(|steps, now| steps.ends(How::Done, now));
    erase();
}

/// What is shown before there is a plan: it leaves no line.
#[must_use]
pub(crate) struct Looking;

impl Drop for Looking {
    fn drop(&mut self) {
        erase();
    }
}

fn erase() {
    if let Some(mut last) = screen().take() {
        last.draw("", &[]);
    }
}

/// Something happened: rows that are returned stay. False where there is no screen.
pub(crate) fn update(change: impl FnOnce(&mut Steps, Instant) -> Vec<Row>) -> bool {
    let mut screen = screen();
    let Some(screen) = screen.as_mut() else { return false };
    let now = Instant::now();
    let rows = change(&mut screen.steps, now);
    let (width, height) = screen.size();
    let lines = rows.into_iter().map(|row| row.drawn(width.min(WIDEST)).text(screen.has_color) + "\n");
    let above: String = lines.collect();
    let below = screen.steps.rows(now, width, height);
    screen.draw(&above, &below);
    true
}

/// What is drawn next time.
pub(crate) fn note(change: impl FnOnce(&mut Steps)) {
    if let Some(screen) = screen().as_mut() {
        change(&mut screen.steps);
    }
}

/// Whole lines go above it. False where there is no screen.
pub(crate) fn print(lines: &str) -> bool {
    let mut screen = screen();
    let Some(screen) = screen.as_mut() else { return false };
    let (width, height) = screen.size();
    let below = screen.steps.rows(Instant::now(), width, height);
    screen.draw(lines, &below);
    true
}

impl Screen {
    /// What may be drawn on: a column and a row stay free, so that nothing scrolls or wraps.
    fn size(&self) -> (usize, usize) {
        let size = self.term.size_checked().map(|(rows, columns)| (usize::from(columns), usize::from(rows)));
        let (width, height) = size.filter(|(width, height)| *width > 0 && *height > 0).unwrap_or(USUAL);
        (width.saturating_sub(1).max(1), height.saturating_sub(1).max(1))
    }

    /// Draws over what stands there, at once. A terminal that went away is no error.
    fn draw(&mut self, above: &str, below: &[Row]) {
        let _ = self.write(above, below).and_then(|()| self.term.flush());
        self.drawn = below.iter().map(Row::width).collect();
    }

    fn write(&self, above: &str, below: &[Row]) -> io::Result<()> {
        let (width, _) = self.size();
        // On a terminal that became narrower what stands there takes more rows.
        let rows: usize = self.drawn.iter().map(|drawn| drawn.div_ceil(width + 1).max(1)).sum();
        if rows > 0 {
            self.term.move_cursor_up(rows)?;
        }
        for line in above.lines() {
            self.term.clear_line()?;
            self.term.write_line(line)?;
        }
        for row in below {
            self.term.clear_line()?;
            self.term.write_line(&row.text(self.has_color))?;
        }
        self.term.clear_to_end_of_screen()
    }
}

/// Standard error for log lines: where it is the terminal too, they go above what is drawn.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct LogLines;

impl Write for LogLines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(bytes);
        if look::Look::of_stderr().is_terminal && print(&text) {
            return Ok(bytes.len());
        }
        io::stderr().write_all(bytes).map(|()| bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
