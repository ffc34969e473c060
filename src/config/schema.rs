//! The JSON schema of `appspec.yml`, for editors: which keys there are, and what a value looks like.
//!
//! Its keys are those that the readers know: a test asks them. A value may always be a text, because `${VAR}` is one.

use clap::ValueEnum as _;
use serde_json::{Map, Value, json};

use crate::config::notify::OCCASIONS;
use crate::config::secrets::KEYS as DEFINITION;
use crate::config::validate::agent::BEHAVIORS;
use crate::config::validate::section::{KEYS, MODES};
use crate::config::{service, swarm};
use crate::values::severity::LIMITS;
use crate::values::types::LifecycleEvent;

/// The page with a line for each option: what an editor shows beside it.
const OPTIONS: &str = include_str!("../../docs/src/options.md");

/// The whole file.
pub(crate) fn schema() -> Value {
    json!({
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "appspec.yml of AWS CodeDeploy for EC2, with the section of balehook",
        "type": "object",
        "required": ["version", "os"],
        "properties": {
            "version": {"const": 0.0},
            "os": {"enum": ["linux"]},
            "file_exists_behavior": {"enum": BEHAVIORS},
            "files": list(json!({
                "type": "object",
                "required": ["source", "destination"],
                "properties": {"source": {"type": "string"}, "destination": {"type": "string", "pattern": "^/"}},
            })),
            "permissions": list(json!({"type": "object", "required": ["object"]})),
            "hooks": hooks(),
            "x-balehook": section(),
        },
    })
}

fn hooks() -> Value {
    let entry = json!({
        "type": "object",
        "required": ["location"],
        "properties": {
            "location": {"type": "string"},
            "timeout": {"type": "integer", "minimum": 1, "maximum": 3600},
            "runas": {"type": "string"},
            "sudo": {"type": "boolean"},
        },
    });
    let events = LifecycleEvent::value_variants().iter();
    let events = events.map(|event| (event.to_string(), nullable(list(entry.clone()))));
    json!({
        "type": ["object", "null"],
        "properties": events.collect::<Map<_, _>>(),
        "additionalProperties": false,
    })
}

/// `x-balehook`.
pub(crate) fn section() -> Value {
    let types = |key: &str| match key {
        "name" => json!({"type": "string", "description": "the container's, project's or service's name"}),
        "variables" => text_or_list(),
        "secrets" => nullable(secrets()),
        "container" => container(),
        "swarm" => swarm_service(),
        "compose" => compose(),
        "health" => nullable(health()),
        "keep" => json!({"type": ["integer", "string"], "description": "releases whose images stay for a rollback"}),
        "notify" => nullable(list(notify())),
        _ => nullable(list(task())),
    };
    let mut section = object(KEYS.map(|key| (key, types(key))));
    section["required"] = json!(["name"]);
    section["oneOf"] = MODES.iter().map(|mode| json!({"required": [mode]})).collect();
    section
}

fn secrets() -> Value {
    let types = |key: &str| if key == "external" { boolean() } else { text() };
    let each = json!({"anyOf": [object(DEFINITION.map(|key| (key, types(key)))), source()]});
    json!({"type": "object", "additionalProperties": each, "description": "where secrets come from, by name"})
}

fn container() -> Value {
    let mut container = object(service::keys().into_iter().map(|key| (key, described(key, option(key)))));
    container["required"] = json!(["image"]);
    container
}

fn swarm_service() -> Value {
    let of_swarm = |key: &str| match key {
        "deploy" => deploy(),
        "init" => boolean(),
        _ => option(key),
    };
    let describe = |key: &'static str| match key {
        "init" => of_swarm(key),
        _ => described(key, of_swarm(key)),
    };
    let mut service = object(swarm::keys().into_iter().map(|key| (key, describe(key))));
    service["required"] = json!(["image"]);
    service
}

fn compose() -> Value {
    nullable(object([
        ("files", texts()),
        ("profiles", texts()),
        ("services", texts()),
        ("environment", environment()),
        ("env_file", texts()),
        ("images", nullable(json!({"type": "object", "additionalProperties": image()}))),
        ("directory", text()),
        ("wait_timeout", text()),
    ]))
}

fn health() -> Value {
    object([
        ("http", request()),
        ("grpc", grpc()),
        ("tcp", json!({"type": "string", "description": "`:PORT` or `ADDRESS:PORT` that must accept"})),
        ("timeout", json!({"type": "string", "description": "how long it may take; 60s by default"})),
        ("interval", text()),
        ("stable_for", json!({"type": "string", "description": "how long it must stay healthy"})),
        ("successes", number()),
    ])
}

fn request() -> Value {
    let meaning = "a path of the first published port, or a whole address";
    json!({"description": meaning, "oneOf": [{"type": "string"}, object([
        ("path", text()),
        ("url", text()),
        ("scheme", words(&["http", "https"])),
        ("port", number()),
        ("host", json!({"type": "string", "description": "the Host header, and the name of the certificate"})),
        ("headers", any_object()),
        ("method", words(&["GET", "HEAD"])),
        ("status", json!({"type": ["integer", "string", "array"], "items": {"type": ["integer", "string"]}})),
        ("body", json!({"type": "string", "description": "what the answer must have in it"})),
        ("ca", json!({"type": "string", "description": "a file of the bundle: the authority's certificate in PEM"})),
        ("insecure", boolean()),
    ])]})
}

