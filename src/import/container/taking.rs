//! Each option of a container's request, as the key that it becomes.

use serde_json::Value as Json;
use serde_yaml::{Mapping, Value};

use crate::engine::request::ContainerSpec;
use crate::import::Imported;
use crate::import::container::keys::{AS_THEY_ARE, LABELS_OF_OTHERS, NUMBERS};
use crate::import::container::values::{
    self, cpus, device_request, endpoint, healthcheck, is_nothing, keys, publication, texts, yaml,
};
use crate::import::reading::Reading;
use crate::import::values::mapping;
use crate::values::types::EnvVar;

pub(super) struct Taking {
    body: Json,
    of_image: Json,
    reading: Reading<'static>,
}

impl Taking {
    pub(super) fn of(spec: &ContainerSpec, of_image: &ContainerSpec) -> Option<Self> {
        let mut taking = Self {
            body: serde_json::to_value(&spec.options.body).ok()?,
            of_image: serde_json::to_value(&of_image.options.body).ok()?,
            reading: Reading::new(None),
        };
        taking.reading.named(&spec.name);
        taking.process();
        taking.variables(&spec.environment, &of_image.environment);
        taking.files();
        let others = spec.options.extra_networks.iter();
        let others = others.map(|(name, endpoint)| (name.clone(), serde_json::to_value(endpoint).unwrap_or_default()));
        taking.network(&others.collect::<Vec<_>>());
        taking.limits();
        taking.devices();
        taking.host();
        Some(taking)
    }

    pub(super) fn finish(self) -> Imported {
        self.reading.finish()
    }

    fn chosen(&mut self, pointer: &str, key: &str) -> Option<Json> {
        let found = self.body.pointer(pointer).filter(|value| !is_nothing(value))?.clone();
        if self.of_image.pointer(pointer) == Some(&found) {
            self.reading.only_default(key);
            return None;
        }
        Some(found)
    }

    fn carry(&mut self, pointer: &str, key: &str, becomes: impl FnOnce(Json) -> Value) {
        if let Some(found) = self.chosen(pointer, key) {
            let said = format!("{key} {found}");
            self.reading.attempt(key, becomes(found), &said);
        }
    }

    fn process(&mut self) {
        for (pointer, key) in [("/Entrypoint", "entrypoint"), ("/Cmd", "command")] {
            self.carry(pointer, key, yaml);
        }
        for (pointer, key) in AS_THEY_ARE {
            match key {
                "stop_signal" if self.body["StopSignal"] == "SIGTERM" => self.reading.only_default(key),
                "security_opt" => self.security(),
                _ => self.carry(pointer, key, yaml),
            }
        }
        let of_host = self.body["HostConfig"]["NetworkMode"]
            .as_str()
            .is_some_and(|mode| mode == "host" || mode.starts_with("container:"));
        if !of_host {
            self.carry("/Hostname", "hostname", yaml);
        }
        self.carry("/StopTimeout", "stop_grace_period", |seconds| format!("{seconds}s").into());
        self.carry("/Healthcheck", "healthcheck", healthcheck);
        self.labels();
        if self.body["HostConfig"]["MaskedPaths"] == Json::Array(Vec::new()) {
            self.reading.add("security_opt", "systempaths=unconfined".into(), "systempaths=unconfined");
        }
    }

    fn security(&mut self) {
        for option in texts(&self.body["HostConfig"]["SecurityOpt"]) {
            match option.starts_with("seccomp={") {
                true => self.reading.not_carried(
                    "security_opt seccomp=(a profile)",
                    "the engine knows the profile's content, not its file",
                    "write `security_opt: [seccomp=FILE]`",
                ),
                false => self.reading.add("security_opt", option.as_str().into(), &format!("security_opt {option}")),
            }
        }
    }

