//! The images that an engine has.

use std::collections::{HashMap, HashSet};
use std::io::Read as _;
use std::path::Path;
use std::time::Duration;

use bollard::models::{ImageInspect, ImageSummary};
use bollard::query_parameters as query;
use futures_util::StreamExt as _;
use futures_util::future::join_all;
use serde::{Deserialize, Serialize};

use crate::engine::Engine;
use crate::engine::call::{CallError, Limit};
use crate::engine::containers::{found, unless};
use crate::error::{Failure, Kind};
use crate::inputs;
use crate::poll;
use crate::values::labels::{LABEL_NAME, LABEL_TASK};
use crate::values::pin::{ImagePin, RETENTION, retention_repository};
use crate::values::types::{ContentDigest, Name, chain_ids};

/// The first API whose graph drivers take layers compressed with zstd: Docker 23.
const ZSTD_SINCE: (u32, u32) = (1, 42);

/// The largest settings of containerd that are read, in bytes.
const SETTINGS: u64 = 1024 * 1024;

/// Images that are inspected at once.
const INSPECTIONS: usize = 8;

/// How often a list of images is asked for that another process's removal breaks, and how long after.
const LISTS: u32 = 20;

/// The largest file of an image that is read, in bytes, and how long a piece of it may take.
const SMALL: usize = 1024 * 1024;

const PIECE: Duration = Duration::from_secs(30);

const LIST_PAUSE: Duration = Duration::from_millis(100);

impl Engine {
    /// The image that a reference or an ID names; `None` where the engine has none.
    pub(crate) async fn image(&self, reference: &str) -> Result<Option<ImageInspect>, Failure> {
        let asked = self.docker.inspect_image(reference);
        match found(self.answer(Limit::Question, &format!("docker image inspect {reference}"), asked).await) {
            // 28.5's containerd store describes an image whose content was collected without its layers.
            Err(error) if error.is_unreadable() => {
                tracing::warn!(reference, error.message, "an image that is not whole counts as missing");
                Ok(None)
            }
            answer => answer.map_err(|error| error.failure_of(Kind::Engine, &format!("inspect image {reference}"))),
        }
    }

    /// The image of a pin, where the engine has exactly that one.
    ///
    /// An archive's image is found by its config digest, which is its ID on graph drivers, or by the tag that we gave
    /// it after it was verified; its layers must be the wanted ones.
    pub(crate) async fn find(&self, pin: &ImagePin, name: &Name) -> Result<Option<ImageInspect>, Failure> {
        let candidates = match pin {
            ImagePin::Registry { .. } => vec![pin.argument()],
            ImagePin::Content { config, .. } => vec![config.to_string(), pin.retention_tag(name)],
            ImagePin::Unread { .. } => vec![pin.retention_tag(name)],
            ImagePin::Unknown { .. } => Vec::new(),
        };
        // At once: the containerd store takes its time to say that it has none of that ID.
        let looked = join_all(candidates.iter().map(|candidate| self.image(candidate))).await;
        for image in looked {
            if let Some(image) = image?.filter(|image| has_layers(image, pin)) {
                return Ok(Some(image));
            }
        }
        Ok(None)
    }

    /// Our tags of a name, each with the ID of its image.
    pub(crate) async fn retention_tags(&self, name: &Name) -> Result<Vec<(String, String)>, Failure> {
        let filters = HashMap::from([("reference".to_owned(), vec![retention_repository(name)])]);
        let options = query::ListImagesOptionsBuilder::default().filters(&filters).build();
        let images = self.list_images(options).await?;
        let prefix = format!("{}:", retention_repository(name));
        let tagged =
            images.into_iter().flat_map(|image| image.repo_tags.into_iter().map(move |tag| (tag, image.id.clone())));
        let mut tags: Vec<_> = tagged.filter(|(tag, _)| tag.starts_with(&prefix)).collect();
        tags.sort_unstable();
        Ok(tags)
    }

    /// Our tags, of whatever name.
    pub(crate) async fn all_retention_tags(&self) -> Result<Vec<String>, Failure> {
        let images = self.list_images(query::ListImagesOptions::default()).await?;
        let tags = images.into_iter().flat_map(|image| image.repo_tags);
        let mut tags: Vec<String> = tags.filter(|tag| tag.starts_with(RETENTION)).collect();
        tags.sort_unstable();
        Ok(tags)
    }

    /// Images without a tag, each by its ID with its bytes.
    pub(crate) async fn dangling(&self) -> Result<Vec<(String, u64)>, Failure> {
        let filters = HashMap::from([("dangling".to_owned(), vec!["true".to_owned()])]);
        let options = query::ListImagesOptionsBuilder::default().filters(&filters).build();
        let images = self.list_images(options).await?;
        Ok(images.into_iter().map(|image| (image.id, u64::try_from(image.size).unwrap_or_default())).collect())
    }

