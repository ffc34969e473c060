//! What a policy says of what a deployment asks for.

use crate::config::ImageSource;
use crate::config::policy::Policy;
use crate::config::policy::demand::{Demand, Subject};
use crate::config::policy::rule::Rule;
use crate::config::problem::Problems;
use crate::config::rules::POLICY;
use crate::config::yaml::Place;
use crate::values::secret::masked;
use crate::values::text::printable;

/// What is not allowed, and by which line of the policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal<'a> {
    pub(crate) demand: &'a Demand,
    pub(crate) message: String,
    pub(crate) help: String,
}

impl Policy {
    /// Everything that is not allowed.
    pub(crate) fn judge<'a>(&self, demands: &'a [Demand]) -> Vec<Refusal<'a>> {
        demands.iter().filter_map(|demand| self.refusal(demand)).collect()
    }

    fn refusal<'a>(&self, demand: &'a Demand) -> Option<Refusal<'a>> {
        let rule = self.rules.iter().find(|rule| rule.subject == demand.subject && !rule.covers(&demand.value))?;
        let leads = match demand.subject {
            Subject::Mount | Subject::Device if demand.value != demand.written => {
                format!(" (that is `{}`)", demand.value)
            }
            Subject::Verification if demand.value.is_empty() => " without `verify`".to_owned(),
            Subject::Verification => format!(" verified by {} alone", demand.value),
            Subject::Scan if demand.value.is_empty() => " without `verify.ecr`".to_owned(),
            Subject::Scan => format!(" with `max_severity: {}`", demand.value),
            _ => String::new(),
        };
        Some(Refusal {
            demand,
            message: format!("this host does not allow `{}`{leads}", demand.written),
            help: format!("{}: ask who runs this host, or leave it out", self.said(rule)),
        })
    }

    /// The line of the policy: `/etc/balehook/policy.yml:7:1 allows for \`cap_add\`: CHOWN`.
    fn said(&self, rule: &Rule) -> String {
        let (at, key) = (format!("{}:{}", self.path.display(), rule.place), rule.subject.key());
        let allowed: Vec<&str> = rule.allowed.iter().map(|allowed| allowed.written.as_str()).collect();
        match rule.subject {
            Subject::ArchiveFile | Subject::Privileged | Subject::OtherContainer | Subject::HostTask => {
                format!("{at} says `{key}: false`")
            }
            Subject::Scan => format!("{at} says `{key}: {}`", allowed.last().unwrap_or(&"")),
            _ if allowed.is_empty() => format!("{at} allows no `{key}`"),
            _ => format!("{at} allows for `{key}`: {}", allowed.join(", ")),
        }
    }

    /// Whether an image may not be fetched from where it comes.
    pub(crate) fn refuses_image(&self, source: &ImageSource) -> bool {
        let asked = Demand::of_verification(source);
        asked.iter().chain([&Demand::of_image(source)]).any(|demand| self.refusal(demand).is_some())
    }

    /// The same as problems of the file that asks, each with its place there.
    pub(crate) fn report(&self, demands: &[Demand], problems: &Problems) {
        for Refusal { demand, message, help } in self.judge(demands) {
            problems.broken(POLICY, demand.place.unwrap_or(Place { line: 1, column: 1 }), &demand.path, message, help);
        }
    }
}

impl Refusal<'_> {
    /// What is not allowed, where it stands in `file`.
    pub(crate) fn at(&self, file: &str) -> String {
        let place = self.demand.place.map(|place| format!(":{place}")).unwrap_or_default();
        printable(&masked(&format!("{file}{place}: {} ({})", self.message, self.demand.path)))
    }
}
