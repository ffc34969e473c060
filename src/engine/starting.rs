//! Whether an engine that accepts connections and answers nothing is still starting: it listens, or systemd does for it, long
//! before it is ready.

use std::fs;
use std::path::Path;
use std::time::Duration;

/// An engine that started longer ago hangs. It may have hundreds of containers to look after first.
const STARTING: Duration = Duration::from_secs(300);

/// The engine's process.
const NAME: &str = "dockerd";

/// Ticks of the kernel's clock in a second, as every process sees them. Source: proc(5), `USER_HZ`.
const TICKS: u64 = 100;

/// systemd, which listens for an engine that is not there yet.
const FIRST: i32 = 1;

/// `listener`: the process that listens on the engine's socket. `proc`: `/proc`.
pub(super) fn is_starting(proc: &Path, listener: i32) -> bool {
    let is_young = |pid: &str| age(proc, pid).is_some_and(|age| age < STARTING);
    let is_engine = |pid: &str| fs::read_to_string(proc.join(pid).join("comm")).is_ok_and(|name| name.trim() == NAME);
    let pid = listener.to_string();
    if listener != FIRST {
        return is_engine(&pid) && is_young(&pid);
    }
    let entries = fs::read_dir(proc).into_iter().flatten().flatten();
    let engines = entries.filter_map(|entry| entry.file_name().into_string().ok()).filter(|pid| is_engine(pid));
    let engines: Vec<String> = engines.collect();
    engines.is_empty() || engines.iter().any(|pid| is_young(pid))
}

/// How long ago a process was started. Source: proc(5), field 22 of `stat`; the name before it may have blanks.
fn age(proc: &Path, pid: &str) -> Option<Duration> {
    let stat = fs::read_to_string(proc.join(pid).join("stat")).ok()?;
    let ticks: u64 = stat.rsplit_once(')')?.1.split_whitespace().nth(19)?.parse().ok()?;
    let uptime: f64 = fs::read_to_string(proc.join("uptime")).ok()?.split_whitespace().next()?.parse().ok()?;
    let uptime = Duration::try_from_secs_f64(uptime).ok()?;
    Some(uptime.saturating_sub(Duration::from_millis(ticks * 1000 / TICKS)))
}

#[cfg(test)]
pub(super) mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// A `/proc` of a host that is up for 1000 s, with processes: PID, name and when they started, in seconds.
    pub(crate) fn proc(processes: &[(&str, &str, u64)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("uptime"), "1000.25 3000.00\n").unwrap();
        for (pid, name, at) in processes {
            fs::create_dir(folder.path().join(pid)).unwrap();
            let fields = "0 ".repeat(18);
            let stat = format!("{pid} (a b) S {fields}{} 0\n", at * TICKS);
            fs::write(folder.path().join(pid).join("stat"), stat).unwrap();
            fs::write(folder.path().join(pid).join("comm"), format!("{name}\n")).unwrap();
        }
        folder
    }

    #[test]
    fn an_engine_starts_where_its_process_is_young_or_systemd_listens_for_one_that_is_not_there_yet() {
        let host = |processes: &[_], listener| is_starting(proc(processes).path(), listener);
        let systemd = ("1", "systemd", 0);
        assert!(host(&[systemd], 1), "it is not there yet");
        assert!(host(&[systemd, ("70", "dockerd", 990)], 1));
        assert!(!host(&[systemd, ("70", "dockerd", 100)], 1), "it hangs");
        assert!(host(&[systemd, ("70", "dockerd", 990)], 70), "it listens itself");
        assert!(!host(&[systemd, ("70", "dockerd", 100)], 70));
        assert!(!host(&[systemd, ("70", "proxy", 990)], 70), "another program listens");
        assert!(!host(&[systemd], 70), "it is gone, or in another namespace");
    }

    #[test]
    fn the_age_of_a_process_is_what_the_kernel_says() {
        let age = age(Path::new("/proc"), "self").unwrap();
        assert!(age < Duration::from_secs(3600), "{age:?}");
    }
}
