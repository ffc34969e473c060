//! Options of a container that may change while it runs, by `docker update` and `docker network`, and how they have.

use std::collections::BTreeSet;

use crate::engine::request::ContainerSpec;
use crate::modes::as_it_is::is_default;
use crate::modes::options::of_container;
use crate::values::options::{OptionChange, SetOption, changes};

/// What `docker update` changes. Source: Docker Engine API, `ContainerUpdate`.
const UPDATED: [&str; 15] = [
    "blkio_config.weight", "cpu_count", "cpu_percent", "cpu_period", "cpu_quota", "cpu_rt_period", "cpu_rt_runtime",
    "cpu_shares", "cpus", "cpuset", "cpuset_mems", "mem_limit", "mem_reservation", "pids_limit", "restart",
];

/// The same, but an engine makes one of the limit of memory where none is set.
const SWAP: &str = "memswap_limit";

/// The networks that a container is in, each as `networks.front`.
pub(crate) const NETWORKS: &str = "networks.";

pub(crate) fn is_changeable(name: &str) -> bool {
    UPDATED.contains(&name) || name == SWAP || name.starts_with(NETWORKS)
}

/// Those of a request, or of a container as the engine describes it.
pub(crate) fn changeable(spec: &ContainerSpec) -> Vec<SetOption> {
    let mut options = of_container(spec);
    options.retain(|option| is_changeable(&option.name) && !option.name.starts_with(NETWORKS));
    // Compose asks for no policy by an empty name.
    let unnamed = options.iter_mut().filter(|option| option.name == "restart" && option.value.is_empty());
    unnamed.for_each(|option| "no".clone_into(&mut option.value));
    options.extend(networks(spec).into_iter().map(|network| SetOption {
        name: format!("{NETWORKS}{network}"),
        value: String::new(),
        hidden: None,
    }));
    options
}

/// By their names; of the network of another container there is none of its own.
fn networks(spec: &ContainerSpec) -> BTreeSet<String> {
    let body = &spec.options.body;
    let mode = body.host_config.as_ref().and_then(|host| host.network_mode.clone()).unwrap_or_default();
    let own = match mode.as_str() {
        "" | "default" => Some("bridge".to_owned()),
        mode if mode.starts_with("container:") => None,
        mode => Some(mode.to_owned()),
    };
    let chosen = body.networking_config.as_ref().and_then(|config| config.endpoints_config.as_ref());
    let chosen = chosen.into_iter().flatten().map(|(network, _)| network.clone());
    let more = spec.options.extra_networks.iter().map(|(network, _)| network.clone());
    own.into_iter().chain(chosen).chain(more).collect()
}

/// What of these is otherwise `now` than it was asked for.
pub(crate) fn changed(was: &ContainerSpec, now: &ContainerSpec) -> Vec<OptionChange> {
    let (was, mut now) = (without_double_swap(was), now.clone());
    let memory = |spec: &ContainerSpec| spec.options.body.host_config.as_ref().and_then(|host| host.memory);
    let of_engine = memory(&was).map(|memory| memory * 2);
    if let Some(host) = &mut now.options.body.host_config
        && was.options.body.host_config.as_ref().is_none_or(|host| host.memory_swap.is_none())
    {
        host.memory_swap = host.memory_swap.filter(|swap| Some(*swap) != of_engine);
    }
    compare(changeable(&was), changeable(&now))
}

/// A default on one side is as good as nothing on the other.
pub(crate) fn compare(mut was: Vec<SetOption>, mut now: Vec<SetOption>) -> Vec<OptionChange> {
    let names = |all: &[SetOption]| all.iter().map(|option| option.name.clone()).collect::<BTreeSet<_>>();
    let (before, after) = (names(&was), names(&now));
    was.retain(|option| after.contains(&option.name) || !is_default(option) || option.name.starts_with(NETWORKS));
    now.retain(|option| before.contains(&option.name) || !is_default(option) || option.name.starts_with(NETWORKS));
    changes(&was, &now)
}

/// A request without the limit of swap that an engine would make too.
fn without_double_swap(spec: &ContainerSpec) -> ContainerSpec {
    let mut spec = spec.clone();
    if let Some(host) = &mut spec.options.body.host_config {
        host.memory_swap = host.memory_swap.filter(|swap| host.memory.is_none_or(|memory| *swap != memory * 2));
    }
    spec
}
