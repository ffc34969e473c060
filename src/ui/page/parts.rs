//! The sections of the page.

use maud::{Markup, html};

use crate::deploy::history::{DeploymentRecord, EventRecord, StepRecord};
use crate::deploy::origin::MANUAL;
use crate::ui::changes;
use crate::ui::history::word;
use crate::ui::page::{Shown, day, lines, text, time};
use crate::values::options::{ChangeKind, OptionChange};
use crate::values::text::megabytes;

/// So many of the last lines of a log are shown.
const LOG_LINES: usize = 300;

/// A section; nothing where its content is empty.
fn section(title: &str, content: &Markup) -> Markup {
    html! { @if !content.0.is_empty() { section { h2 { (title) } (content) } } }
}

pub(super) fn facts(one: &Shown<'_>) -> Markup {
    let record = one.record;
    let first = record.events.first();
    let group = record.events.iter().find_map(|event| event.details.group.as_deref());
    let by = record.events.iter().find_map(|event| event.by.as_deref());
    let by = by.or_else(|| (record.deployment != MANUAL).then_some("the CodeDeploy agent"));
    let down = record.down_ms().map(time);
    let facts = [
        ("began", first.map(|event| day(&event.at))),
        ("took", Some(time(record.took_ms()))),
        ("started by", by.map(str::to_owned)),
        ("deployment group", group.map(str::to_owned)),
        ("revision", Some(record.revision.clone())),
        ("image", Some(record.images.join(", "))),
        ("down", Some(down.unwrap_or_else(|| "not known, or not at all".to_owned()))),
    ];
    html! {
        dl { @for (name, value) in facts { @if let Some(value) = value { dt { (name) } dd { (text(&value)) } } } }
    }
}

pub(super) fn timeline(one: &Shown<'_>) -> Markup {
    let tables = html! { @for event in &one.record.events { (steps(event, one.is_locked)) } };
    section("Timeline", &tables)
}

fn steps(event: &EventRecord, is_locked: bool) -> Markup {
    let (began, word) = (day(&event.at), word(Some(event), is_locked));
    html! {
        h3 { (format!("{}: {word}", event.event)) }
        @if event.steps.is_empty() {
            p class="dim" { (format!("{began}, {}, no steps", time(event.took_ms))) }
        } @else {
            table {
                caption { (format!("{began}, {} in all", time(event.took_ms))) }
                thead { tr { th scope="col" { "Step" } th scope="col" class="time" { "After" } th scope="col" class="time" { "Took" } } }
                tbody { @for step in &event.steps { (row(step, event.took_ms)) } }
            }
        }
    }
}

fn row(step: &StepRecord, whole: u64) -> Markup {
    let (word, color) = match (step.failed, step.is_undo) {
        (true, _) => ("failed: ", "bad"),
        (false, true) => ("undo: ", "wait"),
        (false, false) => ("", ""),
    };
    html! {
        tr {
            td { span class=(color) { (word) } (text(&step.step)) (bar(step, whole)) }
            td class="time" { (time(step.after_ms)) }
            td class="time" { (time(step.took_ms)) }
        }
    }
}

/// When in its event a step ran. The table says the same in numbers.
fn bar(step: &StepRecord, whole: u64) -> Markup {
    let percent = |ms: u64| ms.min(whole) as f64 * 100.0 / whole.max(1) as f64;
    let (begin, width) = (percent(step.after_ms).min(99.5), percent(step.took_ms).max(0.5));
    let class = match (step.failed, step.is_undo) {
        (true, _) => "failed",
        (false, true) => "undo",
        (false, false) => "done",
    };
    html! {
        svg aria-hidden="true" focusable="false" {
            rect class="track" width="100%" height="100%" {}
            rect class=(class) x={ (format!("{begin:.1}")) "%" } width={ (format!("{width:.1}")) "%" } height="100%" {}
        }
    }
}

