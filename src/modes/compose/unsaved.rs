//! A project that is there and of which no release is saved: it was not deployed by balehook, or our state is lost. How it was
//! made is not known, so that its very containers come back, each as the engine describes it.

use std::collections::BTreeMap;

use crate::engine::request::ContainerSpec;
use crate::engine::{Engine, name_of};
use crate::error::Failure;
use crate::health::check::HealthCheck;
use crate::modes;
use crate::modes::as_it_is::AsItIs;
use crate::modes::compose::containers::of_project;
use crate::modes::compose::operation::ComposeOperation;
use crate::modes::compose::wait::ProjectHealth;
use crate::modes::operation::Operation;
use crate::values::target::Target;

/// One container of it.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)] // the names say it
pub struct UnsavedContainer {
    pub container: Target,
    pub service: String,
    pub is_running: bool,
    pub spec: Box<ContainerSpec>,
}

impl UnsavedContainer {
    /// None where it is gone, or its image is.
    pub(crate) async fn observe(engine: &Engine, id: &str, service: String) -> Option<Self> {
        let AsItIs { mut spec, volumes, is_running, .. } = AsItIs::observe(engine, id).await?;
        modes::volumes::give(&mut spec, &volumes);
        let container = Target { name: spec.name.clone(), id: Some(id.to_owned()) };
        Some(Self { container, service, is_running, spec })
    }
}

/// What restores them: what came up since goes, and what is gone is created anew.
pub(super) fn back(name: &str, all: &[UnsavedContainer]) -> Vec<Operation> {
    let but: Vec<Target> = all.iter().map(|found| found.container.clone()).collect();
    let mut steps: Vec<Operation> = vec![ComposeOperation::Withdraw { name: name.to_owned(), but }.into()];
    let mut services: BTreeMap<&str, usize> = BTreeMap::new();
    for UnsavedContainer { container, spec, .. } in all {
        steps.push(Operation::recreate_container(container.clone(), spec.clone()));
    }
    for UnsavedContainer { container, service, .. } in all.iter().filter(|found| found.is_running) {
        steps.push(Operation::start_container(container.clone()));
        *services.entry(service).or_default() += 1;
    }
    if !services.is_empty() {
        let services = services.into_iter().map(|(service, count)| (service.to_owned(), count)).collect();
        let health_check = ProjectHealth { services, check: HealthCheck::back(None) };
        steps.push(ComposeOperation::Wait { name: name.to_owned(), health_check }.into());
    }
    steps
}

/// Removes the project's containers but these.
pub(super) async fn withdraw(engine: &Engine, name: &str, but: &[Target]) -> Result<(), Failure> {
    let all = engine.list().await?;
    for (container, _) in of_project(&all, name) {
        if !but.iter().any(|kept| kept.id == container.id) {
            let target = Target { name: name_of(container), id: container.id.clone() };
            engine.remove_with(&target, false).await?;
        }
    }
    Ok(())
}
