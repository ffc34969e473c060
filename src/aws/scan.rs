//! What a scan of ECR has found of an image: a basic one, or one of Amazon Inspector ("enhanced").

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

pub(crate) use aws_sdk_ecr::Client;
use aws_sdk_ecr::error::{ProvideErrorMetadata as _, SdkError};
use aws_sdk_ecr::operation::describe_image_scan_findings::{
    DescribeImageScanFindingsError as Refusal, DescribeImageScanFindingsOutput as Answer,
};
use aws_sdk_ecr::types::{EnhancedImageScanFinding, ImageIdentifier, ImageScanFinding, ImageScanFindings, ScanStatus};

use crate::aws::config;
use crate::aws::ecr::{self, EcrHost};
use crate::values::severity::Severity;
use crate::values::text::{printable, shorten};
use crate::values::types::ContentDigest;

/// Findings of one answer, the most that ECR gives.
const PAGE: i32 = 1000;

/// So many answers are read of one image.
const PAGES: usize = 20;

/// So many findings are named.
const NAMED: usize = 3;

/// An image of a private registry.
pub(crate) struct Scanned<'a> {
    pub(crate) host: &'a EcrHost,
    /// Without the host.
    pub(crate) repository: &'a str,
    pub(crate) digest: &'a ContentDigest,
}

/// What was found, by severity, and the worst that is above a limit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Findings {
    pub(crate) counts: BTreeMap<Severity, u64>,
    pub(crate) worst: Vec<Finding>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Finding {
    severity: Severity,
    /// `CVE-2024-3094`.
    name: String,
    /// With its version.
    package: String,
    link: String,
}

/// Why it is not known what is in an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum NoFindings {
    /// It goes on, in ECR's own word.
    Running(String),
    /// It was never scanned, or who asks is of another account than Inspector.
    Missing,
    /// ECR has no such image, or no such repository.
    NoImage(String),
    /// In ECR's own word, with its reason.
    Ended(String, String),
    /// The role lacks an action.
    Denied(String),
    Call(String),
}

/// A lazy client for the registry of one account and region.
pub(crate) async fn client(host: &EcrHost, home: Option<&Path>) -> Client {
    Client::new(&ecr::settings(host, home).await)
}

/// Asks for the findings of an image; those above `limit` are named, the worst first.
/// Errors: Why there are none to judge.
pub(crate) async fn findings(client: &Client, image: &Scanned<'_>, limit: Severity) -> Result<Findings, NoFindings> {
    let (mut read, mut counted, mut token) = (Read::default(), None, None);
    for _ in 0..PAGES {
        let identifier = ImageIdentifier::builder().image_digest(image.digest.as_str()).build();
        let asked = client.describe_image_scan_findings().registry_id(&image.host.account);
        let asked = asked.repository_name(image.repository).image_id(identifier).max_results(PAGE);
        let answer = Box::pin(asked.set_next_token(token).send()).await.map_err(|error| refused(&error))?;
        let found = complete(&answer)?;
        counted = counted.or_else(|| counts(found));
        read.take(found);
        token = answer.next_token().filter(|token| !token.is_empty()).map(str::to_owned);
        let is_over = counted.as_ref().is_some_and(|counts| read.names_enough(counts, limit));
        if token.is_none() || is_over {
            return Ok(read.judged(counted, limit));
        }
    }
    match counted {
        Some(_) => Ok(read.judged(counted, limit)),
        None => Err(NoFindings::Call(format!("it has more than {PAGES} pages of findings, and no counts"))),
    }
}

/// What was read until now.
#[derive(Default)]
struct Read(Vec<Finding>);

impl Read {
    fn take(&mut self, found: &ImageScanFindings) {
        self.0.extend(found.findings().iter().map(of_basic));
        self.0.extend(found.enhanced_findings().iter().filter(|one| is_open(one)).map(of_inspector));
    }

    /// Whether nothing is to be named, or enough of the worst.
    fn names_enough(&self, counts: &BTreeMap<Severity, u64>, limit: Severity) -> bool {
        let Some((worst, count)) = counts.iter().rfind(|(severity, _)| **severity > limit) else { return true };
        let named = self.0.iter().filter(|finding| finding.severity == *worst).count();
        named >= NAMED.min(usize::try_from(*count).unwrap_or(NAMED))
    }

    fn judged(mut self, counted: Option<BTreeMap<Severity, u64>>, limit: Severity) -> Findings {
        let mut counts = counted.unwrap_or_else(|| {
            let mut counts = BTreeMap::new();
            self.0.iter().for_each(|finding| *counts.entry(finding.severity).or_insert(0) += 1);
            counts
        });
        // What is listed is there, whatever is counted.
        for finding in &self.0 {
            counts.entry(finding.severity).or_insert(1);
        }
        self.0.retain(|finding| finding.severity > limit);
        self.0.sort_by(|one, other| other.severity.cmp(&one.severity).then_with(|| one.name.cmp(&other.name)));
        self.0.dedup();
        self.0.truncate(NAMED);
        Findings { counts, worst: self.0 }
    }
}

