//! Compose as an operation calls it: with the values that are fetched where it creates containers.

use std::time::Duration;

use crate::error::{Failure, Kind};
use crate::modes::compose::fetched::{hidden, stand_ins, with_values};
use crate::modes::compose::operation::{ComposeOperation, unwritable};
use crate::modes::compose::project::Project;
use crate::modes::compose::tool::{self, Processes};
use crate::modes::compose::{snapshot, wait};
use crate::modes::host::Host;
use crate::ports::conflict;
use crate::values::types::EnvVar;

/// The longest that Compose may take; the hook's deadline comes first.
const LIMIT: Duration = Duration::from_secs(4 * 3600);

/// A dependency that is unhealthy or ended with an error is why `up` fails, and its log says more than Compose.
pub(super) async fn up(host: &Host, project: &Project, operation: &ComposeOperation) -> Result<Vec<String>, Failure> {
    let variables = snapshot::variables(project).map_err(|error| unwritable(project, &error))?;
    let (variables, said) = with_values(host, &variables).await?;
    let Err(failure) = run(host, project, operation, "up", Some(variables)).await else { return Ok(said) };
    let failure = conflict::explained(&host.engine, None, failure).await;
    Err(match wait::broken_now(&host.engine, &project.name).await {
        Some(broken) => Failure { message: format!("{} ({})", broken.message, failure.message), ..broken },
        None => failure,
    })
}

/// Runs Compose with the very words that the operation prints. Without `variables` no container is created: nothing is
/// fetched for that.
pub(super) async fn run(
    host: &Host,
    project: &Project,
    operation: &ComposeOperation,
    command: &str,
    variables: Option<Vec<EnvVar>>,
) -> Result<(), Failure> {
    let read = || snapshot::variables(project).map(|all| stand_ins(&all));
    let variables = variables.map_or_else(read, Ok).map_err(|error| unwritable(project, &error))?;
    let processes = Processes { settings: &host.images.credentials, engine: &host.engine.endpoint.variables };
    let ended = processes.run(command, &operation.argv().unwrap_or_default(), &[], &variables, LIMIT).await?;
    match ended.status.success() {
        true => Ok(()),
        false => {
            tracing::error!(stderr = %hidden(&String::from_utf8_lossy(ended.stderr()), &variables), "compose failed");
            let why = hidden(&tool::reason(&ended), &variables);
            Err(Failure::new(Kind::Container, format!("compose {command}: {why}")))
        }
    }
}
