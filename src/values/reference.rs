//! Image references: `[host[:port]/]path[:tag][@digest]`.
//!
//! Source: the reference grammar of the distribution project and Docker's familiar names.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::values::types::{ContentDigest, Refused, through_text};

/// Longest `host/path`, in bytes.
const MAX_NAME: usize = 255;

/// Longest tag, in bytes.
const MAX_TAG: usize = 128;

/// A reference that an engine accepts.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ImageReference {
    host: Option<String>,
    path: String,
    tag: Option<String>,
    digest: Option<ContentDigest>,
}

/// Tags that are pushed again and again.
const MOVING: [&str; 19] = [
    "latest", "stable", "edge", "nightly", "main", "master", "develop", "dev", "trunk", "head", "next", "canary",
    "lts", "mainline", "current", "snapshot", "rolling", "prod", "staging",
];

impl ImageReference {
    /// The registry's host with its port; `docker.io` where the reference names none.
    pub(crate) fn registry(&self) -> &str {
        self.host.as_deref().unwrap_or("docker.io")
    }

    /// `host/path`, without tag and digest, as it was written.
    pub(crate) fn repository(&self) -> String {
        match &self.host {
            Some(host) => format!("{host}/{}", self.path),
            None => self.path.clone(),
        }
    }

    /// The same with everything that was left out, as the engine completes it: `docker.io/library/web` for `web`.
    pub(crate) fn whole_repository(&self) -> String {
        let host = self.registry().to_lowercase();
        let host = if host == "index.docker.io" { "docker.io" } else { &host };
        let library = if host == "docker.io" && !self.path.contains('/') { "library/" } else { "" };
        format!("{host}/{library}{}", self.path)
    }

    pub(crate) fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    pub(crate) const fn digest(&self) -> Option<&ContentDigest> {
        self.digest.as_ref()
    }

    /// No digest, and no tag but `latest`: it means another image every other day.
    pub(crate) fn is_floating(&self) -> bool {
        let moves = |tag: &str| MOVING.contains(&tag.to_lowercase().as_str()) || tag.starts_with("latest-");
        self.digest.is_none() && self.tag.as_deref().is_none_or(moves)
    }
}

impl FromStr for ImageReference {
    type Err = Refused;

    fn from_str(text: &str) -> Result<Self, Refused> {
        let (name, digest) = match text.split_once('@') {
            Some((name, digest)) => {
                (name, Some(digest.parse().map_err(|Refused(why)| Refused(format!("has a digest that {why}")))?))
            }
            None => (text, None),
        };
        let last = name.rfind('/').map_or(0, |slash| slash + 1);
        let (name, tag) = match name[last..].find(':') {
            Some(colon) => (&name[..last + colon], Some(checked_tag(&name[last + colon + 1..])?)),
            None => (name, None),
        };
        let (host, path) = split_host(name);
        if let Some(host) = host {
            check_host(host)?;
        }
        check_path(path)?;
        if name.len() > MAX_NAME {
            return Err(Refused(format!("has a name of {} bytes; at most {MAX_NAME} are allowed", name.len())));
        }
        if host.is_none() && digest.is_none() && tag.is_none() && is_hex(path) {
            return Err(Refused("is an image ID, not a reference: write it as `id:` beside `archive:`".into()));
        }
        Ok(Self { host: host.map(str::to_owned), path: path.to_owned(), tag, digest })
    }
}

/// The first part is a host when it has a dot or a colon, or is `localhost`, or has capitals.
fn split_host(name: &str) -> (Option<&str>, &str) {
    match name.split_once('/') {
        Some((first, rest)) if first.contains(['.', ':', '[']) || first == "localhost" || has_capitals(first) => {
            (Some(first), rest)
        }
        _ => (None, name),
    }
}

fn has_capitals(text: &str) -> bool {
    text.bytes().any(|letter| letter.is_ascii_uppercase())
}

fn is_hex(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|letter| matches!(letter, b'0'..=b'9' | b'a'..=b'f'))
}

fn check_host(host: &str) -> Result<(), Refused> {
    let (name, port) = match host.rsplit_once(':') {
        Some((name, port)) if !port.ends_with(']') => (name, Some(port)),
        _ => (host, None),
    };
    if port.is_some_and(|port| port.parse::<u16>().is_err()) {
        return Err(Refused(format!("has a registry `{host}` with a bad port")));
    }
    let v6 = name.strip_prefix('[').and_then(|name| name.strip_suffix(']'));
    let good = match v6 {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => name.split('.').all(|part| {
            !part.is_empty()
                && !part.starts_with('-')
                && !part.ends_with('-')
                && part.bytes().all(|letter| letter.is_ascii_alphanumeric() || letter == b'-')
        }),
    };
    if good { Ok(()) } else { Err(Refused(format!("has a bad registry name `{host}`"))) }
}

