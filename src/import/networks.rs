//! `--network` and what belongs to the first one: aliases and addresses.

use serde_yaml::{Mapping, Value};

/// Networks in the line's order.
#[derive(Debug, Default)]
pub(super) struct Networks {
    all: Vec<(String, Mapping)>,
    of_first: Mapping,
}

/// An option as it was written, the reason, and what to write instead.
type Aside = (String, &'static str, &'static str);

/// Settings of a network in the long syntax, and the keys that they become.
const SETTINGS: [(&str, &str); 6] = [
    ("alias", "aliases"),
    ("ip", "ipv4_address"),
    ("ip6", "ipv6_address"),
    ("link-local-ip", "link_local_ips"),
    ("mac-address", "mac_address"),
    ("gw-priority", "gw_priority"),
];

impl Networks {
    /// `web`, or `name=web,alias=www,ip=10.0.0.5`.
    pub(super) fn add(&mut self, value: &str) {
        let mut settings = Mapping::new();
        if !value.contains('=') {
            return self.all.push((value.to_owned(), settings));
        }
        let mut name = String::new();
        for (key, value) in value.split(',').filter_map(|part| part.split_once('=')) {
            match (key, SETTINGS.iter().find(|(option, _)| *option == key)) {
                ("name", _) => name = value.to_owned(),
                ("driver-opt", _) => {
                    let (option, value) = value.split_once('=').unwrap_or((value, ""));
                    let known = settings.entry("driver_opts".into()).or_insert_with(|| Value::Mapping(Mapping::new()));
                    known.as_mapping_mut().into_iter().for_each(|all| drop(all.insert(option.into(), value.into())));
                }
                (_, Some((_, key))) => set(&mut settings, key, value),
                (_, None) => set(&mut settings, key, value),
            }
        }
        self.all.push((name, settings));
    }

    pub(super) fn join(&mut self, network: &str, settings: Mapping) {
        self.all.push((network.to_owned(), settings));
    }

    /// A setting of the first network.
    pub(super) fn of_first(&mut self, key: &str, value: &str) {
        set(&mut self.of_first, key, value);
    }

    /// The keys of `container:`, and what cannot be written.
    pub(super) fn finish(mut self) -> (Vec<(&'static str, Value)>, Vec<Aside>) {
        let is_mode = self.all.len() < 2 && self.all.iter().all(|(name, _)| is_mode(name));
        if is_mode {
            let aside = self.of_first.iter().map(|(key, value)| {
                let value = value.as_str().or_else(|| value.as_sequence()?.first()?.as_str()).unwrap_or_default();
                let written = format!("{} {value}", flag(key.as_str().unwrap_or_default()));
                (written, "only a network of your own has aliases and addresses", "create one, and write `networks:`")
            });
            let mode = self.all.first().filter(|(name, _)| name != "default");
            return (
                mode.map(|(name, _)| ("network_mode", name.as_str().into())).into_iter().collect(),
                aside.collect(),
            );
        }
        if let Some((_, settings)) = self.all.first_mut() {
            settings.extend(self.of_first);
        }
        let has_settings = self.all.iter().any(|(_, settings)| !settings.is_empty());
        let networks = match has_settings {
            true => {
                let each = self.all.into_iter().map(|(name, settings)| (name.into(), Value::Mapping(settings)));
                Value::Mapping(each.collect())
            }
            false => self.all.into_iter().map(|(name, _)| Value::from(name)).collect::<Vec<_>>().into(),
        };
        (vec![("networks", networks)], Vec::new())
    }
}

fn set(settings: &mut Mapping, key: &str, value: &str) {
    if !matches!(key, "aliases" | "link_local_ips") {
        settings.insert(key.into(), value.into());
        return;
    }
    let known = settings.entry(key.into()).or_insert_with(|| Value::Sequence(Vec::new()));
    known.as_sequence_mut().into_iter().for_each(|all| all.push(value.into()));
}

fn flag(key: &str) -> &str {
    match key {
        "aliases" => "--network-alias",
        "ipv4_address" => "--ip",
        "ipv6_address" => "--ip6",
        "link_local_ips" => "--link-local-ip",
        other => other,
    }
}

/// What is no network of one's own.
fn is_mode(name: &str) -> bool {
    matches!(name, "host" | "none" | "bridge" | "default") || name.starts_with("container:")
}
