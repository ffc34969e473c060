//! What `compose config` says: services, their images, and every option with a digest of its value.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use crate::config::compose::Compose;
use crate::config::{ImageNeed, ImageSource, Probe, Pull, whole_address};
use crate::error::{Failure, Kind};
use crate::modes::compose::fetched;
use crate::modes::compose::listing::{Listing, digest_below};
use crate::modes::compose::project::{DIRECTORY, ServiceFacts};
use crate::modes::compose::shown::shown;
use crate::modes::mounts::HostMount;
use crate::ports::taken::HostPort;
use crate::values::types::ContentDigest;

/// Options that say how a service is made or ordered, not what its containers are.
const LEFT_OUT: [&str; 7] = ["build", "pull_policy", "depends_on", "profiles", "scale", "image", "deploy"];

pub(crate) struct Resolved<'a> {
    pub(crate) compose: &'a Compose,
    pub(crate) bundle_root: &'a Path,
    pub(crate) state: &'a Path,
    pub(crate) listing: &'a Listing,
    /// Variables that configs and secrets may be made of.
    pub(crate) environment: &'a BTreeMap<String, String>,
    pub(super) config: Value,
}

/// A service, the fixed host ports that it publishes, and what it mounts of the host outside the project's folder.
pub(crate) struct Service {
    pub(crate) facts: ServiceFacts,
    pub(crate) mounts: Vec<HostMount>,
    pub(crate) ports: Vec<HostPort>,
}

impl<'a> Resolved<'a> {
    /// Reads what `config` printed.
    pub(crate) fn read(
        text: &str,
        compose: &'a Compose,
        bundle_root: &'a Path,
        state: &'a Path,
        listing: &'a Listing,
        environment: &'a BTreeMap<String, String>,
    ) -> Result<Self, Failure> {
        let config = serde_yaml::from_str(text)
            .map_err(|error| Failure::new(Kind::Unexpected, format!("`compose config` printed no YAML: {error}")))?;
        Ok(Self { compose, bundle_root, state, listing, environment, config })
    }

    /// Whether any port is published that a path can be asked of.
    /// Errors: [`Kind::Appspec`]: no active service publishes a TCP port.
    pub(crate) fn answers(&self, probe: &Probe) -> Result<(), Failure> {
        let Probe::Http(asked) = probe else { return Ok(()) };
        let Some(path) = asked.path() else { return Ok(()) };
        let is_tcp = |port: &Value| port["protocol"].as_str().is_none_or(|protocol| protocol == "tcp");
        let publishes = |service: &Value| service["ports"].as_array().is_some_and(|ports| ports.iter().any(is_tcp));
        let services = self.config["services"].as_object();
        match !services.into_iter().flatten().any(|(_, service)| publishes(service)) {
            true => Err(wrong(format!("health.http `{path}` is a path, and no active service publishes a TCP port"))
                .next(whole_address(asked))),
            false => Ok(()),
        }
    }

    /// The active services, sorted by name.
    /// Errors: [`Kind::Appspec`]: a service without an image, an image for no service, a path outside the project's
    /// folder.
    pub(crate) fn services(&self) -> Result<Vec<Service>, Failure> {
        let (all, compose) = (self.active(), self.compose);
        fetched::check(&self.config)?;
        let named = compose.images.keys().map(|name| ("images", name));
        let mut named = named.chain(compose.services.iter().map(|name| ("services", name)));
        if let Some((key, unknown)) = named.find(|(_, name)| !all.contains_key(name.as_str())) {
            let names: Vec<&str> = all.keys().copied().collect();
            return Err(wrong(format!("compose.{key} names `{unknown}`, which is no active service"))
                .next(format!("services: {}", names.join(", "))));
        }
        let left_out = self.left_out();
        let wanted = all.into_iter().filter(|(name, _)| !left_out.iter().any(|left| left == name));
        let services = wanted.map(|(name, service)| self.service(name, service));
        let services = services.collect::<Result<Vec<Service>, Failure>>()?;
        match services.is_empty() {
            true => {
                Err(wrong("the project has no active service").next("name its profiles: `compose: {profiles: [one]}`"))
            }
            false => Ok(services),
        }
    }

