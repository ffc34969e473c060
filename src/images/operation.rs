//! What can be done with images: each operation, its one rendering, and its effect.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::config::ArchiveLocation;
use crate::engine::Engine;
use crate::error::{Failure, Kind};
use crate::images::credentials::CredentialSettings;
use crate::images::delta::Missing;
use crate::images::import::FromArchive;
use crate::images::pull;
use crate::images::record::ImportRecord;
use crate::images::source::Archives;
use crate::values::operation::{Outcome, Role, Traits};
use crate::values::pin::ImagePin;
use crate::values::progress::FollowTransfer;
use crate::values::reference::ImageReference;
use crate::values::text::megabytes;
use crate::values::types::Name;

/// One operation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[allow(missing_docs)] // the names say it
pub enum ImageOperation {
    /// Import an image into the engine.
    Import(Import),
    /// Import it again where it, or layers of it, are lost. Nothing to do where it is whole.
    ///
    /// Removing an image takes layers along that one which came in at the same moment shares with it (containerd's store).
    ImportIfLost(Import),
    /// Give the image a tag of ours, `balehook/<name>:<digits>`, so that no `docker image prune` removes it.
    Retain { image: ImagePin, tag: String },
    /// Take a reference off an image; the engine drops the image with the last one.
    Untag { reference: String },
}

impl ImageOperation {
    pub(crate) fn title(&self) -> String {
        match self {
            Self::ImportIfLost(import) => format!("import {} again if it is lost", import.image().describe()),
            Self::Import(_) | Self::Retain { .. } | Self::Untag { .. } => self.to_string(),
        }
    }

    /// What its execution must know of it.
    pub(crate) const fn traits(&self) -> Traits {
        match self {
            Self::Import(_) => Role::Prepares.long(),
            Self::Untag { .. } => Role::Prepares.brief(),
            Self::ImportIfLost(_) => Role::Passive.long(),
            Self::Retain { .. } => Role::Passive.brief(),
        }
    }

    /// Does it.
    /// Errors: [`Kind::Image`] where the image cannot be had, [`Kind::Engine`] where the engine does not answer.
    pub(crate) async fn perform(&self, importer: &mut Importer, engine: &Engine) -> Result<Outcome, Failure> {
        match self {
            Self::Import(import) => importer.import(engine, import).await?,
            Self::ImportIfLost(import) => {
                let Some(lost) = importer.lost(engine, import.image()).await? else { return Ok(Outcome::unchanged()) };
                tracing::warn!(image = import.image().describe(), lost, "the image is imported again");
                importer.import(engine, import).await?;
            }
            Self::Retain { image, tag } => {
                let id = importer.id(engine, image).await?;
                engine.tag(&id, tag).await?;
            }
            Self::Untag { reference } => {
                if !engine.untag(reference).await? {
                    tracing::info!(reference, "a container is made of this image: it stays until a later deployment");
                    return Ok(Outcome::unchanged());
                }
                importer.record.remove(reference)?;
            }
        }
        Ok(Outcome::changed())
    }
}

impl fmt::Display for ImageOperation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Import(import) => write!(f, "{import}"),
            Self::ImportIfLost(import) => {
                write!(f, "import {} again if it is lost: {import}", import.image().describe())
            }
            Self::Retain { image, tag } => write!(f, "docker tag {} {tag}", image.describe()),
            Self::Untag { reference } => write!(f, "docker rmi {reference}"),
        }
    }
}

#[derive(Debug)]
pub(crate) struct Importer {
    name: Name,
    archives: Archives,
    pub(crate) credentials: CredentialSettings,
    follow: FollowTransfer,
    record: ImportRecord,
    loaded: Vec<(ImagePin, String)>,
}

impl Importer {
    pub(crate) const fn new(
        name: Name,
        archives: Archives,
        credentials: CredentialSettings,
        record: ImportRecord,
        follow: FollowTransfer,
    ) -> Self {
        Self { name, archives, credentials, record, follow, loaded: Vec::new() }
    }

