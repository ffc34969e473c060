//! Whole files with the bundle around them: what `check` finds in each, with its place, or that it finds nothing.
#![allow(clippy::unwrap_used)]

use crate::config::appspec;
use crate::config::hook_env::HookEnv;
use crate::config::problem::Severity;
use crate::config::validate;

/// Stands behind the text of a case that has no `hooks:` of its own, or no section.
const HOOKS: &str = "hooks: {ApplicationStart: [{location: hooks/balehook, timeout: 300}]}\n";
const SECTION: &str = "x-balehook: {name: web, container: {image: 'host.test/web:1'}}\n";
const SH: &str = "#!/bin/sh\necho ok\n";

/// One file: its text behind `os: linux`, so that it begins in line 3; files beside it, a name ending in `/` is a
/// folder; what is found, each as `line:column severity path: message` up to where it is told apart.
struct Case(&'static str, &'static str, &'static [(&'static str, &'static str)], &'static [&'static str]);

fn found(Case(_, text, files, _): &Case) -> Vec<String> {
    let bundle = tempfile::tempdir().unwrap();
    for (name, content) in [("hooks/balehook", SH)].iter().chain(*files) {
        let path = bundle.path().join(name);
        if name.ends_with('/') {
            std::fs::create_dir_all(path).unwrap();
            continue;
        }
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }
    let hooks = if text.contains("hooks:") { "" } else { HOOKS };
    let section = if text.contains("x-balehook:") { "" } else { SECTION };
    let whole = format!("version: 0.0\nos: linux\n{text}{hooks}{section}");
    std::fs::write(bundle.path().join("appspec.yml"), whole).unwrap();
    let file = appspec::read(bundle.path()).unwrap();
    let problems = validate::check(&file, &HookEnv::default());
    let each = problems.sorted().into_iter().map(|problem| {
        let severity = if problem.severity == Severity::Error { "error" } else { "warning" };
        format!("{} {severity} {}: {}", problem.place, problem.path, problem.message)
    });
    each.collect()
}

#[track_caller]
fn assert_all(cases: &[Case]) {
    let mut wrong = String::new();
    for case in cases {
        let (found, Case(title, text, _, wanted)) = (found(case), case);
        let begins = |(found, wanted): (&String, &&str)| found.starts_with(*wanted);
        if found.len() != wanted.len() || !found.iter().zip(*wanted).all(begins) {
            wrong.push_str(&format!("{title}:\n{text}found  {found:#?}\nwanted {wanted:#?}\n"));
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn what_is_copied_is_checked_as_the_agents_install_it() {
    assert_all(&[
        Case(
            "a word in small letters",
            "file_exists_behavior: overwrite\n",
            &[],
            &["3:23 error file_exists_behavior: the agents refuse `overwrite`"],
        ),
        Case(
            "no such word",
            "file_exists_behavior: REPLACE\n",
            &[],
            &["3:23 error file_exists_behavior: the agents refuse `REPLACE`"],
        ),
        Case("each good word", "file_exists_behavior: OVERWRITE\n", &[], &[]),
        Case("another good word", "file_exists_behavior: RETAIN\n", &[], &[]),
        Case("the default's word", "file_exists_behavior: DISALLOW\n", &[], &[]),
        Case(
            "a source that is not there",
            "files:\n  - source: conf\n    destination: /etc/web\n",
            &[],
            &["4:13 error files[0].source: `conf` is not in the bundle: Install fails"],
        ),
        Case(
            "a source that a script writes",
            "files: [{source: dist, destination: /srv}]\nhooks: {BeforeInstall: [{location: build.sh, timeout: 60}], ApplicationStart: [{location: hooks/balehook}]}\n",
            &[("build.sh", SH)],
            &["3:18 warning files[0].source: `dist` is not in the bundle"],
        ),
        Case(
            "a script after Install cannot write it",
            "files: [{source: dist, destination: /srv}]\nhooks: {AfterInstall: [{location: build.sh, timeout: 60}], ApplicationStart: [{location: hooks/balehook}]}\n",
            &[("build.sh", SH)],
            &["3:18 error files[0].source: `dist` is not in the bundle"],
        ),
        Case(
            "a pattern",
            "files: [{source: 'conf/*.conf', destination: /etc/web}]\n",
            &[("conf/a.conf", "")],
            &["3:18 error files[0].source: `conf/*.conf` is not in the bundle"],
        ),
        Case(
            "a source outside",
            "files: [{source: ../conf, destination: /etc/web}]\n",
            &[],
            &["3:18 error files[0].source: `../conf` lies outside the bundle"],
        ),
        Case(
            "a source that comes back",
            "files: [{source: x/../conf, destination: /etc/web}]\n",
            &[("conf/a", ""), ("x/b", "")],
            &[],
        ),
        Case(
            "an empty source",
            "files: [{source: '', destination: /etc/web}]\n",
            &[],
            &["3:18 error files[0].source: the source is empty"],
        ),
        Case(
            "a relative destination",
            "files:\n  - source: conf\n    destination: etc/web\n",
            &[("conf/a", "")],
            &["5:18 error files[0].destination: `etc/web` is no absolute path"],
        ),
        Case(
            "a home",
            "files: [{source: conf, destination: ~/web}]\n",
            &[("conf/a", "")],
            &["3:37 error files[0].destination: `~/web` is no absolute path"],
        ),
        Case(
            "an empty destination",
            "files: [{source: conf, destination: ''}]\n",
            &[("conf/a", "")],
            &["3:37 error files[0].destination: the destination is empty"],
        ),
        Case(
            "a variable",
            "files: [{source: conf, destination: /home/$USER/web}]\n",
            &[("conf/a", "")],
            &["3:37 warning files[0].destination: `/home/$USER/web` is taken as it stands"],
        ),
        Case("the whole bundle", "files: [{source: /, destination: /srv/web}]\n", &[("a/b/c", "")], &[]),
        Case(
            "two sources for one file",
            "files:\n  - {source: a/run.sh, destination: /srv}\n  - {source: b/run.sh, destination: /srv/}\n",
            &[("a/run.sh", SH), ("b/run.sh", SH)],
            &[
                "5:37 error files[1].destination: Install fails: `a/run.sh` and `b/run.sh` would both be copied to /srv/run.sh",
            ],
        ),
        Case(
            "a folder and a file of it again",
            "files:\n  - {source: /, destination: /srv/web}\n  - {source: conf/app.conf, destination: /srv/web/conf}\n",
            &[("conf/app.conf", "")],
            &["5:42 error files[1].destination: Install fails: `conf/app.conf` and `conf/app.conf`"],
        ),
        Case(
            "the same, whatever exists there",
            "file_exists_behavior: OVERWRITE\nfiles: [{source: a, destination: /srv}, {source: b, destination: /srv/.}]\n",
            &[("a/x", ""), ("b/x", "")],
            &["4:66 error files[1].destination: Install fails: `a/x` and `b/x`"],
        ),
        Case(
            "two folders that share a folder",
            "files: [{source: a, destination: /srv}, {source: b, destination: /srv}]\n",
            &[("a/bin/x", ""), ("b/bin/y", "")],
            &[],
        ),
        Case(
            "a file where a folder is",
            "files: [{source: a, destination: /srv/web}, {source: web, destination: /srv}]\n",
            &[("a/x", ""), ("web", "")],
            &["3:72 error files[1].destination: Install fails: `web` would be copied to /srv/web, which is a folder"],
        ),
        Case(
            "a folder where a file is",
            "files: [{source: web, destination: /srv}, {source: a, destination: /srv/web}]\n",
            &[("a/x", ""), ("web", "")],
            &["3:68 error files[1].destination: Install fails: /srv/web would be a folder, and `web` is copied there"],
        ),
        Case(
            "one file to two places",
            "files: [{source: web, destination: /srv/a}, {source: web, destination: /srv/b}]\n",
            &[("web", "")],
            &[],
        ),
        Case(
            "a file's name as its destination",
            "files: [{source: /index.html, destination: /var/www/html/index.html}]\n",
            &[("index.html", "")],
            &[
                "3:44 warning files[0].destination: a destination is a folder: the file becomes /var/www/html/index.html/index.html",
            ],
        ),
        Case(
            "a folder's name as its destination",
            "files: [{source: conf, destination: /etc/conf}]\n",
            &[("conf/a", "")],
            &[],
        ),
        Case(
            "a key of no agent",
            "files:\n  - source: /\n    destination: /home/ubuntu/app\n    overwrite: yes\n",
            &[],
            &["6:5 warning files[0].overwrite: the agents ignore `overwrite`"],
        ),
        Case(
            "a key in the wrong place",
            "files:\n  - source: /\n    destination: /home/ubuntu/app\n    file_exists_behavior: OVERWRITE\n",
            &[],
            &["6:5 warning files[0].file_exists_behavior: the agents ignore"],
        ),
    ]);
}

const APP: &[(&str, &str)] = &[("app/run.sh", SH), ("app/lib/a", ""), ("app/lib/deep/b", "")];

#[test]
fn permissions_are_checked_as_the_agents_set_them() {
    assert_all(&[
        Case(
            "letters",
            "permissions:\n  - object: /srv\n    mode: u+x\n",
            &[],
            &["5:11 error permissions[0].mode: the agents refuse mode `u+x` for its `u`"],
        ),
        Case(
            "five digits",
            "permissions: [{object: /srv, mode: 10755}]\n",
            &[],
            &["3:36 error permissions[0].mode: the agents refuse mode `10755`: it has 5 digits"],
        ),
        Case(
            "a digit that is none of eight",
            "permissions: [{object: /srv, mode: 888}]\n",
            &[],
            &["3:36 error permissions[0].mode: the agents refuse mode `888` for its `8`"],
        ),
        Case(
            "an octal number of YAML 1.2",
            "permissions: [{object: /srv, mode: 0o755}]\n",
            &[],
            &["3:36 error permissions[0].mode: the agents refuse mode `0o755` for its `o`"],
        ),
        Case(
            "a list",
            "permissions: [{object: /srv, mode: [755]}]\n",
            &[],
            &["3:36 error permissions[0].mode: a mode is expected, not a list"],
        ),
        Case(
            "an octal number of YAML 1.1",
            "permissions: [{object: /srv, mode: 0755}]\n",
            &[],
            &[
                "3:36 warning permissions[0].mode: the v1 agent reads an unquoted 0755 as the number 493: the deployment fails",
            ],
        ),
        Case(
            "good modes",
            "permissions: [{object: /a, mode: 755}, {object: /b, mode: '0644'}, {object: /c, mode: 4755}, {object: /d, mode: 7}, {object: /e}]\n",
            &[],
            &[],
        ),
        Case(
            "a kind that there is not",
            "permissions: [{object: /srv, type: [file, link]}]\n",
            &[],
            &["3:43 error permissions[0].type[1]: the agents refuse `link`"],
        ),
        Case(
            "no list of kinds",
            "permissions: [{object: /srv, type: file}]\n",
            &[],
            &["3:36 error : the agent refuses the file"],
        ),
        Case(
            "an empty object",
            "permissions: [{object: '', owner: root}]\n",
            &[],
            &["3:24 error permissions[0].object: the object is empty"],
        ),
        Case(
            "a relative object",
            "permissions: [{object: scripts/, mode: 777, type: [directory]}]\n",
            &[],
            &["3:24 warning permissions[0].object: `scripts/` is no absolute path: nothing gets these permissions"],
        ),
        Case(
            "one file twice",
            "files: [{source: app, destination: /srv}]\npermissions:\n  - {object: /srv/run.sh, mode: 755}\n  - {object: /srv/run.sh, owner: root}\n",
            APP,
            &[
                "6:14 error permissions[1].object: Install fails: permissions of /srv/run.sh are set twice, first by permissions[0]",
            ],
        ),
        Case(
            "a file and the folder around it",
            "files: [{source: app, destination: /srv}]\npermissions:\n  - {object: /srv, owner: root}\n  - {object: /srv/run.sh, mode: 755}\n",
            APP,
            &["6:14 error permissions[1].object: Install fails: permissions of /srv/run.sh are set twice"],
        ),
        Case(
            "a folder in a folder",
            "files: [{source: app, destination: /srv}]\npermissions:\n  - {object: /, pattern: '**', owner: ubuntu}\n  - {object: /srv/lib, mode: 644, type: [file]}\n",
            APP,
            &["6:14 error permissions[1].object: Install fails: permissions of /srv/lib/a are set twice"],
        ),
        Case(
            "folders alone",
            "files: [{source: app, destination: /srv}]\npermissions:\n  - {object: /srv, mode: 755, type: [directory]}\n  - {object: /srv/lib, owner: root, type: [directory]}\n",
            APP,
            &["6:14 warning permissions[1].object: Install fails where /srv/lib/deep is not there yet"],
        ),
        Case(
            "each kind its own mode",
            "files: [{source: app, destination: /srv}]\npermissions:\n  - {object: /srv, mode: 644, type: [file]}\n  - {object: /srv, mode: 755, type: [directory]}\n",
            APP,
            &[],
        ),
        Case(
            "folders side by side",
            "files: [{source: app, destination: /srv/a}, {source: app, destination: /srv/ab}]\npermissions: [{object: /srv/a, mode: 644}, {object: /srv/ab, mode: 644}]\n",
            APP,
            &[],
        ),
        Case(
            "what files do not install",
            "permissions: [{object: /etc/x, mode: 600}, {object: /etc/x, owner: root}]\n",
            &[],
            &[],
        ),
        Case(
            "a pattern for a file",
            "files: [{source: app, destination: /srv}]\npermissions:\n  - {object: /srv/run.sh, pattern: '*.sh'}\n",
            APP,
            &["5:27 error permissions[0].pattern: /srv/run.sh is a file: both agents refuse a `pattern` for it"],
        ),
        Case(
            "a pattern for files below",
            "files: [{source: app, destination: /srv}]\npermissions:\n  - {object: /srv, pattern: '*.sh', mode: 755}\n  - {object: /srv, mode: 755, except: ['*.sh'], type: [directory]}\n",
            APP,
            &["5:20 warning permissions[0].pattern: agent 2.0 refuses the file"],
        ),
        Case(
            "patterns that share nothing",
            "files: [{source: app, destination: /srv}]\npermissions:\n  - {object: /srv, pattern: 'l*b', owner: root, type: [directory]}\n  - {object: /srv, pattern: 'd*p', mode: 755, type: [directory]}\n",
            APP,
            &[],
        ),
        Case(
            "a good list of acls",
            "permissions: [{object: /srv, acls: ['u:deploy:rwx', 'group:web:5', 'm::r-x']}]\n",
            &[],
            &[],
        ),
        Case(
            "a bad right",
            "permissions: [{object: /srv, acls: ['u:deploy:all']}]\n",
            &[],
            &["3:37 error permissions[0].acls[0]: the agents refuse `u:deploy:all`"],
        ),
        Case(
            "the owner in an acl",
            "permissions: [{object: /srv, acls: ['user::rwx']}]\n",
            &[],
            &["3:37 error permissions[0].acls[0]: the agents refuse `user::rwx`: `mode` sets"],
        ),
        Case(
            "two parts",
            "permissions: [{object: /srv, acls: ['deploy:rwx']}]\n",
            &[],
            &["3:37 warning permissions[0].acls[0]: the v2 agent refuses `deploy:rwx`"],
        ),
        Case(
            "a default for files",
            "files: [{source: app, destination: /srv}]\npermissions: [{object: /srv, acls: ['d:u:deploy:rwx']}]\n",
            APP,
            &["4:37 error permissions[0].acls[0]: `d:u:deploy:rwx` is for folders"],
        ),
        Case(
            "a default for folders",
            "files: [{source: app, destination: /srv}]\npermissions: [{object: /srv, type: [directory], acls: ['d:u:deploy:rwx']}]\n",
            APP,
            &[],
        ),
        Case(
            "a context without its type",
            "permissions: [{object: /srv, context: {name: system_u}}]\n",
            &[],
            &["3:39 error permissions[0].context: the agents refuse a context without a `type`"],
        ),
        Case(
            "a context",
            "permissions: [{object: /srv, context: {name: system_u, type: httpd_sys_content_t, range: s0}}]\n",
            &[],
            &[],
        ),
    ]);
}

#[test]
fn scripts_are_looked_at_as_the_kernel_starts_them() {
    assert_all(&[
        Case(
            "line ends of Windows",
            "",
            &[("hooks/balehook", "#!/bin/sh\r\necho ok\r\n")],
            &[
                "3:39 error hooks.ApplicationStart[0].location: `hooks/balehook` begins with `#!/bin/sh\\r`: there is no program",
            ],
        ),
        Case(
            "the same in another's script",
            "hooks:\n  AfterInstall:\n    - location: x.sh\n      timeout: 60\n  ApplicationStart: [{location: hooks/balehook}]\n",
            &[("x.sh", "#!/usr/bin/env bash\r\n")],
            &["5:17 error hooks.AfterInstall[0].location: `x.sh` begins with `#!/usr/bin/env bash\\r`"],
        ),
        Case(
            "no first line",
            "hooks: {AfterInstall: [{location: x.sh}], ApplicationStart: [{location: hooks/balehook}]}\n",
            &[("x.sh", "echo ok\n")],
            &["3:35 warning hooks.AfterInstall[0].location: `x.sh` has no `#!` line: the v2 agent cannot start it"],
        ),
        Case(
            "an empty script",
            "hooks: {AfterInstall: [{location: x.sh}], ApplicationStart: [{location: hooks/balehook}]}\n",
            &[("x.sh", "")],
            &["3:35 warning hooks.AfterInstall[0].location: `x.sh` is empty"],
        ),
        Case(
            "a mark before the first line",
            "hooks: {AfterInstall: [{location: x.sh}], ApplicationStart: [{location: hooks/balehook}]}\n",
            &[("x.sh", "\u{feff}#!/bin/sh\n")],
            &["3:35 warning hooks.AfterInstall[0].location: `x.sh` begins with a byte-order mark"],
        ),
        Case(
            "a program",
            "hooks: {ApplicationStart: [{location: bin/balehook, timeout: 60}]}\nx-balehook: {name: web, container: {image: 'a/web:1'}, health: {timeout: 5s}}\n",
            &[("bin/balehook", "\u{7f}ELF\u{2}")],
            &[],
        ),
        Case(
            "a name that a shell splits",
            "hooks: {AfterInstall: [{location: my script.sh}], ApplicationStart: [{location: hooks/balehook}]}\n",
            &[("my script.sh", SH)],
            &["3:35 warning hooks.AfterInstall[0].location: the v1 agent gives `my script.sh` to a shell"],
        ),
        Case(
            "a slash in front",
            "hooks: {AfterInstall: [{location: /scripts/x}], ApplicationStart: [{location: ./hooks/balehook}]}\n",
            &[("scripts/x", SH)],
            &[],
        ),
        Case(
            "another user",
            "hooks:\n  ApplicationStart:\n    - location: hooks/balehook\n      runas: ubuntu\n",
            &[],
            &[
                "6:14 warning hooks.ApplicationStart[0].runas: ubuntu can neither write balehook's state nor ask the engine",
            ],
        ),
        Case("root", "hooks: {ApplicationStart: [{location: hooks/balehook, runas: root}]}\n", &[], &[]),
        Case(
            "another user for another's script",
            "hooks: {AfterInstall: [{location: x.sh, runas: ubuntu}], ApplicationStart: [{location: hooks/balehook, runas: root}]}\n",
            &[("x.sh", SH)],
            &[],
        ),
        Case(
            "two users",
            "hooks:\n  AfterInstall: [{location: hooks/balehook, runas: app}]\n  ApplicationStart: [{location: hooks/balehook}]\n",
            &[],
            &[
                "4:52 warning hooks.AfterInstall[0].runas: app can neither",
                "5:22 warning hooks.ApplicationStart[0].runas: this hook of balehook runs as root, an earlier one as app",
            ],
        ),
        Case(
            "one timeout of two",
            "hooks:\n  ApplicationStart:\n    - location: x.sh\n    - location: hooks/balehook\n      timeout: 300\n",
            &[("x.sh", SH)],
            &["5:5 warning hooks.ApplicationStart: an entry without `timeout` has 3600 s, with the others 3900 s"],
        ),
        Case(
            "no timeout of two",
            "hooks: {ApplicationStart: [{location: x.sh}, {location: hooks/balehook}]}\n",
            &[("x.sh", SH)],
            &[],
        ),
        Case(
            "too much of two, said",
            "hooks: {ApplicationStart: [{location: x.sh, timeout: 3000}, {location: hooks/balehook, timeout: 900}]}\n",
            &[("x.sh", SH)],
            &["3:27 error hooks.ApplicationStart: the timeouts of this event add up to 3900 s"],
        ),
        Case(
            "too much of two, with a third unsaid",
            "hooks: {ApplicationStart: [{location: x.sh, timeout: 3000}, {location: x.sh}, {location: hooks/balehook, timeout: 900}]}\n",
            &[("x.sh", SH)],
            &["3:27 error hooks.ApplicationStart: the timeouts of this event add up to 3900 s"],
        ),
        Case(
            "a script that runs the container",
            "hooks: {ApplicationStart: [{location: start.sh}, {location: hooks/balehook}]}\n",
            &[(
                "start.sh",
                "#!/bin/bash\n# docker stop web\nset -e\nsudo docker run -d --name web -p 80:80 web:latest\n",
            )],
            &[
                "3:39 warning hooks.ApplicationStart[0].location: `start.sh` still runs `docker run` (its line 4), which balehook does now",
            ],
        ),
        Case(
            "a script that brings a project up",
            "hooks: {ApplicationStart: [{location: hooks/balehook}, {location: start.sh}]}\n",
            &[("start.sh", "#!/bin/bash\ncd /srv && docker compose -f prod.yml up -d\n")],
            &[
                "3:67 warning hooks.ApplicationStart[1].location: `start.sh` still runs `docker compose up` (its line 2)",
            ],
        ),
        Case(
            "the same with the old tool",
            "hooks: {ApplicationStop: [{location: stop.sh}], ApplicationStart: [{location: hooks/balehook}]}\n",
            &[("stop.sh", "#!/bin/bash\nif true; then /usr/local/bin/docker-compose down; fi\n")],
            &["3:38 warning hooks.ApplicationStop[0].location: `stop.sh` still runs `docker compose down`"],
        ),
        Case(
            "a script that deletes images",
            "hooks: {AfterInstall: [{location: clean.sh}], ApplicationStart: [{location: hooks/balehook}]}\n",
            &[("clean.sh", "#!/bin/sh\ndocker system prune -af\n")],
            &["3:35 warning hooks.AfterInstall[0].location: `clean.sh` still runs `docker system prune`"],
        ),
        Case(
            "a script that only looks",
            "hooks: {ValidateService: [{location: smoke.sh}], ApplicationStart: [{location: hooks/balehook}]}\n",
            &[(
                "smoke.sh",
                "#!/bin/sh\ndocker ps\ndocker exec web /bin/check\ndocker logs web\ndocker inspect web | grep run\ndocker run --rm host.test/smoke:1\necho 'docker run is done'\necho docker-run\n",
            )],
            &[],
        ),
        Case(
            "a script that installs docker",
            "hooks: {BeforeInstall: [{location: setup}], ApplicationStart: [{location: hooks/balehook}]}\n",
            &[(
                "setup",
                "#!/bin/bash\nyum install -y docker\nsystemctl start docker\nusermod -aG docker ec2-user\nservice docker start && docker --version\n",
            )],
            &[],
        ),
        Case(
            "a script that stops whatever runs",
            "hooks: {ApplicationStop: [{location: stop.sh}], ApplicationStart: [{location: hooks/balehook}]}\n",
            &[("stop.sh", "#!/bin/bash\ndocker ps -q | xargs -r docker stop\n")],
            &["3:38 warning hooks.ApplicationStop[0].location: `stop.sh` still runs `docker stop` (its line 2)"],
        ),
    ]);
}

#[test]
fn files_that_our_section_names_are_looked_for() {
    assert_all(&[
        Case(
            "an archive that is not there",
            "x-balehook:\n  name: web\n  container:\n    image: {archive: image.tar}\n",
            &[],
            &["6:22 error x-balehook.container.image.archive: `image.tar` is not in the bundle"],
        ),
        Case(
            "an archive that is there",
            "x-balehook: {name: web, container: {image: {archive: image.tar}}}\n",
            &[("image.tar", "")],
            &[],
        ),
        Case(
            "an archive in S3",
            "x-balehook: {name: web, container: {image: {archive: 's3://releases/web.tar'}}}\n",
            &[],
            &[],
        ),
        Case(
            "an archive of the host",
            "x-balehook: {name: web, container: {image: {archive: /opt/images/web.tar}}}\n",
            &[],
            &[],
        ),
        Case(
            "an archive that a script fetches",
            "hooks: {AfterInstall: [{location: fetch.sh}], ApplicationStart: [{location: hooks/balehook}]}\nx-balehook: {name: web, container: {image: {archive: image.tar}}}\n",
            &[("fetch.sh", SH)],
            &["4:54 warning x-balehook.container.image.archive: `image.tar` is not in the bundle"],
        ),
        Case(
            "an archive in a folder that is not there",
            "x-balehook: {name: web, swarm: {image: {archive: images/web.tar}}}\n",
            &[],
            &[
                "3:50 error x-balehook.swarm.image.archive: `images/web.tar` is not in the bundle, which has no folder `images`",
            ],
        ),
        Case(
            "an archive of a service",
            "x-balehook: {name: web, compose: {files: [app/c.yml], images: {web: {archive: app/web.tar}}}}\n",
            &[("app/c.yml", "services: {}")],
            &["3:79 error x-balehook.compose.images.web.archive: `app/web.tar` is not in the bundle"],
        ),
        Case(
            "an archive of a task",
            "x-balehook: {name: web, container: {image: 'a/b:1'}, before: [{name: migrate, image: {archive: m.tar}, command: [x]}]}\n",
            &[],
            &["3:96 error x-balehook.before[0].image.archive: `m.tar` is not in the bundle"],
        ),
        Case(
            "an env file that is not there",
            "x-balehook: {name: web, container: {image: 'a/b:1', env_file: [env/prod.env]}}\n",
            &[],
            &["3:64 error x-balehook.container.env_file[0]: `env/prod.env` is not in the bundle"],
        ),
        Case(
            "an env file that may be missing",
            "x-balehook: {name: web, container: {image: 'a/b:1', env_file: [{path: env/prod.env, required: false}]}}\n",
            &[],
            &[],
        ),
        Case(
            "an env file of the host, of S3, by a variable",
            "x-balehook: {name: web, container: {image: 'a/b:1', env_file: [/opt/app/prod.env, 's3://bucket/x.env', 'env/${GROUP:-dev}.env']}}\n",
            &[],
            &[],
        ),
        Case(
            "a config's file",
            "x-balehook: {name: web, swarm: {image: 'a/b:1', configs: [{source: motd, file: conf/motd}]}}\n",
            &[],
            &["3:80 error x-balehook.swarm.configs[0].file: `conf/motd` is not in the bundle"],
        ),
        Case(
            "one letter for a container",
            "x-balehook: {name: w, container: {image: 'a/b:1'}}\n",
            &[],
            &["3:20 error x-balehook.name: `w` has one letter: the engine wants two"],
        ),
        Case(
            "one letter for a project",
            "x-balehook: {name: w, compose: {files: [c.yml]}}\n",
            &[("c.yml", "services: {}")],
            &[],
        ),
        Case(
            "a name that is ours",
            "x-balehook: {name: web.balehook-new, container: {image: 'a/b:1'}}\n",
            &[],
            &["3:20 error x-balehook.name: `web.balehook-new` is a name that balehook gives"],
        ),
        Case(
            "another that is ours",
            "x-balehook: {name: web.balehook-old, swarm: {image: 'a/b:1'}}\n",
            &[],
            &["3:20 error x-balehook.name: `web.balehook-old` is a name that balehook gives"],
        ),
        Case(
            "a path and no port",
            "x-balehook: {name: web, container: {image: 'a/b:1'}, health: {http: /up}}\n",
            &[],
            &["3:69 error x-balehook.health.http: `/up` is a path, and no TCP port is published"],
        ),
        Case(
            "a path and a port of UDP",
            "x-balehook: {name: web, container: {image: 'a/b:1', ports: ['53:53/udp']}, health: {http: /up}}\n",
            &[],
            &["3:91 error x-balehook.health.http: `/up` is a path, and no TCP port is published"],
        ),
        Case(
            "a path and any port",
            "x-balehook: {name: web, container: {image: 'a/b:1', ports: ['80']}, health: {http: /up}}\n",
            &[],
            &[],
        ),
        Case(
            "a path on the host's network",
            "x-balehook: {name: web, container: {image: 'a/b:1', network_mode: host}, health: {http: /up}}\n",
            &[],
            &["3:89 error x-balehook.health.http: `/up` is a path, and with `network_mode: host` no port is published"],
        ),
        Case(
            "an address on the host's network",
            "x-balehook: {name: web, container: {image: 'a/b:1', network_mode: host}, health: {http: 'http://127.0.0.1:8080/up'}}\n",
            &[],
            &[],
        ),
        Case(
            "a path and no port in a swarm",
            "x-balehook: {name: web, swarm: {image: 'a/b:1', ports: ['80']}, health: {http: /up}}\n",
            &[],
            &["3:80 error x-balehook.health.http: `/up` is a path, and no TCP port is published under a number"],
        ),
        Case(
            "a path and no port in Compose",
            "x-balehook: {name: web, compose: {files: [c.yml]}, health: {http: /up}}\n",
            &[("c.yml", "services: {web: {image: 'a/b:1'}}")],
            &[
                "3:67 error x-balehook.health.http: `/up` is a path, and no service of the Compose files publishes a port",
            ],
        ),
        Case(
            "a path and a port in Compose",
            "x-balehook: {name: web, compose: {files: [c.yml]}, health: {http: /up}}\n",
            &[("c.yml", "services: {web: {image: 'a/b:1', ports: ['80:80']}}")],
            &[],
        ),
    ]);
}

/// Shapes of files that people publish, with a hook of ours in the place of the script that starts the application.
#[test]
fn files_as_people_have_them_raise_no_false_alarm() {
    const SCRIPTS: &[(&str, &str)] = &[
        ("scripts/install_dependencies", "#!/bin/bash\nyum install -y docker\nservice docker start\n"),
        ("scripts/stop_server", "#!/bin/bash\nisExistApp=`pgrep httpd`\n[ -z $isExistApp ] || service httpd stop\n"),
        ("scripts/change_permissions.sh", "#!/bin/bash\nchmod -R 777 /var/www/html/WordPress\n"),
        ("scripts/validate.sh", "#!/bin/bash\ncurl -f http://localhost/\n"),
        ("web/index.html", ""),
        ("index.html", ""),
        ("app.service", ""),
        ("source/a/b", ""),
        ("Config/config.txt", ""),
    ];
    assert_all(&[
        Case(
            "a page and scripts",
            "files:\n  - source: /index.html\n    destination: /var/www/html/\nhooks:\n  BeforeInstall:\n    - location: scripts/install_dependencies\n      timeout: 300\n      runas: root\n  ApplicationStart:\n    - location: hooks/balehook\n      timeout: 300\n      runas: root\n  ApplicationStop:\n    - location: scripts/stop_server\n      timeout: 300\n      runas: root\n",
            SCRIPTS,
            &[],
        ),
        Case(
            "everything to one folder",
            "files:\n  - source: /\n    destination: /var/www/html/WordPress\nhooks:\n  AfterInstall:\n    - location: scripts/change_permissions.sh\n      timeout: 300\n      runas: root\n  ApplicationStart:\n    - location: hooks/balehook\n      timeout: 300\n",
            SCRIPTS,
            &[],
        ),
        Case(
            "folders to folders",
            "files:\n  - source: Config/config.txt\n    destination: /webapps/Config\n  - source: source\n    destination: /webapps/myApp\nhooks:\n  ApplicationStart:\n    - location: hooks/balehook\n      timeout: 3600\n  ValidateService:\n    - location: scripts/validate.sh\n      timeout: 3600\n      runas: codedeployuser\n",
            SCRIPTS,
            &[],
        ),
        Case(
            "a unit beside the whole",
            "files:\n  - source: /\n    destination: /opt/app/\n  - source: /app.service\n    destination: /lib/systemd/system\npermissions:\n  - object: /opt/app\n    pattern: \"**\"\n    owner: ec2-user\n    group: ec2-user\n  - object: /lib/systemd/system/app.service\n    owner: root\n    group: root\n",
            SCRIPTS,
            &[],
        ),
        Case(
            "all to one user",
            "files:\n  - source: /\n    destination: /home/ubuntu/app/\npermissions:\n  - object: /\n    pattern: \"**\"\n    owner: ubuntu\n    group: ubuntu\n",
            SCRIPTS,
            &[],
        ),
        Case(
            "files and folders",
            "files:\n  - source: web\n    destination: /var/www/app\npermissions:\n  - object: /var/www/app\n    pattern: '**'\n    mode: '0755'\n    owner: root\n    group: root\n    type:\n      - file\n      - directory\n",
            SCRIPTS,
            &[],
        ),
        Case(
            "OVERWRITE and folders alone",
            "files:\n  - source: /\n    destination: /var/www/html\nfile_exists_behavior: OVERWRITE\npermissions:\n  - object: /var/www/html\n    owner: apache\n    group: apache\n    mode: 755\n    type:\n      - directory\n",
            SCRIPTS,
            &[],
        ),
        Case("keys of other tools", "Resources: []\nx-team: payments\n", &[], &[]),
    ]);
}
