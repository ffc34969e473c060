//! `x-balehook.compose`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::config::compose::{Compose, DEFAULT_FILES, is_own, profile, project_name, service};
use crate::config::field::Field;
use crate::config::service::{ParseContext, environment as service_environment, location};
use crate::config::validate::section::image_source;
use crate::config::yaml::Value;
use crate::config::{ArchiveLocation, ImageSource};
use crate::inputs;
use crate::values::duration;
use crate::values::source::Many;
use crate::values::types::{EnvVar, Refused};

const KEYS: [&str; 8] =
    ["files", "profiles", "services", "environment", "env_file", "images", "directory", "wait_timeout"];

/// Reads `compose:`. `wait` is how long the health check may take where the section says nothing.
pub(crate) fn read(
    section: &Field<'_>,
    field: &Field<'_>,
    wait: Duration,
    around: &ParseContext<'_>,
) -> Option<Compose> {
    if let Some(name) = section.get("name").filter(|name| name.node.as_text().is_some()) {
        name.parsed(project_name);
    }
    if !field.node.is_null() {
        field.only(&KEYS);
    }
    let root = around.bundle_root;
    let files = files(field, "files", around);
    let (env_file, fetched) = (env_file(field, around), fetched(field));
    let environment = environment(field, around);
    let directory = directory(field, root, files.as_deref());
    let profiles = texts(field, "profiles").and_then(|items| all(&items, |item| item.parsed(profile)));
    let services = texts(field, "services").and_then(|items| all(&items, |item| item.parsed(service)));
    let images = images(field, around);
    let wait_timeout = field.get("wait_timeout").map_or(Some(wait), |value| value.parsed(limit));
    let directory = directory?;
    let files = compose_files(field, &directory, &files?, root);
    let env_file = inside(&directory, &env_file?, root);
    Some(Compose {
        directory,
        files: files?,
        profiles: profiles?,
        services: services?,
        env_file: env_file?,
        environment: environment?,
        fetched: fetched?,
        images: images?,
        wait_timeout: wait_timeout?,
    })
}

/// All of them are read, also behind one that is wrong.
fn all<I, T>(items: &[I], read: impl FnMut(&I) -> Option<T>) -> Option<Vec<T>> {
    let read: Vec<Option<T>> = items.iter().map(read).collect();
    read.into_iter().collect()
}

/// One text or a list of them.
fn texts<'a>(field: &Field<'a>, key: &str) -> Option<Vec<Field<'a>>> {
    let Some(value) = field.get(key) else { return Some(Vec::new()) };
    match &value.node.value {
        Value::Sequence(items) => Some(items.iter().map(|node| Field { node, ..value.clone() }).collect()),
        Value::Scalar { .. } if !value.node.is_null() => Some(vec![value]),
        _ => {
            let message = format!("expected a string or a list of strings, not {}", value.node.describe());
            value.refuse(message, format!("write `{key}: [one, another]`"))
        }
    }
}

/// A file as the section names it.
type Named<'a> = (Field<'a>, PathBuf);

/// Files of the bundle, absolute; each must be there.
fn files<'a>(field: &Field<'a>, key: &str, around: &ParseContext<'_>) -> Option<Vec<Named<'a>>> {
    all(&texts(field, key)?, |item| Some((item.clone(), item.parsed(|text| file(text, around))?)))
}

/// Values that lie in AWS under a path or in a secret, each with its name.
fn is_fetched(field: &Field<'_>) -> bool {
    let text = field.node.as_text().unwrap_or_default();
    ["ssm:", "secretsmanager:"].iter().any(|scheme| text.starts_with(scheme))
}

fn fetched(field: &Field<'_>) -> Option<Vec<Many>> {
    let fetched: Vec<_> = texts(field, "env_file")?.into_iter().filter(is_fetched).collect();
    all(&fetched, |item| item.parsed(str::parse))
}

fn env_file<'a>(field: &Field<'a>, around: &ParseContext<'_>) -> Option<Vec<Named<'a>>> {
    let files: Vec<_> = texts(field, "env_file")?.into_iter().filter(|item| !is_fetched(item)).collect();
    all(&files, |item| Some((item.clone(), item.parsed(|text| file(text, around))?)))
}

