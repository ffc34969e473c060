//! One thing that goes: how it is printed, and how it is done.

use std::fmt;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::app::Context;
use crate::app::uninstall::units;
use crate::engine::Engine;
use crate::engine::api::Api;
use crate::error::Failure;
use crate::files::unwritable;
use crate::ports;
use crate::values::target::Target;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Removal {
    /// What only a swarm has, with the kind as docker calls it.
    Swarm {
        kind: &'static str,
        name: String,
    },
    /// A container; its volumes stay.
    Container {
        target: Target,
        grace: Duration,
    },
    /// Every rule of ours in the kernel's tables.
    Rules,
    Network(String),
    /// A reference of an image: with the last one the engine removes the image.
    Reference(String),
    /// A unit of systemd.
    Disable(String),
    File(PathBuf),
    /// The state of a name, with its log, but for the folder `kept`.
    State {
        folder: PathBuf,
        kept: Option<PathBuf>,
    },
}

impl Removal {
    /// It knows what is left of anything else.
    pub(super) const fn is_state(&self) -> bool {
        matches!(self, Self::State { .. } | Self::File(_))
    }

    /// Does it; what a person should know of it. Nothing to do where it is gone.
    pub(super) async fn perform(&self, context: &Context, engine: &Engine) -> Result<Vec<String>, Failure> {
        match self {
            Self::Swarm { kind, name } => {
                let removed = Api::of(engine).remove(&format!("/{kind}s/{name}")).await;
                removed.map_err(|error| error.failure(&format!("remove {kind} {name}")))?;
            }
            Self::Container { target, grace } => {
                engine.stop(target, *grace).await?;
                engine.remove_with(target, false).await?;
            }
            Self::Rules => ports::remove_rules(engine, &context.settings.state_dir).await?,
            Self::Network(name) => engine.remove_network(name).await?,
            Self::Reference(reference) => {
                let is_gone = engine.untag(reference).await?;
                return Ok((!is_gone)
                    .then(|| format!("{reference} stays: a container is made of it"))
                    .into_iter()
                    .collect());
            }
            Self::Disable(unit) => units::disable(unit, &context.credentials().path).await?,
            Self::File(path) => gone(path, fs::remove_file(path))?,
            Self::State { folder, kept } => remove_state(folder, kept.as_deref())?,
        }
        Ok(Vec::new())
    }
}

fn gone(path: &Path, removed: std::io::Result<()>) -> Result<(), Failure> {
    match removed {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(unwritable(path, &error)),
        _ => Ok(()),
    }
}

/// The lock goes last, so that a run that is cut off finds the name again.
fn remove_state(folder: &Path, kept: Option<&Path>) -> Result<(), Failure> {
    let lock = folder.join("lock");
    let entries = fs::read_dir(folder).map_err(|error| unwritable(folder, &error))?.flatten();
    let paths = entries.map(|entry| (entry.path(), entry.file_type().is_ok_and(|kind| kind.is_dir())));
    for (path, is_folder) in paths.filter(|(path, _)| Some(path.as_path()) != kept && *path != lock) {
        gone(&path, if is_folder { fs::remove_dir_all(&path) } else { fs::remove_file(&path) })?;
    }
    gone(&lock, fs::remove_file(&lock))?;
    if kept.is_none() {
        gone(folder, fs::remove_dir(folder))?;
    }
    Ok(())
}

impl fmt::Display for Removal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Swarm { kind, name } => write!(f, "docker {kind} rm {name}"),
            Self::Container { target, grace } => {
                write!(f, "docker stop --time {0} {target}; docker rm {target}", grace.as_secs())
            }
            Self::Rules => f.write_str("remove the rules of switched ports from the kernel's tables"),
            Self::Network(name) => write!(f, "docker network rm {name}"),
            Self::Reference(reference) => write!(f, "docker rmi {reference}"),
            Self::Disable(unit) => write!(f, "systemctl disable --now {unit}"),
            Self::File(path) => write!(f, "rm {}", path.display()),
            Self::State { folder, kept: None } => write!(f, "rm -r {}: releases, history, log", folder.display()),
            Self::State { folder, kept: Some(kept) } => {
                write!(f, "rm -r {}/*, but {}: releases, history, log", folder.display(), kept.display())
            }
        }
    }
}
