//! What a policy allows of one kind: how it is written, and whether it covers a value.

use crate::config::field::Field;
use crate::config::keys::Keys;
use crate::config::policy::demand::Subject;
use crate::config::policy::paths::{is_within, resolved};
use crate::config::verify::KMS;
use crate::config::yaml::Place;
use crate::values::reference::ImageReference;
use crate::values::severity::LIMITS;
use crate::values::types::{Refused, S3Uri};

/// The namespaces that a host has.
const NAMESPACES: [&str; 6] = ["network", "pid", "ipc", "uts", "cgroup", "userns"];

/// How an image may be verified.
const WAYS: [&str; 3] = ["cosign", "signature", "sha256"];

/// What is allowed of one kind; nothing where the list is empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rule {
    pub(crate) subject: Subject,
    pub(crate) place: Place,
    pub(crate) allowed: Vec<Allowed>,
}

/// One entry, as written and as values are compared with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Allowed {
    pub(crate) written: String,
    pattern: Pattern,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Pattern {
    Exact(String),
    /// Whatever begins so.
    Prefix(String),
    /// A path with what is below it.
    Path(String),
}

impl Rule {
    pub(crate) fn covers(&self, value: &str) -> bool {
        self.allowed.iter().any(|allowed| match &allowed.pattern {
            Pattern::Exact(text) => text == value,
            // A program on the way may take `a/../b` for `b`.
            Pattern::Prefix(text) => {
                value.strip_prefix(text).is_some_and(|rest| !rest.split('/').any(|part| part == ".."))
            }
            Pattern::Path(folder) => is_within(value, folder),
        })
    }
}

/// The rule of a kind, where the policy has one: `true` allows everything, as if the key were absent.
pub(super) fn read(keys: &mut Keys<'_, '_>, root: &Field<'_>, subject: Subject) -> Option<Rule> {
    let field = keys.know(subject.key())?;
    let place = root.key(subject.key()).unwrap_or_else(|| field.clone()).node.place;
    let allowed = match subject {
        Subject::Registry => items(&field, registry),
        Subject::Bucket => items(&field, bucket),
        Subject::Mount => items(&field, path),
        Subject::VerifyKey => items(&field, key),
        Subject::Verification => field.items(|item| item.one_of(&WAYS).map(exactly)),
        Subject::Scan => {
            let most = field.one_of(&LIMITS)?;
            let stricter = LIMITS.iter().take_while(|limit| **limit != most).chain([&most]);
            stricter.map(|limit| exactly(limit)).collect()
        }
        Subject::Device => items(&field, device),
        Subject::CapAdd => items(&field, |text| Ok(word(&capability(text)))),
        Subject::SecurityOpt | Subject::CgroupParent | Subject::Runtime | Subject::VolumeDriver => {
            items(&field, |text| Ok(word(text)))
        }
        Subject::HostNamespace => field.items(|item| item.one_of(&NAMESPACES).map(exactly)),
        Subject::ArchiveFile | Subject::Privileged | Subject::OtherContainer | Subject::HostTask => {
            match field.boolean() {
                Some(false) => Vec::new(),
                Some(true) | None => return None,
            }
        }
    };
    Some(Rule { subject, place, allowed })
}

fn exactly(word: &str) -> Allowed {
    Allowed { written: word.to_owned(), pattern: Pattern::Exact(word.to_owned()) }
}

fn items(field: &Field<'_>, pattern: impl Fn(&str) -> Result<Pattern, Refused>) -> Vec<Allowed> {
    field.items(|item| {
        item.parsed(|text| match text {
            "" => Err(Refused("is empty".into())),
            text => Ok(Allowed { written: text.to_owned(), pattern: pattern(text)? }),
        })
    })
}

/// A word, or whatever begins as one that ends with `*`.
fn word(text: &str) -> Pattern {
    match text.strip_suffix('*') {
        Some(start) => Pattern::Prefix(start.to_owned()),
        None => Pattern::Exact(text.to_owned()),
    }
}

/// `NET_ADMIN` is `CAP_NET_ADMIN`, in any case of its letters.
pub(crate) fn capability(text: &str) -> String {
    let name = text.to_uppercase();
    name.strip_prefix("CAP_").unwrap_or(&name).to_owned()
}

fn path(text: &str) -> Result<Pattern, Refused> {
    match text.starts_with('/') && !text.contains('*') {
        true => Ok(Pattern::Path(resolved(text))),
        false => Err(Refused("is no absolute path: write `/srv/app`, which allows what is below it too".into())),
    }
}

/// A path, or a key of KMS as an image names it.
fn key(text: &str) -> Result<Pattern, Refused> {
    if text.starts_with(KMS) { Ok(word(text)) } else { path(text) }
}

fn device(text: &str) -> Result<Pattern, Refused> {
    if text.starts_with('/') { path(text) } else { Ok(word(text)) }
}

/// `host`, `host/team/*` or `host/team/name`.
fn registry(text: &str) -> Result<Pattern, Refused> {
    let is_host = |name: &str| name.contains(['.', ':']) || name == "localhost";
    let below = |repository: &str| format!("{repository}/a/x").parse::<ImageReference>();
    let start = text.strip_suffix("/*").unwrap_or(text);
    match start.contains('/') {
        false if is_host(start) && below(start).is_ok() => {
            return Ok(Pattern::Prefix(format!("{}/", start.to_lowercase())));
        }
        false if start == text => {
            return Err(Refused(format!("is no registry: write `docker.io`, or `docker.io/library/{text}`")));
        }
        _ => {}
    }
    if start.len() < text.len() {
        let whole = below(start)?.whole_repository();
        return Ok(Pattern::Prefix(whole.trim_end_matches("a/x").to_owned()));
    }
    let reference: ImageReference = text.parse()?;
    match reference.tag().is_none() && reference.digest().is_none() {
        true => Ok(Pattern::Exact(reference.whole_repository())),
        false => Err(Refused("names one image: leave the tag and the digest out".into())),
    }
}

/// `bucket`, `bucket/prefix*` or `bucket/key`.
fn bucket(text: &str) -> Result<Pattern, Refused> {
    let parsed = |key: &str| format!("s3://{key}").parse::<S3Uri>().ok().filter(|uri| uri.version().is_none());
    let start = text.strip_suffix('*').unwrap_or(text);
    let pattern = match (parsed(&format!("{start}/x")), start.len() < text.len()) {
        _ if start.contains('*') || start.contains("://") => None,
        (Some(uri), false) if uri.bucket() == text => Some(Pattern::Prefix(format!("{text}/"))),
        (_, false) => parsed(text).map(|_| Pattern::Exact(text.to_owned())),
        (_, true) => parsed(&format!("{start}x")).map(|_| Pattern::Prefix(start.to_owned())),
    };
    pattern.ok_or_else(|| Refused("is no bucket: write `name`, `name/prefix*` or `name/key`".into()))
}
