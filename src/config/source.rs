//! A value that is fetched: `{ssm: /prod/db/password}`, in place of a text.

use std::collections::BTreeMap;

use crate::config::field::Field;
use crate::values::source::Source;

/// The kinds, of which a source names one.
pub(crate) const KINDS: [&str; 5] = ["ssm", "secretsmanager", "s3", "kms", "command"];

/// Reads one; what is wrong is reported.
pub(crate) fn source(field: &Field<'_>) -> Option<Source> {
    let read = field.mapping(|keys| {
        let ssm = keys.parsed("ssm", str::parse).map(|ssm| Source::Ssm { ssm });
        let (key, version) = (keys.get("key", Field::text), keys.get("version", Field::text));
        let secret = keys.parsed("secretsmanager", str::parse);
        let secret = secret.map(|secretsmanager| Source::SecretsManager { secretsmanager, key, version });
        let s3 = keys.parsed("s3", str::parse).map(|s3| Source::S3 { s3 });
        let context: BTreeMap<String, String> = keys.given("context", Field::map).into_iter().collect();
        let kms = keys.parsed("kms", str::parse).map(|kms| Source::Kms { kms, context });
        let command = keys.get("command", command);
        ssm.or(secret).or(s3).or(kms).or(command)
    });
    field.node.as_mapping()?;
    one_kind(field)?;
    belong(field, &["key", "version"], "secretsmanager")?;
    belong(field, &["context"], "kms")?;
    read
}

fn one_kind(field: &Field<'_>) -> Option<()> {
    let given: Vec<&str> = KINDS.into_iter().filter(|kind| field.get(kind).is_some()).collect();
    match given.as_slice() {
        [_] => Some(()),
        [] => field.lacks("it does not say where the value lies", format!("write one of {}", KINDS.join(", "))),
        [first, second, ..] => field.refuse(format!("`{first}` and `{second}` exclude each other"), "keep one of them"),
    }
}

/// Keys of one kind alone.
fn belong(field: &Field<'_>, keys: &[&str], kind: &str) -> Option<()> {
    let found = keys.iter().find_map(|key| Some((key, field.key(key)?)));
    match found.filter(|_| field.get(kind).is_none()) {
        Some((key, at)) => at.refuse(format!("`{key}` belongs to `{kind}`"), "leave it out"),
        None => Some(()),
    }
}

/// A rollback and the boot unit run it too: without the bundle.
fn command(field: &Field<'_>) -> Option<Source> {
    let command = field.texts();
    let Some(program) = command.first().filter(|program| !program.is_empty()) else {
        return field.refuse("names no program", "write a list: `[credstash, get, db.password]`");
    };
    if program.contains('/') && !program.starts_with('/') {
        let help = "write an absolute path, or a name that PATH knows: a rollback runs it without the bundle";
        return field.refuse(format!("`{program}` is a file of the bundle"), help);
    }
    Some(Source::Command { command })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::config::problem::Problems;
    use crate::config::validate::tests::said;
    use crate::config::yaml::Node;

    /// What is read of `x: TEXT`, and the problems as lines.
    fn read(text: &str) -> (Option<Source>, String) {
        let problems = Problems::new();
        let node = Node::parse(&format!("x: {text}\n")).unwrap();
        let root = Field { node: &node, path: String::new(), problems: &problems };
        let source = root.get("x").and_then(|field| source(&field));
        (source, said(&problems))
    }

    #[test]
    fn each_kind_is_read() {
        for (text, shown) in [
            ("{ssm: /prod/db}", "SSM parameter /prod/db"),
            ("{secretsmanager: prod/db}", "secret prod/db"),
            ("{secretsmanager: prod/db, key: pw, version: AWSPREVIOUS}", "key pw of secret prod/db (AWSPREVIOUS)"),
            ("{s3: 's3://bucket/key'}", "s3://bucket/key"),
            ("{kms: AQID, context: {app: web}}", "a text that KMS decrypts"),
            ("{command: [vault, read, x]}", "command vault"),
        ] {
            let (source, said) = read(text);
            assert_eq!(
                (source.map(|source| source.to_string()).as_deref(), said.as_str()),
                (Some(shown), ""),
                "{text}"
            );
        }
    }

    #[test]
    fn what_is_wrong_is_named_with_its_place_and_what_to_write() {
        for (text, wanted) in [
            (
                "{}",
                "1:4: error: it does not say where the value lies; write one of ssm, secretsmanager, s3, kms, command",
            ),
            ("{ssm: /a, kms: AQID}", "1:4: error: `ssm` and `kms` exclude each other; keep one of them"),
            ("{ssm: /a, key: b}", "1:14: error: `key` belongs to `secretsmanager`; leave it out"),
            ("{ssm: /a, context: {a: b}}", "`context` belongs to `kms`"),
            ("{smm: /a}", "unknown key `smm`; did you mean `ssm`?"),
            ("{secretmanager: a}", "did you mean `secretsmanager`?"),
            ("{ssm: 'a b'}", "`a b` is no parameter"),
            ("{kms: 'x y'}", "is no base64"),
            ("{s3: bucket/key}", "`bucket/key` must start with `s3://`"),
            ("{command: []}", "names no program"),
            ("{command: [bin/get]}", "`bin/get` is a file of the bundle"),
        ] {
            let (source, said) = read(text);
            assert!(source.is_none() && said.contains(wanted), "{text}: {said}");
        }
    }
}