    /// Every service of the files whose profile is active.
    pub(super) fn active(&self) -> BTreeMap<&str, &Value> {
        self.config["services"].as_object().into_iter().flatten().map(|(name, it)| (name.as_str(), it)).collect()
    }

    /// The active services that are neither named nor needed by one that is; none where none is named.
    pub(crate) fn left_out(&self) -> Vec<String> {
        let all = self.active();
        let mut needed: Vec<&str> = self.compose.services.iter().map(String::as_str).collect();
        if needed.is_empty() {
            return Vec::new();
        }
        let mut next = 0;
        while let Some(name) = needed.get(next) {
            let depends = all.get(name).map(|service| &service["depends_on"]);
            let names = depends.and_then(Value::as_object).into_iter().flatten().map(|(name, _)| name.as_str());
            let listed = depends.and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
            let more: Vec<&str> = names.chain(listed).filter(|name| !needed.contains(name)).collect();
            needed.extend(more);
            next += 1;
        }
        all.into_keys().filter(|name| !needed.contains(name)).map(str::to_owned).collect()
    }

    fn service(&self, name: &str, service: &Value) -> Result<Service, Failure> {
        self.check_paths(name, service)?;
        let need =
            ImageNeed { source: self.image(name, service)?, platform: service["platform"].as_str().map(str::to_owned) };
        let replicas = service["scale"].as_u64().or_else(|| service["deploy"]["replicas"].as_u64()).unwrap_or(1);
        let replicas = usize::try_from(replicas).unwrap_or(1);
        let (options, values) = (self.options(service), self.values(service));
        let (name, fetched) = (name.to_owned(), fetched::variables_of(service));
        let facts = ServiceFacts { name, need, options, values, fetched, replicas, files: Vec::new() };
        Ok(Service { facts, ports: ports(&service["ports"]), mounts: self.host_files(service) })
    }

    fn image(&self, name: &str, service: &Value) -> Result<ImageSource, Failure> {
        if let Some(source) = self.compose.images.get(name) {
            return Ok(source.clone());
        }
        let Some(image) = service["image"].as_str() else {
            return Err(wrong(format!("service {name} has no `image:`, and nothing is built during a deployment"))
                .next(format!("name its image: `compose: {{images: {{{name}: {{archive: {name}.tar}}}}}}`")));
        };
        let reference = image.parse();
        let pull = Pull::of(service["pull_policy"].as_str());
        reference
            .map(|reference| ImageSource::Registry(reference, pull, None, Duration::ZERO))
            .map_err(|why| wrong(format!("service {name}: image `{image}` {why}")))
    }

    /// The values of options, where those may be shown.
    fn values(&self, service: &Value) -> BTreeMap<String, String> {
        let all = service.as_object().into_iter().flatten();
        all.filter_map(|(name, value)| Some((name.clone(), shown(name, &self.moved(value))?))).collect()
    }

    /// Every option with a digest of its value; what is made of names and values is split into them.
    fn options(&self, service: &Value) -> BTreeMap<String, String> {
        let mut options = BTreeMap::new();
        for (name, value) in service.as_object().into_iter().flatten() {
            match (name.as_str(), self.moved(value)) {
                (name, _) if LEFT_OUT.contains(&name) => {}
                ("environment" | "labels", Value::Object(entries)) => entries.into_iter().for_each(|(key, value)| {
                    options.insert(format!("{name}.{key}"), short(&value));
                }),
                (_, value) => {
                    options.insert(name.clone(), short(&value));
                }
            }
        }
        for key in ["resources", "restart_policy"] {
            let value = service["deploy"].get(key);
            options.extend(value.map(|value| (format!("deploy.{key}"), short(value))));
        }
        for kind in ["networks", "volumes"] {
            let used = used(&service[kind], &self.config[kind]);
            if !used.is_empty() {
                options.insert(format!("definition of {kind}"), short(&Value::from(used)));
            }
        }
        for kind in ["configs", "secrets"] {
            for (name, _, definition) in self.uses(kind, service) {
                let variable = definition["environment"].as_str().map(|name| self.environment.get(name));
                let content = variable.map_or(definition["content"].clone(), |value| value.cloned().into());
                if !content.is_null() {
                    options.insert(format!("content of {kind}.{name}"), short(&content));
                }
            }
        }
        for mount in self.sources(service) {
            if let Ok(inside) = Path::new(&mount.path).strip_prefix(&self.compose.directory)
                && let Some(digest) = digest_below(self.listing, inside)
            {
                options.insert(format!("content of ./{}", inside.display()), digest.short().to_owned());
            }
        }
        options
    }

