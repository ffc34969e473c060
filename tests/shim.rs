//! `hooks/balehook` under every shell that a host may have as `/bin/sh`.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const SHIM: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/hooks/balehook");
/// Stands for balehook: says how it was called.
const STAND_IN: &str =
    "#!/bin/sh\n[ \"$1\" != --version ] || exit 0\nprintf '%s|' called \"$@\" \"$LIFECYCLE_EVENT\"\nexit 9\n";

/// A bundle whose path holds spaces and a quote.
struct Bundle(tempfile::TempDir);

impl Bundle {
    fn new() -> Self {
        let bundle = Self(tempfile::Builder::new().prefix("my 'app ").tempdir().unwrap());
        std::fs::create_dir_all(bundle.path("hooks")).unwrap();
        std::fs::write(bundle.path("appspec.yml"), "").unwrap();
        std::fs::copy(SHIM, bundle.path("hooks/balehook")).unwrap();
        bundle
    }

    fn path(&self, inside: &str) -> PathBuf {
        self.0.path().join(inside)
    }

    fn program(&self, inside: &str, mode: u32) -> PathBuf {
        let path = self.path(inside);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, STAND_IN).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        path
    }

    /// Runs the shim with a shell, as the agent does.
    fn run(&self, shell: &[&str], event: &str, env: &[(&str, &str)]) -> Output {
        self.command(shell, &self.path("hooks/balehook"), event).envs(env.iter().copied()).output().unwrap()
    }

    fn command(&self, shell: &[&str], shim: &Path, event: &str) -> Command {
        let mut command = Command::new(shell[0]);
        command.args(&shell[1..]).arg(shim).current_dir("/").env_clear();
        command.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").env("LIFECYCLE_EVENT", event);
        command
    }
}

fn shells() -> Vec<Vec<&'static str>> {
    let all = [vec!["/bin/dash"], vec!["/bin/bash"], vec!["/bin/bash", "--posix"], vec!["/bin/busybox", "sh"]];
    all.into_iter().filter(|shell| Path::new(shell[0]).exists()).collect()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn without_balehook_anywhere_every_event_fails_with_what_to_do_but_those_of_the_old_revision() {
    let bundle = Bundle::new();
    for shell in shells() {
        let start = bundle.run(&shell, "ApplicationStart", &[]);
        assert_eq!(start.status.code(), Some(127), "{shell:?}");
        assert!(said(&start).contains("put it into the bundle as bin/balehook"), "{}", said(&start));
        for event in ["ApplicationStop", "BeforeBlockTraffic", "AfterBlockTraffic"] {
            assert_eq!(bundle.run(&shell, event, &[]).status.code(), Some(0), "{shell:?} {event}");
        }
    }
}

#[test]
fn a_program_that_cannot_run_here_is_said_so_and_application_stop_passes() {
    let bundle = Bundle::new();
    let program = bundle.program("bin/balehook", 0o755);
    // Cut short after the header of an ELF file; and a C library that is too old.
    for broken in [&b"\x7fELF\x02\x01\x01\0"[..], b"#!/bin/sh\necho 'version GLIBC_2.34 not found' >&2\nexit 1\n"] {
        std::fs::write(&program, broken).unwrap();
        for shell in shells() {
            let start = bundle.run(&shell, "ApplicationStart", &[]);
            assert_eq!(start.status.code(), Some(127), "{shell:?}: {}", said(&start));
            assert!(said(&start).contains("bin/balehook cannot be run on this"), "{shell:?}: {}", said(&start));
            assert_eq!(bundle.run(&shell, "ApplicationStop", &[]).status.code(), Some(0), "{shell:?}");
        }
    }
}

