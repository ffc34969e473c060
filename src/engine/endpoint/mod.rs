//! Which engine is asked, and by which way: `DOCKER_HOST`, TLS and contexts, as the docker CLI has them.

mod context;
mod material;

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use http::uri::Authority;
use rustls::ClientConfig;

use crate::engine::endpoint::context::Named;
use crate::engine::endpoint::material::{Material, Trusts};
use crate::engine::ssh::Ssh;
use crate::error::{Failure, Kind};
use crate::values::types::{EnvVar, Secret};

/// The engine's socket where `DOCKER_HOST` names none.
pub(crate) const DEFAULT_HOST: &str = "unix:///var/run/docker.sock";

const HOST: &str = "DOCKER_HOST";
const CONTEXT: &str = "DOCKER_CONTEXT";
/// TLS, and the engine's certificate is verified. Set is set: docker's CLI reads no value.
const VERIFY: &str = "DOCKER_TLS_VERIFY";
/// TLS, and it is not.
const ANY: &str = "DOCKER_TLS";
const FOLDER: &str = "DOCKER_CERT_PATH";

const TCP: &str = "tcp://";

/// Schemes of an address, with the port where it names none, without TLS and with it, as docker has it.
const SCHEMES: [(&str, u16, u16); 2] = [(TCP, 2375, 2376), ("http://", 80, 80)];

/// A variable of our environment.
pub(crate) type Lookup<'a> = &'a dyn Fn(&str) -> Option<String>;

/// An engine, before it is dialled.
#[derive(Debug, Clone)]
pub struct Endpoint {
    /// As `unix:///var/run/docker.sock`.
    pub(crate) address: String,
    pub(super) way: Way,
    /// What docker's own programs are given, so that they ask the same engine.
    pub(crate) variables: Vec<EnvVar>,
    /// The context that it is of.
    pub(crate) context: Option<Named>,
}

/// Whether docker's contexts count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Contexts {
    Count,
    /// Whatever docker's CLI is told to use on this host, its own engine is asked.
    Ignored,
}

/// How it is reached.
#[derive(Debug, Clone)]
pub(super) enum Way {
    Unix(PathBuf),
    Tcp(Authority, u16),
    Tls(Authority, u16, Arc<ClientConfig>),
    Ssh(Ssh),
}

impl Endpoint {
    /// The engine at `host`, without TLS.
    /// Errors: [`Kind::Engine`]: it is another address.
    pub(crate) fn plain(host: Option<&str>) -> Result<Self, Failure> {
        Self::of(host.unwrap_or_default(), None, &|_| None)
    }

    /// The engine of `DOCKER_HOST`, else that of a context where they count, else this host's. `config`: the folder of
    /// docker's `config.json`.
    /// Errors: [`Kind::Engine`]: it is another address, what TLS needs is missing or wrong, or there is no such context.
    pub(crate) fn find(lookup: Lookup<'_>, config: &Path, contexts: Contexts) -> Result<Self, Failure> {
        let set = |name: &str| lookup(name).filter(|value| !value.is_empty());
        let host = set(HOST);
        if let (None, Contexts::Count) = (&host, contexts)
            && let Some(named) = Named::find(lookup, config)?
        {
            return Self::of_context(named, lookup, config);
        }
        let host = host.unwrap_or_else(|| DEFAULT_HOST.to_owned());
        let asked = [VERIFY, ANY].into_iter().find(|name| set(name).is_some());
        let Some(asked) = asked.filter(|_| host.starts_with(TCP)) else { return Self::of(&host, None, lookup) };
        let folder = set(FOLDER).map_or_else(|| config.to_owned(), PathBuf::from);
        let trusts = if asked == VERIFY { Trusts::OfFolder } else { Trusts::Any };
        let material = Material { asked: asked.to_owned(), folder: &folder, trusts };
        let mut endpoint = Self::of(&host, Some(material.client()?), lookup)?;
        endpoint.variables.extend([variable(asked, "1".into()), variable(FOLDER, folder.display().to_string())]);
        Ok(endpoint)
    }

    fn of_context(named: Named, lookup: Lookup<'_>, config: &Path) -> Result<Self, Failure> {
        let context = named.read(config)?;
        let none = PathBuf::new();
        let material = Material {
            asked: named.to_string(),
            folder: context.files.as_ref().unwrap_or(&none),
            trusts: if context.takes_any { Trusts::Any } else { Trusts::OfFolderOrHost },
        };
        let is_tls = context.host.starts_with(TCP) && (context.takes_any || context.files.is_some());
        let tls = if is_tls { Some(material.client()?) } else { None };
        let mut endpoint = Self::of(&context.host, tls, lookup)?;
        endpoint.variables.retain(|variable| variable.name != HOST);
        endpoint.variables.push(variable(CONTEXT, named.name.clone()));
        Ok(Self { context: Some(named), ..endpoint })
    }

    fn of(host: &str, tls: Option<Arc<ClientConfig>>, lookup: Lookup<'_>) -> Result<Self, Failure> {
        let address = if host.is_empty() { DEFAULT_HOST } else { host }.to_owned();
        let way = Way::parse(&address, tls, lookup).ok_or_else(|| unsupported(&address))?;
        let mut variables = vec![variable(HOST, address.clone())];
        if let Way::Ssh(ssh) = &way {
            variables.extend(ssh.variables.iter().cloned());
        }
        Ok(Self { address, way, variables, context: None })
    }

    /// Whether it is another host's, as far as its address says: a tunnel that ends here looks like an engine of this host.
    pub(crate) fn is_remote(&self) -> bool {
        match &self.way {
            Way::Unix(_) => false,
            Way::Ssh(_) => true,
            Way::Tcp(authority, _) | Way::Tls(authority, ..) => !is_loopback(host(authority)),
        }
    }
}

impl std::fmt::Display for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.context {
            Some(named) => write!(f, "{} ({named})", self.address),
            None => f.write_str(&self.address),
        }
    }
}

impl Way {
    /// Reads `unix:///path`, `tcp://host:port`, `http://host:port` or `ssh://user@host:port`; `None` for anything else.
    fn parse(address: &str, tls: Option<Arc<ClientConfig>>, lookup: Lookup<'_>) -> Option<Self> {
        if let Some(rest) = address.strip_prefix("ssh://") {
            return Ssh::parse(rest, lookup).map(Self::Ssh);
        }
        if let Some(path) = address.strip_prefix("unix://") {
            return Some(Self::Unix(path.into()));
        }
        let known = |(scheme, plain, secure)| Some((address.strip_prefix(scheme)?, plain, secure));
        let (rest, plain, secure) = SCHEMES.into_iter().find_map(known)?;
        let authority: Authority = rest.split('/').next()?.parse().ok()?;
        let port = |default| authority.port_u16().unwrap_or(default);
        Some(match tls {
            Some(config) => Self::Tls(authority.clone(), port(secure), config),
            None => Self::Tcp(authority.clone(), port(plain)),
        })
    }
}

/// The name or the address that is dialled: an address of IPv6 stands in brackets.
pub(super) fn host(authority: &Authority) -> &str {
    authority.host().trim_matches(['[', ']'])
}

fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

pub(super) fn variable(name: &str, value: String) -> EnvVar {
    EnvVar { name: name.to_owned(), value: Some(Secret::new(value)), hidden: true }
}

fn unsupported(address: &str) -> Failure {
    Failure::new(Kind::Engine, format!("the engine's address `{address}` is not supported"))
        .next("use unix:///path/to/docker.sock, tcp://host:port or ssh://user@host:port")
}

#[cfg(test)]
mod tests;