    /// Paths of this host that the service mounts: bind mounts, and the files of configs and secrets.
    fn sources(&self, service: &Value) -> Vec<HostMount> {
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let mounts = service["volumes"].as_array().into_iter().flatten().filter_map(|mount| match mount {
            Value::String(short) => {
                let mut parts = short.split(':').map(str::to_owned);
                parts.next().zip(parts.next())
            }
            other => text(&other["source"]).zip(text(&other["target"])),
        });
        let files = [("configs", "/"), ("secrets", "/run/secrets/")].into_iter().flat_map(|(kind, folder)| {
            self.uses(kind, service).filter_map(move |(name, item, definition)| {
                let target = item["target"].as_str().unwrap_or(name);
                let target = if target.starts_with('/') { target.to_owned() } else { format!("{folder}{target}") };
                text(&definition["file"]).zip(Some(target))
            })
        });
        let on_host = mounts.chain(files).filter(|(path, _)| path.starts_with('/'));
        on_host.map(|(path, target)| HostMount { path, target }).collect()
    }

    /// The configs or secrets of a service: each with its name, as the service names it, and its definition.
    pub(super) fn uses<'b>(
        &'b self,
        kind: &'b str,
        service: &'b Value,
    ) -> impl Iterator<Item = (&'b str, &'b Value, &'b Value)> {
        service[kind].as_array().into_iter().flatten().filter_map(move |item| {
            let name = item.as_str().or(item["source"].as_str())?;
            Some((name, item, &self.config[kind][name]))
        })
    }

    /// Files of the host that the service mounts; what lies in the project's folder is compared by its content.
    fn host_files(&self, service: &Value) -> Vec<HostMount> {
        let mut mounts = self.sources(service);
        mounts.retain(|mount| !Path::new(&mount.path).starts_with(&self.compose.directory));
        mounts
    }

    /// A relative path that leaves the project's folder would be another one in the snapshot.
    fn check_paths(&self, name: &str, service: &Value) -> Result<(), Failure> {
        let directory = &self.compose.directory;
        let bundle = self.bundle_root.parent().unwrap_or(self.bundle_root);
        let sources = self.sources(service);
        let mut paths = sources.iter().map(|mount| Path::new(&mount.path));
        match paths.find(|path| path.starts_with(bundle) && !path.starts_with(directory)) {
            Some(path) => {
                let path = path.strip_prefix(self.bundle_root).unwrap_or(path).display();
                Err(wrong(format!("service {name} mounts `{path}`, which lies outside the project's folder"))
                    .next("move it into the folder, name a folder above both as `compose.directory`, or mount an absolute path"))
            }
            None => Ok(()),
        }
    }

    /// A value with the paths that it will have where Compose works.
    fn moved(&self, value: &Value) -> Value {
        match value {
            Value::String(text) => {
                let directory = self.compose.directory.display().to_string();
                match text.strip_prefix(&directory) {
                    Some(rest) if rest.is_empty() || rest.starts_with(['/', ':']) => {
                        Value::from(format!("{}{rest}", self.state.join(DIRECTORY).display()))
                    }
                    _ => value.clone(),
                }
            }
            Value::Array(items) => items.iter().map(|item| self.moved(item)).collect(),
            Value::Object(entries) => entries.iter().map(|(key, value)| (key.clone(), self.moved(value))).collect(),
            Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
        }
    }
}

/// The definitions that a service's list or mapping of names refers to.
fn used(names: &Value, definitions: &Value) -> Vec<Value> {
    let names: Vec<String> = match names {
        Value::Object(entries) => entries.keys().cloned().collect(),
        Value::Array(items) => items
            .iter()
            .filter_map(|item| match item {
                Value::String(text) => text.split(':').next().map(str::to_owned),
                other => other["source"].as_str().map(str::to_owned),
            })
            .collect(),
        _ => Vec::new(),
    };
    names.iter().filter_map(|name| definitions.get(name)).cloned().collect()
}

