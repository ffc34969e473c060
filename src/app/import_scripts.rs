//! `import` of hook scripts: what became of each line, and an appspec.yml beside the old one.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use crate::app::deployment;
use crate::app::revision::{self, NewFile};
use crate::config::appspec::find_above;
use crate::config::yaml::Node;
use crate::error::{Failure, Kind};
use crate::import::script::{Bundle, LineReport, Script, appspec, kept, read};
use crate::inputs;
use crate::ui::text::Console;
use crate::values::types::LifecycleEvent;

/// The most that is read of a file, in bytes.
const MOST: u64 = 1024 * 1024;

/// The new file's name where the old one has its own.
const BESIDE: &str = "appspec.balehook.yml";

/// The scripts, and the bundle around them.
struct Old {
    root: PathBuf,
    scripts: Vec<PathBuf>,
    appspec: Option<String>,
}

/// The paths, where all words are paths that are there.
pub(crate) fn paths(words: &[String]) -> Option<Vec<PathBuf>> {
    let paths: Vec<PathBuf> = words.iter().map(PathBuf::from).collect();
    (!paths.is_empty() && paths.iter().all(|path| path.exists())).then_some(paths)
}

/// Reads the scripts, prints what became of each line, and writes the file. `output`: a folder, `-` for stdout, or
/// nothing: beside the old one.
/// Errors: [`Kind::Usage`]: there is no script, or none deploys anything that is known; as [`revision::write`].
pub(crate) fn import(
    paths: &[PathBuf],
    output: Option<&Path>,
    given: &dyn Fn(&str) -> Option<String>,
) -> Result<(), Failure> {
    let old = old(paths)?;
    let scripts: Vec<Script> = old.scripts.iter().map(|path| script(path, &old.root)).collect::<Result<_, _>>()?;
    let text = |path: &str| {
        inputs::read(&old.root.join(path), None, MOST).ok().and_then(|bytes| String::from_utf8(bytes).ok())
    };
    let bundle = Bundle { installed: old.appspec.as_deref().map(installed).unwrap_or_default(), read: &text, given };
    let (reports, found) = read(&scripts, &bundle);
    let kept = old.appspec.as_deref().map(kept).unwrap_or_default();
    let written = appspec(&found, &kept, &reports);
    let is_printed = output == Some(Path::new("-"));
    let of_options = found.container.iter().chain(&found.service).flat_map(|found| &found.remarks);
    let remarks: Vec<&str> = found.remarks.iter().chain(of_options).map(String::as_str).collect();
    tell(&reports, &remarks, is_printed);
    let Some(written) = written else {
        return Err(Failure::new(Kind::Usage, "no line deploys anything that could be carried".to_owned())
            .next("`balehook init` writes a revision to begin with"));
    };
    if is_printed {
        Console::stdout().whole(&written);
        return Ok(());
    }
    write(&old, written, output)
}

fn write(old: &Old, written: String, output: Option<&Path>) -> Result<(), Failure> {
    let folder = output.unwrap_or(&old.root);
    let name = if output.is_none() && old.appspec.is_some() { BESIDE } else { "appspec.yml" };
    let mut files = vec![NewFile::new(name, written)];
    let shim = NewFile::shim();
    if !shim.is_in(folder) {
        files.push(shim);
    }
    revision::write(folder, &files)?;
    let path = folder.join(name);
    let path = path.display();
    let mut console = Console::stdout();
    console.line(&format!("wrote {path} and {}", folder.join(revision::SHIM_PATH).display()));
    let then = if name == BESIDE {
        "then put it in the place of appspec.yml"
    } else {
        "with the other files of the bundle in this folder"
    };
    console.line(&format!("next: `balehook check {path}`, {then}"));
    Ok(())
}

/// Each command with its place, and what became of it.
fn tell(reports: &[LineReport], remarks: &[&str], is_aside: bool) {
    let mut text = String::new();
    for line in reports {
        let (word, why) = (line.handling.word(), line.handling.text());
        text += &format!("{}:{}: {}\n    {word}: {why}\n", line.path, line.line, line.text);
    }
    let words = ["carried", "not needed", "to do", "not understood"];
    let count = |word: &&str| reports.iter().filter(|line| line.handling.word() == *word).count();
    let counts: Vec<String> = words.iter().map(|word| format!("{} {word}", count(word))).collect();
    text.extend(remarks.iter().map(|remark| format!("note: {remark}\n")));
    text += &format!("{} commands: {}\n", reports.len(), counts.join(", "));
    if is_aside {
        return Console::stderr().whole(&text);
    }
    Console::stdout().listing(&text);
}

