//! `x-balehook.variables`: files of the bundle whose values `${VAR}` takes, as a build writes them.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use crate::config::env_file;
use crate::config::field::Field;
use crate::config::interpolate::Lookup;
use crate::config::rules::NOT_IN_BUNDLE;
use crate::config::yaml::Place;
use crate::inputs;
use crate::values::types::{Refused, Secret};

/// By name. Nothing that is printed shows their values.
pub(crate) type Variables = BTreeMap<String, Secret>;

/// The largest file, in bytes.
const LIMIT: u64 = 1024 * 1024;

const EXAMPLE: &str = "write `variables: [build.env]`: files of the bundle, dotenv or JSON";

/// Reads the files in their order: a later one wins, as with `env_file`. `hook` looks up the variables of the hook, which
/// values may name.
pub(crate) fn read(files: &Field<'_>, bundle_root: &Path, hook: Lookup<'_>) -> Variables {
    let one = files.node.as_text().map(|_| files.clone());
    if one.is_none() && files.node.as_sequence().is_none() {
        files.error(format!("expected a list of files, not {}", files.node.describe()), EXAMPLE);
    }
    let mut found = Variables::new();
    for field in one.into_iter().chain(files.each()) {
        let Some(path) = field.parsed(inside) else { continue };
        let Some(text) = text(&field, Path::new(&path), bundle_root) else { continue };
        let values = match path.ends_with(".json") {
            true => json(&path, &text),
            false => dotenv(&path, &text, &|name| hook(name).or_else(|| value(&found, name))),
        };
        match values {
            Ok(values) => found.extend(values),
            Err(bad) => bad.iter().for_each(|why| field.error(why, "correct the file, and build the revision again")),
        }
    }
    found
}

/// One of them.
pub(crate) fn value(variables: &Variables, name: &str) -> Option<String> {
    variables.get(name).map(|value| value.reveal().to_owned())
}

/// A path inside the bundle.
pub(crate) fn inside(text: &str) -> Result<String, Refused> {
    let mut parts = Path::new(text).components();
    let is_inside = !text.is_empty() && parts.all(|part| matches!(part, std::path::Component::Normal(_)));
    match is_inside {
        true => Ok(text.to_owned()),
        false => {
            Err(Refused("is no path inside the bundle: it begins at the folder of appspec.yml, without `..`".into()))
        }
    }
}

/// The text of a file of the bundle; where it cannot be read, a problem of the value that names it.
pub(crate) fn text(field: &Field<'_>, path: &Path, bundle_root: &Path) -> Option<String> {
    let read = inputs::read(&bundle_root.join(path), Some(bundle_root), LIMIT)
        .and_then(|bytes| String::from_utf8(bytes).map_err(io::Error::other));
    let name = field.node.as_text().unwrap_or_default();
    match read {
        Ok(text) => Some(text),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            field.broken(
                NOT_IN_BUNDLE,
                format!("{name} is not in the bundle"),
                "write it in the build, before the bundle is packed",
            );
            None
        }
        Err(error) => field.refuse(format!("{name} cannot be read: {error}"), ""),
    }
}

fn dotenv(file: &str, text: &str, known: Lookup<'_>) -> Result<Variables, Vec<String>> {
    let read = env_file::read(file, text, false, known).map_err(|failure| failure.evidence)?;
    Ok(read.variables.into_iter().filter_map(|var| Some((var.name, var.value?))).collect())
}

/// One object of texts, numbers, `true` and `false`.
fn json(file: &str, text: &str) -> Result<Variables, Vec<String>> {
    let object: serde_json::Map<String, serde_json::Value> = serde_json::from_str(text).map_err(|error| {
        let what = if error.is_data() { "expected an object: {\"TAG\": \"1.4.2\"}" } else { "it is no JSON" };
        vec![format!("{file}:{}:{}: {what}", error.line(), error.column().max(1))]
    })?;
    let (mut found, mut bad) = (Variables::new(), Vec::new());
    for (name, value) in object {
        let place = place_of(text, &name);
        let value = match value {
            serde_json::Value::String(text) => text,
            value @ (serde_json::Value::Number(_) | serde_json::Value::Bool(_)) => value.to_string(),
            _ => {
                bad.push(format!("{file}:{place}: {name} is not one value: a text, a number, true or false"));
                continue;
            }
        };
        match is_name(&name) {
            true => _ = found.insert(name, Secret::new(value)),
            false => bad.push(format!("{file}:{place}: `{name}` is no name of a variable: letters, digits and `_`")),
        }
    }
    if bad.is_empty() { Ok(found) } else { Err(bad) }
}

