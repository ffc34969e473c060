//! Whether the scan of ECR has found nothing in an image that is worse than `verify.ecr` lets pass.

use std::time::Duration;

use crate::aws::ecr::EcrHost;
use crate::aws::scan::{self, Client, Findings, NoFindings, Scanned};
use crate::config::verify::Scan;
use crate::error::{Failure, Kind, ObserveFailure};
use crate::images::credentials::CredentialSettings;
use crate::images::registry::{Repository, config};
use crate::images::verify::InRegistry;
use crate::poll;
use crate::values::text::seconds;
use crate::values::types::ContentDigest;

/// Between two questions about a scan that goes on.
const PAUSE: Duration = Duration::from_secs(5);

/// Where the scan of a repository is switched on.
const SWITCH_ON: &str = "scan the repository on push (`aws ecr put-registry-scanning-configuration`) and push the image \
    again, or scan this one: `aws ecr start-image-scan`; Inspector answers nobody of another account";

/// Asks for the scan of the image with this digest; of several platforms for that of the engine's.
/// Errors: [`Kind::Image`]: too much was found, or it is not known what is in it.
pub(crate) async fn check(
    scan: &Scan,
    image: &InRegistry<'_>,
    repository: &Repository,
    settings: &CredentialSettings,
) -> Result<Findings, ObserveFailure> {
    let name = image.name();
    let Some(host) = EcrHost::parse(image.reference.registry()) else {
        let failure = Failure::new(Kind::Image, format!("{name} is refused: no scan of ECR is known of it"));
        return Err(definite(failure.next("`verify.ecr` is for images of ECR alone")));
    };
    let digests = config::manifests(repository, image.digest, image.architecture).await;
    let digests = digests.map_err(|why| image.unreadable(&why))?;
    let client = Box::pin(scan::client(&host, settings.aws_home.as_deref())).await;
    let mut all = Findings::default();
    for digest in &digests {
        let scanned = Scanned { host: &host, repository: repository.path(), digest };
        let found = ended(&client, scan, &scanned, settings).await.map_err(|why| unknown(&name, digest, scan, why))?;
        if found.exceeds(scan.most) {
            return Err(definite(exceeded(&name, scan, &found)));
        }
        all.counts.extend(found.counts);
    }
    Ok(all)
}

/// The findings, once the scan has ended; one that goes on is waited for.
async fn ended(
    client: &Client,
    scan: &Scan,
    image: &Scanned<'_>,
    settings: &CredentialSettings,
) -> Result<Findings, NoFindings> {
    let mut is_told = false;
    let goes_on = |found: &Result<_, NoFindings>| matches!(found, Err(NoFindings::Running(_)));
    let once = async || {
        let found = scan::findings(client, image, scan.most).await;
        if goes_on(&found) && !is_told {
            is_told = true;
            let (repository, digest, most) = (image.repository, image.digest, seconds(scan.wait));
            settings.waits.say(&format!("waiting up to {most} for ECR's scan of {repository}@{digest}"));
        }
        found
    };
    let words = |waited| format!("ECR has not scanned {}@{} for {}", image.repository, image.digest, seconds(waited));
    settings.waits.on(words, poll::while_open(scan.wait, PAUSE, goes_on, once)).await
}

fn exceeded(name: &str, scan: &Scan, found: &Findings) -> Failure {
    let message = format!("{name} is refused: ECR's scan has found {found}, and `verify` lets pass {}", scan.limit());
    Failure::new(Kind::Image, message)
        .evidence(found.worst.iter().map(ToString::to_string).collect())
        .next("nothing of it was pulled: build it on a corrected base image and push it, or raise `max_severity`")
}

