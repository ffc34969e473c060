//! What is done to a container. What is done already is no error.

use std::time::Duration;

use bollard::query_parameters as query;

use crate::engine::request::Target;
use crate::engine::{Engine, refused, status};
use crate::error::Failure;

impl Engine {
    /// Stops it within the grace period.
    ///
    /// # Errors
    /// With the engine's words.
    pub(crate) async fn stop(&self, container: &Target, grace: Duration) -> Result<(), Failure> {
        let seconds = i32::try_from(grace.as_secs()).unwrap_or(i32::MAX);
        let options = query::StopContainerOptionsBuilder::default().t(seconds).build();
        let stopped = self.docker.stop_container(at(container), Some(options)).await;
        done_already(stopped, &[304, 404]).map_err(|error| refused(&format!("cannot stop {container}"), &error))
    }

    /// Ends it at once.
    ///
    /// # Errors
    /// With the engine's words.
    pub(crate) async fn kill(&self, container: &Target) -> Result<(), Failure> {
        let options = query::KillContainerOptionsBuilder::default().signal("SIGKILL").build();
        let killed = self.docker.kill_container(at(container), Some(options)).await;
        done_already(killed, &[404, 409]).map_err(|error| refused(&format!("cannot kill {container}"), &error))
    }

    /// Renames it.
    ///
    /// # Errors
    /// With the engine's words.
    pub(crate) async fn rename(&self, container: &Target, to: &str) -> Result<(), Failure> {
        let options = query::RenameContainerOptionsBuilder::default().name(to).build();
        let Err(error) = self.docker.rename_container(at(container), options).await else { return Ok(()) };
        let named = self.inspect(at(container)).await?.and_then(|found| found.name);
        match named {
            Some(name) if name.trim_start_matches('/') == to => Ok(()),
            _ => Err(refused(&format!("cannot rename {container} to {to}"), &error)),
        }
    }

    /// Starts it.
    ///
    /// # Errors
    /// With the engine's words.
    pub(crate) async fn start(&self, container: &Target) -> Result<(), Failure> {
        let started = self.docker.start_container(at(container), None).await;
        done_already(started, &[304]).map_err(|error| refused(&format!("cannot start {container}"), &error))
    }

    /// Removes it, with its anonymous volumes or without.
    ///
    /// # Errors
    /// With the engine's words.
    pub(crate) async fn remove_with(&self, container: &Target, volumes: bool) -> Result<(), Failure> {
        let options = query::RemoveContainerOptionsBuilder::default().force(true).v(volumes).build();
        let removed = self.docker.remove_container(at(container), Some(options)).await;
        // 409: somebody else is removing it already.
        done_already(removed, &[404, 409]).map_err(|error| refused(&format!("cannot remove {container}"), &error))
    }
}

fn at(container: &Target) -> &str {
    container.id.as_deref().unwrap_or(&container.name)
}

fn done_already(result: Result<(), bollard::errors::Error>, fine: &[u16]) -> Result<(), bollard::errors::Error> {
    match result {
        Err(error) if status(&error).is_some_and(|status| fine.contains(&status)) => Ok(()),
        other => other,
    }
}
