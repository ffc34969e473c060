//! `init --from-compose`: a revision around a Compose file as it stands, and what Compose needs that the bundle lacks.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::path::{Component, Path, PathBuf};

use crate::app::init::{COMPOSE, Revision};
use crate::app::revision::NewFile;
use crate::config::compose::project_name;
use crate::config::field::Field;
use crate::config::problem::Problems;
use crate::config::service::ports::{Port, published_ports};
use crate::config::yaml::Node;
use crate::error::{Failure, Kind};
use crate::inputs;

/// The most that is read of a Compose file, in bytes.
const MOST: u64 = 1024 * 1024;

/// Where the file lies in the bundle, where it does not lie there already.
const FOLDER: &str = "app";

/// Keys of a service that the agents' hosts cannot do.
const BUILD: &str = "nothing is built on the host: push its image, and name it under `images:` of appspec.yml";

/// A project as its file describes it: what it includes or extends is not read.
struct Project<'a> {
    root: Field<'a>,
    /// Where relative paths begin: the file's folder, and the same in the bundle.
    from: PathBuf,
    to: PathBuf,
}

/// Errors: [`Kind::Usage`]: the file cannot be read, or is no Compose file.
pub(super) fn around(file: &Path, output: &Path) -> Result<Revision, Failure> {
    let refused = |why: String| Failure::new(Kind::Usage, format!("{}: {why}", file.display()));
    let bytes = inputs::read(file, None, MOST).map_err(|error| refused(error.to_string()))?;
    let text = String::from_utf8(bytes).map_err(|_| refused("it is not UTF-8".into()))?;
    let node = Node::parse(&text).map_err(|error| refused(error.to_string()))?;
    if node.get("services").and_then(|(_, services)| services.as_mapping()).is_none() {
        return Err(refused("it has no `services:`".into()));
    }
    let name = file.file_name().unwrap_or_default();
    let inside = within(file, output);
    let in_bundle = inside.clone().unwrap_or_else(|| Path::new(FOLDER).join(name));
    let (problems, from) = (Problems::new(), file.parent().unwrap_or(Path::new("")).to_owned());
    let to = in_bundle.parent().unwrap_or(Path::new("")).to_owned();
    let project = Project { root: Field { node: &node, path: String::new(), problems: &problems }, from, to };
    let mut files = vec![NewFile::new("appspec.yml", project.appspec(&in_bundle))];
    files.extend(inside.is_none().then(|| NewFile::new(&in_bundle, text.clone())));
    files.push(NewFile::shim());
    Ok(Revision { files, notes: project.lacks(output) })
}

/// The file's path in the bundle, where it lies there already.
fn within(file: &Path, output: &Path) -> Option<PathBuf> {
    let (file, output) = (file.canonicalize().ok()?, output.canonicalize().ok()?);
    file.strip_prefix(output).ok().map(Path::to_owned)
}

impl<'a> Project<'a> {
    fn services(&self) -> Vec<(&'a str, Field<'a>)> {
        let Some(services) = self.root.get("services") else { return Vec::new() };
        let entries = services.node.as_mapping().unwrap_or_default().iter();
        let named = entries.filter_map(|(key, value)| Some((key.as_text()?, services.inner(value, key.as_text()?))));
        named.filter(|(name, _)| *name != "<<" && !name.starts_with("x-")).collect()
    }

    /// The project's name as Compose makes it: so one that runs is taken over.
    fn name(&self) -> String {
        let folder = Path::new(".").join(&self.from).canonicalize().unwrap_or_default();
        let of_folder = || folder.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
        let name = self.root.text_of("name").map_or_else(of_folder, str::to_owned);
        let kept: String = name.chars().filter(|letter| project_name(&letter.to_string()).is_ok()).collect();
        let name = kept.trim_start_matches(['-', '_']);
        if name.is_empty() { "app".to_owned() } else { name.chars().take(63).collect() }
    }

    /// `appspec.yml`: the ready-made hooks, and a section for this project.
    fn appspec(&self, file: &Path) -> String {
        let (_, text) = COMPOSE[0];
        let hooks = text.split_once("version:").and_then(|(_, rest)| rest.split_once("x-balehook:"));
        let hooks = hooks.map(|(hooks, _)| hooks).unwrap_or_default();
        let mut section = format!("  name: {} # the project's name, as `docker compose ls` lists it\n", self.name());
        let (health, allow) = match self.health() {
            Some(health) => (health, ""),
            None => (String::new(), " # each service must run for 3 s: # balehook: allow no-health-check"),
        };
        section += &format!("  compose:{allow}\n    files: [{}]\n", quoted(&file.to_string_lossy()));
        let built: Vec<&str> = self.built().collect();
        if !built.is_empty() {
            section += "    # images: # nothing is built on the host: name what was pushed\n";
            section.extend(built.iter().map(|service| format!("    #   {service}: host/{service}:tag\n")));
        }
        section += &health;
        format!(
            "# A Compose project on every host of a deployment group.\nversion:{hooks}x-balehook:\n{section}  keep: 3\n"
        )
    }

