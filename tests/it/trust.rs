//! Images that may be trusted: nothing reaches the engine of one that does not hold, and the old container serves.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::book::pages;
use crate::compose::Project;
use crate::registry::push;
use crate::support::bundle::appspec;
use crate::support::codedeploy::Aws;
use crate::support::images::web;
use crate::support::served::{Served, service};
use crate::support::world::{OTHER, OTHER_PASSWORD, base64, tools};
use crate::support::{Image, Outcome, world};

/// What `cosign attest` says of an image here.
const PROVENANCE: &str = r#"{"builder": {"id": "tests"}, "buildType": "none", "invocation": {}}"#;

/// Keys of pipelines, which cosign made, and what cosign needs to sign with no other host than the registry.
struct Keys {
    folder: tempfile::TempDir,
}

impl Keys {
    fn new() -> Self {
        let keys = Self { folder: tempfile::tempdir_in(world().folder()).unwrap() };
        for name in ["ours", "theirs"] {
            keys.cosign(&["generate-key-pair", "--output-key-prefix", name]);
        }
        keys.of_book("cosign signing-config ", "", &[]);
        let docker = keys.folder.path().join("docker");
        std::fs::create_dir(&docker).unwrap();
        std::fs::write(docker.join("config.json"), credentials()).unwrap();
        keys
    }

    fn public(&self, name: &str) -> PathBuf {
        self.folder.path().join(format!("{name}.pub"))
    }

    /// Runs the real cosign in the network of the world, with the names that its host knows.
    fn cosign(&self, arguments: &[&str]) {
        self.cosign_with(&[], arguments);
    }

