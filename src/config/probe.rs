//! What is asked of an application from outside.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::config::SETTLE;
use crate::config::notify::Header;
use crate::tls::Trust;
use crate::values::secret::masked;

/// What is asked from outside. The HEALTHCHECK of the service or the image must pass too, where there is one.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Probe {
    /// Nothing. A container without a HEALTHCHECK must run for 3 s without a restart.
    #[default]
    Auto,
    /// A request of HTTP or HTTPS.
    Http(HttpProbe),
    /// A TCP connection can be opened: `host:port`, or `:port` of this host's loopback.
    Tcp(String),
    /// The health service of gRPC.
    Grpc(GrpcProbe),
}

/// A request, and what its answer must be. Saved as its address alone where it has no options, as in
/// older releases.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Saved", into = "Saved")]
pub struct HttpProbe {
    /// An absolute URL, or a path (`/healthz`) that is asked of the first published TCP port.
    pub address: String,
    pub(crate) options: Option<Box<HttpOptions>>,
}

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Saved {
    Address(String),
    WithOptions { address: String, options: Box<HttpOptions> },
}

/// The long form of `health.http`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct HttpOptions {
    /// Whether a path is asked by `https`.
    pub(crate) https: bool,
    /// The `Host` header, and the name that the certificate must be for, where it is not the address.
    pub(crate) host: Option<String>,
    pub(crate) headers: Vec<Header>,
    /// HEAD in place of GET.
    pub(crate) head: bool,
    /// Good ones; 200 to 399 where there is none.
    pub(crate) status: Vec<Statuses>,
    /// A text that the answer must have in it.
    pub(crate) body: Option<String>,
    pub(crate) trust: Trust,
}

/// From one status to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Statuses(pub(crate) u16, pub(crate) u16);

/// The health service of gRPC at an address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GrpcProbe {
    /// `host:port`.
    pub address: String,
    /// The name of one of the server's services; empty: the server as a whole.
    pub(crate) service: String,
    /// The name that the server is asked by, where it is not the address.
    pub(crate) host: Option<String>,
    /// By TLS.
    pub(crate) tls: Option<Trust>,
}

impl From<Saved> for HttpProbe {
    fn from(saved: Saved) -> Self {
        match saved {
            Saved::Address(address) => Self { address, options: None },
            Saved::WithOptions { address, options } => Self { address, options: Some(options) },
        }
    }
}

impl From<HttpProbe> for Saved {
    fn from(HttpProbe { address, options }: HttpProbe) -> Self {
        match options {
            None => Self::Address(address),
            Some(options) => Self::WithOptions { address, options },
        }
    }
}

impl From<&str> for HttpProbe {
    fn from(address: &str) -> Self {
        address.to_owned().into()
    }
}

impl From<String> for HttpProbe {
    fn from(address: String) -> Self {
        Self { address, options: None }
    }
}

impl HttpProbe {
    /// The path, where there is no host in the address.
    pub(crate) fn path(&self) -> Option<&str> {
        Some(self.address.as_str()).filter(|address| address.starts_with('/'))
    }

    pub(crate) fn is_https(&self) -> bool {
        self.address.starts_with("https://") || self.options.as_ref().is_some_and(|options| options.https)
    }

    /// The same request to `authority`. The certificate must still be for the name of the original address.
    pub(crate) fn at(&self, authority: &str, asked: &str) -> Self {
        let rest = self.address.split_once("://").map_or(self.address.as_str(), |(_, rest)| rest);
        let path = &rest[rest.find('/').unwrap_or(rest.len())..];
        let scheme = if self.is_https() { "https" } else { "http" };
        let mut options = self.options.clone();
        if self.is_https() && authority != asked {
            options.get_or_insert_default().host.get_or_insert_with(|| asked.to_owned());
        }
        Self { address: format!("{scheme}://{authority}{path}"), options }
    }

    pub(crate) fn method(&self) -> http::Method {
        if self.options.as_ref().is_some_and(|options| options.head) { http::Method::HEAD } else { http::Method::GET }
    }

    pub(crate) fn is_good(&self, status: u16) -> bool {
        let wanted = self.options.as_ref().map(|options| options.status.as_slice()).unwrap_or_default();
        match wanted {
            [] => (200..400).contains(&status),
            wanted => wanted.iter().any(|Statuses(first, last)| (*first..=*last).contains(&status)),
        }
    }
}

impl fmt::Display for Statuses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.0, self.1) {
            (first, last) if first == last => write!(f, "{first}"),
            (first, last) if first % 100 == 0 && last == first + 99 => write!(f, "{}xx", first / 100),
            (first, last) => write!(f, "{first}-{last}"),
        }
    }
}

impl fmt::Display for HttpProbe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (path, https) = (self.path(), if self.is_https() { " (https)" } else { "" });
        let https = if path.is_some() { https } else { "" };
        write!(f, "{} {}{https} answers ", self.method(), masked(&self.address))?;
        let none = HttpOptions::default();
        let HttpOptions { host, headers, status, body, trust, .. } = self.options.as_deref().unwrap_or(&none);
        match status.as_slice() {
            [] => write!(f, "2xx or 3xx")?,
            wanted => write!(f, "{}", wanted.iter().map(ToString::to_string).collect::<Vec<_>>().join(" or "))?,
        }
        if let Some(text) = body {
            write!(f, " with `{}` in it", masked(text))?;
        }
        if let Some(host) = host {
            write!(f, ", as {host}")?;
        }
        if !headers.is_empty() {
            let names = headers.iter().map(|header| header.name.as_str());
            write!(f, ", with {}", names.collect::<Vec<_>>().join(", "))?;
        }
        of_trust(trust, f)
    }
}

fn of_trust(trust: &Trust, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match trust {
        Trust::Host => Ok(()),
        Trust::Ca { file, .. } => write!(f, ", certificate by {file}"),
        Trust::Any => write!(f, ", with any certificate (insecure)"),
    }
}

impl fmt::Display for GrpcProbe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { address, service, host, tls } = self;
        let (of, tls_word) = (of_service(service), if tls.is_some() { " (TLS)" } else { "" });
        write!(f, "gRPC health{of} at {address}{tls_word} is SERVING")?;
        if let Some(host) = host {
            write!(f, ", as {host}")?;
        }
        of_trust(tls.as_ref().unwrap_or(&Trust::Host), f)
    }
}

/// ` of NAME`; nothing for the server as a whole.
pub(crate) fn of_service(service: &str) -> String {
    if service.is_empty() { String::new() } else { format!(" of {service}") }
}

impl fmt::Display for Probe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => write!(f, "its HEALTHCHECK, or {SETTLE:?} without a restart where it has none"),
            Self::Http(request) => write!(f, "{request}"),
            Self::Tcp(address) => write!(f, "{address} accepts a connection"),
            Self::Grpc(asked) => write!(f, "{asked}"),
        }
    }
}
