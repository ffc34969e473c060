//! Each kind: what is refused of a container, of a service of a swarm and of a task, and what allows it; and the file itself.
#![allow(clippy::unwrap_used)]

use std::os::unix::fs::{PermissionsExt as _, symlink};

use proptest::prelude::*;

use super::*;
use crate::config::policy::demand::{Demand, Subject};
use crate::config::validate::tests::{GOOD, check, said};

fn file(text: &str) -> AppSpecText {
    AppSpecText { path: "/etc/balehook/policy.yml".into(), text: text.to_owned(), had_mark: false }
}

#[track_caller]
pub(crate) fn policy(text: &str) -> Policy {
    of_text(&file(text)).unwrap_or_else(|problems| panic!("{}", said(&problems)))
}

/// `line:column: message; help` of all that a policy refuses of a file.
fn refused(rules: &str, appspec: &str) -> String {
    let checked = check(appspec);
    let deployment = checked.deployment.unwrap_or_else(|| panic!("{appspec}\n{}", said(&checked.problems)));
    let problems = Problems::new();
    policy(rules).report(&deployment.demands, &problems);
    said(&problems)
}

fn container(option: &str) -> String {
    format!("{GOOD}    {option}\n").replace("    image: host.test/web:1\n    image", "    image")
}

fn swarm(option: &str) -> String {
    container(option).replace("  container:", "  swarm:")
}

fn task(task: &str) -> String {
    format!("{GOOD}  before: [{{name: one, {task}}}]\n")
}

/// What the file asks for, what refuses it and in which words, and what allows it.
#[track_caller]
fn judged(appspec: &str, refusing: &str, wanted: &str, allowing: &[&str]) {
    let key = refusing.split(':').next().unwrap();
    let all = refused(refusing, appspec);
    assert!(all.contains(wanted), "{refusing} of {appspec}:\n{all}");
    assert!(all.contains("/etc/balehook/policy.yml:1:1 ") && all.contains(&format!("`{key}")), "{all}");
    assert!(all.contains("ask who runs this host, or leave it out"), "{all}");
    for rule in allowing {
        assert_eq!(refused(rule, appspec), "", "{rule} of {appspec}");
    }
}

