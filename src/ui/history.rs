//! The history of deployments: a table for each name, and one deployment step by step.

use std::fmt::Write as _;
use std::time::Duration;

use crate::deploy::command::{Command, EventOrCommand};
use crate::deploy::history::{DeploymentRecord, Ended, EventRecord, StepRecord};
use crate::ui::json::change;
use crate::ui::text::utc;
use crate::values::text::{megabytes, seconds, shorten};
use crate::values::types::Name;

/// The deployments of one name, the newest first, each with its number and whether a log of its containers is kept.
pub(crate) struct Listed {
    pub(crate) name: Name,
    pub(crate) deployments: Vec<(u64, DeploymentRecord, bool)>,
    pub(crate) serving: Serving,
    /// The numbers of those whose release is pinned.
    pub(crate) pinned: Vec<u64>,
    /// Whether an event is under way.
    pub(crate) is_locked: bool,
}

/// Which deployment serves.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Serving {
    /// The engine does not answer, or nothing on this host says it.
    NotKnown,
    Nothing,
    Deployment(String),
}

/// The width of a step's bar.
const BAR: usize = 20;

/// What an event is about to be: its result in one word, for a column.
pub(super) fn word(event: Option<&EventRecord>, is_locked: bool) -> &'static str {
    match event.map(|event| &event.ended) {
        Some(Ended::Succeeded) => "succeeded",
        Some(Ended::Failed { .. }) => "failed",
        Some(Ended::NotYet { .. }) if is_locked => "under way",
        Some(Ended::NotYet { .. }) => "killed",
        None => "",
    }
}

pub(crate) fn tables(all: &[Listed], width: usize) -> String {
    let mut out = String::new();
    for name in all {
        if !out.is_empty() {
            out.push('\n');
        }
        table(&mut out, name, width);
    }
    if out.is_empty() { "nothing was deployed\n".to_owned() } else { out }
}

/// The columns of a table, the image apart.
const HEAD: [&str; 7] = ["  ", "WHEN (UTC)", "DEPLOYMENT", "RESULT", "TOOK", "DOWN", "MOVED"];

fn table(out: &mut String, all: &Listed, width: usize) {
    let serves = match &all.serving {
        Serving::NotKnown => "; what runs is not known",
        Serving::Nothing => "; nothing runs",
        Serving::Deployment(_) => "",
    };
    let _ = writeln!(out, "{}{serves}", all.name);
    let rows: Vec<[String; 7]> = all.deployments.iter().map(|(number, record, _)| row(all, *number, record)).collect();
    let widths: [usize; 7] = std::array::from_fn(|column| {
        let texts = rows.iter().map(|row| row[column].chars().count());
        texts.chain([HEAD[column].chars().count()]).max().unwrap_or_default()
    });
    let line = |columns: [&str; 7]| {
        let padded = columns.iter().zip(widths).skip(1).map(|(text, width)| format!("{text:<width$}  "));
        columns[0].to_owned() + &padded.collect::<String>()
    };
    let _ = writeln!(out, "{}IMAGE", line(HEAD));
    for (row, (number, record, _)) in rows.iter().zip(&all.deployments) {
        let line = line(row.each_ref().map(String::as_str));
        let room = width.saturating_sub(line.chars().count()).max(8);
        let _ = writeln!(out, "{}", (line + &image(record, room)).trim_end());
        if all.pinned.contains(number) {
            let _ = writeln!(out, "    pinned");
        }
        if let Some((event, Ended::Failed { cause, .. })) = record.last().map(|last| (last.event, &last.ended)) {
            let _ = writeln!(out, "    {}", shorten(&format!("{event}: {cause}"), width.saturating_sub(4)));
        }
    }
}

