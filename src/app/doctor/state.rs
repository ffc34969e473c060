//! The state directory: who may write in it, and what killed deployments left there.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use nix::unistd::{AccessFlags, access};

use crate::app::names_in;
use crate::deploy::journal::Left;
use crate::deploy::state::Store;
use crate::error::Kind;
use crate::folder::Folder;
use crate::modes::operation::Operation;
use crate::modes::release::Release;
use crate::ports;
use crate::ui::doctor::Row;
use crate::values::types::Name;

#[derive(Debug, Default)]
pub(super) struct StateFacts {
    pub(super) folder: PathBuf,
    /// Why it cannot be used; `None` where it can, or is not there yet.
    pub(super) refused: Option<String>,
    pub(super) exists: bool,
    pub(super) names: Vec<NameFacts>,
    /// The kernel was given rules of ours here.
    pub(super) has_switched: bool,
}

#[derive(Debug)]
pub(super) struct NameFacts {
    pub(super) name: Name,
    /// Who deploys it at this moment.
    pub(super) holder: Option<String>,
    /// What was under way, where nobody has finished or undone it.
    pub(super) left: Option<String>,
    /// Records that were damaged and are kept for a person.
    pub(super) damaged: Vec<String>,
    /// Mode of its folder, where it is not 0700.
    pub(super) open_mode: Option<u32>,
    pub(super) newest: Option<Release>,
    /// A person has stopped it.
    pub(super) is_stopped: bool,
}

pub(super) fn observe(state_dir: &Path) -> StateFacts {
    let opened = Folder::open(state_dir);
    let refused = match &opened {
        Ok(folder) => folder.check_owner().err().or_else(|| {
            access(state_dir, AccessFlags::W_OK).err().map(|error| format!("it cannot be written: {}", error.desc()))
        }),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        Err(error) => Some(error.to_string()),
    };
    StateFacts {
        folder: state_dir.to_owned(),
        refused,
        exists: opened.is_ok(),
        names: names_in(state_dir).into_iter().map(|name| of_name(state_dir, name)).collect(),
        has_switched: ports::were_switched(state_dir),
    }
}

fn of_name(state_dir: &Path, name: Name) -> NameFacts {
    let store = Store::new(state_dir, &name);
    let folder = store.folder();
    let entries = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let damaged = entries.filter(|path| path.to_string_lossy().contains(".damaged-"));
    let mode = fs::metadata(folder).ok().map(|meta| meta.mode() & 0o7777);
    let left = folder.join("journal.json").exists().then(|| under_way(store.left().as_ref()));
    NameFacts {
        holder: store.holder(),
        left,
        damaged: damaged.map(|path| path.display().to_string()).collect(),
        open_mode: mode.filter(|mode| *mode != 0o700),
        newest: store.releases().into_iter().next(),
        is_stopped: store.is_stopped(),
        name,
    }
}

fn under_way(left: Option<&Left<Operation>>) -> String {
    match left {
        Some(Left::Plan(left)) => format!("{} of deployment {}", left.journal.event, left.journal.deployment),
        Some(Left::Format1(_)) => "a deployment by an older balehook".into(),
        None => "a deployment whose journal cannot be read".into(),
    }
}

pub(super) fn rows(state: &StateFacts) -> Vec<Row> {
    let mut rows = vec![rights(state)];
    rows.extend(state.names.iter().filter_map(left));
    for name in state.names.iter().filter(|name| name.is_stopped) {
        let found = format!("{0} was stopped by hand and stays so: balehook start {0}", name.name);
        rows.push(Row::ok("stopped", found));
    }
    for name in state.names.iter().filter(|name| !name.damaged.is_empty()) {
        let found = format!("{}: damaged records are kept: {}", name.name, name.damaged.join(", "));
        rows.push(Row::warning("records", found, "look at the disk (dmesg), then remove them"));
    }
    rows
}

