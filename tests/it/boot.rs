//! The units on a machine that boots real systemd, with the real firewalld and ufw.

use std::time::Duration;

use crate::support::bundle::appspec;
use crate::support::images::web;
use crate::support::machine::Machine;

#[test]
fn after_a_loss_of_power_at_any_step_exactly_one_release_is_behind_the_port_as_soon_as_the_unit_ran() {
    let mut machine = Machine::boot();
    machine.release("v1");
    machine.release("old");

    machine.lose_power();
    machine.power_on();

    assert_eq!(machine.answer().as_deref(), Ok("old"), "{}", machine.journal("balehook-resume"));
    assert_eq!(machine.containers(), "web running");
    the_journal_has_the_fields(&machine);
    for (step, version) in [("check health", "first"), ("docker rename", "second"), ("] switch ", "third")] {
        let before = machine.answer().unwrap();
        let mut running = machine.start_release(version);
        running.wait_until_said(step);
        machine.lose_power();
        running.wait();

        machine.power_on();

        let serving =
            machine.answer().unwrap_or_else(|why| panic!("{step}: {why}: {}", machine.journal("balehook-resume")));
        assert!(serving == before || serving == version, "{step}: {serving}");
        assert_eq!(machine.containers(), "web running", "{step}: nothing is left");
    }
    machine.release("next");
    assert_eq!(machine.answer().as_deref(), Ok("next"));
    for line in crate::docs_commands::ON_A_MACHINE {
        let said = machine.run(line);
        let has_entries = !line.contains("-p err") && !line.contains("MESSAGE_ID");
        assert!(!has_entries || said.contains("web"), "{line}: {said}");
    }
}

#[test]
fn an_engine_that_is_restarted_and_rules_that_are_flushed_need_no_hand() {
    let machine = Machine::boot();
    machine.release("v1");
    let rules = machine.rules();

    machine.run("systemctl restart docker");
    // The engine starts our unit, and does not wait for it.
    machine.wait_for("answer after the engine's restart", || machine.answer().as_deref() == Ok("v1"));

    // The unit is running again when the engine is stopped, and waits for an engine that is away.
    machine.run("systemctl restart docker");
    machine.run("systemctl stop docker");
    machine.run("iptables -t nat -F BALEHOOK");
    machine.said(&["systemctl", "start", "balehook-tokens"]);
    // systemd gives up a service that is started three times in a minute.
    machine.run("systemctl reset-failed");
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!(machine.said(&["systemctl", "is-active", "docker"]), "inactive", "an engine that was stopped stays so");
    machine.run("systemctl start docker");
    machine.wait_for("answer after the engine's start", || machine.answer().as_deref() == Ok("v1"));
    assert_eq!(machine.rules(), rules);

    for flush in ["-t nat -F", "-F DOCKER-USER", "-t nat -D PREROUTING -m addrtype --dst-type LOCAL -j BALEHOOK"] {
        machine.run(&format!("iptables {flush}"));
        machine.wait_for("answer after a flush", || machine.answer().as_deref() == Ok("v1"));
    }
    machine.run("docker stop --time 0 web");
    machine.run("iptables -t nat -F BALEHOOK");
    machine.wait_for("rules after a flush", || machine.rules().len() == rules.len());
    assert_eq!(machine.containers(), "web exited", "rules are written, what was stopped is not started");
    machine.run("systemctl start balehook-resume.service");
    assert_eq!(machine.containers(), "web exited", "nor by the unit, which knows that it was stopped by hand");
}

#[test]
fn after_every_reload_and_restart_of_firewalld_the_port_answers_again() {
    let mut machine = Machine::boot();
    machine.run("systemctl enable --quiet --now firewalld");
    // The engine looks for firewalld when it starts, and never again.
    machine.run("systemctl restart docker");
    machine.release("v1");
    machine.lose_power();
    machine.power_on();
    assert_eq!(machine.answer().as_deref(), Ok("v1"), "{}", machine.journal("balehook-resume"));
    let rules = machine.rules();

    for act in [
        "firewall-cmd --reload", "systemctl reload firewalld", "firewall-cmd --complete-reload",
        "systemctl restart firewalld",
    ] {
        // It flushes every table of iptables, ours and the engine's. The engine writes its own anew, and we ours.
        machine.run("iptables -t nat -I BALEHOOK -p tcp --dport 9 -j RETURN -m comment --comment here");
        machine.run(act);
        machine.wait_for("flush", || !machine.run("iptables-save").contains("--comment here"));
        machine.wait_for(act, || machine.answer().as_deref() == Ok("v1") && machine.rules() == rules);
    }
    machine.wait_for("end of the unit", || machine.said(&["systemctl", "is-active", "balehook-ports"]) == "inactive");
    assert_eq!((machine.answer().as_deref(), machine.rules()), (Ok("v1"), rules));
    assert_eq!(machine.said(&["systemctl", "--failed", "--no-legend"]), "");
}