fn grpc() -> Value {
    let meaning = "the port of a server with grpc.health.v1.Health";
    json!({"description": meaning, "oneOf": [{"type": ["integer", "string"]}, object([
        ("port", number()),
        ("service", text()),
        ("host", text()),
        ("tls", boolean()),
        ("ca", text()),
        ("insecure", boolean()),
    ])]})
}

fn task() -> Value {
    object([
        ("name", text()),
        ("run", text_or_list()),
        ("service", text()),
        ("image", image()),
        ("command", text_or_list()),
        ("entrypoint", text_or_list()),
        ("user", text()),
        ("environment", environment()),
        ("timeout", text()),
        ("required", boolean()),
    ])
}

fn notify() -> Value {
    let mut notify = object([
        ("on", list(json!({"enum": OCCASIONS}))),
        ("command", text_or_list()),
        ("webhook", text()),
        ("headers", json!({"type": "object"})),
        ("sns", text()),
    ]);
    notify["required"] = json!(["on"]);
    notify
}

fn image() -> Value {
    json!({"oneOf": [{"type": "string"}, object([
        ("archive", text()),
        ("reference", text()),
        ("id", text()),
        ("pull", json!({"type": "string"})),
        ("definitions", text()),
        ("name", text()),
        ("wait", json!({"type": "string", "description": "how long an image is waited for that the registry does not have yet"})),
        ("verify", verify()),
    ])]})
}

/// Texts, and values that are fetched.
fn environment() -> Value {
    json!({"type": ["object", "array", "null"], "additionalProperties": {"anyOf": [scalar(), source()]}, "items": {"type": "string"}})
}

/// Where a value that is fetched lies.
fn source() -> Value {
    object([
        ("ssm", text()),
        ("secretsmanager", text()),
        ("key", text()),
        ("version", text()),
        ("s3", text()),
        ("kms", text()),
        ("context", any_object()),
        ("command", list(scalar())),
    ])
}

fn verify() -> Value {
    object([
        (
            "sha256",
            json!({"type": "string", "description": "the archive's digest, or a file as `sha256sum` writes it"}),
        ),
        ("signature", json!({"type": "string", "description": "of the archive: of cosign, openssl or minisign"})),
        ("key", json!({"type": "string", "description": "the public key that signed the archive"})),
        ("cosign", object([("key", text())])),
        (
            "ecr",
            json!({
                "description": "what the scan of ECR may have found",
                "type": "object",
                "properties": {"max_severity": words(&LIMITS), "wait": text()},
                "required": ["max_severity"],
                "additionalProperties": false,
            }),
        ),
        ("labels", json!({"type": ["object", "array"]})),
        ("platform", text()),
    ])
}

/// What the value of an option looks like.
fn option(key: &str) -> Value {
    match key {
        "image" => image(),
        "command" | "entrypoint" => text_or_list(),
        "environment" => environment(),
        "labels" | "annotations" | "sysctls" | "extra_hosts" | "storage_opt" => pairs(),
        "healthcheck" => healthcheck(),
        "logging" => object([("driver", text()), ("options", any_object())]),
        "update_config" => object([("order", words(&["stop-first", "start-first"])), ("drain", text())]),
        "deploy" => object([("resources", any_object())]),
        "init" | "init_process" | "with_registry_auth" | "tty" | "stdin_open" | "read_only" | "privileged"
        | "oom_kill_disable" => boolean(),
        "cap_add" | "cap_drop" | "group_add" | "security_opt" | "device_cgroup_rules" | "dns_opt" | "expose" => {
            list(scalar())
        }
        "env_file" => json!({"type": ["string", "array"], "items": {"type": ["string", "object"]}}),
        "dns" | "dns_search" | "tmpfs" => texts(),
        "ports" | "volumes" | "devices" | "secrets" | "configs" => {
            nullable(list(json!({"type": ["string", "integer", "number", "object"]})))
        }
        "networks" => json!({"type": ["object", "array", "null"]}),
        "ulimits" | "blkio_config" => any_object(),
        "gpus" => json!({"type": ["string", "array", "integer"]}),
        _ => scalar(),
    }
}

fn healthcheck() -> Value {
    object([
        ("test", text_or_list()),
        ("interval", text()),
        ("timeout", text()),
        ("retries", number()),
        ("start_period", text()),
        ("start_interval", text()),
        ("disable", boolean()),
    ])
}

fn deploy() -> Value {
    let rollout = || {
        let order = words(&["start-first", "stop-first"]);
        let names = ["parallelism", "delay", "monitor", "failure_action", "max_failure_ratio"];
        object(names.map(|name| (name, scalar())).into_iter().chain([("order", order)]))
    };
    object([
        ("mode", words(&["replicated", "global"])),
        ("replicas", number()),
        ("labels", pairs()),
        ("update_config", rollout()),
        ("rollback_config", rollout()),
        ("restart_policy", object(["condition", "delay", "max_attempts", "window"].map(|name| (name, scalar())))),
        ("placement", any_object()),
        ("resources", object([("limits", any_object()), ("reservations", any_object())])),
        ("endpoint_mode", words(&["vip", "dnsrr"])),
    ])
}

