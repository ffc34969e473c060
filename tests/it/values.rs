//! Values that a deployment fetches: from moto's SSM, Secrets Manager and KMS, from S3, and from a program of the host.

use std::path::Path;

use crate::compose::Project;
use crate::support::cluster::{alone, appspec};
use crate::support::codedeploy::Aws;
use crate::support::images::web;
use crate::support::{Bundle, world};

/// A newline, `=`, quotes, a dollar sign, and letters beyond ASCII.
const ODD: &str = "a=b\nit's \"c\" $HOME é";

/// A deployment whose variables lie everywhere.
struct Fetching {
    aws: Aws,
    bundle: Bundle,
    /// Of this test: not that of this machine.
    memory: tempfile::TempDir,
    name: String,
    large: String,
}

fn fetching(stem: &str) -> Fetching {
    let (world, name, aws, port) = (world(), world().name(stem), Aws::start("web"), world().port());
    let large = "0123456789abcdef".repeat(4096);
    aws.cli(&["ssm", "put-parameter", "--type", "SecureString", "--name", "/prod/db/password", "--value", ODD]);
    for (name, value) in [("LEVEL", "info"), ("odd.name", ODD)] {
        aws.cli(&[
            "ssm",
            "put-parameter",
            "--type",
            "String",
            "--name",
            &format!("/prod/web/{name}"),
            "--value",
            value,
        ]);
    }
    let json = serde_json::json!({"password": ODD, "port": 5432}).to_string();
    for (secret, value) in [("prod/db", json.as_str()), ("prod/large", &large), ("prod/plain", "no JSON")] {
        aws.cli(&["secretsmanager", "create-secret", "--name", secret, "--secret-string", value]);
    }
    let scratch = tempfile::tempdir_in(world.folder()).unwrap();
    let binary = scratch.path().join("binary");
    std::fs::write(&binary, b"\x00\xff").unwrap();
    let binary = format!("fileb://{}", binary.display());
    aws.cli(&["secretsmanager", "create-secret", "--name", "prod/binary", "--secret-binary", &binary]);
    aws.cli(&["secretsmanager", "put-secret-value", "--secret-id", "prod/plain", "--secret-string", "newer"]);
    let key = aws.cli(&["kms", "create-key", "--query", "KeyMetadata.KeyId", "--output", "text"]);
    let encrypt = ["kms", "encrypt", "--key-id", key.trim(), "--encryption-context", "app=web", "--plaintext", ODD];
    let cipher = aws.cli(&[&encrypt[..], &["--query", "CiphertextBlob", "--output", "text"]].concat());
    let (file, archive) = (scratch.path().join("value"), scratch.path().join("image.tar"));
    std::fs::write(&file, ODD).unwrap();
    let object = world.put("secrets", &format!("{name}/value"), &file);
    let file = scratch.path().join("large");
    std::fs::write(&file, &large).unwrap();
    let large_object = world.put("secrets", &format!("{name}/large"), &file);
    let service = format!(
        "image: {{archive: image.tar}}\nports: [\"127.0.0.1:{port}:80\"]\nstop_grace_period: 1s\nenv_file: ['ssm:///prod/web/', 'secretsmanager://prod/db']\n\
         environment:\n  PLAIN: text\n  PARAMETER: {{ssm: /prod/db/password}}\n  \
         KEY: {{secretsmanager: prod/db, key: password}}\n  LARGE: {{secretsmanager: prod/large}}\n  TEXT: {{secretsmanager: prod/plain, version: AWSPREVIOUS}}\n  \
         NEWER: {{secretsmanager: prod/plain}}\n  \
         OBJECT: {{s3: '{object}'}}\n  LARGE_OBJECT: {{s3: '{large_object}'}}\n  CIPHER: {{kms: '{}', context: {{app: web}}}}\n  \
         PRINTED: {{command: [/bin/sh, -c, 'echo \"$$SAID\"']}}\n  \
         LARGE_PRINTED: {{command: [/bin/sh, -c, 'printf %65536s']}}\nsecrets: [password, key]",
        cipher.trim()
    );
    let rest = "health: {http: /healthz, timeout: 20s}\n\
                secrets: {password: { ssm: /prod/db/password }, key: { secretsmanager: prod/binary }}";
    let mut bundle = Bundle::container(&name, &service, rest);
    let memory = tempfile::tempdir_in("/dev/shm").unwrap();
    bundle.env("BALEHOOK_RUN_DIR", memory.path().to_str().unwrap());
    web(&format!("{name}:1"), "one").write(&archive);
    std::fs::copy(&archive, bundle.path().join("image.tar")).unwrap();
    for service in ["SSM", "SECRETS_MANAGER", "KMS"] {
        bundle.env(&format!("AWS_ENDPOINT_URL_{service}"), &aws.url());
    }
    bundle.env("SAID", "printed by\na=\"program\"");
    Fetching { aws, bundle, memory, name, large }
}

