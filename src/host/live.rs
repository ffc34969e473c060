//! The real host.

use std::time::Duration;

use bollard::models::ImageInspect;
use bollard::query_parameters as query;
use futures_util::StreamExt as _;

use super::credentials::CredentialSettings;
use super::engine::{Engine, address, layers_are, refused, status};
use super::s3::S3;
use super::source::Archive;
use super::{Host, load, prove, registry};
use crate::error::{Failure, Kind};
use crate::image::pin::ImagePin;
use crate::plan::step::{Bring, ContainerSpec, Proof, Target};
use crate::release::{LockedStore, Observed, Release};
use crate::report::progress::megabytes;
use crate::report::text::printable;
use crate::spec::types::Name;

/// Lines of a container's log that a report shows.
const LOG_LINES: usize = 20;
/// How long reading a container's log may take: the old container waits.
const LOG_LIMIT: Duration = Duration::from_millis(700);

/// The engine, the object store, the registries and the records of one name.
pub struct LiveHost {
    /// The deployment's name.
    pub name: Name,
    /// The engine.
    pub engine: Engine,
    /// The object store; nothing is sent before it is used.
    pub s3: S3,
    /// Where registry credentials are looked for.
    pub credentials: CredentialSettings,
    /// The records, locked.
    pub store: LockedStore,
    /// Releases to keep on record.
    pub keep: usize,
    created: Option<String>,
    loaded: Option<(ImagePin, String)>,
}

impl LiveHost {
    /// A host of which nothing was asked yet.
    pub const fn new(
        name: Name,
        engine: Engine,
        s3: S3,
        credentials: CredentialSettings,
        store: LockedStore,
        keep: usize,
    ) -> Self {
        Self { name, engine, s3, credentials, store, keep, created: None, loaded: None }
    }

    /// The ID or the name by which the engine is to be asked for a container.
    fn at<'a>(&'a self, container: &'a Target) -> &'a str {
        address(container, self.created.as_deref())
    }

    /// The engine's ID of a pinned image.
    async fn image_id(&self, pin: &ImagePin) -> Result<String, Failure> {
        if let Some((_, id)) = self.loaded.as_ref().filter(|(loaded, _)| loaded == pin) {
            return Ok(id.clone());
        }
        let image = self.engine.find(pin, &self.name).await?;
        image.and_then(|image| image.id).ok_or_else(|| {
            Failure::new(Kind::Image, format!("{} is not in the engine any more", pin.describe()))
                .next("somebody removed it while we deployed: deploy again")
        })
    }

    /// After a load: the wanted image among what the engine says it loaded.
    async fn verify(&mut self, pin: &ImagePin, label: &str, loaded: &[String]) -> Result<String, Failure> {
        let mut candidates: Vec<&str> = loaded.iter().map(String::as_str).collect();
        if let ImagePin::Content { config, .. } = pin {
            candidates.insert(0, config.as_str());
        }
        let mut found = Vec::new();
        for candidate in candidates {
            let Some(image) = self.engine.image(candidate).await? else { continue };
            found.push(image.id.clone().unwrap_or_default());
            if is_wanted(&image, candidate, pin, loaded.len()) {
                let id = image.id.unwrap_or_default();
                self.loaded = Some((pin.clone(), id.clone()));
                return Ok(id);
            }
        }
        found.dedup();
        let found = if found.is_empty() { "nothing".to_owned() } else { found.join(", ") };
        Err(Failure::new(
            Kind::Image,
            format!("{label} was loaded, but {} is not in it: it held {found}", pin.describe()),
        )
        .next("correct `reference` or `id` under x-balehook.container.image"))
    }
}

/// Whether a loaded image is the wanted one: its layers, or what little is known of a compressed archive.
fn is_wanted(image: &ImageInspect, candidate: &str, pin: &ImagePin, loaded: usize) -> bool {
    match pin {
        ImagePin::Content { diff_ids, .. } => layers_are(image, diff_ids),
        ImagePin::Unread { reference, id, .. } => {
            let named = reference.as_deref().map_or(loaded == 1, |wanted| wanted == candidate);
            named && id.as_ref().is_none_or(|id| image.id.as_deref() == Some(id.as_str()))
        }
        ImagePin::Registry { .. } | ImagePin::Unknown { .. } => false,
    }
}

impl Host for LiveHost {
    async fn bring(&mut self, bring: &Bring) -> Result<Vec<String>, Failure> {
        match bring {
            Bring::Pull { image, registry, platform } => {
                let pinned = image.argument();
                registry::pull(&self.engine, registry, &pinned, platform.as_deref(), &self.credentials).await?;
                self.image_id(image).await?;
                Ok(vec![pinned])
            }
            Bring::Load { image, archive, bytes } => {
                let label = archive.to_string();
                let opened = Archive::open(archive, &self.s3).await.map_err(|failed| failed.failure)?;
                let loaded = load::load(&self.engine, &opened, &label, *bytes).await?;
                let id = self.verify(image, &label, &loaded).await?;
                tracing::info!(%label, id, size = bytes.map(megabytes), "loaded");
                Ok(loaded.into_iter().filter(|reference| !reference.starts_with("sha256:")).collect())
            }
        }
    }

    async fn keep(&mut self, image: &ImagePin, tag: &str) -> Result<(), Failure> {
        let id = self.image_id(image).await?;
        let (repository, tag) = tag.split_once(':').unwrap_or((tag, "latest"));
        let options = query::TagImageOptionsBuilder::default().repo(repository).tag(tag).build();
        let tagged = self.engine.docker.tag_image(&id, Some(options)).await;
        tagged.map_err(|error| self.engine.failed(&format!("tag image {id}"), &error))
    }

