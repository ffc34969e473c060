//! What a project asks of the host, in each service as Compose resolves it.

use std::collections::BTreeMap;
use std::path::Path;
use std::slice::from_ref;

use serde_json::Value;

use crate::config::compose::Compose;
use crate::config::policy::Policy;
use crate::config::policy::demand::{Demand, Subject};
use crate::config::yaml::{Node, Place};
use crate::error::{Failure, Kind};
use crate::modes::compose::config::Resolved;
use crate::modes::compose::files::{as_it_stands, text};
use crate::modes::compose::listing::Listing;
use crate::modes::compose::project::DIRECTORY;
use crate::values::reference::ImageReference;

/// The engine's socket, which `use_api_socket` mounts.
const SOCKET: &str = "/var/run/docker.sock";

/// A demand, and the Compose file in which it stands.
type Found = (String, Demand);

/// What the policy refuses of the files as they stand, before Compose was asked: nothing of files that they include or
/// extend.
pub(crate) fn refused_as_it_stands(
    compose: &Compose,
    bundle: &Path,
    lookup: &dyn Fn(&str) -> Option<String>,
    policy: &Policy,
) -> Vec<(String, String)> {
    let (config, listing, environment) = (as_it_stands(compose, bundle, lookup), Listing::new(), BTreeMap::new());
    let resolved = Resolved::read(&config, compose, bundle, Path::new("/"), &listing, &environment);
    resolved.map(|resolved| resolved.refused(policy)).unwrap_or_default()
}

impl Resolved<'_> {
    /// Why the host's policy refuses the services that come up.
    pub(super) fn refusal(&self, policy: &Policy) -> Option<Failure> {
        let refused = self.refused(policy);
        let message = format!("the host's policy {} refuses the Compose project", policy.path.display());
        let lines =
            refused.into_iter().flat_map(|(message, help)| [message, format!("    {help}")]).collect::<Vec<_>>();
        (!lines.is_empty()).then(|| Failure::new(Kind::Policy, message).evidence(lines))
    }

    /// Each with its place, and what allows how much.
    pub(crate) fn refused(&self, policy: &Policy) -> Vec<(String, String)> {
        let found = self.demands();
        let refused = found.iter().flat_map(|(file, demand)| {
            let these = policy.judge(from_ref(demand));
            these.into_iter().map(move |refusal| (refusal.at(file), refusal.help))
        });
        refused.collect()
    }

    fn demands(&self) -> Vec<Found> {
        let files = self.compose.files.iter().filter_map(|file| {
            let text = text(&self.compose.directory.join(file), self.bundle_root);
            Some((file.display().to_string(), Node::parse(&text).ok()?))
        });
        let mut seeker = Seeker { resolved: self, files: files.collect(), found: Vec::new() };
        let left_out = self.left_out();
        for (name, service) in self.active() {
            if !left_out.iter().any(|left| left == name) {
                seeker.service(name, service);
            }
        }
        seeker.found
    }

    /// A path of the host; none of the project's own, which comes with the revision, unless a link leads out of it: in the
    /// bundle, or where Compose works and containers may have changed it.
    fn mount(&self, path: &str) -> Option<Demand> {
        let of = |path: &Path| Demand::of_path(Subject::Mount, &path.to_string_lossy());
        let Ok(inside) = Path::new(path).strip_prefix(&self.compose.directory) else {
            return path.starts_with('/').then(|| Demand::of_path(Subject::Mount, path));
        };
        let folders = [self.compose.directory.clone(), self.state.join(DIRECTORY)];
        let mut real = folders.iter().map(|folder| (of(folder), of(&folder.join(inside))));
        let outside = real.find(|(folder, path)| !Path::new(&path.value).starts_with(&folder.value));
        outside.map(|(_, path)| Demand { written: format!("./{}", inside.display()), ..path })
    }
}

struct Seeker<'a> {
    resolved: &'a Resolved<'a>,
    /// The Compose files as they are written.
    files: Vec<(String, Node)>,
    found: Vec<Found>,
}