#[test]
fn what_a_container_asks_for_is_refused_with_its_place_and_allowed_by_a_rule_that_covers_it() {
    for (option, refusing, wanted, allowing) in [
        (
            "image: web:1",
            "registries: [ghcr.io]",
            "10:12: error: this host does not allow `web:1`; ",
            &["registries: [docker.io]", "registries: [docker.io/library/web]"][..],
        ),
        (
            "image: h.test:5000/team/web:1",
            "registries: [h.test]",
            "`h.test:5000/team/web:1`",
            &["registries: ['h.test:5000/team/*']"],
        ),
        (
            "image: {reference: 'evil.test/web:1', pull: never}",
            "registries: []",
            "`evil.test/web:1`",
            &["registries: ['evil.test/*']"],
        ),
        (
            "image: {archive: 's3://other/web.tar'}",
            "buckets: [releases, 'other/app/*']",
            "10:12: error: this host does not allow `s3://other/web.tar`",
            &["buckets: [other]", "buckets: ['other/w*']"],
        ),
        ("image: {archive: /opt/web.tar}", "archive_files: false", "`/opt/web.tar`", &["archive_files: true"]),
        (
            "env_file: [a.env, 's3://secrets/web.env']",
            "buckets: [releases]",
            "11:23: error: this host does not allow `s3://secrets/web.env`",
            &["buckets: [secrets/web.env]"],
        ),
        (
            "privileged: true",
            "privileged: false",
            "11:17: error: this host does not allow `privileged: true`",
            &["privileged: true"],
        ),
        ("network_mode: host", "host_namespaces: [pid, ipc]", "`network_mode: host`", &["host_namespaces: [network]"]),
        (
            "networks: [host]",
            "host_namespaces: []",
            "11:16: error: this host does not allow `networks: host`",
            &["host_namespaces: [network]"],
        ),
        ("pid: host", "host_namespaces: [network]", "`pid: host`", &["host_namespaces: [pid]"]),
        ("ipc: host", "host_namespaces: [network]", "`ipc: host`", &["host_namespaces: [ipc]"]),
        ("uts: host", "host_namespaces: [network]", "`uts: host`", &["host_namespaces: [uts]"]),
        ("cgroup: host", "host_namespaces: [network]", "`cgroup: host`", &["host_namespaces: [cgroup]"]),
        ("userns_mode: host", "host_namespaces: [network]", "`userns_mode: host`", &["host_namespaces: [userns]"]),
        (
            "volumes: ['data:/d', '/opt/app:/app:ro']",
            "mounts: [/srv]",
            "11:26: error: this host does not allow `/opt/app`",
            &["mounts: [/opt]", "mounts: [/opt/app]", "mounts: [/]"],
        ),
        ("volumes: ['/opt/app/../../root:/app']", "mounts: [/opt/app]", "(that is `/root`)", &["mounts: [/root]"]),
        (
            "volumes: [{type: bind, source: /opt/app, target: /app, bind: {create_host_path: false}}]",
            "mounts: [/opt/ap]",
            "`/opt/app`",
            &["mounts: [/opt/app/]"],
        ),
        ("volumes: ['/run/docker.sock:/docker.sock']", "mounts: []", "`/run/docker.sock`", &["mounts: [/run]"]),
        (
            "cap_add: [CHOWN, cap_sys_admin]",
            "cap_add: [CHOWN]",
            "11:22: error: this host does not allow `cap_sys_admin`",
            &["cap_add: [chown, CAP_SYS_ADMIN]"],
        ),
        ("cap_add: [ALL]", "cap_add: [SYS_ADMIN]", "`ALL`", &["cap_add: [ALL]"]),
        ("devices: ['/dev/kvm']", "devices: [/dev/fuse]", "`/dev/kvm`", &["devices: [/dev]"]),
        ("gpus: all", "devices: []", "`gpus`", &["devices: [gpus]"]),
        ("device_cgroup_rules: ['a *:* rwm']", "devices: ['c 1:* r']", "`a *:* rwm`", &["devices: ['a *']"]),
        (
            "security_opt: ['apparmor:unconfined']",
            "security_opt: [apparmor=other]",
            "`apparmor:unconfined`",
            &["security_opt: [apparmor=unconfined]"],
        ),
        (
            "security_opt: [seccomp=unconfined]",
            "security_opt: []",
            "`seccomp=unconfined`",
            &["security_opt: ['seccomp=*']"],
        ),
        (
            "security_opt: ['no-new-privileges:false']",
            "security_opt: []",
            "`no-new-privileges:false`",
            &["security_opt: ['no-new-privileges=false']"],
        ),
        ("security_opt: [label=disable]", "security_opt: []", "`label=disable`", &["security_opt: [label=disable]"]),
        (
            "security_opt: [systempaths=unconfined]",
            "security_opt: []",
            "`systempaths=unconfined`",
            &["security_opt: [systempaths=unconfined]"],
        ),
        ("cgroup_parent: /other", "cgroup_parent: [/web]", "`/other`", &["cgroup_parent: [/other]"]),
        ("runtime: runc-debug", "runtime: [runc]", "`runc-debug`", &["runtime: ['runc*']"]),
        (
            "network_mode: 'container:db'",
            "other_containers: false",
            "`network_mode: container:db`",
            &["other_containers: true"],
        ),
        ("pid: 'container:db'", "other_containers: false", "`pid: container:db`", &["other_containers: true"]),
        ("ipc: 'container:db'", "other_containers: false", "`ipc: container:db`", &["other_containers: true"]),
    ] {
        judged(&container(option), refusing, wanted, &[allowing, &["{}"]].concat());
    }
}

