//! The units of systemd: which are there, whose they are, and which are enabled.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::error::{Failure, Kind};
use crate::process::{self, Program};

/// Every unit that balehook has.
const UNITS: [&str; 5] = [
    "balehook-resume.service", "balehook-ports.socket", "balehook-ports.service", "balehook-tokens.timer",
    "balehook-tokens.service",
];

/// The one that packages enable themselves, and what is enabled with it.
const PRESET: &str = "balehook-resume.service";
const WITH_PRESET: &str = "balehook-ports.socket";

/// Where an administrator puts units.
const BY_HAND: &str = "/etc/systemd/system";

/// Where packages and `install.sh` put them.
const INSTALLED: [&str; 3] = ["/usr/lib/systemd/system", "/lib/systemd/system", "/usr/local/lib/systemd/system"];

/// What `install.sh` wrote down.
const BY_SCRIPT: [&str; 2] = ["/usr/local/share/balehook/installed", "/usr/share/balehook/installed"];

/// How long a program may take.
const LIMIT: Duration = Duration::from_secs(30);

/// Who put a unit's file there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Owner {
    /// A person, below /etc.
    Person,
    /// A package, or `install.sh`.
    Package,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Unit {
    pub(super) name: String,
    pub(super) path: PathBuf,
    pub(super) owner: Owner,
    pub(super) is_enabled: bool,
}

impl Unit {
    /// Enabled without a person's doing.
    pub(super) fn is_preset(&self) -> bool {
        [PRESET, WITH_PRESET].contains(&self.name.as_str())
    }
}

/// The units that are there, and what removes the program, where a package or a script brought it.
pub(super) async fn observe(path: &OsStr) -> (Vec<Unit>, Option<String>) {
    let mut units = Vec::new();
    for name in UNITS {
        let Some((at, owner)) = place(name) else { continue };
        units.push(Unit { name: name.to_owned(), path: at, owner, is_enabled: is_enabled(name, path).await });
    }
    let owned = INSTALLED[..2].iter().map(|folder| Path::new(folder).join(PRESET)).find(|unit| unit.exists());
    let program = match owned {
        Some(unit) => package(&unit, path).await,
        None => None,
    };
    let script =
        BY_SCRIPT.iter().any(|list| Path::new(list).exists()).then(|| "install.sh --uninstall removes them".to_owned());
    (units, program.or(script))
}

fn place(name: &str) -> Option<(PathBuf, Owner)> {
    let by_hand = Path::new(BY_HAND).join(name);
    // A link is what `systemctl link` or `mask` made.
    if by_hand.symlink_metadata().is_ok_and(|meta| meta.is_file()) {
        return Some((by_hand, Owner::Person));
    }
    let installed = INSTALLED.iter().map(|folder| Path::new(folder).join(name)).find(|at| at.exists());
    installed.map(|at| (at, Owner::Package))
}

/// The command that removes the package which owns a file.
async fn package(unit: &Path, path: &OsStr) -> Option<String> {
    let questions = [
        ("dpkg-query", "--search", "apt-get remove balehook removes them"),
        ("rpm", "-qf", "dnf remove balehook removes them"),
    ];
    for (program, question, answer) in questions {
        let Some(file) = process::find(program, path) else { continue };
        let asked = Program::new(file).args([question]).args([unit]).env("PATH", path).run(LIMIT, 4096).await;
        if asked.is_ok_and(|ended| ended.status.success()) {
            return Some(answer.to_owned());
        }
    }
    None
}

async fn is_enabled(unit: &str, path: &OsStr) -> bool {
    let Some(systemctl) = process::find("systemctl", path) else { return false };
    let asked = Program::new(systemctl).args(["is-enabled", unit]).env("PATH", path).run(LIMIT, 1024).await;
    asked.is_ok_and(|ended| ended.words(80) == "enabled")
}

/// Stops a unit, and starts it at no boot any more.
/// Errors: [`Kind::Unexpected`] with what systemctl said.
pub(super) async fn disable(unit: &str, path: &OsStr) -> Result<(), Failure> {
    let failed = |why: String| Failure::new(Kind::Unexpected, format!("{unit} cannot be disabled: {why}"));
    let systemctl = process::find("systemctl", path).ok_or_else(|| failed("there is no systemctl".into()))?;
    // Without systemd there is nothing to stop.
    let now = Path::new("/run/systemd/system").exists().then_some("--now");
    let args = ["disable"].into_iter().chain(now).chain([unit]);
    let ended = Program::new(systemctl).args(args).env("PATH", path).run(LIMIT, 4096).await;
    match ended.map_err(|error| failed(error.to_string()))? {
        ended if ended.status.success() => Ok(()),
        ended => Err(failed(String::from_utf8_lossy(ended.stderr()).trim().to_owned())),
    }
}
