//! TLS as a client: of health checks, and of an engine. The cryptography is the AWS SDK's.

use std::io;
use std::sync::{Arc, OnceLock};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{
    AlertDescription, CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// Whose certificate is good.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Trust {
    /// That of an authority which this host trusts.
    #[default]
    Host,
    /// That of an authority of a file, or one that the file has itself; no other.
    Ca { file: String, pem: String },
    /// Any certificate: no name, time or authority is checked.
    Any,
}

/// What a client shows of itself.
#[derive(Debug)]
pub(crate) struct Identity {
    certificates: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

impl Identity {
    /// Errors: Which of the two texts in PEM is wrong, and how.
    pub(crate) fn read((file, pem): (&str, &str), (key_file, key): (&str, &str)) -> Result<Self, String> {
        let certificates = certificates(pem).map_err(|why| format!("{file} {why}"))?;
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes())
            .map_err(|_| format!("{key_file} has no private key in PEM that is not encrypted"))?;
        Ok(Self { certificates, key })
    }
}

/// The certificates of a text in PEM.
/// Errors: It has none, or a broken one.
pub(crate) fn certificates(pem: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
    let found = found.map_err(|error| format!("has a broken certificate: {error}"))?;
    if found.is_empty() {
        return Err("has no certificate in PEM (`-----BEGIN CERTIFICATE-----`)".to_owned());
    }
    for certificate in &found {
        ParsedCertificate::try_from(certificate).map_err(|error| format!("has a broken certificate: {error}"))?;
    }
    Ok(found)
}

/// What speaks TLS to servers that `trust` accepts, as `identity` or as nobody; `protocols` in the words of ALPN.
/// Errors: Why there is none, in one clause.
pub(crate) fn client(
    trust: &Trust,
    identity: Option<Identity>,
    protocols: &[&[u8]],
) -> Result<Arc<ClientConfig>, String> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone());
    let builder = builder.with_safe_default_protocol_versions().map_err(|error| error.to_string())?;
    let verifier: Arc<dyn ServerCertVerifier> = match trust {
        Trust::Host => host_verifier(provider)?,
        Trust::Ca { pem, .. } => of_file(pem, provider)?,
        Trust::Any => Arc::new(AnyCertificate(provider)),
    };
    let builder = builder.dangerous().with_custom_certificate_verifier(verifier);
    let mut config = match identity {
        Some(Identity { certificates, key }) => builder.with_client_auth_cert(certificates, key).map_err(|error| {
            let is_other = matches!(error, Error::InconsistentKeys(_));
            if is_other { "the private key is not that of the certificate".to_owned() } else { error.to_string() }
        })?,
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
    Ok(Arc::new(config))
}

/// The authorities of this host are read once: there are some hundred.
fn host_verifier(provider: Arc<CryptoProvider>) -> Result<Arc<WebPkiServerVerifier>, String> {
    static READ: OnceLock<Result<Arc<WebPkiServerVerifier>, String>> = OnceLock::new();
    let read = || {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        let none = "this host has no certificates of authorities: install `ca-certificates`, or name a file by `ca`";
        verifier(roots, provider).map_err(|_| none.to_owned())
    };
    READ.get_or_init(read).clone()
}

fn of_file(pem: &str, provider: Arc<CryptoProvider>) -> Result<Arc<OfFile>, String> {
    let certificates = certificates(pem).map_err(|why| format!("the file of `ca` {why}"))?;
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(certificates.iter().cloned());
    let authorities = verifier(roots, provider).map_err(|error| format!("the file of `ca`: {error}"))?;
    Ok(Arc::new(OfFile { authorities, certificates }))
}

fn verifier(roots: RootCertStore, provider: Arc<CryptoProvider>) -> Result<Arc<WebPkiServerVerifier>, String> {
    let builder = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider);
    builder.build().map_err(|error| error.to_string())
}

/// A handshake with a server that should be `name`.
/// Errors: Why there is none, in one clause: what is wrong with the certificate that came. `unknown`: what helps against an
/// authority that is not known.
pub(crate) async fn connect<S>(
    stream: S,
    name: &str,
    config: Arc<ClientConfig>,
    unknown: &str,
) -> Result<TlsStream<S>, String>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let inner = name.trim_start_matches('[').trim_end_matches(']').to_owned();
    let name = ServerName::try_from(inner).map_err(|_| format!("TLS: `{name}` is no name of a host"))?;
    let connected = TlsConnector::from(config).connect(name, stream).await;
    connected.map_err(|error| format!("TLS: {}", why(&error, unknown)))
}

