//! Files of the bundle that our own section names: archives, env files, files of secrets and configs.

use std::path::Path;

use crate::config::ArchiveLocation;
use crate::config::appspec::AppSpecText;
use crate::config::field::Field;
use crate::config::rules::NOT_IN_BUNDLE;
use crate::config::service::location;
use crate::config::validate::agent::writers;
use crate::config::validate::{SECTION, whole};
use crate::config::yaml::{Node, Value};

/// A path as the file has it, before variables are filled in: on another machine they have other values.
type Named<'a> = (Field<'a>, &'static str);

const ARCHIVE: &str = "make it with `docker save --output …` before the bundle is made";
const ENV_FILE: &str = "put it into the bundle, or mark it `required: false`";
const FILE: &str = "put it into the bundle";
/// `compose:` has looked for its own files itself, but for those that a script may write.
const OF_COMPOSE: &str = "";

/// Looks for each in the bundle. Paths of the host are the host's business: `check` runs elsewhere.
pub(crate) fn check(file: &AppSpecText, root: &Field<'_>) {
    let Ok(written) = Node::parse(&file.text) else { return };
    let Some(section) = whole(&written, root.problems).get(SECTION) else { return };
    let is_written = writers(root, &["BeforeInstall", "AfterInstall", "ApplicationStart"]);
    let mut all = Vec::new();
    named(&section, &mut all);
    for (field, help) in all {
        let text = field.node.as_text().filter(|text| !text.contains('$') && !text.starts_with('/'));
        let Some(text) = text else { continue };
        let bundle = file.bundle_root();
        if text.contains("://") {
            continue;
        }
        let Ok(ArchiveLocation::File(found)) = location(text, bundle) else { continue };
        if found.exists() || (help == OF_COMPOSE && !is_written) {
            continue;
        }
        match is_written {
            true => {
                let help = "one of the scripts in `hooks` must write it before balehook needs it";
                field.warning(NOT_IN_BUNDLE, missing(text, bundle), help);
            }
            false => field.broken(NOT_IN_BUNDLE, missing(text, bundle), help),
        }
    }
}

fn missing(text: &str, bundle: &Path) -> String {
    let near = bundle.join(text).parent().is_some_and(Path::is_dir);
    let folder = Path::new(text).parent().filter(|_| !near).map(|folder| folder.display().to_string());
    match folder {
        Some(folder) => format!("`{text}` is not in the bundle, which has no folder `{folder}`"),
        None => format!("`{text}` is not in the bundle"),
    }
}

/// Every path that the modes and the tasks name.
fn named<'a>(section: &Field<'a>, all: &mut Vec<Named<'a>>) {
    for mode in ["container", "swarm"].into_iter().filter_map(|key| section.get(key)) {
        service(&mode, all);
    }
    if let Some(compose) = section.get("compose") {
        for field in ["files", "env_file"].into_iter().filter_map(|key| compose.get(key)) {
            paths(field, OF_COMPOSE, all);
        }
        let images = compose.get("images").filter(|images| images.node.as_mapping().is_some());
        let archives = images.map(|images| images.entries(|_, image| archive(image)));
        all.extend(archives.into_iter().flatten());
    }
    for tasks in ["before", "after"].into_iter().filter_map(|key| section.get(key)) {
        tasks.each().for_each(|task| service(&task, all));
    }
}

fn service<'a>(service: &Field<'a>, all: &mut Vec<Named<'a>>) {
    all.extend(service.get("image").and_then(|image| archive(&image)));
    if let Some(field) = service.get("env_file") {
        paths(field, ENV_FILE, all);
    }
    for list in ["secrets", "configs"].into_iter().filter_map(|key| service.get(key)) {
        all.extend(list.each().filter_map(|item| Some((item.get("file")?, FILE))));
    }
}

fn archive<'a>(image: &Field<'a>) -> Option<Named<'a>> {
    Some((image.get("archive")?, ARCHIVE))
}

/// A path, a list of them, or mappings with a `path`.
fn paths<'a>(field: Field<'a>, help: &'static str, all: &mut Vec<Named<'a>>) {
    match &field.node.value {
        Value::Sequence(_) => field.each().for_each(|item| paths(item, help, all)),
        Value::Mapping(_) => {
            let is_required = field.get("required").is_none_or(|required| required.node.as_bool() != Some(false));
            all.extend(field.get("path").filter(|_| is_required).map(|path| (path, help)));
        }
        Value::Scalar { .. } => all.push((field, help)),
        Value::Alias => {}
    }
}
