//! Requests of real servers, with certificates that `openssl` made.

#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex, OnceLock};

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::config::HttpProbe;
use crate::config::notify::Header;
use crate::config::probe::{HttpOptions, Statuses};
use crate::health::http::ask;
use crate::tls::Trust;
use crate::values::types::Secret;

/// An authority, servers' certificates by it (`good` for web.test and 127.0.0.1, `old` that has expired), another authority,
/// and two that a server signed itself, one of which has expired.
const CERTIFICATES: &str = r#"
key() { echo "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout $1.key"; }
for name in ca other; do openssl req -x509 $(key $name) -days 2 -subj /CN=$name -out $name.pem; done
openssl req -x509 $(key own) -days 2 -subj /CN=own -addext subjectAltName=DNS:own.test -out own.pem
echo 'subjectAltName = DNS:web.test, IP:127.0.0.1' >names
for name in good old old-own; do openssl req $(key $name) -subj /CN=$name -out $name.csr; done
openssl x509 -req -in good.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile names -out good.pem
printf '%s\n' '[ca]' default_ca=its '[its]' database=index serial=serial new_certs_dir=. default_md=sha256 \
    default_startdate=20200101000000Z default_enddate=20210203000000Z policy=names '[names]' commonName=supplied >its
touch index; echo 01 >serial
openssl ca -batch -notext -config its -cert ca.pem -keyfile ca.key -extfile names -in old.csr -out old.pem
echo 'basicConstraints = critical, CA:TRUE' >>names
openssl ca -batch -notext -config its -selfsign -keyfile old-own.key -extfile names -in old-own.csr -out old-own.pem
"#;

fn certificates() -> &'static Path {
    static MADE: OnceLock<tempfile::TempDir> = OnceLock::new();
    let made = MADE.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let made = Command::new("bash").args(["-ec", CERTIFICATES]).current_dir(folder.path()).output().unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        folder
    });
    made.path()
}

fn pem(name: &str) -> String {
    std::fs::read_to_string(certificates().join(name)).unwrap()
}

fn ca(name: &str) -> Trust {
    Trust::Ca { file: name.into(), pem: pem(name) }
}

/// A server with one answer, and what it was asked last.
struct Server {
    port: u16,
    asked: Arc<Mutex<String>>,
}

/// By TLS with this certificate; by none, plain.
async fn server(certificate: Option<&str>, answer: &'static str) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let server = Server { port: listener.local_addr().unwrap().port(), asked: Arc::default() };
    let acceptor = certificate.map(|name| {
        let chain = CertificateDer::pem_slice_iter(pem(&format!("{name}.pem")).as_bytes()).collect::<Result<_, _>>();
        let key = PrivateKeyDer::from_pem_slice(pem(&format!("{name}.key")).as_bytes()).unwrap();
        let config = rustls::ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
        let config = config.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
        TlsAcceptor::from(Arc::new(config.with_single_cert(chain.unwrap(), key).unwrap()))
    });
    let asked = server.asked.clone();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            match &acceptor {
                None => answered(stream, &asked, answer).await,
                Some(acceptor) => {
                    if let Ok(stream) = acceptor.accept(stream).await {
                        let name = stream.get_ref().1.server_name().unwrap_or("none").to_owned();
                        answered(stream, &asked, answer).await;
                        asked.lock().unwrap().push_str(&format!("SNI: {name}\r\n"));
                    }
                }
            }
        }
    });
    server
}

async fn answered(mut stream: impl AsyncRead + AsyncWrite + Unpin, asked: &Mutex<String>, answer: &str) {
    let mut buffer = [0; 2048];
    let length = stream.read(&mut buffer).await.unwrap_or_default();
    *asked.lock().unwrap() = String::from_utf8_lossy(&buffer[..length]).into_owned();
    let _ = stream.write_all(answer.as_bytes()).await;
    let _ = stream.shutdown().await;
}

const READY: &str = "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nready: 7\n";

fn with(options: HttpOptions, address: String) -> HttpProbe {
    HttpProbe { address, options: Some(Box::new(options)) }
}

fn trusting(trust: Trust, host: Option<&str>, port: u16) -> HttpProbe {
    let options = HttpOptions { trust, host: host.map(str::to_owned), ..HttpOptions::default() };
    with(options, format!("https://127.0.0.1:{port}/"))
}

