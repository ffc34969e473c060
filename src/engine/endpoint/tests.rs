//! Which engine the variables and contexts name, and what is said of files of TLS that are no use.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::process::Command;

use super::*;

/// What is found with these variables; docker's folder is `config`.
fn find(variables: &[(&str, &str)], config: &Path) -> Result<Endpoint, Failure> {
    let lookup = |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
    Endpoint::find(&lookup, config, Contexts::Count)
}

/// How it is reached, and whether that is another host.
fn way(endpoint: &Endpoint) -> String {
    let way = match &endpoint.way {
        Way::Unix(path) => path.display().to_string(),
        Way::Tcp(authority, port) => format!("{} {port}", host(authority)),
        Way::Tls(authority, port, _) => format!("{} {port} TLS", host(authority)),
        Way::Ssh(_) => "ssh".to_owned(),
    };
    format!("{way}{}", if endpoint.is_remote() { ", elsewhere" } else { "" })
}

/// What docker's own programs are given.
fn given(endpoint: &Endpoint) -> Vec<String> {
    let each = endpoint.variables.iter();
    each.map(|variable| format!("{}={}", variable.name, variable.value.as_ref().unwrap().reveal())).collect()
}

/// A folder with the files of TLS, made by openssl.
fn certificates() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let make = "for name in ca cert other; do \
        openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=$name \
        -keyout $name.key -out $name.pem; done; mv cert.key key.pem; mv other.key other-key.pem; \
        openssl ec -in key.pem -aes128 -passout pass:x -out locked.pem";
    let made = Command::new("sh").args(["-ec", make]).current_dir(folder.path()).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    folder
}

#[test]
fn sockets_and_hosts_are_engines_and_nothing_else() {
    let config = tempfile::tempdir().unwrap();
    for address in ["npipe:////./pipe/docker", "/var/run/docker.sock", "tcp://", "tcp://a b", "web", "ssh://me:x@web"] {
        let failure = find(&[("DOCKER_HOST", address)], config.path()).unwrap_err();
        assert_eq!(failure.message, format!("the engine's address `{address}` is not supported"));
    }
    let way = |address: &str| way(&find(&[("DOCKER_HOST", address)], config.path()).unwrap());
    assert_eq!(way(""), "/var/run/docker.sock");
    assert_eq!(way("unix:///run/docker.sock"), "/run/docker.sock");
    assert_eq!(way("tcp://10.0.0.1"), "10.0.0.1 2375, elsewhere");
    assert_eq!(way("tcp://127.0.0.1:2376/"), "127.0.0.1 2376");
    assert_eq!(way("tcp://localhost"), "localhost 2375");
    assert_eq!(way("http://[::1]"), "::1 80");
    assert_eq!(way("ssh://me@localhost:22"), "ssh, elsewhere");
}

#[test]
fn tls_is_spoken_where_a_variable_asks_for_it_and_docker_s_own_programs_are_told_the_same() {
    let folder = certificates();
    let path = folder.path().to_str().unwrap();
    let tls = [("DOCKER_HOST", "tcp://10.0.0.1"), ("DOCKER_TLS_VERIFY", "1"), ("DOCKER_CERT_PATH", path)];
    let found = find(&tls, Path::new("/d")).unwrap();
    assert_eq!(way(&found), "10.0.0.1 2376 TLS, elsewhere");
    let path_of = format!("DOCKER_CERT_PATH={path}");
    assert_eq!(given(&found), ["DOCKER_HOST=tcp://10.0.0.1", "DOCKER_TLS_VERIFY=1", &path_of]);
    // Without a folder it is docker's own, and a socket needs no TLS.
    assert_eq!(way(&find(&tls[..2], folder.path()).unwrap()), "10.0.0.1 2376 TLS, elsewhere");
    let socket = find(&[("DOCKER_HOST", "unix:///x"), ("DOCKER_TLS_VERIFY", "1")], Path::new("/d")).unwrap();
    assert_eq!((way(&socket).as_str(), given(&socket)), ("/x", vec!["DOCKER_HOST=unix:///x".to_owned()]));
    fs::remove_file(folder.path().join("ca.pem")).unwrap();
    let any = find(&[tls[0], ("DOCKER_TLS", "1"), tls[2]], Path::new("/d")).unwrap();
    assert_eq!(way(&any), "10.0.0.1 2376 TLS, elsewhere");
    assert_eq!(given(&any), ["DOCKER_HOST=tcp://10.0.0.1", "DOCKER_TLS=1", &path_of]);
}