impl Seeker<'_> {
    fn push(&mut self, keys: [&str; 3], demand: Option<Demand>) {
        let Some(demand) = demand else { return };
        let (file, place) = self.place(&keys);
        let found = (file, Demand { place, path: keys.join("."), ..demand });
        if !self.found.contains(&found) {
            self.found.push(found);
        }
    }

    fn unverified(&mut self, keys: [&str; 3], image: Option<&str>) {
        let Some(Ok(reference)) = image.map(str::parse::<ImageReference>) else { return };
        Demand::of_unverified(&reference).into_iter().for_each(|demand| self.push(keys, Some(demand)));
    }

    /// In the last file that has the keys, or at least those above; a file that is included or extended is not looked for.
    fn place(&self, keys: &[&str]) -> (String, Option<Place>) {
        let has = |keys: &[&str]| {
            let mut each = self.files.iter().rev();
            each.find_map(|(file, node)| Some((file.clone(), Some(place_of(node, keys)?))))
        };
        let found = has(keys).or_else(|| has(keys.get(..2)?));
        let first = || self.resolved.compose.files.first().map_or_else(String::new, |file| file.display().to_string());
        found.unwrap_or_else(|| (first(), None))
    }

    fn service(&mut self, name: &str, service: &Value) {
        let image = service["image"].as_str().filter(|_| !self.resolved.compose.images.contains_key(name));
        self.push(["services", name, "image"], image.and_then(of_image));
        self.unverified(["services", name, "image"], image);
        for hook in ["post_start", "pre_stop"] {
            let is_privileged = items(&service[hook]).any(|hook| is_true(&hook["privileged"]));
            self.push(["services", name, hook], is_privileged.then(privileged));
        }
        self.push(["services", name, "privileged"], is_true(&service["privileged"]).then(privileged));
        for (key, namespace) in NAMESPACES {
            let mode = service[key].as_str().unwrap_or_default();
            self.push(["services", name, key], Demand::of_namespace(key, namespace, mode));
        }
        for network in names(&service["networks"]) {
            let definition = &self.resolved.config["networks"][&network];
            let is_host = definition["name"] == "host" || definition["driver"] == "host";
            let demand =
                is_host.then(|| Demand::new(Subject::HostNamespace, "network", format!("networks: {network}")));
            self.push(["services", name, "networks"], demand);
        }
        for text in texts(&service["cap_add"]) {
            self.push(["services", name, "cap_add"], Some(Demand::of_capability(text)));
        }
        for text in texts(&service["security_opt"]) {
            self.push(["services", name, "security_opt"], Demand::of_security(text));
        }
        for (key, subject) in [("cgroup_parent", Subject::CgroupParent), ("runtime", Subject::Runtime)] {
            let value = service[key].as_str().filter(|value| !value.is_empty());
            self.push(["services", name, key], value.map(|value| Demand::of(subject, value)));
        }
        for other in texts(&service["volumes_from"]).filter(|other| other.starts_with("container:")) {
            let demand = Demand::new(Subject::OtherContainer, other, format!("volumes_from: {other}"));
            self.push(["services", name, "volumes_from"], Some(demand));
        }
        // A program of this host that Compose starts in place of a container.
        let provider = service["provider"]["type"].as_str();
        let provider = provider.map(|program| Demand::new(Subject::HostTask, program, format!("provider: {program}")));
        self.push(["services", name, "provider"], provider);
        self.devices(name, service);
        self.mounts(name, service);
    }

    fn devices(&mut self, name: &str, service: &Value) {
        for device in items(&service["devices"]) {
            let source = device["source"].as_str().or_else(|| device.as_str()?.split(':').next());
            let whole = device["source"].as_str().or(device.as_str()).unwrap_or_default();
            let demand = match source.filter(|source| source.starts_with('/')) {
                Some(path) => Demand::of_path(Subject::Device, path),
                // A name that the Container Device Interface knows.
                None => Demand::of(Subject::Device, whole),
            };
            self.push(["services", name, "devices"], Some(demand));
        }
        for rule in texts(&service["device_cgroup_rules"]) {
            self.push(["services", name, "device_cgroup_rules"], Some(Demand::of(Subject::Device, rule)));
        }
        let all = service["gpus"].as_str().map(|_| Value::Null);
        let requests = items(&service["gpus"]).chain(&all).map(|request| ("gpus", request));
        let reserved = items(&service["deploy"]["resources"]["reservations"]["devices"]);
        for (key, request) in requests.chain(reserved.map(|request| ("deploy", request))) {
            let ids: Vec<String> = texts(&request["device_ids"]).map(str::to_owned).collect();
            for demand in Demand::of_device_request(request["driver"].as_str(), &ids) {
                self.push(["services", name, key], Some(demand));
            }
        }
    }

    fn mounts(&mut self, name: &str, service: &Value) {
        for mount in items(&service["volumes"]) {
            let source = mount["source"].as_str().or_else(|| mount.as_str()?.split(':').next()).unwrap_or_default();
            match mount["type"].as_str() {
                Some("image") => {
                    self.push(["services", name, "volumes"], of_image(source));
                    self.unverified(["services", name, "volumes"], Some(source));
                }
                _ if source.starts_with('/') => {
                    self.push(["services", name, "volumes"], self.resolved.mount(source));
                }
                _ => self.volume(source),
            }
        }
        let files = ["configs", "secrets"].map(|kind| {
            let uses = self.resolved.uses(kind, service);
            let files = uses.filter_map(|(file, _, definition)| Some((file.to_owned(), definition["file"].as_str()?)));
            (kind, files.collect::<Vec<_>>())
        });
        for (kind, (used, path)) in
            files.into_iter().flat_map(|(kind, used)| used.into_iter().map(move |one| (kind, one)))
        {
            self.push([kind, &used, "file"], self.resolved.mount(path));
        }
        if is_true(&service["use_api_socket"]) {
            let demand = Demand { written: "use_api_socket: true".into(), ..Demand::of_path(Subject::Mount, SOCKET) };
            self.push(["services", name, "use_api_socket"], Some(demand));
        }
    }

    /// A volume that the project makes: its driver options may mount any path of the host.
    fn volume(&mut self, name: &str) {
        let definition = &self.resolved.config["volumes"][name];
        let options = definition["driver_opts"].as_object().into_iter().flatten();
        let options: Vec<(&str, &str)> =
            options.filter_map(|(key, value)| Some((key.as_str(), value.as_str()?))).collect();
        let driver = definition["driver"].as_str();
        let key = if options.is_empty() { "driver" } else { "driver_opts" };
        for demand in Demand::of_volume(driver, &options) {
            self.push(["volumes", name, key], Some(demand));
        }
    }
}