    fn built(&self) -> impl Iterator<Item = &'a str> {
        self.services().into_iter().filter(|(_, service)| service.get("build").is_some()).map(|(name, _)| name)
    }

    /// A published port is asked from outside; of what publishes none, the file's own health checks alone are. `None`: it
    /// has none.
    fn health(&self) -> Option<String> {
        let services = self.services();
        let published = services.iter().filter_map(|(_, service)| service.get("ports"));
        let ports: Vec<Port> = published.flat_map(|ports| published_ports(&ports)).collect();
        match ports.iter().find_map(asked) {
            Some(port) => {
                Some(format!("  health:\n    tcp: \"{port}\" # a page says more: `http: http://{port}/healthz`\n"))
            }
            None => services.iter().any(|(_, service)| service.get("healthcheck").is_some()).then(String::new),
        }
    }

    /// What Compose needs and the bundle lacks, each once.
    fn lacks(&self, output: &Path) -> Vec<String> {
        let mut lacks: Vec<String> = self.built().map(|name| format!("{name} has `build:`: {BUILD}")).collect();
        let mut seen = BTreeSet::new();
        for (what, path) in self.paths() {
            let is_new = seen.insert(path.clone());
            lacks.extend(self.lack(&what, &path, output).filter(|_| is_new));
        }
        let is_beside = self.from.join(".env").exists() && !output.join(&self.to).join(".env").exists();
        lacks.extend(is_beside.then(|| {
            let copy = copy(&self.from.join(".env"), &output.join(&self.to).join(".env"));
            format!(".env is not in the bundle: {copy}")
        }));
        lacks
    }

    /// The relative paths that the file names, with what names them.
    fn paths(&self) -> Vec<(String, String)> {
        let mut paths = Vec::new();
        for (name, service) in self.services() {
            let of = |key: &str| format!("{name}: {key}");
            paths.extend(binds(&service).into_iter().map(|path| (of("volumes"), path)));
            paths.extend(env_files(&service).into_iter().map(|path| (of("env_file"), path)));
            let extended = service.get("extends").and_then(|extends| extends.text_of("file").map(str::to_owned));
            paths.extend(extended.map(|path| (of("extends"), path)));
        }
        for key in ["configs", "secrets"] {
            let all = self.root.get(key);
            let entries = all.iter().flat_map(|all| all.node.as_mapping().unwrap_or_default());
            let files = entries.filter_map(|(_, value)| value.get("file")?.1.as_text());
            paths.extend(files.map(|path| (key.to_owned(), path.to_owned())));
        }
        let included = self.root.get("include");
        let included = included.iter().flat_map(|field| field.node.as_sequence().unwrap_or_default());
        let included = included.filter_map(|item| item.as_text().or_else(|| item.get("path")?.1.as_text()));
        paths.extend(included.map(|path| ("include".to_owned(), path.to_owned())));
        paths
    }

    fn lack(&self, what: &str, path: &str, output: &Path) -> Option<String> {
        if path.starts_with('/') || path.contains("://") {
            return None;
        }
        if path.starts_with('~') {
            return Some(format!("{what}: {path} is in a home folder: hooks have none; name the whole path"));
        }
        if path.contains('$') {
            return Some(format!("{what}: whether {path} is in the bundle depends on a variable"));
        }
        let relative: PathBuf = Path::new(path).components().filter(|part| *part != Component::CurDir).collect();
        if relative.components().any(|part| part == Component::ParentDir) {
            return Some(format!(
                "{what}: {path} leaves the project's folder, which is refused: move it into that folder"
            ));
        }
        let (from, to) = (self.from.join(&relative), output.join(&self.to).join(&relative));
        if to.exists() {
            return None;
        }
        let copy = copy(&from, &to);
        Some(match from.exists() {
            true => format!("{what}: {path} is not in the bundle: {copy}"),
            false => format!("{what}: {path} is not in the bundle, and not beside the Compose file"),
        })
    }
}

/// Where a published port answers on this host.
fn asked(port: &Port) -> Option<String> {
    let number = port.published.parse::<u16>().ok().filter(|_| port.protocol == "tcp")?;
    let address = port.address.parse::<Ipv4Addr>().ok().filter(|address| !address.is_unspecified());
    Some(format!("{}:{number}", address.unwrap_or(Ipv4Addr::LOCALHOST)))
}

/// The relative sources of bind mounts.
fn binds(service: &Field<'_>) -> Vec<String> {
    let Some(volumes) = service.get("volumes") else { return Vec::new() };
    let source = |field: Field<'_>| match field.node.as_text() {
        Some(text) => text.split_once(':').map(|(source, _)| source.to_owned()),
        None => field.text_of("source").filter(|_| field.text_of("type") == Some("bind")).map(str::to_owned),
    };
    // A name without a slash is that of a volume.
    volumes.each().filter_map(source).filter(|source| source.starts_with(['.', '~'])).collect()
}

/// Files with variables that must be there.
fn env_files(service: &Field<'_>) -> Vec<String> {
    let Some(field) = service.get("env_file") else { return Vec::new() };
    let path = |field: &Field<'_>| match field.node.as_text() {
        Some(text) => Some(text.to_owned()),
        None => field.text_of("path").filter(|_| field.text_of("required") != Some("false")).map(str::to_owned),
    };
    match field.node.as_sequence() {
        Some(_) => field.each().filter_map(|item| path(&item)).collect(),
        None => path(&field).into_iter().collect(),
    }
}

/// The command that takes a file or a folder into the bundle.
fn copy(from: &Path, to: &Path) -> String {
    let [from, to] = [from, to].map(|path| path.to_string_lossy().into_owned());
    let words = shlex::try_join(["cp", "--recursive", &from, &to]).unwrap_or_default();
    format!("`{words}`")
}

/// A text as a scalar of YAML's flow style.
fn quoted(text: &str) -> String {
    let is_plain = text.chars().all(|letter| letter.is_ascii_alphanumeric() || "/._-".contains(letter));
    if is_plain { text.to_owned() } else { serde_json::Value::from(text).to_string() }
}
