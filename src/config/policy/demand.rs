//! What a deployment asks for that a policy may refuse.

use crate::config::policy::paths::resolved;
use crate::config::policy::rule::capability;
use crate::config::verify::{Key, KeyPlace, Verify};
use crate::config::yaml::Place;
use crate::config::{ArchiveLocation, ImageSource};
use crate::values::reference::ImageReference;
use crate::values::types::S3Uri;

/// What a rule of a policy is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Subject {
    /// The registry and the repository that a reference names, wherever its image comes from.
    Registry,
    /// An object in S3: an archive, or an `env_file`.
    Bucket,
    /// An archive that is a file, of the bundle or of the host.
    ArchiveFile,
    /// All rights.
    Privileged,
    /// A namespace that is the host's.
    HostNamespace,
    /// A path of the host.
    Mount,
    /// A capability.
    CapAdd,
    /// A device.
    Device,
    /// An option of AppArmor, seccomp or SELinux.
    SecurityOpt,
    /// The cgroup above the container's.
    CgroupParent,
    /// Another runtime than the engine's own.
    Runtime,
    /// Another driver of a volume than `local`.
    VolumeDriver,
    /// A namespace or the volumes of another container.
    OtherContainer,
    /// A program that runs on the host.
    HostTask,
    /// The way in which an image is verified; the empty text where it is not.
    Verification,
    /// A key that an image is verified with: its file, or its name in KMS.
    VerifyKey,
    /// The worst that the scan of an image may have found; the empty text where none is asked for.
    Scan,
}

impl Subject {
    /// Every subject, in the order in which the policy's keys are documented.
    pub(crate) const ALL: [Self; 17] = [
        Self::Registry,
        Self::Bucket,
        Self::ArchiveFile,
        Self::Privileged,
        Self::HostNamespace,
        Self::Mount,
        Self::CapAdd,
        Self::Device,
        Self::SecurityOpt,
        Self::CgroupParent,
        Self::Runtime,
        Self::VolumeDriver,
        Self::OtherContainer,
        Self::HostTask,
        Self::Verification,
        Self::VerifyKey,
        Self::Scan,
    ];

    /// The policy's key.
    pub(crate) const fn key(self) -> &'static str {
        match self {
            Self::Registry => "registries",
            Self::Bucket => "buckets",
            Self::ArchiveFile => "archive_files",
            Self::Privileged => "privileged",
            Self::HostNamespace => "host_namespaces",
            Self::Mount => "mounts",
            Self::CapAdd => "cap_add",
            Self::Device => "devices",
            Self::SecurityOpt => "security_opt",
            Self::CgroupParent => "cgroup_parent",
            Self::Runtime => "runtime",
            Self::VolumeDriver => "volume_drivers",
            Self::OtherContainer => "other_containers",
            Self::HostTask => "host_tasks",
            Self::Verification => "image_verification",
            Self::VerifyKey => "verify_keys",
            Self::Scan => "image_scan",
        }
    }
}

/// One thing that a deployment asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Demand {
    pub(crate) subject: Subject,
    /// What is compared with what the policy allows.
    pub(crate) value: String,
    /// As a person wrote it.
    pub(crate) written: String,
    /// Where it is asked for.
    pub(crate) place: Option<Place>,
    /// The path of keys there.
    pub(crate) path: String,
}

impl Demand {
    pub(crate) fn new(subject: Subject, value: impl Into<String>, written: impl Into<String>) -> Self {
        Self { subject, value: value.into(), written: written.into(), place: None, path: String::new() }
    }

    /// Where what is written is the value itself.
    pub(crate) fn of(subject: Subject, value: &str) -> Self {
        Self::new(subject, value, value)
    }

    /// A path of the host, as the engine finds it.
    pub(crate) fn of_path(subject: Subject, path: &str) -> Self {
        Self::new(subject, resolved(path), path)
    }

    /// A namespace of the host or of another container; none of the container's own.
    pub(crate) fn of_namespace(key: &str, name: &str, mode: &str) -> Option<Self> {
        let written = format!("{key}: {mode}");
        match mode {
            "host" => Some(Self::new(Subject::HostNamespace, name, written)),
            other if other.starts_with("container:") => Some(Self::new(Subject::OtherContainer, other, written)),
            _ => None,
        }
    }

