//! The JSON schemas of what the commands print with `--format json`. Tests hold every document against them.

use crate::cli::SchemaOf;

/// The schema of a command's document; none of appspec.yml, whose schema is made from its readers.
pub(crate) const fn of(document: SchemaOf) -> Option<&'static str> {
    match document {
        SchemaOf::Appspec => None,
        SchemaOf::Plan => Some(include_str!("../../packaging/schemas/plan.schema.json")),
        SchemaOf::Status => Some(include_str!("../../packaging/schemas/status.schema.json")),
        SchemaOf::History => Some(include_str!("../../packaging/schemas/history.schema.json")),
        SchemaOf::Doctor => Some(include_str!("../../packaging/schemas/doctor.schema.json")),
        SchemaOf::Check => Some(include_str!("../../packaging/schemas/check.schema.json")),
    }
}
