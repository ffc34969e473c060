#![allow(clippy::unwrap_used)]
use aws_config::{BehaviorVersion, Region};
use aws_credential_types::Credentials;
use serde_json::{Value, json};

use super::*;
use crate::aws::json::tests::server;

const HOST: &str = "123456789012.dkr.ecr.eu-west-1.amazonaws.com";

/// A client that is somebody, in eu-west-1.
pub(crate) fn client_of(url: &str) -> Client {
    let keys = Credentials::new("AKIATESTS", "secret", None, None, "test");
    let config = aws_sdk_ecr::Config::builder().behavior_version(BehaviorVersion::latest());
    Client::from_conf(config.region(Region::new("eu-west-1")).credentials_provider(keys).endpoint_url(url).build())
}

/// What is found where ECR answers so; and what was sent.
async fn found(answers: Vec<(u16, Value)>, limit: Severity) -> (Result<Findings, NoFindings>, Vec<String>) {
    let answers = answers.into_iter().map(|(status, answer)| (status, answer.to_string())).collect();
    let (url, requests) = server(answers).await;
    let (host, digest) = (EcrHost::parse(HOST).unwrap(), ContentDigest::of(b"image"));
    let image = Scanned { host: &host, repository: "team/web", digest: &digest };
    let found = findings(&client_of(&url), &image, limit).await;
    let requests = requests.lock().unwrap().clone();
    (found, requests)
}

fn answer(status: &str, findings: Value) -> Value {
    json!({"imageScanStatus": {"status": status, "description": "as ECR\nsays"}, "imageScanFindings": findings})
}

fn basic(name: &str, severity: &str) -> Value {
    let attributes = json!([{"key": "package_version", "value": "5.6.0"}, {"key": "package_name", "value": "xz"}]);
    json!({"name": name, "severity": severity, "uri": format!("https://cve.test/{name}"), "attributes": attributes})
}

/// Source: ECR API, DescribeImageScanFindings.
#[tokio::test]
async fn of_a_basic_scan_all_is_counted_and_the_worst_few_are_named_from_as_many_pages_as_it_takes() {
    let counts = json!({"CRITICAL": 2, "HIGH": 1, "UNDEFINED": 7});
    let mut first = answer("COMPLETE", json!({"findings": [basic("CVE-1", "HIGH")], "findingSeverityCounts": counts}));
    first["nextToken"] = "more".into();
    let rest = json!([basic("CVE-3", "CRITICAL"), basic("CVE-4", "UNDEFINED"), basic("CVE-2", "CRITICAL")]);
    let mut second = answer("COMPLETE", json!({"findings": rest, "findingSeverityCounts": counts}));
    second["nextToken"] = "third".into();
    let (judged, requests) = found(vec![(200, first.clone()), (200, second)], Severity::Medium).await;
    let judged = judged.unwrap();
    assert_eq!(judged.to_string(), "2 critical, 1 high, 7 undefined");
    assert!(judged.exceeds(Severity::High) && !judged.exceeds(Severity::Critical));
    let named: Vec<String> = judged.worst.iter().map(ToString::to_string).collect();
    let of = |name: &str, severity: &str| format!("{name} ({severity}) in xz 5.6.0: https://cve.test/{name}");
    assert_eq!(named, [of("CVE-2", "critical"), of("CVE-3", "critical"), of("CVE-1", "high")]);
    assert_eq!(requests.len(), 2, "no third page is needed");
    let asked = "AmazonEC2ContainerRegistry_V20150921.DescribeImageScanFindings";
    for part in
        [asked, "\"registryId\":\"123456789012\"", "\"repositoryName\":\"team/web\"", "\"imageDigest\":\"sha256:"]
    {
        assert!(requests[0].contains(part), "{part}: {}", requests[0]);
    }
    assert!(requests[1].contains("\"nextToken\":\"more\""), "{}", requests[1]);

    let (judged, requests) = found(vec![(200, first)], Severity::Critical).await;
    assert_eq!((judged.unwrap().worst, requests.len()), (vec![], 1), "nothing is to be named");
    let (judged, _) = found(vec![(200, answer("COMPLETE", json!({})))], Severity::None).await;
    assert_eq!(judged.unwrap().to_string(), "nothing");
    let uncounted = answer("COMPLETE", json!({"findings": [basic("CVE-1", "HIGH"), basic("CVE-2", "NEW")]}));
    let (judged, _) = found(vec![(200, uncounted)], Severity::High).await;
    assert_eq!(judged.unwrap().to_string(), "1 critical, 1 high", "a severity that nobody knows is the worst");
}

