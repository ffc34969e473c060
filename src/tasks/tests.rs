#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::*;
use crate::config::hook_env::HookEnv;
use crate::poll;
use crate::tasks::command::command;
use crate::tasks::operation::HostCommand;
use crate::values::types::{EnvVar, Secret};

/// A script in a bundle of its own.
struct Script {
    bundle: tempfile::TempDir,
    command: HostCommand,
    env: HookEnv,
}

fn script(text: &str) -> Script {
    let bundle = tempfile::tempdir().unwrap();
    let path = bundle.path().join("run.sh");
    std::fs::write(&path, text).unwrap();
    let words = vec![path.to_string_lossy().into_owned(), "a b".into(), "$x".into()];
    let folder = bundle.path().to_string_lossy().into_owned();
    let env = [("PATH", "/usr/bin:/bin"), ("HOOK", "yes"), ("GONE", "no")];
    let env = HookEnv::from_vars(env.map(|(name, value)| (name.into(), value.into())));
    Script { bundle, command: HostCommand { words, folder, environment: Vec::new() }, env }
}

impl Script {
    pub(crate) async fn run(&self, limit: Duration) -> Result<(), Failure> {
        command(&mut None, "try", &self.command, &self.env, limit).await
    }

    fn file(&self, name: &str) -> Option<String> {
        std::fs::read_to_string(self.bundle.path().join(name)).ok()
    }
}

const LONG: Duration = Duration::from_secs(60);

async fn until(what: impl Fn() -> bool) {
    let found = poll::until(LONG, Duration::from_millis(10), async || Ok::<_, ()>(what().then_some(())));
    assert_eq!(found.await, Ok(Some(())), "it never came");
}

fn is_alive(pid: &str) -> bool {
    // A zombie has ended: the process that inherits it here may not collect it.
    let status = std::fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
    status.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
}

#[tokio::test]
async fn a_command_that_fails_is_reported_with_its_code_and_its_last_lines_in_their_order() {
    let lines = "for n in $(seq 1 30); do echo line $n; echo error $n >&2; done; printf 'no end'; exit 3";
    let failure = script(&format!("#!/bin/sh\n{lines}")).run(LONG).await.unwrap_err();
    assert_eq!((failure.kind, failure.message.as_str()), (Kind::Task, "task try ended with exit code 3"));
    assert_eq!(failure.evidence.len(), LAST_LINES);
    assert_eq!(failure.evidence[17..], ["line 30", "error 30", "no end"]);
    assert!(failure.next.unwrap().contains("its last lines above"));
}

#[tokio::test]
async fn a_command_that_is_killed_by_a_signal_is_reported_with_it() {
    let failure = script("#!/bin/sh\nkill -9 $$").run(LONG).await.unwrap_err();
    assert_eq!(failure.message, "task try was ended by signal 9");
    assert!(failure.next.unwrap().contains("it said nothing"));
}

#[tokio::test]
async fn a_command_that_cannot_be_started_is_reported_with_what_is_missing() {
    let wrong = |text: &str| {
        let text = text.to_owned();
        async move { script(&text).run(LONG).await.unwrap_err() }
    };
    let format = wrong("echo no interpreter").await;
    assert!(format.message.contains("./run.sh 'a b' '$x' cannot be started: "), "{}", format.message);
    assert!(format.next.unwrap().contains("#!/bin/sh"));
    assert!(wrong("#!/bin/nothing\n").await.next.unwrap().contains("interpreter"));
    let mut nothing = script("");
    nothing.command.words = vec!["no-such-program".into()];
    assert!(nothing.run(LONG).await.unwrap_err().next.unwrap().contains("PATH"));
}

#[tokio::test]
async fn a_command_that_takes_too_long_gets_sigterm_first_and_its_children_end_with_it() {
    let text = "#!/bin/sh\ntrap 'echo cleaned > trace; exit 1' TERM\nsleep 600 &\necho $! > child\nwhile :; do sleep 0.05; done";
    let script = script(text);
    let failure = script.run(Duration::from_secs(1)).await.unwrap_err();
    assert_eq!(failure.message, "task try was not done within 1s and was killed");
    assert_eq!(script.file("trace").as_deref(), Some("cleaned\n"));
    let child = script.file("child").unwrap();
    until(|| !is_alive(&child)).await;
}

