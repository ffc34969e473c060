//! Binds, volumes and tmpfs as a swarm's mounts: it knows no other form.

use bollard::models::{
    Mount, MountBindOptions, MountBindOptionsPropagationEnum, MountTmpfsOptions, MountType, MountVolumeOptions,
};

use crate::config::field::Field;
use crate::config::service::Service;
use crate::values::bytes;
use crate::values::types::Refused;

/// Every mount of a service, in the order binds, mounts, anonymous volumes, tmpfs.
pub(crate) fn mounts(field: &Field<'_>, service: &Service) -> Vec<Mount> {
    let host = service.body.host_config.as_ref();
    let mut all = Vec::new();
    for bind in host.and_then(|host| host.binds.as_ref()).into_iter().flatten() {
        keep(field, "volumes", bind_mount(bind), &mut all);
    }
    all.extend(host.and_then(|host| host.mounts.clone()).into_iter().flatten());
    for path in service.body.volumes.iter().flatten() {
        let target = Some(path.clone());
        all.push(Mount { typ: Some(MountType::VOLUME), target, ..Mount::default() });
    }
    let mut tmpfs: Vec<(&String, &String)> = host.and_then(|host| host.tmpfs.as_ref()).into_iter().flatten().collect();
    tmpfs.sort_unstable();
    for (target, options) in tmpfs {
        keep(field, "tmpfs", tmpfs_mount(target, options), &mut all);
    }
    all
}

fn keep(field: &Field<'_>, key: &str, mount: Result<Mount, Refused>, all: &mut Vec<Mount>) {
    match mount {
        Ok(mount) => all.push(mount),
        Err(Refused(why)) => {
            let Some((_, node)) = field.node.get(key) else { return };
            field.inner(node, key).refuse::<()>(why, "leave it out");
        }
    }
}

/// `source:target[:modes]`, checked already.
fn bind_mount(bind: &str) -> Result<Mount, Refused> {
    let mut parts = bind.split(':');
    let (source, target) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let is_path = source.starts_with('/');
    let mut mount = Mount {
        typ: Some(if is_path { MountType::BIND } else { MountType::VOLUME }),
        source: Some(source.to_owned()),
        target: Some(target.to_owned()),
        ..Mount::default()
    };
    for mode in parts.next().into_iter().flat_map(|modes| modes.split(',')) {
        match (mode, mode.parse::<MountBindOptionsPropagationEnum>().ok()) {
            ("ro", _) => mount.read_only = Some(true),
            ("nocopy", _) => {
                mount.volume_options = Some(MountVolumeOptions { no_copy: Some(true), ..Default::default() })
            }
            ("z" | "Z", _) => return Err(Refused(format!("swarm sets no SELinux labels: `{bind}` has `{mode}`"))),
            (_, Some(mode)) if is_path => {
                mount.bind_options = Some(MountBindOptions { propagation: Some(mode), ..Default::default() });
            }
            _ => {}
        }
    }
    Ok(mount)
}

fn tmpfs_mount(target: &str, options: &str) -> Result<Mount, Refused> {
    let mut tmpfs = MountTmpfsOptions::default();
    let mut read_only = None;
    for option in options.split(',').filter(|option| !option.is_empty()) {
        match option.split_once('=') {
            Some(("size", size)) => tmpfs.size_bytes = Some(bytes::parse(size)?),
            Some(("mode", mode)) => {
                let mode = i64::from_str_radix(mode, 8).map_err(|_| Refused(format!("`{option}` is no octal mode")))?;
                tmpfs.mode = Some(mode);
            }
            None if option == "ro" => read_only = Some(true),
            None if option == "rw" => {}
            _ => return Err(Refused(format!("swarm's tmpfs knows `size` and `mode`, not `{option}`"))),
        }
    }
    Ok(Mount {
        typ: Some(MountType::TMPFS),
        target: Some(target.to_owned()),
        read_only,
        tmpfs_options: Some(tmpfs),
        ..Mount::default()
    })
}