/// The v1 agent's reader dies of one bad byte at the end of a line: the event then fails whatever the exit code is.
#[test]
fn no_byte_that_is_not_utf_8_leaves_it_whatever_a_program_prints_before_ours() {
    let bundle = Bundle::new();
    let program = bundle.program("bin/balehook", 0o755);
    // The second is an escape that `echo` of dash makes a byte of; the third is cut in the middle of a letter.
    let long = format!("{}é", "x".repeat(299));
    for bytes in [&b"\xff\xfe"[..], br"\0377", long.as_bytes()] {
        std::fs::write(bundle.path("printed"), bytes).unwrap();
        let printed = bundle.path("printed").display().to_string().replace('\'', "'\\''");
        std::fs::write(&program, format!("#!/bin/sh\ncat '{printed}' >&2\nexit 1\n")).unwrap();
        for shell in shells() {
            let stop = bundle.run(&shell, "ApplicationStop", &[]);
            let all = [stop.stdout.as_slice(), &stop.stderr].concat();
            assert!(std::str::from_utf8(&all).is_ok(), "{shell:?} {bytes:?}: {all:?}");
            assert!(said(&stop).contains("bin/balehook cannot be run on this"), "{shell:?}: {}", said(&stop));
            assert_eq!(stop.status.code(), Some(0), "{shell:?}");
        }
    }
}

#[test]
fn a_path_that_is_not_utf_8_is_printed_without_its_bad_bytes() {
    let bundle = Bundle::new();
    let named = bundle.0.path().join(std::ffi::OsStr::from_bytes(b"b\xffale"));
    std::fs::write(&named, "#!/bin/sh\nexit 1\n").unwrap();
    for shell in shells() {
        let mut command = bundle.command(&shell, &bundle.path("hooks/balehook"), "ApplicationStop");
        let stop = command.env("BALEHOOK_BIN", &named).output().unwrap();
        assert!(std::str::from_utf8(&stop.stdout).is_ok_and(|text| text.contains("bale cannot be run")), "{stop:?}");
        assert_eq!((stop.status.code(), stop.stderr.as_slice()), (Some(0), &b""[..]), "{shell:?}");
    }
}

