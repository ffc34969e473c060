//! Secrets as files: where they are, whose they are, where they are not, and what becomes of them.

use std::path::{Path, PathBuf};

use crate::support::images::{Image, web};
use crate::support::machine::Machine;
use crate::support::{Bundle, bundle, world};

const HEALTH: &str = "health: {http: /healthz, timeout: 20s}";

/// Of one test: not that of this machine.
fn memory() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").unwrap()
}

fn service(port: u16, more: &str) -> String {
    format!("image: {{archive: image.tar}}\nports: [\"127.0.0.1:{port}:80\"]\nstop_grace_period: 1s\n{more}")
}

fn image(tag: &str, page: &str) -> Image {
    web(tag, page).file("etc/passwd", "root:x:0:0::/:/\napp:x:1234:4321::/:/\n")
}

fn inside(name: &str, script: &str) -> String {
    world().docker(&["exec", "--user", "0", name, "/bin/busybox", "sh", "-c", script])
}

fn folders(memory: &Path, name: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(memory.join("secrets").join(name)).into_iter().flatten();
    entries.map(|entry| entry.unwrap().path()).collect()
}

#[test]
fn secrets_are_files_of_the_containers_user_in_memory_and_go_with_their_container() {
    let (world, name, memory) = (world(), world().name("secrets"), memory());
    let port = world.port();
    let definitions = format!(
        "{HEALTH}\nvariables: [build.env]\nsecrets: {{key: {{file: conf/key}}, db: {{environment: DB_PASSWORD}}}}\n\
         before: [{{name: migrate, command: [/bin/busybox, sh, -c, 'test \"$(/bin/busybox cat /run/secrets/db)\" = first-password']}}]"
    );
    let options = "user: app\ncap_add: [NET_BIND_SERVICE]\nsysctls: {net.ipv4.ip_unprivileged_port_start: 0}\n\
                   secrets: [db, {source: key, target: /etc/app/key, uid: \"7\", gid: \"8\", mode: \"0440\"}]";
    let mut it = Bundle::container(&name, &service(port, options), &definitions);
    it.env("BALEHOOK_RUN_DIR", memory.path().to_str().unwrap());
    let write = |it: &Bundle, password: &str| {
        std::fs::create_dir_all(it.path().join("conf")).unwrap();
        std::fs::write(it.path().join("conf/key"), b"\x00\xffbinary-key\n").unwrap();
        std::fs::write(it.path().join("build.env"), format!("DB_PASSWORD={password}\n")).unwrap();
    };
    write(&it, "first-password");
    image(&format!("{name}:1"), "one").write_into(&it.path());

    it.hook("ApplicationStart").exits(0).says("] write to memory");

    assert_eq!(inside(&name, "cat /run/secrets/db"), "first-password");
    let stat = "stat -c '%u %g %a' /run/secrets/db /etc/app/key; wc -c < /etc/app/key";
    assert_eq!(inside(&name, stat), "1234 4321 400\n7 8 440\n13");
    assert!(inside(&name, "echo x 2>/dev/null > /run/secrets/db || echo refused").contains("refused"));
    let own = world.docker_may_fail(&["exec", &name, "/bin/busybox", "cat", "/run/secrets/db"]);
    assert_eq!(own.as_deref(), Ok("first-password"), "its own user reads it");
    assert_eq!(folders(memory.path(), &name).len(), 1, "that of the task is gone");
    it.deployment("d-1b").hook("ApplicationStart").exits(0).says("unchanged");

    // Another value is a change of which nothing is shown. A release that fails leaves the old one's.
    let before = folders(memory.path(), &name);
    write(&it, "second-password");
    let plan = it.run(&["plan"]);
    plan.exits(0).prints("secrets");
    assert!(!plan.stdout.contains("password\n") && !plan.stdout.contains("second-password"), "{}", plan.stdout);
    it.deployment("d-2").hook("ApplicationStart").exits(14);
    assert_eq!(folders(memory.path(), &name), before, "the task refused the new password");
    assert_eq!(inside(&name, "cat /run/secrets/db"), "first-password");
    it.appspec(&bundle::appspec(&name, &service(port, options), &definitions.replace("first-", "second-")));
    it.deployment("d-3").hook("ApplicationStart").exits(0);
    assert_eq!(inside(&name, "cat /run/secrets/db"), "second-password");
    let after = folders(memory.path(), &name);
    assert!(after.len() == 1 && after != before, "{after:?}");

    // A rollback has the value of its release, and a restarted host's empty memory is filled first.
    std::fs::remove_dir_all(it.path().join("conf")).unwrap();
    std::fs::remove_file(it.path().join("build.env")).unwrap();
    it.run_bare(&["rollback", &name]).exits(0);
    assert_eq!(inside(&name, "cat /run/secrets/db"), "first-password");
    world.docker(&["kill", &name]);
    std::fs::remove_dir_all(memory.path().join("secrets")).unwrap();
    let refused = world.docker_may_fail(&["start", &name]);
    assert!(refused.is_err(), "an engine never starts it without them: {refused:?}");
    it.run_bare(&["start", &name]).exits(0).says("write to memory");
    assert_eq!(inside(&name, "cat /run/secrets/db; stat -c '%u %g %a' /run/secrets/db"), "first-password1234 4321 400");

    write(&it, "second-password");
    it.hook("ApplicationStop").exits(0).says("remove secrets");
    assert_eq!(folders(memory.path(), &name), Vec::<PathBuf>::new());
}

