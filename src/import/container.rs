//! A container as the engine describes it: the options that somebody chose, without those of its image.

use std::collections::BTreeSet;

use bollard::models::{ContainerInspectResponse, ImageInspect};
use serde_json::Value as Json;
use serde_yaml::{Mapping, Value};

use crate::engine::request::ContainerSpec;
use crate::import::accept;
use crate::import::reading::{Reading, mapping};
use crate::import::{Imported, NotCarried};
use crate::modes::as_it_is::AsItIs;
use crate::modes::create::container_options;
use crate::values::options::ChangeKind;
use crate::values::pin::ImagePin;
use crate::values::types::EnvVar;

/// The labels that Compose, Swarm and balehook give, by their beginnings.
const LABELS_OF_OTHERS: [(&str, &str); 4] = [
    ("com.docker.compose.", "Compose knows its containers by it"),
    ("com.docker.swarm.", "a swarm knows its tasks by it"),
    ("com.docker.stack.", "a swarm knows its stacks by it"),
    ("balehook.", "balehook sets it itself"),
];

/// Members of the request, and the keys that they become as they are.
const AS_THEY_ARE: [(&str, &str); 31] = [
    ("/WorkingDir", "working_dir"),
    ("/User", "user"),
    ("/Domainname", "domainname"),
    ("/StopSignal", "stop_signal"),
    ("/Tty", "tty"),
    ("/OpenStdin", "stdin_open"),
    ("/HostConfig/ReadonlyRootfs", "read_only"),
    ("/HostConfig/CapAdd", "cap_add"),
    ("/HostConfig/CapDrop", "cap_drop"),
    ("/HostConfig/GroupAdd", "group_add"),
    ("/HostConfig/Sysctls", "sysctls"),
    ("/HostConfig/MemoryReservation", "mem_reservation"),
    ("/HostConfig/MemorySwap", "memswap_limit"),
    ("/HostConfig/Memory", "mem_limit"),
    ("/HostConfig/PidsLimit", "pids_limit"),
    ("/HostConfig/ExtraHosts", "extra_hosts"),
    ("/HostConfig/Dns", "dns"),
    ("/HostConfig/DnsSearch", "dns_search"),
    ("/HostConfig/DnsOptions", "dns_opt"),
    ("/HostConfig/Annotations", "annotations"),
    ("/HostConfig/Init", "init"),
    ("/HostConfig/Privileged", "privileged"),
    ("/HostConfig/SecurityOpt", "security_opt"),
    ("/HostConfig/PidMode", "pid"),
    ("/HostConfig/UTSMode", "uts"),
    ("/HostConfig/UsernsMode", "userns_mode"),
    ("/HostConfig/StorageOpt", "storage_opt"),
    ("/HostConfig/OomKillDisable", "oom_kill_disable"),
    ("/HostConfig/OomScoreAdj", "oom_score_adj"),
    ("/HostConfig/CgroupParent", "cgroup_parent"),
    ("/HostConfig/DeviceCgroupRules", "device_cgroup_rules"),
];

/// The same, of limits that are numbers.
const NUMBERS: [(&str, &str); 6] = [
    ("/HostConfig/CpuShares", "cpu_shares"),
    ("/HostConfig/CpuPeriod", "cpu_period"),
    ("/HostConfig/CpuQuota", "cpu_quota"),
    ("/HostConfig/CpuRealtimePeriod", "cpu_rt_period"),
    ("/HostConfig/CpuRealtimeRuntime", "cpu_rt_runtime"),
    ("/HostConfig/CpusetCpus", "cpuset"),
];

/// Reads a container. `None` where the engine's answer lacks what every container has.
pub fn of_container(inspected: ContainerInspectResponse, image: ImageInspect) -> Option<Imported> {
    let is_local = image.repo_digests.as_ref().is_none_or(Vec::is_empty);
    let reference = inspected.config.as_ref()?.image.clone()?;
    let as_it_is = AsItIs::of(inspected, image)?;
    let spec = &as_it_is.spec;
    let mut reading = Taking {
        body: serde_json::to_value(&spec.options.body).ok()?,
        of_image: serde_json::to_value(&as_it_is.of_image.options.body).ok()?,
        reading: Reading::new(None),
    };
    reading.reading.named(&spec.name);
    reading.process();
    reading.variables(&spec.environment, &as_it_is.of_image.environment);
    reading.files();
    reading.network(
        &spec
            .options
            .extra_networks
            .iter()
            .map(|(name, endpoint)| (name.clone(), serde_json::to_value(endpoint).unwrap_or_default()))
            .collect::<Vec<_>>(),
    );
    reading.limits();
    reading.host();
    let mut imported = reading.reading.finish();
    name_image(&mut imported, &reference, is_local);
    name_the_rest(&mut imported, &as_it_is);
    Some(imported)
}