fn row(all: &Listed, number: u64, record: &DeploymentRecord) -> [String; 7] {
    let mark = if all.serving_number() == Some(number) { "* " } else { "  " };
    let moved = Some(record.moved()).filter(|bytes| *bytes > 0);
    [
        mark.to_owned(),
        record.events.first().map(|event| short_time(&event.at)).unwrap_or_default(),
        record.label(number),
        word(record.last(), all.is_locked && number == all.newest()).to_owned(),
        milliseconds(record.took_ms()),
        record.down_ms().map(milliseconds).unwrap_or_default(),
        moved.map(megabytes).unwrap_or_default(),
    ]
}

impl Listed {
    pub(super) fn newest(&self) -> u64 {
        self.deployments.iter().map(|(number, _, _)| *number).max().unwrap_or_default()
    }

    /// The number of the record that serves: of a deployment that was repeated, the newest that succeeded.
    pub(super) fn serving_number(&self) -> Option<u64> {
        let Serving::Deployment(serving) = &self.serving else { return None };
        let succeeded = |last: &EventRecord| last.ended == Ended::Succeeded;
        let is_it = |record: &DeploymentRecord| record.deployment == *serving && record.last().is_some_and(succeeded);
        self.deployments.iter().find(|(_, record, _)| is_it(record)).map(|(number, _, _)| *number)
    }
}

/// `web:1.4.2 @01234567`, without the registry's host: the image, and what tells it from any other, where there is room.
fn image(record: &DeploymentRecord, room: usize) -> String {
    if let Some(release) = rolled_back_to(record) {
        // The column DEPLOYMENT says that it is a rollback.
        let fits = [format!("rollback to {release}"), format!("to {release}")];
        let fits = fits.into_iter().find(|text| text.chars().count() <= room);
        return fits.unwrap_or_else(|| shorten(&format!("to {release}"), room));
    }
    let Some(first) = record.images.first() else { return String::new() };
    let more = match record.images.len() {
        1 => String::new(),
        more => format!(" +{}", more - 1),
    };
    let (reference, digest) = first.split_once(" (sha256:").unwrap_or((first, ""));
    let short = reference.rsplit('/').next().unwrap_or(reference);
    let digest = digest.get(..8).map(|digest| format!(" @{digest}")).unwrap_or_default();
    let whole = format!("{short}{digest}{more}");
    if whole.chars().count() <= room { whole } else { shorten(&format!("{short}{more}"), room) }
}

/// `1.4.1`, the image's tag, or `@01234567` where it has none.
fn rolled_back_to(record: &DeploymentRecord) -> Option<String> {
    let is_rollback = |event: &EventRecord| event.event == EventOrCommand::Command(Command::Rollback);
    let image = record.events.first().filter(|first| is_rollback(first)).and(record.images.first())?;
    let (reference, digest) = image.split_once(" (").unwrap_or((image, ""));
    let tag = reference.rsplit('/').next()?.split_once(':').map(|(_, tag)| tag);
    let digest = || Some(format!("@{}", digest.strip_prefix("sha256:")?.get(..8)?));
    tag.map(str::to_owned).or_else(digest)
}

/// `Nov 27 20:31` of an RFC 3339 time.
fn short_time(at: &str) -> String {
    utc(at, "%b %d %H:%M").unwrap_or_default()
}

pub(super) fn milliseconds(ms: u64) -> String {
    match ms {
        0..1000 => format!("{ms} ms"),
        1000..120_000 => seconds(Duration::from_millis(ms)),
        120_000..7_200_000 => format!("{} min", ms / 60_000),
        _ => format!("{} h", ms / 3_600_000),
    }
}

