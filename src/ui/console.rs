//! Where the commands print: plain lines for CodeDeploy's console and for pipes, and for a person at a terminal the same in
//! colour, with steps that tick off.
//!
//! CodeDeploy's console keeps whole lines from the end while their sum is below 2048 bytes, and one bad byte or one long
//! line empties it: every line is printable UTF-8 of at most [`LINE`] characters.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::time::Instant;

use crate::error::Failure;
use crate::ui::journal::{self, Ended};
use crate::ui::layout::{Layout, columns, fold};
use crate::ui::screen::look::Look;
use crate::ui::screen::row::{Meaning, Row};
use crate::ui::screen::steps::Steps;
use crate::ui::screen::{self, LogLines, Looking};
use crate::values::text::{printable, shorten};

/// The longest line, in characters.
pub(crate) const LINE: usize = 400;

/// So many lines are kept for the history.
const KEPT: usize = 60;

/// A line beside all others, at once: on standard error, because standard output may be a document.
pub(crate) fn aside(text: &str) {
    match journal::has_stderr() {
        true => Console::stderr().line(text),
        false => drop(writeln!(LogLines, "{}", shorten(&printable(text), LINE))),
    }
}

/// Where lines go. A reader that went away is no error: 2 ms after its SIGTERM the agent closes the pipe.
pub(crate) struct Console<'a> {
    out: Box<dyn Write + 'a>,
    look: Look,
    /// systemd's journal takes the lines, with their fields.
    has_journal: bool,
    /// The last lines, at most [`KEPT`].
    kept: VecDeque<String>,
}

impl Console<'static> {
    pub(crate) fn stdout() -> Self {
        let (look, has_journal) = (Look::of_stdout(), journal::has_stdout());
        Self { out: Box::new(io::stdout()), look, has_journal, kept: VecDeque::new() }
    }

    pub(crate) fn stderr() -> Self {
        let look = Look { is_live: false, ..Look::of_stderr() };
        Self { out: Box::new(io::stderr()), look, has_journal: journal::has_stderr(), kept: VecDeque::new() }
    }
}

impl<'a> Console<'a> {
    pub(crate) fn line(&mut self, text: &str) {
        let text = shorten(&printable(text), LINE);
        self.put(&text, Meaning::of(&text), None);
        self.keep(text);
    }

    /// What was wanted is done.
    pub(crate) fn success(&mut self, text: &str) {
        self.success_of(text, None);
    }

    /// The same; `ended`: what the journal calls it.
    pub(crate) fn success_of(&mut self, text: &str, ended: Option<Ended>) {
        let text = shorten(&printable(text), LINE);
        self.put(&text, Meaning::Good, ended);
        self.keep(text);
    }

    /// The report of a plan that failed: its last line says so, and one before it where the old release is back.
    pub(crate) fn failure(&mut self, report: &str) {
        let last = report.lines().count().saturating_sub(1);
        for (index, line) in report.lines().enumerate() {
            let text = shorten(&printable(line), LINE);
            let meaning = Meaning::of(&text);
            let is_back = (meaning == Meaning::Good).then_some(Ended::RolledBack);
            let ended = if index == last { Some(Ended::Failed) } else { is_back };
            self.put(&text, meaning, ended);
            self.keep(text);
        }
    }

    pub(crate) fn lines(&mut self, text: &str) {
        text.lines().for_each(|line| self.line(line));
    }

    fn put(&mut self, text: &str, meaning: Meaning, ended: Option<Ended>) {
        if self.has_journal && journal::line(text, meaning, ended) {
            return;
        }
        let lines = if self.look.is_live { fold(text, columns()) } else { vec![text.to_owned()] };
        let paint = |line: &String| if self.look.has_color { meaning.paint(line) } else { line.clone() };
        let text: String = lines.iter().map(|line| paint(line) + "\n").collect();
        if !(self.look.is_live && screen::print(&text)) {
            let _ = self.out.write_all(text.as_bytes()).and_then(|()| self.out.flush());
        }
    }

