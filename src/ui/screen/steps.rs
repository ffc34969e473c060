//! The steps of a plan as a person sees them run: done, under way with what is transferred, to come. Text alone: what
//! time it is and how wide the terminal is comes from outside.

use std::time::{Duration, Instant};

use console::measure_text_width;

use crate::ui::screen::row::{Meaning, Row, fit};
use crate::values::text::{megabytes, seconds};

/// Nothing stands further to the right than this: on a wide terminal the eye would lose the line.
pub(crate) const WIDEST: usize = 100;

/// Steps to come that are shown.
const TO_COME: usize = 8;

/// A bar is as wide as this, and is left out where there is room for fewer columns.
const BAR: std::ops::RangeInclusive<usize> = 8..=30;

/// What turns while a step is under way.
const TURNING: [&str; 10] = ["⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏"];

/// How a step ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum How {
    Done,
    /// It failed, and the plan went on.
    Warned,
    Failed,
}

struct UnderWay {
    title: String,
    began: Instant,
    is_undo: bool,
    has_warned: bool,
}

struct Transfer {
    id: usize,
    label: String,
    seen: u64,
    total: Option<u64>,
    began: Instant,
}

/// A plan under way.
pub(crate) struct Steps {
    /// Of every step of the plan.
    titles: Vec<String>,
    /// So many have begun.
    begun: usize,
    /// What ended without success ends the plan: nothing is to come.
    has_failed: bool,
    under_way: Option<UnderWay>,
    transfers: Vec<Transfer>,
    /// What the step under way has transferred: it stands below the step.
    moved: Vec<Row>,
    next_transfer: usize,
    began: Instant,
}

impl Steps {
    pub(crate) fn new(titles: Vec<String>, now: Instant) -> Self {
        Self {
            titles,
            begun: 0,
            has_failed: false,
            under_way: None,
            transfers: Vec::new(),
            moved: Vec::new(),
            next_transfer: 0,
            began: now,
        }
    }

    /// What is done before there is a plan.
    pub(crate) fn before(what: &str, now: Instant) -> Self {
        let mut steps = Self::new(Vec::new(), now);
        steps.start(what.to_owned(), false, now);
        steps
    }

    fn start(&mut self, title: String, is_undo: bool, now: Instant) {
        self.under_way = Some(UnderWay { title, began: now, is_undo, has_warned: false });
    }

    /// Step `number` begins, from 1. Returns the one that has ended.
    pub(crate) fn begins(&mut self, number: usize, title: String, now: Instant) -> Vec<Row> {
        let ended = self.ends(How::Done, now);
        self.begun = number;
        self.start(title, false, now);
        ended
    }

    pub(crate) fn undoes(&mut self, title: String, now: Instant) -> Vec<Row> {
        let ended = self.ends(How::Done, now);
        self.start(title, true, now);
        ended
    }

    pub(crate) fn warns(&mut self) {
        self.under_way.iter_mut().for_each(|step| step.has_warned = true);
    }

    /// The step under way failed, or step `number` could not begin.
    pub(crate) fn fails(&mut self, number: usize, now: Instant) -> Vec<Row> {
        self.has_failed = true;
        if self.begun < number {
            let ended = self.ends(How::Done, now);
            let unbegun = self.titles.get(number - 1).cloned().unwrap_or_default();
            self.start(unbegun, false, now);
            return ended.into_iter().chain(self.ends(How::Failed, now)).collect();
        }
        self.ends(How::Failed, now)
    }

    /// The step under way has ended.
    pub(crate) fn ends(&mut self, how: How, now: Instant) -> Vec<Row> {
        let Some(step) = self.under_way.take() else { return Vec::new() };
        let how = if step.has_warned && how == How::Done { How::Warned } else { how };
        let (meaning, mark) = match how {
            How::Done if step.is_undo => (Meaning::Warning, "✓"),
            How::Done => (Meaning::Good, "✓"),
            How::Warned => (Meaning::Warning, "!"),
            How::Failed => (Meaning::Bad, "✗"),
        };
        let moved = std::mem::take(&mut self.moved);
        [step.row(meaning, mark, now)].into_iter().chain(moved).collect()
    }

    pub(crate) fn transfers(&mut self, label: String, total: Option<u64>, now: Instant) -> usize {
        self.next_transfer += 1;
        self.transfers.push(Transfer { id: self.next_transfer, label, seen: 0, total, began: now });
        self.next_transfer
    }

    pub(crate) fn transferred(&mut self, id: usize, bytes: u64) {
        self.transfers.iter_mut().filter(|transfer| transfer.id == id).for_each(|transfer| transfer.seen = bytes);
    }

    /// A transfer is over; where it `is_whole`, what it moved is shown when its step ends.
    pub(crate) fn transfer_ends(&mut self, id: usize, is_whole: bool, now: Instant) {
        let ended: Vec<Transfer> = self.transfers.extract_if(.., |transfer| transfer.id == id).collect();
        let ended = ended.into_iter().filter(|transfer| is_whole && transfer.seen > 0);
        self.moved.extend(ended.map(|transfer| transfer.ended(now)));
    }