impl Fetching {
    /// A variable of the container that serves.
    fn variable(&self, name: &str) -> Option<String> {
        let all: Vec<String> = serde_json::from_str(&world().inspect(&self.name, "{{json .Config.Env}}")).unwrap();
        all.iter().find_map(|var| Some(var.strip_prefix(name)?.strip_prefix('=')?.to_owned()))
    }

    /// What a file of the container that serves has, with the bytes that are no text as `od` writes them.
    fn file(&self, name: &str) -> String {
        let script = format!("/bin/busybox od -An -c /run/secrets/{name}");
        let printed = world().docker(&["exec", &self.name, "/bin/busybox", "sh", "-c", &script]);
        printed.split_whitespace().collect::<Vec<_>>().join(" ")
    }

    fn rewrite(&self, from: &str, to: &str) {
        let path = self.bundle.path().join("appspec.yml");
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.contains(from), "{from}");
        std::fs::write(path, text.replace(from, to)).unwrap();
    }
}

/// Files below a folder that hold one of the texts.
fn holding(folder: &Path, texts: &[&str], found: &mut Vec<String>) {
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            holding(&path, texts, found);
        } else if let Ok(bytes) = std::fs::read(&path) {
            let text = String::from_utf8_lossy(&bytes);
            found.extend(
                texts
                    .iter()
                    .filter(|wanted| text.contains(**wanted))
                    .map(|wanted| format!("{}: {wanted}", path.display())),
            );
        }
    }
}

