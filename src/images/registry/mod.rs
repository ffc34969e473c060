//! A registry asked by ourselves, for what no engine gives: signatures, and what an image's config says before it is
//! pulled. Reading only; the engine pulls.
//!
//! Source: the OCI distribution specification, and the registries' token authentication.

mod challenge;
pub(crate) mod config;
mod trust;

use std::sync::Mutex;
use std::time::Duration;

use http::StatusCode;

use crate::aws::https::{self, Answer};
use crate::images::credentials::{self, Credential, CredentialSettings};
use crate::images::registry::challenge::Challenge;
use crate::values::reference::ImageReference;
use crate::values::types::ContentDigest;

/// One answer may take so long.
const LIMIT: Duration = Duration::from_secs(30);

/// A blob in S3 is one redirect away, behind a cache two.
const REDIRECTS: u32 = 3;

/// What a manifest or an index may be.
pub(crate) const MANIFESTS: &str = "application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json, \
    application/vnd.docker.distribution.manifest.v2+json, application/vnd.docker.distribution.manifest.list.v2+json";

/// A repository of a registry.
pub(crate) struct Repository {
    host: String,
    path: String,
    credential: Option<Credential>,
    /// Certificates of the registry's own, as the engine reads them.
    certificates: Vec<Vec<u8>>,
    /// The header that the registry wants, once it has said so.
    authorization: Mutex<Option<String>>,
    settings: CredentialSettings,
}

impl Repository {
    /// Nothing is asked yet but who has the credentials.
    /// Errors: Why there are none.
    pub(crate) async fn of(reference: &ImageReference, settings: &CredentialSettings) -> Result<Self, String> {
        let host = reference.registry();
        let credential = credentials::for_registry(host, settings).await.map_err(|error| error.to_string())?;
        let whole = reference.whole_repository();
        let path = whole.split_once('/').map_or(whole.as_str(), |(_, path)| path).to_owned();
        let (certificates, settings) = (trust::certificates(host), settings.clone());
        let host = if host == "docker.io" { "registry-1.docker.io" } else { host }.to_owned();
        Ok(Self { host, path, credential, certificates, authorization: Mutex::new(None), settings })
    }

    /// Without the host.
    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    /// A manifest or an index by tag or digest; one by digest has it. `None` where there is none.
    /// Errors: Why it cannot be had, in one line.
    pub(crate) async fn manifest(&self, reference: &str) -> Result<Option<Vec<u8>>, String> {
        self.content(&format!("manifests/{reference}"), MANIFESTS, reference).await
    }

    /// A small blob, which has that digest.
    /// Errors: As [`Self::manifest`]; it must be there.
    pub(crate) async fn blob(&self, digest: &ContentDigest) -> Result<Vec<u8>, String> {
        let found = self.content(&format!("blobs/{digest}"), "*/*", digest.as_str()).await?;
        found.ok_or_else(|| format!("{} has no blob {digest}", self.host))
    }

    /// The index of what refers to a manifest; `None` where the registry does not know that question.
    /// Errors: As [`Self::manifest`].
    pub(crate) async fn referrers(&self, digest: &ContentDigest) -> Result<Option<Vec<u8>>, String> {
        self.content(&format!("referrers/{digest}"), MANIFESTS, "").await
    }

    async fn content(&self, what: &str, accept: &str, reference: &str) -> Result<Option<Vec<u8>>, String> {
        let answer = self.get(what, accept).await?;
        match answer.status {
            status if status.is_success() => {}
            StatusCode::NOT_FOUND => return Ok(None),
            status => return Err(format!("{} answered {} for {what} of {}", self.host, status.as_u16(), self.path)),
        }
        match reference.parse::<ContentDigest>() {
            Ok(wanted) if ContentDigest::of(&answer.body) != wanted => {
                Err(format!("{} gave another content for {what} of {}", self.host, self.path))
            }
            _ => Ok(Some(answer.body.to_vec())),
        }
    }

    async fn get(&self, what: &str, accept: &str) -> Result<Answer, String> {
        let url = format!("{}://{}/v2/{}/{what}", trust::scheme(&self.host), self.host, self.path);
        let known = self.authorization.lock().ok().and_then(|known| known.clone());
        let first = self.follow(&url, accept, known).await?;
        if first.status != StatusCode::UNAUTHORIZED {
            return Ok(first);
        }
        let challenge = Challenge::of(&first.challenges);
        let header = match challenge {
            Some(Challenge::Basic) => self.credential.as_ref().map(challenge::basic),
            Some(Challenge::Bearer(wanted)) => {
                let url = wanted.url(&self.path)?;
                let basic = self.credential.as_ref().map(challenge::basic);
                let answer = self.follow(&url, "application/json", basic).await?;
                Some(
                    challenge::token(&answer)
                        .ok_or_else(|| format!("{} gave no token for {}", self.host, self.path))?,
                )
            }
            None => None,
        };
        let Some(header) = header else {
            return Err(format!("{} wants credentials for {}, and docker's config has none", self.host, self.path));
        };
        if let Ok(mut known) = self.authorization.lock() {
            *known = Some(header.clone());
        }
        self.follow(&url, accept, Some(header)).await
    }

    /// Asks, and where the answer is elsewhere there: without the header, which is for this host alone.
    async fn follow(&self, url: &str, accept: &str, mut authorization: Option<String>) -> Result<Answer, String> {
        let mut url = url.to_owned();
        for _ in 0..=REDIRECTS {
            let answer = self.once(&url, accept, authorization.take()).await?;
            match answer.location.as_ref().filter(|_| answer.status.is_redirection()) {
                Some(next) if next.starts_with("https://") => url.clone_from(next),
                Some(next) if next.starts_with('/') => {
                    let end = url.find("://").map_or(0, |at| at + 3);
                    let end = url[end..].find('/').map_or(url.len(), |at| at + end);
                    url = format!("{}{next}", &url[..end]);
                }
                Some(_) => return Err(format!("{} leads to an address without TLS", self.host)),
                None => return Ok(answer),
            }
        }
        Err(format!("{} leads from one address to another more than {REDIRECTS} times", self.host))
    }

    async fn once(&self, url: &str, accept: &str, authorization: Option<String>) -> Result<Answer, String> {
        let mut headers = vec![("accept".to_owned(), accept.to_owned())];
        headers.extend(authorization.map(|value| ("authorization".to_owned(), value)));
        let late = |waited: Duration| format!("registry {} has not answered for {} s", self.host, waited.as_secs());
        let asked = tokio::time::timeout(LIMIT, https::get(url, &headers, &self.certificates));
        let answer = self.settings.waits.on(late, asked).await;
        let answer = answer.unwrap_or_else(|_| Err(format!("it has not answered for {} s", LIMIT.as_secs())));
        answer.map_err(|why| format!("registry {}: {why}", self.host))
    }
}
