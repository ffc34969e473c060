//! How a registry wants to be shown who asks.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use crate::aws::https::Answer;
use crate::images::credentials::Credential;
use crate::values::text::percent_encoded;

/// What a 401 asks for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Challenge {
    Basic,
    Bearer(Bearer),
}

/// Where a token is given.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Bearer {
    realm: String,
    service: Option<String>,
}

impl Challenge {
    /// The first that is known, of the `WWW-Authenticate` headers.
    pub(super) fn of(headers: &[String]) -> Option<Self> {
        headers.iter().find_map(|header| {
            let (scheme, rest) = header.trim().split_once(' ').unwrap_or((header.trim(), ""));
            match scheme.to_lowercase().as_str() {
                "basic" => Some(Self::Basic),
                "bearer" => {
                    let realm = parameter(rest, "realm")?;
                    Some(Self::Bearer(Bearer { realm, service: parameter(rest, "service") }))
                }
                _ => None,
            }
        })
    }
}

impl Bearer {
    /// Asks for reading one repository.
    /// Errors: The registry names an address where a password would travel in the clear.
    pub(super) fn url(&self, repository: &str) -> Result<String, String> {
        let is_loopback = ["http://127.", "http://localhost"].iter().any(|start| self.realm.starts_with(start));
        if !self.realm.starts_with("https://") && !is_loopback {
            return Err(format!("the registry wants a token of {}, which has no TLS", self.realm));
        }
        let join = if self.realm.contains('?') { '&' } else { '?' };
        let service = self
            .service
            .iter()
            .map(|service| format!("service={}&", percent_encoded(service, b"/:")))
            .collect::<String>();
        Ok(format!(
            "{}{join}{service}scope={}",
            self.realm,
            percent_encoded(&format!("repository:{repository}:pull"), b"/:")
        ))
    }
}

/// `name="value"` of a header.
fn parameter(header: &str, name: &str) -> Option<String> {
    let start = format!("{name}=\"");
    let rest = header.match_indices(&start).find_map(|(at, found)| {
        let is_whole = at == 0 || header[..at].ends_with([',', ' ']);
        is_whole.then(|| &header[at + found.len()..])
    })?;
    rest.split_once('"').map(|(value, _)| value.to_owned())
}

/// The header of a user and a password.
pub(super) fn basic(credential: &Credential) -> String {
    format!("Basic {}", STANDARD.encode(format!("{}:{}", credential.username, credential.secret.reveal())))
}

#[derive(Deserialize)]
struct Token {
    token: Option<String>,
    access_token: Option<String>,
}

/// The header of the token that was given.
pub(super) fn token(answer: &Answer) -> Option<String> {
    let given: Token = serde_json::from_slice(&answer.body).ok()?;
    let token = given.token.or(given.access_token).filter(|token| answer.status.is_success() && !token.is_empty())?;
    Some(format!("Bearer {token}"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_token_is_asked_for_where_the_registry_says_and_never_without_tls() {
        let header = |realm: &str| format!("Bearer realm=\"{realm}\",service=\"registry.docker.io\",scope=\"x\"");
        let Some(Challenge::Bearer(bearer)) =
            Challenge::of(&["Negotiate".into(), header("https://auth.docker.io/token")])
        else {
            panic!("no challenge")
        };
        let wanted = "https://auth.docker.io/token?service=registry.docker.io&scope=repository:library/web:pull";
        assert_eq!(bearer.url("library/web").unwrap(), wanted);
        let Some(Challenge::Bearer(bearer)) = Challenge::of(&[header("http://evil.test/token")]) else { panic!() };
        assert!(bearer.url("web").unwrap_err().contains("has no TLS"));
        assert_eq!(Challenge::of(&["Basic realm=\"ecr\"".into()]), Some(Challenge::Basic));
        assert_eq!(Challenge::of(&["Bearer error=\"x\"".into()]), None);
    }
}
