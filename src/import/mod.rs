//! What a `docker run` line or a running container says, in the words of `x-balehook`: what becomes of each option, and
//! the file that is written of it.

mod accept;
mod container;
mod flags;
pub mod line;
mod mounts;
mod networks;
mod reading;
mod run_line;
pub mod script;
mod secrets;
mod values;
mod write;
mod yaml;

use serde_yaml::Value;

pub use container::of_container;
pub use run_line::{is_run_line, run_line, run_line_in};
pub use write::{How, appspec};

/// One container, as a line or the engine describes it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Imported {
    /// `--name`.
    pub name: Option<String>,
    /// The image as it was written.
    pub image: Option<String>,
    /// The keys of `container:`, without `image`; each is accepted by `check`. Values are as they are meant: a `$` is not
    /// yet doubled.
    pub options: Vec<(String, Value)>,
    /// What became nothing of, each with its reason.
    pub not_carried: Vec<NotCarried>,
    /// What was carried, and should be looked at.
    pub remarks: Vec<String>,
    /// Options that are left out because the image, or the engine, gives them anyway.
    pub only_defaults: Vec<String>,
}

/// An option that the written file does not have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotCarried {
    /// As it was written, with `***` for what looks like a secret: `--rm`, `--link db:db`.
    pub option: String,
    /// Why.
    pub reason: String,
    /// What to write or do instead; empty where nothing is needed.
    pub instead: String,
}

impl NotCarried {
    /// In one line.
    pub fn line(&self) -> String {
        let instead = if self.instead.is_empty() { String::new() } else { format!("; {}", self.instead) };
        format!("{}: {}{instead}", self.option, self.reason)
    }
}

impl Imported {
    /// The value of a key of `container:`.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.options.iter().find_map(|(name, value)| (name == key).then_some(value))
    }
}
