//! What ECR says of an image before it is pulled: its scan, and whether it is there yet.

use serde_json::{Value, json};

use crate::registry::push;
use crate::support::bundle::appspec;
use crate::support::codedeploy::Aws;
use crate::support::images::sha256;
use crate::support::served::{Served, service};
use crate::support::world;
use crate::support::world::{ECR, ECR_PASSWORD, base64};
use crate::trust::{engine_holds, is_refused};

const CALL: &str = "ecr DescribeImageScanFindings";

/// ECR knows the image, and its scan where there is an answer.
fn scanned(aws: &Aws, repository: &str, digest: &str, answer: Option<(&str, Value)>) {
    let manifest =
        json!({"mediaType": "application/vnd.docker.distribution.manifest.v2+json", "of": digest}).to_string();
    let of = ["--repository-name", repository];
    let put = ["--image-digest", digest, "--image-tag", &digest[7..19], "--image-manifest", &manifest];
    aws.cli(&[&["ecr", "put-image"], &of[..], &put[..]].concat());
    let Some((status, findings)) = answer else { return };
    let id = format!("imageDigest={digest}");
    aws.cli(&[&["ecr", "start-image-scan"], &of[..], &["--image-id", &id]].concat());
    let result = json!({
        "repositoryName": repository,
        "imageId": {"imageDigest": digest},
        "imageScanStatus": {"status": status, "description": "as ECR says"},
        "imageScanFindings": findings,
    });
    let results = json!({"region": "eu-west-1", "results": [result]}).to_string();
    aws.post("/moto-api/static/ecr/scan-finding-results", "application/json", &results);
}

/// Docker's `config.json` with the credentials of the ECR registry.
fn credentials() -> String {
    format!("{{\"auths\": {{\"{ECR}\": {{\"auth\": \"{}\"}}}}}}", base64(&format!("AWS:{ECR_PASSWORD}")))
}

/// Puts an index of one platform's image into the ECR registry; its digest.
fn put_index(repository: &str, tag: &str, digest: &str) -> String {
    let image = json!({
        "mediaType": "application/vnd.docker.distribution.manifest.v2+json",
        "digest": digest,
        "size": manifest_size(repository, digest),
        "platform": {"architecture": "amd64", "os": "linux"},
    });
    let media_type = "application/vnd.docker.distribution.manifest.list.v2+json";
    let index = json!({"schemaVersion": 2, "mediaType": media_type, "manifests": [image]}).to_string();
    let header = format!("Content-Type: {media_type}");
    let put = ["--request", "PUT", "--header", &header, "--data-binary", &index];
    world().pushing(repository, || registry(&format!("{repository}/manifests/{tag}"), &put));
    format!("sha256:{}", sha256(index.as_bytes()))
}

fn manifest_size(repository: &str, digest: &str) -> usize {
    let accept = ["--header", "Accept: application/vnd.docker.distribution.manifest.v2+json"];
    world().pushing(repository, || registry(&format!("{repository}/manifests/{digest}"), &accept)).len()
}

