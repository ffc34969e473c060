//! What happened on a host is found afterwards: every deployment, and what the containers of a failed one have said.

use nix::sys::signal::Signal;

use crate::support::images::web;
use crate::support::{Image, Served};

#[test]
fn a_failed_and_a_killed_deployment_stay_in_the_history_with_their_steps_and_the_last_words_of_the_container() {
    let mut served = Served::over("history", "", "health: {http: /healthz, timeout: 3s}");
    let script = "echo cannot find the database, password=hunter2secret; exit 3";
    Image::new(&served.tag(2)).script(script).write_into(&served.bundle.path());
    served.bundle.deployment("d-BROKEN000").hook("ApplicationStart").exits(8);
    web(&served.tag(3), "new").write_into(&served.bundle.path());
    let mut killed = served.bundle.deployment("d-KILLED000").start("ApplicationStart");
    killed.wait_until_said("docker stop");
    killed.signal(Signal::SIGKILL);
    killed.wait();

    let (name, bundle) = (served.name.clone(), &served.bundle);
    let history = bundle.run_bare(&["history", &name]);
    history.exits(0);
    let lines: Vec<&str> = history.stdout.lines().collect();
    assert!(lines[0].starts_with(&name), "{}", history.stdout);
    assert!(lines[2].contains("d-KILLED000") && lines[2].contains("killed"), "{}", history.stdout);
    assert!(lines[3].contains("d-BROKEN000") && lines[3].contains("failed"), "{}", history.stdout);
    assert_eq!(lines[4].trim(), format!("ApplicationStart: {name} exited with code 3"));
    assert!(lines[5].contains("succeeded") && lines[5].contains(&format!("{}  ", "d-TEST00001")), "{}", history.stdout);
    assert_eq!(lines.len(), 6, "{}", history.stdout);

    let one = bundle.run_bare(&["history", &name, "--deployment", "d-BROKEN000"]);
    one.exits(0);
    one.prints("ApplicationStart: failed (exit code 8) after").prints("failed: check health of");
    one.prints("undo: docker start ")
        .prints("balehook: error: ")
        .prints(&format!("balehook logs {name} --deployment d-BROKEN000"));

    let log = bundle.run_bare(&["logs", &name, "--deployment", "d-BROKEN000"]);
    log.exits(0);
    assert!(log.stdout.starts_with("cannot find the database, password=***\n"), "{}", log.stdout);
    assert!(!log.stdout.contains("hunter2secret"));

    let status = bundle.run_bare(&["status", &name, "--exit-code"]);
    status
        .exits(13)
        .prints("  release    ")
        .prints("  left       d-KILLED000 was killed\n")
        .prints("  next       `balehook resume ");

    // It goes on where it was killed, and what serves then is marked.
    served.bundle.deployment("d-TEST00004").hook("ApplicationStart").exits(0);
    served.serves("new");
    let history = served.bundle.run_bare(&["history", &name]);
    let marked: Vec<&str> = history.stdout.lines().filter(|line| line.starts_with('*')).collect();
    assert!(matches!(marked[..], [line] if line.contains("d-TEST00004")), "{}", history.stdout);
    let status = served.bundle.run_bare(&["status", &name, "--exit-code"]);
    status.exits(0).prints(&format!("{name}: healthy\n")).prints(&format!("  release    {name}:3 (sha256:"));
    status.prints("/healthz: 200 OK: ok, in ");
    crate::support::world().docker(&["stop", &name]);
    let status = served.bundle.run_bare(&["status", &name, "--exit-code"]);
    status.exits(8).prints(&format!("{name}: NOT healthy\n"));
    let gone = served.bundle.run_bare(&["logs", &name, "--deployment", "d-TEST00001"]);
    gone.exits(11);
    assert!(gone.stderr.contains("the containers of deployment d-TEST00001 are gone"), "{}", gone.stderr);
    served.bundle.run_bare(&["history", "nobody"]).exits(11);
}

#[test]
fn the_output_of_a_running_container_is_followed_and_its_last_lines_alone_are_printed() {
    let script = "echo one; echo two; echo three; sleep 1; echo four; exec /bin/busybox httpd -f -p 80 -h /www";
    let mut served = Served::over("logs", "", "health: {http: /healthz, timeout: 20s}");
    Image::new(&served.tag(2)).file("www/healthz", "ok").script(script).write_into(&served.bundle.path());
    served.bundle.deployment("d-TEST00002").hook("ApplicationStart").exits(0);

    let printed = served.bundle.run_bare(&["logs", &served.name, "--tail", "2"]);
    printed.exits(0);
    assert_eq!(printed.stdout, "three\nfour\n");
    let mut follows = served.bundle.start_bare(&["logs", &served.name, "--follow"]);
    let lines = follows.wait_until_said("four");
    assert_eq!(lines, ["one", "two", "three", "four"]);
    follows.signal(Signal::SIGTERM);
    follows.wait();
}
