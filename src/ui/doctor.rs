//! What `doctor` found, for a person and for programs.

use std::fmt::Write as _;

use serde::Serialize;

use crate::error::Kind;
use crate::ui::json::FORMAT;

/// Columns of a terminal.
const WIDTH: usize = 80;

/// Where the text begins, behind the level.
const INDENT: usize = 11;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Level {
    Ok,
    /// A deployment succeeds, and something will hurt later.
    Warning,
    /// A deployment would fail, or does not do what it says.
    Problem,
    /// It could not be looked at.
    NotKnown,
}

/// One check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Row {
    pub(crate) check: &'static str,
    pub(crate) level: Level,
    pub(crate) found: String,
    /// What to do.
    pub(crate) remedy: Option<String>,
    /// Which stage of a deployment a problem belongs to.
    pub(crate) kind: Option<Kind>,
}

impl Row {
    pub(crate) fn ok(check: &'static str, found: impl Into<String>) -> Self {
        Self { check, level: Level::Ok, found: found.into(), remedy: None, kind: None }
    }

    pub(crate) fn warning(check: &'static str, found: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { level: Level::Warning, remedy: Some(remedy.into()), ..Self::ok(check, found) }
    }

    pub(crate) fn problem(
        kind: Kind,
        check: &'static str,
        found: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self { level: Level::Problem, kind: Some(kind), ..Self::warning(check, found, remedy) }
    }

    pub(crate) fn not_known(check: &'static str, why: impl Into<String>) -> Self {
        Self { level: Level::NotKnown, ..Self::ok(check, why) }
    }
}

impl Level {
    const ALL: [Self; 4] = [Self::Ok, Self::Warning, Self::Problem, Self::NotKnown];

    const fn words(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Problem => "problem",
            Self::NotKnown => "not known",
        }
    }
}

/// 0, or the exit code of a deployment that the first problem would fail.
pub(crate) fn exit_code(rows: &[Row]) -> u8 {
    rows.iter().find_map(|row| row.kind).map_or(0, Kind::exit_code)
}

pub(crate) fn text(rows: &[Row]) -> String {
    let mut text = String::new();
    for row in rows {
        paragraph(&mut text, row.level.words(), &format!("{}: {}", row.check, row.found));
        if let Some(remedy) = &row.remedy {
            paragraph(&mut text, "", &format!("next: {remedy}"));
        }
    }
    let counts = Level::ALL.map(|level| (level, count(rows, level)));
    let counts = counts.iter().filter(|(_, count)| *count > 0);
    let counts: Vec<String> = counts.map(|(level, count)| counted(*level, *count)).collect();
    let _ = writeln!(text, "{}", counts.join(", "));
    text
}

/// `{format, exit_code, checks: [{check, level, found, remedy, kind}]}`.
pub(crate) fn json(rows: &[Row]) -> serde_json::Value {
    serde_json::json!({ "format": FORMAT, "exit_code": exit_code(rows), "checks": rows })
}

fn count(rows: &[Row], level: Level) -> usize {
    rows.iter().filter(|row| row.level == level).count()
}

fn counted(level: Level, count: usize) -> String {
    let plural = match level {
        Level::Warning | Level::Problem if count > 1 => "s",
        Level::Ok | Level::Warning | Level::Problem | Level::NotKnown => "",
    };
    format!("{count} {}{plural}", level.words())
}

/// Words behind a head, in lines of at most [`WIDTH`] columns; a word that is longer has a line of its own.
fn paragraph(text: &mut String, head: &str, words: &str) {
    let mut line = format!("{head:<INDENT$}");
    let mut is_empty = true;
    for word in words.split_whitespace() {
        if !is_empty && line.chars().count() + 1 + word.chars().count() > WIDTH {
            let _ = writeln!(text, "{}", line.trim_end());
            line = " ".repeat(INDENT);
            is_empty = true;
        }
        line += if is_empty { "" } else { " " };
        line += word;
        is_empty = false;
    }
    let _ = writeln!(text, "{}", line.trim_end());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows() -> Vec<Row> {
        vec![
            Row::ok("engine", "Docker 28.5.2 (API 1.51), overlay2, at unix:///var/run/docker.sock"),
            Row::warning(
                "log rotation",
                "container web writes json-file logs without a limit, and container worker too",
                "set \"log-opts\": {\"max-size\": \"10m\", \"max-file\": \"3\"} in /etc/docker/daemon.json, restart the \
                 engine and deploy again",
            ),
            Row::problem(Kind::State, "leftovers", "web: a deployment was killed", "balehook resume web"),
            Row::problem(Kind::Policy, "policy", format!("/etc/{}", "x".repeat(80)), "correct it"),
            Row::not_known("IMDS", "nothing was heard for 4 s"),
        ]
    }

    #[test]
    fn each_check_is_a_paragraph_of_80_columns_with_its_remedy_and_the_counts_come_last() {
        let x = "x".repeat(80);
        let text = text(&rows());
        assert_eq!(
            text,
            format!(
                "\
ok         engine: Docker 28.5.2 (API 1.51), overlay2, at
           unix:///var/run/docker.sock
warning    log rotation: container web writes json-file logs without a limit,
           and container worker too
           next: set \"log-opts\": {{\"max-size\": \"10m\", \"max-file\": \"3\"}} in
           /etc/docker/daemon.json, restart the engine and deploy again
problem    leftovers: web: a deployment was killed
           next: balehook resume web
problem    policy:
           /etc/{x}
           next: correct it
not known  IMDS: nothing was heard for 4 s
1 ok, 1 warning, 2 problems, 1 not known
"
            )
        );
    }

    #[test]
    fn the_exit_code_is_that_of_the_first_problem_and_warnings_have_none() {
        assert_eq!(exit_code(&rows()), Kind::State.exit_code());
        assert_eq!(exit_code(&rows()[..2]), 0);
        let json = json(&rows());
        assert_eq!((&json["format"], &json["exit_code"]), (&FORMAT.into(), &11.into()));
        let problem = serde_json::json!({"check": "leftovers", "level": "problem", "found": "web: a deployment was killed",
            "remedy": "balehook resume web", "kind": "state"});
        assert_eq!((&json["checks"][2], &json["checks"][4]["level"]), (&problem, &"not-known".into()));
    }
}