fn registry(path: &str, options: &[&str]) -> String {
    let mut command = world().command("curl");
    command.args(["--silent", "--show-error", "--fail", "--insecure", "--http1.1"]);
    command.args(["--user", &format!("AWS:{ECR_PASSWORD}"), "--resolve", &format!("{ECR}:443:192.0.2.1")]);
    let output = command.args(options).arg(format!("https://{ECR}/v2/{path}")).output().unwrap();
    assert!(output.status.success(), "{path}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn an_image_is_pulled_only_where_its_scan_has_ended_and_found_nothing_that_is_too_severe() {
    let mut served = Served::over("scan", "", "");
    let name = served.name.clone();
    let aws = Aws::start(&name);
    served.bundle.env("AWS_ENDPOINT_URL_ECR", &aws.url()).inside(world().pid()).docker_config(&credentials());
    let source = |tag: &str, scan: &str| format!("{{reference: \"{ECR}/{name}:{tag}\", verify: {{ecr: {scan}}}}}");
    let (high, none) = ("{max_severity: high}", "{max_severity: none, wait: 1s}");
    let finding = |id: &str, severity: &str| {
        let attributes = json!([{"key": "package_version", "value": "5.6"}, {"key": "package_name", "value": "xz"}]);
        json!({"name": id, "severity": severity, "uri": format!("https://cve.test/{id}"), "attributes": attributes})
    };
    let listed = json!([finding("CVE-2", "HIGH"), finding("CVE-1", "CRITICAL")]);
    let bad = json!({"findings": listed, "findingSeverityCounts": {"CRITICAL": 1, "HIGH": 4}});
    let fair = json!({"findings": [finding("CVE-2", "HIGH")], "findingSeverityCounts": {"HIGH": 4, "LOW": 2}});

    let unscanned = push(&name, ECR, "1", "unscanned");
    let why = format!("ECR has no image {unscanned} to scan");
    is_refused(&mut served, "d-TEST00002", &source("1", high), &[&why, "nothing of it was pulled"]);
    scanned(&aws, &name, &unscanned, None);
    let why = format!("is refused: ECR has no scan of {unscanned}");
    is_refused(&mut served, "d-TEST00003", &source("1", high), &[&why, "aws ecr start-image-scan"]);
    let running = push(&name, ECR, "2", "running");
    scanned(&aws, &name, &running, Some(("IN_PROGRESS", Value::Null)));
    let words = ["waiting up to 1 s for ECR's scan of ", "has not ended within 1 s (IN_PROGRESS)"];
    is_refused(&mut served, "d-TEST00004", &source("2", none), &words);
    let failed = push(&name, ECR, "3", "failed");
    scanned(&aws, &name, &failed, Some(("FAILED", Value::Null)));
    is_refused(&mut served, "d-TEST00005", &source("3", high), &["says FAILED: as ECR says", "scan it again"]);
    let severe = push(&name, ECR, "4", "severe");
    scanned(&aws, &name, &severe, Some(("COMPLETE", bad)));
    let why = format!("{ECR}/{name}@{severe} is refused: ECR's scan has found 1 critical, 4 high");
    let words =
        [why.as_str(), "`verify` lets pass nothing above high", "CVE-1 (critical) in xz 5.6: https://cve.test/CVE-1"];
    let outcome = is_refused(&mut served, "d-TEST00006", &source("4", high), &words);
    assert!(!outcome.console().contains("CVE-2"), "it is let pass, and is not named");

    // Of an index the image of this platform is scanned: ECR scans no index.
    let image = push(&name, ECR, "5", "new");
    scanned(&aws, &name, &image, Some(("COMPLETE", fair)));
    let index = put_index(&name, "both", &image);
    served.bundle.appspec(&appspec(&name, &service(&source("both", high), served.port), ""));
    served.bundle.deployment("d-TEST00007");
    let said = ") is verified: ECR scan with nothing above high; the scan has found 4 high, 2 low";
    served.bundle.run(&["plan", "BeforeInstall"]).exits(0).prints(said);
    aws.calls();
    served.bundle.hook("BeforeInstall").exits(0).says(said);
    served.bundle.hook("ApplicationStart").exits(0);
    assert_eq!(aws.calls(), [CALL], "once for a deployment, and none for a token that docker's config has");
    assert_eq!(world().inspect(&name, "{{.Config.Image}}"), format!("{ECR}/{name}@{index}"));
    served.serves("new");

    served.id = world().inspect(&name, "{{.Id}}");
    let before = engine_holds(&name);
    served.bundle.appspec(&appspec(&name, &service(&source("both", none), served.port), ""));
    let outcome = served.bundle.deployment("d-TEST00008").hook("BeforeInstall");
    outcome.exits(6).says("has found 4 high, 2 low, and `verify` lets pass no finding");
    let (id, key) = aws.nobody();
    served.bundle.env("AWS_ACCESS_KEY_ID", &id).env("AWS_SECRET_ACCESS_KEY", &key);
    let outcome = served.bundle.deployment("d-TEST00009").hook("BeforeInstall");
    outcome
        .exits(6)
        .says("ECR's scan of it may not be read: ")
        .says("let the instance role ecr:DescribeImageScanFindings");
    assert_eq!(engine_holds(&name), before, "nothing came into the engine");
}

#[test]
fn an_image_that_the_registry_does_not_have_yet_is_waited_for_as_long_as_is_allowed() {
    let mut served = Served::over("later", "", "");
    let name = served.name.clone();
    let source = |tag: &str, wait: &str| format!("{{reference: \"{ECR}/{name}{tag}\", wait: {wait}}}");
    served.bundle.docker_config(&credentials());
    let words = ["waiting up to 1 s for ", "the registry does not have it yet", "(after 1 s of `wait`)"];
    is_refused(&mut served, "d-TEST00002", &source(":1", "1s"), &words);

    // By its tag.
    served.bundle.appspec(&appspec(&name, &service(&source(":1", "10m"), served.port), ""));
    let hook = served.bundle.deployment("d-TEST00003").start("ApplicationStart");
    let log = served.bundle.state().join(&name).join("balehook.log");
    let waits = || std::fs::read_to_string(&log).unwrap_or_default().matches("waiting up to 600 s for").count();
    world().wait_for("the hook to wait", || waits() == 1);
    let digest = push(&name, ECR, "1", "new");
    let outcome = hook.wait();
    outcome.exits(0).says(&format!("waiting up to 600 s for {ECR}/{name}:1: the registry does not have it yet"));
    served.serves("new");

    // By its digest: it is there, and nothing is waited for.
    served.bundle.appspec(&appspec(&name, &service(&source(&format!("@{digest}"), "10m"), served.port), ""));
    let outcome = served.bundle.deployment("d-TEST00004").hook("ApplicationStart");
    outcome.exits(0);
    assert!(!outcome.console().contains("waiting"), "{}", outcome.console());
    let unknown = format!("@sha256:{}", "1".repeat(64));
    served.bundle.appspec(&appspec(&name, &service(&source(&unknown, "1s"), served.port), ""));
    served.bundle.deployment("d-TEST00005").hook("BeforeInstall").exits(6).says("(after 1 s of `wait`)");
    served.serves("new");
}
