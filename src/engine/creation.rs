//! What the engine or the swarm goes on creating although it is waited for no more.

use std::time::Duration;

use crate::error::Failure;
use crate::poll;

/// How long it may take to appear: the agent kills us 5 s after its SIGTERM.
const LIMIT: Duration = Duration::from_secs(2);

pub(super) const PAUSE: Duration = Duration::from_millis(50);

#[derive(Debug, Default)]
pub(crate) struct Creation {
    is_under_way: bool,
}

impl Creation {
    /// Waits for `creating`; where that is dropped, it stays under way.
    pub(crate) async fn of<T>(&mut self, creating: impl Future<Output = T>) -> T {
        self.is_under_way = true;
        let created = creating.await;
        self.is_under_way = false;
        created
    }

    /// Calls `look` until it finds it; once where nothing is under way.
    pub(crate) async fn settle(&mut self, mut look: impl AsyncFnMut() -> Result<bool, Failure>) -> Result<(), Failure> {
        let limit = if std::mem::take(&mut self.is_under_way) { LIMIT } else { Duration::ZERO };
        poll::until(limit, PAUSE, async || Ok(look().await?.then_some(()))).await.map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn looks(creation: &mut Creation) -> u32 {
        let mut looks = 0;
        let look = async || {
            looks += 1;
            Ok(looks == 3)
        };
        assert_eq!(creation.settle(look).await, Ok(()));
        looks
    }

    #[tokio::test]
    async fn only_what_nobody_waited_for_to_its_end_is_looked_for_again_and_once() {
        let mut creation = Creation::default();
        assert_eq!(creation.of(async { 7 }).await, 7);
        assert_eq!(looks(&mut creation).await, 1);
        let dropped = tokio::time::timeout(Duration::from_millis(1), creation.of(std::future::pending::<()>())).await;
        assert!(dropped.is_err());
        assert_eq!((looks(&mut creation).await, looks(&mut creation).await), (3, 1));
    }
}