#[test]
fn values_of_every_source_reach_the_container_whole_and_stand_in_no_record_and_one_that_changes_is_one_redeployment() {
    let mut web = fetching("fetching");
    web.bundle.hook("BeforeInstall").exits(0);
    web.aws.calls();
    web.bundle.hook("ApplicationStart").exits(0);
    let mut calls = web.aws.calls();
    calls.sort();
    let wanted = [
        "kms Decrypt",
        "secretsmanager BatchGetSecretValue",
        "secretsmanager GetSecretValue",
        "secretsmanager GetSecretValue",
        "secretsmanager GetSecretValue",
        "ssm GetParameters",
        "ssm GetParametersByPath",
    ];
    assert_eq!(calls, wanted, "one call for what lies together");
    for (name, value) in [
        ("PLAIN", "text"),
        ("PARAMETER", ODD),
        ("KEY", ODD),
        ("LARGE", web.large.as_str()),
        ("TEXT", "no JSON"),
        ("NEWER", "newer"),
        ("OBJECT", ODD),
        ("LARGE_OBJECT", web.large.as_str()),
        ("CIPHER", ODD),
        ("PRINTED", "printed by\na=\"program\""),
        ("LARGE_PRINTED", &" ".repeat(65_536)),
        ("LEVEL", "info"),
        ("odd.name", ODD),
        ("password", ODD),
        ("port", "5432"),
    ] {
        assert_eq!(web.variable(name).as_deref(), Some(value), "{name}");
    }
    assert_eq!(web.file("key"), r"\0 377", "a file may be binary");
    let parameter = web.file("password");
    assert!(parameter.starts_with("a = b \\n i t ' s"), "{parameter}");
    let secret = ["it's", "printed by", &web.large[..64]];
    let mut found = Vec::new();
    holding(web.bundle.state(), &secret, &mut found);
    assert_eq!(found, [""; 0], "no record has a value");

    let running = world().running(&web.name);
    web.bundle.deployment("d-TEST00002").hook("ApplicationStart").exits(0);
    assert_eq!(world().running(&web.name), running, "the same values are no change");

    web.aws.cli(&["ssm", "put-parameter", "--overwrite", "--name", "/prod/db/password", "--value", "rotated"]);
    let plan = web.bundle.run(&["plan", "ApplicationStart"]);
    plan.exits(0).prints("environment PARAMETER").prints("secrets.password").prints("sensitive");
    assert!(!plan.stdout.contains("rotated") && !plan.stdout.contains("it's"), "{}", plan.stdout);
    web.bundle.deployment("d-TEST00003").hook("ApplicationStart").exits(0);
    assert_eq!(web.variable("PARAMETER").as_deref(), Some("rotated"));
    assert_eq!(web.file("password"), "r o t a t e d");

    let dry = web.bundle.run_bare(&["rollback", &web.name, "--to", "d-TEST00001", "--dry-run"]);
    dry.exits(0).prints("PRINTED, ").prints("password, key: fetched anew");
    let back = web.bundle.run_bare(&["rollback", &web.name, "--to", "d-TEST00001"]);
    back.exits(0)
        .says("PARAMETER has another value than the release had")
        .says("secret password has another value than the release had");
    assert_eq!(web.file("password"), "r o t a t e d");
    assert_eq!(web.variable("PARAMETER").as_deref(), Some("rotated"));
    assert_eq!(web.variable("KEY").as_deref(), Some(ODD));
    let mut found = Vec::new();
    holding(web.bundle.state(), &secret, &mut found);
    assert_eq!(found, [""; 0]);

    // A host that was restarted has no copy of it.
    world().docker(&["kill", &web.name]);
    std::fs::remove_dir_all(web.memory.path().join("secrets")).unwrap();
    web.aws.calls();
    web.bundle.run_bare(&["start", &web.name]).exits(0).says("write to memory");
    let mut calls = web.aws.calls();
    calls.sort();
    assert_eq!(calls, ["secretsmanager GetSecretValue", "ssm GetParameters"], "the variables are the container's");
    assert_eq!(web.file("password"), "r o t a t e d");
    assert_eq!(web.file("key"), r"\0 377");
}