#[test]
fn what_a_service_of_a_swarm_asks_for_is_judged_alike() {
    for (option, refusing, wanted, allowing) in [
        (
            "image: web:1",
            "registries: [ghcr.io]",
            "10:12: error: this host does not allow `web:1`",
            "registries: [docker.io]",
        ),
        ("image: {archive: 's3://other/web.tar'}", "buckets: []", "`s3://other/web.tar`", "buckets: [other]"),
        ("image: {archive: /opt/web.tar}", "archive_files: false", "`/opt/web.tar`", "archive_files: true"),
        ("env_file: 's3://secrets/web.env'", "buckets: []", "`s3://secrets/web.env`", "buckets: [secrets]"),
        (
            "networks: [front, host]",
            "host_namespaces: []",
            "11:23: error: this host does not allow `networks: host`",
            "host_namespaces: [network]",
        ),
        ("networks: {host: {}}", "host_namespaces: []", "`networks: host`", "host_namespaces: [network]"),
        ("volumes: ['/opt/app:/app']", "mounts: [/srv]", "`/opt/app`", "mounts: [/opt]"),
        ("volumes: [{type: bind, source: /opt/app, target: /app}]", "mounts: []", "`/opt/app`", "mounts: [/opt]"),
        (
            "secrets: [{source: key, file: /etc/shadow}]",
            "mounts: [/srv]",
            "11:15: error: this host does not allow `/etc/shadow`",
            "mounts: [/etc]",
        ),
        ("configs: [{source: key, file: /etc/hosts}]", "mounts: [/srv]", "`/etc/hosts`", "mounts: [/etc]"),
        (
            "cap_add: [SYS_ADMIN]",
            "cap_add: [CHOWN]",
            "11:15: error: this host does not allow `SYS_ADMIN`",
            "cap_add: [SYS_ADMIN]",
        ),
    ] {
        judged(&swarm(option), refusing, wanted, &[allowing, "{}"]);
    }
    assert_eq!(
        refused("mounts: []", &swarm("configs: [{source: key, file: hooks/balehook}]")),
        "",
        "it comes with the revision"
    );
}

#[test]
fn what_a_task_asks_for_is_judged_with_its_place() {
    for (options, refusing, wanted, allowing) in [
        (
            "run: [touch, /x]",
            "host_tasks: false",
            "11:30: error: this host does not allow `run: touch`",
            "host_tasks: true",
        ),
        ("run: hooks/balehook", "host_tasks: false", "`run: hooks/balehook`", "host_tasks: true"),
        (
            "image: evil.test/tool:1",
            "registries: [host.test]",
            "11:31: error: this host does not allow `evil.test/tool:1`",
            "registries: [host.test, evil.test]",
        ),
        ("image: {archive: 's3://other/t.tar'}", "buckets: []", "`s3://other/t.tar`", "buckets: [other]"),
    ] {
        judged(&task(options), refusing, wanted, &[allowing, "{}"]);
    }
}

#[test]
fn what_a_project_says_of_its_images_is_judged_before_compose_is_asked() {
    let images = "images: {db: {archive: 's3://other/db.tar'}, web: evil.test/web:1}";
    let text = GOOD.replace("  container:\n    image: host.test/web:1\n", "");
    let text = format!("{text}  compose:\n    files: [hooks/balehook]\n    {images}\n");
    let all = refused("buckets: [releases]\nregistries: [host.test]", &text);
    assert_eq!(
        all,
        "11:18: error: this host does not allow `s3://other/db.tar`; /etc/balehook/policy.yml:1:1 allows for `buckets`: releases: ask who runs this host, or leave it out\n\
         11:55: error: this host does not allow `evil.test/web:1`; /etc/balehook/policy.yml:2:1 allows for `registries`: host.test: ask who runs this host, or leave it out\n"
    );
}

#[test]
fn what_secrets_and_a_project_fetch_is_judged_where_it_is_written() {
    for (source, refusing, wanted, allowing) in [
        ("{s3: 's3://other/db'}", "buckets: [releases]", "`s3://other/db`", "buckets: [other]"),
        ("{command: [vault, read, a]}", "host_tasks: false", "`command vault`", "host_tasks: true"),
    ] {
        let section = format!("secrets: [db]\n  secrets: {{db: {source}}}");
        judged(
            &container(&section),
            refusing,
            &format!("12:17: error: this host does not allow {wanted}"),
            &[allowing],
        );
        judged(&swarm(&section), refusing, &format!("12:17: error: this host does not allow {wanted}"), &[allowing]);
        let text = GOOD.replace("  container:\n    image: host.test/web:1\n", "");
        let text = format!("{text}  compose:\n    files: [hooks/balehook]\n    environment: {{DB: {source}}}\n");
        judged(&text, refusing, wanted, &[allowing]);
    }
}

