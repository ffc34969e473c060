//! What can be done to a host in any mode. Each variant's own type has its rendering and its effect beside it.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::deploy::outcome::RunsNow;
use crate::deploy::plan::Old;
use crate::deploy::{execute, plan};
use crate::engine::request::ContainerSpec;
use crate::error::Failure;
use crate::images::operation::ImageOperation;
use crate::modes::by_hand::MarkOperation;
use crate::modes::compose::operation::ComposeOperation;
use crate::modes::compose::service_change::ServiceChange;
use crate::modes::container::operation::ContainerOperation;
use crate::modes::host::Host;
use crate::modes::options::of_container;
use crate::modes::swarm::operation::SwarmOperation;
use crate::ports::operation::PortsOperation;
use crate::tasks::operation::TaskOperation;
use crate::values::operation::{Moment, Outcome, Role, Traits};
use crate::values::options::SetOption;
use crate::values::target::Target;

/// A plan of any mode.
pub type Plan = plan::Plan<Operation>;
pub(crate) type Action = plan::Action<Operation>;
pub(crate) type Undo = plan::Undo<Operation>;

/// One operation. Its `Display` is what is printed; the same values are what the host is given.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[allow(missing_docs)] // the names say it
pub enum Operation {
    Image(ImageOperation),
    Container(ContainerOperation),
    /// Host ports that the kernel switches.
    Ports(PortsOperation),
    Compose(ComposeOperation),
    Swarm(SwarmOperation),
    /// A task of a person's before or after the deployment.
    Task(TaskOperation),
    /// What a person did to the name by hand.
    Mark(MarkOperation),
}

impl Operation {
    /// Removes a container, in whatever mode it was made. Its volumes stay.
    pub(crate) const fn remove_container(container: Target) -> Self {
        Self::Container(ContainerOperation::Remove { container, volumes: false })
    }

    /// Whether a project comes up or goes by it.
    pub(crate) const fn decides_project(&self) -> bool {
        matches!(self, Self::Compose(ComposeOperation::Up { .. } | ComposeOperation::Down { .. }))
    }

    pub(crate) const fn takes_project_down(&self) -> bool {
        matches!(self, Self::Compose(ComposeOperation::Down { .. }))
    }

    /// Gives a container another name, in whatever mode it was made.
    pub(crate) const fn rename_container(container: Target, to: String) -> Self {
        Self::Container(ContainerOperation::Rename { container, to })
    }

    /// Whether containers of a saved release may be created by it.
    pub(crate) const fn creates_again(&self) -> bool {
        matches!(
            self,
            Self::Container(ContainerOperation::Recreate { .. }) | Self::Compose(ComposeOperation::Up { .. })
        )
    }

    /// Creates a container anew where it is gone, in whatever mode it was made.
    pub(crate) const fn recreate_container(container: Target, spec: Box<ContainerSpec>) -> Self {
        Self::Container(ContainerOperation::Recreate { container, spec })
    }

    /// Starts a container, in whatever mode it was made.
    pub(crate) const fn start_container(container: Target) -> Self {
        Self::Container(ContainerOperation::Start { container })
    }

    /// The options of what it creates or updates; its line has none of them.
    pub(crate) fn options(&self) -> Vec<SetOption> {
        match self {
            Self::Container(operation) => operation.options(),
            Self::Swarm(operation) => operation.options(),
            Self::Task(TaskOperation::Container { spec, .. }) => of_container(spec),
            Self::Image(_) | Self::Ports(_) | Self::Compose(_) | Self::Task(_) | Self::Mark(_) => Vec::new(),
        }
    }

    /// What becomes of each service of a project, where it brings one up.
    pub(crate) fn services(&self) -> &[ServiceChange] {
        match self {
            Self::Compose(ComposeOperation::Up { services, .. }) => services,
            Self::Image(_)
            | Self::Container(_)
            | Self::Ports(_)
            | Self::Compose(_)
            | Self::Swarm(_)
            | Self::Task(_)
            | Self::Mark(_) => &[],
        }
    }

    /// Whether the plan's changed options are among its own: those of a task and of a question to the nodes are not.
    pub(crate) const fn has_changed_options(&self) -> bool {
        match self {
            Self::Container(ContainerOperation::Create(_))
            | Self::Swarm(SwarmOperation::Create(_) | SwarmOperation::Update(_)) => true,
            Self::Image(_)
            | Self::Container(_)
            | Self::Ports(_)
            | Self::Compose(_)
            | Self::Swarm(_)
            | Self::Task(_)
            | Self::Mark(_) => false,
        }
    }
}