#[test]
fn a_folder_on_a_disk_an_unknown_user_and_an_unset_variable_are_refused_while_the_old_release_serves() {
    let (world, name, memory) = (world(), world().name("nosecrets"), memory());
    let port = world.port();
    let definitions = format!("{HEALTH}\nsecrets: {{db: {{environment: DB_PASSWORD}}}}");
    let mut it = Bundle::container(&name, &service(port, ""), HEALTH);
    image(&format!("{name}:1"), "one").write_into(&it.path());
    it.hook("ApplicationStart").exits(0);

    it.appspec(&bundle::appspec(&name, &service(port, "secrets: [db]"), &definitions));
    it.hook("ApplicationStart").exits(3).says("neither the hook nor a file of `variables` sets DB_PASSWORD");
    it.env("DB_PASSWORD", "hunter2");
    let disk = world.folder().join("disk");
    std::fs::create_dir_all(&disk).unwrap();
    it.env("BALEHOOK_RUN_DIR", disk.to_str().unwrap());
    let on_disk = it.hook("ApplicationStart");
    on_disk.says("is no tmpfs: a secret would be written to a disk");
    assert_ne!(on_disk.code, Some(0));
    it.env("BALEHOOK_RUN_DIR", memory.path().to_str().unwrap());
    it.appspec(&bundle::appspec(&name, &service(port, "secrets: [db]\nuser: nobody"), &definitions));
    let unknown = it.hook("ApplicationStart");
    unknown.says("/etc/passwd").says("has no user nobody").says("write the user as a number");
    assert_ne!(unknown.code, Some(0));

    assert_eq!(world.get(port, "/").as_deref(), Some("one"));
    assert_eq!(folders(memory.path(), &name), Vec::<PathBuf>::new());
}

#[test]
fn after_a_loss_of_power_the_unit_writes_the_secrets_before_it_starts_the_container() {
    let mut machine = Machine::boot();
    let bundle = machine.file("/srv/secret");
    std::fs::create_dir_all(&bundle).unwrap();
    // The engine tries by itself, too.
    let service =
        "image: {archive: image.tar}\nnetwork_mode: none\nrestart: always\nuser: \"1000\"\nsecrets: [key, made]";
    let definitions = "secrets: {key: {file: key}, made: {command: [cat, /srv/made]}}";
    let text = bundle::appspec("secret", service, &format!("health: {{timeout: 20s}}\n{definitions}"));
    std::fs::write(bundle.join("appspec.yml"), text).unwrap();
    std::fs::write(bundle.join("key"), "planted").unwrap();
    std::fs::write(machine.file("/srv/made"), "fetched").unwrap();
    let script = "trap exit TERM; /bin/busybox cat /run/secrets/key /run/secrets/made || exit 3; while :; do /bin/busybox sleep 1; done";
    Image::new("secret:1").script(script).write_into(&bundle);
    machine.start_hook("/srv/secret", "1").wait().exits(0);
    std::fs::remove_file(bundle.join("key")).unwrap();
    std::fs::write(machine.file("/srv/made"), "rotated").unwrap();

    machine.lose_power();
    machine.power_on();

    let journal = machine.journal("balehook-resume");
    assert_eq!(machine.containers(), "secret running", "{journal}");
    assert!(journal.contains("the secrets of secret are not in memory any more"), "{journal}");
    assert!(journal.contains("secret made has another value than the release had"), "{journal}");
    let read = "docker exec secret /bin/busybox cat /run/secrets/key /run/secrets/made";
    assert_eq!(machine.run(read), "plantedrotated");
    let stat = "docker exec secret /bin/busybox stat -c %u-%a /run/secrets/key";
    assert_eq!(machine.run(stat), "1000-400");
}