    async fn create(&mut self, spec: &ContainerSpec) -> Result<(), Failure> {
        let image = match &spec.image {
            ImagePin::Registry { .. } => spec.image.argument(),
            ImagePin::Content { .. } | ImagePin::Unread { .. } | ImagePin::Unknown { .. } => {
                self.image_id(&spec.image).await?
            }
        };
        self.created = Some(self.engine.create(spec, image).await?);
        Ok(())
    }

    async fn stop(&mut self, container: &Target, grace: Duration) -> Result<(), Failure> {
        let seconds = i32::try_from(grace.as_secs()).unwrap_or(i32::MAX);
        let options = query::StopContainerOptionsBuilder::default().t(seconds).build();
        let stopped = self.engine.docker.stop_container(self.at(container), Some(options)).await;
        done_already(stopped, &[304, 404]).map_err(|error| refused(&format!("cannot stop {container}"), &error))
    }

    async fn kill(&mut self, container: &Target) -> Result<(), Failure> {
        let options = query::KillContainerOptionsBuilder::default().signal("SIGKILL").build();
        let killed = self.engine.docker.kill_container(self.at(container), Some(options)).await;
        done_already(killed, &[404, 409]).map_err(|error| refused(&format!("cannot kill {container}"), &error))
    }

    async fn rename(&mut self, container: &Target, to: &str) -> Result<(), Failure> {
        let at = self.at(container);
        let options = query::RenameContainerOptionsBuilder::default().name(to).build();
        let Err(error) = self.engine.docker.rename_container(at, options).await else { return Ok(()) };
        let named = self.engine.inspect(at).await?.and_then(|found| found.name);
        match named {
            Some(name) if name.trim_start_matches('/') == to => Ok(()),
            _ => Err(refused(&format!("cannot rename {container} to {to}"), &error)),
        }
    }

    async fn start(&mut self, container: &Target) -> Result<(), Failure> {
        let started = self.engine.docker.start_container(self.at(container), None).await;
        done_already(started, &[304]).map_err(|error| refused(&format!("cannot start {container}"), &error))
    }

    async fn prove(&mut self, container: &Target, proof: &Proof) -> Result<(), Failure> {
        prove::prove(&self.engine, &container.name, self.at(container), proof).await
    }

    async fn record(&mut self, container: &Target, release: &Release, down: Option<Duration>) -> Result<(), Failure> {
        let seen = self.engine.inspect(self.at(container)).await?.unwrap_or_default();
        let ports = seen.network_settings.and_then(|settings| settings.ports).unwrap_or_default();
        let observed = Observed {
            at: jiff::Timestamp::now().to_string(),
            container: seen.id.unwrap_or_default(),
            image_id: seen.image.unwrap_or_default(),
            ports: published(&ports),
            down_ms: down.and_then(|down| u64::try_from(down.as_millis()).ok()),
        };
        self.store.add_release(&Release { observed, ..release.clone() }, self.keep)
    }

    async fn remove(&mut self, container: &Target, volumes: bool) -> Result<(), Failure> {
        let options = query::RemoveContainerOptionsBuilder::default().force(true).v(volumes).build();
        let removed = self.engine.docker.remove_container(self.at(container), Some(options)).await;
        // 409: somebody else is removing it already.
        done_already(removed, &[404, 409]).map_err(|error| refused(&format!("cannot remove {container}"), &error))
    }

    async fn untag(&mut self, reference: &str) -> Result<(), Failure> {
        let removed = self.engine.docker.remove_image(reference, None::<query::RemoveImageOptions>, None).await;
        done_already(removed.map(drop), &[404])
            .map_err(|error| self.engine.failed(&format!("untag {reference}"), &error))
    }

    async fn evidence(&mut self, container: &Target) -> Vec<String> {
        log_tail(&self.engine, self.at(container)).await
    }
}

fn done_already(result: Result<(), bollard::errors::Error>, fine: &[u16]) -> Result<(), bollard::errors::Error> {
    match result {
        Err(error) if status(&error).is_some_and(|status| fine.contains(&status)) => Ok(()),
        other => other,
    }
}

/// Published ports as `0.0.0.0:49153->80/tcp`, sorted.
pub fn published(ports: &bollard::models::PortMap) -> Vec<String> {
    let each = ports.iter().flat_map(|(port, bindings)| {
        bindings.iter().flatten().map(move |binding| {
            let host = binding.host_ip.as_deref().unwrap_or_default();
            format!("{host}:{}->{port}", binding.host_port.as_deref().unwrap_or_default())
        })
    });
    let mut lines: Vec<String> = each.collect();
    lines.sort_unstable();
    lines
}

/// The container's last log lines; where the driver's log cannot be read, why.
pub async fn log_tail(engine: &Engine, id: &str) -> Vec<String> {
    let options = query::LogsOptionsBuilder::default().stdout(true).stderr(true).tail(&LOG_LINES.to_string()).build();
    let mut text = Vec::new();
    let read = async {
        let mut stream = std::pin::pin!(engine.docker.logs(id, Some(options)));
        while let Some(chunk) = stream.next().await {
            match chunk {
                Ok(chunk) => text.extend_from_slice(&chunk.into_bytes()),
                Err(error) => {
                    text.extend_from_slice(
                        format!("(its log cannot be read: {})\n", super::engine::cause(&error)).as_bytes(),
                    );
                    break;
                }
            }
        }
    };
    let _ = tokio::time::timeout(LOG_LIMIT, read).await;
    let text = String::from_utf8_lossy(&text).into_owned();
    let lines: Vec<String> = text.lines().map(|line| printable(line).trim_end().to_owned()).collect();
    lines[lines.len().saturating_sub(LOG_LINES)..].to_vec()
}
