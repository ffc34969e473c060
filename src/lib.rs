//! balehook: what AWS CodeDeploy's hooks run on an instance to deploy Docker containers.
//!
//! The modules in the order in which one deployment's data goes through them:
pub mod app;
pub mod cli; // the command line, definitions only
pub mod error; // errors by stage, exit codes
pub mod exec; // runs a plan; undoes it on failure, deadline or SIGTERM
pub mod facts; // what the host looks like now
pub mod host; // the effects: engine, object store, credentials, probes
pub mod image; // references, digests and the index of an image archive: pure
pub mod input; // appspec.yml and the hook environment, read without judgement
pub mod plan; // values in, steps out: no I/O, no clock
pub mod release; // records and the lock on disk
pub mod report; // what a person sees
pub mod spec; // the validated Deployment; every problem at once, with its place // the pipe from arguments to the exit code
