//! appspec.yml of what was imported, with comments for the person who reads it next.

use serde_yaml::Value;

use crate::import::{Imported, NotCarried, secrets, yaml};
use crate::values::reference::ImageReference;
use crate::values::types::Name;

/// How the file is written.
#[derive(Debug, Clone, Copy)]
pub struct How<'a> {
    /// What it was made of: `container web`, `a docker run line`.
    pub source: &'a str,
    /// What looks like a secret is written too.
    pub show_values: bool,
    /// The container whose variables the secrets are of, where it is one.
    pub container: Option<&'a str>,
    /// Variables that are secrets whatever they look like.
    pub hidden: &'a [String],
}

/// Longest line of a comment, in characters.
const WIDTH: usize = 110;

const HOOKS: &str = "\
version: 0.0
os: linux
hooks:
  # Without ApplicationStop the old container serves until ApplicationStart has the new one ready.
  BeforeInstall: # preflight: engine, credentials, image
    - location: hooks/balehook
      timeout: 120
  AfterInstall: # imports the image
    - location: hooks/balehook
      timeout: 900
  ApplicationStart: # replaces the container, and puts the old one back if the new one is not healthy
    - location: hooks/balehook
      timeout: 300
  ValidateService: # checks its health once more
    - location: hooks/balehook
      timeout: 120
x-balehook:
";

/// The name that a deployment gets.
pub(super) fn name(imported: &Imported) -> String {
    let is_good = |name: &&str| name.len() > 1 && name.parse::<Name>().is_ok();
    let of_image = || {
        let image = imported.image.as_deref()?;
        let last = image.split('@').next()?.rsplit('/').next()?;
        last.split(':').next().filter(is_good)
    };
    imported.name.as_deref().filter(is_good).or_else(of_image).unwrap_or("web").to_owned()
}

/// The whole file. Its values are those of `imported`, but for secrets, of which the names are written; those that no
/// file of variables can hold are added to what is not carried.
pub fn appspec(imported: &mut Imported, how: How<'_>) -> String {
    let name = name(imported);
    let path = format!("/etc/{name}.env");
    let secrets = if how.show_values { Vec::new() } else { secrets::take_out(imported, &path, how.hidden) };
    let mut text = head(imported, how);
    text.push_str(HOOKS);
    text.push_str(&yaml::entry("name", &name.as_str().into(), 2));
    text.push_str("  container:\n");
    text.push_str(&image(imported));
    for (key, value) in imported.options.iter().filter(|(key, _)| key != "image") {
        if key == "env_file" && !secrets.is_empty() {
            text.push_str(&about_secrets(&secrets, &path, how.container));
        }
        text.push_str(&yaml::entry(key, value, 4));
    }
    if imported.get("healthcheck").is_none() {
        let said = "Without a health check here or in the image, a release counts as healthy that runs for 3 s.";
        text.push_str(&format!("  # {said}\n  # health: {{http: /healthz, timeout: 60s}}\n"));
    }
    text
}

/// Where it came from, and what became nothing.
fn head(imported: &Imported, how: How<'_>) -> String {
    let mut text = format!("# Written by `balehook import` from {}.\n", how.source);
    section(&mut text, "Not carried:", imported.not_carried.iter().map(NotCarried::line));
    section(&mut text, "Look at:", imported.remarks.iter().cloned());
    let defaults = imported.only_defaults.join(", ");
    let defaults = (!defaults.is_empty()).then_some(defaults);
    section(&mut text, "Left out, because the image or the engine gives it anyway:", defaults);
    text
}

fn section(text: &mut String, title: &str, lines: impl IntoIterator<Item = String>) {
    for (index, line) in lines.into_iter().enumerate() {
        if index == 0 {
            text.push_str(&format!("#\n# {title}\n"));
        }
        for (index, line) in wrapped(&line, WIDTH - 6).iter().enumerate() {
            text.push_str(if index == 0 { "# - " } else { "#   " });
            text.push_str(line);
            text.push('\n');
        }
    }
}

/// Lines of whole words.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let is_full =
            lines.last().is_some_and(|line| !line.is_empty() && line.chars().count() + word.chars().count() >= width);
        if is_full {
            lines.push(String::new());
        }
        if let Some(line) = lines.last_mut() {
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
    }
    lines
}

fn image(imported: &Imported) -> String {
    if let Some(image) = imported.get("image") {
        return yaml::entry("image", image, 4);
    }
    let Some(image) = imported.image.as_deref() else {
        return "    image: # which one?\n".to_owned();
    };
    let line = yaml::entry("image", &Value::from(image), 4);
    let comment = match image.parse::<ImageReference>() {
        Ok(reference) if reference.is_floating() => {
            " # a tag that moves: name a version, so that a rollback finds it\n"
        }
        _ => "\n",
    };
    format!("{}{comment}", line.trim_end())
}

fn about_secrets(names: &[String], path: &str, container: Option<&str>) -> String {
    let mut lines = wrapped(
        &format!(
            "These look like secrets, and are not written here: {}. Make the file on each host, readable for root alone:",
            names.join(", ")
        ),
        WIDTH - 6,
    );
    lines.push(match container {
        Some(container) => format!(
            "  (umask 077; docker inspect -f '{{{{range .Config.Env}}}}{{{{println .}}}}{{{{end}}}}' {container} | grep -E '^({})=' > {path})",
            // What is no letter stands for any one: the comment stays one line of shell.
            names.join("|").replace(|letter: char| !letter.is_ascii_alphanumeric() && !"_|".contains(letter), ".")
        ),
        None => format!("  (umask 077; $EDITOR {path}) # {}=… in a line of its own", names.first().map_or("", String::as_str)),
    });
    lines.iter().map(|line| format!("    # {line}\n")).collect()
}
