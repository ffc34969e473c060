//! `volumes` and `tmpfs`: short syntax becomes binds, long syntax becomes mounts, as Compose and the docker CLI do.

use std::collections::HashMap;

use bollard::models::{HostConfig, Mount, MountBindOptions, MountTmpfsOptions, MountType, MountVolumeOptions};

use crate::config::field::Field;
use crate::config::service::{Needs, Service};
use crate::config::yaml::Value;
use crate::values::types::Refused;

/// What may stand in the third part of the short syntax.
const MODES: &[&str] = &[
    "ro", "rw", "z", "Z", "nocopy", "private", "rprivate", "shared", "rshared", "slave", "rslave", "cached",
    "delegated", "consistent",
];

pub(crate) fn tmpfs(field: &Field<'_>) -> HashMap<String, String> {
    let paths = field.text_or_texts();
    let split = |text: &String| match text.split_once(':') {
        Some((path, options)) => (path.to_owned(), options.to_owned()),
        None => (text.clone(), String::new()),
    };
    let all: HashMap<String, String> = paths.iter().map(split).collect();
    if let Some(bad) = all.keys().find(|path| !path.starts_with('/')) {
        let message = format!("`{bad}` must be an absolute path");
        field.error(message, "write `/run` or `/run:size=64m,mode=1777`");
    }
    all
}

/// A volume, before it is known which of the engine's lists it belongs to.
enum Volume {
    Bind(String),
    Anonymous(String),
    Mount(Box<Mount>),
}

pub(crate) fn volumes(field: &Field<'_>, host: &mut HostConfig, service: &mut Service) {
    let mut targets: Vec<String> = Vec::new();
    let (mut binds, mut mounts, mut anonymous) = (Vec::new(), Vec::new(), Vec::new());
    let needs = &mut service.needs;
    field.items(|field| {
        let (target, volume) = match field.node.value {
            Value::Mapping(_) => long(field, needs)?,
            _ => field.parsed(short)?,
        };
        if targets.contains(&target) {
            return field.refuse(format!("`{target}` is mounted twice"), "give each volume a path of its own");
        }
        targets.push(target);
        match volume {
            Volume::Bind(bind) => binds.push(bind),
            Volume::Anonymous(path) => anonymous.push(path),
            Volume::Mount(mount) => mounts.push(*mount),
        }
        Some(())
    });
    host.binds = (!binds.is_empty()).then_some(binds);
    host.mounts = (!mounts.is_empty()).then_some(mounts);
    service.body.volumes = (!anonymous.is_empty()).then_some(anonymous);
}

/// `target`, `source:target` or `source:target:modes`.
fn short(text: &str) -> Result<(String, Volume), Refused> {
    let parts: Vec<&str> = text.split(':').collect();
    let (source, target, modes) = match parts[..] {
        [target] => (None, target, None),
        [source, target] => (Some(source), target, None),
        [source, target, modes] => (Some(source), target, Some(modes)),
        _ => return Err(Refused("has too many parts: write `source:target:ro`".into())),
    };
    if !target.starts_with('/') || target == "/" {
        return Err(Refused(format!("needs an absolute path in the container, not `{target}`")));
    }
    if let Some(bad) = modes.into_iter().flat_map(|modes| modes.split(',')).find(|mode| !MODES.contains(mode)) {
        return Err(Refused(format!("has an unknown mode `{bad}`: one of {}", MODES.join(", "))));
    }
    let volume = match source {
        None => Volume::Anonymous(target.to_owned()),
        Some(source) => {
            check_source(source)?;
            Volume::Bind(text.to_owned())
        }
    };
    Ok((target.to_owned(), volume))
}

/// An absolute path, or the name of a volume.
fn check_source(source: &str) -> Result<(), Refused> {
    if source.starts_with('/') {
        return Ok(());
    }
    if source.starts_with('.') || source.starts_with('~') {
        return Err(Refused(format!(
            "mounts `{source}` of the bundle, which CodeDeploy removes some deployments later: install it with `files:` and mount its absolute destination"
        )));
    }
    let mut letters = source.chars();
    let good = letters.next().is_some_and(|letter| letter.is_ascii_alphanumeric())
        && letters.all(|letter| letter.is_ascii_alphanumeric() || matches!(letter, '_' | '.' | '-'));
    if good && source.len() > 1 {
        return Ok(());
    }
    Err(Refused(format!(
        "has a bad source `{source}`: an absolute path, or a volume's name of letters, digits, `_`, `.`, `-`"
    )))
}

