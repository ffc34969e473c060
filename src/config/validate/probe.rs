//! `health.http`, `health.tcp` and `health.grpc`: what is asked from outside.

use std::path::Path;

use http::uri::Authority;

use crate::config::field::Field;
use crate::config::keys::Keys;
use crate::config::notify;
use crate::config::probe::{GrpcProbe, HttpOptions, HttpProbe, Probe, Statuses};
use crate::config::variables::{inside, text};
use crate::config::yaml::Value;
use crate::tls::{self, Trust};
use crate::values::types::Refused;

const KEYS: [&str; 3] = ["http", "grpc", "tcp"];

const METHODS: [&str; 2] = ["GET", "HEAD"];

const SCHEMES: [&str; 2] = ["http", "https"];

pub(super) fn read(field: &Field<'_>, keys: &mut Keys<'_, '_>, bundle_root: &Path) -> Option<Probe> {
    let [http, grpc, tcp] = KEYS.map(|key| keys.know(key));
    let named: Vec<&str> = KEYS.into_iter().filter(|key| field.get(key).is_some()).collect();
    if let [first, second, ..] = named[..] {
        let key = Field { path: field.path.clone(), ..field.key(first)? };
        let help = format!("keep `{first}`: it checks more");
        return key.refuse(format!("`{first}` and `{second}` exclude each other"), help);
    }
    match (http, grpc, tcp) {
        (Some(http), ..) => match http.node.value {
            Value::Mapping(_) => request(&http, bundle_root).map(Probe::Http),
            _ => http.parsed(address).map(|address| Probe::Http(address.into())),
        },
        (None, Some(grpc), _) => self::grpc(&grpc, bundle_root).map(Probe::Grpc),
        (None, None, Some(tcp)) => tcp.parsed(self::tcp).map(Probe::Tcp),
        (None, None, None) => Some(Probe::Auto),
    }
}

/// The long form of `health.http`.
fn request(field: &Field<'_>, bundle_root: &Path) -> Option<HttpProbe> {
    field.mapping(|keys| {
        let asked = asked(field, keys);
        let is_https = asked.as_ref().is_none_or(HttpProbe::is_https);
        let host = keys.parsed("host", host);
        let headers = keys.all("headers", headers).unwrap_or_default();
        let head = keys.one_of("method", &METHODS) == Some("HEAD");
        let status = keys.all("status", statuses).unwrap_or_default();
        let body = keys.get("body", |field| body(field, head));
        let trust = trust(keys, bundle_root);
        if let Some((key, _)) = trust.as_ref().filter(|_| !is_https) {
            key.error(
                format!("`{}` is of https, and the request is plain http", last(&key.path)),
                "write `scheme: https`, or `url: https://…`",
            );
        }
        let HttpProbe { address, options } = asked?;
        let https = options.is_some_and(|options| options.https);
        let trust = trust.and_then(|(_, trust)| trust).unwrap_or_default();
        let options = HttpOptions { https, host, headers, head, status, body, trust };
        Some(HttpProbe { address, options: Some(Box::new(options)).filter(|some| **some != HttpOptions::default()) })
    })
}

/// The last name of a path.
fn last(path: &str) -> &str {
    path.rsplit('.').next().unwrap_or(path)
}

/// What is asked: a URL, or a path with its port and scheme.
fn asked(field: &Field<'_>, keys: &mut Keys<'_, '_>) -> Option<HttpProbe> {
    let (path, whole) = (keys.know("path"), keys.know("url"));
    let (scheme, port) = (keys.know("scheme"), keys.know("port"));
    match (path, whole) {
        (Some(_), Some(whole)) => whole.refuse("`path` and `url` exclude each other", "keep one of them"),
        (None, None) => field.lacks("`path` or `url` is missing", "write `path: /healthz`"),
        (None, Some(whole)) => {
            for (key, name) in [(scheme, "scheme"), (port, "port")] {
                key.into_iter()
                    .for_each(|key| key.error(format!("`{name}` is of a `path`"), "the URL has it: leave it out"));
            }
            whole.parsed(url).map(HttpProbe::from)
        }
        (Some(path), None) => {
            let scheme = scheme.map_or(Some("http"), |field| field.one_of(&SCHEMES));
            let port = port.map(|field| field.within(1, 65535));
            let (path, scheme) = (path.parsed(self::path)?, scheme?);
            let options = HttpOptions { https: scheme == "https", ..HttpOptions::default() };
            Some(match port {
                Some(port) => HttpProbe::from(format!("{scheme}://127.0.0.1:{}{path}", port?)),
                None => HttpProbe { address: path, options: Some(Box::new(options)) },
            })
        }
    }
}

fn headers(field: &Field<'_>) -> Vec<notify::Header> {
    if let Some(key) = ["Host", "host"].into_iter().find_map(|name| field.key(name)) {
        key.error("the header `Host` has a key of its own", "write `host: web.example.com` beside `headers`");
    }
    notify::headers(field)
}

fn statuses(field: &Field<'_>) -> Vec<Statuses> {
    let each: Vec<Field<'_>> = match field.node.value {
        Value::Sequence(_) => field.each().collect(),
        _ => vec![field.clone()],
    };
    if each.is_empty() {
        field.error("it names no status", "write `status: [200, 204]`");
    }
    each.iter().filter_map(|one| one.parsed(status)).collect()
}