/// As the environment of a container; Compose's own settings are the section's to say.
fn environment(field: &Field<'_>, around: &ParseContext<'_>) -> Option<Vec<EnvVar>> {
    let Some(value) = field.given("environment") else { return Some(Vec::new()) };
    let before = value.problems.errors();
    let mut found = service_environment(&value, around);
    found.retain(|var| var.value.is_some());
    if let Some(own) = found.iter().find(|var| is_own(&var.name)) {
        let help = "`profiles`, `files` and `env_file` say it in the section";
        let message = format!("`{}` is a setting of Compose, or of what it runs", own.name);
        return value.get(&own.name).unwrap_or(value).refuse(message, help);
    }
    (value.problems.errors() == before).then_some(found)
}

fn file(text: &str, around: &ParseContext<'_>) -> Result<PathBuf, Refused> {
    let root = around.bundle_root;
    // Scripts of other hooks may write what is not there yet.
    let is_written = !around.pending.scripts.is_empty();
    match location(text, root)? {
        ArchiveLocation::S3(_) => Err(Refused("is in S3: it must be a file of the bundle".into())),
        ArchiveLocation::File(file) if !file.starts_with(root) => Err(Refused("must be inside the bundle".into())),
        ArchiveLocation::File(file) if !file.exists() => match is_written {
            true => Ok(file),
            false => Err(Refused("is not a file of the bundle".into())),
        },
        ArchiveLocation::File(file) => match inputs::open(&file, Some(root)) {
            Ok(_) => Ok(file),
            Err(error) => Err(Refused(format!("cannot be read: {error}"))),
        },
    }
}

/// The folder: as named, else that of the first file, else the bundle.
fn directory(field: &Field<'_>, root: &Path, files: Option<&[Named<'_>]>) -> Option<PathBuf> {
    let Some(value) = field.get("directory") else {
        let first = files?.first().and_then(|(_, file)| file.parent());
        return Some(first.unwrap_or(root).to_owned());
    };
    value.parsed(|text| match location(text, root)? {
        ArchiveLocation::File(folder) if folder.starts_with(root) && folder.is_dir() => {
            let inside = inputs::check_resolved(&folder, root);
            inside.map(|()| folder).map_err(|error| Refused(format!("cannot be used: {error}")))
        }
        _ => Err(Refused("is not a folder of the bundle".into())),
    })
}

/// Paths relative to the folder: what lies outside it is not copied.
fn inside(directory: &Path, files: &[Named<'_>], root: &Path) -> Option<Vec<PathBuf>> {
    all(files, |(field, file)| {
        file.strip_prefix(directory).ok().map(Path::to_owned).or_else(|| {
            let folder = directory.strip_prefix(root).unwrap_or(directory).display();
            let file = field.node.as_text().unwrap_or_default();
            field.refuse(
                format!("`{file}` lies outside the project's folder `{folder}`"),
                "move it into that folder, or name a folder above both as `directory:`",
            )
        })
    })
}

fn compose_files(field: &Field<'_>, directory: &Path, files: &[Named<'_>], root: &Path) -> Option<Vec<PathBuf>> {
    if !files.is_empty() {
        return inside(directory, files, root);
    }
    let of_files = field.lacking("files");
    let there = |name: &str| directory.join(name).is_file().then(|| PathBuf::from(name));
    let found = DEFAULT_FILES.into_iter().find_map(|(base, over)| Some([there(base)?].into_iter().chain(there(over))));
    let Some(files) = found else {
        return of_files.refuse("there is no compose.yaml or docker-compose.yml", "write `files: [compose.yml]`");
    };
    all(&files.collect::<Vec<_>>(), |file| match inputs::open(&directory.join(file), Some(root)) {
        Ok(_) => Some(file.clone()),
        Err(error) => of_files
            .refuse(format!("`{}` cannot be read: {error}", file.display()), "put the file itself into the bundle"),
    })
}

fn images(field: &Field<'_>, around: &ParseContext<'_>) -> Option<BTreeMap<String, ImageSource>> {
    let Some(value) = field.given("images") else { return Some(BTreeMap::new()) };
    if value.node.as_mapping().is_none() {
        return value.refuse(
            format!("expected a mapping, not {}", value.node.describe()),
            "write `images: {web: {archive: web.tar}}`: service and image",
        );
    }
    let read = value.entries(|service, field| Some((service.to_owned(), image_source(field, around))));
    read.into_iter().map(|(service, image)| Some((service, image?))).collect()
}

fn limit(text: &str) -> Result<Duration, Refused> {
    let found = duration::parse(text)?;
    match (Duration::from_secs(1)..=Duration::from_secs(3600)).contains(&found) {
        true => Ok(found),
        false => Err(Refused("must be from 1s to 3600s".into())),
    }
}
