//! Secrets that a container gets as files: in the host's memory, mounted one by one, in no record of the engine.

pub(crate) mod files;
pub(crate) mod observe;
mod owner;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::Path;
use std::rc::Rc;

use crate::inputs;
use crate::values::secret_file::SecretValue;

/// The folder of the state directory with what cannot be read again: 0700, each file 0600.
const KEPT: &str = "secrets";

/// In that folder: what the values' digests are salted with.
const SALT: &str = "salt";

/// What was observed of the host for secrets.
#[derive(Debug, Clone, Default)]
#[allow(missing_docs)] // the names say it
pub struct SecretFacts {
    /// The folder of the name's sets.
    pub base: String,
    /// The digests of the values, as `secrets` has them; `None` of one that is not there yet.
    pub digests: Vec<Option<String>>,
    /// The sets that are in memory, by their folders.
    pub folders: Vec<String>,
    /// Why there can be none on this host, and what to do.
    pub obstacle: Option<(String, String)>,
}

/// The values that were read for a plan: the plan itself has their digests. All clones know the same.
#[derive(Debug, Clone, Default)]
pub(crate) struct SecretValues(Rc<RefCell<Values>>);

#[derive(Debug, Default)]
struct Values {
    salt: Vec<u8>,
    read: BTreeMap<String, SecretValue>,
}

impl SecretValues {
    /// Keeps a value until the plan is done; returns its digest. `state`: the name's folder, which may not be there yet.
    pub(crate) fn add(&self, state: &Path, value: SecretValue) -> std::io::Result<String> {
        let mut values = self.0.borrow_mut();
        if values.salt.is_empty() {
            values.salt = salt(state)?;
        }
        let digest = value.digest(&values.salt);
        values.read.insert(digest.clone(), value);
        Ok(digest)
    }

    /// Keeps one under another name than that.
    pub(crate) fn add_as(&self, name: &str, value: SecretValue) {
        self.0.borrow_mut().read.insert(name.to_owned(), value);
    }

    pub(crate) fn get(&self, digest: &str) -> Option<SecretValue> {
        self.0.borrow().read.get(digest).cloned()
    }

    fn salt(&self) -> Vec<u8> {
        self.0.borrow().salt.clone()
    }
}

/// The host's salt; a new one where there is none yet, which is saved with the first secrets.
fn salt(state: &Path) -> std::io::Result<Vec<u8>> {
    match inputs::read_state(&state.join(KEPT).join(SALT)) {
        Ok(salt) if !salt.is_empty() => Ok(salt),
        _ => inputs::random::<32>().map(Vec::from),
    }
}
