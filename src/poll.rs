//! The one polling loop. Whatever waits for something that cannot call back waits here; nothing else sleeps.
//!
//! It never cuts an attempt short: each call inside has a limit of its own.

use std::time::Duration;

use tokio::time::Instant;

/// Tries at once, then every `interval`, until `attempt` returns something; `None` when that took longer than `limit`.
/// The last attempt is made when the time is up, so a limit of zero is one attempt.
/// Errors: The first error of `attempt`: what should be tried again is `Ok(None)`.
pub(crate) async fn until<T, E>(
    limit: Duration,
    interval: Duration,
    attempt: impl AsyncFnMut() -> Result<Option<T>, E>,
) -> Result<Option<T>, E> {
    while_open(limit, interval, |found| matches!(found, Ok(None)), attempt).await
}

/// The same for any answer: the first that is not `is_open`, or the one to the last attempt.
pub(crate) async fn while_open<A>(
    limit: Duration,
    interval: Duration,
    is_open: impl Fn(&A) -> bool,
    mut attempt: impl AsyncFnMut() -> A,
) -> A {
    let began = Instant::now();
    loop {
        let is_last = began.elapsed() >= limit;
        let answer = attempt().await;
        if is_last || !is_open(&answer) {
            return answer;
        }
        pause(interval.min(limit.saturating_sub(began.elapsed()))).await;
    }
}

/// The same by count: at most `attempts`, with the pause `after` the first, the second, ….
pub(crate) async fn at_most<A>(
    attempts: u32,
    after: impl Fn(u32) -> Duration,
    is_open: impl Fn(&A) -> bool,
    mut attempt: impl AsyncFnMut() -> A,
) -> A {
    let mut made = 1;
    loop {
        let answer = attempt().await;
        if made >= attempts || !is_open(&answer) {
            return answer;
        }
        pause(after(made)).await;
        made += 1;
    }
}

/// [`until`] without a limit: `attempt` itself decides when it is over, or the hook's deadline does from outside.
pub(crate) async fn without_limit<T, E>(
    interval: Duration,
    mut attempt: impl AsyncFnMut() -> Result<Option<T>, E>,
) -> Result<T, E> {
    loop {
        if let Some(found) = attempt().await? {
            return Ok(found);
        }
        pause(interval).await;
    }
}

/// Waits for time alone to pass: a drain, or a pause in a loop that decides more than whether to go on.
pub(crate) async fn pause(time: Duration) {
    tokio::time::sleep(time).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(60);
    const SHORT: Duration = Duration::from_millis(1);

    #[tokio::test]
    async fn an_error_ends_it_at_once() {
        let mut attempts = 0;
        let ended = until(LONG, SHORT, async || {
            attempts += 1;
            if attempts == 3 { Err::<Option<()>, _>("refused") } else { Ok(None) }
        });
        assert_eq!(ended.await, Err("refused"));
        assert_eq!(attempts, 3);
    }

    #[tokio::test]
    async fn when_the_time_is_up_there_is_one_last_attempt() {
        let mut attempts = 0;
        // The pause is cut to what is left: the second attempt is the last.
        let ended = until(SHORT, LONG, async || {
            attempts += 1;
            Ok::<Option<()>, ()>(None)
        });
        assert_eq!(ended.await, Ok(None));
        assert_eq!(attempts, 2);
    }

    #[tokio::test]
    async fn without_time_there_is_one_attempt() {
        let mut attempts = 0;
        let ended = until(Duration::ZERO, LONG, async || {
            attempts += 1;
            Ok::<Option<()>, ()>(None)
        });
        assert_eq!(ended.await, Ok(None));
        assert_eq!(attempts, 1);
    }

    #[tokio::test]
    async fn what_the_last_attempt_finds_counts_and_the_first_is_made_without_a_pause() {
        let mut attempts = 0;
        let ended = until(SHORT, LONG, async || {
            attempts += 1;
            Ok::<_, ()>((attempts == 2).then_some("there"))
        });
        assert_eq!(ended.await, Ok(Some("there")));
        assert_eq!(until(LONG, LONG, async || Ok::<_, ()>(Some(7))).await, Ok(Some(7)));
    }

    #[tokio::test]
    async fn without_a_limit_it_goes_on_until_there_is_something_or_an_error() {
        let mut attempts = 0;
        let ended = without_limit(SHORT, async || {
            attempts += 1;
            Ok::<_, ()>((attempts == 20).then_some("there"))
        });
        assert_eq!(ended.await, Ok("there"));
        assert_eq!(without_limit(LONG, async || Err::<Option<()>, _>("refused")).await, Err("refused"));
    }

    #[tokio::test]
    async fn by_count_the_pause_may_grow_and_the_last_answer_stands() {
        let (mut attempts, began) = (0, Instant::now());
        let after = |made: u32| Duration::from_millis(20 * u64::from(made));
        let last = at_most(
            3,
            after,
            |answer: &u32| *answer < 9,
            async || {
                attempts += 1;
                attempts
            },
        );
        assert_eq!(last.await, 3);
        assert!(began.elapsed() >= Duration::from_millis(60), "20 ms after the first, 40 ms after the second");
        assert_eq!(at_most(3, |_| LONG, |answer: &u32| *answer < 9, async || 9).await, 9);
        assert_eq!(at_most(1, |_| LONG, |_| true, async || "refused").await, "refused");
    }

    #[tokio::test]
    async fn an_answer_of_any_kind_may_be_waited_for() {
        let mut attempts = 0;
        let answer = while_open(
            LONG,
            SHORT,
            |answer: &Result<u32, &str>| answer.is_err(),
            async || {
                attempts += 1;
                if attempts == 3 { Ok(attempts) } else { Err("no leader") }
            },
        );
        assert_eq!(answer.await, Ok(3));
        let last = while_open(Duration::ZERO, LONG, |answer: &Result<u32, &str>| answer.is_err(), async || Err("gone"));
        assert_eq!(last.await, Err("gone"));
    }
}
