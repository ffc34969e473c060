//! Progress of a transfer: a bar on the screen, elsewhere one line every 10 % or 5 s.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::ui::screen;
use crate::values::progress::TransferProgress;
use crate::values::text::{megabytes, printable};

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
    /// Its bar, where there is a screen.
    bar: Option<usize>,
    said: (Instant, u64),
    began: Instant,
}

pub(crate) fn follow(label: String, total: Option<u64>) -> Box<dyn TransferProgress> {
    Box::new(Progress::new(label, total))
}

impl Progress {
    fn new(label: String, total: Option<u64>) -> Self {
        let (mut bar, now) = (None, Instant::now());
        screen::update(|steps, now| {
            bar = Some(steps.transfers(printable(&label), total, now));
            Vec::new()
        });
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
        match self.bar {
            Some(bar) => screen::note(|steps| steps.transferred(bar, seen)),
            None => self.say(),
        }
    }

    fn more(&mut self, bytes: usize) {
        self.at(self.seen + bytes as u64);
    }

    fn finish(&self) {
        if let Some(bar) = self.bar {
            screen::note(|steps| steps.transfer_ends(bar, true, Instant::now()));
        }
        let seconds = self.began.elapsed().as_secs_f64();
        tracing::info!(label = self.label, bytes = self.seen, seconds, "transferred");
    }
}

impl Drop for Progress {
    /// A transfer that failed leaves no bar.
    fn drop(&mut self) {
        if let Some(bar) = self.bar {
            screen::note(|steps| steps.transfer_ends(bar, false, Instant::now()));
        }
    }
}
