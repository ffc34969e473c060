//! AWS as this host has it: the metadata service, credentials and what they may, the clock.

use std::collections::BTreeSet;
use std::path::Path;

use aws_config::SdkConfig;
use jiff::Timestamp;
use jiff::fmt::rfc2822;

use crate::app::Context;
use crate::app::doctor::state::StateFacts;
use crate::app::doctor::{bounded, within};
use crate::aws::ecr::{self, EcrHost};
use crate::aws::{identity, plain_http};
use crate::error::{Failure, Kind};
use crate::images::credentials;
use crate::modes::release::Release;
use crate::ui::doctor::Row;
use crate::values::pin::ImagePin;
use crate::values::reference::ImageReference;
use crate::values::types::S3Uri;

/// The metadata service where no variable names another.
const IMDS: &str = "http://169.254.169.254";

/// Where an EC2 machine says what it is. Source: EC2 User Guide, "Detect whether a host is an EC2 instance".
const DMI: [&str; 3] = ["sys/class/dmi/id/sys_vendor", "sys/class/dmi/id/board_vendor", "sys/hypervisor/uuid"];

/// AWS refuses what was signed 5 minutes beside its own clock.
const SKEW: i64 = 240;

/// A clock that is kept by NTP is never so far off.
const DRIFT: i64 = 30;

/// So many objects, and registries, are asked about.
const MOST: usize = 4;

#[derive(Debug)]
pub(super) struct CloudFacts {
    imds: Imds,
    settings: Option<SdkConfig>,
    /// Where the credentials come from, or why there are none.
    credentials: Result<&'static str, String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Imds {
    /// This is no machine of EC2's.
    Elsewhere,
    /// `AWS_EC2_METADATA_DISABLED` is set.
    Off,
    Silent(String),
    /// The status that a token is answered with, and that a question without one; its clock.
    Answers {
        token: u16,
        without: Option<u16>,
        date: Option<String>,
    },
}

pub(super) async fn observe(context: &Context, root: &Path) -> CloudFacts {
    let variable = |name: &str| context.env.lookup(name).map(str::to_owned);
    let home = crate::aws::config::home_if_unset(&variable);
    let who = async {
        let settings = identity::settings(home.as_deref()).await;
        let credentials = identity::credentials(&settings).await;
        (settings, credentials)
    };
    let (imds, who) = tokio::join!(imds(&variable, root), within(who));
    let (settings, credentials) = match who {
        Some((settings, credentials)) => (Some(settings), credentials),
        None => (None, Err("no source of credentials has answered".to_owned())),
    };
    CloudFacts { imds, settings, credentials }
}

async fn imds(variable: &dyn Fn(&str) -> Option<String>, root: &Path) -> Imds {
    let is_ec2 = |path: &&str| {
        let text = std::fs::read_to_string(root.join(path)).unwrap_or_default();
        text.starts_with("Amazon EC2") || text.to_lowercase().starts_with("ec2")
    };
    if !DMI.iter().any(is_ec2) {
        return Imds::Elsewhere;
    }
    if variable("AWS_EC2_METADATA_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true")) {
        return Imds::Off;
    }
    let at = variable("AWS_EC2_METADATA_SERVICE_ENDPOINT").unwrap_or_else(|| IMDS.to_owned());
    within(ask(at.trim_end_matches('/'))).await.unwrap_or_else(|| Imds::Silent("it has not answered for 4 s".into()))
}

async fn ask(at: &str) -> Imds {
    let ttl = [("X-aws-ec2-metadata-token-ttl-seconds", "60")];
    let (token, data) = (format!("{at}/latest/api/token"), format!("{at}/latest/meta-data/"));
    let token = plain_http::ask(http::Method::PUT, &token, &ttl).await;
    let without = plain_http::ask(http::Method::GET, &data, &[]).await.ok().map(|head| head.status);
    match token {
        Ok(head) => Imds::Answers { token: head.status, without, date: head.date },
        Err(why) => Imds::Silent(why),
    }
}

pub(super) async fn rows(context: &Context, cloud: &CloudFacts, state: &StateFacts) -> Vec<Row> {
    let newest: Vec<&Release> = state.names.iter().filter_map(|name| name.newest.as_ref()).collect();
    let (objects, registries) = (objects(&newest), registries(&newest));
    let is_needed = !objects.is_empty() || registries.iter().any(|registry| EcrHost::parse(registry).is_some());
    let mut rows = vec![metadata(&cloud.imds), credentials_row(cloud, is_needed)];
    let (ecr, s3, registries, clock) = tokio::join!(
        token(context, cloud),
        each(objects, |uri| bounded("S3", object(context, uri))),
        each(registries, |host| bounded("registry", registry(context, host))),
        bounded("clock", clock(context, cloud)),
    );
    rows.extend([ecr, s3, registries, clock].into_iter().flatten());
    rows
}

async fn each<T, F: Future<Output = Vec<Row>>>(all: impl IntoIterator<Item = T>, ask: impl Fn(T) -> F) -> Vec<Row> {
    let asked = all.into_iter().take(MOST).map(ask);
    futures_util::future::join_all(asked).await.into_iter().flatten().collect()
}

