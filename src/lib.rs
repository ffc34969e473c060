//! balehook: what AWS CodeDeploy's hooks run on an instance to deploy Docker containers.
//!
//! The modules from the top down: each may use those below it, and none above (`tests/layers.rs`).

pub mod app; // one file per command: the only place that knows what a dry run is

pub mod ui; // what a person sees: text, JSON, progress, log

pub mod import; // what a run line or a running container says, in the words of x-balehook

pub mod modes; // container, Compose and swarm: observe, plan, recover, operate

pub mod deploy; // runs any plan, blind to modes; releases, journal and lock on disk

pub mod tasks; // tasks before and after a deployment

pub mod health; // the health checks of all modes

pub mod ports; // host ports that the kernel switches from one container to the next

pub mod images; // archives, the layers that are missing, load and pull

pub(crate) mod notify; // tells a command, a webhook or an SNS topic how a deployment ended

pub mod config; // appspec.yml and the hook environment → Deployment; every problem at once, with its place

pub mod engine; // the Docker API

mod fetch; // values from SSM, Secrets Manager, S3, KMS and programs, once for a run

pub(crate) mod aws; // S3, ECR, and what else is asked of AWS

mod process; // the one child runner

mod inputs; // files that others wrote, opened safely

mod files; // files that are whole or not there

mod folder; // a folder by its handle: no symbolic link is followed

mod poll; // the one polling loop

pub(crate) mod cli; // the command line, definitions only

pub mod values; // plain values that refuse what is wrong

mod waits; // what is waited for outside, for who gives up

pub mod error; // errors by stage, exit codes