#[test]
fn with_runas_a_program_without_its_x_bit_is_named_and_not_called_missing() {
    const NOBODY: u32 = 65534;
    let bundle = Bundle::new();
    bundle.program("bin/balehook", 0o644);
    std::fs::set_permissions(bundle.0.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    for shell in shells() {
        let mut start = bundle.command(&shell, &bundle.path("hooks/balehook"), "ApplicationStart");
        let start = start.uid(NOBODY).gid(NOBODY).output().unwrap();
        let text = said(&start);
        assert!(
            text.contains("bin/balehook is not executable, and with `runas` this user may not change that"),
            "{text}"
        );
        assert!(!text.contains("not found") && text.contains("no balehook that was found can be run"), "{text}");
        assert_eq!(start.status.code(), Some(127), "{shell:?}");
        let mut stop = bundle.command(&shell, &bundle.path("hooks/balehook"), "ApplicationStop");
        assert_eq!(stop.uid(NOBODY).gid(NOBODY).output().unwrap().status.code(), Some(0), "{shell:?}");
    }
}

#[test]
fn started_by_a_relative_path_it_finds_the_bundle_and_hands_over_the_absolute_one() {
    let bundle = Bundle::new();
    bundle.program("bin/balehook", 0o755);
    let folder = bundle.0.path().canonicalize().unwrap();
    for (from, path) in
        [(".", "hooks/balehook"), (".", "./hooks/balehook"), ("hooks", "balehook"), ("bin", "../hooks/balehook")]
    {
        for shell in shells() {
            let mut command = bundle.command(&shell, Path::new(path), "AfterInstall");
            let output = command.current_dir(bundle.path(from)).output().unwrap();
            let begins = format!("called|hook|{}", folder.display());
            assert!(said(&output).starts_with(&begins), "{shell:?} {from} {path}: {}", said(&output));
            assert_eq!(output.status.code(), Some(9), "{shell:?} {from} {path}");
        }
    }
}

#[test]
fn a_program_for_another_processor_does_not_hide_the_one_that_fits() {
    let bundle = Bundle::new();
    std::fs::write(bundle.program("bin/balehook", 0o755), b"\x7fELF\x02\x01\x01\0").unwrap();
    bundle.program("elsewhere/balehook", 0o755);
    let path = format!("{}:/usr/bin:/bin", bundle.path("elsewhere").display());
    for shell in shells() {
        assert_eq!(bundle.run(&shell, "AfterInstall", &[("PATH", &path)]).status.code(), Some(9), "{shell:?}");
    }
}

#[test]
fn a_copy_of_the_shim_in_the_programs_place_does_not_call_itself_for_ever() {
    let bundle = Bundle::new();
    let copy = bundle.program("bin/balehook", 0o755);
    std::fs::copy(SHIM, copy).unwrap();
    for shell in shells() {
        let output = bundle.run(&shell, "ApplicationStart", &[]);
        assert_eq!(output.status.code(), Some(127), "{shell:?}");
        assert!(said(&output).contains("is the shim, not the program"), "{shell:?}: {}", said(&output));
    }
}

#[test]
fn the_bundles_own_program_is_run_with_the_hooks_path_and_its_exit_code_is_ours() {
    let bundle = Bundle::new();
    bundle.program("bin/balehook", 0o755);
    for shell in shells() {
        let output = bundle.run(&shell, "AfterInstall", &[]);
        let wanted = format!("called|hook|{}|AfterInstall|", bundle.path("hooks/balehook").display());
        assert_eq!((said(&output), output.status.code()), (wanted, Some(9)), "{shell:?}");
    }
}

#[test]
fn a_program_whose_x_bit_the_agent_dropped_is_made_executable() {
    let bundle = Bundle::new();
    let program = bundle.program("bin/balehook", 0o644);
    assert_eq!(bundle.run(&["/bin/dash"], "AfterInstall", &[]).status.code(), Some(9));
    assert_ne!(std::fs::metadata(program).unwrap().permissions().mode() & 0o100, 0);
}

#[test]
fn a_program_on_path_is_found_and_one_that_is_named_goes_first() {
    let bundle = Bundle::new();
    let on_path = bundle.program("elsewhere/balehook", 0o755);
    let path = format!("{}:/usr/bin:/bin", on_path.parent().unwrap().display());
    for shell in shells() {
        assert_eq!(bundle.run(&shell, "AfterInstall", &[("PATH", &path)]).status.code(), Some(9), "{shell:?}");
    }
    let named = bundle.program("named", 0o755);
    std::fs::write(&named, "#!/bin/sh\n[ \"$1\" = --version ] || exit 3\n").unwrap();
    bundle.program("bin/balehook", 0o755);
    let output = bundle.run(&["/bin/dash"], "AfterInstall", &[("BALEHOOK_BIN", named.to_str().unwrap())]);
    assert_eq!(output.status.code(), Some(3));
}

#[test]
fn what_leaks_in_from_the_agents_shell_changes_nothing() {
    let bundle = Bundle::new();
    bundle.program("bin/balehook", 0o755);
    let hostile = [
        ("IFS", "/ao"),
        ("BASH_FUNC_chmod%%", "() { echo hijacked; }"),
        ("BASH_FUNC_uname%%", "() { echo hijacked; }"),
        ("BASH_FUNC_[%%", "() { echo hijacked; }"),
        ("BASH_FUNC_exit%%", "() { echo hijacked; }"),
        ("BASH_FUNC_exec%%", "() { echo hijacked; }"),
        ("BASH_FUNC_unset%%", "() { echo hijacked; }"),
        ("ENV", "/nowhere"),
        ("PPID", "1"),
    ];
    // With `--posix` bash itself gives up at functions named as its special builtins; called as `sh` it does not.
    for shell in shells().iter().filter(|shell| !shell.contains(&"--posix")) {
        let output = bundle.run(shell, "AfterInstall", &hostile);
        assert_eq!(output.status.code(), Some(9), "{shell:?}: {}", said(&output));
        assert!(!said(&output).contains("hijacked"), "{shell:?}");
    }
}

#[test]
fn a_symbolic_link_to_the_shim_serves_too() {
    let bundle = Bundle::new();
    bundle.program("bin/balehook", 0o755);
    std::fs::rename(bundle.path("hooks/balehook"), bundle.path("hooks/real")).unwrap();
    std::os::unix::fs::symlink("real", bundle.path("hooks/balehook")).unwrap();
    assert_eq!(bundle.run(&["/bin/dash"], "AfterInstall", &[]).status.code(), Some(9));
}