fn metadata(imds: &Imds) -> Row {
    const CHECK: &str = "IMDS";
    match imds {
        Imds::Elsewhere => Row::ok(CHECK, "this is no EC2 instance: it was not asked"),
        Imds::Off => Row::ok(CHECK, "AWS_EC2_METADATA_DISABLED is set: it was not asked"),
        Imds::Silent(why) => {
            let remedy = "aws ec2 modify-instance-metadata-options --http-endpoint enabled --http-tokens required";
            Row::warning(CHECK, why, remedy)
        }
        Imds::Answers { token, .. } if *token != 200 => Row::warning(
            CHECK,
            format!("it answers {token} where a token of version 2 is asked for"),
            "is a proxy in between? set NO_PROXY=169.254.169.254",
        ),
        Imds::Answers { without: Some(200), .. } => Row::warning(
            CHECK,
            "version 2 answers, and version 1 too: any program that fetches a URL may read the role's credentials",
            "aws ec2 modify-instance-metadata-options --http-tokens required",
        ),
        Imds::Answers { .. } => {
            Row::ok(CHECK, "version 2 answers; a task in a container's network needs a hop limit of 2")
        }
    }
}

fn credentials_row(cloud: &CloudFacts, is_needed: bool) -> Row {
    const CHECK: &str = "AWS credentials";
    let remedy = "give the instance a role, or the agent's user a profile (~/.aws/credentials)";
    match &cloud.credentials {
        Ok(kind) => Row::ok(CHECK, format!("from {kind}")),
        Err(why) if is_needed => {
            Row::problem(Kind::Image, CHECK, format!("{why}: what is deployed here needs them"), remedy)
        }
        Err(why) => Row::warning(CHECK, format!("{why}: no archive in S3 and no image in ECR can be had"), remedy),
    }
}

/// A dry call: a token of ECR, which is dropped.
async fn token(context: &Context, cloud: &CloudFacts) -> Vec<Row> {
    const CHECK: &str = "ECR";
    let (Some(settings), Ok(_)) = (&cloud.settings, &cloud.credentials) else { return Vec::new() };
    let Some(region) = settings.region() else {
        return vec![Row::not_known(CHECK, "no region is set: AWS_REGION, or a profile's `region`")];
    };
    let host = EcrHost { account: String::new(), region: region.to_string(), fips: false, dual_stack: false };
    let home = context.credentials().aws_home;
    bounded(CHECK, async {
        vec![match ecr::authorization_token(&host, home.as_deref()).await {
            Ok(_) => Row::ok(CHECK, format!("ecr:GetAuthorizationToken is allowed in {region}")),
            Err(why) => Row::warning(
                CHECK,
                format!("no token in {region}: {why}"),
                "allow ecr:GetAuthorizationToken where images are in ECR",
            ),
        }]
    })
    .await
}

/// The archives of the newest releases.
fn objects(newest: &[&Release]) -> BTreeSet<String> {
    let uris = newest.iter().filter(|release| release.source.parse::<S3Uri>().is_ok());
    uris.map(|release| release.source.clone()).collect()
}

/// The registries of the newest releases.
fn registries(newest: &[&Release]) -> BTreeSet<String> {
    let images = newest.iter().flat_map(|release| release.images());
    let host = |image: &ImagePin| match image {
        ImagePin::Registry { repository, .. } => Some(repository.parse::<ImageReference>().ok()?.registry().to_owned()),
        ImagePin::Content { .. } | ImagePin::Unread { .. } | ImagePin::Unknown { .. } => None,
    };
    images.filter_map(host).collect()
}

async fn object(context: &Context, uri: String) -> Vec<Row> {
    let Ok(parsed) = uri.parse::<S3Uri>() else { return Vec::new() };
    vec![match context.s3().head(&parsed).await {
        Ok(_) => Row::ok("S3", format!("{uri} can be read")),
        Err(error) => {
            let failure = crate::error::ObserveFailure::from(&error).failure;
            Row::warning("S3", failure.message, failure.next.unwrap_or_else(|| "allow s3:GetObject".into()))
        }
    }]
}

async fn registry(context: &Context, host: String) -> Vec<Row> {
    vec![match credentials::for_registry(&host, &context.credentials()).await {
        Ok(Some(found)) => Row::ok("registry", format!("{host}: there is a credential of {}", found.username)),
        Ok(None) => Row::ok("registry", format!("{host}: no credential is set, it is asked without one")),
        Err(error) => {
            let failure = Failure::from(&error);
            Row::problem(failure.kind, "registry", failure.message, failure.next.unwrap_or_default())
        }
    }]
}