    /// An option of security, but the one that only takes rights away.
    pub(crate) fn of_security(option: &str) -> Option<Self> {
        let value = match option.split_once(['=', ':']) {
            Some((name, value)) => format!("{name}={value}"),
            None => option.to_owned(),
        };
        let is_harmless = ["no-new-privileges", "no-new-privileges=true"].contains(&value.as_str());
        (!is_harmless).then(|| Self::new(Subject::SecurityOpt, value, option))
    }

    pub(crate) fn of_capability(name: &str) -> Self {
        Self::new(Subject::CapAdd, capability(name), name)
    }

    /// Devices that a driver chooses: graphics processors, or whatever another driver calls one.
    pub(crate) fn of_device_request(driver: Option<&str>, ids: &[String]) -> Vec<Self> {
        match driver {
            None | Some("" | "nvidia") => vec![Self::of(Subject::Device, "gpus")],
            Some(driver) if ids.is_empty() => vec![Self::of(Subject::Device, driver)],
            Some(_) => ids.iter().map(|id| Self::of(Subject::Device, id)).collect(),
        }
    }

    pub(crate) fn of_object(uri: &S3Uri) -> Self {
        Self::new(Subject::Bucket, format!("{}/{}", uri.bucket(), uri.key()), uri.to_string())
    }

    pub(crate) fn of_reference(reference: &ImageReference) -> Self {
        Self::new(Subject::Registry, reference.whole_repository(), reference.to_string())
    }

    pub(crate) fn of_image(source: &ImageSource) -> Self {
        match source {
            ImageSource::Registry(reference, ..) => Self::of_reference(reference),
            ImageSource::Archive { location: ArchiveLocation::S3(uri), .. } => Self::of_object(uri),
            ImageSource::Archive { location: ArchiveLocation::File(path), .. } => {
                Self::of(Subject::ArchiveFile, &path.display().to_string())
            }
        }
    }

    /// How an image is verified, with which keys, and what may be in it.
    pub(crate) fn of_verification(source: &ImageSource) -> Vec<Self> {
        let way = source.verify().and_then(Verify::way).unwrap_or_default();
        let most = source.verify().and_then(|verify| verify.scan.as_ref()).map_or("", |scan| scan.most.word());
        let image = match source {
            ImageSource::Registry(reference, ..) => reference.to_string(),
            ImageSource::Archive { location, .. } => location.to_string(),
        };
        let keys = source.verify().into_iter().flat_map(Verify::keys);
        let value = |key: &Key| match &key.place {
            KeyPlace::File(path) => resolved(&path.to_string_lossy()),
            KeyPlace::Kms { .. } => key.written.clone(),
        };
        let keys = keys.map(|key| Self::new(Subject::VerifyKey, value(key), &key.written));
        let of_image = [(Subject::Verification, way), (Subject::Scan, most)];
        of_image.map(|(subject, value)| Self::new(subject, value, &image)).into_iter().chain(keys).collect()
    }

    /// The same of an image that a Compose file names alone: only `images` of the section says how one is verified.
    pub(crate) fn of_unverified(reference: &ImageReference) -> [Self; 2] {
        [Subject::Verification, Subject::Scan].map(|subject| Self::new(subject, "", reference.to_string()))
    }

    /// A volume's driver and its options, where they lead out of the engine's own folder: `local` mounts any path that they
    /// name.
    pub(crate) fn of_volume<'o>(driver: Option<&str>, options: &[(&'o str, &'o str)]) -> Vec<Self> {
        let option = |name: &str| options.iter().find(|(known, _)| *known == name).map_or("", |(_, value)| *value);
        if let Some(driver) = driver.filter(|driver| !["", "local"].contains(driver)) {
            return vec![Self::new(Subject::VolumeDriver, driver, format!("driver: {driver}"))];
        }
        let (device, flags) = (option("device"), option("o"));
        let is_bind = flags.split(',').any(|flag| ["bind", "rbind"].contains(&flag.trim()));
        let is_of_host = is_bind || !["nfs", "nfs4", "cifs", "tmpfs"].contains(&option("type"));
        let device = (is_of_host && !device.is_empty()).then(|| format!("/{}", device.trim_start_matches('/')));
        // `lowerdir=/a:/b,upperdir=/c` of an overlay.
        let values = flags.split(',').filter_map(|flag| flag.split_once('=')).flat_map(|(_, value)| value.split(':'));
        let in_flags = values.filter(|value| value.starts_with('/')).map(str::to_owned);
        device.into_iter().chain(in_flags).map(|path| Self::of_path(Subject::Mount, &path)).collect()
    }
}