#[test]
fn in_a_swarm_a_value_that_changes_is_one_redeployment_of_its_variable_and_its_secret() {
    let (cluster, name) = (alone(), world().name("sfetching"));
    let folder = tempfile::tempdir_in(world().folder()).unwrap();
    let file = folder.path().join("value");
    let source = format!("{{command: [/bin/cat, {}]}}", file.display());
    let swarm = format!(
        "image: {{archive: image.tar}}\nstop_grace_period: 1s\nenvironment: {{TOKEN: {source}}}\nsecrets: [token]\n\
         deploy: {{update_config: {{monitor: 1s}}, rollback_config: {{monitor: 1s}}}}"
    );
    let script = "test $TOKEN = $OWN && test $TOKEN = `/bin/busybox cat /run/secrets/token`";
    let rest = format!(
        "health: {{timeout: 30s}}\nsecrets: {{token: {source}}}\n\
         before: [{{name: migrate, command: [/bin/busybox, sh, -c, '{}'], environment: {{OWN: {source}}}}}]",
        script.replace('$', "$$")
    );
    let mut bundle = cluster.bundle(1, &appspec(&name, &swarm, &rest));
    web(&format!("{name}:1"), "one").write_into(&bundle.path());
    let secrets = || {
        let all = cluster.docker(1, &["secret", "ls", "--format", "{{.Name}}", "--filter", "name=token-"]);
        all.lines().count()
    };
    let inside = || {
        let label = format!("label=com.docker.swarm.service.name={name}");
        let running = || cluster.docker(1, &["ps", "--quiet", "--filter", &label]);
        cluster.wait_for("the old task's end", || running().lines().count() == 1);
        let container = running();
        let script = "echo $TOKEN; /bin/busybox cat /run/secrets/token";
        cluster.docker(1, &["exec", &container, "/bin/busybox", "sh", "-c", script])
    };
    for (deployment, value, made) in [("d-TEST00001", "planted-one", 1), ("d-TEST00002", "planted-two", 2)] {
        std::fs::write(&file, value).unwrap();
        bundle.deployment(deployment).hook("ApplicationStart").exits(0).says("docker secret create token-");
        assert_eq!(inside(), format!("{value}\n{value}"));
        assert_eq!(secrets(), made);
        bundle.hook("ApplicationStart").exits(0).says("unchanged");
    }
    std::fs::write(&file, "planted-three").unwrap();
    bundle.deployment("d-TEST00003").hook("ApplicationStart").exits(0);
    assert_eq!(secrets(), 2, "that of the release before the last is gone");
    let mut found = Vec::new();
    holding(bundle.state(), &["planted"], &mut found);
    assert_eq!(found, [""; 0], "no record has a value");
    cluster.docker(1, &["service", "rm", &name]);
}

