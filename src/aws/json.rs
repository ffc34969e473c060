//! AWS JSON 1.1, which SSM, Secrets Manager, KMS and the public gallery of ECR speak: one signed POST a call. Their SDKs are not needed for it.
//!
//! Source: Smithy, "AWS JSON 1.1 protocol".

use std::collections::HashMap;
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use aws_config::SdkConfig;
use serde_json::Value;
use tokio::sync::OnceCell;

use crate::aws::https::{Answer, Connector};
use crate::aws::sign::{Post, address, credentials};
use crate::aws::{config, https, identity};
use crate::poll;
use crate::values::secret::masked;
use crate::values::text::{printable, seconds, shorten};
use crate::waits::Waits;

/// How long one attempt may take.
const ATTEMPT: Duration = Duration::from_secs(10);

/// How often a call is sent that is throttled or finds the service ill; the event's deadline bounds it too.
const ATTEMPTS: u32 = 7;

/// The pause after the first time, a part of it by chance; twice as long after each.
const FIRST_PAUSE: Duration = Duration::from_millis(200);

/// Answers that a later attempt may not get. Source: AWS SDKs reference, "Retry behavior".
const THROTTLED: [&str; 5] =
    ["ThrottlingException", "Throttling", "TooManyRequestsException", "RequestLimitExceeded", "LimitExceededException"];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Service {
    Ssm,
    SecretsManager,
    Kms,
    EcrPublic,
}

/// What stands for a service in addresses and in signatures, before an action, in a variable, and in words.
struct Names {
    id: &'static str,
    /// Before the region in its address.
    host: &'static str,
    target: &'static str,
    endpoint: &'static str,
    words: &'static str,
}

/// A lazy client of all of them: nothing is read or sent before it is used. Clones count their calls together.
#[derive(Debug, Clone)]
pub(crate) struct Json {
    home: Option<PathBuf>,
    endpoints: HashMap<&'static str, String>,
    settings: Arc<OnceCell<SdkConfig>>,
    client: Arc<OnceCell<Connector>>,
    calls: Arc<AtomicU32>,
    waits: Waits,
}

/// Why a call has no result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum CallError {
    NoCredentials(String),
    NoRegion,
    Unreachable(String),
    /// Still after the last attempt.
    Throttled(String),
    /// The service's own code and words.
    Refused {
        code: String,
        message: String,
    },
}

impl Service {
    pub(crate) const ALL: [Self; 4] = [Self::Ssm, Self::SecretsManager, Self::Kms, Self::EcrPublic];

    const fn names(self) -> Names {
        match self {
            Self::Ssm => {
                Names { id: "ssm", host: "ssm", target: "AmazonSSM", endpoint: "AWS_ENDPOINT_URL_SSM", words: "SSM" }
            }
            Self::SecretsManager => Names {
                id: "secretsmanager",
                host: "secretsmanager",
                target: "secretsmanager",
                endpoint: "AWS_ENDPOINT_URL_SECRETS_MANAGER",
                words: "Secrets Manager",
            },
            Self::Kms => {
                Names { id: "kms", host: "kms", target: "TrentService", endpoint: "AWS_ENDPOINT_URL_KMS", words: "KMS" }
            }
            Self::EcrPublic => Names {
                id: "ecr-public",
                host: "api.ecr-public",
                target: "SpencerFrontendService",
                endpoint: "AWS_ENDPOINT_URL_ECR_PUBLIC",
                words: "the public gallery of ECR",
            },
        }
    }

    pub(crate) const fn words(self) -> &'static str {
        self.names().words
    }
}

impl Json {
    /// Settings from the environment: `AWS_ENDPOINT_URL_SSM` and its like, and all that the AWS SDK knows itself.
    pub(crate) fn from_env(variable: &dyn Fn(&str) -> Option<String>, waits: &Waits) -> Self {
        let own = |service: Service| {
            let id = service.names().id;
            Some((id, variable(service.names().endpoint).filter(|url| !url.is_empty())?))
        };
        Self {
            home: config::home_if_unset(variable),
            endpoints: Service::ALL.into_iter().filter_map(own).collect(),
            settings: Arc::default(),
            client: Arc::default(),
            calls: Arc::default(),
            waits: waits.clone(),
        }
    }

    /// The region that is asked where nothing names another one.
    pub(crate) async fn region(&self) -> Option<String> {
        self.settings().await.region().map(ToString::to_string)
    }

    /// Requests that were sent until now.
    pub(crate) fn calls(&self) -> u32 {
        self.calls.load(Ordering::Relaxed)
    }

    async fn settings(&self) -> &SdkConfig {
        self.settings.get_or_init(|| Box::pin(identity::settings(self.home.as_deref()))).await
    }

