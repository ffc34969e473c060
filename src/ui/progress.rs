//! Progress of a transfer: a bar on a terminal, elsewhere one line every 10 % or 5 s.

use std::io::IsTerminal as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use crate::values::progress::TransferProgress;
use crate::values::text::megabytes;

/// Without a terminal a line is printed at least this often.
const EVERY: Duration = Duration::from_secs(5);

/// Bytes of images that this process has transferred.
static MOVED: AtomicU64 = AtomicU64::new(0);

/// Bytes of images that this process has transferred so far.
pub(crate) fn moved() -> u64 {
    MOVED.load(Ordering::Relaxed)
}

pub(crate) struct Progress {
    label: String,
    total: Option<u64>,
    seen: u64,
    bar: Option<ProgressBar>,
    said: (Instant, u64),
    began: Instant,
}

pub(crate) fn follow(label: String, total: Option<u64>) -> Box<dyn TransferProgress> {
    Box::new(Progress::new(label, total))
}

impl Progress {
    fn new(label: String, total: Option<u64>) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| bar(&label, total));
        let now = Instant::now();
        Self { label, total, seen: 0, bar, said: (now, 0), began: now }
    }

    fn say(&mut self) {
        let (when, at) = self.said;
        let tenth = self.total.map_or(u64::MAX, |total| (total / 10).max(1));
        let due = when.elapsed() >= EVERY || (self.seen - at >= tenth && when.elapsed() >= Duration::from_millis(500));
        if due && self.seen > at {
            self.said = (Instant::now(), self.seen);
            let percent =
                self.total.filter(|total| *total > 0).map(|total| format!(" ({} %)", self.seen * 100 / total));
            let line = format!("  {}: {}{}", self.label, megabytes(self.seen), percent.unwrap_or_default());
            let _ = std::io::Write::write_all(&mut std::io::stderr(), format!("{line}\n").as_bytes());
        }
    }
}

impl TransferProgress for Progress {
    fn at(&mut self, seen: u64) {
        MOVED.fetch_add(seen.saturating_sub(self.seen), Ordering::Relaxed);
        self.seen = seen;
        match &self.bar {
            Some(bar) => bar.set_position(seen),
            None => self.say(),
        }
    }

    fn more(&mut self, bytes: usize) {
        self.at(self.seen + bytes as u64);
    }

    fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
        let seconds = self.began.elapsed().as_secs_f64();
        tracing::info!(label = self.label, bytes = self.seen, seconds, "transferred");
    }
}

fn bar(label: &str, total: Option<u64>) -> ProgressBar {
    let template = match total {
        Some(_) => "  {msg} [{bar:30}] {decimal_bytes}/{decimal_total_bytes} {decimal_bytes_per_sec} {eta}",
        None => "  {msg} {spinner} {decimal_bytes} {decimal_bytes_per_sec}",
    };
    let bar = total.map_or_else(ProgressBar::new_spinner, ProgressBar::new);
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar.with_message(label.to_owned())
}
