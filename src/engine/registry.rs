//! Registries, asked through the engine.

use bollard::Docker;
use bollard::models::CreateImageInfo;
use bollard::query_parameters as query;
use futures_util::Stream;
use http::HeaderValue;

use crate::engine::Engine;
use crate::engine::call::{CallError, IDLE, Limit};

impl Engine {
    /// The digest that `reference` stands for in its registry now.
    pub(crate) async fn registry_digest(
        &self,
        reference: &str,
        auth: Option<HeaderValue>,
    ) -> Result<String, CallError> {
        let docker = self.with_credentials(auth);
        let asked = docker.inspect_registry_image(reference, None);
        let found = self.answer(Limit::Registry, &format!("docker manifest inspect {reference}"), asked).await?;
        Ok(found.descriptor.digest.unwrap_or_default())
    }

    /// Pulls `repository@digest`: what the engine says of its progress. The last item is the error that ended it; it is
    /// one that the engine says nothing for [`IDLE`].
    pub(crate) fn pull(
        &self,
        pinned: &str,
        platform: Option<&str>,
        auth: Option<HeaderValue>,
    ) -> impl Stream<Item = Result<CreateImageInfo, CallError>> + use<> {
        let (repository, digest) = pinned.split_once('@').unwrap_or((pinned, "latest"));
        let mut options = query::CreateImageOptionsBuilder::default().from_image(repository).tag(digest);
        if let Some(platform) = platform {
            options = options.platform(platform);
        }
        let stream = self.with_credentials(auth).create_image(Some(options.build()), None, None);
        self.items(IDLE, format!("docker pull {pinned}"), stream)
    }

    /// With the registry's credentials in every request's header. bollard itself writes it in an alphabet that the
    /// engine silently takes for none.
    fn with_credentials(&self, auth: Option<HeaderValue>) -> Docker {
        let Some(auth) = auth else { return self.docker.clone() };
        self.docker.clone().with_request_modifier(move |mut request| {
            request.headers_mut().insert("X-Registry-Auth", auth.clone());
            request
        })
    }
}