    /// Calls an action, in the region of the host where none is given. Tried again while it is throttled or the service is ill.
    pub(crate) async fn call(
        &self,
        service: Service,
        action: &str,
        region: Option<&str>,
        input: &Value,
    ) -> Result<Value, CallError> {
        let settings = self.settings().await;
        let own = || settings.region().map(AsRef::as_ref);
        let region = region.or_else(own).ok_or(CallError::NoRegion)?;
        let names = service.names();
        let url = self.endpoints.get(names.id).map(String::as_str).or_else(|| settings.endpoint_url());
        let url = url.map_or_else(|| address(names.host, region), |url| format!("{}/", url.trim_end_matches('/')));
        let (target, body) = (format!("{}.{action}", names.target), input.to_string());
        let head = [("content-type", "application/x-amz-json-1.1"), ("x-amz-target", target.as_str())];
        let post = Post { url: &url, service: names.id, region, head: &head, body: &body };
        let silent = |time| format!("{} has not answered for {}", names.words, seconds(time));
        self.waits.on(silent, self.repeated(settings, &post)).await
    }

    async fn repeated(&self, settings: &SdkConfig, post: &Post<'_>) -> Result<Value, CallError> {
        let mut longest = FIRST_PAUSE;
        for _ in 1..ATTEMPTS {
            match self.once(settings, post).await {
                Err(error) if error.is_passing() => poll::pause(longest / 2 + by_chance(longest / 2)).await,
                other => return other,
            }
            longest *= 2;
        }
        self.once(settings, post).await
    }

    async fn once(&self, settings: &SdkConfig, post: &Post<'_>) -> Result<Value, CallError> {
        let found = credentials(settings).await.map_err(CallError::NoCredentials)?;
        let headers = post.signed(found).map_err(CallError::Unreachable)?;
        self.calls.fetch_add(1, Ordering::Relaxed);
        let client = self.client.get_or_try_init(|| async { https::client() });
        let client = client.await.map_err(CallError::Unreachable)?;
        let sent = https::send(client, post.url, &headers, post.body.to_owned(), MOST);
        let late = |_| Err(format!("no answer for {}", seconds(ATTEMPT)));
        let Answer { status, body, .. } =
            Box::pin(tokio::time::timeout(ATTEMPT, sent)).await.unwrap_or_else(late).map_err(CallError::Unreachable)?;
        read(status.as_u16(), &body)
    }
}

/// The largest answer: ten parameters, or twenty secrets of 64 KiB.
const MOST: usize = 4 * 1024 * 1024;

fn read(status: u16, body: &[u8]) -> Result<Value, CallError> {
    let answer: Value = serde_json::from_slice(body).unwrap_or_default();
    if (200..300).contains(&status) {
        return Ok(answer);
    }
    // Source: Smithy, "Operation error serialization": `com.amazonaws.ssm#ParameterNotFound:http://…`.
    let code = answer["__type"].as_str().unwrap_or_default();
    let code = code.split(':').next().unwrap_or_default().rsplit('#').next().unwrap_or_default().to_owned();
    let message = ["message", "Message"].iter().find_map(|key| answer[key].as_str()).unwrap_or_default();
    // A proxy or a VPC endpoint denies in words of its own.
    if status == 403 && code.is_empty() {
        let message = shorten(&masked(&printable(&String::from_utf8_lossy(body))), 200);
        return Err(CallError::Refused { code: "AccessDenied".into(), message });
    }
    let message = shorten(&masked(&printable(message)), 300);
    match (THROTTLED.contains(&code.as_str()) || status == 429, status >= 500) {
        (true, _) => Err(CallError::Throttled(message)),
        (false, true) => Err(CallError::Unreachable(format!("it answered {status} {code}").trim_end().to_owned())),
        (false, false) => Err(CallError::Refused { code, message }),
    }
}

impl CallError {
    /// A later attempt may have a result.
    const fn is_passing(&self) -> bool {
        matches!(self, Self::Throttled(_) | Self::Unreachable(_))
    }

    /// The service's code, where it gave one.
    pub(crate) fn is(&self, codes: &[&str]) -> bool {
        matches!(self, Self::Refused { code, .. } if codes.contains(&code.as_str()))
    }

    /// The whole of it, in one clause.
    pub(crate) fn of(&self, service: Service) -> String {
        let words = service.words();
        match self {
            Self::NoCredentials(why) => format!("no AWS credentials for {words}: {why}"),
            Self::NoRegion => format!("no region is known in which {words} could be asked"),
            Self::Unreachable(why) => format!("{words} cannot be reached: {why}"),
            Self::Throttled(why) => format!("{words} throttles: {why}"),
            Self::Refused { code, message } => format!("{words} answered {code}: {message}"),
        }
    }

    pub(crate) fn is_denied(&self) -> bool {
        self.is(&["AccessDeniedException", "AccessDenied", "UnauthorizedOperation"])
    }
}

/// A part of a time, so that hosts which were throttled together do not come together again.
fn by_chance(most: Duration) -> Duration {
    let chance = RandomState::new().build_hasher().finish() % 1024;
    most.mul_f64(chance as f64 / 1024.0)
}

#[cfg(test)]
#[path = "json_tests.rs"]
pub(crate) mod tests;
