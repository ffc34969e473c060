//! Rules of one service in Compose's words: a container, a service of a swarm, or one of a Compose file.

use crate::config::field::Field;
use crate::config::rules::{DOCKER_SOCKET, NO_LOG_ROTATION, NO_RESTART_POLICY, PRIVILEGED, SECRET_IN_ENVIRONMENT};
use crate::config::yaml::Value;
use crate::values::secret::{is_secret_name, masked};

/// The engine's socket, under each of its names, and the folders that hold it.
const SOCKETS: [&str; 8] = [
    "/var/run/docker.sock",
    "/run/docker.sock",
    "/var/run",
    "/run",
    "/",
    "/run/podman/podman.sock",
    "/run/containerd/containerd.sock",
    "/var/run/containerd/containerd.sock",
];

/// Last words of names that speak of a secret and hold none: `TOKEN_ISSUER`, `COOKIE_NAME`, `JWT_ALGORITHM`.
const SETTINGS: [&str; 33] = [
    "ALG", "ALGORITHM", "ARN", "AUDIENCE", "BACKEND", "DOMAIN", "DRIVER", "ENABLED", "ENDPOINT", "EXPIRATION",
    "EXPIRES", "EXPIRY", "FORMAT", "HEADER", "HOST", "ID", "ISSUER", "LENGTH", "METHOD", "MODE", "NAME", "POLICY",
    "PORT", "PREFIX", "PROVIDER", "REGION", "SAMESITE", "STORE", "TTL", "TYPE", "USER", "USERNAME", "VERSION",
];

/// A service with all its parts: in a Compose project several files may have some.
pub(super) struct Service<'a> {
    /// Its name, in the first file: where something is missing.
    pub(super) key: Field<'a>,
    pub(super) parts: Vec<Field<'a>>,
}

impl<'a> Service<'a> {
    /// The values of a key, in the files' order.
    pub(super) fn all(&self, key: &str) -> Vec<Field<'a>> {
        self.parts.iter().filter_map(|part| part.given(key)).collect()
    }

    /// More may stand where it cannot be seen: in an alias, or in the service of another file.
    pub(super) fn is_partial(&self) -> bool {
        self.parts.iter().any(|part| is_partial(part) || part.get("extends").is_some())
    }

    pub(super) fn has_health_check(&self) -> bool {
        let is_off = |check: &Field<'_>| {
            let test = check.get("test");
            let none = test
                .as_ref()
                .is_some_and(|test| test.each().next().is_some_and(|word| word.node.as_text() == Some("NONE")));
            none || check.get("disable").is_some_and(|disable| disable.node.as_bool() == Some(true))
        };
        self.all("healthcheck").last().is_some_and(|check| !is_off(check))
    }

    pub(super) fn restart(&self) {
        if self.all("restart").is_empty() && !self.is_partial() {
            self.key.warning(
                NO_RESTART_POLICY,
                "no `restart`: once its process ends, it stays down",
                "write `restart: unless-stopped`, or `restart: \"no\"` where it is meant",
            );
        }
    }

    pub(super) fn log(&self) {
        const HELP: &str = "write `logging: {driver: json-file, options: {max-size: 10m, max-file: \"3\"}}`";
        let logging = self.all("logging");
        if logging.is_empty() {
            if !self.is_partial() {
                let message = "no `logging`: whether the engine's default limits the log cannot be known from the file";
                self.key.warning(NO_LOG_ROTATION, message, HELP);
            }
            return;
        }
        let is_partial =
            |field: &Field<'_>| is_partial(field) || field.get("options").is_some_and(|all| self::is_partial(&all));
        let driver = logging.iter().rev().find_map(|field| field.text_of("driver"));
        let has_size =
            logging.iter().any(|field| field.get("options").is_some_and(|all| all.given("max-size").is_some()));
        if let Some(last) = logging.last().filter(|_| !has_size && !logging.iter().any(is_partial)) {
            match driver {
                Some("json-file") => {
                    last.warning(NO_LOG_ROTATION, "`json-file` without `max-size` grows until the disk is full", HELP)
                }
                None => last.warning(
                    NO_LOG_ROTATION,
                    "no `driver` and no `max-size`: whether the engine's default limits the log cannot be known",
                    HELP,
                ),
                Some(_) => {}
            }
        }
    }

    /// What each part says by itself.
    pub(super) fn each(&self) {
        for part in &self.parts {
            secrets(part);
            socket(part);
            if let Some(field) = part.get("privileged").filter(|field| field.node.as_bool() == Some(true)) {
                let help = "name what it needs: `cap_add: [NET_ADMIN]`, `devices: [/dev/fuse]`";
                field.warning(PRIVILEGED, "a privileged container is root on the host", help);
            }
        }
    }
}

fn is_partial(field: &Field<'_>) -> bool {
    field.node.value == Value::Alias || field.get("<<").is_some()
}

fn socket(part: &Field<'_>) {
    let asked = part.get("use_api_socket").filter(|field| field.node.as_bool() == Some(true));
    let mounts = part.get("volumes");
    let mounts = mounts.iter().flat_map(Field::each).filter(|item| {
        let source = item.text_of("source").or_else(|| item.node.as_text()?.split(':').next());
        let clean = source.map(|path| if path.len() > 1 { path.trim_end_matches('/') } else { path });
        clean.is_some_and(|path| SOCKETS.contains(&path))
    });
    for field in mounts.chain(asked) {
        field.warning(
            DOCKER_SOCKET,
            "the container can reach the engine's socket: what can talk to the engine is root on the host",
            "leave it out, or mount only what is needed",
        );
    }
}

/// Values of `environment` that are written out. None of them is repeated.
pub(super) fn secrets(part: &Field<'_>) {
    let Some(all) = part.get("environment") else { return };
    let pairs = match &all.node.value {
        Value::Mapping(_) => {
            all.entries(|name, value| Some((name.to_owned(), value.node.as_text()?.to_owned(), value.clone())))
        }
        Value::Sequence(_) | Value::Scalar { .. } | Value::Alias => {
            let each = all.each().filter_map(|item| {
                let (name, value) = item.node.as_text()?.split_once('=')?;
                Some((name.to_owned(), value.to_owned(), item.clone()))
            });
            each.collect()
        }
    };
    for (name, value, field) in pairs {
        if is_written_out(&name, &value) {
            field.warning(
                SECRET_IN_ENVIRONMENT,
                format!("the value of `{name}` looks like a secret, and each person who may read the bundle has it"),
                "write it into an `env_file:` in S3 or on the host",
            );
        }
    }
}

/// A secret by its name and not by its value a setting; or a secret by its form.
pub(crate) fn is_written_out(name: &str, value: &str) -> bool {
    if value.is_empty() || value.contains('$') {
        return false;
    }
    let words = ["true", "false", "yes", "no", "on", "off", "none", "null", "enabled", "disabled"];
    let is_setting = words.contains(&value.to_lowercase().as_str())
        || value.starts_with(|letter: char| letter.is_ascii_digit())
            && value.trim_end_matches(|letter: char| letter.is_ascii_alphabetic()).parse::<f64>().is_ok()
        || value.starts_with('/')
        || value.contains("://")
        || value.starts_with("arn:")
        || name.to_uppercase().rsplit(['_', '-', '.']).next().is_some_and(|last| SETTINGS.contains(&last));
    masked(value) != value || is_secret_name(name) && !is_setting
}
