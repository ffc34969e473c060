//! A read and a write that belong together, tried again where another manager wrote between the two.

use std::time::Duration;

use crate::engine::api::ApiError;
use crate::error::{Failure, Kind};
use crate::poll;

const TRIES: u32 = 40;

/// Between two tries, and between two requests for what other managers do.
pub(crate) const PAUSE: Duration = Duration::from_millis(250);

/// Calls `once`, which reads and writes, until it returns something: `None` is a write with a stale version.
/// Errors: Those of `once`; [`Kind::Engine`]: every write was stale.
pub(crate) async fn retry_on_conflict<T>(
    what: &str,
    once: impl AsyncFnMut() -> Result<Option<T>, Failure>,
) -> Result<T, Failure> {
    let done = poll::at_most(TRIES, |_| PAUSE, |done| matches!(done, Ok(None)), once).await?;
    done.ok_or_else(|| {
        Failure::new(Kind::Engine, format!("cannot {what}: another manager wrote first, each time"))
            .next("let the other deployments end, then deploy again")
    })
}

/// The answer to a write; `None` where its version was stale.
pub(crate) fn unless_stale<T>(written: Result<T, ApiError>) -> Result<Option<T>, ApiError> {
    match written {
        Err(error) if error.is_stale() => Ok(None),
        written => written.map(Some),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_stale_write_is_tried_again_until_it_is_taken() {
        let mut calls = 0;
        let done = retry_on_conflict("update service web", async || {
            calls += 1;
            Ok((calls == 3).then_some("written"))
        });
        assert_eq!(done.await, Ok("written"));
        assert_eq!(calls, 3);
    }

    #[tokio::test(start_paused = true)]
    async fn writes_that_are_all_stale_end_with_what_could_not_be_done() {
        let ended = retry_on_conflict("update service web", async || Ok(None::<()>)).await;
        let message = ended.err().map(|failure| failure.message);
        assert_eq!(message.as_deref(), Some("cannot update service web: another manager wrote first, each time"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_refusal_is_not_tried_again() {
        let mut calls = 0;
        let ended = retry_on_conflict("update service web", async || {
            calls += 1;
            Err::<Option<()>, _>(Failure::new(Kind::Container, "bad spec"))
        });
        assert_eq!(ended.await, Err(Failure::new(Kind::Container, "bad spec")));
        assert_eq!(calls, 1);
    }
}