async fn clock(context: &Context, cloud: &CloudFacts) -> Vec<Row> {
    const CHECK: &str = "clock";
    if let Imds::Answers { date: Some(date), .. } = &cloud.imds {
        return vec![skew(date, "the metadata service's", Timestamp::now())];
    }
    let region = cloud.settings.as_ref().and_then(SdkConfig::region).map(ToString::to_string);
    let named = ["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"].into_iter().find_map(|name| context.env.lookup(name));
    let url = match (named, region) {
        (Some(url), _) if url.starts_with("http://") => url.to_owned(),
        (None, Some(region)) => {
            let china = if region.starts_with("cn-") { ".cn" } else { "" };
            format!("http://s3.{region}.amazonaws.com{china}/")
        }
        (Some(_), _) | (None, None) => return vec![Row::not_known(CHECK, "there is no server to compare it with")],
    };
    match plain_http::ask(http::Method::HEAD, &url, &[]).await {
        Ok(head) => match head.date {
            Some(date) => vec![skew(&date, &url, Timestamp::now())],
            None => vec![Row::not_known(CHECK, format!("{url} says no time"))],
        },
        Err(why) => vec![Row::not_known(CHECK, why)],
    }
}

fn skew(date: &str, whose: &str, now: Timestamp) -> Row {
    const CHECK: &str = "clock";
    let Ok(theirs) = rfc2822::parse(date) else { return Row::not_known(CHECK, format!("{date} is no time")) };
    let seconds = now.as_second() - theirs.timestamp().as_second();
    let found = format!("{} s {} {whose}", seconds.abs(), if seconds < 0 { "behind" } else { "ahead of" });
    let remedy = "timedatectl set-ntp true; on EC2 the server is 169.254.169.123";
    match seconds.abs() {
        0..=DRIFT => Row::ok(CHECK, found),
        seconds if seconds < SKEW => Row::warning(CHECK, found, remedy),
        _ => Row::problem(Kind::Image, CHECK, format!("{found}: AWS refuses what is signed so"), remedy),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::ui::doctor::text;

    #[tokio::test]
    async fn only_a_machine_of_ec2_is_asked_for_its_metadata_and_only_where_it_is_not_switched_off() {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(root.path().join("sys/class/dmi/id")).unwrap();
        let dmi = root.path().join("sys/class/dmi/id/sys_vendor");
        let none = |_: &str| None;
        std::fs::write(&dmi, "QEMU\n").unwrap();
        assert_eq!(imds(&none, root.path()).await, Imds::Elsewhere);
        std::fs::write(&dmi, "Amazon EC2\n").unwrap();
        assert_eq!(imds(&|_| Some("true".into()), root.path()).await, Imds::Off);
    }

    #[tokio::test]
    async fn the_versions_that_a_metadata_service_answers_are_known_by_their_status() {
        use std::io::{BufRead as _, BufReader, Write as _};
        let server = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let at = format!("http://{}", server.local_addr().unwrap());
        let serve = std::thread::spawn(move || {
            let mut seen = Vec::new();
            for answer in ["200 OK\r\nDate: Fri, 27 Nov 2026 20:00:00 GMT", "401 Unauthorized"] {
                let (mut stream, _) = server.accept().unwrap();
                let lines = BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok);
                seen.push(lines.take_while(|line| !line.is_empty()).next().unwrap());
                write!(stream, "HTTP/1.1 {answer}\r\nContent-Length: 0\r\n\r\n").unwrap();
            }
            seen
        });
        let date = Some("Fri, 27 Nov 2026 20:00:00 GMT".to_owned());
        assert_eq!(ask(&at).await, Imds::Answers { token: 200, without: Some(401), date });
        let asked = ["PUT /latest/api/token HTTP/1.1", "GET /latest/meta-data/ HTTP/1.1"];
        assert_eq!(serve.join().unwrap(), asked);
    }

    #[test]
    fn what_the_metadata_service_answered_is_said_with_what_to_change() {
        let answers = |token, without| Imds::Answers { token, without, date: None };
        let all = [
            Imds::Silent("no route to host".into()),
            answers(403, None),
            answers(200, Some(200)),
            answers(200, Some(401)),
        ];
        let rows: Vec<Row> = all.iter().map(metadata).collect();
        assert_eq!(
            text(&rows),
            "\
warning    IMDS: no route to host
           next: aws ec2 modify-instance-metadata-options --http-endpoint
           enabled --http-tokens required
warning    IMDS: it answers 403 where a token of version 2 is asked for
           next: is a proxy in between? set NO_PROXY=169.254.169.254
warning    IMDS: version 2 answers, and version 1 too: any program that fetches
           a URL may read the role's credentials
           next: aws ec2 modify-instance-metadata-options --http-tokens required
ok         IMDS: version 2 answers; a task in a container's network needs a hop
           limit of 2
1 ok, 3 warnings
"
        );
    }

    #[test]
    fn a_clock_is_well_within_half_a_minute_and_a_problem_where_aws_refuses_its_signatures() {
        let at = |now: &str| skew("Fri, 27 Nov 2026 20:00:00 GMT", "S3's", now.parse().unwrap());
        assert_eq!(at("2026-11-27T20:00:02Z"), Row::ok("clock", "2 s ahead of S3's"));
        assert_eq!(at("2026-11-27T19:59:00Z").found, "60 s behind S3's");
        assert_eq!(at("2026-11-27T19:59:00Z").kind, None);
        assert_eq!(at("2026-11-27T20:10:00Z").kind, Some(Kind::Image));
        assert_eq!(skew("soon", "S3's", Timestamp::now()), Row::not_known("clock", "soon is no time"));
    }
}
