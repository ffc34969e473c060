#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::time::Instant;

use proptest::prelude::*;

use super::*;
use crate::error::Kind;
use crate::poll;

const LONG: Duration = Duration::from_secs(60);
const SHORT: Duration = Duration::from_millis(300);
const MOST: usize = 1000;

fn sh(script: &str) -> Program {
    Program::new("/bin/sh").args(["-c", script]).env("PATH", "/usr/bin:/bin")
}

async fn run(script: &str) -> Ended {
    sh(script).run(LONG, MOST).await.unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// A zombie has ended: the process that inherits it here may not collect it.
fn is_alive(pid: &str) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
    status.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
}

async fn until(what: impl Fn() -> bool) {
    let found = poll::until(LONG, Duration::from_millis(10), async || Ok::<_, ()>(what().then_some(())));
    assert_eq!(found.await, Ok(Some(())), "it never came");
}

#[tokio::test]
async fn a_program_that_is_not_there_says_so_with_what_to_do() {
    let error = Program::new("no-such-program").run(LONG, MOST).await.unwrap_err();
    let failure = error.failure(Kind::Container);
    assert_eq!(failure.message, "no-such-program cannot be started: No such file or directory (os error 2)");
    assert_eq!(failure.next.as_deref(), Some("is it installed, and on the hook's PATH?"));
}

#[tokio::test]
async fn each_reason_why_a_program_cannot_be_started_has_words_of_its_own() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    let next = async |text: &str, mode: u32| {
        let path = folder.path().join(format!("x-{mode:o}-{}", text.len()));
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        Program::new(path).run(LONG, MOST).await.unwrap_err().failure(Kind::Task).next.unwrap()
    };
    assert!(next("no interpreter", 0o755).await.contains("#!/bin/sh"));
    assert!(next("#!/bin/nothing\n", 0o755).await.contains("the interpreter that its first line names"));
    assert!(next("#!/bin/sh\n", 0o644).await.contains("may the hook's user run it"));
    let nowhere = sh("true").folder(folder.path().join("nowhere")).run(LONG, MOST).await.unwrap_err();
    assert!(nowhere.failure(Kind::Task).next.unwrap().contains("the folder"));
    let long = sh("true").args(["x".repeat(4 << 20)]).run(LONG, MOST).await.unwrap_err();
    assert!(long.failure(Kind::Task).next.unwrap().contains("longer than the kernel takes"));
}

#[tokio::test]
async fn a_limit_that_strikes_names_the_program_and_the_time_and_kills_its_whole_group() {
    let folder = tempfile::tempdir().unwrap();
    // Both ignore SIGTERM.
    let script = "trap '' TERM; sh -c 'echo $$ > child; while :; do sleep 0.05; done' & echo $$ > self; wait";
    let error = sh(script).folder(folder.path()).run(SHORT, MOST).await.unwrap_err();
    assert_eq!(error.to_string(), "sh has not answered for 0.3 s");
    for name in ["self", "child"] {
        let pid = std::fs::read_to_string(folder.path().join(name)).unwrap();
        until(|| !is_alive(&pid)).await;
    }
}

#[tokio::test]
async fn a_program_that_is_too_slow_gets_sigterm_first() {
    let folder = tempfile::tempdir().unwrap();
    let script = "trap 'echo cleaned > trace; exit 0' TERM; while :; do sleep 0.05; done";
    sh(script).folder(folder.path()).run(SHORT, MOST).await.unwrap_err();
    assert_eq!(std::fs::read_to_string(folder.path().join("trace")).unwrap(), "cleaned\n");
}

#[tokio::test]
async fn a_program_whose_run_is_dropped_is_killed_with_its_children() {
    let folder = tempfile::tempdir().unwrap();
    let child = folder.path().join("child");
    let written = |path: &Path| std::fs::read_to_string(path).unwrap_or_default();
    {
        let run = sh("sleep 600 & echo $! > child; wait").folder(folder.path()).run(LONG, MOST);
        tokio::select! {
            _ = run => panic!("it ended"),
            () = until(|| written(&child).ends_with('\n')) => {}
        }
    }
    until(|| !is_alive(&written(&child))).await;
}

#[tokio::test]
async fn a_child_that_keeps_the_pipes_open_is_not_waited_for_and_its_parents_last_words_are_heard() {
    let began = Instant::now();
    let ended = run("sleep 600 & printf 'out'; printf 'err' >&2; exit 3").await;
    assert_eq!(
        (ended.status.code(), text(ended.stdout().unwrap()), text(ended.stderr())),
        (Some(3), "out".into(), "err".into())
    );
    assert!(began.elapsed() < LONG);
}

#[tokio::test]
async fn a_child_that_leaves_the_group_and_keeps_writing_does_not_hold_anybody_up() {
    let began = Instant::now();
    // It ends by SIGPIPE once nobody reads.
    let ended = run("setsid sh -c 'while :; do echo more; done' & sleep 0.1; exit 0").await;
    assert!(ended.status.success() && began.elapsed() < LONG);
}

#[tokio::test]
async fn input_is_given_and_closed_and_without_any_there_is_none() {
    let echo = sh("cat").input("of us").run(LONG, MOST).await.unwrap();
    assert_eq!(text(echo.stdout().unwrap()), "of us");
    assert_eq!(run("cat; readlink /proc/self/fd/0").await.stdout().unwrap(), b"/dev/null\n");
}

#[tokio::test]
async fn a_program_that_reads_none_of_a_long_input_or_prints_while_it_reads_does_not_block() {
    let long = vec![b'x'; 4 << 20];
    assert!(sh("exit 0").input(long.clone()).run(LONG, MOST).await.unwrap().status.success());
    let echo = sh("cat; cat >&2").input(long.clone()).run(LONG, long.len()).await.unwrap();
    assert_eq!(echo.stdout().unwrap().len(), long.len());
}