fn unknown(name: &str, digest: &ContentDigest, scan: &Scan, why: NoFindings) -> ObserveFailure {
    let refused = |why: String, next: &str| {
        let next = format!("nothing of it was pulled: {next}");
        definite(Failure::new(Kind::Image, format!("{name} is refused: {why}")).next(next))
    };
    match why {
        NoFindings::Running(word) => refused(
            format!("ECR's scan of {digest} has not ended within {} ({word})", seconds(scan.wait)),
            "deploy again later, or give it more time: `verify: {ecr: {wait: 10m}}`",
        ),
        NoFindings::Missing => refused(format!("ECR has no scan of {digest}"), SWITCH_ON),
        NoFindings::NoImage(words) => {
            refused(format!("ECR has no image {digest} to scan: {words}"), "is it in that region and account?")
        }
        NoFindings::Ended(word, words) => {
            let words = if words.is_empty() { words } else { format!(": {words}") };
            refused(format!("ECR's scan of {digest} says {word}{words}"), ended_next(&word))
        }
        NoFindings::Denied(words) => refused(
            format!("ECR's scan of it may not be read: {words}"),
            "let the instance role ecr:DescribeImageScanFindings, and with Inspector inspector2:ListFindings and \
             inspector2:ListCoverage",
        ),
        NoFindings::Call(words) => ObserveFailure {
            failure: Failure::new(Kind::Image, format!("ECR's scan of {name} cannot be read: {words}"))
                .next("can this host reach ECR's API? nothing is pulled before"),
            definite: false,
        },
    }
}

/// Source: ECR API, `ImageScanStatus`.
fn ended_next(word: &str) -> &'static str {
    match word {
        "UNSUPPORTED_IMAGE" => "ECR cannot scan its base: another one, or Inspector, may be known to it",
        "SCAN_ELIGIBILITY_EXPIRED" => {
            "Inspector no longer watches it: push it again, or lengthen the time that it watches"
        }
        "IMAGE_ARCHIVED" => "restore it in ECR, and have it scanned",
        _ => "scan it again: `aws ecr start-image-scan`, or push it again",
    }
}

const fn definite(failure: Failure) -> ObserveFailure {
    ObserveFailure { failure, definite: true }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::aws::json::tests::server;
    use crate::aws::scan::tests::client_of;
    use crate::values::severity::Severity;
    use crate::waits::Waits;

    #[tokio::test]
    async fn a_scan_that_goes_on_is_asked_for_again_until_it_has_ended_or_its_time_is_over() {
        let running = r#"{"imageScanStatus": {"status": "IN_PROGRESS"}}"#;
        let ended = r#"{"imageScanStatus": {"status": "COMPLETE"}, "imageScanFindings": {}}"#;
        let settings = CredentialSettings::from_env(&|_| None, &Waits::default());
        let host = EcrHost::parse("123456789012.dkr.ecr.eu-west-1.amazonaws.com").unwrap();
        let digest = ContentDigest::of(b"image");
        let image = Scanned { host: &host, repository: "web", digest: &digest };
        let scan = Scan { most: Severity::High, wait: Duration::from_millis(200) };
        for (last, wanted) in
            [(ended, Ok(Findings::default())), (running, Err(NoFindings::Running("IN_PROGRESS".into())))]
        {
            let (url, requests) = server(vec![(200, running.to_owned()), (200, last.to_owned())]).await;
            assert_eq!(self::ended(&client_of(&url), &scan, &image, &settings).await, wanted);
            assert_eq!(requests.lock().unwrap().len(), 2);
        }
    }

    #[test]
    fn each_reason_for_which_nothing_is_known_of_an_image_refuses_it_with_what_to_do() {
        let (scan, digest) =
            (Scan { most: Severity::High, wait: Duration::from_secs(60) }, ContentDigest::of(b"image"));
        let words = || "its words".to_owned();
        for (why, message, next, is_definite) in [
            (NoFindings::Running("PENDING".into()), "has not ended within 60 s (PENDING)", "wait: 10m", true),
            (NoFindings::Missing, "ECR has no scan of sha256:", "start-image-scan", true),
            (NoFindings::NoImage(words()), "to scan: its words", "is it in that region", true),
            (NoFindings::Ended("FAILED".into(), words()), "says FAILED: its words", "scan it again", true),
            (NoFindings::Ended("UNSUPPORTED_IMAGE".into(), String::new()), "says UNSUPPORTED_IMAGE", "its base", true),
            (NoFindings::Denied(words()), "may not be read: its words", "inspector2:ListFindings", true),
            (NoFindings::Call(words()), "cannot be read: its words", "reach ECR's API", false),
        ] {
            let failed = unknown("web", &digest, &scan, why);
            let (said, advice) = (&failed.failure.message, failed.failure.next.as_deref().unwrap());
            assert!(said.contains(message) && advice.contains(next), "{said}\n{advice}");
            assert_eq!((failed.failure.kind, failed.definite), (Kind::Image, is_definite), "{said}");
        }
    }
}