#[tokio::test]
async fn a_command_that_ignores_sigterm_is_killed() {
    let script = script("#!/bin/sh\ntrap '' TERM\necho $$ > child\nwhile :; do sleep 0.05; done");
    let failure = script.run(Duration::from_secs(1)).await.unwrap_err();
    assert!(failure.message.contains("was killed"), "{failure}");
    let child = script.file("child").unwrap();
    until(|| !is_alive(&child)).await;
}

#[tokio::test]
async fn a_command_whose_run_is_dropped_stays_under_way_until_it_is_ended() {
    let script =
        script("#!/bin/sh\ntrap 'echo cleaned > trace; exit 1' TERM\necho $$ > child\nwhile :; do sleep 0.05; done");
    let mut under_way = None;
    {
        let mut run = std::pin::pin!(command(&mut under_way, "try", &script.command, &script.env, LONG));
        let began = until(|| script.file("child").is_some_and(|text| !text.is_empty()));
        tokio::select! {
            _ = &mut run => panic!("it ended"),
            () = began => {}
        }
    }
    under_way.unwrap().end(&mut Output::new("try")).await;
    assert_eq!(script.file("trace").as_deref(), Some("cleaned\n"));
    let child = script.file("child").unwrap();
    until(|| !is_alive(&child)).await;
}

#[tokio::test]
async fn what_a_command_leaves_running_does_not_hold_the_deployment_up_and_is_ended() {
    let script = script("#!/bin/sh\nsleep 600 &\necho $! > child");
    script.run(LONG).await.unwrap();
    let child = script.file("child").unwrap();
    until(|| !is_alive(&child)).await;
}

#[tokio::test]
async fn a_command_runs_in_the_bundle_with_the_hooks_variables_and_its_own_and_reads_nothing() {
    let mut script = script(
        "#!/bin/sh\ncat > stdin\nfor word; do echo \"<$word>\"; done > trace\nenv | sort >> trace\npwd >> trace",
    );
    let var =
        |name: &str, value: Option<&str>| EnvVar { name: name.into(), value: value.map(Secret::new), hidden: false };
    script.command.environment = vec![var("OWN", Some("x y")), var("GONE", None)];
    script.run(LONG).await.unwrap();
    assert_eq!(script.file("stdin").as_deref(), Some(""));
    let trace = script.file("trace").unwrap();
    let (words, rest) = trace.split_at(trace.find("HOOK").unwrap());
    assert_eq!(words, "<a b>\n<$x>\n");
    let root = script.bundle.path().display();
    assert_eq!(rest, format!("HOOK=yes\nOWN=x y\nPATH=/usr/bin:/bin\nPWD={root}\n{root}\n"));
}

proptest! {
    #[test]
    fn output_is_the_same_in_whatever_portions_it_comes(text in "[a-z\n\u{1b}é]{0,200}", cuts in prop::collection::vec(1usize..20, 0..40)) {
        let mut whole = Output::new("try");
        whole.take(text.as_bytes());
        let mut parts = Output::new("try");
        let mut rest = text.as_bytes();
        for cut in cuts {
            let (head, tail) = rest.split_at(cut.min(rest.len()));
            parts.take(head);
            rest = tail;
        }
        parts.take(rest);
        let whole = whole.last_lines();
        let is_clean = |line: &String| !line.contains(['\n', '\u{1b}']);
        prop_assert!(whole.len() <= LAST_LINES && whole.iter().all(is_clean));
        prop_assert_eq!(whole, parts.last_lines());
    }
}

#[test]
fn an_endless_line_does_not_fill_the_memory() {
    let mut output = Output::new("try");
    (0..100).for_each(|_| output.take(&[b'x'; 10_000]));
    assert!(output.line.len() < LONGEST_LINE);
    assert_eq!(output.last_lines().len(), LAST_LINES);
}