#[test]
fn ufw_leaves_the_rules_of_switched_ports_alone() {
    let mut machine = Machine::boot();
    machine.release("v1");
    let rules = machine.rules();

    for act in ["ufw --force enable", "ufw allow 22/tcp", "ufw reload", "systemctl restart ufw", "ufw --force disable"]
    {
        machine.run(act);
        assert_eq!((machine.answer().as_deref(), machine.rules()), (Ok("v1"), rules.clone()), "{act}");
    }

    machine.run("ufw --force enable");
    machine.run("systemctl enable --quiet ufw");
    machine.lose_power();
    machine.power_on();
    assert!(machine.run("ufw status").contains("Status: active"));
    assert_eq!((machine.answer().as_deref(), machine.rules()), (Ok("v1"), rules));
}

#[test]
fn in_its_sandbox_the_unit_writes_rules_of_the_legacy_variant_too() {
    let mut machine = Machine::boot();
    machine.choose_legacy_iptables();
    machine.release("v1");
    machine.run("systemctl stop docker");
    machine.run("iptables-legacy -t nat -F BALEHOOK");

    machine.run("systemctl start docker");

    machine.wait_for("answer", || machine.answer().as_deref() == Ok("v1"));
    assert_eq!(machine.run("iptables-nft-save"), "", "the other variant has no rule");
}

/// A project with a folder that its container has mounted; `health` is what is asked.
fn project(machine: &Machine, version: &str, health: &str) {
    let bundle = machine.file("/srv/shop");
    std::fs::create_dir_all(bundle.join("app/data")).unwrap();
    let section = "files: [app/compose.yml]\nimages: {web: {archive: image.tar}}";
    let rest = format!("health: {{http: \"http://127.0.0.1:8088/{health}\", timeout: 20s}}");
    let text = appspec("shop", section, &rest).replace("\n  container:\n", "\n  compose:\n");
    std::fs::write(bundle.join("appspec.yml"), text).unwrap();
    let compose =
        "services: {web: {ports: [\"127.0.0.1:8088:80\"], volumes: [\"./data:/data\"], stop_grace_period: 1s}}";
    std::fs::write(bundle.join("app/compose.yml"), compose).unwrap();
    std::fs::write(bundle.join("app/data/page"), version).unwrap();
    web(&format!("shop:{version}"), version).write_into(&bundle);
}

#[test]
fn a_project_whose_folder_is_a_containers_by_now_comes_back_at_boot_by_a_compose_of_roots_own() {
    let mut machine = Machine::boot();
    machine.install_compose();
    project(&machine, "one", "healthz");
    machine.start_hook("/srv/shop", "one").wait().exits(0);
    machine.run("chown 1000:1000 /var/lib/balehook/shop/project/data");
    machine.run("chmod 500 /var/lib/balehook/shop/project/data");
    project(&machine, "two", "none");
    let mut running = machine.start_hook("/srv/shop", "two");
    running.wait_until_said("] check health");
    machine.lose_power();
    running.wait();

    machine.power_on();

    let said = machine.journal("balehook-resume");
    assert_eq!(machine.containers(), "shop-web-1 running", "{said}");
    assert_eq!(machine.run("busybox wget -q -O - http://127.0.0.1:8088/"), "one", "{said}");
    assert_eq!(machine.run("cat /var/lib/balehook/shop/project/data/page"), "one", "{said}");
    assert!(!machine.file("/var/lib/balehook/shop/journal.json").exists(), "{said}");
}

#[test]
fn systemd_finds_no_fault_with_our_units() {
    let machine = Machine::boot();
    let units = ["resume.service", "ports.service", "ports.socket", "tokens.service", "tokens.timer"];
    let paths = units.map(|unit| format!("/usr/lib/systemd/system/balehook-{unit}"));
    // With the target that wants them: what waits for each other in a circle is found only there.
    let args = ["systemd-analyze", "verify", "--man=no", "multi-user.target"].map(str::to_owned);
    let args = [&args[..], &paths].concat();
    let output = machine.command(&args).output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    for service in ["resume", "ports", "tokens"] {
        let name = format!("balehook-{service}.service");
        let exposure = machine.said(&["systemd-analyze", "security", "--no-pager", "--threshold=25", &name]);
        assert!(exposure.contains("OK :-)"), "{exposure}");
    }
}

/// What the boot unit printed stands in the journal with what it is about.
fn the_journal_has_the_fields(machine: &Machine) {
    machine.run("journalctl --sync");
    let printed = machine.said(&["journalctl", "-t", "balehook", "BALEHOOK_NAME=web", "--boot", "--output=json"]);
    let entries = printed.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    let entries: Vec<serde_json::Value> = entries.collect();
    let last =
        entries.iter().rfind(|entry| entry["MESSAGE"] == "web: brought back").unwrap_or_else(|| panic!("{printed}"));
    let fields = ["BALEHOOK_EVENT", "BALEHOOK_DEPLOYMENT", "PRIORITY", "_TRANSPORT"];
    assert_eq!(fields.map(|field| last[field].as_str().unwrap()), ["resume", "d-old", "5", "journal"], "{printed}");
    assert!(last["BALEHOOK_IMAGE"].as_str().unwrap().starts_with("web:old (sha256:"), "{printed}");
}