    fn labels(&mut self) {
        let labels = self.body["Labels"].as_object().cloned().unwrap_or_default();
        for (name, value) in labels {
            let value = value.as_str().unwrap_or_default();
            if self.of_image["Labels"][&name] == value {
                self.reading.only_default(&format!("labels.{name}"));
                continue;
            }
            match LABELS_OF_OTHERS.iter().find(|(begin, _)| name.starts_with(begin)) {
                Some((_, reason)) => self.reading.not_carried(&format!("label {name}"), reason, ""),
                None => self.reading.entry("labels", &name, value.into(), &format!("label {name}={value}")),
            }
        }
    }

    fn variables(&mut self, all: &[EnvVar], of_image: &[EnvVar]) {
        for var in all {
            let given = of_image.iter().find(|given| given.name == var.name);
            if given.is_some_and(|given| given.value == var.value) {
                self.reading.only_default(&format!("environment.{}", var.name));
                continue;
            }
            let value = var.value.as_ref().map_or(Value::Null, |value| value.reveal().into());
            self.reading.entry("environment", &var.name, value, &format!("environment {}", var.name));
        }
        for gone in of_image.iter().filter(|given| all.iter().all(|var| var.name != given.name)) {
            self.reading.entry("environment", &gone.name, Value::Null, &format!("environment {}", gone.name));
        }
    }

    fn files(&mut self) {
        for bind in texts(&self.body["HostConfig"]["Binds"]) {
            self.reading.add("volumes", bind.as_str().into(), &format!("volume {bind}"));
        }
        for mount in self.body["HostConfig"]["Mounts"].as_array().cloned().unwrap_or_default() {
            self.reading.add("volumes", values::mount(&mount), &format!("mount {mount}"));
        }
        let of_image = keys(&self.of_image["Volumes"]);
        for path in keys(&self.body["Volumes"]) {
            match of_image.contains(&path) {
                true => self.reading.only_default(&format!("volumes {path}")),
                false => self.reading.add("volumes", path.as_str().into(), &format!("volume {path}")),
            }
        }
        for (path, options) in self.body["HostConfig"]["Tmpfs"].as_object().cloned().unwrap_or_default() {
            let options = options.as_str().filter(|options| !options.is_empty());
            let text = options.map_or_else(|| path.clone(), |options| format!("{path}:{options}"));
            self.reading.add("tmpfs", text.as_str().into(), &format!("tmpfs {text}"));
        }
    }

    fn network(&mut self, others: &[(String, Json)]) {
        let bindings = self.body["HostConfig"]["PortBindings"].clone();
        for (port, bindings) in bindings.as_object().cloned().unwrap_or_default() {
            for binding in bindings.as_array().into_iter().flatten() {
                let text = publication(&port, binding);
                self.reading.add("ports", text.as_str().into(), &format!("port {text}"));
            }
        }
        let of_image = keys(&self.of_image["ExposedPorts"]);
        for port in keys(&self.body["ExposedPorts"]).into_iter().filter(|port| bindings.get(port).is_none()) {
            match of_image.contains(&port) {
                true => self.reading.only_default(&format!("expose {port}")),
                false => self.reading.add("expose", port.as_str().into(), &format!("expose {port}")),
            }
        }
        let mode = self.body["HostConfig"]["NetworkMode"].as_str().unwrap_or_default().to_owned();
        let own = self.body["NetworkingConfig"]["EndpointsConfig"].get(&mode).cloned();
        match own.filter(|_| !matches!(mode.as_str(), "bridge" | "default" | "host" | "none")) {
            Some(own) => self.reading.join(&mode, endpoint(&own)),
            None if matches!(mode.as_str(), "" | "default" | "bridge") && others.is_empty() => {}
            None => self.reading.join(&mode, Mapping::new()),
        }
        for (network, settings) in others {
            self.reading.join(network, endpoint(settings));
        }
    }

