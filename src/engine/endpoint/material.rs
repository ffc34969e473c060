//! The files of TLS to an engine, as docker names them.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::ClientConfig;

use crate::error::{Failure, Kind};
use crate::inputs;
use crate::tls::{self, Identity, Trust};

/// Largest file, in bytes.
const LARGEST: u64 = 1024 * 1024;

/// A folder with `ca.pem`, `cert.pem` and `key.pem`.
pub(super) struct Material<'a> {
    /// What asks for TLS, as a person knows it.
    pub(super) asked: String,
    pub(super) folder: &'a Path,
    pub(super) trusts: Trusts,
}

/// Whose certificate of an engine is good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trusts {
    /// That of an authority in `ca.pem`.
    OfFolder,
    /// The same, or without that file that of an authority which this host trusts.
    OfFolderOrHost,
    /// Any.
    Any,
}

impl Material<'_> {
    /// What speaks TLS with these files. Without `cert.pem` and `key.pem` it shows no certificate of its own, as docker's CLI.
    /// Errors: [`Kind::Engine`]: a file that is needed is not there, or is not what it should be.
    pub(super) fn client(&self) -> Result<Arc<ClientConfig>, Failure> {
        let trust = if self.trusts == Trusts::Any { Trust::Any } else { self.authority()? };
        let client = tls::client(&trust, self.identity()?, &[b"http/1.1"]);
        client.map_err(|why| self.failure(&format!("{}: {why}", self.folder.display())))
    }

    fn authority(&self) -> Result<Trust, Failure> {
        let file = self.path("ca.pem");
        let Some(pem) = self.read(&file)? else {
            if self.trusts == Trusts::OfFolderOrHost {
                return Ok(Trust::Host);
            }
            return Err(self.failure(&format!("{} is not there", file.display())));
        };
        tls::certificates(&pem).map_err(|why| self.failure(&format!("{} {why}", file.display())))?;
        Ok(Trust::Ca { file: file.display().to_string(), pem })
    }

    fn identity(&self) -> Result<Option<Identity>, Failure> {
        let files = [self.path("cert.pem"), self.path("key.pem")];
        let [certificate, key] = [self.read(&files[0])?, self.read(&files[1])?];
        let [certificate_file, key_file] = files.map(|file| file.display().to_string());
        match (certificate, key) {
            (Some(certificate), Some(key)) => {
                let identity = Identity::read((&certificate_file, &certificate), (&key_file, &key));
                identity.map(Some).map_err(|why| self.failure(&why))
            }
            (None, None) => Ok(None),
            (Some(_), None) => Err(self.failure(&format!("{key_file} is not there, and cert.pem is"))),
            (None, Some(_)) => Err(self.failure(&format!("{certificate_file} is not there, and key.pem is"))),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// `None` where there is none.
    fn read(&self, file: &Path) -> Result<Option<String>, Failure> {
        match inputs::read(file, None, LARGEST) {
            Ok(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(self.failure(&format!("{}: {error}", file.display()))),
        }
    }

    fn failure(&self, why: &str) -> Failure {
        let message = format!("no TLS can be spoken to the engine ({}): {why}", self.asked);
        Failure::new(Kind::Engine, message).next(
            "the folder of DOCKER_CERT_PATH, or of the context, has ca.pem, and cert.pem and key.pem of this client",
        )
    }
}