pub(super) fn transfer(record: &DeploymentRecord) -> Markup {
    let events = record.events.iter().filter(|event| event.moved > 0 || event.details.layers.1 > 0);
    let rows = html! { @for event in events { (transferred(event)) } };
    let table = html! {
        @if !rows.0.is_empty() {
            table {
                thead { tr {
                    th scope="col" { "Event" } th scope="col" class="time" { "Travelled" }
                    th scope="col" class="time" { "Left out" } th scope="col" { "Layers left out" }
                } }
                tbody { (rows) }
            }
        } @else { p { "No byte of an image travelled." } }
    };
    section("Images", &table)
}

fn transferred(event: &EventRecord) -> Markup {
    let (left_out, of) = event.details.layers;
    html! {
        tr {
            td { (event.event.to_string()) }
            td class="time" { (megabytes(event.moved)) }
            // A registry's layers are compared by the engine, which does not say their sizes.
            td class="time" { @if of > 0 { (megabytes(event.details.left_out)) } @else { "not known" } }
            td { @if of > 0 { (format!("{left_out} of {of}")) } @else { "not known" } }
        }
    }
}

pub(super) fn health(record: &DeploymentRecord) -> Markup {
    let asked = record.events.iter().filter(|event| !event.details.health.is_empty());
    let answers = html! {
        @for event in asked {
            h3 { (event.event.to_string()) }
            ul { @for answer in &event.details.health { li { (text(answer)) } } }
        }
    };
    section("Health answers", &answers)
}

pub(super) fn changes(record: &DeploymentRecord) -> Markup {
    // Each event compares anew: the last one that found changes counts.
    let compared = record.events.iter().rev().filter(|event| event.details.compared_with.is_some());
    let changed = compared.clone().find(|event| !event.details.changes.is_empty()).or_else(|| compared.clone().next());
    let table = html! {
        @if let Some(details) = changed.map(|event| &event.details) {
            @if let Some(with) = &details.compared_with { p class="dim" { "Compared with " (text(with)) "." } }
            @if details.changes.is_empty() { p { "No option changed." } } @else {
                table {
                    thead { tr { th scope="col" { "Option" } th scope="col" { "Before" } th scope="col" { "After" } } }
                    tbody { @for change in &details.changes { (change_row(change)) } }
                }
            }
        }
    };
    section("Changed options", &table)
}

fn change_row(change: &OptionChange) -> Markup {
    let service = change.service.as_ref().map(|service| format!("{service}: ")).unwrap_or_default();
    html! {
        tr {
            th scope="row" { (text(&format!("{service}{}", changes::name(change)))) }
            td { (text(&value(change, change.was.as_ref(), ChangeKind::Add))) }
            td { (text(&value(change, change.becomes.as_ref(), ChangeKind::Remove))) }
        }
    }
}

/// A value, or why none is shown; where the kind is `absent` there is none.
fn value(change: &OptionChange, value: Option<&String>, absent: ChangeKind) -> String {
    match value {
        _ if change.kind == absent => "not set".to_owned(),
        Some(value) => value.clone(),
        None if change.is_sensitive => "hidden".to_owned(),
        None => "set".to_owned(),
    }
}

pub(super) fn log(log: Option<&[u8]>) -> Markup {
    let all = log.map(String::from_utf8_lossy).unwrap_or_default();
    let all: Vec<String> = all.lines().map(str::to_owned).collect();
    let last = &all[all.len().saturating_sub(LOG_LINES)..];
    let content = html! {
        @if !last.is_empty() {
            @if last.len() < all.len() { p class="dim" { (format!("The last {} of {} lines.", last.len(), all.len())) } }
            pre { (lines(last)) }
        }
    };
    section("What the containers said last", &content)
}

pub(super) fn console(record: &DeploymentRecord) -> Markup {
    let said = record.events.iter().filter(|event| !event.console.is_empty());
    let content = html! {
        @for event in said { h3 { (event.event.to_string()) } pre { (lines(&event.console)) } }
    };
    section("What the console showed", &content)
}