    fn limits(&mut self) {
        for (pointer, key) in NUMBERS {
            self.carry(pointer, key, yaml);
        }
        self.carry("/HostConfig/NanoCpus", "cpus", |nano| cpus(&nano));
        if self.body["HostConfig"]["MemorySwappiness"] != -1 {
            self.carry("/HostConfig/MemorySwappiness", "mem_swappiness", yaml);
        }
        if self.body["HostConfig"]["ShmSize"] != 64 << 20 {
            self.carry("/HostConfig/ShmSize", "shm_size", |size| size.to_string().into());
        }
        for limit in self.body["HostConfig"]["Ulimits"].as_array().cloned().unwrap_or_default() {
            let limits = mapping([("soft", yaml(limit["Soft"].clone())), ("hard", yaml(limit["Hard"].clone()))]);
            self.reading.entry(
                "ulimits",
                limit["Name"].as_str().unwrap_or_default(),
                limits,
                &format!("ulimit {limit}"),
            );
        }
    }

    /// Limits of block devices, devices and graphics processors.
    fn devices(&mut self) {
        for (pointer, key, rate) in [
            ("BlkioWeightDevice", "weight_device", "Weight"),
            ("BlkioDeviceReadBps", "device_read_bps", "Rate"),
            ("BlkioDeviceReadIOps", "device_read_iops", "Rate"),
            ("BlkioDeviceWriteBps", "device_write_bps", "Rate"),
            ("BlkioDeviceWriteIOps", "device_write_iops", "Rate"),
        ] {
            let all = self.body["HostConfig"][pointer].as_array().cloned().unwrap_or_default();
            let each = all.iter().map(|device| {
                let name = if rate == "Rate" { "rate" } else { "weight" };
                mapping([("path", yaml(device["Path"].clone())), (name, yaml(device[rate].clone()))])
            });
            let each: Vec<Value> = each.collect();
            if !each.is_empty() {
                self.reading.entry("blkio_config", key, Value::Sequence(each), key);
            }
        }
        if let Some(weight) = self.chosen("/HostConfig/BlkioWeight", "blkio_config") {
            self.reading.entry("blkio_config", "weight", yaml(weight), "blkio_config weight");
        }
        for device in self.body["HostConfig"]["Devices"].as_array().cloned().unwrap_or_default() {
            let parts = ["PathOnHost", "PathInContainer", "CgroupPermissions"]
                .map(|member| device[member].as_str().unwrap_or_default());
            let text = parts.join(":");
            self.reading.add("devices", text.as_str().into(), &format!("device {text}"));
        }
        for request in self.body["HostConfig"]["DeviceRequests"].as_array().cloned().unwrap_or_default() {
            self.reading.add("gpus", device_request(&request), &format!("device request {request}"));
        }
    }

    fn host(&mut self) {
        self.carry("/HostConfig/RestartPolicy", "restart", |policy| {
            let name = policy["Name"].as_str().unwrap_or_default();
            match policy["MaximumRetryCount"].as_i64() {
                Some(count) if count > 0 => format!("{name}:{count}").into(),
                _ => name.into(),
            }
        });
        let ipc = self.body["HostConfig"]["IpcMode"].as_str().unwrap_or_default().to_owned();
        if !matches!(ipc.as_str(), "private" | "shareable") {
            self.carry("/HostConfig/IpcMode", "ipc", yaml);
        }
        if self.body["HostConfig"]["Runtime"] != "runc" {
            self.carry("/HostConfig/Runtime", "runtime", yaml);
        }
        let log = self.body["HostConfig"]["LogConfig"].clone();
        let is_default = log["Type"] == "json-file" && is_nothing(&log["Config"]);
        if !is_default && !is_nothing(&log["Type"]) {
            let logging = Mapping::from_iter([("driver".into(), yaml(log["Type"].clone()))]);
            let options = (!is_nothing(&log["Config"])).then(|| ("options".into(), yaml(log["Config"].clone())));
            let logging = Value::Mapping(logging.into_iter().chain(options).collect());
            self.reading.attempt("logging", logging, "logging");
        }
    }
}
