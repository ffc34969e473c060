//! Whether the service is what was wanted: its tasks, and the application from outside.

use std::time::Duration;

use crate::config::Probe;
use crate::config::swarm::FailureAction;
use crate::error::{Failure, Kind};
use crate::health::check::HealthCheck;
use crate::modes::operation::Plan;
use crate::modes::swarm::facts::Role;
use crate::modes::swarm::operation::{RolloutCheck, SwarmOperation};
use crate::modes::swarm::plan::Planner;
use crate::values::labels::{LABEL_DIGEST, LABEL_SPEC};
use crate::values::pin::ImagePin;

impl Planner<'_> {
    pub(crate) fn wait_for_rollout(&self, digest: &str) -> RolloutCheck {
        let update = &self.swarm.deploy.update;
        let strict = update.failure_action != FailureAction::Continue && update.max_failure_ratio == 0.0;
        RolloutCheck { service: self.name(), spec: digest.to_owned(), monitor: update.monitor, strict }
    }

    /// The application from outside, where the section says how.
    pub(crate) fn probe(&mut self) -> Result<(), Failure> {
        let health = &self.deployment.health;
        let probe = match &health.probe {
            Probe::Auto => return Ok(()),
            Probe::Http(asked) if asked.path().is_some() => {
                let published = self.published()?;
                Probe::Http(asked.at(&published, &published))
            }
            asked @ (Probe::Http(_) | Probe::Tcp(_) | Probe::Grpc(_)) => asked.clone(),
        };
        // The swarm runs the HEALTHCHECK itself, on whichever node a task is.
        let health_check = HealthCheck::of(health, probe, false);
        self.push(SwarmOperation::Probe { service: self.name(), health_check });
        Ok(())
    }

    /// Where the published TCP port with the lowest port in the container answers.
    fn published(&self) -> Result<String, Failure> {
        let tcp = self.swarm.ports.iter().filter(|port| port.protocol == "tcp" && port.published > 0);
        match tcp.min_by_key(|port| port.target) {
            Some(port) => Ok(format!("127.0.0.1:{}", port.published)),
            None => Err(Failure::new(
                Kind::Appspec,
                "health.http names a path, but no TCP port is published under a number",
            )
            .next("write `ports: [\"80:80\"]`, or a whole URL")),
        }
    }

    pub(crate) fn validate(mut self) -> Result<Plan, Failure> {
        let image = self.checked()?;
        if self.seen.role == Role::Worker {
            self.push(SwarmOperation::LocalTasks {
                service: self.name(),
                image: image.pin.clone(),
                patience: Duration::ZERO,
                monitor: Duration::ZERO,
            });
            return Ok(self.plan);
        }
        let name = &self.deployment.name;
        let Some(service) = &self.seen.service else {
            return Err(Failure::new(Kind::Health, format!("the swarm has no service {name}"))
                .next("did ApplicationStart run? its output says why the service is gone"));
        };
        let wanted = image.pin.identity().to_string();
        let runs = service.spec.label(LABEL_DIGEST).unwrap_or_default();
        if !matches!(image.pin, ImagePin::Unknown { .. }) && runs != wanted {
            return Err(Failure::new(
                Kind::Health,
                format!("{name} runs {runs}, not the wanted {}", image.pin.describe()),
            )
            .next("run ApplicationStart again"));
        }
        let spec = service.spec.label(LABEL_SPEC).unwrap_or_default().to_owned();
        self.push(SwarmOperation::RolloutCheck(self.wait_for_rollout(&spec)));
        self.probe()?;
        Ok(self.plan)
    }
}
