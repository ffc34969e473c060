//! Importing an image, as a plan has it.

use std::fmt;

use serde::Serialize;

use crate::config::ArchiveLocation;
use crate::images::delta::Missing;
use crate::values::pin::ImagePin;
use crate::values::text::megabytes;

/// How an image is brought in.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "how", rename_all = "kebab-case")]
pub enum Import {
    /// The engine pulls it, with the credentials of that registry (a slot: the host fills it).
    Pull {
        /// Which image.
        image: ImagePin,
        /// The registry's host.
        registry: String,
        /// `linux/arm64`, where the service names one.
        platform: Option<String>,
    },
    /// We stream what is missing of an archive into the engine.
    Load {
        /// Which image must be in the engine afterwards.
        image: ImagePin,
        /// From where.
        archive: ArchiveLocation,
        /// `linux/arm64`, where the service names one.
        platform: Option<String>,
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
                write!(f, "docker pull {platform}{}", image.argument())
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
