//! The long forms of what is asked from outside: each key, and each slip with its place.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::path::Path;

use crate::config::Probe;
use crate::config::field::Field;
use crate::config::problem::Problems;
use crate::config::validate::health;
use crate::config::yaml::Node;

/// An authority's certificate: `openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=ca`.
const CA: &str = include_str!("../../../tests/docs/ca.pem");

/// What is read of `health: TEXT`, and the problems, each with its column; `ca.pem` and `key.pem` are in the bundle.
fn read_of(text: &str) -> (Option<Probe>, Vec<String>) {
    let bundle = tempfile::tempdir().unwrap();
    let root: &Path = bundle.path();
    std::fs::write(root.join("ca.pem"), CA).unwrap();
    std::fs::write(root.join("key.pem"), "-----BEGIN PRIVATE KEY-----\nAA==\n-----END PRIVATE KEY-----\n").unwrap();
    std::fs::write(root.join("half.pem"), CA.replacen("MII", "MIJ", 1)).unwrap();
    let (section, problems) = (Node::parse(&format!("health: {text}\n")).unwrap(), Problems::new());
    let field = Field { node: &section, path: String::new(), problems: &problems };
    let health = health::read(&field, &BTreeMap::new(), root);
    let all = problems.sorted().into_iter();
    let told = all.map(|one| format!("{} {} {}", one.place.column, one.path, one.message));
    (health.map(|health| health.probe), told.collect())
}

#[test]
fn every_key_of_a_long_form_is_read_and_printed() {
    for (text, printed) in [
        ("{http: 'https://web.test/up'}", "GET https://web.test/up answers 2xx or 3xx"),
        ("{http: {path: /up}}", "GET /up answers 2xx or 3xx"),
        ("{http: {path: /up, scheme: https}}", "GET /up (https) answers 2xx or 3xx"),
        ("{http: {path: /up, port: 8443, scheme: https}}", "GET https://127.0.0.1:8443/up answers 2xx or 3xx"),
        ("{http: {path: /up, port: 8080}}", "GET http://127.0.0.1:8080/up answers 2xx or 3xx"),
        ("{http: {path: /up, status: 204, method: HEAD}}", "HEAD /up answers 204"),
        (
            "{http: {path: /up, status: [200, '204', 3xx, 404-410], body: all is well}}",
            "GET /up answers 200 or 204 or 3xx or 404-410 with `all is well` in it",
        ),
        (
            "{http: {url: 'https://web.test/', host: shop.test, headers: {X-Key: hidden, Accept: '*/*'}, ca: ca.pem}}",
            "GET https://web.test/ answers 2xx or 3xx, as shop.test, with X-Key, Accept, certificate by ca.pem",
        ),
        (
            "{http: {path: /, scheme: https, insecure: true}}",
            "GET / (https) answers 2xx or 3xx, with any certificate (insecure)",
        ),
        ("{grpc: 50051}", "gRPC health at 127.0.0.1:50051 is SERVING"),
        ("{grpc: {port: 1, service: shop.Cart}}", "gRPC health of shop.Cart at 127.0.0.1:1 is SERVING"),
        ("{grpc: {port: 1, tls: true}}", "gRPC health at 127.0.0.1:1 (TLS) is SERVING"),
        (
            "{grpc: {port: 1, host: shop.test, ca: ca.pem}}",
            "gRPC health at 127.0.0.1:1 (TLS) is SERVING, as shop.test, certificate by ca.pem",
        ),
    ] {
        let (probe, problems) = read_of(text);
        assert_eq!(problems, Vec::<String>::new(), "{text}");
        let probe = probe.unwrap();
        assert_eq!(probe.to_string(), printed, "{text}");
        let saved = serde_json::to_string(&probe).unwrap();
        assert_eq!(serde_json::from_str::<Probe>(&saved).unwrap(), probe, "a record holds all of it");
        assert_eq!(saved.contains("BEGIN CERTIFICATE"), text.contains("ca.pem"), "the text of the file too: {saved}");
        assert!(!format!("{probe:?}").contains("hidden"), "a header may be a secret");
    }
    assert_eq!(
        read_of("{http: {path: /up}}").0,
        Some(Probe::Http("/up".into())),
        "a form without more is the short one"
    );
}

