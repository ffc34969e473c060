//! Nothing leaks: secrets are planted at every door, projects are deployed in all three modes, well and badly, and then every
//! file, line, process, journal entry and event of it is searched for them. What is found is what the book says, and no more.

mod planted;
mod watch;

use std::path::Path;

use crate::compose::Project;
use crate::registry::push;
use crate::support::cluster::{alone, appspec};
use crate::support::codedeploy::Aws;
use crate::support::images::web;
use crate::support::world::{OTHER, OTHER_PASSWORD, base64};
use crate::support::{Bundle, Image, Outcome, world};
use planted::{Found, Planted};
use watch::{Events, Journal, Watch};

/// In container mode: what the container gets by `environment` and `env_file`.
const ENVIRONMENT: [&str; 15] = [
    "literal", "url", "build.env", "build.json", "env_file of the bundle", "env_file of the host", "env_file in S3",
    "env_file ssm", "env_file secretsmanager", "ssm", "secretsmanager", "secretsmanager key", "s3", "kms", "command",
];

/// Of those, what a release keeps: it comes back without its bundle.
const KEPT: [&str; 6] = ["literal", "url", "build.env", "build.json", "env_file of the bundle", "env_file of the host"];

const SECRETS: [&str; 4] = ["secret of the bundle", "secret of the host", "secret of the hook", "secret of build.env"];

/// What was printed and written, with where.
struct Searched {
    planted: Planted,
    found: Found,
}

impl Searched {
    /// No output of a command holds a secret.
    fn saw(&mut self, what: &str, outcome: Outcome) -> Outcome {
        self.planted.look(&format!("output of {what}"), outcome.stdout.as_bytes(), &mut self.found);
        self.planted.look(&format!("log of {what}"), outcome.stderr.as_bytes(), &mut self.found);
        outcome
    }

    fn hook(&mut self, bundle: &Bundle, event: &str, code: i32) -> Outcome {
        let outcome = self.saw(event, bundle.hook(event));
        outcome.exits(code);
        outcome
    }

    /// A command that takes the bundle.
    fn run(&mut self, bundle: &Bundle, line: &str, code: i32) {
        self.saw(line, bundle.run(&line.split(' ').collect::<Vec<_>>())).exits(code);
    }

    /// A command that takes none.
    fn bare(&mut self, bundle: &Bundle, line: &str, code: i32) {
        self.saw(line, bundle.run_bare(&line.split(' ').collect::<Vec<_>>())).exits(code);
    }

    /// What a person looks at afterwards, of a name and a deployment.
    fn looked_at(&mut self, bundle: &Bundle, name: &str, out: &Path) {
        let out = out.display();
        for line in [
            format!("status {name}"),
            format!("status {name} --format json"),
            format!("status {name} --prometheus={out}/metrics"),
            format!("status {name} --emf"),
            format!("history {name}"),
            format!("history {name} --format json"),
            format!("history {name} --deployment d-3"),
            format!("history {name} --deployment d-3 --html {out}/page.html"),
            format!("history {name} --deployment d-1 --html -"),
            format!("logs {name}"),
            format!("logs {name} --deployment d-3"),
            "rollback --dry-run".to_owned(),
            "prune".to_owned(),
            "resume".to_owned(),
        ] {
            // Their schemas are held elsewhere.
            let outcome = bundle.start_bare(&line.split(' ').collect::<Vec<_>>()).wait();
            self.saw(&line, outcome);
        }
    }
}

fn expected(places: &[(&str, &[&str])]) -> Found {
    let each = |(place, doors): &(&str, &[&str])| doors.iter().map(|door| ((*place).into(), (*door).into())).collect();
    places
        .iter()
        .flat_map(|place| {
            let all: Vec<(String, String)> = each(place);
            all
        })
        .collect()
}