    /// The part of the screen that changes: what is under way and to come, at most `height` rows of `width` columns.
    pub(crate) fn rows(&self, now: Instant, width: usize, height: usize) -> Vec<Row> {
        let width = width.min(WIDEST);
        let turning = TURNING[(now.duration_since(self.began).as_millis() / 100) as usize % TURNING.len()];
        let mut rows: Vec<Row> = self.under_way.iter().map(|step| step.row(Meaning::Hint, turning, now)).collect();
        rows.extend(self.transfers.iter().map(|transfer| transfer.row(now, width)));
        let to_come = self.titles.get(self.begun..).filter(|_| !self.has_failed).unwrap_or_default();
        let room = height.saturating_sub(rows.len() + 2).min(TO_COME);
        let title = |title: &String| Row::default().with(Meaning::Detail, format!("· {title}"));
        rows.extend(to_come.iter().take(room).map(title));
        if !self.titles.is_empty() && !self.has_failed {
            let more = to_come.len().saturating_sub(room);
            let more = if more > 0 { format!("… {more} more; ") } else { String::new() };
            let done = self.begun.saturating_sub(usize::from(self.under_way.is_some()));
            let since = seconds(whole(now.duration_since(self.began)));
            let text = format!("  {more}{done} of {} done, {since}", self.titles.len());
            rows.push(Row::default().with(Meaning::Detail, text));
        }
        rows.truncate(height);
        rows.into_iter().map(|row| row.drawn(width)).collect()
    }
}

impl UnderWay {
    fn row(&self, meaning: Meaning, mark: &str, now: Instant) -> Row {
        let undo = if self.is_undo { "undo: " } else { "" };
        let time = seconds(whole(now.duration_since(self.began)));
        let row = Row::default().with(meaning, mark).with(Meaning::Plain, format!(" {undo}{}", self.title));
        row.at_right(time)
    }
}

impl Transfer {
    fn ended(&self, now: Instant) -> Row {
        let (time, rate) = (now.duration_since(self.began), self.rate(now));
        let text = format!("    {}: {} at {}/s", self.label, megabytes(self.seen), megabytes(rate));
        Row::default().with(Meaning::Detail, text).at_right(seconds(whole(time)))
    }

    /// Bytes a second.
    fn rate(&self, now: Instant) -> u64 {
        let time = now.duration_since(self.began).as_secs_f64();
        if time > 0.0 { (self.seen as f64 / time) as u64 } else { 0 }
    }

    /// What is known of it, from everything to the least.
    fn figures(&self, now: Instant) -> Vec<String> {
        let (seen, rate) = (megabytes(self.seen), self.rate(now));
        let Some(total) = self.total.filter(|total| *total > 0) else {
            return vec![format!("{seen}  {}/s", megabytes(rate)), seen];
        };
        let percent = format!("{:>3} %", (u128::from(self.seen) * 100 / u128::from(total)).min(100));
        let left = total.saturating_sub(self.seen).checked_div(rate).map(|left| Duration::from_secs(left + 1));
        let left = left.map(|left| format!("  {} left", seconds(left))).unwrap_or_default();
        let of = format!("{percent}  {seen} of {}", megabytes(total));
        vec![format!("{of}  {}/s{left}", megabytes(rate)), of, percent]
    }

    /// Its name, a bar and its figures: what there is no room for is left out.
    fn row(&self, now: Instant, width: usize) -> Row {
        let (mut figures, label) = (self.figures(now), format!("    {}", self.label));
        let least = measure_text_width(&label).min(width / 3) + 2;
        let least = least + if self.total.is_some() { BAR.start() + 2 } else { 0 };
        let last = figures.pop().unwrap_or_default();
        let figures = figures.into_iter().find(|text| measure_text_width(text) + least <= width).unwrap_or(last);
        let room = width.saturating_sub(measure_text_width(&figures) + 2);
        let label = fit(&label, room.saturating_sub(BAR.start() + 2).max(width / 3).min(room));
        let row = Row::default().with(Meaning::Plain, format!("{label}  "));
        let room = room.saturating_sub(row.width()).min(*BAR.end());
        let row = match self.total.filter(|total| *total > 0 && BAR.contains(&room)) {
            Some(total) => {
                let full = (u128::from(self.seen) * room as u128 / u128::from(total)).min(room as u128) as usize;
                let row = row.with(Meaning::Good, "━".repeat(full));
                row.with(Meaning::Detail, "─".repeat(room - full)).with(Meaning::Plain, "  ")
            }
            None => row,
        };
        row.with(Meaning::Plain, figures)
    }
}

/// Tenths of a second that are over.
fn whole(time: Duration) -> Duration {
    Duration::from_millis(u64::try_from(time.as_millis() / 100 * 100).unwrap_or(u64::MAX))
}

#[cfg(test)]
#[path = "steps_tests.rs"]
mod tests;