/// A bundle with its appspec.yml names its scripts itself; a folder without one has the scripts; else they are named.
fn old(paths: &[PathBuf]) -> Result<Old, Failure> {
    let [path] = paths else { return named(paths) };
    let is_appspec = path.extension().is_some_and(|ending| ending == "yml" || ending == "yaml");
    let file = if path.is_dir() {
        ["appspec.yml", "appspec.yaml"].map(|name| path.join(name)).into_iter().find(|file| file.is_file())
    } else {
        is_appspec.then(|| path.clone())
    };
    if let Some(file) = file {
        return of_bundle(&file);
    }
    if !path.is_dir() {
        return named(paths);
    }
    let entries = std::fs::read_dir(path).map_err(|error| unreadable(path, &error))?;
    let mut scripts: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    scripts.retain(|path| path.extension().is_some_and(|ending| ending == "sh" || ending == "bash") && path.is_file());
    scripts.sort();
    match find_above(&path.join("x")) {
        // The hooks say the order, and which of them are run.
        Ok(file) => of_bundle(&file),
        Err(_) => named(&scripts),
    }
}

fn of_bundle(file: &Path) -> Result<Old, Failure> {
    let text = deployment::text(file)?.text;
    let root = file.parent().filter(|root| !root.as_os_str().is_empty()).unwrap_or(Path::new(".")).to_owned();
    let scripts: Vec<PathBuf> = locations(&text).into_iter().map(|location| root.join(location)).collect();
    let scripts: Vec<PathBuf> = scripts.into_iter().filter(|script| script.is_file()).collect();
    if scripts.is_empty() {
        return Err(Failure::new(Kind::Usage, format!("{}: none of its hooks' scripts is there", file.display()))
            .next("name the scripts, or the folder that holds them"));
    }
    Ok(Old { root, scripts, appspec: Some(text) })
}

fn named(scripts: &[PathBuf]) -> Result<Old, Failure> {
    let Some(first) = scripts.first() else {
        return Err(Failure::new(Kind::Usage, "the folder has no script: no file ends with .sh".to_owned()));
    };
    let appspec = find_above(first).ok();
    // Without an appspec.yml the bundle is the folder where the command is given.
    let here = if first.is_absolute() { first.parent() } else { Some(Path::new(".")) };
    let root = appspec.as_deref().and_then(Path::parent).or(here).unwrap_or(Path::new(".")).to_owned();
    let appspec = appspec.map(|file| deployment::text(&file)).transpose()?.map(|file| file.text);
    Ok(Old { root, scripts: scripts.to_vec(), appspec })
}

fn script(path: &Path, root: &Path) -> Result<Script, Failure> {
    let bytes = inputs::read(path, None, MOST).map_err(|error| unreadable(path, &error))?;
    let shown = path.strip_prefix(root).unwrap_or(path).display().to_string();
    Ok(Script { path: shown, text: String::from_utf8_lossy(&bytes).into_owned() })
}

fn unreadable(path: &Path, error: &io::Error) -> Failure {
    Failure::new(Kind::Usage, format!("cannot read {}: {error}", path.display()))
}

/// The hooks' scripts in the order of the events, each once.
fn locations(appspec: &str) -> Vec<String> {
    let Ok(root) = Node::parse(appspec) else { return Vec::new() };
    let Some((_, hooks)) = root.get("hooks") else { return Vec::new() };
    let mut by_event: BTreeMap<LifecycleEvent, Vec<String>> = BTreeMap::new();
    for (event, entries) in hooks.as_mapping().unwrap_or_default() {
        let Some(event) = event.as_text().and_then(|event| event.parse().ok()) else { continue };
        let places =
            entries.as_sequence().unwrap_or_default().iter().filter_map(|entry| entry.get("location")?.1.as_text());
        by_event.entry(event).or_default().extend(places.map(|place| place.trim_start_matches('/').to_owned()));
    }
    let mut all: Vec<String> = Vec::new();
    for place in by_event.into_values().flatten() {
        if !all.contains(&place) {
            all.push(place);
        }
    }
    all
}

/// `files:`: source and destination.
fn installed(appspec: &str) -> Vec<(String, String)> {
    let Ok(root) = Node::parse(appspec) else { return Vec::new() };
    let entries =
        root.get("files").map(|(_, files)| files.as_sequence().unwrap_or_default().to_vec()).unwrap_or_default();
    let text = |entry: &Node, key: &str| entry.get(key).and_then(|(_, value)| value.as_text()).map(str::to_owned);
    entries.iter().filter_map(|entry| Some((text(entry, "source")?, text(entry, "destination")?))).collect()
}
