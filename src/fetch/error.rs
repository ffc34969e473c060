//! Why a value was not fetched, in the words of who is on call.

use crate::aws::json::{CallError, Service};
use crate::aws::s3::S3Error;
use crate::error::{Failure, Kind, ObserveFailure};

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum FetchError {
    /// The role lacks an action, or the right to decrypt.
    Denied {
        action: &'static str,
        why: String,
    },
    /// KMS refuses, and does not say why. It says no more of a key that this region does not have.
    ///
    /// Source: KMS API, Decrypt, "Errors".
    KeyDenied {
        region: String,
    },
    /// Nothing of that name in this region.
    Missing {
        region: String,
    },
    /// A path without a parameter.
    Empty {
        region: String,
    },
    /// It has no such version or label.
    NoVersion,
    /// Bytes that are no text, or a secret that is kept as such.
    Binary,
    /// In bytes.
    TooLarge {
        size: usize,
        most: usize,
    },
    /// A key was asked for, and it is no JSON object.
    NotJson,
    /// The JSON object has no such key, or has a list or an object there.
    NoKey(String),
    /// A name that no variable can have.
    NoName(String),
    /// KMS has no key of this region for it, or it was encrypted with another context.
    NotDecrypted(String),
    S3(S3Error),
    /// What is wrong with an env file in S3.
    EnvFile(String),
    /// Of a program, with what it said.
    Command(String),
    /// The call itself.
    Call {
        service: Service,
        error: CallError,
    },
}

impl FetchError {
    pub(crate) fn of(service: Service, action: &'static str, error: CallError) -> Self {
        match error {
            CallError::Refused { message: why, .. } if error.is_denied() => Self::Denied { action, why },
            error => Self::Call { service, error },
        }
    }

    /// A failure of `what`: `environment.DB_PASSWORD: SSM parameter /prod/db`.
    pub(crate) fn failure(&self, what: &str) -> ObserveFailure {
        let failure = Failure::new(Kind::Container, self.message(what)).next(self.next());
        ObserveFailure { failure, definite: self.is_definite() }
    }

    /// There is nothing of that name.
    pub(crate) const fn is_missing(&self) -> bool {
        matches!(self, Self::Missing { .. } | Self::Empty { .. })
    }

    /// Whether the answer was no. Otherwise a dry run may assume.
    fn is_definite(&self) -> bool {
        match self {
            Self::S3(error) => error.is_definite(),
            Self::Call { error, .. } => matches!(error, CallError::Refused { .. }),
            Self::Denied { .. }
            | Self::KeyDenied { .. }
            | Self::Missing { .. }
            | Self::Empty { .. }
            | Self::NoVersion
            | Self::Binary
            | Self::TooLarge { .. }
            | Self::NotJson
            | Self::NoKey(_)
            | Self::NoName(_)
            | Self::NotDecrypted(_)
            | Self::EnvFile(_)
            | Self::Command(_) => true,
        }
    }

    fn message(&self, what: &str) -> String {
        match self {
            Self::KeyDenied { region } => {
                format!("{what} is denied: kms:Decrypt is not allowed, or its key is in another region than {region}")
            }
            Self::Denied { action, why } if why.is_empty() => format!("{what} is denied: {action} is not allowed"),
            Self::Denied { action, why } => format!("{what} is denied to {action}: {why}"),
            Self::Missing { region } => format!("{what} does not exist in {region}"),
            Self::Empty { region } => format!("{what} holds no value in {region}"),
            Self::NoVersion => format!("{what} has no such version or label"),
            Self::Binary => format!("{what} is binary: a variable holds text without zero bytes"),
            Self::TooLarge { size, most } => format!("{what} has {size} bytes, more than the {most} that are taken"),
            Self::NotJson => format!("{what} cannot be read: the secret is no JSON object"),
            Self::NoKey(key) => format!("{what} cannot be read: the secret has no text or number under key `{key}`"),
            Self::NoName(name) => format!("{what} holds `{name}`, which no variable can be named"),
            Self::NotDecrypted(why) => format!("{what} was not decrypted: {why}"),
            Self::S3(error) => format!("{what} was not fetched: {error}"),
            Self::EnvFile(why) => format!("{what}: {why}"),
            Self::Command(why) => format!("{what} {why}"),
            Self::Call { service, error } => format!("{what} was not fetched: {}", error.of(*service)),
        }
    }

    const fn next(&self) -> &'static str {
        match self {
            Self::Denied { .. } => {
                "let the instance role do that on this resource, and kms:Decrypt on its key; the iam page has the lines"
            }
            Self::KeyDenied { .. } => {
                "let the instance role kms:Decrypt with its key, or encrypt it with a key of this region"
            }
            Self::Missing { .. } | Self::Empty { .. } => {
                "create it there, correct the name, or name one of another region by its whole ARN"
            }
            Self::NoVersion => "leave the version out for the newest, or give it that label",
            Self::Binary => "keep it as text (SecretString), or give it to the container as a file by `secrets:`",
            Self::TooLarge { .. } => "give it to the container as a file by `secrets:`, which may have 500 kB",
            Self::NotJson => "leave `key` out for the whole text, or store a JSON object",
            Self::NoKey(_) => "correct `key`, or add it to the secret",
            Self::NoName(_) => "name its values one by one under `environment:`",
            Self::NotDecrypted(_) => "encrypt it with a key of this region, and write the same `context:`",
            Self::S3(_) => "correct the address, or let the instance role s3:GetObject on it",
            Self::EnvFile(_) => "put it right in the file, or deploy a revision that does without",
            Self::Command(_) => "run it on the host as the same user; its variables are the hook's",
            Self::Call { error: CallError::NoCredentials(_) | CallError::NoRegion, .. } => {
                "attach an instance profile, or set AWS_REGION and AWS_PROFILE"
            }
            Self::Call { error: CallError::Throttled(_), .. } => {
                "deploy to fewer hosts at once, or raise the service's quota"
            }
            Self::Call { .. } => "look at the network, or a VPC endpoint's policy, and deploy again",
        }
    }
}
