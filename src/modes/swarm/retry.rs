//! A look and a write that belong together, where somebody else may write between the two.

use std::time::Duration;

use crate::error::{Failure, Kind};

/// How often a write that came too late is tried again.
pub(crate) const TRIES: u32 = 40;

/// Between two tries, and between two looks at what others do.
pub(crate) const PAUSE: Duration = Duration::from_millis(250);

/// Looks and writes once and again, until it is not too late: `once` has nothing to return where it was.
///
/// # Errors
/// Those of `once`; [`Kind::Engine`]: each write came too late.
pub(crate) async fn retry_on_conflict<T>(
    what: &str,
    once: impl AsyncFnMut() -> Result<Option<T>, Failure>,
) -> Result<T, Failure> {
    with_pauses(PAUSE, what, once).await
}

async fn with_pauses<T>(
    pause: Duration,
    what: &str,
    mut once: impl AsyncFnMut() -> Result<Option<T>, Failure>,
) -> Result<T, Failure> {
    for _ in 0..TRIES {
        if let Some(done) = once().await? {
            return Ok(done);
        }
        tokio::time::sleep(pause).await;
    }
    Err(Failure::new(Kind::Engine, format!("cannot {what}: somebody wrote each time before us"))
        .next("let the other deployments end, then deploy again"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_write_that_comes_too_late_is_made_again_until_it_is_taken() {
        let mut calls = 0;
        let done = with_pauses(Duration::ZERO, "update service web", async || {
            calls += 1;
            Ok((calls == 3).then_some("written"))
        });
        assert_eq!(done.await, Ok("written"));
        assert_eq!(calls, 3);
    }

    #[tokio::test]
    async fn writes_that_all_come_too_late_end_with_what_could_not_be_done() {
        let ended = with_pauses(Duration::ZERO, "update service web", async || Ok(None::<()>)).await;
        let said = ended.err().map(|failure| failure.message);
        assert_eq!(said.as_deref(), Some("cannot update service web: somebody wrote each time before us"));
    }

    #[tokio::test]
    async fn a_refusal_is_not_tried_again() {
        let mut calls = 0;
        let ended = with_pauses(Duration::ZERO, "update service web", async || {
            calls += 1;
            Err::<Option<()>, _>(Failure::new(Kind::Container, "bad spec"))
        });
        assert_eq!(ended.await, Err(Failure::new(Kind::Container, "bad spec")));
        assert_eq!(calls, 1);
    }
}
