//! What the process is: command, environment, user, labels, log, health.

use std::path::{Component, Path};

use bollard::models::{HealthConfig, HostConfig, HostConfigLogConfig, RestartPolicy, RestartPolicyNameEnum};

use crate::config::ArchiveLocation;
use crate::config::field::Field;
use crate::config::keys::Keys;
use crate::config::service::resources::{memory, nano_cpus};
use crate::config::service::{Needs, ParseContext, Service, environment, network, resources, volumes};
use crate::config::start_first::{DRAIN, StartFirst};
use crate::config::yaml::Value;
use crate::values::labels::LABELS;
use crate::values::types::Refused;

/// What a seccomp profile's path, or the profile itself, stands behind.
pub(crate) const SECCOMP: &str = "seccomp=";

/// Signals of Linux by name, without `SIG`; real-time signals and numbers are accepted beside them.
const SIGNALS: &[&str] = &[
    "ABRT", "ALRM", "BUS", "CHLD", "CONT", "FPE", "HUP", "ILL", "INT", "IO", "KILL", "PIPE", "PROF", "PWR", "QUIT",
    "SEGV", "STKFLT", "STOP", "SYS", "TERM", "TRAP", "TSTP", "TTIN", "TTOU", "URG", "USR1", "USR2", "VTALRM", "WINCH",
    "XCPU", "XFSZ",
];

/// What a container and a service of a swarm have.
pub(crate) fn shared(keys: &mut Keys<'_, '_>, service: &mut Service, host: &mut HostConfig, around: &ParseContext<'_>) {
    let body = &mut service.body;
    body.cmd = keys.get("command", command);
    body.entrypoint = keys.get("entrypoint", command);
    body.user = keys.get("user", Field::text);
    body.working_dir = keys.parsed("working_dir", absolute);
    body.hostname = keys.get("hostname", Field::text);
    body.labels = keys.all("labels", labels);
    body.stop_signal = keys.parsed("stop_signal", signal);
    body.stop_timeout = keys.get("stop_grace_period", whole_seconds);
    body.open_stdin = keys.get("stdin_open", Field::boolean);
    body.tty = keys.get("tty", Field::boolean);
    body.healthcheck = keys.all("healthcheck", |field| healthcheck(field, &mut service.needs));
    body.exposed_ports = keys.all("expose", network::expose);
    service.environment = keys.all("environment", |field| environment::environment(field, around)).unwrap_or_default();
    service.env_file =
        keys.all("env_file", |field| environment::env_files(field, around.bundle_root)).unwrap_or_default();
    service.platform = keys.parsed("platform", platform);
    host.log_config = keys.all("logging", logging);
    host.readonly_rootfs = keys.get("read_only", Field::boolean);
    host.restart_policy = keys.parsed("restart", restart);
    host.cap_add = keys.all("cap_add", Field::texts);
    host.cap_drop = keys.all("cap_drop", Field::texts);
    host.group_add = keys.all("group_add", Field::texts);
    host.sysctls = keys.all("sysctls", Field::map);
    host.ulimits = keys.all("ulimits", resources::ulimits);
    host.nano_cpus = keys.get("cpus", nano_cpus);
    host.memory = keys.get("mem_limit", memory);
    host.memory_reservation = keys.get("mem_reservation", memory);
    host.pids_limit = keys.get("pids_limit", |field| field.integer(-1));
    host.extra_hosts = keys.all("extra_hosts", network::extra_hosts);
    host.dns = keys.all("dns", network::addresses);
    host.dns_search = keys.all("dns_search", Field::text_or_texts);
    host.dns_options = keys.all("dns_opt", Field::texts);
    host.tmpfs = keys.all("tmpfs", volumes::tmpfs);
    keys.all("volumes", |field| volumes::volumes(field, host, service));
}

