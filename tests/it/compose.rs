//! Compose projects, deployed through the hook with every Compose and engine that is supported.

use std::path::Path;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::race::losing;
use crate::support::images::web;
use crate::support::world::{OTHER, OTHER_PASSWORD, base64, repository};
use crate::support::{Answers, Bundle, Image, Outcome, world};

/// Compose 2.40, unless a test says otherwise.
const NEWEST: &str = "2.40";

/// A bundle with a project in `app/`.
pub struct Project {
    pub bundle: Bundle,
    pub name: String,
    port: u16,
}

/// `web` serves and has a HEALTHCHECK, `db` only runs.
pub const TWO: &str = "services:
  web:
    ports: [\"127.0.0.1:PORT:80\"]
    healthcheck: {test: [CMD, /bin/busybox, wget, -q, -O, /dev/null, \"http://127.0.0.1/healthz\"], interval: 10s}
    environment: {LEVEL: info}
    volumes: [\"./conf:/etc/app:ro\", \"./data:/data\"]
    stop_grace_period: 1s
  db:
    command: [/bin/busybox, sh, -c, \"trap 'exit 0' TERM; touch /up; while :; do sleep 0.1; done\"]
    healthcheck: {test: [CMD, /bin/busybox, test, -e, /up]}
    volumes: [\"store:/store\"]
    stop_grace_period: 1s
volumes: {store: {}}
";
const IMAGES: &str = "images: {web: {archive: image.tar}, db: {archive: db.tar}}";

impl Project {
    /// The project's Compose file, and what the section says beside `files`.
    pub fn new(stem: &str, file: &str, more: &str) -> Self {
        let name = world().name(stem);
        let port = world().port();
        let more: String = more.lines().map(|line| format!("    {line}\n")).collect();
        let hooks: String = ["ApplicationStop", "BeforeInstall", "AfterInstall", "ApplicationStart", "ValidateService"]
            .map(|event| format!("  {event}: [{{location: hooks/balehook, timeout: 60}}]\n"))
            .concat();
        let bundle = Bundle::new(&format!(
            "version: 0.0\nos: linux\nhooks:\n{hooks}x-balehook:\n  name: {name}\n  compose:\n    files: [app/compose.yml]\n{more}  health: {{timeout: 20s}}\n"
        ));
        let project = Self { bundle, name, port };
        project.compose(NEWEST);
        project.file("compose.yml", file);
        project
    }

    /// `web` and `db`, deployed.
    pub fn serving(stem: &str) -> Self {
        let mut project = Self::two(stem);
        project.bundle.hook("ApplicationStart").exits(0);
        project.bundle.deployment("d-TEST00002");
        project
    }

    pub fn two(stem: &str) -> Self {
        let project = Self::new(stem, TWO, IMAGES);
        project.file("conf/app.conf", "one");
        project.image("image.tar", &web(&format!("{}:1", project.name), "one"));
        project.image("db.tar", &Image::new(&format!("{}-db:1", project.name)));
        project
    }

    /// Which Compose the hook finds.
    pub fn compose(&self, version: &str) {
        let plugins = self.no_compose();
        std::fs::create_dir_all(&plugins).unwrap();
        let program = format!("target/tools/compose-{version}/usr/libexec/docker/cli-plugins/docker-compose");
        std::os::unix::fs::symlink(repository().join(program), plugins.join("docker-compose")).unwrap();
    }

    /// The hook finds no plugin in the folder where it would be.
    fn no_compose(&self) -> std::path::PathBuf {
        let plugins = self.bundle.path().join("../../../docker-config/cli-plugins");
        self.bundle.docker_config("{}");
        let _ = std::fs::remove_dir_all(&plugins);
        plugins
    }

    /// `docker-compose` on the hook's PATH says that it is 1.29.2. Returns where it writes down anything else it is asked.
    fn compose_1(&self) -> std::path::PathBuf {
        let calls = self.bundle.path().join("calls");
        let script = "#!/bin/sh\n[ \"$*\" = 'version --short' ] && echo 1.29.2 && exit\necho \"$*\" >>";
        self.bundle.program("docker-compose", &format!("{script}'{}'\n", calls.display()));
        calls
    }

    /// A file of the project; `PORT` in it is the test's own.
    pub fn file(&self, path: &str, text: &str) {
        let path = self.bundle.path().join("app").join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text.replace("PORT", &self.port.to_string())).unwrap();
    }

    pub fn image(&self, file: &str, image: &Image) {
        image.write(&self.bundle.path().join(file));
    }

    pub fn page(&self) -> Option<String> {
        world().get(self.port, "/")
    }

    /// The service's containers: IDs of those that run.
    pub fn running(&self, service: &str) -> String {
        let project = format!("label=com.docker.compose.project={}", self.name);
        let service = format!("label=com.docker.compose.service={service}");
        world().docker(&["ps", "--quiet", "--no-trunc", "--filter", &project, "--filter", &service])
    }

    pub fn all(&self) -> String {
        let filter = format!("label=com.docker.compose.project={}", self.name);
        world().docker(&["ps", "--all", "--filter", &filter, "--format", "{{.Names}}"])
    }

    fn state(&self) -> std::path::PathBuf {
        self.bundle.state().join(&self.name)
    }

    pub fn start(&self) -> Outcome {
        self.bundle.hook("ApplicationStart")
    }
}

#[test]
fn values_of_a_build_reach_the_compose_file_too() {
    let file = "services: {web: {image: \"x\", labels: {release: \"${BUILT}\"}, restart: always}}";
    let project = Project::new("built", file, "images: {web: {archive: image.tar}}");
    project.image("image.tar", &web(&format!("{}:1", project.name), "one"));
    let section = std::fs::read_to_string(project.bundle.path().join("appspec.yml")).unwrap();
    project.bundle.appspec(&section.replace("  compose:\n", "  variables: [build.json]\n  compose:\n"));
    std::fs::write(project.bundle.path().join("build.json"), "{\"BUILT\": \"1.4.2-abc\"}").unwrap();

    project.bundle.hook("ApplicationStart").exits(0);

    let label = "{{index .Config.Labels \"release\"}}";
    assert_eq!(world().inspect(&format!("{}-web-1", project.name), label), "1.4.2-abc");
}

#[test]
fn the_ready_made_bundle_is_deployed_twice_and_once_broken_with_every_compose() {
    for version in ["2.26", "2.40"] {
        let project = Project::new("ready", "", "");
        let (root, ready) = (project.bundle.path(), repository().join("appspec/compose"));
        for file in ["compose.yml", ".env", "conf/motd"] {
            let text = std::fs::read_to_string(ready.join("app").join(file)).unwrap();
            project.file(file, &text.replace("18090", "PORT"));
        }
        let appspec = std::fs::read_to_string(ready.join("appspec.yml")).unwrap();
        std::fs::write(root.join("appspec.yml"), appspec.replace("name: shop", &format!("name: {}", project.name)))
            .unwrap();
        let mut project = project;
        project.compose(version);
        let events = ["BeforeInstall", "AfterInstall", "ApplicationStart", "ValidateService"];
        let release = |project: &mut Project, id: &str, image: Image| {
            project.image("image.tar", &image);
            project.bundle.deployment(id);
            for event in &events[..3] {
                let outcome = project.bundle.hook(event);
                if outcome.code != Some(0) || *event == "ApplicationStart" {
                    return outcome;
                }
            }
            unreachable!()
        };
        let tag = format!("{}:1", project.name);

        release(&mut project, "d-1", web(&tag, "one")).exits(0).says("2 services of d-1 run");
        assert_eq!(project.page().as_deref(), Some("one"), "{version}");
        let first = project.running("web");
        let greeting = world().inspect(&first, "{{range .Config.Env}}{{println .}}{{end}}");
        assert!(greeting.contains("GREETING=welcome") && greeting.contains("GROUP=prod"), "{version}: {greeting}");
        let motd = world().docker(&["exec", &first, "/bin/busybox", "cat", "/data/motd", "/etc/shop/motd"]);
        assert_eq!(motd, "Welcome to the shop.\nWelcome to the shop.", "{version}");

        release(&mut project, "d-2", web(&tag, "two")).exits(0);
        project.bundle.hook("ValidateService").exits(0);
        assert_eq!(project.page().as_deref(), Some("two"), "{version}");
        let second = project.running("web");
        assert_ne!(first, second);

        let broken = Image::new(&tag).script("test -e /data/motd && echo cannot reach the database && exit 3");
        let outcome = release(&mut project, "d-3", broken);
        outcome
            .exits(8)
            .says("service web")
            .says("cannot reach the database")
            .says("previous project:")
            .says("is back");
        assert!(outcome.console().len() < 2000, "{version}");
        assert_eq!(project.page().as_deref(), Some("two"), "{version}");
        let plan = project.bundle.run(&["plan"]);
        assert!(plan.stdout.contains("web: recreated (image)"), "{version}: {}", plan.stdout);

        release(&mut project, "d-4", web(&tag, "two")).exits(0).says("unchanged");
        project.bundle.hook("ApplicationStop").exits(0);
        assert_eq!(project.all(), "", "{version}");
        project.bundle.resume().exits(0).says("nothing to recover");
        assert_eq!(project.all(), "", "{version}: what was stopped stays stopped");
        let volumes = world().docker(&["volume", "ls", "--quiet"]);
        assert!(volumes.contains(&format!("{}_data", project.name)), "{version}: volumes stay");
    }
}

#[test]
fn compose_1_alone_is_refused_with_the_words_that_install_compose_2_before_anything_is_touched() {
    let project = Project::serving("vone");
    let before = (project.running("web"), project.running("db"));
    project.image("image.tar", &web(&format!("{}:2", project.name), "two"));
    project.no_compose();
    let calls = project.compose_1();
    for event in ["BeforeInstall", "AfterInstall", "ApplicationStart"] {
        let outcome = project.bundle.hook(event);
        outcome.exits(7).says("docker-compose 1.29.2 is Compose 1");
        outcome.says("next: install Compose 2: `apt-get install docker-compose-v2` (Ubuntu)");
        assert!(outcome.console().len() < 2000, "{event}");
        assert_eq!((project.running("web"), project.running("db")), before, "{event}");
    }
    assert_eq!(project.page().as_deref(), Some("one"));
    assert_eq!(world().docker(&["images", "--quiet", &format!("{}:2", project.name)]), "", "no image was imported");

    project.bundle.hook("ApplicationStop").exits(0);
    assert_eq!(project.all(), "", "the engine removed them");
    assert!(!calls.exists(), "Compose 1 was only asked for its version");
}

#[test]
fn a_release_that_compose_1_deployed_comes_back_by_compose_2_and_never_by_compose_1() {
    let project = Project::serving("vtwo");
    let calls = project.compose_1();
    let path = project.state().join("releases/000001.json");
    let mut release: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
    release["part"]["compose"]["project"]["tool"] =
        serde_json::json!({"argv": ["docker-compose"], "version": "1.29.2", "generation": "v1"});
    std::fs::write(&path, release.to_string()).unwrap();
    project.file("compose.yml", &TWO.replace("LEVEL: info", "LEVEL: debug").replace("/healthz", "/none"));
    let appspec = std::fs::read_to_string(project.bundle.path().join("appspec.yml")).unwrap();
    project.bundle.appspec(&appspec.replace("timeout: 20s", "timeout: 3s"));

    project.start().exits(8).says("previous project").says("is back");

    assert_eq!(project.page().as_deref(), Some("one"));
    let level = world().inspect(&project.running("web"), "{{range .Config.Env}}{{println .}}{{end}}");
    assert!(level.contains("LEVEL=info"), "{level}");
    assert!(!calls.exists(), "Compose 1 was only asked for its version");

    // At boot too.
    let web_id = project.running("web");
    world().docker(&["rm", "--force", &project.running("db")]);
    project.bundle.resume().exits(0).says("brought back");
    assert_ne!(project.running("db"), "");

    // Compose 1 alone is refused: its `up` could destroy what Compose 2 made.
    project.no_compose();
    world().docker(&["rm", "--force", &project.running("db")]);
    let resumed = project.bundle.resume();
    assert_ne!(resumed.code, Some(0), "{}", resumed.stdout);
    resumed.says("docker-compose 1.29.2 is Compose 1").says("next: install Compose 2");
    assert_eq!(project.running("web"), web_id);
    assert!(!calls.exists(), "Compose 1 was only asked for its version");
}

#[test]
fn without_any_compose_it_is_said_what_is_missing_and_stopping_still_works() {
    let mut project = Project::serving("none");
    project.no_compose();
    // Whatever this host has on its PATH is not found.
    let programs = project.bundle.path().join("only");
    std::fs::create_dir(&programs).unwrap();
    std::os::unix::fs::symlink("/usr/bin/nsenter", programs.join("nsenter")).unwrap();
    project.bundle.env("PATH", programs.to_str().unwrap());
    let outcome = project.bundle.run(&["run", "ApplicationStart"]);
    outcome.exits(7);
    assert!(outcome.stdout.contains("there is no Compose on this host"), "{}", outcome.stdout);
    let plan = project.bundle.run(&["plan"]);
    plan.exits(7).prints("would fail: there is no Compose on this host; next: install Compose 2");
    plan.prints("the services are taken as the files stand").prints("web: recreated").prints("up --detach");
    project.bundle.run(&["run", "ApplicationStop"]).exits(0);
    assert_eq!(project.all(), "", "the engine removed them");
}

#[test]
fn what_is_wrong_with_the_files_is_said_before_anything_is_touched() {
    let cases = [
        ("services: {web: {image: 'x', ports: [nonsense:x:y:z]}}", "", "the Compose file is refused"),
        ("services: {web: {image: 'a/web:1', env_file: [missing.env]}}", "", "missing.env"),
        ("services: {web: {build: .}}", "", "service web has no `image:`"),
        ("services: {web: {image: 'a/web:1', volumes: ['../outside:/x']}}", "", "lies outside the project's folder"),
        ("services: {web: {image: 'a/web:1', profiles: [x]}}", "", "no active service"),
        ("services: {web: {image: 'a/web:1'}}", "images: {wbe: a/web:1}", "names `wbe`, which is no active service"),
        ("services: {web: {image: 'a/web:1'}}", "env_file: missing.env", "`missing.env` is not a file of the bundle"),
        ("services: {web: {image: 'a/web:1'}}", "profile: [x]", "unknown key `profile`"),
        ("services: {web: {image: 'a/web:1'}}", "wait_timeout: 2d", "must be from 1s to 3600s"),
    ];
    for (file, more, said) in cases {
        let project = Project::new("wrong", file, more);
        let outcome = project.start();
        outcome.exits(3).says(said);
        assert_eq!(project.all(), "", "{file}");
        assert!(!project.state().join("project").exists(), "{file}");
    }
}

#[test]
fn a_first_deployment_that_is_not_healthy_is_taken_down_and_each_failing_service_says_why() {
    let file = "services:
  web: {command: [/bin/busybox, sh, -c, \"echo web has no config; exit 4\"]}
  worker: {command: [/bin/busybox, sh, -c, \"echo worker has no queue; exit 5\"]}
  good: {command: [/bin/busybox, sleep, \"1000\"], stop_grace_period: 0s}
";
    let images = "images: {web: {archive: image.tar}, worker: {archive: image.tar}, good: {archive: image.tar}}";
    let project = Project::new("first", file, images);
    project.image("image.tar", &Image::new(&format!("{}:1", project.name)));

    let outcome = project.start();

    outcome.exits(8).says("service web exited with code 4").says("service worker exited with code 5");
    outcome.says("web: web has no config").says("worker: worker has no queue");
    outcome.says("previous project: there was none, so nothing serves as");
    assert_eq!(project.all(), "");
}

#[test]
fn good_answers_from_outside_must_come_in_a_row() {
    let project = Project::two("row");
    let listener = world().inside(|| std::net::TcpListener::bind("127.0.0.1:0").unwrap());
    let answers = Answers::flapping(listener, 10);
    let appspec = std::fs::read_to_string(project.bundle.path().join("appspec.yml")).unwrap();
    let health = format!("health: {{http: \"{}\", timeout: 20s, successes: 3}}", answers.url());
    project.bundle.appspec(&appspec.replace("health: {timeout: 20s}", &health));

    project.start().exits(0).says("3 times in a row");

    assert!(answers.asked() >= 20 + 3, "{}", answers.asked());
}

#[test]
fn a_one_shot_service_that_fails_and_a_crash_loop_and_an_unhealthy_service_bring_the_previous_project_back() {
    let project = Project::serving("back");
    let web_id = project.running("web");
    let failing = [
        (
            TWO.replace(
                "services:\n",
                "services:\n  job: {command: [/bin/busybox, sh, -c, \"echo no schema; exit 7\"]}\n",
            )
            .replace("LEVEL: info", "LEVEL: debug"),
            "service job exited with code 7",
            "no schema",
        ),
        (
            TWO.replace("[/bin/busybox, sh, -c, \"trap", "[/bin/busybox, sh, -c, \"echo no disk; exit 9; trap")
                .replace("  db:\n", "  db:\n    restart: always\n"),
            "service db",
            "no disk",
        ),
        (
            TWO.replace("/healthz\"], interval: 10s", "/none\"], interval: 1s, retries: 1, timeout: 1s"),
            "service web is unhealthy",
            "previous project",
        ),
    ];
    for (file, said, log) in failing {
        let images = IMAGES.replace("images: {", "images: {job: {archive: db.tar}, ");
        let appspec = std::fs::read_to_string(project.bundle.path().join("appspec.yml")).unwrap();
        let with_job = if file.contains("job:") { appspec.replace(IMAGES, &images) } else { appspec.clone() };
        project.bundle.appspec(&with_job);
        let db_id = project.running("db");
        project.file("compose.yml", &file);

        let outcome = project.start();

        outcome.exits(8).says(said).says(log).says("is back");
        project.bundle.appspec(&appspec);
        assert_eq!(project.page().as_deref(), Some("one"), "{said}");
        if !said.contains("db") {
            assert_eq!(project.running("db"), db_id, "{said}: what did not change was never touched");
        }
        assert_eq!(project.all().lines().count(), 2, "{said}: {}", project.all());
    }
    assert_ne!(project.running("web"), web_id, "it was made again of the previous release");
}

#[test]
fn only_services_whose_options_or_mounted_files_changed_are_recreated_and_files_of_containers_survive() {
    let mut project = Project::serving("mount");
    let (web_id, db_id) = (project.running("web"), project.running("db"));
    world().docker(&["exec", &web_id, "/bin/busybox", "sh", "-c", "echo precious > /data/written"]);

    project.start().exits(0).says("unchanged");
    assert_eq!((project.running("web"), project.running("db")), (web_id.clone(), db_id.clone()));

    project.file("conf/app.conf", "two");
    let plan = project.bundle.run(&["plan"]);
    assert!(
        plan.stdout.contains("web: recreated (content of ./conf)") && plan.stdout.contains("db: unchanged"),
        "{}",
        plan.stdout
    );
    assert!(
        plan.stdout.contains("pull_policy: never") && plan.stdout.contains("image: \"balehook/"),
        "{}",
        plan.stdout
    );
    project.start().exits(0);

    let new = project.running("web");
    assert_ne!(new, web_id);
    assert_eq!(project.running("db"), db_id);
    let seen = world().docker(&["exec", &new, "/bin/busybox", "cat", "/etc/app/app.conf", "/data/written"]);
    assert_eq!(seen, "twoprecious");

    project.file("compose.yml", &TWO.replace("LEVEL: info", "LEVEL: debug"));
    project.bundle.deployment("d-TEST00003");
    let plan = project.bundle.run(&["plan"]);
    assert!(plan.stdout.contains("web: recreated (environment.LEVEL)"), "{}", plan.stdout);
    assert!(plan.has_line("~ environment LEVEL (sensitive, changed)"), "{}", plan.stdout);
    let only_web = TWO.split("  db:").next().unwrap();
    project.file("compose.yml", only_web);
    let appspec = std::fs::read_to_string(project.bundle.path().join("appspec.yml")).unwrap();
    project.bundle.appspec(&appspec.replace(", db: {archive: db.tar}", ""));
    let plan = project.bundle.run(&["plan"]);
    assert!(plan.stdout.contains("db: removed"), "{}", plan.stdout);
    project.start().exits(0);
    assert_eq!(project.running("db"), "");
}

#[test]
fn a_service_is_recreated_for_what_alone_changed_of_what_it_is_given_from_outside() {
    let file = world().folder().join(format!("{}.conf", world().name("outside")));
    let install = |content: &str| {
        std::fs::write(file.with_extension("new"), content).unwrap();
        std::fs::rename(file.with_extension("new"), &file).unwrap();
    };
    install("one");
    let text = |inline: &str, restart: &str| {
        let web = TWO.replace("\"./data:/data\"]", &format!("\"{}:/host.conf\"]\n    configs: [inline]\n    secrets: [token]\n    deploy: {{restart_policy: {{condition: {restart}}}}}", file.display()));
        format!("{web}configs: {{inline: {{content: {inline}}}}}\nsecrets: {{token: {{environment: OUTSIDE_TOKEN}}}}\n")
    };
    let mut project = Project::two("outside");
    project.bundle.env("OUTSIDE_TOKEN", "hunter1");
    project.file("compose.yml", &text("one", "any"));
    project.start().exits(0);
    let (mut web, db) = (project.running("web"), project.running("db"));
    let has =
        |project: &Project, path: &str| world().docker(&["exec", &project.running("web"), "/bin/busybox", "cat", path]);
    install("one");
    project.start().exits(0).says("unchanged");
    assert_eq!((project.running("web"), project.running("db")), (web.clone(), db.clone()));

    let mut recreated = |project: &Project, why: &str| {
        project.bundle.run(&["plan"]).prints(&format!("web: recreated ({why})")).prints("db: unchanged");
        project.start().exits(0);
        let new = project.running("web");
        assert_ne!(new, web, "{why}");
        web = new;
    };
    install("two");
    recreated(&project, &format!("content of {}", file.display()));
    assert_eq!(has(&project, "/host.conf"), "two");
    project.file("compose.yml", &text("two", "any"));
    recreated(&project, "content of configs.inline");
    assert_eq!(has(&project, "/inline"), "two");
    project.file("compose.yml", &text("two", "on-failure"));
    recreated(&project, "deploy.restart_policy");
    project.bundle.env("OUTSIDE_TOKEN", "hunter2");
    recreated(&project, "content of secrets.token");
    assert_eq!((has(&project, "/run/secrets/token").as_str(), project.running("db")), ("hunter2", db));
}

#[test]
fn what_compose_warns_of_is_shown_once_by_the_plan_and_by_an_event_and_no_part_of_a_secret_is() {
    let project = Project::two("warn");
    project.file("compose.yml", &format!("version: '3'\n{}", TWO.replace("LEVEL: info", "LEVEL: \"${LEVEL_OF_LOG}\"")));
    project.file(".env", "DB_PASSWORD=pa$hunter2\n");
    let warned = [
        "Compose: The \"LEVEL_OF_LOG\" variable is not set. Defaulting to a blank string.",
        "Compose: in a file with variables a `$` begins a variable that is not set",
        "the attribute `version` is obsolete",
    ];
    for outcome in [project.bundle.run(&["plan"]), project.start()] {
        outcome.exits(0);
        for text in warned {
            assert_eq!(outcome.stdout.matches(text).count(), 1, "{text}\n{}", outcome.stdout);
        }
        assert!(!outcome.stdout.contains("hunter2"), "{}", outcome.stdout);
    }
}

#[test]
fn one_service_of_a_file_comes_up_with_what_it_depends_on_and_the_others_stay_as_they_are() {
    let mut project = Project::serving("some");
    let (web, db) = (project.running("web"), project.running("db"));
    let file = TWO.replace("LEVEL: info", "LEVEL: debug").replace("touch /up;", "touch /up /new;");
    project.file("compose.yml", &format!("{}  job:\n    image: PIN\n    depends_on: [db]\n    command: [/bin/busybox, \"true\"]\nvolumes: {{store: {{}}}}\n", file.split("volumes: {").next().unwrap()).replace("PIN", &format!("{}:1", project.name)));
    let appspec = std::fs::read_to_string(project.bundle.path().join("appspec.yml")).unwrap();
    project.bundle.appspec(
        &appspec
            .replace("db: {archive: db.tar}}", "db: {archive: db.tar}, job: {archive: db.tar}}\n    services: [job]"),
    );
    let plan = project.bundle.run(&["plan"]);
    plan.exits(0).prints("--no-build job\n").prints("db: recreated (command)").prints("job: created");
    assert!(!plan.stdout.contains("web: "), "{}", plan.stdout);
    project.start().exits(0);
    assert_eq!(project.running("web"), web);
    assert_ne!(project.running("db"), db);
    project.bundle.hook("ValidateService").exits(0);
    project.bundle.deployment("d-TEST00003").hook("ApplicationStart").exits(0).says("unchanged");
}

#[test]
fn an_image_that_is_lost_before_compose_needs_it_is_brought_in_once_more_for_a_task_and_for_the_project() {
    for task in ["", "  - {name: migrate, service: db, command: [/bin/busybox, echo, migrated]}\n"] {
        let project = Project::two("clost");
        let appspec = std::fs::read_to_string(project.bundle.path().join("appspec.yml")).unwrap();
        project.bundle.appspec(&format!("{appspec}  before:\n  - {{name: lose, run: lose}}\n{task}"));
        let lose = ["image.tar", "db.tar"].map(|file| {
            let (tag, path) = (format!("{}-{file}:1", project.name), project.bundle.path().join(file));
            losing(&tag, &web(&tag, "one").write(&path)).replacen("#!/bin/sh\n", "", 1)
        });
        project.bundle.program("lose", &format!("#!/bin/sh\n{}", lose.concat()));
        project.bundle.hook("AfterInstall").exits(0);

        project.start().exits(0);

        assert_eq!(project.page().as_deref(), Some("one"), "{task}");
        let log = std::fs::read_to_string(project.state().join("balehook.log")).unwrap();
        assert_eq!(log.matches("the image is imported again").count(), 2, "{task}: {log}");
        project.start().exits(0).says("unchanged");
    }
}

#[test]
fn the_agents_restart_mode_finds_each_services_image_without_the_archives_that_a_hook_had_deleted() {
    let mut project = Project::two("restart");
    project.bundle.env("BUNDLE_ETAG", "\"1\"").hook("ApplicationStart").exits(0);
    project.bundle.deployment("d-TEST00002");
    let image = |project: &Project, service: &str| {
        world().docker(&["inspect", "--format", "{{.Image}}", &project.running(service)])
    };
    let before = ["web", "db"].map(|service| image(&project, service));
    assert_ne!(before[0], before[1]);
    for file in ["image.tar", "db.tar"] {
        std::fs::remove_file(project.bundle.path().join(file)).unwrap();
    }

    project.bundle.hook("ApplicationStop").exits(0);
    project.bundle.hook("ApplicationStart").exits(0);

    assert_eq!(["web", "db"].map(|service| image(&project, service)), before);
    // Another revision without its archives is wrong.
    project.bundle.env("BUNDLE_KEY", "other.zip").deployment("d-TEST00003").hook("ApplicationStart").exits(6);
    assert_eq!(["web", "db"].map(|service| image(&project, service)), before);
}

#[test]
fn sigterm_at_every_step_brings_the_previous_project_back() {
    for step in ["] check out ", "up --detach", "] check health"] {
        let project = Project::serving("cterm");
        let db_id = project.running("db");
        // Never healthy: the check fails for ever.
        project.file("compose.yml", &TWO.replace("/healthz", "/none").replace("LEVEL: info", "LEVEL: debug"));
        let mut running = project.bundle.start("ApplicationStart");
        running.wait_until_said(step);
        running.signal(Signal::SIGTERM);
        let outcome = running.wait();

        assert_eq!(outcome.code, Some(12), "{step}: {}", outcome.stdout);
        assert!(outcome.stdout.contains("SIGTERM was received"), "{step}: {}", outcome.stdout);
        assert_eq!(project.page().as_deref(), Some("one"), "{step}");
        assert_eq!(project.running("db"), db_id, "{step}");
        let level = world().inspect(&project.running("web"), "{{range .Config.Env}}{{println .}}{{end}}");
        assert!(level.contains("LEVEL=info"), "{step}: {level}");
        project.bundle.resume().exits(0).says("nothing to recover");
    }
}

#[test]
fn a_deadline_shows_what_was_not_healthy_with_its_last_words_and_the_previous_project_is_back() {
    let project = Project::serving("clate");
    let command = "  web:\n    command: [/bin/busybox, sh, -c, \"echo no database yet; exec sleep 600\"]\n";
    project.file("compose.yml", &TWO.replace("  web:\n", command));
    project.bundle.timeout(15);

    let outcome = project.bundle.start("ApplicationStart").wait();

    outcome
        .exits(9)
        .says("is not healthy yet: service web: HEALTHCHECK")
        .says("  | web: no database yet")
        .says("is back after");
    assert_eq!(project.page().as_deref(), Some("one"));
}

#[test]
fn a_project_that_serves_without_a_saved_release_comes_back_as_it_was_when_the_first_one_fails() {
    for is_ours in [true, false] {
        let mut project = Project::two("cunsaved");
        let text = TWO.replace("  web:\n", &format!("  web:\n    image: {}:1\n", project.name));
        let text = text.replace("  db:\n", &format!("  db:\n    image: {}-db:1\n", project.name));
        let text = text.replace("\"./data:/data\"", "\"/own\"");
        project.file("compose.yml", &text);
        if is_ours {
            project.start().exits(0);
            std::fs::remove_dir_all(project.state()).unwrap();
        } else {
            for file in ["image.tar", "db.tar"] {
                world().docker(&["load", "--input", project.bundle.path().join(file).to_str().unwrap()]);
            }
            let tool = repository().join("target/tools/compose-2.40/usr/libexec/docker/cli-plugins/docker-compose");
            let mut up = std::process::Command::new(tool);
            up.args(["--project-name", &project.name, "--file"]).arg(project.bundle.path().join("app/compose.yml"));
            assert!(up.args(["up", "--detach"]).env("DOCKER_HOST", world().docker_host()).status().unwrap().success());
            world().wait_for("the project", || project.page().is_some());
        }
        world().docker(&["exec", &project.running("web"), "/bin/busybox", "touch", "/own/kept"]);

        let broken = text.replace("touch /up", "exit 3").replace("LEVEL: info", "LEVEL: debug");
        project.file("compose.yml", &broken);
        project.bundle.deployment("d-TEST00002");
        project.start().exits(8).says("is back");

        let web = project.running("web");
        let seen = world().inspect(&web, "{{.Name}} {{range .Config.Env}}{{.}} {{end}}{{.NetworkSettings.Ports}}");
        assert!(seen.starts_with(&format!("/{}-web-1 ", project.name)) && seen.contains("LEVEL=info"), "{seen}");
        world().docker(&["exec", &web, "/bin/busybox", "test", "-e", "/own/kept"]);
        assert_eq!(project.page().as_deref(), Some("one"));
        assert_eq!(project.all().lines().count(), 2, "{}", project.all());
        assert_ne!(project.running("db"), "");
        project.file("compose.yml", &text.replace("LEVEL: info", "LEVEL: trace"));
        project.bundle.deployment("d-TEST00003");
        project.start().exits(0);
        world().docker(&["exec", &project.running("web"), "/bin/busybox", "test", "-e", "/own/kept"]);
    }
}

#[test]
fn a_damaged_snapshot_or_record_neither_takes_the_project_down_nor_blocks_a_revision() {
    let mut project = Project::serving("cdamaged");
    let snapshot = std::fs::read_dir(project.state().join("compose")).unwrap().next().unwrap().unwrap().path();
    std::fs::write(snapshot.join("files.json"), "").unwrap();
    let _ = std::fs::remove_file(project.state().join("images.json"));
    std::fs::create_dir(project.state().join("images.json")).unwrap();

    project.file("compose.yml", &TWO.replace("touch /up", "exit 3"));
    project.start().exits(8).prints("images.json was damaged");
    assert_eq!(project.page().as_deref(), Some("one"));

    project.file("compose.yml", TWO);
    project.bundle.deployment("d-TEST00003");
    project.start().exits(0).says("was damaged: it was made anew");
    assert_eq!(project.page().as_deref(), Some("one"));
}

#[test]
fn a_killed_deployment_is_undone_by_resume_and_a_killed_first_one_is_taken_down() {
    for step in ["up --detach", "] check health"] {
        let project = Project::serving("ckill");
        project.file("compose.yml", &TWO.replace("/healthz", "/none").replace("LEVEL: info", "LEVEL: debug"));
        let mut running = project.bundle.start("ApplicationStart");
        running.wait_until_said(step);
        running.signal(Signal::SIGKILL);
        running.wait();

        project.bundle.resume().exits(0).says("brought back");

        assert_eq!(project.page().as_deref(), Some("one"), "{step}");
        let level = world().inspect(&project.running("web"), "{{range .Config.Env}}{{println .}}{{end}}");
        assert!(level.contains("LEVEL=info"), "{step}: {level}");
        project.bundle.resume().exits(0).says("nothing to recover");
    }
    let project = Project::two("cfirst");
    project.file("compose.yml", &TWO.replace("/healthz", "/none"));
    let mut running = project.bundle.start("ApplicationStart");
    running.wait_until_said("] check health");
    running.signal(Signal::SIGKILL);
    running.wait();
    assert_ne!(project.all(), "");
    project.bundle.resume().exits(0);
    assert_eq!(project.all(), "");
}

#[test]
fn the_next_event_after_a_kill_goes_on_with_the_new_revision() {
    let mut project = Project::serving("cnext");
    project.file("compose.yml", &TWO.replace("/healthz", "/none").replace("LEVEL: info", "LEVEL: debug"));
    let mut running = project.bundle.start("ApplicationStart");
    running.wait_until_said("] check health");
    running.signal(Signal::SIGKILL);
    running.wait();

    project.file("compose.yml", &TWO.replace("LEVEL: info", "LEVEL: trace"));
    project.bundle.deployment("d-TEST00003");
    project.start().exits(0);

    let level = world().inspect(&project.running("web"), "{{range .Config.Env}}{{println .}}{{end}}");
    assert!(level.contains("LEVEL=trace"), "{level}");
    assert_eq!(project.page().as_deref(), Some("one"));
}

#[test]
fn resume_starts_services_that_ran_and_do_not_run_but_not_what_was_stopped_by_hand() {
    let project = Project::serving("cboot");
    let id = project.running("web");
    world().crash(&id);
    project.bundle.resume().exits(0).says("brought back");
    assert_eq!(project.running("web"), id);
    world().wait_for("the service", || project.page().as_deref() == Some("one"));

    world().docker(&["stop", &id]);
    project.bundle.resume().exits(0).says("was stopped by hand and stays so").says("nothing to recover");
    assert_eq!(project.running("web"), "");

    world().crash(&project.running("db"));
    project.bundle.resume().exits(0).says("was stopped by hand and stays so").says("brought back");
    assert_ne!(project.running("db"), "");
    assert_eq!(project.running("web"), "", "nor where another service is brought back");
}

#[test]
fn a_taken_port_is_named_with_its_owner_and_nothing_is_touched() {
    let (first, second) = (Project::serving("powner"), Project::two("pother"));
    second.file("compose.yml", &TWO.replace("PORT", &first.port.to_string()));
    let outcome = second.start();
    outcome.exits(7).says("is taken by container").says(&first.name).says("nothing was touched");
    assert_eq!(second.all(), "");
    assert_eq!(first.page().as_deref(), Some("one"), "another name's containers are never touched");
}

#[test]
fn a_project_that_was_not_made_by_us_is_said_before_it_is_replaced() {
    let project = Project::two("strange");
    project.image("image.tar", &web(&format!("{}:1", project.name), "one"));
    world().docker(&["load", "--input", project.bundle.path().join("image.tar").to_str().unwrap()]);
    let labels = [
        format!("com.docker.compose.project={}", project.name),
        "com.docker.compose.service=other".to_owned(),
        "com.docker.compose.oneoff=False".to_owned(),
    ];
    let stranger = format!("{}-other-1", project.name);
    let mut args = vec!["run", "--detach", "--name", &stranger];
    labels.iter().for_each(|label| args.extend(["--label", label]));
    let tag = format!("{}:1", project.name);
    args.extend([tag.as_str(), "/bin/busybox", "sleep", "1000"]);
    world().docker(&args);

    let plan = project.bundle.run(&["plan"]);

    assert!(plan.stdout.contains("is not managed by balehook") && plan.stdout.contains(&stranger), "{}", plan.stdout);
    assert!(plan.stdout.contains("other: removed"), "{}", plan.stdout);
    world().docker(&["rm", "--force", &stranger]);
}

#[test]
fn images_of_a_registry_run_by_their_digests_and_old_snapshots_go_with_keep() {
    let mut project =
        Project::new("digest", "services: {web: {image: \"REFERENCE\", healthcheck: {test: [CMD, /bin/true]}}}", "");
    let tag = format!("{}:1", project.name);
    let sleeper = Image::new(&tag)
        .file("bin/true", std::fs::read("/bin/busybox").unwrap())
        .command(&["/bin/busybox", "sleep", "1000"]);
    project.image("image.tar", &sleeper);
    world().docker(&["load", "--input", project.bundle.path().join("image.tar").to_str().unwrap()]);
    let digest = world().push(OTHER, &tag, &format!("team/{}:1", project.name));
    world().docker(&["rmi", &tag]);
    std::fs::remove_file(project.bundle.path().join("image.tar")).unwrap();
    let auth = base64(&format!("team:{OTHER_PASSWORD}"));
    project.bundle.docker_config(&format!("{{\"auths\": {{\"{OTHER}\": {{\"auth\": \"{auth}\"}}}}}}"));
    let reference = format!("{OTHER}/team/{}:1", project.name);
    let text = |level: usize| {
        format!(
            "services: {{web: {{image: \"{reference}\", environment: {{N: \"{level}\"}}, healthcheck: {{test: [CMD, /bin/true]}}, stop_grace_period: 0s}}}}"
        )
    };
    let appspec = std::fs::read_to_string(project.bundle.path().join("appspec.yml")).unwrap();
    project.bundle.appspec(&format!("{appspec}  keep: 2\n"));
    for release in 1..=3 {
        project.file("compose.yml", &text(release));
        project.bundle.deployment(&format!("d-{release}"));
        project.start().exits(0);
    }
    let image = world().inspect(&project.running("web"), "{{.Config.Image}}");
    assert_eq!(image, format!("{OTHER}/team/{}@{digest}", project.name));
    let snapshots = std::fs::read_dir(project.state().join("compose")).unwrap().count();
    assert_eq!(snapshots, 2, "as many as keep says");
    assert!(Path::new(&project.state().join("project/compose.yml")).exists());
}

#[test]
fn validating_notices_a_container_that_is_gone_or_another_one() {
    let project = Project::serving("cvalid");
    project.bundle.hook("ValidateService").exits(0);
    world().docker(&["rm", "--force", &project.running("db")]);
    project.bundle.hook("ValidateService").exits(8).says("service db has 0 of 1 containers");
    std::thread::sleep(Duration::from_millis(10));
    project.file("compose.yml", &TWO.replace("LEVEL: info", "LEVEL: debug"));
    project.bundle.hook("ValidateService").exits(8);
}