/// The keys that name a namespace, and which one.
const NAMESPACES: [(&str, &str); 6] = [
    ("network_mode", "network"),
    ("pid", "pid"),
    ("ipc", "ipc"),
    ("uts", "uts"),
    ("userns_mode", "userns"),
    ("cgroup", "cgroup"),
];

fn privileged() -> Demand {
    Demand::new(Subject::Privileged, "", "privileged: true")
}

fn of_image(reference: &str) -> Option<Demand> {
    reference.parse().ok().map(|reference| Demand::of_reference(&reference))
}

fn is_true(value: &Value) -> bool {
    value == &Value::Bool(true) || value == "true"
}

fn items(list: &Value) -> impl Iterator<Item = &Value> {
    list.as_array().into_iter().flatten()
}

fn texts(list: &Value) -> impl Iterator<Item = &str> {
    items(list).filter_map(Value::as_str)
}

/// The keys of a mapping, or the items of a list.
fn names(value: &Value) -> Vec<String> {
    let keys = value.as_object().into_iter().flatten().map(|(key, _)| key.clone());
    keys.chain(texts(value).map(str::to_owned)).collect()
}

fn place_of(node: &Node, keys: &[&str]) -> Option<Place> {
    let (last, above) = keys.split_last()?;
    let above = above.iter().try_fold(node, |node, key| node.get(key).map(|(_, value)| value))?;
    above.get(last).map(|(key, _)| key.place)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::config::appspec::AppSpecText;
    use crate::config::policy::of_text;
    use crate::config::{ImageSource, Pull};
    use std::os::unix::fs::symlink;
    use std::time::Duration;

    const ONE: &str = "services: {web: {image: host.test/web:1, ";

    struct Bundle {
        root: tempfile::TempDir,
        compose: Compose,
    }

    impl Bundle {
        fn new() -> Self {
            let root = tempfile::tempdir().unwrap();
            std::fs::create_dir_all(root.path().join("bundle/app/conf")).unwrap();
            let compose = Compose {
                directory: root.path().join("bundle/app"),
                files: vec!["compose.yml".into(), "over.yml".into()],
                profiles: Vec::new(),
                services: Vec::new(),
                env_file: Vec::new(),
                environment: Vec::new(),
                fetched: Vec::new(),
                images: BTreeMap::new(),
                wait_timeout: Duration::from_secs(60),
            };
            Self { root, compose }
        }

        /// What the policy refuses of the model that Compose resolved, one line each.
        fn refused(&self, rules: &str, model: &str) -> String {
            let file = AppSpecText { path: "/etc/balehook/policy.yml".into(), text: rules.into(), had_mark: false };
            let policy = of_text(&file).unwrap_or_else(|problems| panic!("{rules}: {problems:?}"));
            let (listing, environment) = (Listing::new(), BTreeMap::new());
            let (bundle, state) = (self.root.path().join("bundle"), self.root.path().join("state"));
            let model = model.replace("BUNDLE", &bundle.display().to_string());
            let resolved = Resolved::read(&model, &self.compose, &bundle, &state, &listing, &environment).unwrap();
            resolved.refused(&policy).into_iter().map(|(said, help)| format!("{said}; {help}\n")).collect()
        }
    }

    #[test]
    fn what_a_service_of_a_project_asks_for_is_refused_and_allowed_by_a_rule_that_covers_it() {
        let bundle = Bundle::new();
        for (rest, refusing, wanted, allowing) in [
            ("}}", "registries: [ghcr.io]", "`host.test/web:1` (services.web.image)", "registries: [host.test]"),
            ("pull_policy: never}}", "registries: []", "`host.test/web:1`", "registries: ['host.test/*']"),
            (
                "privileged: true}}",
                "privileged: false",
                "`privileged: true` (services.web.privileged)",
                "privileged: true",
            ),
            (
                "post_start: [{command: [a], privileged: true}]}}",
                "privileged: false",
                "(services.web.post_start)",
                "{}",
            ),
            ("pre_stop: [{command: [a], privileged: true}]}}", "privileged: false", "(services.web.pre_stop)", "{}"),
            ("network_mode: host}}", "host_namespaces: [pid]", "`network_mode: host`", "host_namespaces: [network]"),
            (
                "networks: {out: null}}}\nnetworks: {out: {name: host, external: true}}",
                "host_namespaces: []",
                "`networks: out`",
                "host_namespaces: [network]",
            ),
            (
                "networks: [out]}}\nnetworks: {out: {driver: host}}",
                "host_namespaces: []",
                "`networks: out`",
                "host_namespaces: [network]",
            ),
            ("pid: host}}", "host_namespaces: [network]", "`pid: host`", "host_namespaces: [pid]"),
            ("ipc: host}}", "host_namespaces: []", "`ipc: host`", "host_namespaces: [ipc]"),
            ("uts: host}}", "host_namespaces: []", "`uts: host`", "host_namespaces: [uts]"),
            ("cgroup: host}}", "host_namespaces: []", "`cgroup: host`", "host_namespaces: [cgroup]"),
            ("userns_mode: host}}", "host_namespaces: []", "`userns_mode: host`", "host_namespaces: [userns]"),
            (
                "network_mode: 'container:x'}}", "other_containers: false", "`network_mode: container:x`",
                "other_containers: true",
            ),
            ("pid: 'container:x'}}", "other_containers: false", "`pid: container:x`", "{}"),
            ("volumes_from: ['container:x:ro']}}", "other_containers: false", "`volumes_from: container:x:ro`", "{}"),
            (
                "volumes: [{type: bind, source: /opt/app, target: /a}]}}",
                "mounts: [/srv]",
                "`/opt/app` (services.web.volumes)",
                "mounts: [/opt]",
            ),
            ("volumes: ['/opt/app:/a:ro']}}", "mounts: [/srv]", "`/opt/app`", "mounts: [/opt]"),
            (
                "volumes: [{type: image, source: 'evil.test/a', target: /a}]}}",
                "registries: [host.test]",
                "`evil.test/a`",
                "registries: [host.test, evil.test]",
            ),
            (
                "volumes: [{type: volume, source: x, target: /a}]}}\nvolumes: {x: {driver: local, driver_opts: {type: none, o: bind, device: /}}}",
                "mounts: [/srv]",
                "`/` (volumes.x.driver_opts)",
                "mounts: [/]",
            ),
            (
                "volumes: ['x:/a']}}\nvolumes: {x: {driver: rexray}}",
                "volume_drivers: []",
                "`driver: rexray` (volumes.x.driver)",
                "volume_drivers: [rexray]",
            ),
            (
                "secrets: [{source: key}]}}\nsecrets: {key: {file: /etc/shadow}}",
                "mounts: [/srv]",
                "`/etc/shadow` (secrets.key.file)",
                "mounts: [/etc]",
            ),
            (
                "configs: [key]}}\nconfigs: {key: {file: /etc/hosts}}",
                "mounts: [/srv]",
                "`/etc/hosts` (configs.key.file)",
                "mounts: [/etc]",
            ),
            ("use_api_socket: true}}", "mounts: [/srv]", "`use_api_socket: true`", "mounts: [/var/run/docker.sock]"),
            (
                "cap_add: [CHOWN, SYS_ADMIN]}}",
                "cap_add: [CHOWN]",
                "`SYS_ADMIN` (services.web.cap_add)",
                "cap_add: [CHOWN, SYS_ADMIN]",
            ),
            ("devices: [{source: /dev/kvm, target: /dev/kvm}]}}", "devices: []", "`/dev/kvm`", "devices: [/dev/kvm]"),
            ("devices: ['/dev/kvm:/dev/a:r']}}", "devices: []", "`/dev/kvm`", "devices: [/dev/kvm]"),
            (
                "devices: [{source: 'vendor.com/gpu=0'}]}}",
                "devices: [gpus]",
                "`vendor.com/gpu=0`",
                "devices: ['vendor.com/gpu=*']",
            ),
            ("device_cgroup_rules: ['c 1:3 r']}}", "devices: []", "`c 1:3 r`", "devices: ['c 1:3 r']"),
            ("gpus: all}}", "devices: []", "`gpus`", "devices: [gpus]"),
            ("gpus: [{count: -1}]}}", "devices: []", "`gpus`", "devices: [gpus]"),
            (
                "deploy: {resources: {reservations: {devices: [{driver: cdi, device_ids: ['a.com/b=c']}]}}}}}",
                "devices: [gpus]",
                "`a.com/b=c`",
                "devices: ['a.com/b=c']",
            ),
            (
                "security_opt: ['apparmor:unconfined']}}",
                "security_opt: []",
                "`apparmor:unconfined`",
                "security_opt: ['apparmor=*']",
            ),
            ("cgroup_parent: /a}}", "cgroup_parent: []", "`/a`", "cgroup_parent: [/a]"),
            ("runtime: crun}}", "runtime: [runc]", "`crun`", "runtime: [crun]"),
            (
                "provider: {type: sh}}}",
                "host_tasks: false",
                "`provider: sh` (services.web.provider)",
                "host_tasks: true",
            ),
        ] {
            let model = format!("{ONE}{rest}");
            let all = bundle.refused(refusing, &model);
            assert!(all.starts_with("compose.yml: this host does not allow `"), "{all}");
            assert!(
                all.contains(wanted) && all.contains("/etc/balehook/policy.yml:1:1 "),
                "{refusing} of {model}:\n{all}"
            );
            for rule in [allowing, "{}"] {
                assert_eq!(bundle.refused(rule, &model), "", "{rule} of {model}");
            }
        }
    }

    #[test]
    fn what_lies_in_the_project_needs_no_entry_but_a_link_out_of_it_does() {
        let bundle = Bundle::new();
        let app = bundle.compose.directory.clone();
        let mount = |path: &str| format!("{ONE}volumes: [{{type: bind, source: BUNDLE/app/{path}, target: /a}}]}}}}");
        symlink("/etc", app.join("out")).unwrap();
        symlink("conf", app.join("inside")).unwrap();
        for path in ["conf", "inside", "not-yet/data"] {
            assert_eq!(bundle.refused("mounts: []", &mount(path)), "", "{path}");
        }
        let all = bundle.refused("mounts: []", &mount("out/hosts"));
        assert!(all.contains("does not allow `./out/hosts` (that is `/etc/hosts`) (services.web.volumes)"), "{all}");
        assert_eq!(bundle.refused("mounts: [/etc]", &mount("out/hosts")), "");
        // A container put a link into the project's folder on this host.
        let project = bundle.root.path().join("state/project");
        std::fs::create_dir_all(&project).unwrap();
        symlink("/", project.join("data")).unwrap();
        assert!(bundle.refused("mounts: []", &mount("data/x")).contains("`./data/x` (that is `/x`)"));
    }

    #[test]
    fn only_what_comes_up_is_judged_and_images_of_the_section_are_judged_there() {
        let mut bundle = Bundle::new();
        let model = "services: {web: {image: a.test/a, depends_on: {db: {}}}, db: {image: b.test/b, privileged: true}, job: {image: c.test/c, privileged: true}}";
        bundle.compose.services = vec!["web".into()];
        let source = ImageSource::Registry("d.test/d:1".parse().unwrap(), Pull::Always, None, Duration::ZERO);
        bundle.compose.images.insert("web".into(), source);
        let all = bundle.refused("privileged: false\nregistries: []", model);
        assert!(all.contains("services.db.privileged") && all.contains("`b.test/b`"), "{all}");
        assert_eq!(all.lines().count(), 2, "{all}");
    }

    #[test]
    fn each_violation_is_said_at_once_where_the_last_file_that_has_it_says_it() {
        let bundle = Bundle::new();
        let write = |name: &str, text: &str| std::fs::write(bundle.compose.directory.join(name), text).unwrap();
        write(
            "compose.yml",
            "services:\n  web:\n    image: evil.test/a\n    privileged: true\n  db:\n    image: a.test/b\nvolumes:\n  x:\n    driver: evil\n",
        );
        write("over.yml", "services:\n  web:\n    privileged: true\n");
        let model = "services: {web: {image: evil.test/a, privileged: true, volumes: ['x:/a']}, db: {image: a.test/b, pid: host}}\nvolumes: {x: {driver: evil}}";
        let rules = "privileged: false\nregistries: [a.test]\nvolume_drivers: []\nhost_namespaces: []";
        let all = bundle.refused(rules, model);
        let places: Vec<&str> = all.lines().map(|line| line.split(": ").next().unwrap()).collect();
        assert_eq!(places, ["compose.yml:5:3", "compose.yml:3:5", "over.yml:3:5", "compose.yml:9:5"], "{all}");
    }
}
