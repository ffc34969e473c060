//! A Compose project: as its files say, and as the engine has it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bollard::models::{ContainerSummary, ContainerSummaryStateEnum};

use crate::config::compose::Compose;
use crate::config::pending::Pending;
use crate::config::{ArchiveLocation, ImageSource};
use crate::engine::{label, name_of};
use crate::error::{Failure, Kind, ObserveFailure};
use crate::modes::compose::config::{Resolved, Service};
use crate::modes::compose::containers::of_project;
use crate::modes::compose::fetched::{Before, Fetched, check_profiles, stand_ins};
use crate::modes::compose::files::{as_it_stands, stand_in, text};
use crate::modes::compose::listing::{Listing, list, summary};
use crate::modes::compose::project::{ComposeFacts, ProjectContainer, SNAPSHOTS, Tool};
use crate::modes::compose::tool::{Processes, cannot_run, reason, warnings};
use crate::modes::compose::unsaved::UnsavedContainer;
use crate::modes::compose::variables::words;
use crate::modes::facts::Facts;
use crate::modes::mounts;
use crate::modes::observe::Observer;
use crate::ports::taken;
use crate::values::known::Known;
use crate::values::labels::{LABEL_NAME, LABEL_SPEC};
use crate::values::types::EnvVar;

/// How long `config` may take.
const CONFIG_LIMIT: Duration = Duration::from_secs(60);

/// What Compose and the bundle say, before the engine is asked.
pub(crate) struct Read {
    tool: Tool,
    excluded: Vec<PathBuf>,
    listing: Listing,
    variables: Vec<EnvVar>,
    config: String,
    /// What Compose warned of.
    warnings: Vec<String>,
    /// Of values that could not be fetched.
    failures: Vec<ObserveFailure>,
    /// Why Compose could not be asked: then the files were read as they stand.
    unasked: Option<ObserveFailure>,
}

/// What is made of it.
struct Found {
    tool: Tool,
    observed: ComposeFacts,
    services: Vec<Service>,
    /// Why the host's policy refuses the project.
    refused: Option<Failure>,
}