#[test]
fn everything_that_is_not_allowed_is_said_at_once_after_variables_are_filled_in() {
    let text = GOOD.replace(
        "host.test/web:1",
        "${EVIL:-evil.test}/web:1\n    privileged: true\n    cap_add: [NET_ADMIN, SYS_TIME]",
    );
    let rules = "registries: [host.test]\nprivileged: false\ncap_add: [NET_ADMIN]\nmounts: []\n";
    let all = refused(rules, &text);
    assert_eq!(all.lines().count(), 3, "{all}");
    for said in [
        "10:12: error: this host does not allow `evil.test/web:1`",
        "11:17:",
        "12:26: error: this host does not allow `SYS_TIME`",
        "policy.yml:2:1 says `privileged: false`",
    ] {
        assert!(all.contains(said), "{said}:\n{all}");
    }
}

#[test]
fn what_takes_rights_away_or_stays_in_the_engine_needs_no_permission() {
    let none: String = Subject::ALL
        .map(|subject| format!("{}: {}\n", subject.key(), if is_switch(subject) { "false" } else { "[]" }))
        .concat();
    // An image that nobody verifies does ask for something.
    let none = none.replace("registries: []", "registries: [host.test]").replace("image_verification: []\n", "");
    let none = none.replace("image_scan: []\n", "");
    for option in [
        "volumes: ['data:/data', '/anonymous']",
        "security_opt: ['no-new-privileges:true', no-new-privileges]",
        "cap_drop: [ALL]",
        "network_mode: bridge",
        "networks: [front]",
        "ipc: private",
        "cgroup: private",
        "privileged: false",
        "tmpfs: [/run]",
    ] {
        assert_eq!(refused(&none, &container(option)), "", "{option}");
    }
    assert_eq!(refused(&none, &task("command: [bin/migrate]")), "");
}

fn is_switch(subject: Subject) -> bool {
    matches!(subject, Subject::ArchiveFile | Subject::Privileged | Subject::OtherContainer | Subject::HostTask)
}

#[test]
fn a_link_is_what_it_leads_to_in_the_policy_and_in_what_is_asked() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().canonicalize().unwrap();
    std::fs::create_dir(root.join("app")).unwrap();
    symlink("/etc", root.join("app/out")).unwrap();
    symlink(root.join("app"), root.join("link")).unwrap();
    let root = root.display();
    let mount = |path: &str| container(&format!("volumes: ['{root}/{path}:/app']"));
    let rule = |path: &str| format!("mounts: ['{root}/{path}']");
    assert!(refused(&rule("app"), &mount("app/out")).contains("/app/out` (that is `/etc`)"));
    assert_eq!(refused(&rule("app"), &mount("link/deep")), "");
    assert_eq!(refused(&rule("link"), &mount("app/deep")), "");
}

#[test]
fn a_volume_of_the_local_driver_is_a_mount_where_it_leads_to_the_host() {
    let of = |options: &[(&str, &str)]| {
        let all = Demand::of_volume(None, options);
        all.into_iter().map(|demand| (demand.subject, demand.value)).collect::<Vec<_>>()
    };
    let mount = |path: &str| (Subject::Mount, path.to_owned());
    assert_eq!(of(&[("type", "none"), ("o", "bind"), ("device", "/srv/x")]), [mount("/srv/x")]);
    assert_eq!(
        of(&[("type", "tmpfs"), ("o", "ro,rbind"), ("device", "srv/x")]),
        [mount("/srv/x")],
        "the kernel ignores the type"
    );
    assert_eq!(of(&[("type", "ext4"), ("device", "/dev/none1")]), [mount("/dev/none1")]);
    let overlay = [("type", "overlay"), ("device", "overlay"), ("o", "lowerdir=/a:/b,upperdir=/c")];
    assert_eq!(of(&overlay), ["/overlay", "/a", "/b", "/c"].map(mount));
    assert_eq!(of(&[("type", "nfs"), ("o", "addr=10.0.0.1,rw"), ("device", ":/export")]), []);
    assert_eq!(of(&[("type", "tmpfs"), ("o", "size=1m"), ("device", "tmpfs")]), []);
    assert_eq!(of(&[]), []);
    assert_eq!(Demand::of_volume(Some("rexray"), &[])[0].subject, Subject::VolumeDriver);
}