/// The findings of a scan that has ended well.
fn complete(answer: &Answer) -> Result<&ImageScanFindings, NoFindings> {
    let status = answer.image_scan_status();
    let found = answer.image_scan_findings();
    let word = || status.and_then(|status| status.status()).map_or("UNKNOWN", ScanStatus::as_str).to_owned();
    match (status.and_then(|status| status.status()), found) {
        (Some(ScanStatus::Complete), Some(found)) => Ok(found),
        // Inspector is at it for as long as the image is watched; before its first end it has found nothing yet.
        (Some(ScanStatus::Active), Some(found)) if found.image_scan_completed_at().is_some() => Ok(found),
        (Some(ScanStatus::Active | ScanStatus::InProgress | ScanStatus::Pending | ScanStatus::Complete), _) => {
            Err(NoFindings::Running(word()))
        }
        _ => {
            let why = status.and_then(|status| status.description()).unwrap_or_default();
            Err(NoFindings::Ended(word(), shorten(&printable(why), 200)))
        }
    }
}

/// None where ECR has not counted.
fn counts(found: &ImageScanFindings) -> Option<BTreeMap<Severity, u64>> {
    let counted = found.finding_severity_counts().filter(|counts| !counts.is_empty())?;
    let mut counts = BTreeMap::new();
    for (severity, count) in counted {
        *counts.entry(Severity::found(severity.as_str())).or_insert(0) += u64::try_from(*count).unwrap_or(0);
    }
    counts.retain(|_, count| *count > 0);
    Some(counts)
}

fn of_basic(found: &ImageScanFinding) -> Finding {
    let attribute = |key: &str| found.attributes().iter().find(|one| one.key() == key).and_then(|one| one.value());
    let package = [attribute("package_name"), attribute("package_version")];
    Finding {
        severity: Severity::found(found.severity().map_or("", |severity| severity.as_str())),
        name: word(found.name()),
        package: words(package.into_iter().flatten()),
        link: word(found.uri()),
    }
}

fn of_inspector(found: &EnhancedImageScanFinding) -> Finding {
    let details = found.package_vulnerability_details();
    let package = details.and_then(|details| details.vulnerable_packages().first());
    let package = [package.and_then(|package| package.name()), package.and_then(|package| package.version())];
    Finding {
        severity: Severity::found(found.severity().unwrap_or_default()),
        name: word(details.and_then(|details| details.vulnerability_id()).or(found.title())),
        package: words(package.into_iter().flatten()),
        link: word(details.and_then(|details| details.source_url())),
    }
}

/// Inspector lists what a rule suppresses too.
fn is_open(found: &EnhancedImageScanFinding) -> bool {
    !matches!(found.status(), Some("SUPPRESSED" | "CLOSED"))
}

fn word(text: Option<&str>) -> String {
    shorten(&printable(text.unwrap_or_default()), 120)
}

fn words<'a>(all: impl Iterator<Item = &'a str>) -> String {
    word(Some(&all.collect::<Vec<_>>().join(" ")))
}

fn refused(error: &SdkError<Refusal>) -> NoFindings {
    let code = error.code().unwrap_or_default();
    // A proxy or a VPC endpoint denies in words of its own.
    let is_denied = error.raw_response().is_some_and(|answer| answer.status().as_u16() == 403) && code.is_empty();
    if is_denied {
        return NoFindings::Denied("the answer was 403".into());
    }
    let Some(refusal) = error.as_service_error() else { return NoFindings::Call(config::causes(error)) };
    let message = shorten(&printable(refusal.message().unwrap_or_default()), 300);
    match refusal {
        Refusal::ScanNotFoundException(_) => NoFindings::Missing,
        Refusal::ImageNotFoundException(_) | Refusal::RepositoryNotFoundException(_) => NoFindings::NoImage(message),
        _ if code.starts_with("AccessDenied") => NoFindings::Denied(message),
        _ => NoFindings::Call(config::causes(error)),
    }
}

impl Findings {
    /// Whether one is above a limit.
    pub(crate) fn exceeds(&self, limit: Severity) -> bool {
        self.counts.iter().any(|(severity, count)| *severity > limit && *count > 0)
    }
}

impl fmt::Display for Findings {
    /// `2 critical, 7 high`; `nothing`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counts: Vec<_> = self.counts.iter().rev().map(|(severity, count)| format!("{count} {severity}")).collect();
        f.write_str(if counts.is_empty() { "nothing".to_owned() } else { counts.join(", ") }.as_str())
    }
}

impl fmt::Display for Finding {
    /// `CVE-2024-3094 (critical) in xz-utils 5.6.0: https://…`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.name, self.severity)?;
        if !self.package.is_empty() {
            write!(f, " in {}", self.package)?;
        }
        if self.link.is_empty() { Ok(()) } else { write!(f, ": {}", self.link) }
    }
}

#[cfg(test)]
#[path = "scan_tests.rs"]
pub(crate) mod tests;
