//! Images that may be trusted: nothing reaches the engine of one that does not hold, and the old container serves.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::compose::Project;
use crate::registry::push;
use crate::support::bundle::appspec;
use crate::support::codedeploy::Aws;
use crate::support::images::{sha256, web};
use crate::support::served::{Served, service};
use crate::support::world::{OTHER, OTHER_PASSWORD, base64};
use crate::support::{Image, Outcome, world};

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

    /// The signature of a message, in base64.
    fn signature(&self, name: &str, message: &[u8]) -> String {
        let (file, signature) = (self.folder.path().join("message"), self.folder.path().join("message.sig"));
        std::fs::write(&file, message).unwrap();
        self.sign(name, &file, &signature);
        std::fs::read_to_string(signature).unwrap()
    }

    /// `cosign sign --key` of an image of the second registry, by hand: what cosign's SIGNATURE_SPEC says. `at`: the image
    /// whose signature it claims to be.
    fn cosign(&self, key: &str, repository: &str, signed: &str, at: &str) {
        cosign(&|payload| self.signature(key, payload.as_bytes()), repository, signed, at);
    }

    /// The same as cosign 3 does it: a Sigstore bundle that refers to the image. `states`: the type of what it says.
    fn bundle(&self, key: &str, repository: &str, digest: &str, states: &str) {
        let statement = json!({
            "_type": "https://in-toto.io/Statement/v1",
            "subject": [{"name": repository, "digest": {"sha256": &digest[7..]}}],
            "predicateType": states,
            "predicate": {},
        });
        let (statement, kind) = (statement.to_string(), "application/vnd.in-toto+json");
        let signed = format!("DSSEv1 {} {kind} {} {statement}", kind.len(), statement.len());
        let media_type = "application/vnd.dev.sigstore.bundle.v0.3+json";
        let bundle = json!({
            "mediaType": media_type,
            "verificationMaterial": {"publicKey": {"hint": "x"}},
            "dsseEnvelope": {
                "payload": base64(&statement),
                "payloadType": kind,
                "signatures": [{"sig": self.signature(key, signed.as_bytes())}],
            },
        });
        let manifest = manifest(repository, &bundle.to_string(), media_type, &json!({}));
        let referrer = put_manifest(repository, &digest_of(&manifest.to_string()), &manifest);
        let size = manifest.to_string().len();
        let manifest_type = "application/vnd.oci.image.manifest.v1+json";
        let referrers = json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.index.v1+json",
            "manifests": [{"mediaType": manifest_type, "digest": referrer, "size": size, "artifactType": media_type}],
        });
        // This registry has no list of referrers of its own: the tag stands in for it.
        put_manifest(repository, &format!("sha256-{}", &digest[7..]), &referrers);
    }
}

fn cosign(sign: &dyn Fn(&str) -> String, repository: &str, signed: &str, at: &str) {
    let payload = json!({
        "critical": {
            "identity": {"docker-reference": format!("{OTHER}/{repository}")},
            "image": {"docker-manifest-digest": signed},
            "type": "cosign container image signature",
        },
        "optional": null,
    });
    let payload = payload.to_string();
    let annotation = json!({"dev.cosignproject.cosign/signature": sign(&payload)});
    let media_type = "application/vnd.dev.cosign.simplesigning.v1+json";
    let manifest = manifest(repository, &payload, media_type, &annotation);
    put_manifest(repository, &format!("sha256-{}.sig", &at[7..]), &manifest);
}

