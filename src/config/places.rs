//! Where values of the section stand in `appspec.yml`, for what only the host can find wrong with them.

use crate::config::yaml::{Node, Place, Value};

/// Keys whose values are looked for on the host or elsewhere.
const KEYS: [&str; 12] = [
    "image", "images", "env_file", "networks", "ports", "secrets", "configs", "files", "directory", "compose",
    "security_opt", "placement",
];

/// Keys of a value that is fetched: of `environment` nothing else is looked for.
const SOURCES: [&str; 5] = ["ssm", "secretsmanager", "s3", "kms", "command"];

/// Every value and name below such a key.
#[derive(Debug, Clone, Default)]
pub(crate) struct Places {
    /// `appspec.yml`.
    file: String,
    found: Vec<(Vec<String>, String, Place)>,
}

impl Places {
    pub(crate) fn of(file: &str, section: &Node) -> Self {
        let mut places = Self { file: file.to_owned(), found: Vec::new() };
        places.collect(section, &mut Vec::new());
        places
    }

    fn collect(&mut self, node: &Node, path: &mut Vec<String>) {
        match &node.value {
            Value::Scalar { text, .. } => self.add(path, text, node.place),
            Value::Sequence(items) => items.iter().for_each(|item| self.collect(item, path)),
            Value::Mapping(entries) => {
                for (key, value) in entries {
                    let name = key.as_text().unwrap_or_default().to_owned();
                    path.push(name.clone());
                    self.add(path, &name, key.place);
                    self.collect(value, path);
                    path.pop();
                }
            }
            Value::Alias => {}
        }
    }

    fn add(&mut self, path: &[String], text: &str, place: Place) {
        let of_source = || path.last().is_some_and(|last| SOURCES.contains(&last.as_str()) && path.len() > 2);
        let is_fetched = path.iter().any(|key| key == "environment") && of_source();
        if is_fetched || path.iter().any(|key| KEYS.contains(&key.as_str())) {
            self.found.push((path.to_vec(), text.to_owned(), place));
        }
    }

    /// The first value below one of `keys` that is meant, as `appspec.yml:12:5`.
    pub(crate) fn find(&self, keys: &[&str], is_meant: impl Fn(&str) -> bool) -> Option<String> {
        let is_below = |path: &[String]| path.iter().any(|key| keys.contains(&key.as_str()));
        let (.., place) = self.found.iter().find(|(path, text, _)| is_below(path) && is_meant(text))?;
        Some(format!("{}:{place}", self.file))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECTION: &str = "container:\n  image: {archive: a.tar}\n  env_file:\n  - {path: web.env}\n  - two.env\n  \
                           networks: {front: {aliases: [web]}}\n  environment: {PASSWORD: front}\n";

    #[test]
    fn a_value_is_found_by_its_key_and_no_value_of_another_key_is_kept() {
        let places = Places::of("appspec.yml", &Node::parse(SECTION).unwrap_or_else(|error| panic!("{error:?}")));
        let find = |key, value: &str| places.find(&[key], |text| text == value);
        assert_eq!(find("image", "a.tar").as_deref(), Some("appspec.yml:2:20"));
        assert_eq!(find("env_file", "web.env").as_deref(), Some("appspec.yml:4:12"));
        assert_eq!(find("env_file", "two.env").as_deref(), Some("appspec.yml:5:5"));
        assert_eq!(find("networks", "front").as_deref(), Some("appspec.yml:6:14"));
        assert_eq!(find("env_file", "a.tar"), None);
        assert!(!format!("{places:?}").contains("PASSWORD"));
    }
}