/// Each deployment step by step, and what the console showed of one that failed.
pub(crate) fn timelines(all: &Listed, width: usize) -> String {
    let mut out = String::new();
    for (number, record, has_log) in &all.deployments {
        let label = record.label(*number);
        let is_locked = all.is_locked && *number == all.newest();
        let title = match (rolled_back_to(record), record.is_command()) {
            (Some(release), _) => format!("rollback to {release}"),
            (None, true) => record.deployment.clone(),
            (None, false) => format!("deployment {label}"),
        };
        let _ = writeln!(out, "{}: {title}, {}", all.name, word(record.last(), is_locked));
        if !record.revision.is_empty() {
            let _ = writeln!(out, "  revision  {}", shorten(&record.revision, width.saturating_sub(12)));
        }
        if let Some(by) = record.events.iter().find_map(|event| event.by.as_ref()) {
            let _ = writeln!(out, "  run by    {}", shorten(by, width.saturating_sub(12)));
        }
        for image in &record.images {
            let _ = writeln!(out, "  image     {}", shorten(image, width.saturating_sub(12)));
        }
        if all.pinned.contains(number) {
            let _ = writeln!(out, "  pinned    it is never pruned");
        }
        if *has_log {
            let _ = writeln!(out, "  output    balehook logs {} --deployment {label}", all.name);
        }
        record.events.iter().for_each(|event| timeline(&mut out, event, is_locked, width));
        let failed = record.last().filter(|event| matches!(event.ended, Ended::Failed { .. }));
        if let Some(event) = failed.filter(|event| !event.console.is_empty()) {
            let _ = writeln!(out, "\n  the console at the end of {}", event.event);
            for line in &event.console {
                let _ = writeln!(out, "    {line}");
            }
        }
    }
    out
}

fn timeline(out: &mut String, event: &EventRecord, is_locked: bool, width: usize) {
    let moved = if event.moved > 0 { format!(", {} moved", megabytes(event.moved)) } else { String::new() };
    let down = event.down_ms.map(|ms| format!(", down {}", milliseconds(ms))).unwrap_or_default();
    let code = match &event.ended {
        Ended::Failed { exit_code, .. } => format!(" (exit code {exit_code})"),
        Ended::NotYet { .. } | Ended::Succeeded => String::new(),
    };
    let (time, took, word) =
        (utc(&event.at, "%H:%M:%S").unwrap_or_default(), milliseconds(event.took_ms), word(Some(event), is_locked));
    let _ = writeln!(out, "\n  {time}  {}: {word}{code} after {took}{moved}{down}", event.event);
    for step in &event.steps {
        let mark = match (step.is_undo, step.failed) {
            (_, true) => "failed: ",
            (true, false) => "undo: ",
            (false, false) => "",
        };
        let line = format!("    {:>7}  {}  {mark}{}", milliseconds(step.took_ms), bar(step, event.took_ms), step.step);
        let _ = writeln!(out, "{}", shorten(&line, width));
    }
}

/// When in its event a step ran: `  ━━━━     `.
fn bar(step: &StepRecord, whole: u64) -> String {
    let (whole, width) = (whole.max(1), BAR as u64);
    let begin = (step.after_ms.min(whole) * width / whole).min(width - 1);
    let end = ((step.after_ms + step.took_ms).min(whole) * width).div_ceil(whole).clamp(begin + 1, width);
    (0..width).map(|at| if (begin..end).contains(&at) { '━' } else { '·' }).collect()
}

