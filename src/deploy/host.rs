//! The effects, behind one small trait. Processes are started here and nowhere else.

use std::time::Duration;

use crate::deploy::state::Release;
use crate::engine::request::{ContainerSpec, Target};
use crate::error::Failure;
use crate::health::check::HealthCheck;
use crate::images::operation::Import;
use crate::modes::compose::operation::ComposeOperation;
use crate::modes::swarm::operation::{RolloutCheck, SwarmOperation};
use crate::ports::operation::PortsOperation;
use crate::tasks::operation::TaskOperation;
use crate::values::pin::ImagePin;

/// What a plan can do to a host. Every method is idempotent: what is done already is no error.
#[allow(async_fn_in_trait)] // one implementation, one thread: the futures need no Send bound
pub trait Host {
    /// Brings an image in and makes sure that it is the wanted one. Returns the references this gave it.
    async fn import(&mut self, import: &Import) -> Result<Vec<String>, Failure>;
    /// Gives the image a tag of ours.
    async fn keep(&mut self, image: &ImagePin, tag: &str) -> Result<(), Failure>;
    /// Creates a container.
    async fn create(&mut self, spec: &ContainerSpec) -> Result<(), Failure>;
    /// Stops it within the grace period.
    async fn stop(&mut self, container: &Target, grace: Duration) -> Result<(), Failure>;
    /// Ends it at once.
    async fn kill(&mut self, container: &Target) -> Result<(), Failure>;
    /// Renames it.
    async fn rename(&mut self, container: &Target, to: &str) -> Result<(), Failure>;
    /// Starts it.
    async fn start(&mut self, container: &Target) -> Result<(), Failure>;
    /// Waits until it is proven.
    async fn check_health(&mut self, container: &Target, health_check: &HealthCheck) -> Result<(), Failure>;
    /// Writes the record of a release, with what is observed of its container.
    async fn record(&mut self, container: &Target, release: &Release, down: Option<Duration>) -> Result<(), Failure>;
    /// Removes it, with its anonymous volumes or without.
    async fn remove(&mut self, container: &Target, volumes: bool) -> Result<(), Failure>;
    /// Hands host ports over in the kernel.
    async fn ports(&mut self, step: &PortsOperation) -> Result<(), Failure>;
    /// Anything with a Compose project.
    async fn compose(&mut self, step: &ComposeOperation) -> Result<(), Failure>;
    /// Takes a reference off an image.
    async fn untag(&mut self, reference: &str) -> Result<(), Failure>;
    /// One step in a swarm. Returns what a person should know of it.
    async fn swarm(&mut self, step: &SwarmOperation) -> Result<Vec<String>, Failure>;
    /// Runs a task to its end, or ends one that was left under way. Returns what a person should know of it.
    async fn task(&mut self, step: &TaskOperation) -> Result<Vec<String>, Failure>;
    /// The container's state and last log lines, quickly, for the report.
    async fn evidence(&mut self, container: &Target) -> Vec<String>;
    /// What a service still waits for, quickly, for the report.
    async fn waiting(&mut self, wanted: &RolloutCheck) -> Vec<String>;
}
