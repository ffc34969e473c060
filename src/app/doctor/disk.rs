//! Room on the disks where images, state and bundles go.

use std::path::{Path, PathBuf};

use nix::sys::statvfs::statvfs;

use crate::app::doctor::agent::AgentFacts;
use crate::app::doctor::engine::EngineSeen;
use crate::app::doctor::silent;
use crate::app::doctor::state::StateFacts;
use crate::error::Kind;
use crate::ui::doctor::Row;
use crate::values::text::megabytes;

/// With less than this a deployment can hardly write its own records.
const FULL: u64 = 100_000_000;

/// Less than this is little for an image.
const SHORT: u64 = 1_000_000_000;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Disk {
    what: &'static str,
    folder: PathBuf,
    /// Free bytes of all, and free inodes of all; or why they cannot be read.
    room: Result<[u64; 4], String>,
}

/// The folders that matter, each with what it is for.
pub(super) fn folders(
    state: &StateFacts,
    agent: Option<&AgentFacts>,
    engine: &EngineSeen,
) -> Vec<(&'static str, PathBuf)> {
    let mut folders = Vec::new();
    if let (true, Some(root)) =
        (engine.is_local, engine.info.as_ref().ok().and_then(|info| info.docker_root_dir.clone()))
    {
        folders.push(("images", PathBuf::from(root)));
    }
    folders.push(("state", state.folder.clone()));
    folders.extend(agent.filter(|agent| agent.is_installed()).map(|agent| ("bundles", agent.deployment_root.clone())));
    folders
}

pub(super) fn observe(folders: Vec<(&'static str, PathBuf)>) -> Vec<Disk> {
    folders.into_iter().map(|(what, folder)| Disk { what, room: room(&folder), folder }).collect()
}

/// Of the folder, or of the nearest above it that is there.
fn room(folder: &Path) -> Result<[u64; 4], String> {
    let there = folder.ancestors().find(|folder| folder.exists()).unwrap_or(Path::new("/"));
    let disk = statvfs(there).map_err(|error| error.desc().to_owned())?;
    let size = disk.fragment_size();
    Ok([disk.blocks_available() * size, disk.blocks() * size, disk.files_available(), disk.files()])
}

pub(super) fn rows(disks: Option<Vec<Disk>>) -> Vec<Row> {
    disks.map_or_else(|| vec![silent("disk")], |disks| disks.iter().map(row).collect())
}

fn row(disk: &Disk) -> Row {
    let folder = disk.folder.display();
    let [free, all, inodes, all_inodes] = match &disk.room {
        Ok(room) => *room,
        Err(why) => return Row::not_known("disk", format!("{folder} cannot be looked at: {why}")),
    };
    let found = format!("{} of {} are free for {} in {folder}", size(free), size(all), disk.what);
    let remedy = match disk.what {
        "images" => "docker system df; docker image prune; docker builder prune; or enlarge the disk",
        "bundles" => "lower max_revisions in the agent's codedeployagent.yml, or enlarge the disk",
        _ => "enlarge the disk",
    };
    match () {
        () if free < FULL => Row::problem(Kind::State, "disk", found, remedy),
        () if all_inodes > 0 && inodes < all_inodes / 100 => {
            Row::warning("disk", format!("{found}, and {inodes} of {all_inodes} inodes"), remedy)
        }
        () if free < SHORT || free < all / 20 => Row::warning("disk", found, remedy),
        () => Row::ok("disk", found),
    }
}

fn size(bytes: u64) -> String {
    match bytes {
        0..1_000_000_000 => megabytes(bytes),
        _ => format!("{:.1} GB", bytes as f64 / 1e9),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ui::doctor::text;

    #[test]
    fn a_disk_that_is_nearly_full_warns_and_one_without_room_for_records_is_a_problem() {
        let disk = |what, room| Disk { what, folder: "/var/lib".into(), room };
        let disks = vec![
            disk("images", Ok([40_000_000_000, 80_000_000_000, 100, 200])),
            disk("images", Ok([900_000_000, 8_000_000_000, 100, 200])),
            disk("bundles", Ok([2_000_000_000, 80_000_000_000, 100, 200])),
            disk("state", Ok([40_000_000_000, 80_000_000_000, 1, 200])),
            disk("state", Ok([99_000_000, 8_000_000_000, 100, 200])),
            disk("state", Err("Input/output error".into())),
        ];
        assert_eq!(
            text(&rows(Some(disks))),
            "\
ok         disk: 40.0 GB of 80.0 GB are free for images in /var/lib
warning    disk: 900.0 MB of 8.0 GB are free for images in /var/lib
           next: docker system df; docker image prune; docker builder prune; or
           enlarge the disk
warning    disk: 2.0 GB of 80.0 GB are free for bundles in /var/lib
           next: lower max_revisions in the agent's codedeployagent.yml, or
           enlarge the disk
warning    disk: 40.0 GB of 80.0 GB are free for state in /var/lib, and 1 of 200
           inodes
           next: enlarge the disk
problem    disk: 99.0 MB of 8.0 GB are free for state in /var/lib
           next: enlarge the disk
not known  disk: /var/lib cannot be looked at: Input/output error
1 ok, 3 warnings, 1 problem, 1 not known
"
        );
    }
}