/// Where a key stands.
fn place_of(text: &str, name: &str) -> Place {
    let quoted = serde_json::Value::from(name).to_string();
    let before = &text[..text.find(&quoted).unwrap_or_default()];
    let line = before.rsplit('\n').next().unwrap_or_default();
    Place { line: before.matches('\n').count() + 1, column: line.chars().count() + 1 }
}

fn is_name(text: &str) -> bool {
    let is_first = |letter: char| letter.is_ascii_alphabetic() || letter == '_';
    text.starts_with(is_first) && text.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_')
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::config::problem::Problems;
    use crate::config::yaml::Node;

    fn hook(name: &str) -> Option<String> {
        (name == "GROUP").then(|| "prod".to_owned())
    }

    /// What is read of these files, named in their order, and every problem.
    fn read_files(files: &[(&str, &str)]) -> (Variables, Vec<String>) {
        let bundle = tempfile::tempdir().unwrap();
        files.iter().for_each(|(name, text)| std::fs::write(bundle.path().join(name), text).unwrap());
        let names: Vec<&str> = files.iter().map(|(name, _)| *name).collect();
        read_list(&format!("[{}]", names.join(", ")), bundle.path())
    }

    fn read_list(list: &str, bundle: &Path) -> (Variables, Vec<String>) {
        let (node, problems) = (Node::parse(list).unwrap(), Problems::new());
        let found = read(&Field { node: &node, path: "variables".into(), problems: &problems }, bundle, &hook);
        (found, problems.sorted().iter().map(|problem| format!("{} {}", problem.place, problem.message)).collect())
    }

    #[test]
    fn a_file_that_is_missing_or_lies_elsewhere_is_named_at_its_place() {
        let bundle = tempfile::tempdir().unwrap();
        let (found, problems) = read_list("[none.env, ../x.env, /etc/passwd, {a: b}]", bundle.path());
        assert!(found.is_empty());
        assert_eq!(problems.len(), 4, "{problems:?}");
        assert_eq!(problems[0], "1:2 none.env is not in the bundle");
        assert!(problems[1].starts_with("1:12 `../x.env` is no path inside the bundle"), "{problems:?}");
        let outside = tempfile::NamedTempFile::new().unwrap();
        std::os::unix::fs::symlink(outside.path(), bundle.path().join("link.env")).unwrap();
        let (_, problems) = read_list("link.env", bundle.path());
        assert!(problems[0].starts_with("1:1 link.env cannot be read"), "{problems:?}");
    }

    #[test]
    fn each_bad_line_and_key_is_named_with_its_place_and_no_value() {
        let nested = "{\n  \"TAG\": \"hunter2\",\n  \"DB\": {\"P\": \"hunter2\"},\n  \"NO NE\": 1\n}";
        let (found, problems) = read_files(&[("a.env", "X=1\n=hunter2\n"), ("b.json", nested), ("c.json", "[1]")]);
        assert!(found.is_empty(), "{found:?}");
        let wanted = [
            "1:2 a.env:2: no variable's name before `=`",
            "1:9 b.json:3:3: DB is not one value: a text, a number, true or false",
            "1:9 b.json:4:3: `NO NE` is no name of a variable: letters, digits and `_`",
            "1:17 c.json:1:1: expected an object: {\"TAG\": \"1.4.2\"}",
        ];
        assert_eq!(problems, wanted);
        assert_eq!(read_files(&[("d.json", "{\"A\": 1,}")]).1, ["1:2 d.json:1:9: it is no JSON"]);
    }

    #[test]
    fn dotenv_and_json_are_read_and_a_later_file_wins() {
        let first = "TAG=1.4.2\nCOMMIT='ab $c'\nWHERE=${GROUP}-$TAG\n";
        let (found, problems) =
            read_files(&[("a.env", first), ("b.json", "{\"TAG\": \"1.5\",\n\t\"COUNT\": 3, \"DEBUG\": true}")]);
        assert!(problems.is_empty(), "{problems:?}");
        let found: Vec<_> = found.iter().map(|(name, value)| (name.as_str(), value.reveal())).collect();
        let wanted = [("COMMIT", "ab $c"), ("COUNT", "3"), ("DEBUG", "true"), ("TAG", "1.5"), ("WHERE", "prod-1.4.2")];
        assert_eq!(found, wanted);
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "[\\[{}\",: A-C1\n\té]{0,60}") {
            let _ = json("f.json", &text);
        }
    }
}
