//! What was meant by a key that is not known: another word for it, or another place.

use crate::config::field::Field;
use crate::config::problem::nearest;
use crate::config::service;
use crate::config::validate::SECTION;
use crate::config::validate::section::{KEYS, MODES};

/// Words of `docker run` and of other tools, with the key of Compose that says the same.
const WORDS: &[(&str, &str)] = &[
    ("add_host", "extra_hosts"),
    ("args", "command"),
    ("blkio_weight", "blkio_config"),
    ("cap", "cap_add"),
    ("cgroupns", "cgroup"),
    ("cmd", "command"),
    ("cpu", "cpus"),
    ("dns_option", "dns_opt"),
    ("e", "environment"),
    ("env", "environment"),
    ("envs", "environment"),
    ("grace_period", "stop_grace_period"),
    ("gpu", "gpus"),
    ("health_cmd", "healthcheck"),
    ("health_interval", "healthcheck"),
    ("health_retries", "healthcheck"),
    ("health_timeout", "healthcheck"),
    ("health_check", "healthcheck"),
    ("i", "stdin_open"),
    ("interactive", "stdin_open"),
    ("l", "labels"),
    ("log", "logging"),
    ("log_driver", "logging"),
    ("log_opt", "logging"),
    ("m", "mem_limit"),
    ("memory", "mem_limit"),
    ("memory_reservation", "mem_reservation"),
    ("memory_swap", "memswap_limit"),
    ("memory_swappiness", "mem_swappiness"),
    ("mount", "volumes"),
    ("mounts", "volumes"),
    ("net", "network_mode"),
    ("network", "networks"),
    ("p", "ports"),
    ("publish", "ports"),
    ("read_only_rootfs", "read_only"),
    ("restart_policy", "restart"),
    ("signal", "stop_signal"),
    ("stop_timeout", "stop_grace_period"),
    ("t", "tty"),
    ("u", "user"),
    ("userns", "userns_mode"),
    ("v", "volumes"),
    ("variables", "environment"),
    ("w", "working_dir"),
    ("workdir", "working_dir"),
    // Of `image:` and `health:`.
    ("tag", "reference"),
    ("file", "archive"),
    ("url", "http"),
    ("path", "http"),
    ("port", "tcp"),
    ("expect_body", "body"),
    ("cacert", "ca"),
    ("sni", "host"),
    ("server_name", "host"),
    ("codes", "status"),
];

/// Words of `docker run` that need no key here.
const NOT_NEEDED: [&str; 5] = ["detach", "d", "rm", "cidfile", "pull"];

/// `did you mean …?`, where it belongs, or all that is known.
pub(crate) fn of_key(mapping: &Field<'_>, name: &str, known: &[&str]) -> String {
    let word = name.trim_start_matches('-').to_lowercase().replace('-', "_");
    let same = WORDS.iter().find(|(other, key)| *other == word && known.contains(key)).map(|(_, key)| *key);
    let exact = known.iter().find(|key| **key == word).copied();
    if let Some(key) = exact.or(same) {
        return format!("did you mean `{key}`?");
    }
    if let Some(place) = belongs(mapping, &word) {
        return format!("`{name}` belongs {place}");
    }
    if NOT_NEEDED.contains(&word.as_str()) && is_service(&mapping.path) {
        return "leave it out: a deployment does it by itself".to_owned();
    }
    match nearest(name, known) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("known keys: {}", known.join(", ")),
    }
}

/// Where a key that stands a level too high or too low belongs.
fn belongs(mapping: &Field<'_>, name: &str) -> Option<String> {
    let service = || {
        service::keys().contains(&name)
            || WORDS.iter().any(|(word, key)| *word == name && service::keys().contains(key))
    };
    let path = mapping.path.as_str();
    let inside = path.strip_prefix(SECTION).map(|rest| rest.trim_start_matches('.'))?;
    match inside {
        "" if !service() => None,
        "" => match MODES.iter().find(|mode| mapping.get(mode).is_some()) {
            Some(&"compose") => Some("to a service of the Compose file".to_owned()),
            mode => Some(format!("under `{}:`", mode.unwrap_or(&"container"))),
        },
        "container" | "swarm" if KEYS.contains(&name) => Some(format!("one level higher, beside `{inside}:`")),
        "swarm" if ["replicas", "placement", "resources", "rollback_config", "endpoint_mode"].contains(&name) => {
            Some("under `deploy:`".to_owned())
        }
        "compose" if KEYS.contains(&name) => Some("one level higher, beside `compose:`".to_owned()),
        "compose" if service() => Some("to a service of the Compose file".to_owned()),
        "health" if ["test", "retries", "start_period", "start_interval", "disable"].contains(&name) => {
            Some("under `healthcheck:` of the service".to_owned())
        }
        // Options of a driver: `max-size`, `awslogs-group`, `tag`.
        "container.logging" | "swarm.logging" if name.contains('_') || name == "tag" => {
            Some("under `options:`".to_owned())
        }
        _ => None,
    }
}