/// An image that no registry knows is used as the engine has it.
fn name_image(imported: &mut Imported, reference: &str, is_local: bool) {
    imported.image = Some(reference.to_owned());
    if is_local {
        let image = mapping([("reference", reference.into()), ("pull", "missing".into())]);
        imported.options.insert(0, ("image".into(), image));
        imported.remarks.push(format!(
            "the engine knows no registry of {reference}: it is used as this host has it; other hosts need `image: {{archive: …}}`"
        ));
    }
}

/// Whatever the written file would change, and is not named yet.
fn name_the_rest(imported: &mut Imported, as_it_is: &AsItIs) {
    let Some(wanted) = wanted(imported, &as_it_is.spec.name) else { return };
    for change in as_it_is.changes(&wanted).into_iter().filter(|change| change.name != "image") {
        let is_named =
            imported.not_carried.iter().any(|item| item.option.contains(change.name.trim_start_matches("labels.")));
        let hidden = if change.is_sensitive { "***" } else { "" };
        let (was, becomes) = (change.was.as_deref().unwrap_or(hidden), change.becomes.as_deref().unwrap_or(hidden));
        let said = match change.kind {
            ChangeKind::Remove => format!("{} {was}", change.name),
            ChangeKind::Change => format!("{} {was} → {becomes}", change.name),
            ChangeKind::Add => continue,
        };
        if !is_named {
            let reason = "x-balehook has no key for it".to_owned();
            imported.not_carried.push(NotCarried { option: said, reason, instead: String::new() });
        }
    }
}

/// What a deployment of the file would create.
fn wanted(imported: &Imported, name: &str) -> Option<ContainerSpec> {
    let keys = imported.options.iter().filter(|(key, _)| key != "image");
    let keys = keys.map(|(key, value)| (Value::from(key.as_str()), value.clone()));
    let service = accept::service(&Value::Mapping(keys.collect())).ok()?;
    Some(ContainerSpec {
        name: name.to_owned(),
        image: ImagePin::Unknown { wanted: String::new() },
        options: container_options(&service, None),
        environment: service.environment,
        if_declared: Vec::new(),
    })
}

struct Taking {
    body: Json,
    of_image: Json,
    reading: Reading<'static>,
}

impl Taking {
    /// A member of the request, where somebody has chosen it.
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
            self.reading.add("volumes", self::mount(&mount), &format!("mount {mount}"));
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
}

/// What the engine writes where nothing was chosen.
fn is_nothing(value: &Json) -> bool {
    match value {
        Json::Null => true,
        Json::Bool(value) => !value,
        Json::Number(number) => number.as_f64() == Some(0.0),
        Json::String(text) => text.is_empty() || text == "no",
        Json::Array(items) => items.is_empty(),
        Json::Object(entries) => entries.values().all(is_nothing),
    }
}

/// As it is, without what nobody chose.
fn yaml(value: Json) -> Value {
    serde_yaml::to_value(value).unwrap_or_default()
}

fn cpus(nano: &Json) -> Value {
    let cpus = nano.as_f64().unwrap_or_default() / 1e9;
    if cpus.fract() == 0.0 { (cpus as i64).into() } else { cpus.into() }
}

fn texts(value: &Json) -> Vec<String> {
    value.as_array().into_iter().flatten().filter_map(Json::as_str).map(str::to_owned).collect()
}

/// The keys of an object, or a list's texts.
fn keys(value: &Json) -> BTreeSet<String> {
    match value {
        Json::Object(entries) => entries.keys().cloned().collect(),
        other => texts(other).into_iter().collect(),
    }
}

fn publication(port: &str, binding: &Json) -> String {
    let [host, published] = ["HostIp", "HostPort"].map(|member| binding[member].as_str().unwrap_or_default());
    let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
    let port = port.strip_suffix("/tcp").unwrap_or(port);
    match (host.as_str(), published) {
        ("", "" | "0") => port.to_owned(),
        ("", published) => format!("{published}:{port}"),
        (host, published) => format!("{host}:{published}:{port}"),
    }
}