    /// The images, asked for again where the containerd store fails the whole list because one was removed meanwhile.
    async fn list_images(&self, options: query::ListImagesOptions) -> Result<Vec<ImageSummary>, Failure> {
        let is_open =
            |listed: &Result<_, CallError>| listed.as_ref().is_err_and(|error| error.message.contains("not found"));
        let listed = poll::at_most(
            LISTS,
            |_| LIST_PAUSE,
            is_open,
            async || {
                self.answer(Limit::Question, "docker images", self.docker.list_images(Some(options.clone()))).await
            },
        );
        listed.await.map_err(|error| error.failure_of(Kind::Engine, "list images"))
    }

    pub(crate) async fn image_store(&self, api: (u32, u32)) -> Result<StoreFacts, Failure> {
        let info = self.info().await;
        let info = info.map_err(|error| error.failure_of(Kind::Engine, "ask the engine for its settings"))?;
        let mut status = info.driver_status.iter().flatten();
        // Source: `docker info` prints `driver-type: io.containerd.snapshotter.v1` for the containerd store.
        let is_containerd = status.any(|pair| pair.iter().any(|text| text == "io.containerd.snapshotter.v1"));
        let store = match is_containerd {
            true => ImageStore::Containerd,
            false => ImageStore::Graph { zstd: api >= ZSTD_SINCE },
        };
        let root = info.docker_root_dir.unwrap_or_default();
        let socket = info.containerd.and_then(|containerd| containerd.address).unwrap_or_default();
        let folder = match store {
            ImageStore::Containerd if is_systems_own(&socket) => containerd_root(),
            ImageStore::Containerd | ImageStore::Graph { .. } => root,
        };
        Ok(StoreFacts { store, folder })
    }

    pub(crate) async fn tag(&self, image: &str, reference: &str) -> Result<(), Failure> {
        let (repository, tag) = reference.rsplit_once(':').unwrap_or((reference, "latest"));
        let options = query::TagImageOptionsBuilder::default().repo(repository).tag(tag).build();
        let asked = self.docker.tag_image(image, Some(options));
        let tagged = self.answer(Limit::Change, &format!("docker tag {image} {reference}"), asked).await;
        tagged.map_err(|error| error.failure_of(Kind::Engine, &format!("tag image {image} as {reference}")))
    }

    /// Takes a reference off an image; the engine drops the image with the last one, which it keeps while a container is
    /// made of it. Whether the reference is gone.
    /// Errors: [`Kind::Engine`]; none where there is no such reference.
    pub(crate) async fn untag(&self, reference: &str) -> Result<bool, Failure> {
        let asked = self.docker.remove_image(reference, None::<query::RemoveImageOptions>, None);
        let removed = self.answer(Limit::Change, &format!("docker rmi {reference}"), asked).await.map(drop);
        let is_in_use = removed.as_ref().is_err_and(|error| error.status == Some(409));
        let done = unless(removed, &[404, 409]);
        done.map(|()| !is_in_use).map_err(|error| error.failure_of(Kind::Engine, &format!("untag {reference}")))
    }

    /// Free bytes where an engine of this host keeps its data; `None` for one elsewhere.
    pub(crate) fn free(&self, folder: &str) -> Option<u64> {
        let disk = nix::sys::statvfs::statvfs(folder).ok().filter(|_| self.address.starts_with("unix://"))?;
        disk.blocks_available().checked_mul(disk.fragment_size())
    }

    pub(crate) async fn layers(&self) -> Result<Layers, Failure> {
        let options = query::ListImagesOptionsBuilder::default().all(true).build();
        let images = self.list_images(options).await?;
        let mut inspected = futures_util::stream::iter(images)
            .map(|image| async move { self.image(&image.id).await })
            .buffer_unordered(INSPECTIONS);
        let mut layers = Layers::default();
        while let Some(image) = inspected.next().await {
            // One that cannot be inspected (half removed, or of another platform) has nothing to offer.
            let Some(root) = image.ok().flatten().and_then(|image| image.root_fs) else { continue };
            let diff_ids = root.layers.unwrap_or_default();
            layers.chain_ids.extend(chain_ids(&diff_ids));
            layers.diff_ids.extend(diff_ids.iter().filter_map(|diff_id| diff_id.parse::<ContentDigest>().ok()));
        }
        Ok(layers)
    }

    /// Whether a container can be created of an image: on the containerd store an image may be there without its
    /// layers. The container is removed again; one that is left by a kill is found by its labels, as a task's is.
    /// Errors: The engine's words.
    pub(crate) async fn try_image(&self, image: &str, name: &Name) -> Result<(), CallError> {
        let id = self.never_run(image, name).await?;
        self.remove_call(&id, true).await
    }

    async fn never_run(&self, image: &str, name: &Name) -> Result<String, CallError> {
        let body = bollard::models::ContainerCreateBody {
            image: Some(image.to_owned()),
            entrypoint: Some(vec!["/balehook-never-runs".into()]),
            labels: Some(
                [(LABEL_NAME, name.as_str()), (LABEL_TASK, "try")]
                    .map(|(key, value)| (key.into(), value.into()))
                    .into(),
            ),
            ..Default::default()
        };
        // Without a name: none can be taken, and what a crash left is in no way.
        let asked = self.docker.create_container(None::<query::CreateContainerOptions>, body);
        let created = self.answer(Limit::Change, &format!("docker create {image}"), asked).await;
        created.map(|created| created.id)
    }