#[tokio::test]
async fn https_answers_where_the_certificate_is_good_and_what_is_wrong_with_it_is_named() {
    let good = server(Some("good"), READY).await.port;
    let old = server(Some("old"), READY).await.port;
    let own = server(Some("own"), READY).await.port;
    let unknown = "TLS: the certificate is of an unknown issuer: name its authority by `ca`".to_owned();
    let fine = || Ok("200 OK: ready: 7".to_owned());
    for (trust, host, port, wanted) in [
        (ca("ca.pem"), None, good, fine()),
        (ca("ca.pem"), Some("web.test"), good, fine()),
        (ca("ca.pem"), Some("web.test:8443"), good, fine()),
        (
            ca("ca.pem"),
            Some("shop.test"),
            good,
            Err("TLS: the certificate is not for shop.test, but for web.test, 127.0.0.1".to_owned()),
        ),
        (ca("other.pem"), None, good, Err(unknown.clone())),
        (Trust::Host, None, good, Err(unknown)),
        (ca("own.pem"), Some("own.test"), own, fine()),
        (ca("own.pem"), None, own, Err("TLS: the certificate is not for 127.0.0.1, but for own.test".to_owned())),
        (Trust::Any, None, own, fine()),
        (Trust::Any, None, old, fine()),
    ] {
        let shown = format!("{trust:?} {host:?}");
        assert_eq!(ask(&trusting(trust, host, port)).await, wanted, "{shown}");
    }
    let expired = Err("TLS: the certificate has expired: it was valid until 2021-02-03".to_owned());
    assert_eq!(ask(&trusting(ca("ca.pem"), None, old)).await, expired);
    let old_own = server(Some("old-own"), READY).await.port;
    assert_eq!(ask(&trusting(ca("old-own.pem"), None, old_own)).await, expired, "its own certificate too");
}

#[tokio::test]
async fn tls_of_a_plain_server_and_plain_http_of_a_tls_server_say_so() {
    let plain = server(None, READY).await.port;
    let said = ask(&trusting(Trust::Any, None, plain)).await;
    assert_eq!(said, Err("TLS: what it answers is no TLS: does it speak plain HTTP there?".to_owned()));
    let secure = server(Some("good"), READY).await.port;
    ask(&format!("http://127.0.0.1:{secure}/").into()).await.unwrap_err();
}

#[tokio::test]
async fn a_request_has_its_method_host_and_headers_and_the_server_is_told_the_name() {
    let server = server(Some("good"), "HTTP/1.1 204 No Content\r\n\r\n").await;
    let options = HttpOptions {
        host: Some("web.test".into()),
        headers: vec![Header { name: "X-Probe".into(), value: Secret::new("of balehook") }],
        head: true,
        trust: ca("ca.pem"),
        ..HttpOptions::default()
    };
    let request = with(options, format!("https://127.0.0.1:{}/up?deep=1", server.port));
    assert_eq!(ask(&request).await, Ok("204 No Content".to_owned()));
    let asked = || server.asked.lock().unwrap().clone();
    while !asked().contains("SNI") {
        tokio::task::yield_now().await;
    }
    let version = env!("CARGO_PKG_VERSION");
    let wanted = [
        "HEAD /up?deep=1 HTTP/1.1",
        "host: web.test",
        "connection: close",
        &format!("user-agent: balehook/{version}"),
        "x-probe: of balehook",
        "",
        "SNI: web.test",
    ];
    assert_eq!(asked().lines().collect::<Vec<_>>(), wanted);
}

#[tokio::test]
async fn only_the_statuses_and_the_text_that_are_wanted_are_good() {
    let server = server(None, READY).await;
    let options = |status: &[Statuses], body: Option<&str>| {
        let options = HttpOptions { status: status.to_vec(), body: body.map(str::to_owned), ..HttpOptions::default() };
        with(options, format!("http://127.0.0.1:{}/", server.port))
    };
    let good = || Ok("200 OK: ready: 7".to_owned());
    assert_eq!(ask(&options(&[Statuses(204, 204), Statuses(200, 200)], Some("ready"))).await, good());
    assert_eq!(ask(&options(&[Statuses(200, 299)], None)).await, good());
    let refused = Err("it answered 200 OK ready: 7".to_owned());
    assert_eq!(ask(&options(&[Statuses(300, 399), Statuses(201, 299)], None)).await, refused);
    let other = Err("it answered 200 OK: ready: 7, without `ready: 8` in its body".to_owned());
    assert_eq!(ask(&options(&[], Some("ready: 8"))).await, other);
}

#[test]
fn a_request_without_options_is_saved_as_older_releases_have_it_and_one_with_them_is_read_again() {
    let read = |text: &str| serde_json::from_str::<HttpProbe>(text).unwrap();
    assert_eq!(read("\"/healthz\""), HttpProbe::from("/healthz"));
    assert_eq!(serde_json::to_string(&read("\"/healthz\"")).unwrap(), "\"/healthz\"");
    let options = HttpOptions {
        https: true,
        host: Some("web.test".into()),
        headers: vec![Header { name: "A".into(), value: Secret::new("b") }],
        head: true,
        status: vec![Statuses(200, 299)],
        body: Some("ok".into()),
        trust: Trust::Ca { file: "ca.pem".into(), pem: "text".into() },
    };
    let whole = with(options, "/healthz".into());
    assert_eq!(read(&serde_json::to_string(&whole).unwrap()), whole);
}
