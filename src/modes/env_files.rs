//! Env files in S3: a release keeps where each of their variables lies, and a rollback reads the file anew.

use std::cell::RefCell;
use std::collections::BTreeMap;

use zeroize::Zeroizing;

use crate::config::env_file::{Read, read};
use crate::error::Failure;
use crate::fetch::{FetchError, Fetcher};
use crate::values::source::Source;
use crate::values::types::{EnvVar, S3Uri, Secret};

/// Largest env file that is read, in bytes.
pub(crate) const LARGEST: u64 = 1024 * 1024;

/// What a file says: each variable is one that is fetched, and `given` to it is what the hook's variables had for it.
/// Errors: As those of a file in the bundle.
pub(crate) fn referring(
    (uri, raw): (&S3Uri, bool),
    text: &str,
    lookup: &dyn Fn(&str) -> Option<String>,
    salt: &str,
) -> Result<Read, Failure> {
    let used = RefCell::new(BTreeMap::new());
    let noted = |name: &str| {
        let value = lookup(name)?;
        used.borrow_mut().insert(name.to_owned(), value.clone());
        Some(value)
    };
    let mut file = read(&uri.to_string(), text, raw, &noted)?;
    let given = used.into_inner();
    for var in &mut file.variables {
        let (variable, given) = (var.name.clone(), given.clone());
        let source = Source::EnvFile { env_file: uri.clone(), variable, raw, given };
        var.value = var.value.as_ref().map(|value| Secret::fetched(source, value.reveal(), salt));
    }
    Ok(file)
}

/// A file as a release names it: its address, whether it is raw, and what it was given.
type File<'s> = (&'s S3Uri, bool, &'s BTreeMap<String, String>);

/// Reads each file that a source names and that was not read yet. Those whose variable it does not have are returned.
pub(crate) async fn read_anew<'s>(
    fetcher: &Fetcher,
    sources: impl Iterator<Item = &'s Source>,
) -> Vec<(Source, FetchError)> {
    let mut files: Vec<(File<'_>, Result<Vec<EnvVar>, FetchError>)> = Vec::new();
    let mut failed = Vec::new();
    for source in sources {
        let Source::EnvFile { env_file, variable, raw, given } = source else { continue };
        let file = (env_file, *raw, given);
        if !files.iter().any(|(known, _)| *known == file) {
            files.push((file, variables(fetcher, file).await));
        }
        let read = files.iter().find(|(known, _)| *known == file).map(|(_, read)| read.as_ref());
        match read.unwrap_or(Ok(&Vec::new())).map(|all| all.iter().rfind(|var| var.name == *variable)) {
            Ok(Some(var)) => fetcher.hold(source.clone(), var.value.as_ref().map_or("", Secret::reveal)),
            Ok(None) => {
                failed.push((source.clone(), FetchError::EnvFile("it does not set the variable any more".into())))
            }
            Err(error) => failed.push((source.clone(), error.clone())),
        }
    }
    failed
}

async fn variables(fetcher: &Fetcher, (uri, raw, given): File<'_>) -> Result<Vec<EnvVar>, FetchError> {
    let text: Zeroizing<String> = fetcher.env_file(uri, usize::try_from(LARGEST).unwrap_or(usize::MAX)).await?;
    let file = read(&uri.to_string(), &text, raw, &|name| given.get(name).cloned());
    file.map(|file| file.variables).map_err(|failure| FetchError::EnvFile(failure.message))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const URI: &str = "s3://secrets/web.env";

    fn referred(text: &str) -> Vec<EnvVar> {
        let lookup = |name: &str| (name == "GROUP").then(|| "prod".to_owned());
        referring((&URI.parse().unwrap(), false), text, &lookup, "5a17").unwrap().variables
    }

    #[test]
    fn a_variable_of_a_file_has_its_value_now_and_a_release_keeps_where_it_lies() {
        let all = referred("DB_PASSWORD=hunter2\nURL=db://${GROUP}/${NONE:-x}\n");
        let values: Vec<&str> = all.iter().map(|var| var.value.as_ref().unwrap().reveal()).collect();
        assert_eq!(values, ["hunter2", "db://prod/x"]);
        let saved = serde_json::to_string(&all).unwrap();
        assert!(!saved.contains("hunter2") && !saved.contains("db://"), "{saved}");
        let source = r#""from":{"env_file":"s3://secrets/web.env","variable":"URL","given":{"GROUP":"prod"}}"#;
        assert!(saved.contains(source), "{saved}");
    }
}
