//! TODO-DOC modes/swarm

pub mod facts;
pub mod job;
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
