//! That a person has stopped a name: `resume` leaves it so.

use std::fs;
use std::io;
use std::path::PathBuf;

use crate::deploy::release::FORMAT;
use crate::deploy::state::{LockedStore, Store};
use crate::error::Failure;
use crate::files::{unwritable, write};

impl Store {
    /// The file that is there while a person has stopped the name.
    fn stopped(&self) -> PathBuf {
        self.folder().join("stopped.json")
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.stopped().exists()
    }
}

impl LockedStore {
    pub(crate) fn save_stopped(&self) -> Result<(), Failure> {
        write(&self.store().stopped(), &serde_json::json!({ "format": FORMAT }))
    }

    /// It is to run again.
    pub(crate) fn delete_stopped(&self) -> Result<(), Failure> {
        let path = self.store().stopped();
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(unwritable(&path, &error)),
            _ => Ok(()),
        }
    }
}