    fn cosign_with(&self, variables: &[(&str, String)], arguments: &[&str]) {
        let mut command = world().command("nsenter");
        command
            .arg(format!("--mount=/proc/{}/ns/mnt", world().pid()))
            .arg(format!("--wd={}", self.folder.path().display()));
        command.arg("--").arg(tools().join("bin/cosign")).args(arguments);
        command
            .env("COSIGN_PASSWORD", "")
            .env("DOCKER_CONFIG", self.folder.path().join("docker"))
            .env("HOME", self.folder.path());
        command.env("SSL_CERT_FILE", world().folder().join("ca/ca.pem")).envs(variables.iter().cloned());
        let output = command.output().unwrap();
        assert!(output.status.success(), "cosign {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// Runs the line of the book that begins with this, with its key and what it signs.
    fn of_book(&self, begin: &str, key: &str, words: &[(&str, &str)]) {
        let word = |word: &str| {
            let stands_for = |(known, _): &&(&str, &str)| *known == word;
            let known = words.iter().find(stands_for).map_or(word, |(_, meant)| meant);
            if known == "cosign.key" { format!("{key}.key") } else { known.to_owned() }
        };
        let line = book_line(begin);
        let words: Vec<String> = line.split(' ').skip(1).map(word).collect();
        self.cosign(&words.iter().map(String::as_str).collect::<Vec<_>>());
    }

    /// Signs a file: a Sigstore bundle, as cosign 3 writes it.
    fn sign(&self, name: &str, file: &Path, signature: &Path) {
        let (file, signature) = (file.display().to_string(), signature.display().to_string());
        self.of_book("cosign sign-blob ", name, &[("web.tar", &file), ("web.tar.sig", &signature)]);
    }

    /// Signs an image of the second registry: a Sigstore bundle that refers to the image.
    fn sign_image(&self, name: &str, repository: &str, digest: &str) {
        let image = format!("{OTHER}/{repository}@{digest}");
        self.of_book("cosign sign --key cosign.key ", name, &[(IMAGE, &image)]);
    }

    /// The same as cosign 1 and 2 do it: by a tag that is made of the digest.
    fn sign_by_tag(&self, name: &str, repository: &str, digest: &str) {
        let key = format!("{name}.key");
        self.cosign(&[&["sign", "--key", &key][..], &BY_TAG, &[&format!("{OTHER}/{repository}@{digest}")]].concat());
    }
}

/// What the book's commands sign.
const IMAGE: &str = "registry.example.com/web@sha256:…";

/// The book's only line that begins with this.
fn book_line(begin: &str) -> String {
    let page = pages().into_iter().find(|page| page.name.ends_with("trust.md")).unwrap();
    let lines: Vec<String> =
        page.blocks().filter(|block| block.mark == "sh,other").flat_map(|block| block.lines()).collect();
    let found: Vec<&String> = lines.iter().filter(|line| line.starts_with(begin)).collect();
    let [line] = found[..] else { panic!("{begin}: {found:?}") };
    line.clone()
}

/// Without a transparency log, in the form of cosign 2.
const BY_TAG: [&str; 3] = ["--use-signing-config=false", "--tlog-upload=false", "--new-bundle-format=false"];

/// The signatures of one image are said to be another's.
fn copy_signatures(repository: &str, of: &str, to: &str) {
    let tag = |digest: &str| format!("{repository}/manifests/sha256-{}.sig", &digest[7..]);
    let accept = "Accept: application/vnd.oci.image.manifest.v1+json";
    let manifest = registry(&["--header", accept], &tag(of), "");
    let media_type: Value = serde_json::from_str(&manifest).unwrap();
    let header = format!("Content-Type: {}", media_type["mediaType"].as_str().unwrap());
    registry(&["--request", "PUT", "--header", &header], &tag(to), &manifest);
}

/// Asks the second registry, with what is sent; what it answers.
fn registry(options: &[&str], path: &str, body: &str) -> String {
    let file = world().folder().join("registry-body");
    std::fs::write(&file, body).unwrap();
    let mut command = world().command("curl");
    command.args([
        "--silent",
        "--show-error",
        "--fail",
        "--insecure",
        "--http1.1",
        "--user",
        &format!("team:{OTHER_PASSWORD}"),
    ]);
    command.args(["--resolve", &format!("{OTHER}:192.0.2.1")]);
    if !body.is_empty() {
        command.arg("--data-binary").arg(format!("@{}", file.display()));
    }
    command.args(options);
    let output = command.arg(format!("https://{OTHER}/v2/{path}")).output().unwrap();
    assert!(output.status.success(), "{path}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Docker's `config.json` with the credentials of the second registry.
fn credentials() -> String {
    let auth = base64(&format!("team:{OTHER_PASSWORD}"));
    format!("{{\"auths\": {{\"{OTHER}\": {{\"auth\": \"{auth}\"}}}}}}")
}

/// What the engine has of a name's images: by their names, and without one by the label that the next image has. Other
/// tests load images meanwhile.
pub fn engine_holds(name: &str) -> String {
    let list = |filters: &[String]| {
        let filters = filters.iter().flat_map(|filter| ["--filter", filter]);
        let ids = ["images", "--all", "--quiet", "--no-trunc"].into_iter().chain(filters);
        let listed = world().docker(&ids.collect::<Vec<_>>());
        // The engine orders them by their time, and those of one second by chance.
        let mut listed: Vec<&str> = listed.lines().collect();
        listed.sort_unstable();
        listed.join("\n") + "\n"
    };
    let labels = [format!("{name}:2"), format!("{name}:9"), format!("push-{name}:1-new")];
    let named = list(&[format!("reference={name}"), format!("reference=*/{name}")]);
    named + &labels.map(|label| list(&[format!("label=test={label}")])).concat()
}

/// The next deployment fails with exit code 6 and these words, the engine got nothing, and the old container serves.
#[track_caller]
pub fn is_refused(served: &mut Served, deployment: &str, source: &str, words: &[&str]) -> Outcome {
    let (name, port) = (served.name.clone(), served.port);
    let before = engine_holds(&name);
    served.bundle.appspec(&appspec(&name, &service(source, port), ""));
    served.bundle.deployment(deployment);
    let outcome = served.bundle.hook("ApplicationStart");
    outcome.exits(6);
    for word in words {
        outcome.says(word);
    }
    served.serves_old();
    assert_eq!(engine_holds(&name), before, "nothing came into the engine");
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

/// Prepares the key of each line of the book that signs an archive, and what `verify` says then.
const WAYS: [(&str, &str, &str); 4] = [
    (
        "cosign sign-blob ",
        "openssl ecparam -name secp384r1 -genkey -noout -out web.pem; cosign import-key-pair --key web.pem; mv import-cosign.key cosign.key; \
         cosign signing-config create --out local.json",
        "{signature: web.tar.sig, key: import-cosign.pub}",
    ),
    (
        "openssl dgst ",
        "openssl ecparam -name prime256v1 -genkey -noout -out release.key; openssl ec -in release.key -pubout -out release.pub",
        "{signature: web.tar.sig, key: release.pub}",
    ),
    ("minisign ", "minisign -G -W -p release.pub -s release.key", "{signature: web.tar.minisig, key: release.pub}"),
    ("sha256sum ", "true", "{sha256: SHA256SUMS}"),
];

#[test]
fn an_archive_that_was_signed_by_any_line_of_the_book_is_verified() {
    let mut served = Served::over("ways", "", "");
    let (archive, _) = web(&served.tag(2), "new").write_into(&served.bundle.path());
    for (number, (begin, prepare, verify)) in WAYS.into_iter().enumerate() {
        let folder = served.bundle.path();
        std::fs::copy(&archive, folder.join("web.tar")).unwrap();
        let script = format!("set -e; {prepare}; {}", book_line(begin));
        let path = format!("{}:{}", tools().join("bin").display(), std::env::var("PATH").unwrap());
        let mut command = Command::new("bash");
        command.args(["-c", &script]).current_dir(&folder).env("PATH", path).env("COSIGN_PASSWORD", "");
        let signed = command.output().unwrap();
        assert!(signed.status.success(), "{script}: {}", String::from_utf8_lossy(&signed.stderr));
        let source = format!("{{archive: web.tar, verify: {verify}}}");
        served.bundle.appspec(&appspec(&served.name, &service(&source, served.port), ""));
        let outcome = served.bundle.deployment(&format!("d-TEST0001{number}")).hook("AfterInstall");
        outcome.exits(0).says(") is verified: ");
        for made in ["release.key", "release.pub", "web.tar.sig"] {
            let _ = std::fs::remove_file(folder.join(made));
        }
    }
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
        let before = engine_holds(&served.name);
        served.bundle.deployment("d-TEST00002").hook("BeforeInstall").exits(0);

        world().put("releases", &object, &evil);
        served.bundle.hook("AfterInstall").exits(6).says(words);

        served.serves_old();
        assert_eq!(engine_holds(&served.name), before, "nothing came into the engine");
        let outcome = served.bundle.deployment("d-TEST00003").hook("ApplicationStart");
        outcome.exits(6).says("or it was changed after it was signed");
        world().put("releases", &object, &good);
        served.bundle.deployment("d-TEST00004").hook("ApplicationStart").exits(0);
        served.serves("new");
    }
}

#[test]
fn an_image_of_a_registry_that_cosigns_key_has_not_signed_is_never_pulled_and_a_moved_tag_changes_nothing() {
    let (keys, mut served) = (Keys::new(), Served::over("cosign", "", ""));
    // With the names and the certificates of the world's host.
    served.bundle.inside(world().pid()).docker_config(&credentials());
    let name = served.name.clone();
    let (first, second) = (push(&name, OTHER, "1", "new"), push(&name, OTHER, "2", "evil"));
    let key = keys.public("ours").display().to_string();
    let verify = |tag: &str, more: &str| {
        format!("{{reference: \"{OTHER}/{name}:{tag}\", verify: {{cosign: {{key: {key}}}{more}}}}}")
    };

    is_refused(&mut served, "d-TEST00002", &verify("1", ""), &["is refused: it is not signed"]);
    keys.sign_by_tag("theirs", &name, &first);
    is_refused(&mut served, "d-TEST00003", &verify("1", ""), &["its signature is not by ", "ours.pub"]);
    keys.sign_by_tag("ours", &name, &second);
    copy_signatures(&name, &second, &first);
    is_refused(&mut served, "d-TEST00004", &verify("1", ""), &["is of another image, ", &second[..30]]);
    std::fs::write(keys.folder.path().join("provenance"), PROVENANCE).unwrap();
    let image = format!("{OTHER}/{name}@{first}");
    let attest = ["attest", "--key", "ours.key", "--signing-config", "local.json", "--type", "slsaprovenance"];
    keys.cosign(&[&attest[..], &["--predicate", "provenance", &image]].concat());
    is_refused(&mut served, "d-TEST00005", &verify("1", ""), &["is of another image, "]);
    keys.sign_by_tag("ours", &name, &first);
    let other = verify("1", ", labels: {test: other}");
    is_refused(&mut served, "d-TEST00006", &other, &["its label test is `push-", "`verify` says `other`"]);
    let platform = verify("1", ", platform: linux/arm64");
    is_refused(&mut served, "d-TEST00007", &platform, &["it is built for linux/amd64"]);

    // The tag moves to another image between the check and the pull: what was verified is what runs.
    served.bundle.appspec(&appspec(&name, &service(&verify("1", ""), served.port), ""));
    served.bundle.deployment("d-TEST00008").hook("BeforeInstall").exits(0);
    assert_eq!(push(&name, OTHER, "1", "evil-too").len(), first.len());
    served.bundle.hook("AfterInstall").exits(0).says(") is verified: cosign signature by ");
    served.bundle.hook("ApplicationStart").exits(0);
    served.serves("new");
    let image = world().inspect(&name, "{{.Config.Image}}");
    assert_eq!(image, format!("{OTHER}/{name}@{first}"));
    // The next deployment asks for what the tag is now, which nobody has signed.
    served.id = world().inspect(&name, "{{.Id}}");
    let before = engine_holds(&name);
    served.bundle.deployment("d-TEST00009").hook("ApplicationStart").exits(6).says("it is not signed");
    assert_eq!(engine_holds(&name), before);
    served.serves("new");

    // A bundle of cosign 3, and no tag of cosign 2.
    let third = push(&name, OTHER, "3", "evil");
    keys.sign_image("ours", &name, &third);
    served.bundle.appspec(&appspec(&name, &service(&verify("3", ""), served.port), ""));
    served.bundle.deployment("d-TEST00010").hook("ApplicationStart").exits(0);
    served.serves("evil");
}

#[test]
fn images_of_a_compose_service_and_of_a_task_are_verified_alike() {
    let keys = Keys::new();
    let key = keys.public("ours").display().to_string();
    let source = |archive: &str| format!("{{archive: {archive}, verify: {{signature: web.sig, key: {key}}}}}");
    let file = "services: {web: {ports: [\"127.0.0.1:PORT:80\"], stop_grace_period: 1s}}\n";
    let mut project = Project::new("trusted", file, &format!("images: {{web: {}}}", source("image.tar")));
    let (folder, name) = (project.bundle.path(), project.name.clone());
    project.image("image.tar", &web(&format!("{name}:2"), "one"));
    keys.sign("theirs", &folder.join("image.tar"), &folder.join("web.sig"));

    project.bundle.hook("ApplicationStart").exits(6).says("image.tar is refused: its signature is not by ");
    assert_eq!(engine_holds(&name).trim(), "", "nothing came into the engine");
    assert_eq!(project.page(), None);
    keys.sign("ours", &folder.join("image.tar"), &folder.join("web.sig"));
    project.bundle.deployment("d-TEST00002").hook("ApplicationStart").exits(0).says(") is verified: signature web.sig");
    assert_eq!(project.page().as_deref(), Some("one"));

    let mut served = Served::over("trusted-task", "", "");
    let (folder, name) = (served.bundle.path(), served.name.clone());
    Image::new(&served.tag(2)).write(&folder.join("tool.tar"));
    keys.sign("theirs", &folder.join("tool.tar"), &folder.join("web.sig"));
    let task = format!("before: [{{name: migrate, image: {}, command: [/bin/busybox, \"true\"]}}]", source("tool.tar"));
    served.bundle.appspec(&appspec(&name, &service("{archive: image.tar}", served.port), &task));
    let before = engine_holds(&name);
    served
        .bundle
        .deployment("d-TEST00002")
        .hook("ApplicationStart")
        .exits(6)
        .says("tool.tar is refused: its signature");
    assert_eq!(engine_holds(&name), before, "nothing came into the engine");
    served.serves_old();
    keys.sign("ours", &folder.join("tool.tar"), &folder.join("web.sig"));
    served.bundle.deployment("d-TEST00003").hook("ApplicationStart").exits(0);
}

/// A key of KMS that signs, and what it is called.
fn kms_key(aws: &Aws, spec: &str, alias: &str) -> String {
    let create = ["kms", "create-key", "--key-usage", "SIGN_VERIFY", "--key-spec", spec];
    let arn = aws.cli(&[&create[..], &["--query", "KeyMetadata.Arn", "--output", "text"]].concat());
    aws.cli(&["kms", "create-alias", "--alias-name", alias, "--target-key-id", arn.trim()]);
    arn.trim().to_owned()
}

#[test]
fn an_image_that_a_key_of_kms_has_signed_runs_and_one_of_another_key_or_of_one_that_may_not_be_read_does_not() {
    let (aws, mut served) = (Aws::start("web"), Served::over("kms", "", ""));
    served.bundle.env("AWS_ENDPOINT_URL_KMS", &aws.url()).inside(world().pid()).docker_config(&credentials());
    let name = served.name.clone();
    let arn = kms_key(&aws, "ECC_NIST_P256", "alias/release");
    kms_key(&aws, "RSA_2048", "alias/rsa");
    let symmetric = aws.cli(&["kms", "create-key", "--query", "KeyMetadata.KeyId", "--output", "text"]);
    let digest = push(&name, OTHER, "1", "new");
    let keys = Keys::new();
    let sign = |key: &str, how: &[&str], digest: &str| {
        let (key, image) = (format!("awskms:///{key}"), format!("{OTHER}/{name}@{digest}"));
        keys.cosign_with(&aws.variables(), &[&["sign", "--key", &key][..], how, &[&image]].concat());
    };
    let source =
        |key: &str| format!("{{reference: \"{OTHER}/{name}:1\", verify: {{cosign: {{key: \"awskms:///{key}\"}}}}}}");

    sign("alias/rsa", &BY_TAG, &digest);
    let words = ["its signature is not by awskms:///alias/release"];
    is_refused(&mut served, "d-TEST00002", &source("alias/release"), &words);
    let words = ["KMS has no key alias/none in eu-west-1", "name it by its whole ARN"];
    is_refused(&mut served, "d-TEST00003", &source("alias/none"), &words);
    let plan = served.bundle.run(&["plan", "ApplicationStart"]);
    plan.prints("would fail: ").prints("KMS has no key alias/none in eu-west-1");
    is_refused(&mut served, "d-TEST00004", &source(symmetric.trim()), &["the image cannot be verified: key "]);

    served.bundle.appspec(&appspec(&name, &service(&source("alias/rsa"), served.port), ""));
    let outcome = served.bundle.deployment("d-TEST00005").hook("ApplicationStart");
    outcome.exits(0).says(") is verified: cosign signature by awskms:///alias/rsa");
    served.serves("new");

    let digest = push(&name, OTHER, "1", "newer");
    let line =
        book_line("cosign sign --key awskms:///alias/release ").replace(IMAGE, &format!("{OTHER}/{name}@{digest}"));
    keys.cosign_with(&aws.variables(), &line.split(' ').skip(1).collect::<Vec<_>>());
    served.bundle.appspec(&appspec(&name, &service(&source(&arn), served.port), ""));
    served.bundle.deployment("d-TEST00006").hook("ApplicationStart").exits(0);
    served.serves("newer");

    let (id, key) = aws.nobody();
    served.bundle.env("AWS_ACCESS_KEY_ID", &id).env("AWS_SECRET_ACCESS_KEY", &key);
    let outcome = served.bundle.deployment("d-TEST00007").hook("BeforeInstall");
    outcome.exits(6).says("of KMS may not be read: ").says("let the instance role kms:GetPublicKey");
    served.serves("newer");
}
