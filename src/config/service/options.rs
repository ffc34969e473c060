//! What the process is: command, environment, user, labels, log, health.

use std::path::{Component, Path};

use bollard::models::{
    HealthConfig, HostConfig, HostConfigCgroupnsModeEnum, HostConfigLogConfig, RestartPolicy, RestartPolicyNameEnum,
};

use crate::config::ArchiveLocation;
use crate::config::service::read::Field;
use crate::config::service::{EnvFile, ParseContext, Service};
use crate::config::start_first::{DRAIN, StartFirst};
use crate::config::yaml::Value;
use crate::values::labels::LABELS;
use crate::values::types::{EnvVar, Refused, Secret};

/// What a seccomp profile's path, or the profile itself, stands behind.
pub(crate) const SECCOMP: &str = "seccomp=";

/// Signals of Linux by name, without `SIG`; real-time signals and numbers are accepted beside them.
const SIGNALS: &[&str] = &[
    "ABRT", "ALRM", "BUS", "CHLD", "CONT", "FPE", "HUP", "ILL", "INT", "IO", "KILL", "PIPE", "PROF", "PWR", "QUIT",
    "SEGV", "STKFLT", "STOP", "SYS", "TERM", "TRAP", "TSTP", "TTIN", "TTOU", "URG", "USR1", "USR2", "VTALRM", "WINCH",
    "XCPU", "XFSZ",
];

pub(crate) fn read(
    name: &str,
    field: &mut Field<'_, '_>,
    service: &mut Service,
    host: &mut HostConfig,
    around: &ParseContext<'_>,
) -> bool {
    let body = &mut service.body;
    match name {
        "command" => body.cmd = command(field),
        "entrypoint" => body.entrypoint = command(field),
        "environment" => service.environment = environment(field, around),
        "env_file" => service.env_file = env_files(field, around.bundle_root),
        "user" => body.user = field.text(),
        "working_dir" => body.working_dir = absolute(field),
        "hostname" => body.hostname = field.text(),
        "domainname" => body.domainname = field.text(),
        "labels" => body.labels = Some(labels(field)),
        "annotations" => {
            host.annotations = Some(field.map());
            service.needs.push(("annotations", (1, 43)));
        }
        "logging" => host.log_config = logging(field),
        "healthcheck" => healthcheck(field, service),
        "stop_signal" => body.stop_signal = field.parsed(signal),
        "stop_grace_period" => {
            // The engine counts whole seconds: half a second more is better than half a second less.
            let seconds = field.duration().map(|grace| grace.as_secs() + u64::from(grace.subsec_nanos() > 0));
            body.stop_timeout = seconds.and_then(|seconds| i64::try_from(seconds).ok());
        }
        "init" => host.init = field.boolean(),
        "privileged" => host.privileged = field.boolean(),
        "read_only" => host.readonly_rootfs = field.boolean(),
        "stdin_open" => body.open_stdin = field.boolean(),
        "tty" => body.tty = field.boolean(),
        "restart" => host.restart_policy = field.parsed(restart),
        "cap_add" => host.cap_add = Some(field.texts()),
        "cap_drop" => host.cap_drop = Some(field.texts()),
        "security_opt" => security_opt(field, host, around.bundle_root),
        "group_add" => host.group_add = Some(field.texts()),
        "ipc" => host.ipc_mode = field.parsed(|text| namespace(text, &["host", "private", "shareable", "none", ""])),
        "pid" => host.pid_mode = field.parsed(|text| namespace(text, &["host"])),
        "uts" => host.uts_mode = field.one_of(&["host"]),
        "userns_mode" => host.userns_mode = field.one_of(&["host"]),
        "cgroup" => {
            host.cgroupns_mode = field.one_of(&["host", "private"]).map(|mode| match mode.as_str() {
                "host" => HostConfigCgroupnsModeEnum::HOST,
                _ => HostConfigCgroupnsModeEnum::PRIVATE,
            });
        }
        "runtime" => host.runtime = field.text(),
        "platform" => service.platform = field.parsed(platform),
        "sysctls" => host.sysctls = Some(field.map()),
        "storage_opt" => host.storage_opt = Some(field.map()),
        "update_config" => service.start_first = update_config(field),
        _ => return false,
    }
    true
}

/// Null means "not given", as in Compose.
pub(crate) fn command(field: &mut Field<'_, '_>) -> Option<Vec<String>> {
    if field.node.is_null() { None } else { Some(field.command()) }
}

/// `environment`: a name alone takes the hook environment's value.
pub(crate) fn environment(field: &mut Field<'_, '_>, around: &ParseContext<'_>) -> Vec<EnvVar> {
    let pairs = field.pairs().into_iter();
    pairs
        .map(|(name, value)| {
            let value = value.or_else(|| (around.lookup)(&name)).map(Secret::new);
            EnvVar { hidden: false, name, value }
        })
        .collect()
}

