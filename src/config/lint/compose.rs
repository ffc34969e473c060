//! Compose files of the bundle, as they stand: what they include or extend is not looked at.

use std::collections::BTreeSet;
use std::path::Path;

use crate::config::Deployment;
use crate::config::Mode;
use crate::config::appspec::AppSpecText;
use crate::config::compose::Compose;
use crate::config::field::Field;
use crate::config::lint::service::Service;
use crate::config::problem::Problems;
use crate::config::rules::{MOVING_TAG, allow};
use crate::config::validate::whole;
use crate::config::yaml::Node;
use crate::inputs;
use crate::values::reference::ImageReference;

/// The most that is read of a Compose file, in bytes.
const MOST: u64 = 1024 * 1024;

/// Each file of a project with what is said of it; none of another mode. A file that cannot be read is Compose's to refuse.
pub(crate) fn files(deployment: &Deployment) -> Vec<(AppSpecText, Problems)> {
    let Mode::Compose(compose) = &deployment.mode else { return Vec::new() };
    let read = texts(compose, &deployment.bundle_root);
    let all: Vec<(AppSpecText, Problems)> = read.into_iter().map(|file| (file, Problems::new())).collect();
    let nodes: Vec<Option<Node>> = all.iter().map(|(file, _)| Node::parse(&file.text).ok()).collect();
    let roots = all.iter().zip(&nodes).filter_map(|((_, problems), node)| Some(whole(node.as_ref()?, problems)));
    let roots: Vec<Field<'_>> = roots.collect();
    let ends = ending(&roots);
    for (name, service) in services(&roots) {
        service.each();
        moving_tag(&name, &service, compose);
        if !ends.contains(&name) {
            if service.all("deploy").iter().all(|deploy| deploy.get("restart_policy").is_none()) {
                service.restart();
            }
            service.log();
        }
    }
    drop(roots);
    for (file, problems) in &all {
        allow::check(&file.text, problems);
        allow::apply(&file.text, problems);
    }
    all
}

/// Whether a service has a health check, or may have one that cannot be seen.
pub(super) fn has_health_check(compose: &Compose, bundle: &Path) -> bool {
    let files = texts(compose, bundle);
    let problems = Problems::new();
    let nodes: Vec<Node> = files.iter().filter_map(|file| Node::parse(&file.text).ok()).collect();
    let roots: Vec<Field<'_>> = nodes.iter().map(|node| whole(node, &problems)).collect();
    let is_open = nodes.len() < files.len() || roots.iter().any(|root| root.get("include").is_some());
    is_open || services(&roots).iter().any(|(_, service)| service.has_health_check() || service.is_partial())
}

fn texts(compose: &Compose, bundle: &Path) -> Vec<AppSpecText> {
    let read = compose.files.iter().filter_map(|file| {
        let path = compose.directory.join(file);
        let text = String::from_utf8(inputs::read(&path, Some(bundle), MOST).ok()?).ok()?;
        Some(AppSpecText { path, text, had_mark: false })
    });
    read.collect()
}

/// Every service by its name, with its parts in the files' order.
fn services<'a>(roots: &[Field<'a>]) -> Vec<(String, Service<'a>)> {
    let mut all: Vec<(String, Service<'a>)> = Vec::new();
    for services in roots.iter().filter_map(|root| root.get("services")) {
        for (key, value) in services.node.as_mapping().unwrap_or_default() {
            let name = key.as_text().unwrap_or_default();
            let part = services.inner(value, name);
            match all.iter_mut().find(|(known, _)| known == name) {
                Some((_, service)) => service.parts.push(part),
                None => all.push((name.to_owned(), Service { key: services.inner(key, name), parts: vec![part] })),
            }
        }
    }
    all.retain(|(name, _)| name != "<<" && !name.starts_with("x-"));
    all
}

/// Services that end by themselves: another one waits for that.
fn ending(roots: &[Field<'_>]) -> BTreeSet<String> {
    let mut ending = BTreeSet::new();
    for (_, service) in services(roots) {
        for depends in service.all("depends_on").into_iter().filter(|depends| depends.node.as_mapping().is_some()) {
            let waited = depends.entries(|name, field| {
                (field.text_of("condition") == Some("service_completed_successfully")).then(|| name.to_owned())
            });
            ending.extend(waited);
        }
    }
    ending
}

/// The image of the last file that names one, where neither the section nor a build says another.
fn moving_tag(name: &str, service: &Service<'_>, compose: &Compose) {
    let images = service.all("image");
    let Some(field) = images.last().filter(|_| service.all("build").is_empty()) else { return };
    let text = field.node.as_text().unwrap_or_default();
    let reference = text.parse::<ImageReference>().ok();
    if let Some(reference) = reference.filter(|found| found.is_floating() && !compose.images.contains_key(name)) {
        field.warning(
            MOVING_TAG,
            format!("`{reference}` means another image every other day"),
            "name a version: the digest of today's is what runs until the next deployment",
        );
    }
}
