//! A request in words of the tests' own making: every option that the engine is given, by the name that people write.
//! An option that is not known here fails the test.

use balehook::engine::request::ContainerSpec;
use balehook::modes::swarm::operation::ServiceRequest;
use balehook::values::pin::ImagePin;
use balehook::values::types::EnvVar;
use serde_json::Value;

use crate::drift::argument;

/// Rows of a container's options.
pub fn container(spec: &ContainerSpec) -> Vec<String> {
    let mut request = Request::of(serde_json::to_value(&spec.options.body).unwrap());
    request.words(&[("/Cmd", "command"), ("/Entrypoint", "entrypoint"), ("/Healthcheck/Test", "healthcheck.test")]);
    request.plain(&[
        ("/HostConfig/Binds", "volumes"),
        ("/HostConfig/LogConfig/Type", "logging.driver"),
        ("/HostConfig/RestartPolicy/Name", "restart"),
        ("/User", "user"),
    ]);
    request.seconds(1, &[("/StopTimeout", "stop_grace_period")]);
    request.seconds(1_000_000_000, &[("/Healthcheck/Interval", "healthcheck.interval")]);
    request.map(&[("/HostConfig/LogConfig/Config", "logging.options"), ("/Labels", "labels")]);
    request.published_ports();
    request.joined_networks(spec);
    request.environment(&spec.environment);
    request.row("image", &argument(&spec.image));
    for volume in &spec.if_declared {
        request.row("volumes", &format!("{}:{} (if the image has a VOLUME there)", volume.name, volume.path));
    }
    request.rows()
}

/// Rows of a service's options.
pub fn service(request: &ServiceRequest) -> Vec<String> {
    let registry = request.registry.iter().map(|registry| format!("with_registry_auth {registry}"));
    let mut rows = spec(&request.spec, &request.image, &request.environment);
    rows.extend(registry);
    rows
}

/// Rows of a service's spec.
pub fn spec(spec: &Value, image: &ImagePin, environment: &[EnvVar]) -> Vec<String> {
    let mut request = Request::of(spec.clone());
    request.row("image", &argument(image));
    request.take("/Name");
    let container = "/TaskTemplate/ContainerSpec";
    let [args, command, test] = ["Args", "Command", "Healthcheck/Test"].map(|end| format!("{container}/{end}"));
    request.words(&[(&args, "command"), (&command, "entrypoint"), (&test, "healthcheck.test")]);
    request.plain(&[
        ("/EndpointSpec/Mode", "deploy.endpoint_mode"),
        ("/Mode/Replicated/Replicas", "deploy.replicas"),
        ("/TaskTemplate/RestartPolicy/Condition", "deploy.restart_policy.condition"),
        ("/TaskTemplate/Placement/Constraints", "deploy.placement.constraints"),
        ("/TaskTemplate/Placement/MaxReplicas", "deploy.placement.max_replicas_per_node"),
        ("/TaskTemplate/LogDriver/Name", "logging.driver"),
        ("/TaskTemplate/ContainerSpec/User", "user"),
    ]);
    for (api, name) in [("UpdateConfig", "update_config"), ("RollbackConfig", "rollback_config")] {
        for (member, option) in
            [("FailureAction", "failure_action"), ("Order", "order"), ("Parallelism", "parallelism")]
        {
            request.plain(&[(&format!("/{api}/{member}"), &format!("deploy.{name}.{option}"))]);
        }
        for (member, option) in [("Delay", "delay"), ("Monitor", "monitor")] {
            request.seconds(1_000_000_000, &[(&format!("/{api}/{member}"), &format!("deploy.{name}.{option}"))]);
        }
    }
    request.seconds(
        1_000_000_000,
        &[
            ("/TaskTemplate/RestartPolicy/Delay", "deploy.restart_policy.delay"),
            ("/TaskTemplate/ContainerSpec/StopGracePeriod", "stop_grace_period"),
            ("/TaskTemplate/ContainerSpec/Healthcheck/Interval", "healthcheck.interval"),
        ],
    );
    request.map(&[("/Labels", "deploy.labels"), ("/TaskTemplate/LogDriver/Options", "logging.options")]);
    request.of_a_swarm();
    request.environment(environment);
    request.rows()
}

