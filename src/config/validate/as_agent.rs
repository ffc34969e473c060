//! What the v2 agent's own reader refuses: its words, at its place.
//!
//! Source: CodeDeploy AppSpec file reference (EC2/On-Premises); both agents as measured.
#![expect(dead_code, reason = "serde checks names and types; the values are read with their places")]

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_yaml::Value;

use crate::config::appspec::AppSpecText;
use crate::config::problem::Problems;
use crate::config::rules::AGENT_REFUSES;
use crate::config::yaml::Place;

/// The official keys, one to one with the file. Unknown top-level keys are ignored by both agents.
#[derive(Debug, Deserialize)]
struct AppSpec {
    version: f64,
    os: String,
    files: Option<Vec<FileEntry>>,
    file_exists_behavior: Option<String>,
    permissions: Option<Vec<Permission>>,
    hooks: Option<BTreeMap<String, Option<Vec<Hook>>>>,
}

/// `files` alone, of a file that is wrong elsewhere.
#[derive(Debug, Deserialize)]
struct FilesPart {
    files: Option<Vec<FileEntry>>,
    file_exists_behavior: Option<String>,
}

/// `permissions` alone, of a file that is wrong elsewhere.
#[derive(Debug, Deserialize)]
struct PermissionsPart {
    permissions: Option<Vec<Permission>>,
}

#[derive(Debug, Deserialize)]
struct FileEntry {
    source: String,
    destination: String,
    file_exists_behavior: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Permission {
    object: String,
    pattern: Option<String>,
    except: Option<Vec<String>>,
    owner: Option<String>,
    group: Option<String>,
    mode: Option<Value>,
    acls: Option<Vec<String>>,
    context: Option<Value>,
    #[serde(rename = "type")]
    kinds: Option<Vec<String>>,
}

/// One entry of an event under `hooks`.
#[derive(Debug, Deserialize)]
struct Hook {
    location: String,
    timeout: Option<i64>,
    runas: Option<String>,
    sudo: Option<bool>,
}

pub(crate) fn whole(file: &AppSpecText, problems: &Problems) {
    read::<AppSpec>(file, problems);
}

/// Reads the lists of a file that is wrong elsewhere: the agent's reader stops at the first error, which must not hide
/// what is wrong in them.
pub(crate) fn lists(file: &AppSpecText, problems: &Problems) {
    read::<FilesPart>(file, problems);
    read::<PermissionsPart>(file, problems);
}

fn read<T: DeserializeOwned>(file: &AppSpecText, problems: &Problems) {
    if let Err(error) = serde_yaml::from_str::<T>(&file.text) {
        let place =
            error.location().map_or(Place { line: 1, column: 1 }, |at| Place { line: at.line(), column: at.column() });
        problems.broken(AGENT_REFUSES, place, "", format!("the agent refuses the file: {error}"), "");
    }
}
