//! Secrets and configs that are made from files of the bundle.

use serde_json::Value;

use crate::config::swarm::{FileKind, FileSource, MountedFile};
use crate::modes::operation::Operation;
use crate::modes::swarm::operation::{ServiceRequest, SwarmOperation};
use crate::modes::swarm::plan::{Planner, service_spec};
use crate::values::types::ContentDigest;

impl Planner<'_> {
    pub(crate) fn make_files(&mut self) {
        for file in &self.swarm.files {
            let (Some(digest), name) = (self.content(file), self.file_name(file)) else { continue };
            let (kind, owner) = (file.kind, self.name());
            let step = match &file.source {
                FileSource::Existing(_) => continue,
                FileSource::File { path, .. } => {
                    SwarmOperation::File { kind, name: name.clone(), path: path.clone(), digest, owner }
                }
                FileSource::Variable { name: variable, .. } => {
                    SwarmOperation::Secret { name: name.clone(), variable: variable.clone(), owner }
                }
                FileSource::Fetched { source, .. } => {
                    SwarmOperation::Secret { name: name.clone(), variable: source.to_string(), owner }
                }
            };
            let is_planned = self.plan.actions.iter().any(|action| action.operation == Operation::Swarm(step.clone()));
            if !is_planned && !self.seen.files.contains(&(kind, name)) {
                self.push(step);
            }
        }
    }

    pub(crate) fn file_name(&self, file: &MountedFile) -> String {
        let digest = self.content(file);
        service_spec::file_name(file, digest.as_ref().map(|digest| digest.short()))
    }

    /// The digest of what one is made from, where that is there.
    fn content(&self, file: &MountedFile) -> Option<ContentDigest> {
        match &file.source {
            FileSource::Existing(_) => None,
            FileSource::File { path, .. } => self.seen.contents.get(path).cloned(),
            FileSource::Fetched { source, .. } => self.seen.fetched.get(source).cloned(),
            FileSource::Variable { value, .. } => Some(ContentDigest::of(value.as_ref()?.reveal().as_bytes())),
        }
    }

    /// Secrets and configs that were made for this name and that neither this spec nor the one before needs.
    pub(crate) fn remove_files(&mut self, request: &ServiceRequest) {
        let needed = |spec: &Value, kind: FileKind, name: &str| {
            let (list, key) = match kind {
                FileKind::Secret => ("Secrets", "SecretName"),
                FileKind::Config => ("Configs", "ConfigName"),
            };
            let files = spec["TaskTemplate"]["ContainerSpec"][list].as_array();
            files.is_some_and(|files| files.iter().any(|file| file[key] == *name))
        };
        let live = self.seen.service.as_ref().map(|service| service.spec.reveal());
        for (kind, name) in &self.seen.made {
            if !needed(&request.spec, *kind, name) && !live.is_some_and(|live| needed(live, *kind, name)) {
                let forget = SwarmOperation::RemoveFile { kind: *kind, name: name.clone() };
                self.plan.attempt(forget);
            }
        }
    }
}
