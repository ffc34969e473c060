//! Swarm mode: a service of the swarm is created or updated, and the managers that deploy at once come to the same end.
//! It knows nothing of the two other modes.

pub mod facts;
pub mod follow;
pub mod local_tasks;
pub mod node_check;
pub mod observe;
pub mod operation;
pub mod perform;
pub mod plan;
pub mod retry;
pub mod rollout;
pub mod run_once;
pub mod service;
pub mod service_tasks;
pub mod task;
pub mod task_lock;
pub mod task_log;
