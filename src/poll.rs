//! The one polling loop. Whatever waits for something that cannot call back waits here.
//!
//! It never cuts an attempt short: each call inside has a limit of its own.

use std::time::Duration;

use tokio::time::Instant;

/// Tries at once, then every `interval`, until `attempt` returns something; `None` when that took longer than `limit`.
/// The last attempt is made when the time is up, so a limit of zero is one attempt.
///
/// # Errors
/// The first error of `attempt`: what should be tried again is `Ok(None)`.
pub(crate) async fn until<T, E>(
    limit: Duration,
    interval: Duration,
    mut attempt: impl AsyncFnMut() -> Result<Option<T>, E>,
) -> Result<Option<T>, E> {
    let began = Instant::now();
    loop {
        let is_last = began.elapsed() >= limit;
        let found = attempt().await?;
        if found.is_some() || is_last {
            return Ok(found);
        }
        tokio::time::sleep(interval.min(limit.saturating_sub(began.elapsed()))).await;
    }
}

/// The same without a limit: `attempt` itself decides when it is over, or the hook's deadline does from outside.
///
/// # Errors
/// The first error of `attempt`.
pub(crate) async fn without_limit<T, E>(
    interval: Duration,
    mut attempt: impl AsyncFnMut() -> Result<Option<T>, E>,
) -> Result<T, E> {
    loop {
        if let Some(found) = attempt().await? {
            return Ok(found);
        }
        tokio::time::sleep(interval).await;
    }
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
}
