//! Why a load broke off.

use crate::engine::call::CallError;
use crate::error::{Failure, Kind};

#[derive(Debug)]
pub(crate) enum LoadError {
    /// The archive cannot be read, or is not what it says.
    Source(String),
    /// A layer unpacks to more or less than its frame says: its size must be counted.
    SizeMismatch(String),
    Engine(String),
    /// The engine has ended the load: its answer says why.
    Ended,
    /// It has not answered in time: to ask it again is no use.
    Silent(CallError),
    /// It unpacks to more than there is room for.
    Room(Failure),
}

impl From<CallError> for LoadError {
    fn from(error: CallError) -> Self {
        if error.is_silence() { Self::Silent(error) } else { Self::Engine(error.message) }
    }
}

impl LoadError {
    /// As a failure to import `label`.
    pub(crate) fn failure(&self, label: &str) -> Failure {
        match self {
            Self::Source(why) | Self::SizeMismatch(why) => {
                Failure::new(Kind::Image, format!("reading {label} broke off: {why}"))
                    .next("deploy again; if it happens again, is the archive complete and readable?")
            }
            Self::Engine(words) => Failure::new(Kind::Image, format!("the engine cannot load {label}: {words}"))
                .next("is it a complete archive of `docker save`? load it by hand to see: docker load --input …"),
            Self::Ended => Failure::new(Kind::Image, format!("the engine ended the load of {label}")),
            Self::Silent(error) => error.failure_of(Kind::Image, &format!("load {label}")),
            Self::Room(failure) => failure.clone(),
        }
    }
}
