//! What a program of the host prints: any tool that knows secrets.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::path::PathBuf;
use std::time::Duration;

use crate::fetch::{FetchError, Fetched, LARGEST_FILE};
use crate::process::{self, Program};
use crate::values::secret::masked;
use crate::values::text::{printable, shorten};

/// How long it may take; the event's deadline bounds it too.
const LIMIT: Duration = Duration::from_secs(30);

/// As much of its standard error is shown.
const SHOWN: usize = 200;

/// Runs it with the hook's variables. One newline at the end of a text is no part of the value.
pub(super) async fn output(command: &[String], variables: &HashMap<String, String>) -> Fetched {
    let Some((name, arguments)) = command.split_first() else {
        return Err(FetchError::Command("names no program".into()));
    };
    let path = match name.contains('/') {
        true => Some(PathBuf::from(name)),
        false => process::find(name, OsStr::new(variables.get("PATH").map_or("/usr/bin:/bin", String::as_str))),
    };
    let path = path.ok_or_else(|| FetchError::Command("cannot be started: no such program on PATH".into()))?;
    let ended = Program::new(path).args(arguments).envs(variables).run(LIMIT, LARGEST_FILE + 1).await;
    let ended = ended.map_err(|error| FetchError::Command(format!("gave no value: {error}")))?;
    if !ended.status.success() {
        // What it printed on standard output may be a part of the value.
        let said = masked(&printable(&String::from_utf8_lossy(ended.stderr())));
        let said = said.split_whitespace().collect::<Vec<_>>().join(" ");
        let said = if said.is_empty() { "it said nothing".to_owned() } else { shorten(&said, SHOWN) };
        return Err(FetchError::Command(format!("ended with {}: {said}", ended.status)));
    }
    let printed = ended.stdout().map_err(|error| FetchError::Command(format!("gave no value: {error}")))?;
    let mut value = printed.to_vec();
    if value.ends_with(b"\n") && std::str::from_utf8(&value).is_ok() {
        value.pop();
    }
    Ok(value)
}
