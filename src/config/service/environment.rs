//! The variables of a service: written out, fetched, or many at once from `env_file`.

use std::path::Path;

use crate::config::field::Field;
use crate::config::service::options::location;
use crate::config::service::{EnvFile, EnvLocation, ParseContext};
use crate::config::source::source;
use crate::config::yaml::Value;
use crate::values::types::{EnvVar, Refused, Secret};

/// `environment`: a name alone takes the hook environment's value.
pub(crate) fn environment(field: &Field<'_>, around: &ParseContext<'_>) -> Vec<EnvVar> {
    let plain = |name: String, value: Option<String>| {
        let value = value.or_else(|| (around.lookup)(&name)).map(Secret::new);
        EnvVar { hidden: false, name, value }
    };
    if field.node.as_mapping().is_none() {
        return field.pairs().into_iter().map(|(name, value)| plain(name, value)).collect();
    }
    field.entries(|name, field| match (&field.node.value, field.node.is_null()) {
        (Value::Mapping(_), _) => source(field).map(|source| EnvVar::of(name, source)),
        (_, true) => Some(plain(name.to_owned(), None)),
        (_, false) => field.text().map(|value| plain(name.to_owned(), Some(value))),
    })
}

pub(super) fn env_files(field: &Field<'_>, root: &Path) -> Vec<EnvFile> {
    match field.node.value {
        Value::Sequence(_) => field.items(|field| match field.node.value {
            Value::Mapping(_) => long_env_file(field, root),
            _ => env_file(field, root),
        }),
        _ => env_file(field, root).into_iter().collect(),
    }
}

fn env_file(field: &Field<'_>, root: &Path) -> Option<EnvFile> {
    let location = field.parsed(|text| env_location(text, root))?;
    Some(EnvFile { location, required: true, raw: false })
}

fn long_env_file(field: &Field<'_>, root: &Path) -> Option<EnvFile> {
    let (found, required, raw) = field.mapping(|keys| {
        let found = keys.parsed("path", |text| env_location(text, root));
        let required = keys.get("required", Field::boolean).unwrap_or(true);
        (found, required, keys.one_of("format", &["raw"]).is_some())
    });
    match found {
        Some(location) => Some(EnvFile { location, required, raw }),
        None if field.get("path").is_some() => None,
        None => field.lacks("`path` is missing", "write `path: env/web.env`"),
    }
}

/// Where values with their names lie.
fn env_location(text: &str, root: &Path) -> Result<EnvLocation, Refused> {
    match ["ssm:", "secretsmanager:"].iter().any(|scheme| text.starts_with(scheme)) {
        true => text.parse().map(EnvLocation::Many),
        false => location(text, root).map(EnvLocation::File),
    }
}
