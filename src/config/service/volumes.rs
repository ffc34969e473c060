//! `volumes` and `tmpfs`: short syntax becomes binds, long syntax becomes mounts, as Compose and the docker CLI do.

use std::collections::HashMap;

use bollard::models::{
    HostConfig, Mount, MountBindOptions, MountBindOptionsPropagationEnum, MountTmpfsOptions, MountType,
    MountVolumeOptions,
};

use crate::config::service::Service;
use crate::config::service::read::Field;
use crate::config::yaml::Value;
use crate::values::types::Refused;

/// What may stand in the third part of the short syntax.
const MODES: &[&str] = &[
    "ro", "rw", "z", "Z", "nocopy", "private", "rprivate", "shared", "rshared", "slave", "rslave", "cached",
    "delegated", "consistent",
];

pub(crate) fn read(name: &str, field: &mut Field<'_, '_>, host: &mut HostConfig, service: &mut Service) -> bool {
    match name {
        "volumes" => volumes(field, host, service),
        "tmpfs" => host.tmpfs = Some(tmpfs(field)),
        _ => return false,
    }
    true
}

fn tmpfs(field: &mut Field<'_, '_>) -> HashMap<String, String> {
    let paths = field.text_or_texts();
    let split = |text: &String| match text.split_once(':') {
        Some((path, options)) => (path.to_owned(), options.to_owned()),
        None => (text.clone(), String::new()),
    };
    let all: HashMap<String, String> = paths.iter().map(split).collect();
    if let Some(bad) = all.keys().find(|path| !path.starts_with('/')) {
        let message = format!("`{bad}` must be an absolute path");
        field.refuse::<()>(message, "write `/run` or `/run:size=64m,mode=1777`");
    }
    all
}

/// A volume, before it is known which of the engine's lists it belongs to.
enum Volume {
    Bind(String),
    Anonymous(String),
    Mount(Box<Mount>),
}

fn volumes(field: &mut Field<'_, '_>, host: &mut HostConfig, service: &mut Service) {
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

type Needs = Vec<(&'static str, (u32, u32))>;

fn long(field: &mut Field<'_, '_>, needs: &mut Needs) -> Option<(String, Volume)> {
    let mut mount = Mount { typ: Some(MountType::VOLUME), ..Mount::default() };
    let mut labels = None;
    let known = ["type", "source", "target", "read_only", "consistency", "bind", "volume", "tmpfs"];
    field.known(&known, |name, field| {
        match name {
            "type" => mount.typ = mount_type(field),
            "source" | "src" => mount.source = field.text(),
            "target" | "dst" => mount.target = field.text(),
            "read_only" => mount.read_only = field.boolean(),
            "consistency" => mount.consistency = field.text(),
            "bind" => mount.bind_options = Some(bind_options(field, &mut labels)),
            "volume" => mount.volume_options = Some(volume_options(field, needs)),
            "tmpfs" => mount.tmpfs_options = Some(tmpfs_options(field)),
            _ => return false,
        }
        true
    });
    let Some(target) = mount.target.clone().filter(|target| target.starts_with('/')) else {
        return field.refuse("`target` must be an absolute path in the container", "write `target: /data`");
    };
    finish(field, mount, labels, &target).map(|volume| (target, volume))
}

/// SELinux labels cannot be said in a mount: Compose makes a bind of it, and so do we.
fn finish(field: &mut Field<'_, '_>, mount: Mount, label: Option<String>, target: &str) -> Option<Volume> {
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
            let read_only = mount.read_only.unwrap_or(false).then(|| "ro".to_owned());
            let modes: Vec<String> =
                read_only.into_iter().chain(label).chain(propagation.map(|mode| mode.to_string())).collect();
            let modes = if modes.is_empty() { String::new() } else { format!(":{}", modes.join(",")) };
            Some(Volume::Bind(format!("{source}:{target}{modes}")))
        }
        MountType::TMPFS if !source.is_empty() => field.refuse("a tmpfs has no `source`", "leave it out"),
        _ => Some(Volume::Mount(Box::new(mount))),
    }
}

fn mount_type(field: &mut Field<'_, '_>) -> Option<MountType> {
    Some(match field.one_of(&["bind", "volume", "tmpfs"])?.as_str() {
        "bind" => MountType::BIND,
        "tmpfs" => MountType::TMPFS,
        _ => MountType::VOLUME,
    })
}

fn bind_options(field: &mut Field<'_, '_>, label: &mut Option<String>) -> MountBindOptions {
    let mut options = MountBindOptions::default();
    field.known(&["propagation", "create_host_path", "selinux"], |name, field| {
        match name {
            "propagation" => options.propagation = propagation(field),
            "create_host_path" => options.create_mountpoint = field.boolean(),
            "selinux" => *label = field.one_of(&["z", "Z"]),
            _ => return false,
        }
        true
    });
    options
}

fn propagation(field: &mut Field<'_, '_>) -> Option<MountBindOptionsPropagationEnum> {
    use MountBindOptionsPropagationEnum as Mode;
    Some(match field.one_of(&["private", "rprivate", "shared", "rshared", "slave", "rslave"])?.as_str() {
        "private" => Mode::PRIVATE,
        "rprivate" => Mode::RPRIVATE,
        "shared" => Mode::SHARED,
        "rshared" => Mode::RSHARED,
        "slave" => Mode::SLAVE,
        _ => Mode::RSLAVE,
    })
}

fn volume_options(field: &mut Field<'_, '_>, needs: &mut Needs) -> MountVolumeOptions {
    let mut options = MountVolumeOptions::default();
    field.known(&["nocopy", "subpath", "labels"], |name, field| {
        match name {
            "nocopy" => options.no_copy = field.boolean(),
            "labels" => options.labels = Some(field.map()),
            "subpath" => {
                options.subpath = field.text();
                needs.push(("volumes[].volume.subpath", (1, 45)));
            }
            _ => return false,
        }
        true
    });
    options
}

fn tmpfs_options(field: &mut Field<'_, '_>) -> MountTmpfsOptions {
    let mut options = MountTmpfsOptions::default();
    field.known(&["size", "mode"], |name, field| {
        match name {
            "size" => options.size_bytes = field.size(),
            // YAML 1.1 readers take 0755 as octal, 1.2 ones as text: as an octal number it is meant.
            "mode" => options.mode = field.parsed(octal),
            _ => return false,
        }
        true
    });
    options
}

fn octal(text: &str) -> Result<i64, Refused> {
    let digits = text.trim_start_matches("0o");
    i64::from_str_radix(digits, 8).map_err(|_| Refused("is no octal mode: write `\"1777\"`".into()))
}
