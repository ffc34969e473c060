//! What the engine is given for a container, and the release that is saved of it.

use crate::config::Container;
use crate::engine::facts::{ContainerFacts, short_id};
use crate::engine::request::ContainerSpec;
use crate::error::{Failure, Kind};
use crate::images::facts::ImageFacts;
use crate::modes::container::plan::Planner;
use crate::modes::container::replace::Replacing;
use crate::modes::container::start_first;
use crate::modes::create;
use crate::modes::options::of_container;
use crate::values::labels::{LABEL_DEPLOYMENT, LABEL_DIGEST, LABEL_FILES, LABEL_NAME, LABEL_REVISION, LABEL_SPEC};
use crate::values::mounted::to_label;
use crate::values::names::new_name;
use crate::values::options::{OptionChange, changes};
use crate::values::pin::ImagePin;
use crate::values::types::{ContentDigest, EnvVar};
use crate::values::volume::AnonymousVolume;

impl Planner<'_> {
    /// What is known to fail is refused before anything is touched.
    pub(super) fn check(&mut self, image: &ImageFacts) {
        let (service, facts) = (&self.container.service, self.facts);
        let refused = [
            create::check(service, facts, image).err(),
            facts.container.networks_missing.first().map(|network| {
                let failure = Failure::new(Kind::Container, format!("network {network} does not exist"))
                    .next(format!("create it once on the host: docker network create {network}"));
                self.deployment.placed(&["networks"], |text| text == network, failure)
            }),
            start_first::check(service, facts).err(),
            self.auto_removed(),
            facts.ports_taken.first().map(|taken| {
                let failure =
                    Failure::new(Kind::Container, format!("host port {} is taken by {}", taken.port, taken.owner))
                        .next("stop that, or publish another host port under x-balehook.container.ports");
                self.deployment.placed(&["ports"], |text| taken.is_of(text), failure)
            }),
        ];
        self.plan.would_fail.extend(refused.into_iter().flatten());
    }

    fn auto_removed(&self) -> Option<Failure> {
        let mut lost = self.facts.containers.iter().filter(|found| found.auto_remove && found.is_running());
        let found = lost.next().filter(|_| self.container.service.start_first.is_none())?;
        let (name, id) = (&found.name, short_id(&found.id));
        let why = "was started with `--rm`: `docker stop` deletes it, so that it could not come back";
        Some(Failure::new(Kind::Container, format!("container {name} ({id}) {why}")).next(format!(
            "run it without `--rm`, use `order: start-first`, or remove it first: docker stop {name} (its anonymous volumes go too)"
        )))
    }

    pub(super) fn container_spec(&self, image: &ImageFacts) -> ContainerSpec {
        ContainerSpec {
            name: new_name(&self.deployment.name),
            image: image.pin.clone(),
            options: create::options(&self.container.service, self.facts),
            environment: self.facts.environment.yes().cloned().unwrap_or_default(),
            if_declared: Vec::new(),
        }
    }

    pub(super) fn labelled(
        &self,
        mut spec: ContainerSpec,
        image: &ImageFacts,
        digest: &ContentDigest,
    ) -> ContainerSpec {
        let labels = spec.options.body.labels.get_or_insert_default();
        labels.insert(LABEL_NAME.into(), self.deployment.name.to_string());
        labels.insert(LABEL_DEPLOYMENT.into(), self.origin.deployment.clone());
        labels.insert(LABEL_REVISION.into(), self.origin.revision.clone());
        labels.insert(LABEL_DIGEST.into(), image.pin.label(&image.pin.identity()));
        labels.insert(LABEL_SPEC.into(), image.pin.label(digest));
        labels.extend(to_label(&self.facts.container.files).map(|files| (LABEL_FILES.into(), files)));
        spec
    }

    /// Whether a file that the container has mounted is another one now; then that is said.
    pub(super) fn has_changed_files(&mut self, old: &ContainerFacts) -> bool {
        let changed = old.changed_files(&self.facts.container.files);
        self.plan.notes.extend(changed.iter().map(|path| format!("{path} is another file than {} has", old.name)));
        !changed.is_empty()
    }
}

impl Replacing<'_> {
    /// What changes: since the last release (one of format 1 did not keep the request), or where none is saved of the
    /// container that serves.
    pub(super) fn compare(&mut self, old: Option<&ContainerFacts>, spec: &ContainerSpec) {
        let unsaved = self.facts.container.unsaved.as_ref();
        let saved = self.facts.releases.first().filter(|_| old.is_none_or(|old| old.ours));
        match (saved.map(|last| (last, &last.part.container)), unsaved) {
            (Some((last, Some(part))), _) => {
                let changed = changes(&of_container(&part.request), &of_container(spec));
                self.compared(changed, &part.request.image, spec);
                self.plan.compared_with = Some(format!("release {}", last.deployment));
            }
            (Some((_, None)), _) => {
                let note = "an older balehook saved the last release: which options change is not known";
                self.plan.notes.push(note.into());
            }
            (None, Some(it)) => {
                self.compared(it.changes(spec), &it.spec.image, spec);
                let of_whom = if old.is_some_and(|old| old.ours) { "" } else { ", which is not managed by balehook" };
                let (name, id) = (&it.spec.name, short_id(&it.id));
                self.plan.compared_with = Some(format!("container {name} ({id}){of_whom}"));
            }
            (None, None) => {}
        }
    }

    /// The images by their names; volumes that the new container takes over are no change.
    fn compared(&mut self, mut changed: Vec<OptionChange>, was: &ImagePin, spec: &ContainerSpec) {
        let carried: Vec<String> = spec.if_declared.iter().map(AnonymousVolume::bind).collect();
        let is_carried = |value: &String| carried.iter().any(|bind| value.starts_with(bind));
        changed.retain(|change| !(change.name == "volumes" && change.becomes.as_ref().is_some_and(is_carried)));
        if let Some(image) = changed.iter_mut().find(|change| change.name == "image") {
            (image.was, image.becomes) = (Some(was.describe()), Some(spec.image.describe()));
        }
        self.plan.changed_options = changed;
    }
}

/// Everything that makes one container different from another: not the labels that name the deployment.
pub(super) fn spec_digest(spec: &ContainerSpec, container: &Container) -> Result<ContentDigest, Failure> {
    let value = |var: &EnvVar| var.value.as_ref().map(|value| value.compared().to_owned());
    let environment: Vec<_> = spec.environment.iter().map(|var| (var.name.as_str(), value(var))).collect();
    let options = serde_json::to_value(&spec.options)
        .map_err(|error| Failure::new(Kind::Unexpected, format!("the options cannot be written down: {error}")))?;
    let order = if container.service.start_first.is_some() { "\nstart-first" } else { "" };
    let text = format!("{}\n{options}\n{environment:?}{order}", spec.image.identity());
    Ok(ContentDigest::of(text.as_bytes()))
}
