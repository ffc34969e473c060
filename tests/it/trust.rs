//! Images that may be trusted: nothing reaches the engine of one that does not hold, and the old container serves.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::bundle::appspec;
use crate::support::images::web;
use crate::support::served::{Served, service};
use crate::support::{Outcome, world};

/// A key of a pipeline's: openssl made it.
struct Keys {
    folder: tempfile::TempDir,
}

impl Keys {
    fn new() -> Self {
        let keys = Self { folder: tempfile::tempdir_in(world().folder()).unwrap() };
        for name in ["ours", "theirs"] {
            let key = keys.private(name);
            openssl(&["ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", key.to_str().unwrap()]);
            let public = keys.public(name);
            openssl(&["ec", "-in", key.to_str().unwrap(), "-pubout", "-out", public.to_str().unwrap()]);
        }
        keys
    }

    fn private(&self, name: &str) -> PathBuf {
        self.folder.path().join(format!("{name}.key"))
    }

    fn public(&self, name: &str) -> PathBuf {
        self.folder.path().join(format!("{name}.pub"))
    }

    /// Signs a file as `cosign sign-blob` does: base64 of what openssl signs.
    fn sign(&self, name: &str, file: &Path, signature: &Path) {
        let raw = self.folder.path().join("raw.sig");
        let (key, text) = (self.private(name), |path: &Path| path.to_str().unwrap().to_owned());
        openssl(&["dgst", "-sha256", "-sign", &text(&key), "-out", &text(&raw), &text(file)]);
        openssl(&["base64", "-A", "-in", &text(&raw), "-out", &text(signature)]);
    }
}

fn openssl(arguments: &[&str]) {
    let ended = Command::new("openssl").args(arguments).output().unwrap();
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
}

/// What the engine has of images.
fn engine_holds() -> String {
    world().docker(&["images", "--all", "--quiet", "--no-trunc"])
}

/// The next deployment fails with exit code 6 and these words, the engine got nothing, and the old container serves.
#[track_caller]
fn is_refused(served: &mut Served, deployment: &str, source: &str, words: &[&str]) -> Outcome {
    let before = engine_holds();
    let (name, port) = (served.name.clone(), served.port);
    served.bundle.appspec(&appspec(&name, &service(source, port), ""));
    served.bundle.deployment(deployment);
    let outcome = served.bundle.hook("ApplicationStart");
    outcome.exits(6);
    for word in words {
        outcome.says(word);
    }
    served.serves_old();
    assert_eq!(engine_holds(), before, "nothing came into the engine");
    outcome
}

#[test]
fn an_archive_that_is_not_what_was_signed_reaches_no_engine_and_the_old_container_serves() {
    let (keys, mut served) = (Keys::new(), Served::over("signed", "", ""));
    let folder = served.bundle.path();
    let (archive, _) = web(&served.tag(2), "new").write_into(&folder);
    keys.sign("ours", &archive, &folder.join("image.tar.sig"));
    keys.sign("theirs", &archive, &folder.join("theirs.sig"));
    let key = keys.public("ours").display().to_string();
    let signed = format!("{{archive: image.tar, verify: {{signature: image.tar.sig, key: {key}}}}}");
    let one = "1".repeat(64);

    let theirs = signed.replace("image.tar.sig", "theirs.sig");
    let words = ["image.tar is refused: its signature is not by", "ours.pub", "nothing of it was loaded"];
    is_refused(&mut served, "d-TEST00002", &theirs, &words);
    let sum = format!("{{archive: image.tar, verify: {{sha256: {one}}}}}");
    is_refused(&mut served, "d-TEST00003", &sum, &["its digest is sha256:", &one]);
    std::fs::write(folder.join("SHA256SUMS"), format!("{one}  image.tar\n")).unwrap();
    let sums = "{archive: image.tar, verify: {sha256: SHA256SUMS}}";
    is_refused(&mut served, "d-TEST00004", sums, &["its digest is sha256:", &one]);
    let label = "{archive: image.tar, verify: {labels: {test: another}}}";
    is_refused(&mut served, "d-TEST00005", label, &["its label test is `", "`verify` says `another`"]);
    let platform = "{archive: image.tar, verify: {platform: linux/s390x}}";
    is_refused(&mut served, "d-TEST00006", platform, &["it is built for linux/amd64, `verify` says linux/s390x"]);

    // Changed after it was signed: the very last byte, in the padding behind the last entry.
    let mut bytes = std::fs::read(&archive).unwrap();
    *bytes.last_mut().unwrap() = 1;
    std::fs::write(&archive, &bytes).unwrap();
    is_refused(&mut served, "d-TEST00007", &signed, &["or it was changed after it was signed"]);
    served.bundle.run(&["plan"]).exits(6).prints("would fail: ");

    *bytes.last_mut().unwrap() = 0;
    std::fs::write(&archive, &bytes).unwrap();
    let outcome = served.bundle.deployment("d-TEST00008").hook("ApplicationStart");
    outcome.exits(0).says(") is verified: signature image.tar.sig by ");
    served.serves("new");
}

#[test]
fn an_archive_in_s3_that_is_replaced_between_its_check_and_its_load_reaches_no_engine() {
    let keys = Keys::new();
    for (stem, is_packed, words) in [
        ("signed-s3", false, "it no longer holds"),
        ("signed-gz", true, "it was changed after it was verified: its digest is not sha256:"),
    ] {
        let mut served = Served::over(stem, "", "");
        let folder = served.bundle.path();
        let made = |version: u8, page: &str| {
            let (archive, _) = web(&served.tag(version), page).write_into(&folder);
            if is_packed {
                assert!(Command::new("gzip").arg("--force").arg(&archive).status().unwrap().success());
            }
            let made = folder.join(page);
            std::fs::rename(if is_packed { archive.with_extension("tar.gz") } else { archive }, &made).unwrap();
            made
        };
        let (good, evil) = (made(2, "new"), made(9, "evil"));
        keys.sign("ours", &good, &folder.join("web.sig"));
        let object = format!("{}.tar", served.name);
        let uri = world().put("releases", &object, &good);
        let key = keys.public("ours").display().to_string();
        let source = format!("{{archive: \"{uri}\", verify: {{signature: web.sig, key: {key}}}}}");
        served.bundle.appspec(&appspec(&served.name, &service(&source, served.port), ""));
        let before = engine_holds();
        served.bundle.deployment("d-TEST00002").hook("BeforeInstall").exits(0);

        world().put("releases", &object, &evil);
        served.bundle.hook("AfterInstall").exits(6).says(words);

        served.serves_old();
        assert_eq!(engine_holds(), before, "nothing came into the engine");
        let outcome = served.bundle.deployment("d-TEST00003").hook("ApplicationStart");
        outcome.exits(6).says("or it was changed after it was signed");
        world().put("releases", &object, &good);
        served.bundle.deployment("d-TEST00004").hook("ApplicationStart").exits(0);
        served.serves("new");
    }
}
