//! Where a value lies that is fetched when a release is deployed: a reference, never the value.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::{Deserialize, Serialize};

use crate::values::s3_uri::S3Uri;
use crate::values::types::{Refused, through_text};

/// Where one value lies, in a release's file as in appspec.yml: `{"ssm": "/prod/db/password"}`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Source {
    /// A parameter of SSM.
    Ssm {
        /// Its name or ARN, with `:VERSION` or `:LABEL` where one is meant.
        ssm: ParameterName,
    },
    /// A secret of Secrets Manager, or a key of one that is a JSON object.
    SecretsManager {
        /// Its name or ARN.
        secretsmanager: SecretId,
        /// The key of the JSON object.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        key: Option<String>,
        /// A staging label or a version's ID.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        version: Option<String>,
    },
    /// An object in S3, whole.
    S3 {
        /// Its address.
        s3: S3Uri,
    },
    /// A variable of an env file in S3. appspec.yml names the file alone, under `env_file`.
    EnvFile {
        /// The file's address.
        env_file: S3Uri,
        /// The variable's name.
        variable: String,
        /// Values are taken as they are.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        raw: bool,
        /// What `${NAME}` of the file was given by the hook.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        given: BTreeMap<String, String>,
    },
    /// A text that KMS decrypts.
    Kms {
        /// The ciphertext.
        kms: Ciphertext,
        /// The encryption context.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        context: BTreeMap<String, String>,
    },
    /// What a program of this host prints.
    Command {
        /// The program and its arguments.
        command: Vec<String>,
    },
}

/// Where many values lie, each with its name.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Many {
    /// The parameters of SSM under a path: `ssm:///prod/web/`.
    Ssm(String),
    /// The keys of a secret that is a JSON object: `secretsmanager://prod/web`.
    SecretsManager(SecretId),
}

/// A name of a parameter, or its ARN.
///
/// Source: Systems Manager API, GetParameters, `Names`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ParameterName(String);

/// A name of a secret, or its ARN.
///
/// Source: Secrets Manager API, CreateSecret, `Name`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SecretId(String);

/// A ciphertext of KMS, in base64.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Ciphertext(String);

/// The parts of an ARN of one service: region and resource.
fn arn<'a>(text: &'a str, service: &str) -> Option<(&'a str, &'a str)> {
    let parts: Vec<&str> = text.splitn(6, ':').collect();
    match parts.as_slice() {
        ["arn", _, found, region, _, resource] if *found == service => Some((region, resource)),
        _ => None,
    }
}

fn is_of(text: &str, more: &str) -> bool {
    !text.is_empty() && text.chars().all(|letter| letter.is_ascii_alphanumeric() || more.contains(letter))
}

impl ParameterName {
    /// Name or ARN, as SSM takes it.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// The region of an ARN.
    pub(crate) fn region(&self) -> Option<&str> {
        arn(&self.0, "ssm").map(|(region, _)| region)
    }

    /// Without the version or the label.
    pub(crate) fn without_version(&self) -> &str {
        let at = self.0.rfind('/').unwrap_or_default().max(self.0.len() - self.resource().len());
        self.0[at..].find(':').map_or(&self.0, |colon| &self.0[..at + colon])
    }

    fn resource(&self) -> &str {
        arn(&self.0, "ssm").map_or(&self.0, |(_, resource)| resource)
    }
}

impl SecretId {
    /// Name or ARN, as Secrets Manager takes it.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// The region of an ARN.
    pub(crate) fn region(&self) -> Option<&str> {
        arn(&self.0, "secretsmanager").map(|(region, _)| region)
    }
}

impl Ciphertext {
    /// In base64.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl Source {
    /// Whether a text of appspec.yml is what names it.
    pub(crate) fn is_named(&self, text: &str) -> bool {
        match self {
            Self::Ssm { ssm } => ssm.as_str() == text,
            Self::SecretsManager { secretsmanager, .. } => secretsmanager.as_str() == text,
            Self::S3 { s3: uri } | Self::EnvFile { env_file: uri, .. } => uri.to_string() == text,
            Self::Kms { kms, .. } => kms.as_str() == text,
            Self::Command { command } => command.first().is_some_and(|program| program == text),
        }
    }
}

impl FromStr for ParameterName {
    type Err = Refused;

    fn from_str(text: &str) -> Result<Self, Refused> {
        let name = match text.starts_with("arn:") {
            false => text,
            true => arn(text, "ssm").and_then(|(_, resource)| resource.strip_prefix("parameter")).unwrap_or_default(),
        };
        match is_of(name, "_.-/:") && !name.ends_with('/') {
            true => Ok(Self(text.to_owned())),
            false => Err(Refused(
                "is no parameter: write `/prod/db/password`, or the whole ARN `arn:aws:ssm:REGION:ACCOUNT:parameter/…`"
                    .into(),
            )),
        }
    }
}

impl FromStr for SecretId {
    type Err = Refused;

    fn from_str(text: &str) -> Result<Self, Refused> {
        let name = match text.starts_with("arn:") {
            false => text,
            true => arn(text, "secretsmanager")
                .and_then(|(_, resource)| resource.strip_prefix("secret:"))
                .unwrap_or_default(),
        };
        match is_of(name, "/_+=.@-!") && name.len() <= 512 {
            true => Ok(Self(text.to_owned())),
            false => Err(Refused(
                "is no secret: write `prod/db`, or the whole ARN `arn:aws:secretsmanager:REGION:ACCOUNT:secret:…`"
                    .into(),
            )),
        }
    }
}