fn short(value: &Value) -> String {
    ContentDigest::of(value.to_string().as_bytes()).short().to_owned()
}

/// The fixed host ports that a service publishes.
fn ports(value: &Value) -> Vec<HostPort> {
    let text = |value: &Value| match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    };
    let each = value.as_array().into_iter().flatten().filter_map(|port| {
        let protocol = text(&port["protocol"]).unwrap_or_else(|| "tcp".into());
        HostPort::fixed(&text(&port["host_ip"]).unwrap_or_default(), &text(&port["published"])?, &protocol)
    });
    each.collect()
}

fn wrong(message: impl Into<String>) -> Failure {
    Failure::new(Kind::Appspec, message)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::time::Duration;

    static ENVIRONMENT: BTreeMap<String, String> = BTreeMap::new();

    fn compose() -> Compose {
        Compose {
            directory: "/opt/d-1/archive/app".into(),
            files: vec!["compose.yml".into()],
            profiles: vec!["x".into()],
            services: Vec::new(),
            env_file: Vec::new(),
            environment: Vec::new(),
            fetched: Vec::new(),
            images: BTreeMap::new(),
            wait_timeout: Duration::from_secs(60),
        }
    }

    fn services(text: &str, compose: &Compose) -> Result<Vec<Service>, Failure> {
        let listing = Listing::new();
        let root = Path::new("/opt/d-1/archive");
        Resolved::read(text, compose, root, Path::new("/state/web"), &listing, &ENVIRONMENT)?.services()
    }

    #[test]
    fn a_service_is_read_with_its_fixed_host_ports_and_a_digest_of_each_variable() {
        let text = "services:\n  web:\n    image: host.test/web:1\n    environment: {A: x}\n    ports: [{mode: ingress, target: 80, \
                    published: '8080', protocol: tcp}, {host_ip: 127.0.0.1, target: 82, published: '81', protocol: udp}, {target: 83}]\n";
        let services = services(text, &compose()).unwrap();
        let ports: Vec<String> = services[0].ports.iter().map(ToString::to_string).collect();
        assert_eq!(ports, ["8080/tcp", "127.0.0.1:81/udp"]);
        let options = &services[0].facts.options;
        assert_eq!(options.keys().collect::<Vec<_>>(), ["environment.A", "ports"]);
        assert_eq!(options["environment.A"], short(&Value::from("x")));
    }

    #[test]
    fn the_folder_of_one_deployment_is_no_option_of_a_service() {
        let text = |id: &str| {
            format!("services:\n  web:\n    image: a/web:1\n    volumes: ['/opt/{id}/archive/app/conf:/conf:ro']\n")
        };
        let first = services(&text("d-1"), &compose()).unwrap();
        let other = Compose { directory: "/opt/d-2/archive/app".into(), ..compose() };
        let listing = Listing::new();
        let config = text("d-2");
        let second = Resolved::read(
            &config,
            &other,
            Path::new("/opt/d-2/archive"),
            Path::new("/state/web"),
            &listing,
            &ENVIRONMENT,
        )
        .unwrap();
        assert_eq!(first[0].facts.options, second.services().unwrap()[0].facts.options);
    }

    #[test]
    fn of_the_services_that_are_named_those_that_they_depend_on_come_up_too() {
        let text = "services: {api: {image: 'a:1', depends_on: {db: {condition: service_started}}}, db: {image: 'd:1', depends_on: \
                    [disk]}, disk: {image: 'x:1'}, cron: {image: 'c:1'}}";
        let named = |names: &[&str]| {
            let compose = Compose { services: names.iter().map(|name| (*name).to_owned()).collect(), ..compose() };
            services(text, &compose).map(|found| found.into_iter().map(|found| found.facts.name).collect::<Vec<_>>())
        };
        assert_eq!(named(&["api"]).unwrap(), ["api", "db", "disk"]);
        assert_eq!(named(&["cron"]).unwrap(), ["cron"]);
        assert_eq!(named(&[]).unwrap(), ["api", "cron", "db", "disk"]);
        let unknown = named(&["app"]).unwrap_err();
        assert_eq!(unknown.message, "compose.services names `app`, which is no active service");
    }

    #[test]
    fn what_compose_hands_in_as_a_file_counts_by_its_content_and_a_variable_by_its_value() {
        let read = |content: &str, token: &str, restart: &str| {
            let text = format!(
                "services:\n  web:\n    image: a:1\n    configs: [{{source: inline, target: /etc/x}}]\n    secrets: [token]\n    \
                 deploy: {{restart_policy: {{condition: {restart}}}}}\nconfigs: {{inline: {{content: {content}}}}}\nsecrets: \
                 {{token: {{environment: TOKEN}}}}\n"
            );
            let environment = BTreeMap::from([("TOKEN".to_owned(), token.to_owned())]);
            let (listing, compose) = (Listing::new(), compose());
            let root = Path::new("/opt/d-1/archive");
            let read = Resolved::read(&text, &compose, root, Path::new("/state/web"), &listing, &environment).unwrap();
            read.services().unwrap().remove(0).facts.options
        };
        let before = read("one", "hunter1", "any");
        let changed = |after: BTreeMap<String, String>| {
            let changed = after.into_iter().filter(|(name, value)| before.get(name) != Some(value));
            changed.map(|(name, _)| name).collect::<Vec<_>>()
        };
        assert_eq!(changed(read("one", "hunter1", "any")), [""; 0]);
        assert_eq!(changed(read("two", "hunter1", "any")), ["content of configs.inline"]);
        assert_eq!(changed(read("one", "hunter2", "any")), ["content of secrets.token"]);
        assert_eq!(changed(read("one", "hunter1", "on-failure")), ["deploy.restart_policy"]);
    }

    #[test]
    fn files_of_the_host_are_found_in_every_form_in_which_a_service_mounts_them() {
        let text = "services:\n  web:\n    image: a:1\n    volumes: ['/etc/short:/a:ro', {type: bind, source: /etc/long, target: /b}, \
                    {type: volume, source: v, target: /v}, '/opt/d-1/archive/app/own:/own']\n    configs: [plain, {source: named, target: \
                    /etc/named}]\n    secrets: [key]\nconfigs: {plain: {file: /etc/plain}, named: {file: /etc/n}}\nsecrets: {key: {file: \
                    /etc/key}}\n";
        let services = services(text, &compose()).unwrap();
        let mounts: Vec<(&str, &str)> =
            services[0].mounts.iter().map(|mount| (mount.path.as_str(), mount.target.as_str())).collect();
        let files = [("/etc/plain", "/plain"), ("/etc/n", "/etc/named"), ("/etc/key", "/run/secrets/key")];
        assert_eq!(mounts, [&[("/etc/short", "/a"), ("/etc/long", "/b")][..], &files].concat());
    }

    #[test]
    fn what_cannot_be_deployed_is_said_with_what_to_write() {
        let refused = |text: &str, compose: &Compose| {
            let failure = services(text, compose).err().unwrap();
            format!("{} | {}", failure.message, failure.next.unwrap_or_default())
        };
        let built = refused("services: {web: {build: {context: /x}}}", &compose());
        assert!(
            built.contains("service web has no `image:`") && built.contains("{images: {web: {archive: web.tar}}}"),
            "{built}"
        );
        let outside = refused("services: {web: {image: 'a:1', volumes: ['/opt/d-1/archive/x:/x']}}", &compose());
        assert!(outside.contains("service web mounts `x`, which lies outside"), "{outside}");
        let above = refused(
            "services: {web: {image: 'a:1', volumes: [{type: bind, source: /opt/d-1/x, target: /x}]}}",
            &compose(),
        );
        assert!(above.contains("lies outside the project's folder"), "{above}");
        let none = refused("services: {}", &compose());
        assert!(none.contains("no active service"), "{none}");
        let images = BTreeMap::from([(
            "wbe".to_owned(),
            ImageSource::Registry("a:1".parse().unwrap(), Pull::Always, None, Duration::ZERO),
        )]);
        let unknown = refused("services: {web: {image: 'a:1'}}", &Compose { images, ..compose() });
        assert!(unknown.contains("names `wbe`, which is no active service | services: web"), "{unknown}");
        let bad = refused("services: {web: {image: 'A:1'}}", &compose());
        assert!(bad.contains("service web: image `A:1`"), "{bad}");
    }
}