fn is_service(path: &str) -> bool {
    ["container", "swarm"].iter().any(|mode| path.strip_prefix(SECTION) == Some(&format!(".{mode}")))
}

#[cfg(test)]
mod tests {
    use crate::config::validate::tests::{GOOD, check, said};

    /// The help for a key of `x-balehook`, or of `container` in it.
    fn help(from: &str, to: &str) -> String {
        let text = GOOD.replace(from, to);
        let all = said(&check(&text).problems);
        let line = all.lines().find(|line| line.contains("unknown key")).unwrap_or_else(|| panic!("{text}{all}"));
        line.split_once("; ").map(|(_, help)| help.to_owned()).unwrap_or_default()
    }

    #[test]
    fn a_word_of_docker_run_leads_to_the_key_that_says_the_same() {
        for (word, key) in [
            ("env", "environment"),
            ("memory", "mem_limit"),
            ("publish", "ports"),
            ("-p", "ports"),
            ("port", "ports"),
            ("volume", "volumes"),
            ("v", "volumes"),
            ("cmd", "command"),
            ("env-file", "env_file"),
            ("net", "network_mode"),
            ("network", "networks"),
            ("cap-add", "cap_add"),
            ("log-driver", "logging"),
            ("workdir", "working_dir"),
            ("restart_policy", "restart"),
            ("add-host", "extra_hosts"),
            ("stop-timeout", "stop_grace_period"),
            ("--shm-size", "shm_size"),
            ("health-cmd", "healthcheck"),
            ("device", "devices"),
            ("label", "labels"),
        ] {
            let found = help("web:1", &format!("web:1\n    {word}: x"));
            assert_eq!(found, format!("did you mean `{key}`?"), "{word}");
        }
        assert!(help("web:1", "web:1\n    detach: true").starts_with("leave it out"));
    }

    #[test]
    fn a_key_one_level_too_high_or_too_low_is_told_where_it_belongs() {
        for (from, to, wanted) in [
            ("name: web", "name: web\n  ports: ['80:80']", "`ports` belongs under `container:`"),
            ("name: web", "name: web\n  env: {A: b}", "`env` belongs under `container:`"),
            ("name: web", "name: web\n  healthcheck: {}", "`healthcheck` belongs under `container:`"),
            ("web:1", "web:1\n    name: web", "`name` belongs one level higher, beside `container:`"),
            ("web:1", "web:1\n    health: {}", "`health` belongs one level higher, beside `container:`"),
            ("web:1", "web:1\n    keep: 3", "`keep` belongs one level higher, beside `container:`"),
            ("web:1", "web:1\n    logging: {max-size: 10m}", "`max-size` belongs under `options:`"),
            (
                "  container:\n    image",
                "  health: {retries: 3}\n  container:\n    image",
                "`retries` belongs under `healthcheck:` of the service",
            ),
            ("  container:\n    image", "  swarm:\n    replicas: 2\n    image", "`replicas` belongs under `deploy:`"),
        ] {
            assert_eq!(help(from, to), wanted);
        }
        let root = said(&check(&GOOD.replace("x-balehook:", "health: {http: /}\nx-balehook:")).problems);
        assert!(root.contains("`health` is ignored by everybody; it belongs under `x-balehook:`"), "{root}");
    }

    #[test]
    fn a_tab_is_named_with_its_place() {
        for (from, to, place) in [
            ("  container:", "\tcontainer:", "9:1"),
            ("    image", "  \timage", "10:3"),
            ("name: web", "name: web\n\t keep: 3", "9:1"),
        ] {
            let all = said(&check(&GOOD.replace(from, to)).problems);
            assert!(all.starts_with(&format!("{place}: error: a tab: YAML indents with spaces alone")), "{all}");
        }
    }
}