    fn keep(&mut self, text: String) {
        self.kept.truncate(KEPT - 1);
        self.kept.push_front(text);
    }

    /// The last lines since this was asked for, at most [`KEPT`].
    pub(crate) fn take_lines(&mut self) -> Vec<String> {
        std::mem::take(&mut self.kept).into_iter().rev().collect()
    }

    /// A document for programs: cleaned, but neither folded nor cut.
    pub(crate) fn whole(&mut self, text: &str) {
        self.laid_out(Layout::default(), text);
    }

    /// A text for a person, as wide as there is room for, and in colour.
    pub(crate) fn page(&mut self, text: &str) {
        self.laid_out(Layout::of(self.look), text);
    }

    /// The same of a text with lines of others, which are indented: those have no colour.
    pub(crate) fn listing(&mut self, text: &str) {
        let layout = Layout::of(self.look);
        for line in text.split_inclusive('\n') {
            let has_color = layout.has_color && !line.starts_with(' ');
            self.laid_out(Layout { has_color, ..layout }, line);
        }
    }

    /// What is printed next stands alone on the screen.
    pub(crate) fn clears(&self) {
        if self.look.is_live {
            let _ = console::Term::stdout().clear_screen();
        }
    }

    /// What a container printed may have ended in the middle of a colour.
    pub(crate) fn ends_colors(&mut self) {
        if self.look.is_live {
            let _ = self.out.write_all(b"\x1b[0m").and_then(|()| self.out.flush());
        }
    }

    fn laid_out(&mut self, layout: Layout, text: &str) {
        let _ = self.out.write_all(layout.lay_out(text).as_bytes()).and_then(|()| self.out.flush());
    }
}

/// A plan that runs: under the agent a line for each step that begins, on a terminal the steps themselves.
impl Console<'_> {
    /// What is done before there is a plan: it is shown until the result is dropped.
    pub(crate) fn looks(&self, what: &str) -> Looking {
        if self.look.is_live {
            screen::begin(Steps::before(what, Instant::now()), self.look.has_color);
        }
        Looking
    }

    /// The plan begins.
    pub(crate) fn plan_begins(&self, titles: Vec<String>) {
        if self.look.is_live {
            screen::begin(Steps::new(titles, Instant::now()), self.look.has_color);
        }
    }

    pub(crate) fn step_begins(&mut self, number: usize, of: usize, title: &str) {
        self.step(&format!("[{number}/{of}] {title}"), |steps, now| steps.begins(number, printable(title), now));
    }

    pub(crate) fn step_fails(&mut self, number: usize, of: usize, why: &Failure) {
        self.step(&format!("[{number}/{of}] failed: {why}"), |steps, now| steps.fails(number, now));
        self.because(&why.to_string());
    }

    pub(crate) fn undo_begins(&mut self, title: &str) {
        self.step(&format!("[undo] {title}"), |steps, now| steps.undoes(printable(title), now));
    }

    pub(crate) fn undo_fails(&mut self, why: &str) {
        self.step(&format!("[undo] failed: {why}"), |steps, now| steps.fails(0, now));
        self.because(why);
    }

    /// The step under way failed where that ends nothing.
    pub(crate) fn step_warns(&self) {
        if self.look.is_live {
            screen::note(Steps::warns);
        }
    }

    /// The plan has ended.
    pub(crate) fn plan_ends(&self) {
        if self.look.is_live {
            screen::end();
        }
    }

    fn step(&mut self, line: &str, change: impl FnOnce(&mut Steps, Instant) -> Vec<Row>) {
        let line = shorten(&printable(line), LINE);
        if !(self.look.is_live && screen::update(change)) {
            self.put(&line, Meaning::of(&line), None);
        }
        self.keep(line);
    }

    /// Why a step failed stands below it.
    fn because(&mut self, why: &str) {
        if self.look.is_live {
            let line = shorten(&printable(&format!("  failed: {why}")), LINE);
            self.put(&line, Meaning::Bad, None);
        }
    }
}