/// `204`, `2xx` or `200-299`.
fn status(text: &str) -> Result<Statuses, Refused> {
    let number = |text: &str| text.parse().ok().filter(|number: &u16| (100..600).contains(number));
    let class = text.strip_suffix("xx").and_then(|digit| number(&format!("{digit}00")));
    let range = || {
        let (first, last) = text.split_once('-')?;
        Some(Statuses(number(first)?, number(last)?)).filter(|range| range.0 <= range.1)
    };
    let found = class.map(|first| Statuses(first, first + 99));
    let found = found.or_else(|| number(text).map(|one| Statuses(one, one))).or_else(range);
    found.ok_or_else(|| Refused("is no status: write `204`, `2xx` or `200-299`".into()))
}

fn body(field: &Field<'_>, head: bool) -> Option<String> {
    match field.text()? {
        _ if head => field.refuse("an answer to HEAD has no body", "leave `method` out: GET has one"),
        text if text.is_empty() => {
            field.refuse("every answer has the empty text in it", "write a text of a good answer")
        }
        text => Some(text),
    }
}

/// `host`, or `host:port`.
fn host(text: &str) -> Result<String, Refused> {
    let name: Option<Authority> = text.parse().ok().filter(|name: &Authority| !name.host().is_empty());
    match name.filter(|name| !name.as_str().contains('@')) {
        Some(_) => Ok(text.to_owned()),
        None => Err(Refused("is no name of a host: write `web.example.com`".into())),
    }
}

/// `ca` or `insecure`, with the key that was there; the value is `None` where it is wrong.
fn trust<'a>(keys: &mut Keys<'_, 'a>, bundle_root: &Path) -> Option<(Field<'a>, Option<Trust>)> {
    match (keys.know("ca"), keys.know("insecure")) {
        (Some(_), Some(insecure)) => {
            insecure.error("`ca` and `insecure` exclude each other", "keep `ca`");
            None
        }
        (Some(file), None) => {
            let trust = certificates(&file, bundle_root);
            Some((file, trust))
        }
        (None, Some(field)) => {
            let any = field.boolean();
            Some((field, any.map(|any| if any { Trust::Any } else { Trust::Host })))
        }
        (None, None) => None,
    }
}

/// The text is kept: the release can be asked without its bundle.
fn certificates(field: &Field<'_>, bundle_root: &Path) -> Option<Trust> {
    let file = field.parsed(inside)?;
    let pem = text(field, Path::new(&file), bundle_root)?;
    match tls::certificates(&pem) {
        Ok(_) => Some(Trust::Ca { file, pem }),
        Err(why) => field.refuse(format!("{file} {why}"), "write the authority's certificate into it, in PEM"),
    }
}

/// `grpc`: a port, or its long form.
fn grpc(field: &Field<'_>, bundle_root: &Path) -> Option<GrpcProbe> {
    let probe =
        |port: i64| GrpcProbe { address: format!("127.0.0.1:{port}"), service: String::new(), host: None, tls: None };
    if field.node.as_mapping().is_none() {
        return field.within(1, 65535).map(probe);
    }
    field.mapping(|keys| {
        let port = match keys.know("port") {
            Some(port) => port.within(1, 65535),
            None => field.lacks("`port` is missing", "write `port: 50051`, the port that answers on this host"),
        };
        let service = keys.get("service", Field::text).unwrap_or_default();
        let host = keys.parsed("host", host);
        let by_tls = keys.get("tls", Field::boolean);
        let trust = trust(keys, bundle_root);
        if let Some((key, _)) = trust.as_ref().filter(|_| by_tls == Some(false)) {
            key.error(format!("`{}` is of TLS, and `tls` is false", last(&key.path)), "write `tls: true`");
        }
        let tls = match trust {
            Some((_, trust)) => Some(trust.unwrap_or_default()),
            None => by_tls.filter(|by_tls| *by_tls).map(|_| Trust::Host),
        };
        Some(GrpcProbe { service, host, tls, ..probe(port?) })
    })
}

fn address(text: &str) -> Result<String, Refused> {
    path(text).or_else(|_| url(text))
}

fn path(text: &str) -> Result<String, Refused> {
    match text.starts_with('/') && text.parse::<http::Uri>().is_ok() {
        true => Ok(text.to_owned()),
        false => Err(Refused("is no path: write `/healthz`".into())),
    }
}

fn url(text: &str) -> Result<String, Refused> {
    let is_url = ["http://", "https://"].iter().any(|scheme| text.starts_with(scheme))
        && text.parse::<http::Uri>().is_ok_and(|url| url.authority().is_some_and(|name| !name.host().is_empty()));
    match is_url {
        true => Ok(text.to_owned()),
        false => Err(Refused(
            "is no address: write `http://127.0.0.1:80/healthz`, or `/healthz` for the first published port".into(),
        )),
    }
}

fn tcp(text: &str) -> Result<String, Refused> {
    let bad = || Refused("is no address: write `127.0.0.1:5432`, `[::1]:5432` or `:5432`".into());
    let (host, port) = text.rsplit_once(':').ok_or_else(bad)?;
    let is_name = host.chars().all(|letter| letter.is_ascii_alphanumeric() || matches!(letter, '.' | '-' | '_'));
    let inner = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let is_address = inner.is_some_and(|host| host.parse::<std::net::Ipv6Addr>().is_ok());
    let is_port = port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok_and(|port| port > 0);
    if is_port && (is_name || is_address) { Ok(text.to_owned()) } else { Err(bad()) }
}