#[test]
fn each_file_of_tls_that_is_missing_or_wrong_is_named() {
    let folder = certificates();
    let path = folder.path().to_str().unwrap();
    let why = || {
        let tls = [("DOCKER_HOST", "tcp://10.0.0.1"), ("DOCKER_TLS_VERIFY", "1"), ("DOCKER_CERT_PATH", path)];
        let failure = find(&tls, Path::new("/d")).unwrap_err();
        assert_eq!(failure.kind, Kind::Engine);
        let prefix = "no TLS can be spoken to the engine (DOCKER_TLS_VERIFY): ";
        failure.message.strip_prefix(prefix).unwrap().replace(path, "F")
    };
    let copy = |from: &str, to: &str| assert!(fs::copy(folder.path().join(from), folder.path().join(to)).is_ok());
    copy("other-key.pem", "key.pem");
    assert_eq!(why(), "F: the private key is not that of the certificate");
    copy("locked.pem", "key.pem");
    assert_eq!(why(), "F/key.pem has no private key in PEM that is not encrypted");
    fs::remove_file(folder.path().join("key.pem")).unwrap();
    assert_eq!(why(), "F/key.pem is not there, and cert.pem is");
    fs::write(folder.path().join("ca.pem"), "nothing").unwrap();
    assert_eq!(why(), "F/ca.pem has no certificate in PEM (`-----BEGIN CERTIFICATE-----`)");
    fs::remove_file(folder.path().join("ca.pem")).unwrap();
    assert_eq!(why(), "F/ca.pem is not there");
}

/// A context as docker's CLI writes it; the integration tests read those that it wrote itself.
fn context(config: &Path, name: &str, host: &str, more: &str) -> PathBuf {
    use sha2::Digest as _;
    let id: String = sha2::Sha256::digest(name).iter().map(|byte| format!("{byte:02x}")).collect();
    let meta = config.join("contexts/meta").join(&id);
    fs::create_dir_all(&meta).unwrap();
    let text = format!(r#"{{"Name":"{name}","Metadata":{{}},"Endpoints":{{"docker":{{"Host":"{host}"{more}}}}}}}"#);
    fs::write(meta.join("meta.json"), text).unwrap();
    config.join("contexts/tls").join(id).join("docker")
}

#[test]
fn contexts_are_taken_in_dockers_own_order_and_a_hook_knows_none() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path();
    let said = |variables: &[(&str, &str)]| find(variables, config).unwrap().to_string();
    assert_eq!(said(&[]), DEFAULT_HOST, "there is no config.json");
    context(config, "mine", "unix:///mine.sock", "");
    context(config, "prod", "tcp://10.0.0.1:2376", "");
    fs::write(config.join("config.json"), r#"{"auths": {}, "currentContext": "mine"}"#).unwrap();
    let by_file = format!("(docker's context `mine`, which currentContext of {}/config.json names)", config.display());
    assert_eq!(said(&[]), format!("unix:///mine.sock {by_file}"));
    let prod = [("DOCKER_CONTEXT", "prod")];
    assert_eq!(said(&prod), "tcp://10.0.0.1:2376 (docker's context `prod`, which DOCKER_CONTEXT names)");
    assert_eq!(given(&find(&prod, config).unwrap()), ["DOCKER_CONTEXT=prod"]);
    assert_eq!(said(&[("DOCKER_CONTEXT", "default")]), DEFAULT_HOST);
    assert_eq!(said(&[prod[0], ("DOCKER_HOST", "unix:///x")]), "unix:///x");
    let of_a_hook =
        Endpoint::find(&|name| (name == "DOCKER_CONTEXT").then(|| "prod".into()), config, Contexts::Ignored);
    assert_eq!(of_a_hook.unwrap().to_string(), DEFAULT_HOST);

    let failure = find(&[("DOCKER_CONTEXT", "gone")], config).unwrap_err();
    let message = "docker's context `gone`, which DOCKER_CONTEXT names, cannot be used: ";
    assert!(failure.message.starts_with(message) && failure.message.contains("No such file"), "{}", failure.message);
    fs::write(config.join("config.json"), "{").unwrap();
    let failure = find(&[], config).unwrap_err();
    assert!(failure.message.starts_with("which engine is meant is not known: "), "{}", failure.message);
}

#[test]
fn a_context_speaks_tls_where_it_has_files_or_takes_any_certificate() {
    let (folder, files) = (tempfile::tempdir().unwrap(), certificates());
    let config = folder.path();
    let way = |name: &str| way(&find(&[("DOCKER_CONTEXT", name)], config).unwrap());
    context(config, "plain", "tcp://10.0.0.1:2375", "");
    context(config, "any", "tcp://10.0.0.1", r#","SkipTLSVerify":true"#);
    let tls = context(config, "tls", "tcp://10.0.0.1", "");
    fs::create_dir_all(&tls).unwrap();
    for name in ["ca.pem", "cert.pem", "key.pem"] {
        fs::copy(files.path().join(name), tls.join(name)).unwrap();
    }
    assert_eq!(way("plain"), "10.0.0.1 2375, elsewhere");
    assert_eq!(way("any"), "10.0.0.1 2376 TLS, elsewhere");
    assert_eq!(way("tls"), "10.0.0.1 2376 TLS, elsewhere");
    fs::write(tls.join("ca.pem"), "nothing").unwrap();
    let failure = find(&[("DOCKER_CONTEXT", "tls")], config).unwrap_err();
    assert!(failure.message.contains("(docker's context `tls`, which DOCKER_CONTEXT names): "), "{failure:?}");
}
