//! The certificates that the engine trusts of a registry, and where it speaks without TLS.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::inputs;

/// Largest file of certificates that is read, in bytes.
const LIMIT: u64 = 256 * 1024;

/// As dockerd reads them: every `.crt` of the host's folder.
pub(super) fn certificates(host: &str) -> Vec<Vec<u8>> {
    in_folder(&Path::new("/etc/docker/certs.d").join(host))
}

fn in_folder(folder: &Path) -> Vec<Vec<u8>> {
    let Ok(entries) = folder.read_dir() else { return Vec::new() };
    let files = entries.filter_map(|entry| Some(entry.ok()?.path()));
    let read = files.filter(|path| path.extension().is_some_and(|end| end == "crt")).flat_map(|path| {
        let text = inputs::read(&path, None, LIMIT).unwrap_or_default();
        blocks(&String::from_utf8_lossy(&text))
    });
    read.collect()
}

/// Each certificate by itself, in DER. One that is damaged is passed over: the registry is not trusted by it then.
fn blocks(text: &str) -> Vec<Vec<u8>> {
    let bodies = text.split("-----BEGIN CERTIFICATE-----").skip(1);
    let bodies = bodies.filter_map(|rest| rest.split_once("-----END CERTIFICATE-----"));
    bodies.filter_map(|(body, _)| STANDARD.decode(body.split_ascii_whitespace().collect::<String>()).ok()).collect()
}

/// An engine speaks to registries on its own host without TLS.
pub(super) fn scheme(host: &str) -> &'static str {
    let is_loopback = host.starts_with("127.") || host == "localhost" || host.starts_with("localhost:");
    if is_loopback { "http" } else { "https" }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn every_certificate_of_a_registrys_folder_is_read_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let block = |body: &str| format!("-----BEGIN CERTIFICATE-----\n{body}\n-----END CERTIFICATE-----\n");
        std::fs::write(folder.path().join("ca.crt"), block("AQID") + "text\n" + &block("BA==") + &block("!")).unwrap();
        std::fs::write(folder.path().join("client.key"), block("BQ==")).unwrap();
        assert_eq!(in_folder(folder.path()), [vec![1, 2, 3], vec![4]]);
        assert!(certificates("no-such-registry.test").is_empty());
    }
}
