//! What the host looks like now: values only, so that plans can be made from a file in tests.

pub mod swarm;

use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::error::{Failure, Kind};
use crate::image::delta::Missing;
use crate::image::pin::ImagePin;
use crate::plan::compose::project::ComposeFacts;
use crate::release::{Brought, Journal, Release, Store};
use crate::report::progress::megabytes;
use crate::spec::handover::{self, Forward};
use crate::spec::types::{ContentDigest, EnvVar};

/// Label: the deployment's `name`.
pub const LABEL_NAME: &str = "balehook.name";
/// Label: CodeDeploy's deployment ID.
pub const LABEL_DEPLOYMENT: &str = "balehook.deployment";
/// Label: where the revision came from.
pub const LABEL_REVISION: &str = "balehook.revision";
/// Label: the digest of the image that runs.
pub const LABEL_DIGEST: &str = "balehook.digest";
/// Label: a digest of all options, so that an unchanged release is recognised.
pub const LABEL_SPEC: &str = "balehook.spec";
/// Label: the host ports that the kernel hands to the container, as `80->8080/tcp`, separated by spaces.
pub const LABEL_PORTS: &str = "balehook.ports";
/// Label: its fixed address on our network; behind a comma the IPv6 one.
pub const LABEL_ADDRESS: &str = "balehook.address";
/// Label: the name of the task that a container was made for; none on the service's own.
pub const LABEL_TASK: &str = "balehook.task";
/// Every label of ours.
pub const LABELS: [&str; 13] = [
    LABEL_NAME,
    LABEL_DEPLOYMENT,
    LABEL_REVISION,
    LABEL_DIGEST,
    LABEL_SPEC,
    LABEL_TASK,
    LABEL_PORTS,
    LABEL_ADDRESS,
    LABEL_REGISTRY,
    LABEL_ASKS,
    LABEL_NODE,
    LABEL_OUTCOME,
    LABEL_SAID,
];

/// Label of a service: the registry whose token its nodes need.
pub const LABEL_REGISTRY: &str = "balehook.registry";
/// Label of a service that only asks the nodes for an image: the name of the one it asks for.
pub const LABEL_ASKS: &str = "balehook.asks";
/// Label of a task's job and claim in a swarm: the ID of the node that runs it.
pub const LABEL_NODE: &str = "balehook.node";
/// Label of a task's claim: `done` or `failed`, once it has ended.
pub const LABEL_OUTCOME: &str = "balehook.outcome";
/// Label of a task's claim: how it failed, and below that its last lines.
pub const LABEL_SAID: &str = "balehook.said";

/// Something that was looked up, or why it could not be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Known<T> {
    /// It was seen.
    Yes(T),
    /// It could not be seen: why, in one clause.
    No(String),
}

impl<T> Known<T> {
    /// The value, where it is known.
    pub const fn yes(&self) -> Option<&T> {
        match self {
            Self::Yes(value) => Some(value),
            Self::No(_) => None,
        }
    }
}

/// The host as a plan sees it.
#[derive(Debug, Clone)]
pub struct Facts {
    /// The engine.
    pub engine: Known<EngineFacts>,
    /// Our containers, and those that bear a name that we are going to use.
    pub containers: Vec<ContainerFacts>,
    /// Containers of tasks, by name: the lock is ours, so that a killed deployment left them.
    pub task_containers: Vec<String>,
    /// The wanted images; none where the event does not need them.
    pub images: Vec<ImageFacts>,
    /// The environment from `environment` and `env_file` together, in order.
    pub environment: Known<Vec<EnvVar>>,
    /// Host ports we want and somebody else has.
    pub ports_taken: Vec<PortTaken>,
    /// Where the engine keeps its data on this host: free bytes, and what the image's archive needs of them.
    pub room: Option<Room>,
    /// Networks that the service names and the engine lacks.
    pub networks_missing: Vec<String>,
    /// Releases on record, the newest first.
    pub releases: Vec<Release>,
    /// What an interrupted event left.
    pub journal: Option<Journal>,
    /// Our own tags in the engine (`balehook/<name>:…`).
    pub keeper_tags: Vec<String>,
    /// What we brought into the engine for each of them.
    pub brought: Vec<Brought>,
    /// What handing ports over needs to know; `None` where nothing is handed over.
    pub handover: Option<HandoverFacts>,
    /// The swarm, in swarm mode.
    pub swarm: Option<swarm::SwarmFacts>,
    /// A Compose project, in its mode.
    pub compose: Option<ComposeFacts>,
    /// What could not be looked up. A run ends here; a dry run goes on where it may be assumed.
    pub failures: Vec<LookFailure>,
}

impl Facts {
    /// What the records say, before the engine was asked.
    pub fn unseen(store: &Store) -> Self {
        Self {
            engine: Known::No("it was not needed".into()),
            containers: Vec::new(),
            task_containers: Vec::new(),
            images: Vec::new(),
            environment: Known::Yes(Vec::new()),
            ports_taken: Vec::new(),
            room: None,
            networks_missing: Vec::new(),
            releases: store.releases(),
            journal: store.journal(),
            keeper_tags: Vec::new(),
            brought: store.brought(),
            handover: None,
            swarm: None,
            compose: None,
            failures: Vec::new(),
        }
    }