#[tokio::test]
async fn its_environment_is_what_it_is_given() {
    let var = |name: &str, value: Option<&str>| EnvVar {
        name: name.into(),
        value: value.map(crate::values::types::Secret::new),
        hidden: false,
    };
    let program = Program::new("/usr/bin/env").envs([("A", "1"), ("GONE", "2")]).env("C", "3");
    let ended = program.variables(&[var("D", Some("4")), var("GONE", None)]).run(LONG, MOST).await.unwrap();
    let mut lines: Vec<&str> = std::str::from_utf8(ended.stdout().unwrap()).unwrap().lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, ["A=1", "C=3", "D=4"]);
}

#[tokio::test]
async fn output_beyond_the_bound_is_refused_as_a_whole_and_its_size_is_named() {
    let ended = run("head -c 1001 /dev/zero").await;
    let error = ended.stdout().unwrap_err();
    assert_eq!(error.to_string(), "sh printed 1.0 kB, more than the 1.0 kB that are read");
    assert_eq!(run("head -c 1000 /dev/zero").await.stdout().unwrap().len(), 1000);
}

#[tokio::test]
async fn of_standard_error_the_end_is_kept() {
    let ended = run("head -c 100000 /dev/zero >&2; echo why >&2").await;
    assert!(ended.stderr().len() == STDERR && ended.stderr().ends_with(b"\0why\n"));
}

#[tokio::test]
async fn what_a_program_printed_is_not_in_its_debug_output() {
    let ended = run("echo hunter2; echo hunter2 >&2").await;
    assert!(!format!("{ended:?}").contains("hunter2"), "{ended:?}");
    assert_eq!(ended.words(60), "hunter2 hunter2");
}

#[tokio::test]
async fn two_outputs_in_one_pipe_come_in_their_order() {
    let mut running = sh("for n in 1 2 3; do echo out $n; echo err $n >&2; done").start(Pipes::One).unwrap();
    let mut all = Vec::new();
    let mut take = |stream, bytes: &[u8]| {
        assert_eq!(stream, Stream::Stdout);
        all.extend_from_slice(bytes);
    };
    assert!(running.follow(LONG, &mut take).await.unwrap().success());
    assert_eq!(text(&all), "out 1\nerr 1\nout 2\nerr 2\nout 3\nerr 3\n");
}

/// The name of the test below, which runs itself in a process of its own: others would count in its memory.
const MEMORY_TEST: &str = "process::tests::a_gigabyte_of_output_costs_no_more_memory_than_its_bound";

#[tokio::test]
async fn a_gigabyte_of_output_costs_no_more_memory_than_its_bound() {
    const ALONE: &str = "BALEHOOK_TEST_ALONE";
    if std::env::var_os(ALONE).is_none() {
        let program = Program::new(std::env::current_exe().unwrap()).args(["--exact", MEMORY_TEST, "--nocapture"]);
        let ended = program.env(ALONE, "1").run(LONG, 1 << 20).await.unwrap();
        assert!(text(ended.stdout().unwrap()).contains("1 passed"), "{}", ended.words(10_000));
        return;
    }
    let before = peak_kilobytes();
    let ended = run("head -c 1000000000 /dev/zero & head -c 1000000000 /dev/zero >&2; wait").await;
    assert!(ended.status.success());
    assert_eq!(ended.stdout().unwrap_err().to_string(), "sh printed 1.00 GB, more than the 1.0 kB that are read");
    // Of two gigabytes; the first child alone costs 4 MB, mostly code that is read in.
    let grown = peak_kilobytes() - before;
    assert!(grown < 10_000, "{grown} kB more");
}

fn peak_kilobytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

proptest! {
    #[test]
    fn what_is_kept_is_the_first_or_the_last_bytes_in_whatever_portions_they_come(
        bytes in prop::collection::vec(any::<u8>(), 0..200),
        cuts in prop::collection::vec(1usize..40, 0..40),
        most in 0usize..100,
    ) {
        let (mut first, mut last) = (Kept::first(most), Kept::last(most));
        let mut rest = &bytes[..];
        for cut in cuts {
            let (head, tail) = rest.split_at(cut.min(rest.len()));
            first.take(head);
            last.take(head);
            rest = tail;
        }
        first.take(rest);
        last.take(rest);
        let count = most.min(bytes.len());
        prop_assert_eq!(&first.bytes[..], &bytes[..count]);
        prop_assert_eq!(&last.bytes[..], &bytes[bytes.len() - count..]);
    }
}

#[tokio::test]
async fn a_program_that_is_talked_with_answers_as_often_as_it_is_asked_and_ends_with_the_talk() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let (mut talk, _) = sh("echo $$; exec cat").talk().unwrap();
    let mut answer = [0; 64];
    let count = talk.read(&mut answer).await.unwrap();
    let pid = text(&answer[..count]);
    for question in ["one", "two"] {
        talk.write_all(question.as_bytes()).await.unwrap();
        let count = talk.read(&mut answer).await.unwrap();
        assert_eq!(text(&answer[..count]), question);
    }
    assert!(is_alive(&pid));
    drop(talk);
    until(|| !is_alive(&pid)).await;
}

#[tokio::test]
async fn what_a_program_complains_of_is_there_once_it_has_ended_and_nothing_of_one_that_goes_on() {
    let (_talk, complaints) = sh("printf 'no\\033[1m\\nroute\\n' >&2; exit 3").talk().unwrap();
    assert_eq!(complaints.all(LONG, 100).await, "no route");
    let (_talk, complaints) = sh("echo soon >&2; exec cat").talk().unwrap();
    assert_eq!(complaints.all(SHORT, 100).await, "");
}