/// Durations are nanoseconds there.
fn healthcheck(check: Json) -> Value {
    let mut found = Mapping::new();
    match texts(&check["Test"]).as_slice() {
        [] => {}
        [none] if none == "NONE" => drop(found.insert("disable".into(), true.into())),
        [shell, command] if shell == "CMD-SHELL" => drop(found.insert("test".into(), command.as_str().into())),
        _ => drop(found.insert("test".into(), yaml(check["Test"].clone()))),
    }
    for (member, key) in [
        ("Interval", "interval"),
        ("Timeout", "timeout"),
        ("StartPeriod", "start_period"),
        ("StartInterval", "start_interval"),
    ] {
        if let Some(time) = check[member].as_u64().filter(|time| *time > 0) {
            found.insert(key.into(), format!("{:?}", std::time::Duration::from_nanos(time)).into());
        }
    }
    if let Some(retries) = check["Retries"].as_i64().filter(|retries| *retries > 0) {
        found.insert("retries".into(), retries.into());
    }
    Value::Mapping(found)
}

/// What was chosen of a place in a network.
fn endpoint(endpoint: &Json) -> Mapping {
    let ipam = &endpoint["IPAMConfig"];
    let settings = [
        ("aliases", &endpoint["Aliases"]),
        ("ipv4_address", &ipam["IPv4Address"]),
        ("ipv6_address", &ipam["IPv6Address"]),
        ("link_local_ips", &ipam["LinkLocalIPs"]),
        ("driver_opts", &endpoint["DriverOpts"]),
    ];
    let chosen = settings.into_iter().filter(|(_, value)| !is_nothing(value));
    chosen.map(|(key, value)| (key.into(), yaml(value.clone()))).collect()
}

fn mount(mount: &Json) -> Value {
    let mut found = Mapping::new();
    for (member, key) in [
        ("Type", "type"),
        ("Source", "source"),
        ("Target", "target"),
        ("ReadOnly", "read_only"),
        ("Consistency", "consistency"),
    ] {
        if !is_nothing(&mount[member]) {
            found.insert(key.into(), yaml(mount[member].clone()));
        }
    }
    let mut group = |name: &str, members: &[(&str, Value)]| {
        let given = members.iter().filter(|(_, value)| !value.is_null());
        let inner: Mapping = given.map(|(key, value)| ((*key).into(), value.clone())).collect();
        if !inner.is_empty() {
            found.insert(name.into(), Value::Mapping(inner));
        }
    };
    let of = |options: &str, member: &str| {
        Some(&mount[options][member])
            .filter(|value| !is_nothing(value))
            .map_or(Value::Null, |value| yaml(value.clone()))
    };
    let is_bind = mount["Type"] == "bind";
    let creates = mount["BindOptions"]["CreateMountpoint"].as_bool().unwrap_or_default();
    let create = if is_bind && !creates { false.into() } else { Value::Null };
    group("bind", &[("propagation", of("BindOptions", "Propagation")), ("create_host_path", create)]);
    group(
        "volume",
        &[
            ("nocopy", of("VolumeOptions", "NoCopy")),
            ("subpath", of("VolumeOptions", "Subpath")),
            ("labels", of("VolumeOptions", "Labels")),
        ],
    );
    let size = mount["TmpfsOptions"]["SizeBytes"]
        .as_i64()
        .filter(|size| *size > 0)
        .map_or(Value::Null, |size| size.to_string().into());
    let mode = mount["TmpfsOptions"]["Mode"]
        .as_u64()
        .filter(|mode| *mode > 0)
        .map_or(Value::Null, |mode| format!("{mode:o}").into());
    group("tmpfs", &[("size", size), ("mode", mode)]);
    Value::Mapping(found)
}

fn device_request(request: &Json) -> Value {
    let mut found = Mapping::new();
    let ids = &request["DeviceIDs"];
    for (key, value) in [("driver", &request["Driver"]), ("device_ids", ids), ("options", &request["Options"])] {
        if !is_nothing(value) {
            found.insert(key.into(), yaml(value.clone()));
        }
    }
    if is_nothing(ids) && !is_nothing(&request["Count"]) {
        found.insert("count".into(), yaml(request["Count"].clone()));
    }
    if let Some(capabilities) = request["Capabilities"].as_array().and_then(|all| all.first()) {
        found.insert("capabilities".into(), yaml(capabilities.clone()));
    }
    Value::Mapping(found)
}