/// The meaning and the example that the page of options has.
fn described(key: &str, mut value: Value) -> Value {
    let row = OPTIONS.lines().find(|line| line.starts_with(&format!("| `{key}` |")));
    let cells: Vec<&str> = row.unwrap_or_default().trim_matches('|').split(" | ").map(str::trim).collect();
    if let [_, example, _, meaning] = cells[..] {
        value["description"] = json!(format!("{}; as in {example}", without_links(meaning)));
    }
    value
}

/// `[text](target)` as `text`.
fn without_links(text: &str) -> String {
    let mut parts = text.split("](");
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        plain.push_str(part.split_once(')').map_or(part, |(_, rest)| rest));
    }
    plain.replace('[', "")
}

/// A mapping of these keys alone, and of keys that begin with `x-`.
fn object<'a>(keys: impl IntoIterator<Item = (&'a str, Value)>) -> Value {
    let properties: Map<String, Value> = keys.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
    json!({"type": "object", "properties": properties, "patternProperties": {"^x-": {}}, "additionalProperties": false})
}

fn any_object() -> Value {
    json!({"type": "object"})
}

fn nullable(mut value: Value) -> Value {
    value["type"] = json!([value["type"], "null"]);
    value
}

fn list(item: Value) -> Value {
    json!({"type": "array", "items": item})
}

fn text() -> Value {
    json!({"type": "string"})
}

fn number() -> Value {
    json!({"type": ["integer", "string"]})
}

fn boolean() -> Value {
    json!({"type": ["boolean", "string"]})
}

fn scalar() -> Value {
    json!({"type": ["string", "number", "boolean", "null"]})
}

fn texts() -> Value {
    json!({"type": ["string", "array"], "items": {"type": "string"}})
}

fn text_or_list() -> Value {
    json!({"type": ["string", "array", "null"], "items": scalar()})
}

fn pairs() -> Value {
    json!({"type": ["object", "array", "null"], "additionalProperties": scalar(), "items": {"type": "string"}})
}

/// One of these, or a variable.
fn words(known: &[&str]) -> Value {
    json!({"anyOf": [{"enum": known}, {"type": "string", "pattern": "\\$"}]})
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::config::validate::tests::{GOOD, check};

    /// Every mapping below `value` whose keys are listed, by its path from `x-balehook`; of a list its items' too.
    fn mappings(value: &Value, path: &str, found: &mut Vec<(String, Vec<String>)>) {
        if let Some(keys) = value["properties"].as_object().filter(|_| value["additionalProperties"] == false) {
            found.push((path.to_owned(), keys.keys().cloned().collect()));
        }
        for (key, inner) in value["properties"].as_object().into_iter().flatten() {
            mappings(inner, &format!("{path}.{key}"), found);
        }
        for inner in value["oneOf"].as_array().into_iter().flatten() {
            mappings(inner, path, found);
        }
        if value["items"].is_object() {
            mappings(&value["items"], &format!("{path}[]"), found);
        }
    }

    /// The keys that the reader of that mapping knows: it lists them where one is unknown.
    fn known(path: &str) -> Vec<String> {
        let inside = path.trim_start_matches('.').rsplit('.').filter(|key| !key.is_empty()).fold(
            "{qqqqqqqqqqqqqqqqqqqqqqqqqqqq: 1}".to_owned(),
            |inner, key| match key.strip_suffix("[]") {
                Some(key) => format!("{{{key}: [{inner}]}}"),
                None => format!("{{{key}: {inner}}}"),
            },
        );
        let (head, _) = GOOD.split_once("x-balehook:").unwrap();
        let checked = check(&format!("{head}x-balehook: {inside}\n"));
        let all = checked.problems.sorted();
        let help = all
            .into_iter()
            .find(|problem| problem.message.starts_with("unknown key `qqq"))
            .and_then(|problem| problem.help);
        let help = help.unwrap_or_else(|| panic!("{path}: {inside}: {:?}", checked.problems));
        help.trim_start_matches("known keys: ").split(", ").map(str::to_owned).collect()
    }

    #[test]
    fn every_mapping_has_the_keys_that_its_reader_knows_and_no_others() {
        let mut found = Vec::new();
        mappings(&section(), "", &mut found);
        assert!(found.len() > 15, "{found:?}");
        for (path, mut keys) in found {
            let mut known = known(&path);
            known.sort_unstable();
            keys.sort_unstable();
            assert_eq!(keys, known, "{path}");
        }
    }

    #[test]
    fn every_option_has_its_meaning_from_the_page() {
        let container = container();
        for (key, value) in container["properties"].as_object().unwrap() {
            let text = value["description"].as_str().unwrap_or_else(|| panic!("{key}"));
            assert!(text.len() > 10 && !text.contains("]("), "{key}: {text}");
        }
    }
}
