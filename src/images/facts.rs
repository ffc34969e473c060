//! What was seen of a wanted image, and of the room for it.

use serde::{Deserialize, Serialize};

use crate::error::{Failure, Kind};
use crate::images::delta::Missing;
use crate::values::pin::ImagePin;
use crate::values::text::megabytes;

/// One wanted image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageFacts {
    /// What was looked up: [`ImageNeed::key`](crate::config::ImageNeed::key).
    pub key: String,
    /// Which image exactly.
    pub pin: ImagePin,
    /// Whether the engine has it.
    pub present: bool,
    /// Bytes of a compressed archive, of which all must travel.
    pub bytes: Option<u64>,
    /// What must travel of an archive that could be indexed.
    pub missing: Option<Missing>,
    /// Why it could not be looked up (a dry run goes on with that as an assumption).
    pub unknown: Option<String>,
    /// The processor it is built for, where that is known.
    pub architecture: Option<String>,
    /// It is taken as the engine has it, and no registry was asked.
    #[serde(default)]
    pub from_host: bool,
    /// What `verify` asks of it; it holds, as this or an earlier event of the deployment has found, unless the image is
    /// unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verify: Option<String>,
    /// What the scan of ECR has found, where this event has asked for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub findings: Option<String>,
}

impl ImageFacts {
    /// Which image it is, before the engine is asked for it.
    pub fn of(pin: ImagePin) -> Self {
        Self {
            key: String::new(),
            pin,
            present: false,
            bytes: None,
            missing: None,
            unknown: None,
            architecture: None,
            from_host: false,
            verify: None,
            findings: None,
        }
    }

    /// One that could not be looked up, and why.
    pub(crate) fn unknown(wanted: String, why: &str) -> Self {
        Self { unknown: Some(why.to_owned()), ..Self::of(ImagePin::Unknown { wanted }) }
    }
}

/// Room on the disk of the engine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Room {
    /// The engine's data folder.
    pub folder: String,
    /// Free bytes there.
    pub free: u64,
    /// Bytes that loading needs: the unpacked layers, and the engine's own copies on the way there.
    pub needed: u64,
}

impl Room {
    /// Why nothing is loaded, where there is too little of it.
    pub(crate) fn refusal(&self) -> Option<Failure> {
        let (needed, free) = (megabytes(self.needed), megabytes(self.free));
        (self.free < self.needed).then(|| {
            Failure::new(Kind::Image, format!("loading needs {needed} in {}, {free} are free", self.folder))
                .next("make room (docker system df), lower x-balehook.keep, or enlarge the disk")
        })
    }
}