impl FromStr for Ciphertext {
    type Err = Refused;

    fn from_str(text: &str) -> Result<Self, Refused> {
        let text: String = text.split_whitespace().collect();
        match BASE64_STANDARD.decode(&text) {
            Ok(bytes) if (1..=6144).contains(&bytes.len()) => Ok(Self(text)),
            _ => Err(Refused(
                "is no base64 of at most 6144 bytes: write what `aws kms encrypt --query CiphertextBlob` prints".into(),
            )),
        }
    }
}

impl FromStr for Many {
    type Err = Refused;

    fn from_str(text: &str) -> Result<Self, Refused> {
        if let Some(secret) = text.strip_prefix("secretsmanager://") {
            return secret.parse().map(Self::SecretsManager);
        }
        match text.strip_prefix("ssm://").map(|path| path.trim_end_matches('/')) {
            Some(path) if path.starts_with('/') && is_of(path, "_.-/") => Ok(Self::Ssm(path.to_owned())),
            _ => Err(Refused("is no path of parameters: write `ssm:///prod/web/`".into())),
        }
    }
}

macro_rules! shown_as_written {
    ($($name:ty),*) => {$(
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    )*};
}

shown_as_written!(ParameterName, SecretId, Ciphertext);
through_text!(ParameterName, SecretId, Ciphertext, Many);

impl fmt::Display for Many {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ssm(path) => write!(f, "ssm://{path}/"),
            Self::SecretsManager(secret) => write!(f, "secretsmanager://{secret}"),
        }
    }
}

/// How it is named in messages and plans. A program's arguments are left out: they may be secret too.
impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ssm { ssm } => write!(f, "SSM parameter {ssm}"),
            Self::SecretsManager { secretsmanager, key, version } => {
                match key {
                    Some(key) => write!(f, "key {key} of secret {secretsmanager}")?,
                    None => write!(f, "secret {secretsmanager}")?,
                }
                version.as_ref().map_or(Ok(()), |version| write!(f, " ({version})"))
            }
            Self::S3 { s3: uri } | Self::EnvFile { env_file: uri, .. } => write!(f, "{uri}"),
            Self::Kms { .. } => f.write_str("a text that KMS decrypts"),
            Self::Command { command } => {
                write!(f, "command {}", command.first().map(String::as_str).unwrap_or_default())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_releases_reference_is_written_as_in_the_appspec_and_read_again() {
        for text in [
            r#"{"ssm":"/prod/db/password"}"#,
            r#"{"ssm":"arn:aws:ssm:eu-west-1:123456789012:parameter/prod/db:3"}"#,
            r#"{"secretsmanager":"prod/db"}"#,
            r#"{"secretsmanager":"prod/db","key":"password","version":"AWSPREVIOUS"}"#,
            r#"{"s3":"s3://secrets/db"}"#,
            r#"{"env_file":"s3://secrets/web.env","variable":"DB","raw":true}"#,
            r#"{"env_file":"s3://secrets/web.env","variable":"DB","given":{"GROUP":"prod"}}"#,
            r#"{"kms":"AQID","context":{"app":"web"}}"#,
            r#"{"command":["credstash","get","db.password"]}"#,
        ] {
            let source: Source = serde_json::from_str(text).unwrap();
            assert_eq!(serde_json::to_string(&source).unwrap(), text);
        }
    }

    #[test]
    fn a_source_is_named_without_ciphertext_and_without_arguments() {
        let said = |text: &str| serde_json::from_str::<Source>(text).unwrap().to_string();
        assert_eq!(said(r#"{"ssm":"/prod/db"}"#), "SSM parameter /prod/db");
        assert_eq!(
            said(r#"{"secretsmanager":"prod/db","key":"pw","version":"AWSPREVIOUS"}"#),
            "key pw of secret prod/db (AWSPREVIOUS)"
        );
        assert_eq!(said(r#"{"kms":"AQID"}"#), "a text that KMS decrypts");
        assert_eq!(said(r#"{"command":["vault","-token=x"]}"#), "command vault");
    }

    #[test]
    fn what_names_nothing_is_refused() {
        for text in ["", "/prod/", "a b", "arn:aws:ssm:x:1:document/y", "arn:aws:s3:::b", "/é"] {
            assert!(text.parse::<ParameterName>().is_err(), "{text}");
        }
        for text in ["", "a b", "arn:aws:ssm:x:1:parameter/y", "a:b"] {
            assert!(text.parse::<SecretId>().is_err(), "{text}");
        }
        for text in ["", "no base64!", "AQ"] {
            assert!(text.parse::<Ciphertext>().is_err(), "{text}");
        }
        for text in ["ssm://prod/web", "ssm:///", "ssm:///a b", "secretsmanager://", "vault://x"] {
            assert!(text.parse::<Many>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_version_or_a_label_is_no_part_of_the_name() {
        let arn = "arn:aws:ssm:eu-west-1:123456789012:parameter/prod/db";
        for (text, name) in [("/prod/db:3", "/prod/db"), ("db:live", "db"), ("/prod/db", "/prod/db")] {
            assert_eq!(text.parse::<ParameterName>().unwrap().without_version(), name);
        }
        let named: ParameterName = format!("{arn}:3").parse().unwrap();
        assert_eq!((named.without_version(), named.region()), (arn, Some("eu-west-1")));
    }
}
