//! What is waited for outside at this moment. Who stops waiting, at a deadline or a signal, can name it then.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::Instant;

/// How long ago something may have been given up that is the reason for what happens now.
const JUST_NOW: Duration = Duration::from_millis(250);

/// What was waited for no longer than this explains nothing.
const NOTEWORTHY: Duration = Duration::from_secs(1);

/// What was given up last; all clones know the same.
#[derive(Debug, Clone, Default)]
pub(crate) struct Waits {
    last: Arc<Mutex<Option<GivenUp>>>,
    /// Prints a line.
    print: Option<fn(&str)>,
}

#[derive(Debug)]
struct GivenUp {
    words: String,
    waited: Duration,
    at: Instant,
}

/// An answer that is waited for: given up where this is dropped before it is there.
struct Waiting<'a, F: Fn(Duration) -> String> {
    waits: &'a Waits,
    words: F,
    since: Instant,
    is_there: bool,
}

impl<F: Fn(Duration) -> String> Drop for Waiting<'_, F> {
    fn drop(&mut self) {
        if !self.is_there {
            self.waits.give_up(&self.words, self.since.elapsed());
        }
    }
}

impl Waits {
    /// Those that a person reads of.
    pub(crate) fn printed(print: fn(&str)) -> Self {
        Self { print: Some(print), ..Self::default() }
    }

    /// Says at once what is waited for, where that takes minutes.
    pub(crate) fn say(&self, line: &str) {
        tracing::info!("{line}");
        if let Some(print) = self.print {
            print(line);
        }
    }

    /// Waits for an answer. `words` says who has not given it for so long, as the failure does where that is a limit's end.
    pub(crate) async fn on<T>(&self, words: impl Fn(Duration) -> String, answer: impl Future<Output = T>) -> T {
        let mut waiting = Waiting { waits: self, words, since: Instant::now(), is_there: false };
        let answer = answer.await;
        waiting.is_there = true;
        answer
    }

    /// Of all that is given up at one moment the one that was waited for longest is the reason; of one within another the
    /// outer one, which knows more.
    fn give_up(&self, words: impl Fn(Duration) -> String, waited: Duration) {
        let Ok(mut last) = self.last.lock() else { return };
        let is_less = |known: &GivenUp| known.is_now() && known.waited > waited;
        if waited >= NOTEWORTHY && !last.as_ref().is_some_and(is_less) {
            *last = Some(GivenUp { words: words(waited), waited, at: Instant::now() });
        }
    }

    /// What had not answered, and for how long, when a caller stopped waiting in this moment. `None` if nothing was
    /// waited for, or not for long.
    pub(crate) fn given_up(&self) -> Option<String> {
        let last = self.last.lock().ok()?.take()?;
        last.is_now().then_some(last.words)
    }
}

impl GivenUp {
    fn is_now(&self) -> bool {
        self.at.elapsed() < JUST_NOW
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::pending;

    const SECOND: Duration = Duration::from_secs(1);

    async fn give_up(waits: &Waits, who: &str, time: Duration) {
        let answer = waits.on(|time| format!("{who} for {time:?}"), pending::<()>());
        assert!(tokio::time::timeout(time, answer).await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_given_up_is_known_in_that_moment_once_and_to_every_clone() {
        let waits = Waits::default();
        give_up(&waits.clone(), "S3", 9 * SECOND).await;
        assert_eq!((waits.given_up().as_deref(), waits.given_up()), (Some("S3 for 9s"), None));
        give_up(&waits, "S3", 9 * SECOND).await;
        tokio::time::sleep(SECOND).await;
        assert_eq!(waits.given_up(), None, "it is no reason for what happens now");
    }

    #[tokio::test(start_paused = true)]
    async fn what_had_just_begun_or_was_answered_is_not_named() {
        let waits = Waits::default();
        give_up(&waits, "S3", SECOND / 10).await;
        let slow = waits.on(|_| unreachable!("it answers"), tokio::time::sleep(9 * SECOND));
        slow.await;
        assert_eq!(waits.given_up(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn of_several_the_one_that_was_waited_for_longest_is_named_and_of_nested_ones_the_outer() {
        let waits = Waits::default();
        let inner = waits.on(|_| "the engine".into(), pending::<()>());
        let outer = async {
            tokio::time::sleep(SECOND).await;
            waits.on(|_| "the registry".into(), inner).await;
        };
        let later = async {
            tokio::time::sleep(3 * SECOND).await;
            waits.on(|_| "a helper".into(), pending::<()>()).await;
        };
        let both = async { tokio::join!(outer, later) };
        assert!(tokio::time::timeout(9 * SECOND, both).await.is_err());
        assert_eq!(waits.given_up().as_deref(), Some("the registry"));
    }
}
