//! A container as the engine describes it: the options that a person chose, without those of its image.

mod keys;
mod taking;
mod values;

use bollard::models::{ContainerInspectResponse, ImageInspect};
use serde_yaml::Value;

use crate::engine::request::ContainerSpec;
use crate::import::accept;
use crate::import::container::taking::Taking;
use crate::import::values::mapping;
use crate::import::{Imported, NotCarried};
use crate::modes::as_it_is::AsItIs;
use crate::modes::create::container_options;
use crate::values::options::ChangeKind;
use crate::values::pin::ImagePin;

/// Reads a container. `None` where the engine's answer lacks what every container has.
pub fn of_container(inspected: ContainerInspectResponse, image: ImageInspect) -> Option<Imported> {
    let origin = Origin::of(&image);
    let reference = inspected.config.as_ref()?.image.clone()?;
    let as_it_is = AsItIs::of(inspected, image)?;
    let spec = &as_it_is.spec;
    let mut imported = Taking::of(spec, &as_it_is.of_image)?.finish();
    name_image(&mut imported, &reference, &origin);
    name_the_rest(&mut imported, &as_it_is);
    Some(imported)
}

/// Where an image came from, as far as the engine tells.
enum Origin {
    Registry,
    Host,
    /// The containerd store gives every image its own digest as that of a registry.
    Unknown,
}

impl Origin {
    fn of(image: &ImageInspect) -> Self {
        let digests = image.repo_digests.as_deref().unwrap_or_default();
        let id = image.id.as_deref().unwrap_or_default();
        let is_own = |digest: &String| digest.rsplit_once('@').is_none_or(|(_, digest)| digest == id);
        match digests {
            [] => Self::Host,
            all if all.iter().all(is_own) => Self::Unknown,
            _ => Self::Registry,
        }
    }
}

/// An image that may be of no registry is used as the engine has it.
fn name_image(imported: &mut Imported, reference: &str, origin: &Origin) {
    imported.image = Some(reference.to_owned());
    let remark = match origin {
        Origin::Registry => return,
        Origin::Host => format!(
            "the engine knows no registry of {reference}: it is used as this host has it; other hosts need `image: {{archive: …}}`"
        ),
        Origin::Unknown => format!(
            "the engine does not tell whether {reference} is of a registry: it is used as this host has it; where it is, write `image: {reference}`"
        ),
    };
    let image = mapping([("reference", reference.into()), ("pull", "missing".into())]);
    imported.options.insert(0, ("image".into(), image));
    imported.remarks.push(remark);
}

/// Whatever the written file would change, and is not named yet.
fn name_the_rest(imported: &mut Imported, as_it_is: &AsItIs) {
    let Some(wanted) = wanted(imported, &as_it_is.spec.name) else { return };
    for change in as_it_is.changes(&wanted).into_iter().filter(|change| change.name != "image") {
        let is_named =
            imported.not_carried.iter().any(|item| item.option.contains(change.name.trim_start_matches("labels.")));
        let hidden = if change.is_sensitive { "***" } else { "" };
        let (was, becomes) = (change.was.as_deref().unwrap_or(hidden), change.becomes.as_deref().unwrap_or(hidden));
        let said = match change.kind {
            ChangeKind::Remove => format!("{} {was}", change.name),
            ChangeKind::Change => format!("{} {was} → {becomes}", change.name),
            ChangeKind::Add => continue,
        };
        if !is_named {
            let reason = "x-balehook has no key for it".to_owned();
            imported.not_carried.push(NotCarried { option: said, reason, instead: String::new() });
        }
    }
}

/// What a deployment of the file would create.
fn wanted(imported: &Imported, name: &str) -> Option<ContainerSpec> {
    let keys = imported.options.iter().filter(|(key, _)| key != "image");
    let keys = keys.map(|(key, value)| (Value::from(key.as_str()), value.clone()));
    let service = accept::service(&Value::Mapping(keys.collect())).ok()?;
    Some(ContainerSpec {
        name: name.to_owned(),
        image: ImagePin::Unknown { wanted: String::new() },
        options: container_options(&service, None),
        environment: service.environment,
        if_declared: Vec::new(),
        secrets: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_is_of_a_registry_only_where_the_engine_can_tell() {
        let origin = |id: &str, digests: &[&str]| {
            let digests = digests.iter().map(|digest| (*digest).to_owned()).collect();
            let image = ImageInspect { id: Some(id.into()), repo_digests: Some(digests), ..ImageInspect::default() };
            let mut imported = Imported::default();
            name_image(&mut imported, "web:1", &Origin::of(&image));
            (imported.options.len(), imported.remarks)
        };
        assert_eq!(origin("sha256:aa", &["host/web@sha256:bb"]), (0, Vec::new()));
        let (written, remarks) = origin("sha256:aa", &[]);
        assert!(written == 1 && remarks[0].starts_with("the engine knows no registry of web:1"), "{remarks:?}");
        let (written, remarks) = origin("sha256:aa", &["web@sha256:aa"]);
        assert!(written == 1 && remarks[0].starts_with("the engine does not tell whether web:1"), "{remarks:?}");
    }
}