#[test]
fn what_is_wrong_has_its_place() {
    for (text, wanted) in [
        ("{http: {}}", "16 health.http `path` or `url` is missing"),
        ("{http: {path: /, url: 'http://a/'}}", "31 health.http.url `path` and `url` exclude each other"),
        ("{http: {path: up}}", "23 health.http.path `up` is no path: write `/healthz`"),
        ("{http: {url: /up}}", "22 health.http.url `/up` is no address"),
        ("{http: {url: 'http://a/', port: 80}}", "41 health.http.port `port` is of a `path`"),
        ("{http: {url: 'http://a/', scheme: https}}", "43 health.http.scheme `scheme` is of a `path`"),
        ("{http: {path: /, scheme: ftp}}", "34 health.http.scheme `ftp` is not known"),
        ("{http: {path: /, port: 65536}}", "32 health.http.port `65536` is too large"),
        ("{http: {path: /, method: POST}}", "34 health.http.method `POST` is not known"),
        ("{http: {path: /, status: [2x]}}", "35 health.http.status[0] `2x` is no status"),
        ("{http: {path: /, status: 299-200}}", "34 health.http.status `299-200` is no status"),
        ("{http: {path: /, status: 99}}", "34 health.http.status `99` is no status"),
        ("{http: {path: /, status: []}}", "34 health.http.status it names no status"),
        ("{http: {path: /, body: ''}}", "32 health.http.body every answer has the empty text in it"),
        ("{http: {path: /, body: a, method: HEAD}}", "32 health.http.body an answer to HEAD has no body"),
        ("{http: {path: /, expect_body: a}}", "26 health.http.expect_body unknown key `expect_body`"),
        ("{http: {path: /, host: 'a b'}}", "32 health.http.host `a b` is no name of a host"),
        ("{http: {path: /, headers: {Host: a}}}", "36 health.http.headers.Host the header `Host` has a key of its own"),
        ("{http: {path: /, headers: {'A b': c}}}", "43 health.http.headers.A b it is no header of HTTP"),
        ("{http: {path: /, ca: ca.pem}}", "30 health.http.ca `ca` is of https, and the request is plain http"),
        ("{http: {path: /, insecure: true}}", "36 health.http.insecure `insecure` is of https"),
        (
            "{http: {url: 'https://a/', ca: ca.pem, insecure: true}}",
            "58 health.http.insecure `ca` and `insecure` exclude each other",
        ),
        ("{http: {url: 'https://a/', ca: no.pem}}", "40 health.http.ca no.pem is not in the bundle"),
        ("{http: {url: 'https://a/', ca: /ca.pem}}", "40 health.http.ca `/ca.pem` is no path inside the bundle"),
        ("{http: {url: 'https://a/', ca: key.pem}}", "40 health.http.ca key.pem has no certificate in PEM"),
        ("{http: {url: 'https://a/', ca: half.pem}}", "40 health.http.ca half.pem has a broken certificate"),
        ("{http: /, grpc: 1}", "10 health `http` and `grpc` exclude each other"),
        ("{tcp: ':1', grpc: 1}", "21 health `grpc` and `tcp` exclude each other"),
        ("{grpc: 0}", "16 health.grpc `0` is too small"),
        ("{grpc: {service: a}}", "16 health.grpc `port` is missing"),
        ("{grpc: {port: 1, tls: false, ca: ca.pem}}", "42 health.grpc.ca `ca` is of TLS, and `tls` is false"),
    ] {
        let (_, problems) = read_of(text);
        let [problem] = &problems[..] else { panic!("{text}: {problems:?}") };
        assert!(problem.starts_with(wanted), "{text}: {problem}");
    }
}