/// What is not yet written down of a request, and what is.
struct Request {
    left: Value,
    rows: Vec<String>,
}

impl Request {
    fn of(left: Value) -> Self {
        Self { left, rows: Vec::new() }
    }

    fn take(&mut self, pointer: &str) -> Value {
        self.left.pointer_mut(pointer).map(Value::take).unwrap_or_default()
    }

    fn row(&mut self, name: &str, value: &str) {
        self.rows.push(format!("{name} {value}"));
    }

    /// A row for a scalar, or for each of a list.
    fn plain(&mut self, options: &[(&str, &str)]) {
        for (pointer, name) in options {
            match self.take(pointer) {
                Value::Null => {}
                Value::Array(items) => items.iter().for_each(|item| self.row(name, &bare(item))),
                scalar => self.row(name, &bare(&scalar)),
            }
        }
    }

    fn words(&mut self, options: &[(&str, &str)]) {
        for (pointer, name) in options {
            match self.take(pointer) {
                Value::Null => {}
                Value::Array(words) => {
                    self.row(name, &words.iter().map(bare).collect::<Vec<_>>().join(" "));
                }
                other => panic!("{pointer} is no list: {other}"),
            }
        }
    }

    fn seconds(&mut self, unit: u64, options: &[(&str, &str)]) {
        for (pointer, name) in options {
            match self.take(pointer) {
                Value::Null => {}
                time => {
                    let time = time.as_u64().unwrap();
                    assert_eq!(time % unit, 0, "whole seconds in the scenes");
                    self.row(name, &format!("{}s", time / unit));
                }
            }
        }
    }

    fn map(&mut self, options: &[(&str, &str)]) {
        for (pointer, name) in options {
            for (key, value) in entries(self.take(pointer)) {
                self.row(&format!("{name}.{key}"), &bare(&value));
            }
        }
    }

    fn environment(&mut self, environment: &[EnvVar]) {
        for var in environment {
            let value = if var.is_hidden() { "***" } else { var.value.as_ref().unwrap().reveal() };
            self.row(&format!("environment.{}", var.name), value);
        }
    }

    fn published_ports(&mut self) {
        let (bindings, exposed) = (self.take("/HostConfig/PortBindings"), self.take("/ExposedPorts"));
        for (port, bindings) in entries(bindings.clone()) {
            let port = port.trim_end_matches("/tcp");
            for binding in bindings.as_array().unwrap() {
                let address = binding["HostIp"].as_str().filter(|address| !address.is_empty());
                let address = address.map(|address| format!("{address}:")).unwrap_or_default();
                self.row("ports", &format!("{address}{}:{port}", binding["HostPort"].as_str().unwrap()));
            }
        }
        for (port, _) in entries(exposed) {
            if bindings.get(&port).is_none() {
                self.row("expose", &port);
            }
        }
    }

    fn joined_networks(&mut self, spec: &ContainerSpec) {
        let (mode, at_once) = (self.take("/HostConfig/NetworkMode"), self.take("/NetworkingConfig/EndpointsConfig"));
        let later = spec.options.extra_networks.iter();
        let later = later.map(|(name, endpoint)| (name.clone(), serde_json::to_value(endpoint).unwrap()));
        let all: Vec<_> = entries(at_once).into_iter().chain(later).collect();
        assert!(all.iter().any(|(name, _)| *name == mode), "{mode} is one of the networks");
        all.into_iter().for_each(|(name, endpoint)| self.network(&name, endpoint));
    }