    /// A small file of an image, of a container that never runs; `None` where it has none, or that is a link.
    pub(crate) async fn file_of_image(&self, image: &str, name: &Name, path: &str) -> Result<Option<Vec<u8>>, Failure> {
        let failed = |error: CallError| error.failure_of(Kind::Engine, &format!("read {path} of {image}"));
        let id = self.never_run(image, name).await.map_err(failed)?;
        let options = query::DownloadFromContainerOptionsBuilder::default().path(path).build();
        let stream = self.docker.download_from_container(&id, Some(options));
        let call = format!("docker cp {image}:{path} -");
        let mut pieces = std::pin::pin!(self.items(PIECE, call, stream));
        let (mut archive, mut result) = (Vec::new(), Ok(()));
        while let Some(piece) = pieces.next().await {
            match piece {
                Ok(piece) if archive.len() + piece.len() <= SMALL => archive.extend_from_slice(&piece),
                Ok(_) => break,
                Err(error) if error.status == Some(404) => break,
                Err(error) => {
                    result = Err(failed(error));
                    break;
                }
            }
        }
        self.remove_call(&id, true).await.map_err(failed)?;
        result.map(|()| first_file(&archive))
    }
}

/// The content of the first entry of a tar archive, where that is a file.
fn first_file(archive: &[u8]) -> Option<Vec<u8>> {
    let mut archive = tar::Archive::new(archive);
    let mut entry = archive.entries().ok()?.next()?.ok().filter(|entry| entry.header().entry_type().is_file())?;
    let mut content = Vec::new();
    entry.read_to_end(&mut content).ok().map(|_| content)
}

/// Whether a containerd is one that the engine did not start itself. Source: dockerd starts its own below its `exec-root`,
/// with `containerd/containerd.sock` there, and keeps its data below its own data root.
fn is_systems_own(socket: &str) -> bool {
    matches!(socket.trim_start_matches("/var"), "/run/containerd/containerd.sock")
}

/// Where the system's containerd keeps images.
fn containerd_root() -> String {
    let settings = inputs::read(Path::new("/etc/containerd/config.toml"), None, SETTINGS).unwrap_or_default();
    root_of(&String::from_utf8_lossy(&settings))
}

/// The top-level `root` of containerd's settings, or its default.
fn root_of(settings: &str) -> String {
    let mut lines = settings.lines().map(str::trim).take_while(|line| !line.starts_with('['));
    let root = lines.find_map(|line| line.strip_prefix("root")?.trim_start().strip_prefix('='));
    let root = root.map(|value| value.split('#').next().unwrap_or_default().trim().trim_matches(['"', '\'']));
    root.filter(|root| root.starts_with('/')).unwrap_or("/var/lib/containerd").to_owned()
}

/// How an engine keeps images.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ImageStore {
    /// A graph driver (overlay2): an archive is unpacked as a whole, then its layers are registered.
    Graph {
        /// Whether it takes layers that are compressed with zstd (Docker 23 and later).
        zstd: bool,
    },
    /// containerd's content store and snapshots.
    Containerd,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StoreFacts {
    pub(crate) store: ImageStore,
    /// Where it keeps images, on its own host.
    pub(crate) folder: String,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Layers {
    /// By what lies below them too.
    pub(crate) chain_ids: HashSet<ContentDigest>,
    /// By themselves.
    pub(crate) diff_ids: HashSet<ContentDigest>,
}

fn has_layers(image: &ImageInspect, pin: &ImagePin) -> bool {
    match pin {
        ImagePin::Content { diff_ids, .. } => layers_are(image, diff_ids),
        ImagePin::Registry { .. } | ImagePin::Unread { .. } | ImagePin::Unknown { .. } => {
            image.root_fs.as_ref().is_some_and(|root| root.layers.as_ref().is_some_and(|layers| !layers.is_empty()))
        }
    }
}

/// Whether the image consists of exactly these layers.
pub(crate) fn layers_are(image: &ImageInspect, diff_ids: &[ContentDigest]) -> bool {
    let layers = image.root_fs.as_ref().and_then(|root| root.layers.as_ref());
    layers.is_some_and(|layers| layers.iter().map(String::as_str).eq(diff_ids.iter().map(ContentDigest::as_str)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_systems_containerd_keeps_images_where_its_settings_say() {
        assert_eq!(root_of(""), "/var/lib/containerd");
        assert_eq!(
            root_of("version = 2\nroot = '/data/containerd' # big\n[plugins]\nroot = \"/x\""),
            "/data/containerd"
        );
        assert_eq!(root_of("[plugins]\nroot = \"/x\""), "/var/lib/containerd");
        assert!(
            is_systems_own("/run/containerd/containerd.sock") && is_systems_own("/var/run/containerd/containerd.sock")
        );
        assert!(!is_systems_own("/var/run/docker/containerd/containerd.sock") && !is_systems_own(""));
    }
}
