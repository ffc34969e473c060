//! Options one after another, as the keys of `container:` that they become. Each is accepted by `check`, or named as not
//! carried.

use std::path::Path;

use serde_yaml::{Mapping, Value};

use crate::import::accept::{Refusal, accept};
use crate::import::flags::{Becomes, Flag, Special};
use crate::import::line::as_written;
use crate::import::networks::Networks;
use crate::import::values::{mapping, number_or_text, secret, shown, texts, unknown};
use crate::import::{Imported, NotCarried, mounts};
use crate::values::reference::ImageReference;
use crate::values::types::Refused;

pub(super) struct Reading<'a> {
    /// Where relative paths begin.
    folder: Option<&'a Path>,
    imported: Imported,
    networks: Networks,
}

impl<'a> Reading<'a> {
    pub(super) fn new(folder: Option<&'a Path>) -> Self {
        Self { folder, imported: Imported::default(), networks: Networks::default() }
    }

    /// What became of all of them.
    pub(super) fn finish(mut self) -> Imported {
        let (found, aside) = std::mem::take(&mut self.networks).finish();
        for (key, value) in found {
            self.attempt(key, value, &format!("--{}", key.replace('_', "-")));
        }
        for (written, reason, instead) in aside {
            self.not_carried(&written, reason, instead);
        }
        self.leave_ports_out();
        if self.imported.get("mem_limit").is_none() && self.imported.get("memswap_limit").is_some() {
            self.imported.options.retain(|(key, _)| key != "memswap_limit");
            self.not_carried("--memory-swap", "it means nothing without `--memory`: docker refuses it too", "");
        }
        self.imported
    }

    pub(super) fn named(&mut self, name: &str) {
        self.imported.name = Some(name.to_owned());
    }

    /// An option that the image gives.
    pub(super) fn only_default(&mut self, name: &str) {
        self.imported.only_defaults.push(name.to_owned());
    }

    /// A network, with its settings.
    pub(super) fn join(&mut self, network: &str, settings: Mapping) {
        self.networks.join(network, settings);
    }

    pub(super) fn image(&mut self, image: &str) {
        match unknown(image) {
            None => match image.parse::<ImageReference>() {
                Ok(_) => self.imported.image = Some(image.to_owned()),
                Err(Refused(why)) => self.not_carried(image, &format!("the image {why}"), "write `image:`"),
            },
            Some((reason, instead)) => self.not_carried(image, &reason, &instead),
        }
    }

    /// The words behind the image.
    pub(super) fn command(&mut self, words: &[String]) {
        if !words.is_empty() {
            let written = words.join(" ");
            match unknown(&written) {
                None => self.attempt("command", texts(words), &written),
                Some((reason, instead)) => self.not_carried(&written, &reason, &instead),
            }
        }
    }

    pub(super) fn not_carried(&mut self, written: &str, reason: &str, instead: &str) {
        let option = shown(&as_written(written));
        self.imported.not_carried.push(NotCarried { option, reason: reason.to_owned(), instead: instead.to_owned() });
    }

    /// An option without a value.
    pub(super) fn switch(&mut self, flag: &Flag, written: &str, is_on: bool) {
        match flag.becomes {
            Becomes::Switch(key) => self.attempt(key, is_on.into(), written),
            Becomes::Special(Special::NoHealthCheck) if is_on => {
                self.attempt("healthcheck", mapping([("disable", true.into())]), written);
            }
            Becomes::Nothing(reason, instead) if is_on => self.not_carried(written, reason, instead),
            Becomes::Nothing(..) | Becomes::Special(_) => {}
            Becomes::Text(_) | Becomes::List(_) | Becomes::Pairs(_) => {}
        }
    }

    /// An option with its value.
    pub(super) fn option(&mut self, flag: &Flag, written: &str, value: &str) {
        let whole = format!("{written} {value}");
        if let Becomes::Nothing(reason, instead) = flag.becomes {
            return self.not_carried(&whole, reason, instead);
        }
        if let Some((reason, instead)) = unknown(value) {
            return self.not_carried(&whole, &reason, &instead);
        }
        match flag.becomes {
            Becomes::Text(key) => self.attempt(key, number_or_text(key, value), &whole),
            Becomes::List("entrypoint") => self.attempt("entrypoint", texts(&[value.to_owned()]), &whole),
            Becomes::List("security_opt") => self.security(value, &whole),
            Becomes::List(key) => self.add(key, value.into(), &whole),
            Becomes::Pairs(key) => {
                let (name, value) = value.split_once('=').unwrap_or((value, ""));
                self.entry(key, name, value.into(), &whole);
            }
            Becomes::Special(special) => self.special(special, value, &whole),
            Becomes::Switch(_) | Becomes::Nothing(..) => {}
        }
    }