#[test]
fn a_policy_that_is_wrong_is_refused_with_every_problem_and_its_place() {
    let wrong = "registries: [nginx, 'web:1', host.test/web:1, 'ghcr.io/te*']\nbuckets: ['s3://a/b', 'a*', '*']\nprivileged: no\n\
        cap_ad: [CHOWN]\nmounts: [srv, '/srv/*']\nhost_namespaces: [net]\ndevices:\nruntime: runc\ncap_add: [[A]]\nruntime: [a]\n";
    let all = said(&of_text(&file(wrong)).unwrap_err());
    for wanted in [
        "1:14: error: `nginx` is no registry: write `docker.io`, or `docker.io/library/nginx`",
        "1:30: error: `host.test/web:1` names one image: leave the tag and the digest out",
        "1:47: error: `ghcr.io/te*` ",
        "2:11: error: `s3://a/b` is no bucket: write `name`, `name/prefix*` or `name/key`",
        "2:23: error: `a*` is no bucket: write",
        "2:29: error: `*` ",
        "3:13: error: expected `true` or `false`, not `no`",
        "4:1: error: unknown key `cap_ad`; did you mean `cap_add`?",
        "5:10: error: `srv` is no absolute path: write `/srv/app`",
        "5:15: error: `/srv/*` is no absolute path",
        "6:19: error: `net` is not known; write one of network, pid, ipc, uts, cgroup, userns",
        "7:8: error: expected a list, not nothing",
        "8:10: error: expected a list, not `runc`",
        "9:11: error: expected a string, not a list",
        "10:1: error: `runtime` stands here a second time",
    ] {
        assert!(all.contains(wanted), "{wanted}:\n{all}");
    }
    for text in [
        "", "# nothing", "[]", "privileged: *a", "mounts: ['']", "a: b\n---\n", "{", "registries: ['*']",
        "registries: ['*/x']",
    ] {
        assert!(of_text(&file(text)).is_err(), "{text}");
    }
}

#[test]
fn a_registry_is_itself_and_no_other_that_begins_or_ends_alike() {
    let covers = |rule: &str, image: &str| {
        let reference = image.parse().unwrap();
        policy(&format!("registries: ['{rule}']")).judge(&[Demand::of_reference(&reference)]).is_empty()
    };
    for (rule, image) in [
        ("ghcr.io", "ghcr.io/a/b:1"),
        ("GHCR.io/*", "Ghcr.io/a"),
        ("docker.io", "nginx"),
        ("docker.io/nginx", "library/nginx:1"),
        ("team/*", "docker.io/team/web"),
        ("docker.io/library/*", "index.docker.io/nginx"),
        ("localhost:5000", "localhost:5000/web"),
        (
            "1.dkr.ecr.eu-west-1.amazonaws.com/team/*",
            "1.dkr.ecr.eu-west-1.amazonaws.com/team/a/b@sha256:1111111111111111111111111111111111111111111111111111111111111111",
        ),
    ] {
        assert!(covers(rule, image), "{rule} {image}");
    }
    for (rule, image) in [
        ("ghcr.io", "ghcr.io.evil.test/a"),
        ("ghcr.io", "ghcr.io:444/a"),
        ("ghcr.io", "evil.test/ghcr.io/a"),
        ("ghcr.io/team/*", "ghcr.io/teams/a"),
        ("ghcr.io/team/*", "ghcr.io/team"),
        ("ghcr.io/team", "ghcr.io/team/a"),
        ("docker.io/library/*", "team/nginx"),
        ("team/*", "ghcr.io/team/web"),
    ] {
        assert!(!covers(rule, image), "{rule} {image}");
    }
}