/// `web` has two variables that are fetched and a secret that is made of one, `db` none.
const SHOP: &str = "services:
  web:
    ports: [\"127.0.0.1:PORT:80\"]
    environment: [PASSWORD, \"GREETING=${LEVEL:?} ${PLAIN}\"]
    secrets: [password]
    stop_grace_period: 1s
  db:
    ports: [\"127.0.0.1::80\"]
    stop_grace_period: 1s
secrets: {password: {environment: PASSWORD}}
";

#[test]
fn compose_gets_values_that_no_file_has_and_one_that_changes_is_one_redeployment_of_the_service_that_has_it() {
    let aws = Aws::start("shop");
    let put = |name: &str, value: &str| {
        let put = ["ssm", "put-parameter", "--overwrite", "--type", "SecureString", "--name", name, "--value", value];
        aws.cli(&put);
    };
    put("/prod/db/password", ODD);
    put("/prod/shop/LEVEL", "planted-level");
    let section = "images: {web: {archive: image.tar}, db: {archive: image.tar}}\n\
                   environment: {PASSWORD: {ssm: /prod/db/password}, PLAIN: text}\nenv_file: ['ssm:///prod/shop/']";
    let mut it = Project::new("fshop", SHOP, section);
    it.image("image.tar", &web(&format!("{}:1", it.name), "one"));
    it.bundle.env("AWS_ENDPOINT_URL_SSM", &aws.url());
    it.bundle.timeout(120);
    let container = |service: &str| format!("{}-{service}-1", it.name);
    let (web, db) = (container("web"), container("db"));
    let variable = |name: &str| {
        let all: Vec<String> = serde_json::from_str(&world().inspect(&web, "{{json .Config.Env}}")).unwrap();
        all.iter().find_map(|var| Some(var.strip_prefix(name)?.strip_prefix('=')?.to_owned())).unwrap()
    };
    let secret = || world().docker(&["exec", &web, "/bin/busybox", "cat", "/run/secrets/password"]);
    let id = |name: &str| world().inspect(name, "{{.Id}}");
    let keeps_nothing = |it: &Project| {
        let mut found = Vec::new();
        holding(it.bundle.state(), &["it's", "planted", "rotated"], &mut found);
        assert_eq!(found, [""; 0], "no file has a value");
    };
    for event in ["BeforeInstall", "AfterInstall"] {
        it.bundle.hook(event).exits(0);
    }
    it.bundle
        .hook("ApplicationStart")
        .exits(0)
        .says("`docker inspect` shows GREETING, PASSWORD, as all of `environment`");
    it.bundle.hook("ValidateService").exits(0);
    assert_eq!((variable("PASSWORD").as_str(), variable("GREETING").as_str()), (ODD, "planted-level text"));
    assert_eq!(secret(), ODD);
    keeps_nothing(&it);
    let before = (id(&web), id(&db));
    it.bundle.deployment("d-TEST00002").hook("ApplicationStart").exits(0);
    assert_eq!((id(&web), id(&db)), before, "the same values are no change");

    put("/prod/db/password", "rotated");
    let plan = it.bundle.run(&["plan", "ApplicationStart"]);
    plan.exits(0).prints("environment PASSWORD").prints("(sensitive, changed)");
    for text in ["rotated", "balehook-fetched", "docker inspect"] {
        assert!(!plan.stdout.contains(text), "{text}: {}", plan.stdout);
    }
    for event in ["ApplicationStart", "ValidateService"] {
        it.bundle.deployment("d-TEST00003").hook(event).exits(0);
    }
    assert_eq!((variable("PASSWORD").as_str(), secret().as_str()), ("rotated", "rotated"));
    assert_eq!(id(&db), before.1, "the other service is not touched");
    keeps_nothing(&it);

    let back = it.bundle.run_bare(&["rollback", &it.name, "--to", "d-TEST00001"]);
    back.exits(0).says("LEVEL, PASSWORD: fetched anew").says("PASSWORD has another value than the release had");
    assert_eq!(variable("PASSWORD"), "rotated");
    keeps_nothing(&it);

    // What starts nothing needs no AWS; what cannot be fetched ends the deployment ahead of time.
    drop(aws);
    it.bundle
        .deployment("d-TEST00004")
        .hook("BeforeInstall")
        .exits(7)
        .says("ssm:///prod/shop/ was not fetched: SSM cannot be reached");
    it.bundle.hook("ApplicationStop").exits(0);
    assert!(world().docker_may_fail(&["inspect", &web]).is_err());
}

#[test]
fn secrets_that_are_denied_together_are_asked_for_one_by_one_and_a_plan_without_credentials_says_so() {
    let mut web = fetching("unfetched");
    // From now on moto looks at who asks: this user may read a secret, and not many in one call.
    let (id, key) = web.aws.user("single");
    let statement = r#"{"Effect": "Allow", "Action": "secretsmanager:GetSecretValue", "Resource": "*"}"#;
    let policy = format!(r#"{{"Version": "2012-10-17", "Statement": [{statement}]}}"#);
    let put = ["iam", "put-user-policy", "--user-name", "single", "--policy-name", "p", "--policy-document", &policy];
    web.aws.cli(&put);
    web.aws.asks_who();
    web.bundle.env("AWS_ACCESS_KEY_ID", &id).env("AWS_SECRET_ACCESS_KEY", &key);
    web.rewrite("env_file: ['ssm:///prod/web/', 'secretsmanager://prod/db']", "env_file: []");
    web.rewrite("PARAMETER: {ssm: /prod/db/password}", "PARAMETER: {secretsmanager: prod/db, key: port}");
    web.rewrite("password: { ssm: /prod/db/password }", "password: {secretsmanager: prod/db, key: password}");
    for name in ["OBJECT", "LARGE_OBJECT", "CIPHER"] {
        web.rewrite(&format!("      {name}: "), "      # ");
    }
    web.aws.calls();
    web.bundle.hook("BeforeInstall").exits(0);
    let calls = web.aws.calls();
    let of = |action: &str| calls.iter().filter(|call| call.ends_with(action)).count();
    assert_eq!(
        (of(" BatchGetSecretValue"), of(" GetSecretValue")),
        (1, 5),
        "what is denied together is asked one by one: {calls:?}"
    );

    web.bundle.env("AWS_ACCESS_KEY_ID", "").env("AWS_SECRET_ACCESS_KEY", "");
    web.bundle.run(&["plan", "ApplicationStart"]).exits(0).prints("no AWS credentials for Secrets Manager");
}