impl plan::Operation for Operation {
    fn title(&self) -> String {
        match self {
            Self::Image(operation) => operation.title(),
            Self::Container(operation) => operation.to_string(),
            Self::Ports(operation) => operation.to_string(),
            Self::Compose(operation) => operation.title(),
            Self::Swarm(SwarmOperation::RunTask(task)) => task.title(),
            Self::Swarm(operation) => operation.to_string(),
            Self::Task(operation) => operation.title(),
            Self::Mark(operation) => operation.to_string(),
        }
    }

    fn details(&self) -> Vec<String> {
        match self {
            Self::Compose(operation) => operation.details(),
            Self::Image(_) | Self::Container(_) | Self::Ports(_) | Self::Swarm(_) | Self::Task(_) | Self::Mark(_) => {
                Vec::new()
            }
        }
    }

    fn traits(&self) -> Traits {
        match self {
            Self::Image(operation) => operation.traits(),
            Self::Container(operation) => operation.traits(),
            Self::Ports(operation) => operation.traits().restoring(),
            Self::Compose(operation) => operation.traits(),
            Self::Swarm(operation) => operation.traits(),
            Self::Task(_) => Role::Prepares.long(),
            Self::Mark(operation) => operation.traits(),
        }
    }
}

impl execute::Host for Host {
    type Operation = Operation;

    async fn perform(&mut self, operation: &Operation, down: Option<Duration>) -> Result<Outcome, Failure> {
        match operation {
            // On the heap: one after the other they would not fit on the stack.
            Operation::Image(operation) => Box::pin(operation.perform(&mut self.images, &self.engine)).await,
            Operation::Container(operation) => Box::pin(operation.perform(self, down)).await,
            Operation::Ports(operation) => Box::pin(operation.perform(&self.engine, self.state_dir())).await,
            Operation::Compose(operation) => Box::pin(operation.perform(self)).await,
            Operation::Swarm(operation) => Box::pin(operation.perform(self)).await,
            Operation::Task(operation) => Box::pin(crate::modes::tasks::perform(operation, self)).await,
            Operation::Mark(operation) => operation.perform(self),
        }
    }

    async fn evidence(&mut self, operation: &Operation, moment: Moment) -> Vec<String> {
        // Of a health check that was cut off: one that ended has said so itself.
        let mut evidence: Vec<String> = match moment {
            Moment::Failed(_) => self.health.last_answer().into_iter().collect(),
            Moment::BeforeUndo => Vec::new(),
        };
        evidence.extend(match operation {
            Operation::Container(operation) => Box::pin(operation.evidence(self, moment)).await,
            Operation::Swarm(operation) => Box::pin(operation.evidence(&self.engine, moment)).await,
            Operation::Compose(operation) => Box::pin(operation.evidence(self, moment)).await,
            Operation::Image(_) | Operation::Ports(_) | Operation::Task(_) | Operation::Mark(_) => Vec::new(),
        });
        let is_last_chance = match operation {
            // One that the plan created is removed later: by then the old one runs, and nobody waits.
            Operation::Container(operation) => operation.logs_of(moment).is_some(),
            Operation::Compose(_) | Operation::Swarm(_) => matches!(moment, Moment::Failed(_)),
            Operation::Image(_) | Operation::Ports(_) | Operation::Task(_) | Operation::Mark(_) => false,
        };
        if is_last_chance {
            Box::pin(self.keep_last_words()).await;
        }
        evidence
    }

    fn given_up(&mut self) -> Option<String> {
        self.engine.waits.given_up()
    }

    async fn runs_now(&mut self, before: &Old) -> RunsNow {
        self.subject.runs(&self.engine, &self.name, before, &self.containers).await
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Image(operation) => operation.fmt(f),
            Self::Container(operation) => operation.fmt(f),
            Self::Ports(operation) => operation.fmt(f),
            Self::Compose(operation) => operation.fmt(f),
            Self::Swarm(operation) => operation.fmt(f),
            Self::Task(operation) => operation.fmt(f),
            Self::Mark(operation) => operation.fmt(f),
        }
    }
}

/// Each mode's and each part's own operation is one of any mode.
macro_rules! is_an_operation {
    ($($variant:ident($kind:ty),)*) => {$(
        impl From<$kind> for Operation {
            fn from(operation: $kind) -> Self {
                Self::$variant(operation)
            }
        }
    )*};
}

is_an_operation! {
    Image(ImageOperation),
    Container(ContainerOperation),
    Ports(PortsOperation),
    Compose(ComposeOperation),
    Swarm(SwarmOperation),
    Task(TaskOperation),
    Mark(MarkOperation),
}
