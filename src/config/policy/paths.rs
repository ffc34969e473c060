//! Paths of the host, as the engine finds them.

use std::ffi::OsString;
use std::path::{Component, Path, PathBuf};

/// As many symbolic links as the kernel follows.
const MOST_LINKS: usize = 40;

/// Without `..`, as the engine itself cleans it; and, as far as it is there on this host, without symbolic links, also ones
/// that lead to what is not there yet.
pub(super) fn resolved(path: &str) -> String {
    let (mut real, mut left) = (PathBuf::from("/"), Vec::new());
    push(&mut left, &clean(Path::new(path)));
    let mut links = 0;
    while let Some(part) = left.pop() {
        if part == ".." {
            real.pop();
            continue;
        }
        let next = real.join(part);
        match std::fs::read_link(&next) {
            // Nobody knows where a ring of links leads.
            Ok(_) if links == MOST_LINKS => return "/".to_owned(),
            Ok(target) => {
                links += 1;
                if target.is_absolute() {
                    real = PathBuf::from("/");
                }
                push(&mut left, &target);
            }
            Err(_) => real = next,
        }
    }
    real.display().to_string()
}

/// The parts of a path, of which the last one pushed comes first.
fn push(left: &mut Vec<OsString>, path: &Path) {
    let parts = path.components().filter(|part| matches!(part, Component::Normal(_) | Component::ParentDir));
    left.extend(parts.map(|part| part.as_os_str().to_owned()).rev());
}

fn clean(path: &Path) -> PathBuf {
    let mut clean = PathBuf::from("/");
    for part in path.components() {
        match part {
            Component::Normal(name) => clean.push(name),
            Component::ParentDir => drop(clean.pop()),
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    clean
}

/// Whether a path is another one or lies below it.
pub(super) fn is_within(path: &str, folder: &str) -> bool {
    Path::new(path).starts_with(folder)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn a_path_is_where_its_links_lead_also_those_to_what_is_not_there_yet() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        std::fs::create_dir_all(root.join("app/deep")).unwrap();
        symlink("/etc", root.join("app/absolute")).unwrap();
        symlink("../other/later", root.join("app/deep/dangling")).unwrap();
        symlink("../..", root.join("app/deep/up")).unwrap();
        symlink("ring", root.join("app/ring")).unwrap();
        let at = |path: &str| resolved(&format!("{}/{path}", root.display()));
        let wanted = |path: &str| format!("{}{path}", root.display());
        assert_eq!(at("app/deep/"), wanted("/app/deep"));
        assert_eq!(at("app/./deep/../x//y"), wanted("/app/x/y"));
        assert_eq!(at("app/absolute/passwd"), "/etc/passwd");
        assert_eq!(at("app/deep/dangling/more"), wanted("/app/other/later/more"));
        assert_eq!(at("app/deep/up/secret"), wanted("/secret"));
        assert_eq!(at("app/deep/up/.."), wanted("/app/deep"), "the engine takes `..` away before the kernel sees it");
        assert_eq!((at("app/ring").as_str(), resolved("/../..").as_str(), resolved("").as_str()), ("/", "/", "/"));
    }

    #[test]
    fn a_path_beside_a_folder_is_not_below_it_although_it_begins_alike() {
        assert!(is_within("/srv/app", "/srv/app") && is_within("/srv/app/x", "/srv/app") && is_within("/x", "/"));
        assert!(!is_within("/srv/application", "/srv/app") && !is_within("/srv", "/srv/app"));
    }
}