#[test]
fn an_object_is_of_its_bucket_and_prefix_and_of_no_other() {
    let covers = |rule: &str, uri: &str| {
        policy(&format!("buckets: ['{rule}']")).judge(&[Demand::of_object(&uri.parse().unwrap())]).is_empty()
    };
    let access_point = "arn:aws:s3:eu-west-1:1:accesspoint/web";
    assert!(covers("releases", "s3://releases/a/b?versionId=1") && covers("releases/web-*", "s3://releases/web-1.tar"));
    assert!(covers(access_point, &format!("s3://{access_point}/k")) && covers("releases/a", "s3://releases/a"));
    assert!(!covers("releases", "s3://releases-evil/a") && !covers("releases/web/*", "s3://releases/web/../x"));
    assert!(
        !covers(access_point, "s3://arn:aws:s3:eu-west-1:2:accesspoint/web/k")
            && !covers("releases/a", "s3://releases/ab")
    );
}

/// What reading a file ends with.
fn ends(path: &Path) -> String {
    match read(path, false) {
        Ok(None) => "no policy".into(),
        Ok(Some(_)) => "a policy".into(),
        Err(Unusable::File(why, next)) => format!("{why}; {next}"),
        Err(Unusable::Wrong(_, problems)) => said(&problems),
    }
}

#[test]
fn a_policy_that_others_could_have_written_is_not_believed_and_nothing_is_deployed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("policy.yml");
    assert_eq!(ends(&path), "no policy");
    assert!(matches!(read(&path, true), Err(Unusable::File(..))), "one that was named must be there");
    std::fs::write(&path, "privileged: false").unwrap();
    let mode = |mode| std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
    for (bits, said) in [(0o644, None), (0o664, Some("mode 664")), (0o646, Some("mode 646")), (0o600, None)] {
        mode(bits);
        let wanted = said.map_or("a policy".to_owned(), |said| {
            format!("cannot be used, so nothing is deployed: others may write it ({said}); as root: `chown root")
        });
        assert!(ends(&path).contains(&wanted), "{}", ends(&path));
    }
    symlink(&path, folder.path().join("link")).unwrap();
    symlink("nowhere", folder.path().join("dangling")).unwrap();
    for link in ["link", "dangling"] {
        assert!(ends(&folder.path().join(link)).contains("it is a symbolic link"), "{link}");
    }
    assert!(
        ends(folder.path()).contains("it is not a file") && ends(Path::new("/dev/null")).contains("it is not a file")
    );
    nix::unistd::mkfifo(&folder.path().join("pipe"), nix::sys::stat::Mode::S_IRUSR).unwrap();
    assert!(ends(&folder.path().join("pipe")).contains("it is not a file"));
    assert!(ends(&path.join("inside")).contains("Not a directory"), "that is no missing file");
    std::fs::write(&path, vec![b'#'; 64 * 1024 + 1]).unwrap();
    assert!(ends(&path).contains("more than 65536 bytes"));
    std::fs::write(&path, b"a: \xff").unwrap();
    assert!(ends(&path).contains("not UTF-8"));
    if geteuid().is_root() {
        std::os::unix::fs::chown(&path, Some(12345), None).unwrap();
        assert!(ends(&path).contains("it belongs to user 12345"));
    }
}

#[test]
fn the_book_has_a_whole_policy_with_every_key_that_is_one() {
    let page = include_str!("../../../docs/src/policy.md");
    let example =
        page.split("```yaml,policy\n# /etc/balehook/policy.yml\n").nth(1).unwrap().split("```").next().unwrap();
    let rules = policy(example).rules;
    let keys: Vec<&str> = rules.iter().map(|rule| rule.subject.key()).collect();
    assert_eq!(keys, Subject::ALL.map(Subject::key));
}

