//! `x-balehook.compose`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::config::compose::{Compose, DEFAULT_FILES, profile, project_name};
use crate::config::problem::Problems;
use crate::config::service::{ParseContext, location};
use crate::config::validate::section::{image_source, parsed, unknown_keys};
use crate::config::yaml::{Node, Value};
use crate::config::{ArchiveLocation, ImageSource};
use crate::inputs;
use crate::values::duration;
use crate::values::types::Refused;

const KEYS: &[&str] = &["files", "profiles", "env_file", "images", "directory", "wait_timeout"];

/// Reads `compose:`. `wait` is how long the health check may take where the section says nothing.
pub(crate) fn read(
    section: &Node,
    node: &Node,
    path: &str,
    wait: Duration,
    around: &ParseContext<'_>,
    problems: &mut Problems,
) -> Option<Compose> {
    let is_written = !around.pending.scripts.is_empty();
    let mut reader = Reader { path: path.to_owned(), root: around.bundle_root, is_written, problems };
    if let Some((_, name)) = section.get("name")
        && let Some(text) = name.as_text()
        && let Err(Refused(why)) = project_name(text)
    {
        reader.problems.error(
            name.place,
            &format!("{}.name", crate::config::validate::SECTION),
            format!("`{text}` {why}"),
            None,
        );
    }
    if !node.is_null() {
        unknown_keys(node, path, KEYS, reader.problems);
    }
    let files = reader.files(node, "files");
    let env_file = reader.files(node, "env_file");
    let directory = reader.directory(node, files.as_deref());
    let profiles = reader.profiles(node);
    let images = reader.images(node, around);
    let wait_timeout = reader.wait_timeout(node, wait);
    let directory = directory?;
    let files = reader.compose_files(node, &directory, files?);
    let env_file = reader.inside("env_file", &directory, env_file?);
    Some(Compose {
        directory,
        files: files?,
        profiles: profiles?,
        env_file: env_file?,
        images: images?,
        wait_timeout: wait_timeout?,
    })
}

struct Reader<'a> {
    path: String,
    root: &'a Path,
    /// Scripts of other hooks may write what is not there yet.
    is_written: bool,
    problems: &'a mut Problems,
}