fn long(field: &Field<'_>, needs: &mut Needs) -> Option<(String, Volume)> {
    let (mount, labels) = field.mapping(|keys| {
        let typ = match keys.know("type") {
            Some(field) => field.one_of(&["bind", "volume", "tmpfs"]).and_then(|name| name.parse().ok()),
            None => Some(MountType::VOLUME),
        };
        let source = keys.either("source", "src", Field::text);
        let target = keys.either("target", "dst", Field::text);
        let read_only = keys.get("read_only", Field::boolean);
        let consistency = keys.get("consistency", Field::text);
        let (bind_options, label) = keys.all("bind", bind_options).unzip();
        let volume_options = keys.all("volume", |field| volume_options(field, needs));
        let tmpfs_options = keys.all("tmpfs", tmpfs_options);
        let mount = Mount {
            typ,
            source,
            target,
            read_only,
            consistency,
            bind_options,
            volume_options,
            tmpfs_options,
            ..Mount::default()
        };
        (mount, label.flatten())
    });
    let Some(target) = mount.target.clone().filter(|target| target.starts_with('/')) else {
        return field.refuse("`target` must be an absolute path in the container", "write `target: /data`");
    };
    finish(field, mount, labels, &target).map(|volume| (target, volume))
}

/// SELinux labels cannot be said in a mount: Compose makes a bind of it, and so do we.
fn finish(field: &Field<'_>, mount: Mount, label: Option<&str>, target: &str) -> Option<Volume> {
    let source = mount.source.clone().unwrap_or_default();
    match mount.typ? {
        MountType::BIND => {
            if !source.starts_with('/') {
                let message = format!("a bind mount needs an absolute `source`, not `{source}`");
                return field.refuse(message, "install it with `files:` and mount its absolute destination");
            }
            let creates = mount.bind_options.as_ref().is_none_or(|bind| bind.create_mountpoint != Some(false));
            let propagation = mount.bind_options.as_ref().and_then(|bind| bind.propagation);
            if !creates {
                let bind_options = propagation.map(|_| MountBindOptions { propagation, ..MountBindOptions::default() });
                return Some(Volume::Mount(Box::new(Mount { bind_options, ..mount })));
            }
            let read_only = mount.read_only.unwrap_or(false).then_some("ro".to_owned());
            let modes: Vec<String> = read_only
                .into_iter()
                .chain(label.map(str::to_owned))
                .chain(propagation.map(|mode| mode.to_string()))
                .collect();
            let modes = if modes.is_empty() { String::new() } else { format!(":{}", modes.join(",")) };
            Some(Volume::Bind(format!("{source}:{target}{modes}")))
        }
        MountType::TMPFS if !source.is_empty() => field.refuse("a tmpfs has no `source`", "leave it out"),
        _ => Some(Volume::Mount(Box::new(mount))),
    }
}

/// The options, and the label of SELinux, which is none of a mount's.
fn bind_options(field: &Field<'_>) -> (MountBindOptions, Option<&'static str>) {
    const MODES: &[&str] = &["private", "rprivate", "shared", "rshared", "slave", "rslave"];
    field.mapping(|keys| {
        let options = MountBindOptions {
            propagation: keys.one_of("propagation", MODES).and_then(|mode| mode.parse().ok()),
            create_mountpoint: keys.get("create_host_path", Field::boolean),
            ..MountBindOptions::default()
        };
        (options, keys.one_of("selinux", &["z", "Z"]))
    })
}

fn volume_options(field: &Field<'_>, needs: &mut Needs) -> MountVolumeOptions {
    needs.extend(field.get("subpath").map(|_| ("volumes[].volume.subpath", (1, 45))));
    field.mapping(|keys| MountVolumeOptions {
        no_copy: keys.get("nocopy", Field::boolean),
        subpath: keys.get("subpath", Field::text),
        labels: keys.all("labels", Field::map),
        ..MountVolumeOptions::default()
    })
}

fn tmpfs_options(field: &Field<'_>) -> MountTmpfsOptions {
    field.mapping(|keys| MountTmpfsOptions {
        size_bytes: keys.get("size", Field::size),
        // YAML 1.1 readers take 0755 as octal, 1.2 ones as text: as an octal number it is meant.
        mode: keys.parsed("mode", octal),
        ..MountTmpfsOptions::default()
    })
}

fn octal(text: &str) -> Result<i64, Refused> {
    let digits = text.trim_start_matches("0o");
    i64::from_str_radix(digits, 8).map_err(|_| Refused("is no octal mode: write `\"1777\"`".into()))
}
