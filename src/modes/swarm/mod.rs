//! Swarm mode: a service of the swarm is created or updated, and the managers that deploy at once come to the same end.
//! It knows nothing of the two other modes.

pub(crate) mod drift;
pub mod facts;
pub(crate) mod follow;
pub(crate) mod local_tasks;
pub(crate) mod node_check;
pub(crate) mod observe;
pub mod operation;
pub(crate) mod perform;
pub mod placement;
pub(crate) mod plan;
pub(crate) mod retry;
pub(crate) mod rollout;
pub(crate) mod run_once;
pub(crate) mod service;
pub(crate) mod service_tasks;
pub mod task;
pub(crate) mod task_lock;
pub(crate) mod task_log;
