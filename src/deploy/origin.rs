//! Where a deployment comes from: what labels and releases say of it.

/// The deployment's ID where no agent gave one.
pub const MANUAL: &str = "manual";

/// Who asks: what labels and records say of a deployment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// CodeDeploy's deployment ID, or [`MANUAL`].
    pub deployment: String,
    /// Where the revision came from.
    pub revision: String,
    /// The ETag of the bundle's object, where the agent names it: the same revision and ETag are the same bundle.
    pub etag: Option<String>,
    /// The image source as written in `appspec.yml`.
    pub source: String,
}