/// Why the other end has ended a connection after the handshake, where TLS itself says so: it reads a client's certificate
/// last.
pub(crate) fn refusal(error: &(dyn std::error::Error + 'static)) -> Option<String> {
    let mut next = Some(error);
    while let Some(error) = next {
        // What an I/O error holds is not its source.
        let held = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        let held = held.and_then(|held| held.downcast_ref::<Error>());
        if let Some(Error::AlertReceived(alert)) = held.or_else(|| error.downcast_ref::<Error>()) {
            return Some(format!("TLS: {}", of_alert(*alert)));
        }
        next = error.source();
    }
    None
}

fn of_alert(alert: AlertDescription) -> String {
    match alert {
        AlertDescription::CertificateExpired => "the server says that the client's certificate has expired".to_owned(),
        // Of a client without one some servers say that it is bad.
        AlertDescription::CertificateRequired
        | AlertDescription::BadCertificate
        | AlertDescription::UnsupportedCertificate
        | AlertDescription::CertificateRevoked
        | AlertDescription::CertificateUnknown
        | AlertDescription::UnknownCA => {
            format!("the server demands a certificate of the client that it accepts ({alert:?})")
        }
        other => format!("the server refused the connection: {other:?}"),
    }
}

fn why(error: &io::Error, unknown: &str) -> String {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) {
        Some(Error::InvalidCertificate(CertificateError::UnknownIssuer)) => {
            format!("the certificate is of an unknown issuer: {unknown}")
        }
        Some(Error::InvalidCertificate(wrong)) => of_certificate(wrong),
        Some(Error::InvalidMessage(_)) => "what it answers is no TLS: does it speak plain HTTP there?".to_owned(),
        Some(Error::NoApplicationProtocol) => "it does not speak the protocol that is asked for (ALPN)".to_owned(),
        Some(Error::AlertReceived(alert)) => of_alert(*alert),
        Some(other) => other.to_string(),
        None if error.kind() == io::ErrorKind::UnexpectedEof => "the server closed the connection".to_owned(),
        None => error.to_string(),
    }
}

fn of_certificate(wrong: &CertificateError) -> String {
    let day = |time: &UnixTime| {
        let second = i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
        jiff::Timestamp::from_second(second).map(|at| at.strftime("%Y-%m-%d").to_string()).unwrap_or_default()
    };
    match wrong {
        CertificateError::Expired => "the certificate has expired".to_owned(),
        CertificateError::ExpiredContext { not_after, .. } => {
            format!("the certificate has expired: it was valid until {}", day(not_after))
        }
        CertificateError::NotValidYetContext { not_before, .. } => {
            format!("the certificate is not valid yet: it begins at {}", day(not_before))
        }
        CertificateError::NotValidForNameContext { expected, presented } => {
            format!(
                "the certificate is not for {}, but for {}",
                expected.to_str(),
                presented.iter().map(|name| plain(name)).collect::<Vec<_>>().join(", ")
            )
        }
        other => format!("the certificate is not good: {other}"),
    }
}

/// `DnsName("web.test")` as `web.test`.
fn plain(presented: &str) -> &str {
    presented.split_once('(').map_or(presented, |(_, name)| name.trim_end_matches(')').trim_matches('"'))
}

/// The authorities of a file, and the certificates of servers that it has themselves: a server's own certificate, signed by
/// nobody else, is most often an authority too, which is no server's by the rules.
#[derive(Debug)]
struct OfFile {
    authorities: Arc<WebPkiServerVerifier>,
    certificates: Vec<CertificateDer<'static>>,
}

impl ServerCertVerifier for OfFile {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        stapled: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        match self.authorities.verify_server_cert(certificate, others, name, stapled, now) {
            // Whether it is valid today is found out before whether it is an authority.
            Err(Error::InvalidCertificate(CertificateError::Other(_))) if self.certificates.contains(certificate) => {
                verify_server_name(&ParsedCertificate::try_from(certificate)?, name)?;
                Ok(ServerCertVerified::assertion())
            }
            verified => verified,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.authorities.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.authorities.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.authorities.supported_verify_schemes()
    }
}

/// `insecure: true`: the connection is encrypted, and nobody knows with whom.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _certificate: &CertificateDer<'_>,
        _others: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _stapled: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