    fn network(&mut self, name: &str, endpoint: Value) {
        let mut settings = Self::of(endpoint);
        settings.plain(&[("/Aliases", "aliases"), ("/IPAMConfig/IPv4Address", "ipv4_address")]);
        let rows = settings.rows();
        match rows.is_empty() {
            true => self.row(&format!("networks.{name}"), "{}"),
            false => rows.iter().for_each(|row| self.rows.push(format!("networks.{name}.{row}"))),
        }
    }

    fn of_a_swarm(&mut self) {
        if self.take("/Mode/Global").is_object() {
            self.row("deploy.mode", "global");
        }
        for network in list(self.take("/TaskTemplate/Networks")) {
            let mut endpoint = network.clone();
            endpoint.as_object_mut().unwrap().remove("Target");
            self.network(&bare(&network["Target"]), endpoint);
        }
        for port in list(self.take("/EndpointSpec/Ports")) {
            assert_eq!((&port["Protocol"], &port["PublishMode"]), (&"tcp".into(), &"ingress".into()));
            self.row("ports", &format!("{}:{}", port["PublishedPort"], port["TargetPort"]));
        }
        for preference in list(self.take("/TaskTemplate/Placement/Preferences")) {
            let spread = bare(&preference["Spread"]["SpreadDescriptor"]);
            self.row("deploy.placement.preferences", &format!("spread={spread}"));
        }
        for (kind, member) in [("Limits", "limits"), ("Reservations", "reservations")] {
            let of = format!("/TaskTemplate/Resources/{kind}");
            if let Some(bytes) = self.take(&format!("{of}/MemoryBytes")).as_u64() {
                self.row(&format!("deploy.resources.{member}.memory"), &format!("{}M", bytes / 1024 / 1024));
            }
            if let Some(cpus) = self.take(&format!("{of}/NanoCPUs")).as_f64() {
                self.row(&format!("deploy.resources.{member}.cpus"), &(cpus / 1e9).to_string());
            }
        }
        for mount in list(self.take("/TaskTemplate/ContainerSpec/Mounts")) {
            let [source, target, kind] = ["Source", "Target", "Type"].map(|member| bare(&mount[member]));
            let text = format!("read_only={},source={source},target={target},type={kind}", mount["ReadOnly"]);
            self.row("volumes", &text);
        }
        for (kind, name, of) in [("Secrets", "secrets", "SecretName"), ("Configs", "configs", "ConfigName")] {
            for file in list(self.take(&format!("/TaskTemplate/ContainerSpec/{kind}"))) {
                let [target, user, group] = ["Name", "UID", "GID"].map(|member| bare(&file["File"][member]));
                let (source, mode) = (bare(&file[of]), file["File"]["Mode"].as_u64().unwrap());
                self.row(name, &format!("source={source},target={target},uid={user},gid={group},mode={mode:04o}"));
            }
        }
    }

    /// Everything is written down.
    fn rows(self) -> Vec<String> {
        assert_eq!(leaves("", &self.left), [], "options that the tests have no words for");
        self.rows
    }
}

/// The items of a list that may be missing; nothing else is one.
fn list(value: Value) -> Vec<Value> {
    if value.is_null() { Vec::new() } else { value.as_array().unwrap().clone() }
}

/// The members of an object that may be missing; nothing else is one.
fn entries(value: Value) -> Vec<(String, Value)> {
    if value.is_null() { Vec::new() } else { value.as_object().unwrap().clone().into_iter().collect() }
}

fn bare(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// Every scalar of a request with the path to it.
fn leaves(path: &str, value: &Value) -> Vec<(String, String)> {
    match value {
        Value::Null => Vec::new(),
        Value::Object(entries) => {
            entries.iter().flat_map(|(name, value)| leaves(&format!("{path}/{name}"), value)).collect()
        }
        Value::Array(items) => items.iter().flat_map(|item| leaves(path, item)).collect(),
        scalar => vec![(path.to_owned(), bare(scalar))],
    }
}