proptest! {
    #[test]
    fn whatever_the_text_is_it_ends_in_a_policy_or_in_problems(text in r"(registries|buckets|mounts|privileged|devices|cap_add|x): ?[\[\]{}*/.:,'a-z0-9 \n&#-]{0,60}") {
        if let Err(problems) = of_text(&file(&text)) {
            prop_assert!(problems.has_errors());
        }
    }

    #[test]
    fn a_path_is_allowed_by_each_folder_above_it_and_by_no_other(parts in prop::collection::vec("[a-c]{1,2}", 1..5), other in prop::collection::vec("[a-c]{1,2}", 1..5)) {
        let (path, folder) = (format!("/none/{}", parts.join("/")), format!("/none/{}", other.join("/")));
        let allows = policy(&format!("mounts: ['{folder}']")).judge(&[Demand::of_path(Subject::Mount, &path)]).is_empty();
        prop_assert_eq!(allows, parts.starts_with(&other));
    }

    #[test]
    fn a_repository_is_allowed_by_its_own_name_and_by_no_shorter_one(host in "[a-c]{1,3}\\.test", path in "[a-c]{1,3}(/[a-c]{1,3}){0,3}") {
        let reference = format!("{host}/{path}:1").parse().unwrap();
        let allows = |rule: String| policy(&format!("registries: ['{rule}']")).judge(&[Demand::of_reference(&reference)]).is_empty();
        let seen = [format!("{host}/{path}"), host.clone(), format!("{host}/{path}/*"), format!("x{host}")].map(allows);
        prop_assert_eq!(seen, [true, true, false, false]);
    }
}

#[test]
fn an_image_that_is_not_verified_as_the_host_wants_it_is_refused_in_every_mode_and_in_tasks() {
    let hex = "1".repeat(64);
    let archive = |verify: &str| format!("image: {{archive: /opt/web.tar{verify}}}");
    let cosign = "image: {reference: 'web:1', verify: {cosign: {key: /etc/balehook/keys/a.pub}}}";
    for (appspec, refusing, wanted, allowing) in [
        (
            container("image: web:1"),
            "image_verification: [cosign]",
            "10:12: error: this host does not allow `web:1` without `verify`",
            "",
        ),
        (swarm("image: web:1"), "image_verification: [sha256]", "does not allow `web:1` without `verify`", ""),
        (
            task("image: db:2, command: [a]").replace("image: host.test/web:1", cosign),
            "image_verification: [cosign]",
            "`db:2` without",
            "",
        ),
        (container(&archive("")), "image_verification: [signature]", "`/opt/web.tar` without `verify`", ""),
        (
            container(&archive(&format!(", verify: {{sha256: {hex}}}"))),
            "image_verification: [signature, cosign]",
            "does not allow `/opt/web.tar` verified by sha256 alone",
            "image_verification: [sha256]",
        ),
        (
            container(&archive(", verify: {labels: {a: b}}")),
            "image_verification: [sha256]",
            "`/opt/web.tar` without `verify`",
            "",
        ),
        (
            container(cosign),
            "verify_keys: [/etc/balehook/other]",
            "does not allow `/etc/balehook/keys/a.pub`",
            "verify_keys: [/etc/balehook/keys]",
        ),
        (
            container(cosign),
            "image_verification: [signature]",
            "`web:1` verified by cosign alone",
            "image_verification: [cosign]",
        ),
    ] {
        let allowing = if allowing.is_empty() { "{}" } else { allowing };
        judged(&appspec, refusing, wanted, &[allowing]);
    }
    let unknown = of_text(&file("image_verification: [cosing]")).unwrap_err();
    assert!(said(&unknown).contains("did you mean `cosign`?"), "{}", said(&unknown));
}

#[test]
fn an_image_whose_scan_may_find_more_than_the_host_allows_is_refused() {
    let ecr = "123456789012.dkr.ecr.eu-west-1.amazonaws.com/web:1";
    let scanned =
        |most: &str| container(&format!("image: {{reference: '{ecr}', verify: {{ecr: {{max_severity: {most}}}}}}}"));
    for (appspec, refusing, wanted, allowing) in [
        (container("image: web:1"), "image_scan: high", "does not allow `web:1` without `verify.ecr`", "{}"),
        (swarm("image: web:1"), "image_scan: critical", "`web:1` without `verify.ecr`", "{}"),
        (scanned("high"), "image_scan: medium", "web:1` with `max_severity: high`", "image_scan: high"),
        (scanned("low"), "image_scan: none", "policy.yml:1:1 says `image_scan: none`", "image_scan: critical"),
    ] {
        judged(&appspec, refusing, wanted, &[allowing]);
    }
    let unknown = of_text(&file("image_scan: hihg")).unwrap_err();
    assert!(said(&unknown).contains("did you mean `high`?"), "{}", said(&unknown));
}
