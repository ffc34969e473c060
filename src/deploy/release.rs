//! What one deployment put in place, as it is saved. What its mode needs of it is a type parameter.

use std::fmt;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::deploy::origin::Origin;
use crate::values::pin::ImagePin;
use crate::values::volume::AnonymousVolume;

/// The version of the releases' form. A newer one is refused, not guessed at.
pub(crate) const FORMAT: u32 = 2;

/// What one deployment put in place.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Release<P> {
    /// [`FORMAT`] of the writer.
    pub format: u32,
    /// CodeDeploy's deployment ID, or `manual`.
    pub deployment: String,
    /// Where the revision came from.
    pub revision: String,
    /// The ETag of the bundle's object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub etag: Option<String>,
    /// The image source as written.
    pub source: String,
    /// The image that runs; of several the first.
    pub image: ImagePin,
    /// The others, where several run.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub more_images: Vec<ImagePin>,
    /// The digest of all options.
    pub spec: String,
    /// What its mode needs to restore it.
    pub part: P,
    /// What was seen once it ran.
    pub observed: Observed,
    /// A person wants it kept: it is never pruned.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub pinned: bool,
    /// The number of its file; 0 before it is saved.
    #[serde(skip)]
    pub number: u64,
}

impl<P: DeserializeOwned> Release<P> {
    /// Reads one. Format 1 has what its mode needs among the release's own keys.
    ///
    /// # Errors
    /// It is no release.
    pub fn from_value(mut value: serde_json::Value) -> serde_json::Result<Self> {
        if value.get("part").is_none() && value.is_object() {
            value["part"] = value.clone();
        }
        serde_json::from_value(value)
    }
}

impl<P> Release<P> {
    /// A release of one image, before it runs. `spec` is the digest of all options.
    pub(crate) fn new(origin: &Origin, image: ImagePin, spec: String, part: P) -> Self {
        Self {
            format: FORMAT,
            deployment: origin.deployment.clone(),
            revision: origin.revision.clone(),
            etag: origin.etag.clone(),
            source: origin.source.clone(),
            image,
            more_images: Vec::new(),
            spec,
            part,
            observed: Observed::default(),
            pinned: false,
            number: 0,
        }
    }

    pub(crate) fn images(&self) -> impl Iterator<Item = &ImagePin> {
        std::iter::once(&self.image).chain(&self.more_images)
    }
}

/// Those that stay of releases, of which the newest comes first: so many of the newest, and those that are pinned.
pub(crate) fn kept<P>(releases: &[Release<P>], newest: usize) -> impl Iterator<Item = &Release<P>> {
    releases
        .iter()
        .enumerate()
        .filter(move |(age, release)| *age < newest || release.pinned)
        .map(|(_, release)| release)
}

impl<P> fmt::Display for Release<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let more = match self.more_images.len() {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        write!(f, "{}{more} of {}", self.image.describe(), self.deployment)
    }
}

/// What was seen of a release once it ran.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Observed {
    /// When it was healthy, RFC 3339.
    pub at: String,
    /// The container's ID.
    pub container: String,
    /// The image's ID in the engine.
    pub image_id: String,
    /// Published ports: `0.0.0.0:49153->80/tcp`.
    pub ports: Vec<String>,
    /// In Compose mode: containers that ran.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub running: Vec<String>,
    /// In Compose mode: what the engine had of each service, as `[service, option, digest]` and the value where it may be
    /// shown.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<Vec<String>>,
    /// In container mode: its anonymous volumes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub volumes: Vec<AnonymousVolume>,
    /// Milliseconds from stopping the old container until the new one was healthy.
    pub down_ms: Option<u64>,
}
