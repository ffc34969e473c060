//! The health checks of all modes: HTTP, gRPC, TCP, a container's own HEALTHCHECK, and "it keeps running".
//!
//! A mode says which containers and which address; nothing here knows a mode, a plan or a release.

pub mod check;
pub(crate) mod checker;
pub(crate) mod container;
mod grpc;
mod http;
#[cfg(test)]
mod http_tests;
mod probe;
mod question;
#[cfg(test)]
mod tests;

use crate::engine::Engine;
use crate::error::{Failure, Kind};
use crate::health::check::HealthCheck;
use crate::health::checker::{HealthChecker, Members};
use crate::health::container::{Lifecycle, Member};

/// Waits until the one container `id`, called `name`, is healthy. It must keep running.
/// Errors: [`Kind::Health`] when it exits, restarts or is not healthy in time.
pub(crate) async fn check_container(
    checker: &mut HealthChecker,
    engine: &Engine,
    (name, id): (&str, &str),
    wanted: &HealthCheck,
) -> Result<(), Failure> {
    let observe = async || {
        let shown = engine.inspect(id).await?;
        let shown = shown.ok_or_else(|| Failure::new(Kind::Health, format!("{name} is gone: it was removed")))?;
        let member = Member { name: name.to_owned(), lifecycle: Lifecycle::KeepsRunning, shown };
        Ok(Members { containers: vec![member], missing: Vec::new() })
    };
    let Err(unhealthy) = checker.check(engine, name, wanted, observe).await else { return Ok(()) };
    // The lines themselves are evidence of the step, or of its undoing.
    let failure = unhealthy.failure.with_log();
    Err(if unhealthy.is_late { failure.next("raise health.timeout if it only boots longer") } else { failure })
}