#[tokio::test]
async fn inspectors_scan_is_read_once_it_has_ended_and_what_is_suppressed_is_not_named() {
    let one = |id: &str, status: &str| {
        let packages = json!([{"name": "log4j-core", "version": "2.14.1"}]);
        let details = json!({"vulnerabilityId": id, "sourceUrl": "https://nvd.test/x", "vulnerablePackages": packages});
        json!({"severity": "CRITICAL", "status": status, "title": "a title", "packageVulnerabilityDetails": details})
    };
    let listed = json!([one("CVE-2021-44228", "ACTIVE"), one("CVE-0000", "SUPPRESSED")]);
    let mut findings = json!({"enhancedFindings": listed, "findingSeverityCounts": {"CRITICAL": 1, "UNTRIAGED": 1}});
    let (judged, _) = found(vec![(200, answer("ACTIVE", findings.clone()))], Severity::High).await;
    assert_eq!(judged, Err(NoFindings::Running("ACTIVE".into())), "it has begun, and found nothing yet");
    findings["imageScanCompletedAt"] = 1_700_000_000.into();
    let (judged, _) = found(vec![(200, answer("ACTIVE", findings))], Severity::High).await;
    let judged = judged.unwrap();
    assert_eq!(judged.to_string(), "1 critical, 1 undefined");
    let named: Vec<String> = judged.worst.iter().map(ToString::to_string).collect();
    assert_eq!(named, ["CVE-2021-44228 (critical) in log4j-core 2.14.1: https://nvd.test/x"]);
}

#[tokio::test]
async fn where_there_are_no_findings_it_is_told_why() {
    for status in ["IN_PROGRESS", "PENDING"] {
        let (judged, _) = found(vec![(200, answer(status, Value::Null))], Severity::High).await;
        assert_eq!(judged, Err(NoFindings::Running(status.into())));
    }
    for status in ["FAILED", "UNSUPPORTED_IMAGE", "SCAN_ELIGIBILITY_EXPIRED", "FINDINGS_UNAVAILABLE", "SOMETHING_NEW"] {
        let (judged, _) = found(vec![(200, answer(status, json!({"findings": []})))], Severity::High).await;
        assert_eq!(judged, Err(NoFindings::Ended(status.into(), "as ECR says".into())));
    }
    let refused = |kind: &str| vec![(400, json!({"__type": kind, "message": "in its words"}))];
    let words = "in its words".to_owned();
    for (kind, wanted) in [
        ("ScanNotFoundException", NoFindings::Missing),
        ("ImageNotFoundException", NoFindings::NoImage(words.clone())),
        ("RepositoryNotFoundException", NoFindings::NoImage(words.clone())),
        ("AccessDeniedException", NoFindings::Denied(words)),
    ] {
        assert_eq!(found(refused(kind), Severity::High).await.0, Err(wanted), "{kind}");
    }
    let (judged, _) = found(vec![(403, json!("<html>a proxy</html>"))], Severity::High).await;
    assert_eq!(judged, Err(NoFindings::Denied("the answer was 403".into())));
    let (judged, _) = found(refused("ValidationException"), Severity::High).await;
    assert!(matches!(&judged, Err(NoFindings::Call(why)) if why.contains("in its words")), "{judged:?}");
}