/// What a container alone has.
pub(crate) fn of_container(
    keys: &mut Keys<'_, '_>,
    service: &mut Service,
    host: &mut HostConfig,
    around: &ParseContext<'_>,
) {
    service.body.domainname = keys.get("domainname", Field::text);
    service.start_first = keys.get("update_config", update_config);
    host.annotations = keys.all("annotations", Field::map);
    service.needs.extend(host.annotations.as_ref().map(|_| ("annotations", (1, 43))));
    host.init = keys.get("init", Field::boolean);
    host.privileged = keys.get("privileged", Field::boolean);
    keys.all("security_opt", |field| security_opt(field, host, around.bundle_root));
    host.ipc_mode = keys.parsed("ipc", |text| namespace(text, &["host", "private", "shareable", "none", ""]));
    host.pid_mode = keys.parsed("pid", |text| namespace(text, &["host"]));
    host.uts_mode = keys.one_of("uts", &["host"]).map(str::to_owned);
    host.userns_mode = keys.one_of("userns_mode", &["host"]).map(str::to_owned);
    host.cgroupns_mode = keys.one_of("cgroup", &["host", "private"]).and_then(|mode| mode.parse().ok());
    host.runtime = keys.get("runtime", Field::text);
    host.storage_opt = keys.all("storage_opt", Field::map);
}

/// The engine counts whole seconds: half a second more is better than half a second less.
fn whole_seconds(field: &Field<'_>) -> Option<i64> {
    let grace = field.duration()?;
    i64::try_from(grace.as_secs() + u64::from(grace.subsec_nanos() > 0)).ok()
}

/// Null means "not given", as in Compose.
pub(crate) fn command(field: &Field<'_>) -> Option<Vec<String>> {
    if field.node.is_null() { None } else { Some(field.command()) }
}

/// An object in S3, or a file of the bundle or of the host.
/// Errors: A path that leaves the bundle.
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
fn security_opt(field: &Field<'_>, host: &mut HostConfig, root: &Path) {
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

fn absolute(text: &str) -> Result<String, Refused> {
    match text.starts_with('/') {
        true => Ok(text.to_owned()),
        false => Err(Refused("must be an absolute path".into())),
    }
}

pub(crate) fn labels(field: &Field<'_>) -> std::collections::HashMap<String, String> {
    let labels = field.map();
    for ours in LABELS {
        if labels.contains_key(ours) {
            field.error(format!("label `{ours}` is set by balehook"), "leave it out");
        }
    }
    labels
}

fn logging(field: &Field<'_>) -> HostConfigLogConfig {
    field.mapping(|keys| HostConfigLogConfig {
        typ: keys.get("driver", Field::text),
        config: keys.all("options", Field::map),
    })
}

/// Source: Compose specification, `healthcheck`; Docker Engine API, `HealthConfig` (0: inherited, else at least 1 ms).
fn healthcheck(field: &Field<'_>, needs: &mut Needs) -> HealthConfig {
    field.mapping(|keys| {
        let check = HealthConfig {
            test: keys.get("test", test),
            interval: keys.get("interval", Field::nanoseconds),
            timeout: keys.get("timeout", Field::nanoseconds),
            retries: keys.get("retries", |field| field.integer(0)),
            start_period: keys.get("start_period", Field::nanoseconds),
            start_interval: keys.get("start_interval", Field::nanoseconds),
        };
        needs.extend(field.get("start_interval").map(|_| ("healthcheck.start_interval", (1, 44))));
        match keys.get("disable", Field::boolean) {
            Some(true) => HealthConfig { test: Some(vec!["NONE".into()]), ..HealthConfig::default() },
            _ => check,
        }
    })
}

fn test(field: &Field<'_>) -> Option<Vec<String>> {
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
fn update_config(field: &Field<'_>) -> Option<StartFirst> {
    let (order, drain) =
        field.mapping(|keys| (keys.one_of("order", &["stop-first", "start-first"]), keys.parsed("drain", drain_time)));
    let is_start_first = order == Some("start-first");
    if drain.is_some() && !is_start_first {
        return field.refuse(
            "`drain` needs `order: start-first`",
            "with `stop-first` no connection outlives the old container",
        );
    }
    is_start_first.then(|| StartFirst { drain: drain.unwrap_or(DRAIN) })
}

fn drain_time(text: &str) -> Result<std::time::Duration, Refused> {
    const MOST: std::time::Duration = std::time::Duration::from_secs(3600);
    let found = crate::values::duration::parse(text)?;
    if found <= MOST { Ok(found) } else { Err(Refused(format!("must be at most {MOST:?}"))) }
}