fn env_files(field: &mut Field<'_, '_>, root: &Path) -> Vec<EnvFile> {
    match field.node.value {
        Value::Sequence(_) => field.items(|field| match field.node.value {
            Value::Mapping(_) => long_env_file(field, root),
            _ => env_file(field, root),
        }),
        _ => env_file(field, root).into_iter().collect(),
    }
}

fn env_file(field: &mut Field<'_, '_>, root: &Path) -> Option<EnvFile> {
    let location = field.parsed(|text| location(text, root))?;
    Some(EnvFile { location, required: true, raw: false })
}

fn long_env_file(field: &mut Field<'_, '_>, root: &Path) -> Option<EnvFile> {
    let (mut found, mut required, mut raw) = (None, true, false);
    field.known(&["path", "required", "format"], |name, field| {
        match name {
            "path" => found = field.parsed(|text| location(text, root)),
            "required" => required = field.boolean().unwrap_or(true),
            "format" => raw = field.one_of(&["raw"]).is_some(),
            _ => return false,
        }
        true
    });
    match found {
        Some(location) => Some(EnvFile { location, required, raw }),
        None if field.node.get("path").is_some() => None,
        None => field.refuse("`path` is missing", "write `path: env/web.env`"),
    }
}

/// An object in S3, or a file of the bundle or of the host.
///
/// # Errors
/// A path that leaves the bundle.
pub(crate) fn location(text: &str, root: &Path) -> Result<ArchiveLocation, Refused> {
    if text.starts_with("s3://") {
        return text.parse().map(ArchiveLocation::S3);
    }
    let path = Path::new(text);
    if text.is_empty() || path.components().any(|part| part == Component::ParentDir) {
        return Err(Refused("must stay inside the bundle: no `..`, or write an absolute path".into()));
    }
    let inside: std::path::PathBuf = path.components().filter(|part| *part != Component::CurDir).collect();
    Ok(ArchiveLocation::File(root.join(inside)))
}

/// As docker's own command reads them. A seccomp profile's file is named by its path here: its content is what the engine
/// is given. `systempaths=unconfined` is none of the engine's options: it takes two lists of paths away.
fn security_opt(field: &mut Field<'_, '_>, host: &mut HostConfig, root: &Path) {
    let all = field.items(|field| {
        field.parsed(|text| match text.split_once('=').or_else(|| text.split_once(':')) {
            Some(("seccomp", "unconfined" | "builtin")) => Ok(text.to_owned()),
            Some(("seccomp", file)) => match location(file, root)? {
                ArchiveLocation::File(path) => Ok(format!("{SECCOMP}{}", path.display())),
                ArchiveLocation::S3(_) => Err(Refused("must name a file of the bundle or of this host".into())),
            },
            Some((name, value)) if !name.is_empty() && !value.is_empty() => Ok(text.to_owned()),
            None if text == "no-new-privileges" => Ok(text.to_owned()),
            _ => Err(Refused("is no option: write `no-new-privileges:true`, `label=disable` or `seccomp=FILE`".into())),
        })
    });
    let (system, others): (Vec<String>, Vec<String>) =
        all.into_iter().partition(|option| option == "systempaths=unconfined");
    if !system.is_empty() {
        (host.masked_paths, host.readonly_paths) = (Some(Vec::new()), Some(Vec::new()));
    }
    host.security_opt = Some(others);
}

fn absolute(field: &mut Field<'_, '_>) -> Option<String> {
    field.parsed(|text| match text.starts_with('/') {
        true => Ok(text.to_owned()),
        false => Err(Refused("must be an absolute path".into())),
    })
}

pub(crate) fn labels(field: &mut Field<'_, '_>) -> std::collections::HashMap<String, String> {
    let labels = field.map();
    for ours in LABELS {
        if labels.contains_key(ours) {
            field.refuse::<()>(format!("label `{ours}` is set by balehook"), "leave it out");
        }
    }
    labels
}

fn logging(field: &mut Field<'_, '_>) -> Option<HostConfigLogConfig> {
    let mut log = HostConfigLogConfig::default();
    field.known(&["driver", "options"], |name, field| {
        match name {
            "driver" => log.typ = field.text(),
            "options" => log.config = Some(field.map()),
            _ => return false,
        }
        true
    });
    Some(log)
}

