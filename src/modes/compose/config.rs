//! What `compose config` says: services, their images, and every option with a digest of its value.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::config::compose::Compose;
use crate::config::{ImageNeed, ImageSource, Probe, whole_address};
use crate::error::{Failure, Kind};
use crate::modes::compose::listing::{Listing, digest_below};
use crate::modes::compose::project::{DIRECTORY, ServiceFacts};
use crate::ports::taken::HostPort;
use crate::values::types::ContentDigest;

/// Options that say how a service is made or ordered, not what its containers are.
const LEFT_OUT: [&str; 7] = ["build", "pull_policy", "depends_on", "profiles", "scale", "image", "deploy"];

pub(crate) struct Resolved<'a> {
    pub(crate) compose: &'a Compose,
    pub(crate) bundle_root: &'a Path,
    pub(crate) state: &'a Path,
    pub(crate) listing: &'a Listing,
    config: Value,
}

/// A service, and the fixed host ports that it publishes.
pub(crate) struct Service {
    pub(crate) facts: ServiceFacts,
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
    ) -> Result<Self, Failure> {
        let config = serde_yaml::from_str(text)
            .map_err(|error| Failure::new(Kind::Unexpected, format!("`compose config` printed no YAML: {error}")))?;
        Ok(Self { compose, bundle_root, state, listing, config })
    }

    /// Whether a path can be asked of anybody.
    /// Errors: [`Kind::Appspec`]: no active service publishes a TCP port.
    pub(crate) fn answers(&self, probe: &Probe) -> Result<(), Failure> {
        let Probe::Http(path) = probe else { return Ok(()) };
        let is_tcp = |port: &Value| port["protocol"].as_str().is_none_or(|protocol| protocol == "tcp");
        let publishes = |service: &Value| service["ports"].as_array().is_some_and(|ports| ports.iter().any(is_tcp));
        let services = self.config["services"].as_object();
        match path.starts_with('/') && !services.into_iter().flatten().any(|(_, service)| publishes(service)) {
            true => Err(wrong(format!("health.http `{path}` is a path, and no active service publishes a TCP port"))
                .next(whole_address(path))),
            false => Ok(()),
        }
    }

    /// The active services, sorted by name.
    /// Errors: [`Kind::Appspec`]: a service without an image, an image for no service, a path outside the project's
    /// folder.
    pub(crate) fn services(&self) -> Result<Vec<Service>, Failure> {
        let all = self.config["services"].as_object().into_iter().flatten();
        let services = all.map(|(name, service)| self.service(name, service));
        let mut services = services.collect::<Result<Vec<Service>, Failure>>()?;
        services.sort_by(|a, b| a.facts.name.cmp(&b.facts.name));
        let is_known = |name: &&String| services.iter().any(|service| service.facts.name == **name);
        if let Some(unknown) = self.compose.images.keys().find(|name| !is_known(name)) {
            let names: Vec<&str> = services.iter().map(|service| service.facts.name.as_str()).collect();
            return Err(wrong(format!("compose.images names `{unknown}`, which is no active service"))
                .next(format!("services: {}", names.join(", "))));
        }
        match services.is_empty() {
            true => {
                Err(wrong("the project has no active service").next("name its profiles: `compose: {profiles: [one]}`"))
            }
            false => Ok(services),
        }
    }

    fn service(&self, name: &str, service: &Value) -> Result<Service, Failure> {
        self.check_paths(name, service)?;
        let need =
            ImageNeed { source: self.image(name, service)?, platform: service["platform"].as_str().map(str::to_owned) };
        let replicas = service["scale"].as_u64().or_else(|| service["deploy"]["replicas"].as_u64()).unwrap_or(1);
        let replicas = usize::try_from(replicas).unwrap_or(1);
        let options = self.options(service);
        let facts = ServiceFacts { name: name.to_owned(), need, options, replicas };
        Ok(Service { facts, ports: ports(&service["ports"]) })
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
        reference.map(ImageSource::Registry).map_err(|why| wrong(format!("service {name}: image `{image}` {why}")))
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
        if let Some(limits) = service["deploy"].get("resources") {
            options.insert("deploy.resources".into(), short(limits));
        }
        for kind in ["networks", "volumes"] {
            let used = used(&service[kind], &self.config[kind]);
            if !used.is_empty() {
                options.insert(format!("definition of {kind}"), short(&Value::from(used)));
            }
        }
        for path in self.sources(service) {
            if let Ok(inside) = path.strip_prefix(&self.compose.directory)
                && let Some(digest) = digest_below(self.listing, inside)
            {
                options.insert(format!("content of ./{}", inside.display()), digest.short().to_owned());
            }
        }
        options
    }

    /// Paths of this host that the service mounts: bind mounts, and the files of configs and secrets.
    fn sources(&self, service: &Value) -> Vec<PathBuf> {
        let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
        let mounts = list(&service["volumes"]);
        let mounts = mounts.iter().filter_map(|mount| match mount {
            Value::String(text) => text.split(':').next().map(str::to_owned),
            other => other["source"].as_str().map(str::to_owned),
        });
        let files = ["configs", "secrets"].into_iter().flat_map(|kind| {
            let used = list(&service[kind]).into_iter();
            used.filter_map(move |item| {
                let name = item.as_str().or(item["source"].as_str()).map(str::to_owned)?;
                self.config[kind][&name]["file"].as_str().map(str::to_owned)
            })
        });
        mounts.chain(files).filter(|path| path.starts_with('/')).map(PathBuf::from).collect()
    }

    /// A relative path that leaves the project's folder would be another one in the snapshot.
    fn check_paths(&self, name: &str, service: &Value) -> Result<(), Failure> {
        let directory = &self.compose.directory;
        let bundle = self.bundle_root.parent().unwrap_or(self.bundle_root);
        match self.sources(service).iter().find(|path| path.starts_with(bundle) && !path.starts_with(directory)) {
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

    fn compose() -> Compose {
        Compose {
            directory: "/opt/d-1/archive/app".into(),
            files: vec!["compose.yml".into()],
            profiles: vec!["x".into()],
            env_file: Vec::new(),
            images: BTreeMap::new(),
            wait_timeout: Duration::from_secs(60),
        }
    }

    fn services(text: &str, compose: &Compose) -> Result<Vec<Service>, Failure> {
        let listing = Listing::new();
        let root = Path::new("/opt/d-1/archive");
        Resolved::read(text, compose, root, Path::new("/state/web"), &listing)?.services()
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
        let second =
            Resolved::read(&config, &other, Path::new("/opt/d-2/archive"), Path::new("/state/web"), &listing).unwrap();
        assert_eq!(first[0].facts.options, second.services().unwrap()[0].facts.options);
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
        let images = BTreeMap::from([("wbe".to_owned(), ImageSource::Registry("a:1".parse().unwrap()))]);
        let unknown = refused("services: {web: {image: 'a:1'}}", &Compose { images, ..compose() });
        assert!(unknown.contains("names `wbe`, which is no active service | services: web"), "{unknown}");
        let bad = refused("services: {web: {image: 'A:1'}}", &compose());
        assert!(bad.contains("service web: image `A:1`"), "{bad}");
    }
}