fn check_path(path: &str) -> Result<(), Refused> {
    if path.is_empty() {
        return Err(Refused("names no image".into()));
    }
    if has_capitals(path) {
        return Err(Refused(format!("has capitals in `{path}`: write `{}`", path.to_lowercase())));
    }
    match path.split('/').find(|part| !is_component(part)) {
        None => Ok(()),
        Some(part) => Err(Refused(format!(
            "has a bad part `{part}`: lower-case letters and digits, separated by `.`, `_`, `__` or `-`"
        ))),
    }
}

/// `[a-z0-9]+` parts separated by one dot, one or two underscores, or dashes.
fn is_component(part: &str) -> bool {
    let is_letter = |letter: &u8| letter.is_ascii_lowercase() || letter.is_ascii_digit();
    let bytes = part.as_bytes();
    let ends = bytes.first().is_some_and(is_letter) && bytes.last().is_some_and(is_letter);
    let separators = part.split(|letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit());
    ends && separators
        .filter(|run| !run.is_empty())
        .all(|run| matches!(run, "." | "_" | "__") || run.bytes().all(|letter| letter == b'-'))
}

fn checked_tag(tag: &str) -> Result<String, Refused> {
    let is_word = |letter: u8| letter.is_ascii_alphanumeric() || letter == b'_';
    let good = tag.bytes().next().is_some_and(is_word)
        && tag.bytes().all(|letter| is_word(letter) || matches!(letter, b'.' | b'-'))
        && tag.len() <= MAX_TAG;
    match good {
        true => Ok(tag.to_owned()),
        false if tag.is_empty() => Err(Refused("has an empty tag behind `:`".into())),
        false => Err(Refused(format!("has a bad tag `{tag}`: letters, digits, `_`, `.` and `-`, at most {MAX_TAG}"))),
    }
}

impl fmt::Display for ImageReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.repository())?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        match &self.digest {
            Some(digest) => write!(f, "@{digest}"),
            None => Ok(()),
        }
    }
}

through_text!(ImageReference);

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    fn why(text: &str) -> String {
        text.parse::<ImageReference>().unwrap_err().0
    }

    #[test]
    fn a_reference_that_no_engine_takes_is_refused_with_what_to_write() {
        assert_eq!(why("Web:1"), "has capitals in `Web`: write `web`");
        assert_eq!(why("web:"), "has an empty tag behind `:`");
        assert!(why("web:a b").contains("bad tag `a b`"));
        assert!(why("web@sha256:12").contains("has a digest that must be `sha256:` and 64 digits"));
        assert!(why(&"a".repeat(64)).contains("is an image ID"));
        assert!(why("web/").contains("bad part ``"));
        assert!(why("").contains("names no image"));
        assert!(why("a..b/c").contains("bad registry name"));
        assert!(why("host:port/web").contains("bad port"));
    }

    #[test]
    fn the_registry_is_the_first_part_when_it_looks_like_a_host() {
        for (text, registry, repository, tag) in [
            ("web", "docker.io", "web", None),
            ("team/web:1.4.2", "docker.io", "team/web", Some("1.4.2")),
            ("localhost/web", "localhost", "localhost/web", None),
            ("registry.test:5443/a/b:x", "registry.test:5443", "registry.test:5443/a/b", Some("x")),
            ("[::1]:5000/web:1", "[::1]:5000", "[::1]:5000/web", Some("1")),
        ] {
            let reference: ImageReference = text.parse().unwrap();
            let seen = (reference.registry().to_owned(), reference.repository(), reference.tag().map(str::to_owned));
            assert_eq!(seen, (registry.to_owned(), repository.to_owned(), tag.map(str::to_owned)), "{text}");
        }
    }

    #[test]
    fn a_reference_with_a_digest_or_a_version_does_not_float() {
        let digest = ContentDigest::of(b"x");
        let floats = |text: &str| text.parse::<ImageReference>().unwrap().is_floating();
        assert!(floats("web") && floats("web:latest"));
        assert!(floats("web:Main") && floats("web:latest-alpine"));
        assert!(!floats("web:1.4-stable") && !floats("web:1") && !floats(&format!("web:latest@{digest}")));
    }

    proptest! {
        #[test]
        fn what_is_accepted_is_printed_as_it_was_written(text in "[a-zA-Z0-9./:@_-]{0,60}") {
            if let Ok(reference) = text.parse::<ImageReference>() {
                prop_assert_eq!(reference.to_string(), text);
            }
        }

        #[test]
        fn no_text_makes_it_panic(text in any::<String>()) {
            let _ = text.parse::<ImageReference>();
        }
    }
}
