//! What an IAM policy allows, as far as ours go: Allow and Deny of actions on resources.

use serde_json::Value;

use super::world::repository;

/// One of `packaging/iam`, with the tests' names in the place of its own.
pub struct Policy(Vec<Value>);

/// An action on a resource.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Need {
    pub action: String,
    pub resource: String,
}

impl Need {
    pub fn new(action: &str, resource: impl Into<String>) -> Self {
        Self { action: action.into(), resource: resource.into() }
    }
}

impl std::fmt::Display for Need {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.action, self.resource)
    }
}

impl Policy {
    /// `instance.json` or `ci.json`, filled in as `docs/src/iam.md` says: `releases` has the archives, `name` is deployed.
    pub fn read(file: &str, releases: &str, name: &str) -> Self {
        let text = std::fs::read_to_string(repository().join("packaging/iam").join(file)).unwrap();
        let own = [("REGION", "eu-west-1"), ("ACCOUNT", "123456789012"), ("SECRETS", "secrets")];
        let own = own.into_iter().chain([("RELEASES", releases), ("web", name)]);
        Self::parse(&own.fold(text, |text, (from, to)| text.replace(from, to)))
    }

    pub fn parse(text: &str) -> Self {
        let policy: Value = serde_json::from_str(text).unwrap();
        let statements = policy["Statement"].as_array().unwrap().clone();
        for statement in &statements {
            let known = ["Sid", "Effect", "Action", "Resource", "Condition"];
            let unknown = statement.as_object().unwrap().keys().find(|key| !known.contains(&key.as_str()));
            assert_eq!(unknown, None, "this element of a statement is not understood here: {statement}");
        }
        Self(statements)
    }

    /// The statement that allows this, by its `Sid`; nothing where none does or one denies it.
    pub fn allows(&self, need: &Need) -> Option<&str> {
        // What a condition looks at is not known here: one that allows may not hold, one that denies may.
        let denies = |statement: &&Value| statement["Effect"] == "Deny" && covers(statement, need);
        let allows = |statement: &&Value| {
            statement["Effect"] == "Allow" && statement["Condition"].is_null() && covers(statement, need)
        };
        let allowed = self.0.iter().find(allows).filter(|_| !self.0.iter().any(|statement| denies(&statement)));
        allowed.map(|statement| statement["Sid"].as_str().unwrap_or("a statement without a name"))
    }

    /// Every statement's name with each of its actions.
    pub fn actions(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().flat_map(|statement| {
            texts(&statement["Action"]).into_iter().map(|action| (statement["Sid"].as_str().unwrap(), action))
        })
    }
}

fn texts(value: &Value) -> Vec<&str> {
    match value {
        Value::Array(all) => all.iter().map(|one| one.as_str().unwrap()).collect(),
        one => vec![one.as_str().unwrap()],
    }
}

fn covers(statement: &Value, need: &Need) -> bool {
    let action = need.action.to_lowercase();
    let has_action = texts(&statement["Action"]).iter().any(|pattern| fits(&pattern.to_lowercase(), &action));
    has_action && texts(&statement["Resource"]).iter().any(|pattern| fits(pattern, &need.resource))
}

/// `*` is any text of one segment between colons, and of all that follow where the pattern's segment ends with it; `?` is
/// one letter of a segment.
///
/// Source: IAM User Guide, JSON policy elements: Action (its case does not matter) and Resource (its case does).
fn fits(pattern: &str, text: &str) -> bool {
    let Some(first) = pattern.chars().next() else { return text.is_empty() };
    let rest = &pattern[first.len_utf8()..];
    let next = text.chars().next();
    let after = |letter: char| &text[letter.len_utf8()..];
    match (first, next) {
        ('*', _) if fits(rest, text) => true,
        ('*', Some(letter)) => {
            (letter != ':' || rest.is_empty() || rest.starts_with(':')) && fits(pattern, after(letter))
        }
        ('?', Some(letter)) => letter != ':' && fits(rest, after(letter)),
        (_, Some(letter)) => letter == first && fits(rest, after(letter)),
        (_, None) => false,
    }
}