    async fn import(&mut self, engine: &Engine, import: &Import) -> Result<(), Failure> {
        match import {
            Import::Pull { image, registry, platform } => {
                let pinned = image.argument();
                self.record.add(&image.retention_tag(&self.name), [pinned.clone()])?;
                pull::pull(engine, registry, &pinned, platform.as_deref(), &self.credentials, self.follow).await?;
                self.id(engine, image).await?;
            }
            Import::Load { image, archive, platform, reference, .. } => {
                let (archives, name, record) = (&self.archives, &self.name, &self.record);
                let reference = reference.as_deref();
                let from = FromArchive { engine, archives, name, pin: image, reference, record, follow: self.follow };
                let id = from.load(archive, platform.as_deref()).await?;
                tracing::info!(%archive, id, "loaded");
                self.loaded.retain(|(loaded, _)| loaded != image);
                self.loaded.push((image.clone(), id));
            }
        }
        Ok(())
    }

    async fn lost(&self, engine: &Engine, image: &ImagePin) -> Result<Option<String>, Failure> {
        let Some(id) = engine.find(image, &self.name).await?.and_then(|image| image.id) else {
            return Ok(Some("it is gone".into()));
        };
        match engine.try_image(&id, &self.name).await {
            Ok(()) => Ok(None),
            Err(error) if error.is_refusal() => Ok(Some(error.message)),
            Err(error) => Err(error.failure_of(Kind::Image, "create a container of it")),
        }
    }

    pub(crate) async fn id(&self, engine: &Engine, pin: &ImagePin) -> Result<String, Failure> {
        if let Some((_, id)) = self.loaded.iter().find(|(loaded, _)| loaded == pin) {
            return Ok(id.clone());
        }
        let image = engine.find(pin, &self.name).await?;
        image.and_then(|image| image.id).ok_or_else(|| {
            Failure::new(Kind::Image, format!("{} is not in the engine any more", pin.describe()))
                .next("it was removed during the deployment: deploy again")
        })
    }

    /// What a container or a service is created from: the digest in the registry, or the engine's own ID.
    pub(crate) async fn argument(&self, engine: &Engine, pin: &ImagePin) -> Result<String, Failure> {
        match pin {
            ImagePin::Registry { .. } => Ok(pin.argument()),
            ImagePin::Content { .. } | ImagePin::Unread { .. } | ImagePin::Unknown { .. } => self.id(engine, pin).await,
        }
    }
}

/// How an image is imported; `platform` is as `linux/arm64`, where the service names one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[allow(missing_docs)] // the names say it
pub enum Import {
    /// The engine pulls it, with the credentials of that registry's host (a slot: the host fills it).
    Pull { image: ImagePin, registry: String, platform: Option<String> },
    /// We stream what is missing of an archive into the engine.
    Load {
        image: ImagePin,
        archive: ArchiveLocation,
        platform: Option<String>,
        /// The tag that the revision asks for: the only one of the archive's that the image gets.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reference: Option<Box<ImageReference>>,
        /// The length of a compressed archive: it travels as a whole.
        bytes: Option<u64>,
        /// What is missing, where that was looked up.
        missing: Option<Missing>,
    },
}

impl Import {
    /// Which image.
    pub const fn image(&self) -> &ImagePin {
        match self {
            Self::Pull { image, .. } | Self::Load { image, .. } => image,
        }
    }
}

impl fmt::Display for Import {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pull { image, platform, .. } => {
                let platform = platform.as_ref().map(|name| format!("--platform {name} ")).unwrap_or_default();
                write!(f, "docker pull {platform}{}", image.describe())
            }
            Self::Load { image, archive, missing: Some(missing), .. } => {
                write!(f, "load {} from {archive}: {missing}", image.describe())
            }
            Self::Load { image, archive, bytes, .. } => {
                let bytes = bytes.map(|bytes| format!(": all of {}, compressed", megabytes(bytes)));
                write!(f, "load {} from {archive}{}", image.describe(), bytes.unwrap_or_default())
            }
        }
    }
}