/// A manifest of one layer, whose blobs are in the registry.
fn manifest(repository: &str, layer: &str, media_type: &str, annotations: &Value) -> Value {
    let blob = |content: &str| {
        let digest = digest_of(content);
        let begun = registry(&["--dump-header", "-", "--request", "POST"], &format!("{repository}/blobs/uploads/"), "");
        let location = begun.lines().find_map(|line| line.strip_prefix("Location: ")).unwrap().trim().to_owned();
        let path = location.split_once("/v2/").unwrap().1.to_owned();
        let binary = ["--request", "PUT", "--header", "Content-Type: application/octet-stream"];
        registry(&binary, &format!("{path}&digest={digest}"), content);
        json!({"digest": digest, "size": content.len()})
    };
    let (mut config, mut layer) = (blob("{}"), blob(layer));
    config["mediaType"] = "application/vnd.oci.image.config.v1+json".into();
    layer["mediaType"] = media_type.into();
    layer["annotations"] = annotations.clone();
    let media_type = "application/vnd.oci.image.manifest.v1+json";
    json!({"schemaVersion": 2, "mediaType": media_type, "config": config, "layers": [layer]})
}

/// Returns its digest.
fn put_manifest(repository: &str, reference: &str, manifest: &Value) -> String {
    let header = format!("Content-Type: {}", manifest["mediaType"].as_str().unwrap());
    let text = manifest.to_string();
    registry(&["--request", "PUT", "--header", &header], &format!("{repository}/manifests/{reference}"), &text);
    digest_of(&text)
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
    command.arg("--data-binary").arg(format!("@{}", file.display())).args(options);
    let output = command.arg(format!("https://{OTHER}/v2/{path}")).output().unwrap();
    assert!(output.status.success(), "{path}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn digest_of(text: &str) -> String {
    format!("sha256:{}", sha256(text.as_bytes()))
}

/// Docker's `config.json` with the credentials of the second registry.
fn credentials() -> String {
    let auth = base64(&format!("team:{OTHER_PASSWORD}"));
    format!("{{\"auths\": {{\"{OTHER}\": {{\"auth\": \"{auth}\"}}}}}}")
}

fn openssl(arguments: &[&str]) {
    let ended = Command::new("openssl").args(arguments).output().unwrap();
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
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
    keys.cosign("theirs", &name, &first, &first);
    is_refused(&mut served, "d-TEST00003", &verify("1", ""), &["its signature is not by ", "ours.pub"]);
    keys.cosign("ours", &name, &second, &first);
    is_refused(&mut served, "d-TEST00004", &verify("1", ""), &["is of another image, ", &second[..30]]);
    keys.bundle("ours", &name, &first, "https://slsa.dev/provenance/v1");
    is_refused(&mut served, "d-TEST00005", &verify("1", ""), &["is of another image, "]);
    keys.cosign("ours", &name, &first, &first);
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
    keys.bundle("ours", &name, &second, "https://sigstore.dev/cosign/sign/v1");
    served.bundle.appspec(&appspec(&name, &service(&verify("2", ""), served.port), ""));
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
    let sign = |key: &str, algorithm: &str, payload: &str| {
        let call = ["kms", "sign", "--key-id", key, "--message", payload, "--signing-algorithm", algorithm];
        let output = ["--message-type", "RAW", "--query", "Signature", "--output", "text"];
        aws.cli(&[&call[..], &output[..]].concat()).trim().to_owned()
    };
    let source =
        |key: &str| format!("{{reference: \"{OTHER}/{name}:1\", verify: {{cosign: {{key: \"awskms:///{key}\"}}}}}}");

    cosign(&|payload| sign("alias/rsa", "RSASSA_PKCS1_V1_5_SHA_256", payload), &name, &digest, &digest);
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
    cosign(&|payload| sign("alias/release", "ECDSA_SHA_256", payload), &name, &digest, &digest);
    served.bundle.appspec(&appspec(&name, &service(&source(&arn), served.port), ""));
    served.bundle.deployment("d-TEST00006").hook("ApplicationStart").exits(0);
    served.serves("newer");

    let (id, key) = aws.nobody();
    served.bundle.env("AWS_ACCESS_KEY_ID", &id).env("AWS_SECRET_ACCESS_KEY", &key);
    let outcome = served.bundle.deployment("d-TEST00007").hook("BeforeInstall");
    outcome.exits(6).says("of KMS may not be read: ").says("let the instance role kms:GetPublicKey");
    served.serves("newer");
}
