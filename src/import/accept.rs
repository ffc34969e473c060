//! Whether `check` takes an option as it is about to be written.

use std::path::Path;

use serde_yaml::{Mapping, Value};

use crate::config::pending::Pending;
use crate::config::problem::{Problems, Severity};
use crate::config::secrets::Definitions;
use crate::config::service::{ParseContext, Service, parse};
use crate::config::yaml::Node;

/// Why it is refused, and what to write instead.
pub(super) type Refusal = (String, String);

/// One key with its value.
pub(super) fn accept(key: &str, value: &Value) -> Result<(), Refusal> {
    let mut options = Mapping::from_iter([(Value::from(key), value.clone())]);
    if key == "memswap_limit" {
        // It is the sum of memory and swap, and means nothing without the other one.
        options.insert("mem_limit".into(), "6m".into());
    }
    service(&Value::Mapping(options)).map(drop)
}

/// A whole `container:`, without its image.
pub(super) fn service(options: &Value) -> Result<Service, Refusal> {
    let unreadable = |why: String| (why, String::new());
    let text = serde_yaml::to_string(options).map_err(|error| unreadable(error.to_string()))?;
    let node = Node::parse(&text).map_err(|error| unreadable(error.to_string()))?;
    let (problems, pending) = (Problems::new(), Pending::default());
    let around = ParseContext {
        bundle_root: Path::new("/"),
        lookup: &|_| None,
        pending: &pending,
        secrets: &Definitions::new(),
    };
    let service = parse(&node, "container", &around, &problems);
    let first = problems.sorted().into_iter().find(|problem| problem.severity == Severity::Error);
    match first {
        None => Ok(service),
        Some(problem) => Err((problem.message, problem.help.unwrap_or_default())),
    }
}
