//! What `check --fix` may change without asking: it cannot change what a file means to the agents.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use crate::config::appspec::AppSpecText;
use crate::config::problem::Problems;
use crate::config::validate::agent::hooks;
use crate::config::validate::whole;
use crate::config::yaml::{MAX_BYTES, Node};
use crate::inputs;

/// Columns that a tab may stand for.
const WIDTHS: [usize; 3] = [2, 4, 8];

/// One change of a file.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Fix {
    pub(crate) path: PathBuf,
    pub(crate) what: &'static str,
    /// The new content; `None` where only the mode changes.
    pub(crate) content: Option<Vec<u8>>,
    pub(crate) mode: u32,
}

/// The file with spaces in place of the tabs that its lines begin with: where it is not YAML with them, and means one
/// thing alone without, however wide a tab is.
pub(crate) fn tabs(file: &AppSpecText) -> Option<Fix> {
    if Node::parse(&file.text).is_ok() {
        return None;
    }
    let texts = WIDTHS.map(|width| spaced(&file.text, width));
    let read = |text: &String| {
        Node::parse(text).ok()?;
        serde_yaml::from_str::<serde_yaml::Value>(text).ok()
    };
    let good: Vec<_> = texts.iter().filter_map(|text| Some((text, read(text)?))).collect();
    let (text, meaning) = good.first()?;
    let is_one = good.iter().all(|(_, other)| other == meaning);
    let mode = file.path.symlink_metadata().ok().filter(std::fs::Metadata::is_file)?.permissions().mode() & 0o7777;
    let content = Some(text.as_bytes().to_vec());
    is_one.then(|| Fix { path: file.path.clone(), what: "spaces in place of tabs", content, mode })
}

fn spaced(text: &str, width: usize) -> String {
    let line = |line: &str| {
        let blanks = line.len() - line.trim_start_matches([' ', '\t']).len();
        line[..blanks].replace('\t', &" ".repeat(width)) + &line[blanks..]
    };
    text.split_inclusive('\n').map(line).collect()
}

/// The hooks' scripts with LF line ends, and executable.
pub(crate) fn scripts(file: &AppSpecText) -> Vec<Fix> {
    let Ok(root) = Node::parse(&file.text) else { return Vec::new() };
    let problems = Problems::new();
    let root = whole(&root, &problems);
    let named: BTreeSet<String> =
        hooks(&root).filter_map(|(_, entry)| entry.text_of("location").map(|text| text.trim().to_owned())).collect();
    named.iter().flat_map(|location| script(file.bundle_root(), location)).collect()
}

fn script(bundle: &Path, location: &str) -> Option<Fix> {
    let path = bundle.join(location.trim_start_matches('/'));
    // A link may lead out of the bundle, or to a file that others share.
    let meta = path.symlink_metadata().ok().filter(std::fs::Metadata::is_file)?;
    let bytes = inputs::read(&path, Some(bundle), MAX_BYTES as u64).ok()?;
    let mode = meta.permissions().mode() & 0o7777;
    let executable = mode | (mode & 0o444) >> 2;
    let first = bytes.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let has_crlf = first.starts_with(b"#!") && first.ends_with(b"\r") && !bytes.contains(&0);
    let content = has_crlf.then(|| {
        let text: Vec<&[u8]> = bytes.split_inclusive(|byte| *byte == b'\n').collect();
        text.iter()
            .flat_map(|line| line.strip_suffix(b"\r\n").map_or(line.to_vec(), |line| [line, b"\n"].concat()))
            .collect()
    });
    let what = match (&content, executable != mode) {
        (Some(_), false) => "LF in place of CRLF",
        (Some(_), true) => "LF in place of CRLF, and executable",
        (None, true) => "executable",
        (None, false) => return None,
    };
    Some(Fix { path, what, content, mode: executable })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn spaces(text: &str) -> Option<String> {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("appspec.yml"), text).unwrap();
        let fix = tabs(&crate::config::appspec::read(folder.path()).unwrap())?;
        Some(String::from_utf8(fix.content.unwrap()).unwrap())
    }

    #[test]
    fn tabs_become_spaces_where_that_can_mean_one_thing_alone() {
        assert_eq!(spaces("a:\n\tb: 1\n\tc:\n\t\td: 2\n").unwrap(), "a:\n  b: 1\n  c:\n    d: 2\n");
        assert_eq!(spaces("a:\n  b: 1\n\tc: 2\n").unwrap(), "a:\n  b: 1\n  c: 2\n", "another width is no YAML");
        assert_eq!(spaces("a:\n  b:\n\tc: 2\n"), None, "`c` may belong to `a` or to `b`");
        assert_eq!(spaces("a: |\n  x\n  \ty\n"), None, "it is YAML as it is");
        assert_eq!(spaces("a: [\n\tb\n"), None, "it is no YAML without them either");
    }

    #[test]
    fn scripts_get_lf_and_the_right_to_be_started_and_links_are_left_alone() {
        let bundle = tempfile::tempdir().unwrap();
        let all = ["crlf", "plain", "good", "link", "binary"];
        for (name, bytes, mode) in [
            ("crlf", &b"#!/bin/sh\r\necho a\r\n"[..], 0o644),
            ("plain", b"#!/bin/sh\n", 0o600),
            ("good", b"#!/bin/sh\n", 0o755),
            ("binary", b"#!/x\r\n\0", 0o755),
        ] {
            let path = bundle.path().join(name);
            std::fs::write(&path, bytes).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        }
        std::os::unix::fs::symlink("crlf", bundle.path().join("link")).unwrap();
        let entries: String = all.iter().map(|name| format!("{{location: {name}}}, ")).collect();
        let text = format!("hooks: {{AfterInstall: [{entries}]}}");
        let file = AppSpecText { path: bundle.path().join("appspec.yml"), text, had_mark: false };
        let fix = |name: &str, what, content, mode| Fix { path: bundle.path().join(name), what, content, mode };
        assert_eq!(
            scripts(&file),
            [
                fix("crlf", "LF in place of CRLF, and executable", Some(b"#!/bin/sh\necho a\n".to_vec()), 0o755),
                fix("plain", "executable", None, 0o700),
            ]
        );
    }
}