impl Observer<'_> {
    pub(crate) async fn compose(
        &self,
        compose: &Compose,
        read: Option<Result<Read, Failure>>,
        all: &[ContainerSummary],
        facts: &mut Facts,
    ) {
        let Some(read) = read else { return };
        let unasked = read.as_ref().ok().and_then(|read| read.unasked.clone());
        let is_asked = unasked.is_none();
        if let Some(failure) = unasked {
            facts.failures.insert(0, failure);
        }
        facts.warnings.extend(read.iter().flat_map(|read| read.warnings.clone()));
        facts.failures.extend(read.iter().flat_map(|read| read.failures.clone()));
        match read.and_then(|read| self.project(compose, read, all)) {
            Ok(Found { tool, mut observed, services, refused }) => {
                let refused = refused.map(|failure| ObserveFailure { failure, definite: true });
                refused.into_iter().for_each(|refused| facts.failures.insert(0, refused));
                for service in &services {
                    self.image(&service.facts.need, facts).await;
                }
                self.project_ports(&services, all, facts);
                self.project_files(&services, &mut observed, facts);
                facts.compose_tool = Known::Yes(tool);
                let unsaved = self.unsaved(all, facts).await;
                facts.compose = Some(ComposeFacts { unsaved, ..observed });
            }
            Err(failure) if let Some(who) = refused_for_now(&failure, &facts.pending) => {
                facts.not_yet.push(format!("{}: {who}, and ApplicationStart needs it", failure.message));
            }
            Err(failure) if is_asked => {
                let failure = self.deployment.placed(&["compose"], |_| true, failure);
                facts.failures.insert(0, ObserveFailure { failure, definite: true });
            }
            Err(_) => {}
        }
    }

    /// What serves without a saved release. What an interrupted event left is none: its journal says what to do.
    async fn unsaved(&self, all: &[ContainerSummary], facts: &Facts) -> Vec<UnsavedContainer> {
        let mut unsaved = Vec::new();
        let (Ok(engine), None, None) = (&self.engine, facts.saved_project(), &facts.left) else { return unsaved };
        for (container, service) in of_project(all, self.deployment.name.as_str()) {
            if let (Some(id), true) = (&container.id, container.state != Some(ContainerSummaryStateEnum::CREATED)) {
                unsaved.extend(UnsavedContainer::observe(engine, id, service).await);
            }
        }
        unsaved
    }

    /// Asks Compose, while others ask the engine.
    pub(crate) async fn read_project(&self, compose: &Compose, before: Before) -> Result<Read, Failure> {
        let processes = self.processes();
        let (tool, mut unasked) = match processes.find().await {
            Ok(tool) => (tool, None),
            Err(failure) => (Tool::assumed(), Some(ObserveFailure { failure, definite: true })),
        };
        let excluded = self.excluded(compose);
        let unreadable = |error: std::io::Error| {
            Failure::new(Kind::Appspec, format!("cannot read {}: {error}", compose.directory.display()))
        };
        let listing = list(&compose.directory, &excluded).map_err(unreadable)?;
        let Fetched { variables: mut given, mut failures, unread, warnings: mut said } =
            Box::pin(self.given(compose, &before)).await;
        match unasked {
            None => unasked = unread,
            Some(_) => failures.extend(unread),
        }
        let mut variables = self.variables(compose, &listing);
        variables.retain(|var| !given.iter().any(|known| known.name == var.name));
        variables.append(&mut given);
        check_profiles(compose, &self.deployment.bundle_root, &variables)?;
        let shown = stand_ins(&variables);
        let (config, warnings) = match unasked {
            None => self.config(&processes, &tool, compose, &shown).await?,
            Some(_) => {
                let given = |name: &str| shown.iter().find(|var| var.name == name)?.value.as_ref();
                let lookup = |name: &str| given(name).map(|value| value.reveal().to_owned()).or(self.variable(name));
                let config = as_it_stands(compose, &self.deployment.bundle_root, &lookup);
                (config, vec!["Compose was not asked: the services are taken as the files stand".to_owned()])
            }
        };
        said.extend(warnings);
        Ok(Read { tool, excluded, listing, variables, config, warnings: said, failures, unasked })
    }

    /// Which Compose this host has, where containers are to be stopped with it.
    pub(crate) async fn compose_tool(&self, facts: &mut Facts) {
        if !facts.containers.is_empty() {
            facts.compose_tool = self.processes().known().await;
        }
    }

    fn processes(&self) -> Processes<'_> {
        let engine = self.engine.as_ref().map_or(&[][..], |engine| engine.endpoint.variables.as_slice());
        Processes { settings: &self.credentials, engine }
    }

    fn project(&self, compose: &Compose, read: Read, all: &[ContainerSummary]) -> Result<Found, Failure> {
        let Read { tool, excluded, listing, variables, config, .. } = read;
        let state = std::path::absolute(self.store.folder()).unwrap_or_else(|_| self.store.folder().to_owned());
        let environment = self.project_environment(compose, &stand_ins(&variables));
        let root = &self.deployment.bundle_root;
        let resolved = Resolved::read(&config, compose, root, &state, &listing, &environment)?;
        let services = resolved.services()?;
        resolved.answers(&self.deployment.health.probe)?;
        let refused = self.policy.as_ref().and_then(|policy| resolved.refusal(policy));
        let observed = ComposeFacts {
            folder: summary(&compose.directory, excluded, &listing),
            services: services.iter().map(|service| service.facts.clone()).collect(),
            left_out: resolved.left_out(),
            containers: self.project_containers(all),
            snapshots: snapshots(&state),
            unsaved: Vec::new(),
            state,
            variables,
        };
        Ok(Found { tool, observed, services, refused })
    }

    async fn config(
        &self,
        processes: &Processes<'_>,
        tool: &Tool,
        compose: &Compose,
        variables: &[EnvVar],
    ) -> Result<(String, Vec<String>), Failure> {
        let text = |path: &Path| path.display().to_string();
        let mut argv = tool.argv.clone();
        let mut option = |name: &str, value: String| argv.extend([name.to_owned(), value]);
        option("--project-name", self.deployment.name.to_string());
        option("--project-directory", text(&compose.directory));
        compose.files.iter().for_each(|file| option("--file", text(&compose.directory.join(file))));
        let stand_in = stand_in(compose, &self.deployment.bundle_root)
            .map_err(|error| Failure::new(Kind::Unexpected, format!("cannot write a temporary file: {error}")))?;
        if let Some(file) = &stand_in {
            option("--file", text(file.path()));
        }
        compose.env_file.iter().for_each(|file| option("--env-file", text(&compose.directory.join(file))));
        compose.profiles.iter().for_each(|profile| option("--profile", profile.clone()));
        let ended = processes.run("config", &argv, &["config"], variables, CONFIG_LIMIT).await?;
        match ended.status.success() {
            true => {
                let printed = ended.stdout().map_err(|error| cannot_run(&error))?;
                let warnings = warnings(ended.stderr()).into_iter().map(|said| self.shown(compose, &said));
                Ok((String::from_utf8_lossy(printed).into_owned(), warnings.collect()))
            }
            false => Err(Failure::new(Kind::Appspec, format!("the Compose file is refused: {}", reason(&ended)))
                .next("`docker compose config` in that folder says the same")),
        }
    }

    /// A warning as it may be printed: the name behind a `$` that stands in no Compose file may be a part of a secret.
    fn shown(&self, compose: &Compose, warning: &str) -> String {
        let unset = warning.strip_prefix("The \"").and_then(|rest| rest.split_once("\" variable is not set"));
        let texts =
            || compose.files.iter().map(|file| text(&compose.directory.join(file), &self.deployment.bundle_root));
        match unset {
            Some((name, _)) if !texts().any(|text| words(&text).any(|word| word == name)) => {
                "Compose: in a file with variables a `$` begins a variable that is not set: write `$$` for a dollar sign".into()
            }
            _ => format!("Compose: {warning}"),
        }
    }

    /// What is not part of the project: images, the hooks and the program, where the whole bundle is its folder.
    fn excluded(&self, compose: &Compose) -> Vec<PathBuf> {
        let root = &self.deployment.bundle_root;
        let archives = compose.images.values().filter_map(|source| match source {
            ImageSource::Archive { location: ArchiveLocation::File(path), .. } => Some(path.clone()),
            ImageSource::Archive { location: ArchiveLocation::S3(_), .. } | ImageSource::Registry(..) => None,
        });
        let ours = ["appspec.yml", "appspec.yaml", "hooks", "bin/balehook"].map(|name| root.join(name));
        let git = compose.directory.join(".git");
        let all = archives.chain(ours).chain([git]);
        let inside = all.filter_map(|path| path.strip_prefix(&compose.directory).ok().map(Path::to_owned));
        let distinct: BTreeSet<PathBuf> = inside.filter(|path| path.as_os_str() != "").collect();
        distinct.into_iter().collect()
    }

    fn project_containers(&self, all: &[ContainerSummary]) -> Vec<ProjectContainer> {
        let name = self.deployment.name.as_str();
        let each = of_project(all, name).into_iter().map(|(container, service)| {
            let label = |key: &str| label(container, key);
            let is_running = container.state == Some(ContainerSummaryStateEnum::RUNNING);
            let is_done = container.status.as_deref().is_some_and(|status| status.starts_with("Exited (0)"));
            ProjectContainer {
                name: name_of(container),
                service,
                ours: label(LABEL_NAME).as_deref() == Some(name),
                good: is_running || is_done,
                spec: label(LABEL_SPEC),
                image: container.image.clone().unwrap_or_default(),
            }
        });
        let mut containers: Vec<_> = each.collect();
        containers.sort_by(|a, b| a.name.cmp(&b.name));
        containers
    }

    fn project_files(&self, services: &[Service], observed: &mut ComposeFacts, facts: &mut Facts) {
        if !self.is_local() {
            return;
        }
        for (service, wanted) in services.iter().zip(&mut observed.services) {
            wanted.files = mounts::files(&service.mounts);
            let its = facts.containers.iter_mut().filter(|found| found.service.as_ref() == Some(&wanted.name));
            mounts::look_inside(&self.proc, &service.mounts, its);
        }
    }

    fn project_ports(&self, services: &[Service], all: &[ContainerSummary], facts: &mut Facts) {
        if facts.engine.yes().is_none() {
            return;
        }
        let local = self.is_local().then_some(self.proc.as_path());
        let replaced = of_project(all, self.deployment.name.as_str());
        let ours: Vec<&str> = replaced.iter().filter_map(|(container, _)| container.id.as_deref()).collect();
        for service in services {
            facts.ports_taken.extend(taken::taken(&service.ports, all, &ours, local));
        }
    }
}

/// Who may still put the file there that Compose misses.
fn refused_for_now(failure: &Failure, pending: &Pending) -> Option<&'static str> {
    pending.brings_what(&failure.message).filter(|_| failure.kind == Kind::Appspec)
}

fn snapshots(state: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(state.join(SNAPSHOTS)).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort_unstable();
    names
}
