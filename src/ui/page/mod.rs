//! One deployment as a page to hand round: whole in itself, without a script, and nothing in it is asked for elsewhere.
//!
//! What others wrote into it (names, steps, logs) is escaped by the template, and what looks like a secret is hidden.

mod parts;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use maud::{DOCTYPE, Markup, PreEscaped, html};
use sha2::{Digest as _, Sha256};

use crate::deploy::history::{DeploymentRecord, Ended, EventRecord};
use crate::ui::history::{Listed, milliseconds, word};
use crate::ui::text::utc;
use crate::values::secret::masked;
use crate::values::text::printable;
use crate::values::types::Name;

const STYLE: &str = include_str!("page.css");

/// When and where the page was made.
pub(crate) struct Made {
    /// RFC 3339.
    pub(crate) at: String,
    pub(crate) host: String,
}

/// A record with what the page says of it beside that.
struct Shown<'a> {
    name: &'a Name,
    record: &'a DeploymentRecord,
    label: String,
    is_locked: bool,
    serves: bool,
    log: Option<Vec<u8>>,
}

/// The page of these deployments; `log` is what the containers of one have said last.
pub(crate) fn page(all: &[Listed], log: impl Fn(&Name, u64) -> Option<Vec<u8>>, made: &Made) -> String {
    let shown: Vec<Shown<'_>> = all.iter().flat_map(|listed| shown(listed, &log)).collect();
    let title = shown.first().map(title).unwrap_or_default();
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta http-equiv="Content-Security-Policy" content=(policy());
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="referrer" content="no-referrer";
                meta name="color-scheme" content="light dark";
                title { (title) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                main {
                    @for one in &shown { (article(one)) }
                    footer { (format!("Written by balehook {} on {}, {}.", env!("CARGO_PKG_VERSION"), made.host, day(&made.at))) }
                }
            }
        }
    };
    page.into_string()
}

/// Nothing is loaded, nothing runs, and only this style applies.
fn policy() -> String {
    let digest = BASE64_STANDARD.encode(Sha256::digest(STYLE));
    format!("default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'")
}

fn shown<'a>(
    listed: &'a Listed,
    log: &'a impl Fn(&Name, u64) -> Option<Vec<u8>>,
) -> impl Iterator<Item = Shown<'a>> + 'a {
    listed.deployments.iter().map(move |(number, record, has_log)| Shown {
        name: &listed.name,
        record,
        label: record.label(*number),
        is_locked: listed.is_locked && *number == listed.newest(),
        serves: listed.serving_number() == Some(*number),
        log: has_log.then(|| log(&listed.name, *number)).flatten(),
    })
}

fn title(one: &Shown<'_>) -> String {
    text(&format!("{}: deployment {}, {}", one.name, one.label, word(one.record.last(), one.is_locked)))
}

fn article(one: &Shown<'_>) -> Markup {
    html! {
        article {
            h1 { (text(&format!("{}: deployment {}", one.name, one.label))) }
            (outcome(one))
            (parts::facts(one))
            (parts::timeline(one))
            (parts::transfer(one.record))
            (parts::health(one.record))
            (parts::changes(one.record))
            (parts::log(one.log.as_deref()))
            (parts::console(one.record))
        }
    }
}

/// The result, and why where it failed.
fn outcome(one: &Shown<'_>) -> Markup {
    let last = one.record.last();
    let class = match last.map(|event| &event.ended) {
        Some(Ended::Succeeded) => "good",
        Some(Ended::NotYet { .. }) if one.is_locked => "wait",
        Some(Ended::Failed { .. } | Ended::NotYet { .. }) | None => "bad",
    };
    let word = word(last, one.is_locked);
    html! {
        p { span class={ "result " (class) } { (word) } (text(&after(last, one.serves))) }
        @if let Some((event, Ended::Failed { cause, exit_code })) = last.map(|event| (event.event, &event.ended)) {
            p class="cause" { (format!("{event}, exit code {exit_code}: ")) (text(cause)) }
        }
    }
}

fn after(last: Option<&EventRecord>, serves: bool) -> String {
    let code = match last.map(|event| &event.ended) {
        Some(Ended::Succeeded) => " with exit code 0",
        Some(Ended::Failed { .. } | Ended::NotYet { .. }) | None => "",
    };
    format!("{code}{}", if serves { "; this deployment serves now" } else { "" })
}

/// Text of others: without control characters and secrets. The template escapes it.
fn text(text: &str) -> String {
    masked(&printable(text))
}

fn lines(all: &[String]) -> String {
    all.iter().map(|line| text(line) + "\n").collect()
}

fn day(at: &str) -> String {
    utc(at, "%Y-%m-%d %H:%M:%S UTC").unwrap_or_default()
}

fn time(ms: u64) -> String {
    milliseconds(ms)
}

#[cfg(test)]
mod tests;