impl Reader<'_> {
    fn error(&mut self, node: &Node, key: &str, message: impl Into<String>, help: &str) {
        self.problems.error(node.place, &format!("{}.{key}", self.path), message.into(), help.to_owned());
    }

    /// One text or a list of them.
    fn texts<'n>(&mut self, node: &'n Node, key: &str) -> Option<Vec<&'n Node>> {
        let Some((_, value)) = node.get(key) else { return Some(Vec::new()) };
        match &value.value {
            Value::Sequence(items) => Some(items.iter().collect()),
            Value::Scalar { .. } if !value.is_null() => Some(vec![value]),
            _ => {
                let message = format!("a path or a list of paths is expected, not {}", value.describe());
                self.error(value, key, message, &format!("write `{key}: [one, another]`"));
                None
            }
        }
    }

    /// Files of the bundle, absolute; each must be there.
    fn files<'n>(&mut self, node: &'n Node, key: &str) -> Option<Vec<(&'n Node, PathBuf)>> {
        let items = self.texts(node, key)?;
        let read: Vec<Option<_>> = items.into_iter().map(|item| Some((item, self.file(item, key)?))).collect();
        read.into_iter().collect()
    }

    fn file(&mut self, node: &Node, key: &str) -> Option<PathBuf> {
        let path = format!("{}.{key}", self.path);
        let (root, is_written) = (self.root, self.is_written);
        parsed(node, &path, self.problems, |text| match location(text, root)? {
            ArchiveLocation::S3(_) => Err(Refused("is in S3: it must be a file of the bundle".into())),
            ArchiveLocation::File(file) if !file.starts_with(root) => Err(Refused("must be inside the bundle".into())),
            ArchiveLocation::File(file) if !file.exists() && !is_written => {
                Err(Refused("is not a file of the bundle".into()))
            }
            ArchiveLocation::File(file) if !file.exists() => Ok(file),
            ArchiveLocation::File(file) => match inputs::open(&file, Some(root)) {
                Ok(_) => Ok(file),
                Err(error) => Err(Refused(format!("cannot be read: {error}"))),
            },
        })
    }

    /// The folder: as named, else that of the first file, else the bundle.
    fn directory(&mut self, node: &Node, files: Option<&[(&Node, PathBuf)]>) -> Option<PathBuf> {
        let Some((_, value)) = node.get("directory") else {
            let first = files?.first().and_then(|(_, file)| file.parent());
            return Some(first.unwrap_or(self.root).to_owned());
        };
        let root = self.root;
        parsed(value, &format!("{}.directory", self.path), self.problems, |text| match location(text, root)? {
            ArchiveLocation::File(folder) if folder.starts_with(root) && folder.is_dir() => {
                let inside = inputs::check_resolved(&folder, root);
                inside.map(|()| folder).map_err(|error| Refused(format!("cannot be used: {error}")))
            }
            _ => Err(Refused("is not a folder of the bundle".into())),
        })
    }

    /// Paths relative to the folder: what lies outside it is not copied.
    fn inside(&mut self, key: &str, directory: &Path, files: Vec<(&Node, PathBuf)>) -> Option<Vec<PathBuf>> {
        let read: Vec<Option<PathBuf>> = files
            .into_iter()
            .map(|(at, file)| {
                let inside = file.strip_prefix(directory).ok().map(Path::to_owned);
                if inside.is_none() {
                    let folder = directory.strip_prefix(self.root).unwrap_or(directory).display().to_string();
                    let file = at.as_text().unwrap_or_default();
                    let message = format!("`{file}` lies outside the project's folder `{folder}`");
                    let help = "move it into that folder, or name a folder above both as `directory:`";
                    self.error(at, key, message, help);
                }
                inside
            })
            .collect();
        read.into_iter().collect()
    }

    fn compose_files(&mut self, node: &Node, directory: &Path, files: Vec<(&Node, PathBuf)>) -> Option<Vec<PathBuf>> {
        if !files.is_empty() {
            return self.inside("files", directory, files);
        }
        let there = |name: &str| directory.join(name).is_file().then(|| PathBuf::from(name));
        for (base, over) in DEFAULT_FILES {
            if let Some(base) = there(base) {
                let files: Vec<PathBuf> = [base].into_iter().chain(there(over)).collect();
                return self.readable(node, directory, files);
            }
        }
        self.error(node, "files", "there is no compose.yaml or docker-compose.yml", "write `files: [compose.yml]`");
        None
    }

    fn readable(&mut self, node: &Node, directory: &Path, files: Vec<PathBuf>) -> Option<Vec<PathBuf>> {
        for file in &files {
            if let Err(error) = inputs::open(&directory.join(file), Some(self.root)) {
                let message = format!("`{}` cannot be read: {error}", file.display());
                self.error(node, "files", message, "put the file itself into the bundle");
                return None;
            }
        }
        Some(files)
    }

    fn profiles(&mut self, node: &Node) -> Option<Vec<String>> {
        let path = format!("{}.profiles", self.path);
        let items = self.texts(node, "profiles")?;
        let read: Vec<Option<String>> =
            items.into_iter().map(|item| parsed(item, &path, self.problems, profile)).collect();
        read.into_iter().collect()
    }

    fn images(&mut self, node: &Node, around: &ParseContext<'_>) -> Option<BTreeMap<String, ImageSource>> {
        let Some((_, value)) = node.get("images").filter(|(_, value)| !value.is_null()) else {
            return Some(BTreeMap::new());
        };
        let Some(entries) = value.as_mapping() else {
            let message = format!("a mapping is expected, not {}", value.describe());
            self.error(value, "images", message, "write `images: {web: {archive: web.tar}}`: service and image");
            return None;
        };
        let read: Vec<Option<(String, ImageSource)>> = entries
            .iter()
            .map(|(key, value)| {
                let service = key.as_text().unwrap_or_default();
                let path = format!("{}.images.{service}", self.path);
                Some((service.to_owned(), image_source(value, &path, around, self.problems)?))
            })
            .collect();
        read.into_iter().collect()
    }

    fn wait_timeout(&mut self, node: &Node, default: Duration) -> Option<Duration> {
        let Some((_, value)) = node.get("wait_timeout") else { return Some(default) };
        parsed(value, &format!("{}.wait_timeout", self.path), self.problems, |text| {
            let found = duration::parse(text)?;
            match (Duration::from_secs(1)..=Duration::from_secs(3600)).contains(&found) {
                true => Ok(found),
                false => Err(Refused("must be from 1s to 3600s".into())),
            }
        })
    }
}