    /// What was seen of an image, by its [`ImageNeed::key`](crate::spec::ImageNeed::key).
    ///
    /// # Errors
    /// [`Kind::Unexpected`]: it was not looked up for this event.
    pub fn image(&self, key: &str) -> Result<&ImageFacts, Failure> {
        let found = self.images.iter().find(|image| image.key == key);
        found.ok_or_else(|| Failure::new(Kind::Unexpected, format!("{key} was not looked up for this event")))
    }
}

/// A look that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LookFailure {
    /// Why.
    pub failure: Failure,
    /// Somebody was asked and said no; otherwise nobody could be asked, and a dry run may assume.
    pub definite: bool,
}

/// The engine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EngineFacts {
    /// As `20.10.24`.
    pub version: String,
    /// API version as (1, 41).
    pub api: (u32, u32),
    /// Go's name of the processor: `amd64`, `arm64`.
    pub architecture: String,
}

/// One container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerFacts {
    /// 64 hexadecimal digits.
    pub id: String,
    /// Without the leading slash.
    pub name: String,
    /// It bears our label with the deployment's name.
    pub ours: bool,
    /// `running`, `exited`, `created`, `restarting`, `paused`, `dead`.
    pub state: String,
    /// The `balehook.spec` label.
    pub spec: Option<String>,
    /// The `balehook.digest` label.
    pub digest: Option<String>,
    /// The `balehook.deployment` label.
    pub deployment: Option<String>,
    /// How long it may take to stop.
    pub stop_grace: Duration,
    /// The image as it was created from.
    pub image: String,
    /// Its service in a Compose project.
    pub service: Option<String>,
    /// What the kernel hands to it; `None` where the engine publishes its ports.
    pub handed: Option<Handed>,
}

/// What the kernel hands to a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Handed {
    /// Its address on our network.
    pub address: Ipv4Addr,
    /// The same for IPv6, where the network has it.
    pub address6: Option<Ipv6Addr>,
    /// The ports.
    pub forwards: Vec<Forward>,
}

impl Handed {
    /// From the container's labels.
    pub fn from_labels(label: impl Fn(&str) -> Option<String>) -> Option<Self> {
        let (addresses, ports) = (label(LABEL_ADDRESS)?, label(LABEL_PORTS)?);
        let (address, address6) =
            addresses.split_once(',').map_or((addresses.as_str(), None), |(v4, v6)| (v4, Some(v6)));
        Some(Self {
            address: address.parse().ok()?,
            address6: address6.and_then(|text| text.parse().ok()),
            forwards: handover::split(&ports),
        })
    }

    /// The label that says the addresses.
    pub fn addresses(&self) -> String {
        let more = self.address6.map(|address| format!(",{address}")).unwrap_or_default();
        format!("{}{more}", self.address)
    }
}

/// What handing ports over needs to know of the host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HandoverFacts {
    /// Our network.
    pub network: NetworkFacts,
    /// Whether the engine has it already.
    pub exists: bool,
    /// Addresses on it that other containers have.
    pub taken: Vec<Ipv4Addr>,
    /// Networks of the service that would take the default route away from ours on this engine.
    pub before_ours: Vec<String>,
    /// The container of this name that the rules in the kernel lead to, where they are complete and as we would write them.
    pub behind: Option<String>,
    /// Whether the kernel has rules of this name, wherever they lead.
    pub is_open: bool,
    /// Why no port can be handed over on this host, and what to do.
    pub obstacle: Option<(String, String)>,
}

/// Our network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkFacts {
    /// Its subnet: the first address and the length of the prefix.
    pub subnet: (Ipv4Addr, u8),
    /// The same for IPv6.
    pub subnet6: Option<(Ipv6Addr, u8)>,
    /// The host's interface of it.
    pub bridge: String,
}

impl ContainerFacts {
    /// Whether it serves, or is about to.
    pub fn is_running(&self) -> bool {
        matches!(self.state.as_str(), "running" | "restarting" | "paused")
    }
}

/// One wanted image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageFacts {
    /// What was looked up: [`ImageNeed::key`](crate::spec::ImageNeed::key).
    pub key: String,
    /// Which image exactly.
    pub pin: ImagePin,
    /// Whether the engine has it.
    pub present: bool,
    /// Bytes of a compressed archive, of which all must travel.
    pub bytes: Option<u64>,
    /// What must travel of an archive that could be looked at.
    pub missing: Option<Missing>,
    /// Why it could not be looked up (a dry run goes on with that as an assumption).
    pub unknown: Option<String>,
    /// The processor it is built for, where that is known.
    pub architecture: Option<String>,
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
    pub fn refusal(&self) -> Option<Failure> {
        let (needed, free) = (megabytes(self.needed), megabytes(self.free));
        (self.free < self.needed).then(|| {
            Failure::new(Kind::Image, format!("loading needs {needed} in {}, {free} are free", self.folder))
                .next("make room (docker system df), lower x-balehook.keep, or enlarge the disk")
        })
    }
}

/// A host port that somebody else has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortTaken {
    /// As `0.0.0.0:80/tcp`.
    pub port: String,
    /// Who: `container db (0123456789ab)` or `a process: nginx (pid 812)`.
    pub owner: String,
}

/// The short form of a container's ID.
pub fn short_id(id: &str) -> &str {
    id.get(..12).unwrap_or(id)
}

/// The digest of a text that stands for all options of a container.
pub fn spec_digest(text: &str) -> ContentDigest {
    ContentDigest::of(text.as_bytes())
}