/// `{format, names: [{name, serving, locked, deployments: [{id, log, …}]}]}`; `serving` is null where nothing runs or it
/// is not known, which `serving_known` tells apart.
pub(crate) fn json(all: &[Listed]) -> serde_json::Value {
    let names = all.iter().map(|all| {
        let deployments = all.deployments.iter().map(|(number, record, has_log)| {
            let mut value = serde_json::json!(record);
            // Of the state's own files.
            let _ = value.as_object_mut().map(|value| value.remove("format"));
            for (event, record) in value["events"].as_array_mut().into_iter().flatten().zip(&record.events) {
                if let Some(changes) = event.pointer_mut("/details/changes") {
                    *changes = record.details.changes.iter().map(change).collect();
                }
            }
            value["id"] = record.label(*number).into();
            value["log"] = (*has_log).into();
            value["pinned"] = all.pinned.contains(number).into();
            value
        });
        let serving = match &all.serving {
            Serving::Deployment(deployment) => Some(deployment),
            Serving::NotKnown | Serving::Nothing => None,
        };
        serde_json::json!({
            "name": all.name.as_str(),
            "serving": serving,
            "serving_known": all.serving != Serving::NotKnown,
            "under_way": all.is_locked,
            "deployments": deployments.collect::<Vec<_>>(),
        })
    });
    serde_json::json!({ "format": crate::ui::json::FORMAT, "names": names.collect::<Vec<_>>() })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::deploy::records_for_tests::{event, record, step};
    use crate::values::types::LifecycleEvent;

    fn failed() -> EventRecord {
        let cause = "web exited with code 3".to_owned();
        let started = event(LifecycleEvent::ApplicationStart, "10:05:00", Ended::Failed { exit_code: 8, cause });
        let check = StepRecord { failed: true, ..step("check health of web: GET /healthz answers 2xx", 700, 500) };
        let undo = StepRecord { is_undo: true, ..step("docker start web", 1300, 100) };
        let steps = vec![step("docker stop --time 5 web", 100, 600), check, undo];
        let console = vec!["balehook: error: web exited with code 3 (exit code 8)".to_owned()];
        EventRecord { steps, console, ..started }
    }

    fn all() -> Listed {
        use LifecycleEvent::{AfterInstall, ApplicationStart};
        let image = ["123456789012.dkr.ecr.eu-west-1.amazonaws.com/shop/web:1.4.2 (sha256:0123456789ab)"];
        let imported = EventRecord { moved: 10_100_000, ..event(AfterInstall, "09:00:00", Ended::Succeeded) };
        let started = event(ApplicationStart, "09:00:10", Ended::Succeeded);
        let good = record("d-A1B2C3D4E", &image, vec![imported, EventRecord { down_ms: Some(840), ..started }]);
        let bad = record("d-BADBADBAD", &["web:1.4.3 (sha256:ab85ca765248)", "db:1", "cache:2"], vec![failed()]);
        let killed = event(ApplicationStart, "11:00:00", Ended::NotYet { pid: 1 });
        let killed = record("manual", &["image.tar"], vec![killed]);
        Listed {
            name: "web".parse().unwrap(),
            deployments: vec![(3, killed, false), (2, bad, true), (1, good, false)],
            serving: Serving::Deployment("d-A1B2C3D4E".into()),
            pinned: Vec::new(),
            is_locked: false,
        }
    }

    #[test]
    fn a_table_names_what_serves_what_failed_and_why_and_what_was_killed_within_80_columns() {
        let wanted = "\
web
  WHEN (UTC)    DEPLOYMENT   RESULT     TOOK  DOWN    MOVED    IMAGE
  Nov 27 11:00  manual.3     killed     2 s                    image.tar
  Nov 27 10:05  d-BADBADBAD  failed     2 s                    web:1.4.3 +2
    ApplicationStart: web exited with code 3
* Nov 27 09:00  d-A1B2C3D4E  succeeded  12 s  840 ms  10.1 MB  web:1.4.2
";
        assert_eq!(tables(&[all()], 80), wanted);
        let wide = tables(&[all()], 200);
        assert!(wide.contains("10.1 MB  web:1.4.2 @01234567\n") && wide.contains("web:1.4.3 @ab85ca76 +2\n"), "{wide}");
        let under_way = tables(&[Listed { is_locked: true, serving: Serving::NotKnown, ..all() }], 80);
        assert!(under_way.starts_with("web; what runs is not known\n"), "{under_way}");
        assert!(under_way.contains("manual.3     under way  ") && !under_way.contains('*'), "{under_way}");
        let nothing = tables(&[Listed { serving: Serving::Nothing, ..all() }], 80);
        assert!(nothing.starts_with("web; nothing runs\n") && !nothing.contains('*'), "{nothing}");
        assert_eq!(tables(&[], 80), "nothing was deployed\n");
    }

    #[test]
    fn one_deployment_is_shown_step_by_step_with_its_console_and_where_its_output_is() {
        let one = all();
        let one = Listed { deployments: one.deployments.into_iter().skip(1).take(1).collect(), ..all() };
        let wanted = "\
web: deployment d-BADBADBAD, failed
  revision  s3://releases/web.zip
  image     web:1.4.3 (sha256:ab85ca765248)
  image     db:1
  image     cache:2
  output    balehook logs web --deployment d-BADBADBAD

  10:05:00  ApplicationStart: failed (exit code 8) after 2 s
     600 ms  ·━━━━━━·············  docker stop --time 5 web
     500 ms  ·······━━━━━········  failed: check health of web: GET /healthz an…
     100 ms  ·············━······  undo: docker start web

  the console at the end of ApplicationStart
    balehook: error: web exited with code 3 (exit code 8)
";
        assert_eq!(timelines(&one, 80), wanted);
    }

    #[test]
    fn commands_stand_among_the_deployments_and_a_rollback_says_to_what() {
        let good = all().deployments.remove(2);
        let stop = event(Command::Stop, "12:00:00", Ended::Succeeded);
        let back = EventRecord {
            by: Some("ana (uid 1000, by sudo)".into()),
            ..event(Command::Rollback, "11:30:00", failed().ended)
        };
        let image = ["shop/web:1.4.2 (sha256:0123456789ab)"];
        let deployments = vec![
            (5, record("stop", &image, vec![stop]), false),
            (4, record("rollback", &image, vec![back.clone()]), true),
            (3, record("rollback", &["web (sha256:0123456789ab)"], vec![back]), false),
            good,
        ];
        let mut listed = Listed { deployments, ..all() };
        let wanted = "\
web
  WHEN (UTC)    DEPLOYMENT   RESULT     TOOK  DOWN    MOVED    IMAGE
  Nov 27 12:00  stop.5       succeeded  2 s                    web:1.4.2
  Nov 27 11:30  rollback.4   failed     2 s                    rollback to 1.4.2
    rollback: web exited with code 3
  Nov 27 11:30  rollback.3   failed     2 s                    to @01234567
    rollback: web exited with code 3
* Nov 27 09:00  d-A1B2C3D4E  succeeded  12 s  840 ms  10.1 MB  web:1.4.2
    pinned
";
        let pinned = Listed { deployments: listed.deployments.clone(), pinned: vec![1], ..all() };
        assert_eq!(tables(&[pinned], 80), wanted);
        listed.deployments = listed.deployments.into_iter().skip(1).take(1).collect();
        let wanted = "\
web: rollback to 1.4.2, failed
  revision  s3://releases/web.zip
  run by    ana (uid 1000, by sudo)
  image     shop/web:1.4.2 (sha256:0123456789ab)
  output    balehook logs web --deployment rollback.4

  11:30:00  rollback: failed (exit code 8) after 2 s
";
        assert_eq!(timelines(&listed, 80), wanted);
        listed.pinned = vec![4];
        let shown = timelines(&listed, 80);
        assert!(shown.contains("  pinned    it is never pruned\n"), "{shown}");
        let json = json(&[listed]);
        assert_eq!(json["names"][0]["deployments"][0]["pinned"], true);
        let event = &json["names"][0]["deployments"][0]["events"][0];
        assert_eq!((&event["event"], &event["by"]), (&"rollback".into(), &"ana (uid 1000, by sudo)".into()));
    }

    #[test]
    fn a_program_reads_what_serves_and_how_each_event_ended() {
        let json = json(&[all()]);
        assert_eq!(
            (&json["names"][0]["serving"], &json["names"][0]["serving_known"]),
            (&"d-A1B2C3D4E".into(), &true.into())
        );
        let bad = &json["names"][0]["deployments"][1];
        assert_eq!((&bad["id"], &bad["log"]), (&"d-BADBADBAD".into(), &true.into()));
        assert_eq!(
            bad["events"][0]["ended"],
            serde_json::json!({"result": "failed", "exit_code": 8, "cause": "web exited with code 3"})
        );
    }
}