    fn special(&mut self, special: Special, value: &str, whole: &str) {
        match special {
            Special::Name => self.imported.name = Some(value.to_owned()),
            Special::Network => self.networks.add(value),
            Special::AliasOfFirst => self.networks.of_first("aliases", value),
            Special::AddressOfFirst(key) => self.networks.of_first(key, value),
            Special::Variable => self.variable(value, whole),
            Special::EnvFile => self.env_file(value, whole),
            Special::Health(key) => self.entry("healthcheck", key, number_or_text("pids_limit", value), whole),
            Special::NoHealthCheck => {}
            Special::LogDriver => self.entry("logging", "driver", value.into(), whole),
            Special::LogOption => self.log_option(value, whole),
            Special::NoSwappiness if value == "-1" => {}
            Special::NoSwappiness => self.attempt("mem_swappiness", number_or_text("mem_swappiness", value), whole),
            Special::StopTimeout => self.attempt("stop_grace_period", format!("{value}s").into(), whole),
            Special::Port => self.carry("ports", mounts::port(value), whole),
            Special::Volume => {
                let volume = mounts::volume(value, self.folder);
                self.look_at_path(value, volume.as_ref().ok());
                self.carry("volumes", volume, whole);
            }
            Special::Mount => {
                let mount = mounts::mount(value, self.folder);
                self.carry("volumes", mount, whole);
            }
            Special::Gpus => match mounts::gpus(value) {
                Value::Sequence(all) => all.into_iter().for_each(|item| self.add("gpus", item, whole)),
                all => self.attempt("gpus", all, whole),
            },
            Special::Ulimit => {
                let (name, limits) = value.split_once('=').unwrap_or((value, ""));
                self.entry("ulimits", name, mounts::ulimit(limits), whole);
            }
            Special::BlockWeight => {
                self.entry("blkio_config", "weight", number_or_text("pids_limit", value), whole);
            }
            Special::BlockWeightDevice => self.block_device("weight_device", "weight", value, whole),
            Special::BlockDevice(key) => self.block_device(key, "rate", value, whole),
        }
    }

    fn variable(&mut self, value: &str, whole: &str) {
        match value.split_once('=') {
            Some((name, text)) => {
                self.entry("environment", name, text.into(), &format!("-e {name}={}", secret(name, text)))
            }
            None => {
                self.entry("environment", value, Value::Null, whole);
                self.imported.remarks.push(format!(
                    "{value} had the shell's value; now it takes the hook's, which has CodeDeploy's variables alone"
                ));
            }
        }
    }

    /// As docker reads it: no quotes, no variables.
    fn env_file(&mut self, value: &str, whole: &str) {
        let path = mounts::absolute(value, self.folder);
        let file = path.map(|path| mapping([("path", path.as_str().into()), ("format", "raw".into())]));
        self.look_at_path(value, file.as_ref().ok());
        self.carry("env_file", file, whole);
    }

    /// A profile's file is named by its path.
    fn security(&mut self, value: &str, whole: &str) {
        let option = match value.strip_prefix("seccomp=") {
            Some(file) if !matches!(file, "unconfined" | "builtin") => {
                mounts::absolute(file, self.folder).map(|path| format!("seccomp={path}").into())
            }
            _ => Ok(value.into()),
        };
        self.carry("security_opt", option, whole);
    }

    fn log_option(&mut self, value: &str, whole: &str) {
        let (name, value) = value.split_once('=').unwrap_or((value, ""));
        let mut options =
            self.existing("logging").get("options").and_then(Value::as_mapping).cloned().unwrap_or_default();
        options.insert(name.into(), value.into());
        self.entry("logging", "options", Value::Mapping(options), whole);
    }

    fn block_device(&mut self, key: &'static str, what: &'static str, value: &str, whole: &str) {
        let (path, rate) = value.rsplit_once(':').unwrap_or((value, ""));
        let device = mapping([("path", path.into()), (what, number_or_text("pids_limit", rate))]);
        let mut all = self.existing("blkio_config").get(key).and_then(Value::as_sequence).cloned().unwrap_or_default();
        all.push(device);
        self.entry("blkio_config", key, Value::Sequence(all), whole);
    }

    /// A path of the folder in which the line was run.
    fn look_at_path(&mut self, written: &str, carried: Option<&Value>) {
        let is_relative = !written.starts_with('/');
        let path = carried.and_then(|value| value.as_str().or_else(|| value.get("path")?.as_str()));
        if let Some(path) = path.filter(|path| is_relative && path.starts_with('/')) {
            self.imported
                .remarks
                .push(format!("`{}` is `{path}` now: it was relative to the folder of the line", shown(written)));
        }
    }

    fn carry(&mut self, key: &str, item: Result<Value, Refusal>, whole: &str) {
        match item {
            Ok(item) => self.add(key, item, whole),
            Err((reason, instead)) => self.not_carried(whole, &reason, &instead),
        }
    }

    fn existing(&self, key: &str) -> Value {
        self.imported.get(key).cloned().unwrap_or(Value::Null)
    }

    /// One more item of a list.
    pub(super) fn add(&mut self, key: &str, item: Value, whole: &str) {
        let mut items = self.existing(key).as_sequence().cloned().unwrap_or_default();
        items.push(item);
        self.attempt(key, Value::Sequence(items), whole);
    }

    /// One more entry, or another value of one.
    pub(super) fn entry(&mut self, key: &str, name: &str, value: Value, whole: &str) {
        let mut entries = self.existing(key).as_mapping().cloned().unwrap_or_default();
        entries.insert(name.into(), value);
        self.attempt(key, Value::Mapping(entries), whole);
    }

    /// Sets a key where `check` accepts its value.
    pub(super) fn attempt(&mut self, key: &str, value: Value, whole: &str) {
        match accept(key, &value) {
            Ok(()) => match self.imported.options.iter_mut().find(|(name, _)| name == key) {
                Some((_, place)) => *place = value,
                None => self.imported.options.push((key.to_owned(), value)),
            },
            Err((reason, instead)) => self.not_carried(whole, &reason, &instead),
        }
    }

    /// What docker itself drops, or refuses.
    fn leave_ports_out(&mut self) {
        let mode = self.existing("network_mode").as_str().unwrap_or_default().to_owned();
        let has_none = matches!(mode.as_str(), "host" | "none") || mode.starts_with("container:");
        let Some(at) = self.imported.options.iter().position(|(key, _)| key == "ports").filter(|_| has_none) else {
            return;
        };
        let (_, ports) = self.imported.options.remove(at);
        for port in ports.as_sequence().into_iter().flatten().filter_map(Value::as_str) {
            let reason = format!("no port can be published with `--network {mode}`: docker drops it too");
            self.not_carried(&format!("-p {port}"), &reason, "");
        }
    }
}