fn rights(state: &StateFacts) -> Row {
    let folder = state.folder.display();
    let open: Vec<&NameFacts> = state.names.iter().filter(|name| name.open_mode.is_some()).collect();
    match &state.refused {
        Some(why) => {
            let remedy =
                format!("run it as root; `chown root {folder} && chmod go-w {folder}` where that is not enough");
            Row::problem(Kind::State, "state", format!("{folder} is not used: {why}"), remedy)
        }
        None if !state.exists => Row::ok("state", format!("{folder} is not there yet: the first event makes it")),
        None if !open.is_empty() => {
            let names: Vec<&str> = open.iter().map(|name| name.name.as_str()).collect();
            let found = format!("{folder}: others may look into {}, where passwords are", names.join(", "));
            Row::warning("state", found, "the next event of that name sets mode 0700")
        }
        None => Row::ok("state", format!("{folder}: {}", counted(state.names.len()))),
    }
}

fn counted(names: usize) -> String {
    match names {
        0 => "nothing was deployed here".into(),
        1 => "1 name".into(),
        more => format!("{more} names"),
    }
}

fn left(name: &NameFacts) -> Option<Row> {
    match (&name.holder, &name.left) {
        (Some(holder), _) => Some(Row::ok("leftovers", format!("{}: {holder} is under way", name.name))),
        (None, Some(left)) => {
            let found = format!("{}: {left} was killed, and is neither finished nor undone", name.name);
            Some(Row::problem(Kind::State, "leftovers", found, format!("balehook resume {}", name.name)))
        }
        (None, None) => None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::ui::doctor::text;

    #[test]
    fn a_folder_that_is_not_there_is_well_and_one_that_others_may_write_in_is_a_problem() {
        let all = tempfile::tempdir().unwrap();
        let (missing, open) = (all.path().join("missing"), all.path().join("open"));
        fs::create_dir(&open).unwrap();
        fs::set_permissions(&open, fs::Permissions::from_mode(0o777)).unwrap();
        assert_eq!(
            rows(&observe(&missing)),
            [Row::ok("state", format!("{} is not there yet: the first event makes it", missing.display()))]
        );
        let rows = rows(&observe(&open));
        assert_eq!(rows[0].kind, Some(Kind::State));
        assert!(rows[0].found.ends_with("is not used: others may write in it (mode 0777)"), "{}", rows[0].found);
    }

    #[test]
    fn what_is_under_way_is_no_leftover_and_what_a_kill_left_is_named_with_its_remedy() {
        let name = |holder: Option<&str>| NameFacts {
            name: "web".parse().unwrap(),
            holder: holder.map(str::to_owned),
            left: Some("ApplicationStart of deployment d-1".into()),
            damaged: vec!["/s/web/images.json.damaged-1".into()],
            open_mode: None,
            newest: None,
            is_stopped: false,
        };
        let state = |holder| StateFacts {
            folder: "/s".into(),
            exists: true,
            names: vec![name(holder)],
            ..StateFacts::default()
        };
        assert_eq!(
            text(&rows(&state(None))),
            "\
ok         state: /s: 1 name
problem    leftovers: web: ApplicationStart of deployment d-1 was killed, and is
           neither finished nor undone
           next: balehook resume web
warning    records: web: damaged records are kept: /s/web/images.json.damaged-1
           next: look at the disk (dmesg), then remove them
1 ok, 1 warning, 1 problem
"
        );
        let running = rows(&state(Some("deployment d-1 (ApplicationStart, pid 7)")));
        assert_eq!(running[1], Row::ok("leftovers", "web: deployment d-1 (ApplicationStart, pid 7) is under way"));
    }

    #[test]
    fn a_journal_on_disk_is_found_with_its_lock_free() {
        let all = tempfile::tempdir().unwrap();
        let folder = all.path().join("web");
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("lock"), "").unwrap();
        fs::write(folder.join("journal.json"), "{").unwrap();
        let found = observe(all.path());
        assert_eq!(found.names[0].left.as_deref(), Some("a deployment whose journal cannot be read"));
        assert_eq!(found.names[0].holder, None);
    }
}