/// Source: Compose specification, `healthcheck`; Docker Engine API, `HealthConfig` (0: inherited, else at least 1 ms).
fn healthcheck(field: &mut Field<'_, '_>, service: &mut Service) {
    let mut check = HealthConfig::default();
    let mut disabled = false;
    let needs = &mut service.needs;
    let known = ["test", "interval", "timeout", "retries", "start_period", "start_interval", "disable"];
    field.known(&known, |name, field| {
        match name {
            "test" => check.test = test(field),
            "interval" => check.interval = field.nanoseconds(),
            "timeout" => check.timeout = field.nanoseconds(),
            "retries" => check.retries = field.integer(0),
            "start_period" => check.start_period = field.nanoseconds(),
            "start_interval" => {
                check.start_interval = field.nanoseconds();
                needs.push(("healthcheck.start_interval", (1, 44)));
            }
            "disable" => disabled = field.boolean().unwrap_or(false),
            _ => return false,
        }
        true
    });
    if disabled {
        check = HealthConfig { test: Some(vec!["NONE".into()]), ..HealthConfig::default() };
    }
    service.body.healthcheck = Some(check);
}

fn test(field: &mut Field<'_, '_>) -> Option<Vec<String>> {
    if !matches!(field.node.value, Value::Sequence(_)) {
        return field.text().map(|command| vec!["CMD-SHELL".into(), command]);
    }
    let test = field.texts();
    match test.first().map(String::as_str) {
        Some("NONE") => Some(test),
        Some("CMD" | "CMD-SHELL") if test.len() > 1 => Some(test),
        _ => field.refuse("the list must begin with CMD, CMD-SHELL or NONE", "write `[CMD, /bin/check]` or one text"),
    }
}

fn signal(text: &str) -> Result<String, Refused> {
    let name = text.to_uppercase();
    let name = name.strip_prefix("SIG").unwrap_or(&name);
    let is_number = name.parse::<u8>().is_ok_and(|number| (1..=64).contains(&number));
    match is_number || SIGNALS.contains(&name) || name.starts_with("RTMIN") || name.starts_with("RTMAX") {
        true => Ok(text.to_owned()),
        false => Err(Refused("is no signal: write `SIGTERM`, `SIGQUIT` or a number from 1 to 64".into())),
    }
}

fn restart(text: &str) -> Result<RestartPolicy, Refused> {
    let (name, retries) = text.split_once(':').map_or((text, None), |(name, retries)| (name, Some(retries)));
    let policy = match (name, retries) {
        ("no", None) | ("false", None) => RestartPolicyNameEnum::NO,
        ("always", None) => RestartPolicyNameEnum::ALWAYS,
        ("unless-stopped", None) => RestartPolicyNameEnum::UNLESS_STOPPED,
        ("on-failure", _) => RestartPolicyNameEnum::ON_FAILURE,
        _ => {
            return Err(Refused("is no restart policy: no, always, unless-stopped, on-failure or on-failure:3".into()));
        }
    };
    let retries =
        retries.map(str::parse).transpose().map_err(|_| Refused("needs a whole number behind `on-failure:`".into()))?;
    Ok(RestartPolicy { name: Some(policy), maximum_retry_count: retries })
}

fn namespace(text: &str, known: &[&str]) -> Result<String, Refused> {
    if let Some(other) = text.strip_prefix("service:") {
        return Err(Refused(format!("names a service: write `container:{other}`")));
    }
    match known.contains(&text) || text.strip_prefix("container:").is_some_and(|name| !name.is_empty()) {
        true => Ok(text.to_owned()),
        false => Err(Refused(format!(
            "is not known: write {} or `container:NAME`",
            known.iter().filter(|word| !word.is_empty()).map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ")
        ))),
    }
}

fn platform(text: &str) -> Result<String, Refused> {
    let parts: Vec<&str> = text.split('/').collect();
    let good = (1..=3).contains(&parts.len()) && parts.iter().all(|part| !part.is_empty());
    match good && !parts.contains(&"windows") {
        true => Ok(text.to_owned()),
        false => Err(Refused("is no platform of Linux: write `linux/amd64` or `linux/arm64`".into())),
    }
}

/// Compose's and swarm's own words; `drain` is ours.
fn update_config(field: &mut Field<'_, '_>) -> Option<StartFirst> {
    let (mut order, mut drain) = (None, None);
    field.known(&["order", "drain"], |name, field| {
        match name {
            "order" => order = field.one_of(&["stop-first", "start-first"]),
            "drain" => drain = field.parsed(drain_time),
            _ => return false,
        }
        true
    });
    let is_start_first = order.as_deref() == Some("start-first");
    if drain.is_some() && !is_start_first {
        return field
            .refuse("`drain` needs `order: start-first`", "with the swap no connection outlives the old container");
    }
    is_start_first.then(|| StartFirst { drain: drain.unwrap_or(DRAIN) })
}

fn drain_time(text: &str) -> Result<std::time::Duration, Refused> {
    const MOST: std::time::Duration = std::time::Duration::from_secs(3600);
    let found = crate::values::duration::parse(text)?;
    if found <= MOST { Ok(found) } else { Err(Refused(format!("must be at most {MOST:?}"))) }
}