/// What is planted for container mode, and the bundle that asks for it.
struct InContainer {
    bundle: Bundle,
    name: String,
    service: String,
    rest: String,
    _aws: Aws,
    _memory: tempfile::TempDir,
    run_dir: std::path::PathBuf,
}

fn in_container(planted: &mut Planted, host: &Path) -> InContainer {
    let (world, name, aws, port) = (world(), world().name("leaks"), Aws::start("web"), world().port());
    let mut word = |door: &str| planted.word(door);
    let ssm = |name: &str, value: &str| {
        aws.cli(&["ssm", "put-parameter", "--type", "SecureString", "--name", name, "--value", value]);
    };
    ssm("/leaks/one", &word("ssm"));
    ssm("/leaks/all/PLAIN", &word("env_file ssm"));
    let secret = |name: &str, value: &str| {
        aws.cli(&["secretsmanager", "create-secret", "--name", name, "--secret-string", value]);
    };
    secret("leaks/whole", &word("secretsmanager"));
    secret("leaks/json", &serde_json::json!({"key": word("secretsmanager key")}).to_string());
    secret("leaks/all", &serde_json::json!({"all": word("env_file secretsmanager")}).to_string());
    let key = aws.cli(&["kms", "create-key", "--query", "KeyMetadata.KeyId", "--output", "text"]);
    let (key, text) = (key.trim().to_owned(), word("kms"));
    let encrypt = ["kms", "encrypt", "--key-id", &key, "--query", "CiphertextBlob", "--output", "text", "--plaintext"];
    let cipher = aws.cli(&[&encrypt[..], &[&text]].concat());
    let put = |file: &str, text: String| {
        std::fs::write(host.join(file), text).unwrap();
        host.join(file)
    };
    let object = world.put("secrets", &format!("{name}/value"), &put("value", word("s3")));
    let env = world.put(
        "secrets",
        &format!("{name}/web.env"),
        &put("s3.env", format!("OBJECT_LINE={}\n", word("env_file in S3"))),
    );
    let (hosted, printed) =
        (put("host.env", format!("HOSTED={}\n", word("env_file of the host"))), put("printed", word("command")));
    let (key_file, task) = (put("key", word("secret of the host")), word("task"));
    let service = format!(
        "image: {{archive: image.tar}}\nports: [\"127.0.0.1:{port}:80\"]\nstop_grace_period: 1s\n\
         env_file: [web.env, '{}', '{env}', 'ssm:///leaks/all/', 'secretsmanager://leaks/all']\n\
         environment:\n  DB_PASSWORD: {}\n  ADDRESS: postgres://app:{}@db/app\n  BUILT_TOKEN: ${{BUILD_TOKEN}}\n  JSON_TOKEN: ${{JSON_TOKEN}}\n  \
         ONE: {{ssm: /leaks/one}}\n  WHOLE: {{secretsmanager: leaks/whole}}\n  KEYED: {{secretsmanager: leaks/json, key: key}}\n  \
         OBJECT: {{s3: '{object}'}}\n  CIPHER: {{kms: '{}'}}\n  PRINTED: {{command: [/bin/sh, -c, 'sleep 0.1; cat \"$0\"', '{}']}}\n\
         secrets: [of-bundle, of-host, of-hook, of-build]",
        hosted.display(),
        word("literal"),
        word("url"),
        cipher.trim(),
        printed.display()
    );
    let told = host.join("told");
    let rest = format!(
        "variables: [build.env, build.json]\n\
         secrets:\n  of-bundle: {{file: key}}\n  of-host: {{file: '{}'}}\n  of-hook: {{environment: HOOKED}}\n  of-build: {{environment: BUILT}}\n\
         health: {{http: {{path: /healthz, headers: {{X-Probe: {}}}}}, timeout: 20s}}\n\
         notify:\n  - {{on: [success, failure, rollback], webhook: 'http://127.0.0.1:9/T0/{}', headers: {{Authorization: Bearer {}}}}}\n  \
         - {{on: [success, failure, rollback], command: [/bin/sh, -c, 'cat >> \"$0\"', '{}']}}\n\
         before:\n  - {{name: migrate, command: [/bin/busybox, sleep, \"0.1\"], environment: {{TASK_PASSWORD: {task}}}}}\n  \
         - {{name: warm, run: warm}}",
        key_file.display(),
        word("health header"),
        word("webhook"),
        word("webhook header"),
        told.display()
    );
    let mut bundle = Bundle::container(&name, &service, &rest);
    let write = |file: &str, text: String| std::fs::write(bundle.path().join(file), text).unwrap();
    write("build.env", format!("BUILD_TOKEN={}\nBUILT={}\n", word("build.env"), word("secret of build.env")));
    write("build.json", serde_json::json!({"JSON_TOKEN": word("build.json")}).to_string());
    write("web.env", format!("PLAIN_NAME={}\n", word("env_file of the bundle")));
    write("key", word("secret of the bundle"));
    bundle.program("warm", "#!/bin/sh\nsleep 0.1\n");
    let memory = tempfile::tempdir_in("/dev/shm").unwrap();
    bundle.env("HOOKED", &word("secret of the hook")).env("BALEHOOK_RUN_DIR", memory.path().to_str().unwrap());
    for service in ["SSM", "SECRETS_MANAGER", "KMS"] {
        bundle.env(&format!("AWS_ENDPOINT_URL_{service}"), &aws.url());
    }
    planted.add("registry password", OTHER_PASSWORD);
    planted.add("AWS secret key", "tests-secret");
    let auth = base64(&format!("team:{OTHER_PASSWORD}"));
    planted.add("registry credentials", &auth);
    bundle.docker_config(&format!(r#"{{"auths":{{"{OTHER}":{{"auth":"{auth}"}}}}}}"#));
    web(&format!("{name}:1"), "one").write_into(&bundle.path());
    push(&name, OTHER, "2", "two");
    let run_dir = memory.path().to_owned();
    InContainer { bundle, name, service, rest, _aws: aws, _memory: memory, run_dir }
}

impl InContainer {
    /// Well from an archive, well from a registry, broken, back, and by hand.
    fn deploy(&mut self, searched: &mut Searched, host: &Path, out: &Path) {
        let (name, out) = (self.name.clone(), out.join("out"));
        std::fs::create_dir(&out).unwrap();
        for (line, code) in
            [("check", 0), ("check --format json", 0), ("check --format sarif", 0), ("check --format github", 0)]
        {
            searched.run(&self.bundle, line, code);
        }
        for line in ["plan", "plan --format json", "plan --format markdown", "plan --offline", "-vv plan"] {
            searched.run(&self.bundle, line, 0);
        }
        self.bundle.deployment("d-1");
        for event in ["BeforeInstall", "AfterInstall", "ApplicationStart", "ValidateService"] {
            let said = searched.hook(&self.bundle, event, 0).stdout.contains("(said once)");
            assert_eq!(said, event == "ApplicationStart", "{event}");
        }
        let archive = "{archive: image.tar}";
        let pulled = self.service.replace(archive, &format!("{OTHER}/{name}:2"));
        self.bundle.appspec(&crate::support::bundle::appspec(&name, &pulled, &self.rest));
        self.bundle.deployment("d-2");
        searched.run(&self.bundle, "-vv run BeforeInstall AfterInstall ApplicationStart", 0);

        self.inspected(&searched.planted);

        self.bundle.appspec(&crate::support::bundle::appspec(&name, &self.service, &self.rest));
        Image::new(&format!("{name}:3")).script("echo no database; exit 3").write_into(&self.bundle.path());
        let (program, journal) = (crate::support::bundle::BINARY, Journal::start(host));
        self.bundle.deployment("d-3").env("BALEHOOK_BIN", &journal.program());
        searched.hook(&self.bundle, "ApplicationStart", 8);
        let entries = journal.entries();
        assert!(
            String::from_utf8_lossy(&entries).contains("BALEHOOK_DEPLOYMENT=d-3"),
            "{}",
            String::from_utf8_lossy(&entries)
        );
        searched.planted.look("journal", &entries, &mut searched.found);
        self.bundle.env("BALEHOOK_BIN", program);

        searched.looked_at(&self.bundle, &name, &out);
        for line in ["doctor", "doctor --format json"] {
            let outcome = self.bundle.start_bare(&line.split(' ').collect::<Vec<_>>()).wait();
            searched.saw(line, outcome);
        }
        searched.bare(&self.bundle, &format!("import {name} --output {}/imported", out.display()), 0);
        searched.bare(&self.bundle, &format!("rollback {name}"), 0);
        searched.bare(&self.bundle, &format!("restart {name}"), 0);
        let wrong = self.service.replace("key: key", "key: none");
        self.bundle.appspec(&crate::support::bundle::appspec(&name, &wrong, &self.rest));
        self.bundle.deployment("d-4");
        searched.hook(&self.bundle, "BeforeInstall", 7);

        searched.planted.look_below(self.bundle.state(), "state", &mut searched.found);
        searched.planted.look_below(&out, "written", &mut searched.found);
        searched.planted.look("told", &std::fs::read(host.join("told")).unwrap(), &mut searched.found);
        searched.planted.look_below(&self.run_dir, "memory", &mut searched.found);
    }

    /// They did arrive: variables where anybody may see them who may inspect, secrets inside the container alone.
    fn inspected(&self, planted: &Planted) {
        let inspected = world().docker(&["inspect", &self.name]);
        assert_eq!(planted.within(inspected.as_bytes()), ENVIRONMENT.map(str::to_owned).into());
        let cat = ["exec", "--user", "0", &self.name, "/bin/busybox", "sh", "-c", "cat /run/secrets/*"];
        assert_eq!(planted.within(world().docker(&cat).as_bytes()), SECRETS.map(str::to_owned).into());
    }
}

const COMPOSE: &str = "services:
  web:
    ports: [\"127.0.0.1:PORT:80\"]
    healthcheck: {test: [CMD, /bin/busybox, \"true\"], interval: 1s}
    environment: {LITERAL_PASSWORD: LITERAL, BUILT: \"${BUILT}\", HOOKED: \"${HOOKED}\", DOTTED: \"${DOTTED}\"}
    env_file: [web.env]
    secrets: [file, variable]
    stop_grace_period: 1s
secrets: {file: {file: ./key}, variable: {environment: VARIABLE}}
";

fn in_compose(planted: &mut Planted) -> Project {
    let mut project = Project::new("leaksc", "", "images: {web: {archive: image.tar}}");
    let mut word = |door: &str| planted.word(door);
    project.file("compose.yml", &COMPOSE.replace("LITERAL,", &format!("{},", word("literal"))));
    project.file("web.env", &format!("PLAIN={}\n", word("env_file")));
    project.file(".env", &format!("DOTTED={}\n", word(".env")));
    project.file("key", &word("secret of a file"));
    let bundle = &mut project.bundle;
    let text = std::fs::read_to_string(bundle.path().join("appspec.yml")).unwrap();
    bundle.appspec(&(text + "  variables: [build.env]\n"));
    let built = format!("BUILT={}\nVARIABLE={}\n", word("build.env"), word("secret of build.env"));
    std::fs::write(bundle.path().join("build.env"), built).unwrap();
    bundle.env("HOOKED", &word("hook"));
    project.image("image.tar", &web(&format!("{}:1", project.name), "one"));
    project
}

fn deploy_project(project: &mut Project, searched: &mut Searched, host: &Path) {
    let (name, out) = (project.name.clone(), host.join("out"));
    std::fs::create_dir(&out).unwrap();
    for line in ["check", "plan"] {
        searched.run(&project.bundle, line, 0);
    }
    project.bundle.deployment("d-1");
    for event in ["BeforeInstall", "AfterInstall", "ApplicationStart", "ValidateService"] {
        searched.hook(&project.bundle, event, 0);
    }
    project.image("image.tar", &web(&format!("{name}:2"), "two"));
    project.bundle.deployment("d-2");
    searched.run(&project.bundle, "-vv run ApplicationStart", 0);
    project.image("image.tar", &Image::new(&format!("{name}:3")).script("echo no database; exit 3"));
    project.bundle.deployment("d-3");
    searched.hook(&project.bundle, "ApplicationStart", 8);
    searched.looked_at(&project.bundle, &name, &out);
    searched.bare(&project.bundle, &format!("rollback {name}"), 0);
    searched.planted.look_below(project.bundle.state(), "state", &mut searched.found);
    searched.planted.look_below(&out, "written", &mut searched.found);
}

fn in_swarm(planted: &mut Planted) -> (Bundle, String) {
    let name = world().name("leakss");
    let mut word = |door: &str| planted.word(door);
    let service = format!(
        "image: {{archive: image.tar}}\nstop_grace_period: 1s\nenv_file: [web.env]\nenvironment: {{DB_PASSWORD: {}}}\n\
         secrets: [{{source: {name}-file, file: key}}, {name}-defined, {name}-variable]\n\
         deploy: {{update_config: {{monitor: 1s}}, rollback_config: {{monitor: 1s}}}}",
        word("literal")
    );
    let rest = format!(
        "health: {{timeout: 30s}}\nvariables: [build.env]\n\
         secrets: {{{name}-defined: {{file: other}}, {name}-variable: {{environment: VARIABLE}}}}"
    );
    let bundle = alone().bundle(1, &appspec(&name, &service, &rest));
    let write = |file: &str, text: String| std::fs::write(bundle.path().join(file), text).unwrap();
    write("web.env", format!("PLAIN={}\n", word("env_file")));
    write("key", word("secret of a file"));
    write("other", word("secret of a defined file"));
    write("build.env", format!("VARIABLE={}\n", word("secret of build.env")));
    web(&format!("{name}:1"), "one").write_into(&bundle.path());
    (bundle, name)
}

fn deploy_service((bundle, name): &mut (Bundle, String), searched: &mut Searched, host: &Path) {
    let out = host.join("out");
    std::fs::create_dir(&out).unwrap();
    for line in ["check", "plan"] {
        searched.run(bundle, line, 0);
    }
    bundle.deployment("d-1");
    for event in ["BeforeInstall", "AfterInstall", "ApplicationStart", "ValidateService"] {
        searched.hook(bundle, event, 0);
    }
    web(&format!("{name}:2"), "two").write_into(&bundle.path());
    bundle.deployment("d-2");
    searched.run(bundle, "-vv run ApplicationStart", 0);
    Image::new(&format!("{name}:3")).script("echo no database; exit 3").write_into(&bundle.path());
    bundle.deployment("d-3");
    searched.hook(bundle, "ApplicationStart", 8);
    searched.looked_at(bundle, name, &out);
    searched.bare(bundle, &format!("rollback {name}"), 0);
    searched.planted.look_below(bundle.state(), "state", &mut searched.found);
    searched.planted.look_below(&out, "written", &mut searched.found);
    alone().docker(1, &["service", "rm", name]);
}

/// What is found while `deploy` runs, and afterwards. What is seen of a moment alone is at most `passing`.
fn searched(
    planted: Planted,
    docker_host: &str,
    (state, name): (&Path, &str),
    passing: &[(&str, &[&str])],
    deploy: impl FnOnce(&mut Searched, &Path),
) -> Found {
    let host = tempfile::tempdir_in(world().folder()).unwrap();
    let events = Events::of(docker_host, host.path());
    let watch = Watch::start(planted.clone(), state.join(name));
    let mut searched = Searched { planted, found: Found::new() };
    deploy(&mut searched, host.path());
    let events = events.stop();
    assert!(events.contains(name), "{events}");
    searched.planted.look("events", events.as_bytes(), &mut searched.found);
    searched.found.extend(watch.stop());
    let all = searched.found.into_iter().map(|(place, door)| (place.replace(name, "NAME"), door));
    let passing = expected(passing);
    all.filter(|found| !passing.contains(found)).collect()
}

const JOURNAL: &str = "journal under way";
const CHILD: &str = "environment of a child";

#[test]
fn secrets_of_a_container_are_found_where_the_book_says_and_nowhere_else() {
    let (mut planted, host) = (Planted::default(), tempfile::tempdir_in(world().folder()).unwrap());
    let mut container = in_container(&mut planted, host.path());
    assert_eq!(planted.count(), 26);
    let (state, name) = (container.bundle.state().to_owned(), container.name.clone());
    let kept: Vec<&str> = KEPT.into_iter().chain(["health header"]).collect();
    let found = searched(
        planted,
        &world().docker_host(),
        (&state, &name),
        &[
            (JOURNAL, &kept),
            (CHILD, &["secret of the hook", "AWS secret key"]),
            // Other tests put objects into the S3 server by it, at the same time.
            ("arguments of curl", &["AWS secret key"]),
            ("arguments of nsenter", &["AWS secret key"]),
        ],
        |searched, out| container.deploy(searched, host.path(), out),
    );
    let wanted = expected(&[
        ("state/NAME/releases/N.json", &kept),
        ("state/NAME/notify.json", &["webhook", "webhook header"]),
        ("state/NAME/secrets/DIGEST", &["secret of the bundle", "secret of the hook", "secret of build.env"]),
        ("memory/secrets/NAME/DIGEST/N", &SECRETS),
    ]);
    assert_eq!(found, wanted);
}

#[test]
fn secrets_of_a_project_are_found_where_the_book_says_and_nowhere_else() {
    let mut planted = Planted::default();
    let mut project = in_compose(&mut planted);
    let (state, name) = (project.bundle.state().to_owned(), project.name.clone());
    let variables = ["build.env", "hook", "secret of build.env"];
    let found = searched(planted, &world().docker_host(), (&state, &name), &[(CHILD, &variables)], |searched, out| {
        deploy_project(&mut project, searched, out);
    });
    let wanted = expected(&[
        ("state/NAME/compose/DIGEST/variables.json", &variables),
        ("state/NAME/compose/DIGEST/files.json", &["secret of a file"]),
        // The digests of the project's files, which lie beside it.
        ("state/NAME/project.json", &["secret of a file"]),
        ("state/NAME/compose/DIGEST/tree/compose.yml", &["literal"]),
        ("state/NAME/compose/DIGEST/tree/web.env", &["env_file"]),
        ("state/NAME/compose/DIGEST/tree/.env", &[".env"]),
        ("state/NAME/compose/DIGEST/tree/key", &["secret of a file"]),
        ("state/NAME/project/compose.yml", &["literal"]),
        ("state/NAME/project/web.env", &["env_file"]),
        ("state/NAME/project/.env", &[".env"]),
        ("state/NAME/project/key", &["secret of a file"]),
    ]);
    assert_eq!(found, wanted);
}

#[test]
fn secrets_of_a_service_are_found_where_the_book_says_and_nowhere_else() {
    let mut planted = Planted::default();
    let mut service = in_swarm(&mut planted);
    let (state, name) = (service.0.state().to_owned(), service.1.clone());
    let kept = ["literal", "env_file"];
    let found = searched(planted, &alone().docker_host(1), (&state, &name), &[(JOURNAL, &kept)], |searched, out| {
        deploy_service(&mut service, searched, out);
    });
    assert_eq!(found, expected(&[("state/NAME/releases/N.json", &kept)]));
}
