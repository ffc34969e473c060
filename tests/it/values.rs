//! Values that a deployment fetches: from moto's SSM, Secrets Manager and KMS, from S3, and from a program of the host.

use std::path::Path;

use crate::support::codedeploy::Aws;
use crate::support::images::web;
use crate::support::{Bundle, world};

/// A newline, `=`, quotes, a dollar sign, and letters beyond ASCII.
const ODD: &str = "a=b\nit's \"c\" $HOME é";

/// A deployment whose variables lie everywhere.
struct Fetching {
    aws: Aws,
    bundle: Bundle,
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
    aws.cli(&["secretsmanager", "create-secret", "--name", "prod/binary", "--secret-binary", "AP8="]);
    let key = aws.cli(&["kms", "create-key", "--query", "KeyMetadata.KeyId", "--output", "text"]);
    let encrypt =
        ["kms", "encrypt", "--key-id", key.trim(), "--encryption-context", "app=web", "--plaintext", "hunter2"];
    let cipher = aws.cli(&[&encrypt[..], &["--query", "CiphertextBlob", "--output", "text"]].concat());
    let scratch = tempfile::tempdir_in(world.folder()).unwrap();
    let (file, archive) = (scratch.path().join("value"), scratch.path().join("image.tar"));
    std::fs::write(&file, ODD).unwrap();
    let object = world.put("secrets", &format!("{name}/value"), &file);
    let service = format!(
        "image: {{archive: image.tar}}\nports: [\"127.0.0.1:{port}:80\"]\nstop_grace_period: 1s\nenv_file: ['ssm:///prod/web/', 'secretsmanager://prod/db']\n\
         environment:\n  PLAIN: text\n  PARAMETER: {{ssm: /prod/db/password}}\n  \
         KEY: {{secretsmanager: prod/db, key: password}}\n  LARGE: {{secretsmanager: prod/large}}\n  TEXT: {{secretsmanager: prod/plain}}\n  \
         OBJECT: {{s3: '{object}'}}\n  CIPHER: {{kms: '{}', context: {{app: web}}}}\n  \
         PRINTED: {{command: [/bin/sh, -c, 'echo \"$$SAID\"']}}",
        cipher.trim()
    );
    let mut bundle = Bundle::container(&name, &service, "health: {http: /healthz, timeout: 20s}");
    web(&format!("{name}:1"), "one").write(&archive);
    std::fs::copy(&archive, bundle.path().join("image.tar")).unwrap();
    for service in ["SSM", "SECRETS_MANAGER", "KMS"] {
        bundle.env(&format!("AWS_ENDPOINT_URL_{service}"), &aws.url());
    }
    bundle.env("SAID", "printed by a program");
    Fetching { aws, bundle, name, large }
}

impl Fetching {
    /// A variable of the container that serves.
    fn variable(&self, name: &str) -> Option<String> {
        let all: Vec<String> = serde_json::from_str(&world().inspect(&self.name, "{{json .Config.Env}}")).unwrap();
        all.iter().find_map(|var| Some(var.strip_prefix(name)?.strip_prefix('=')?.to_owned()))
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
        ("OBJECT", ODD),
        ("CIPHER", "hunter2"),
        ("PRINTED", "printed by a program"),
        ("LEVEL", "info"),
        ("odd.name", ODD),
        ("password", ODD),
        ("port", "5432"),
    ] {
        assert_eq!(web.variable(name).as_deref(), Some(value), "{name}");
    }
    let secret = ["it's", "hunter2", "printed by a program", &web.large[..64]];
    let mut found = Vec::new();
    holding(web.bundle.state(), &secret, &mut found);
    assert_eq!(found, [""; 0], "no record has a value");

    let running = world().running(&web.name);
    web.bundle.deployment("d-TEST00002").hook("ApplicationStart").exits(0);
    assert_eq!(world().running(&web.name), running, "the same values are no change");

    web.aws.cli(&["ssm", "put-parameter", "--overwrite", "--name", "/prod/db/password", "--value", "rotated"]);
    let plan = web.bundle.run(&["plan", "ApplicationStart"]);
    plan.exits(0).prints("environment PARAMETER").prints("sensitive");
    assert!(!plan.stdout.contains("rotated") && !plan.stdout.contains("it's"), "{}", plan.stdout);
    web.bundle.deployment("d-TEST00003").hook("ApplicationStart").exits(0);
    assert_eq!(web.variable("PARAMETER").as_deref(), Some("rotated"));

    let dry = web.bundle.run_bare(&["rollback", &web.name, "--to", "d-TEST00001", "--dry-run"]);
    dry.exits(0).prints("fetched anew");
    let back = web.bundle.run_bare(&["rollback", &web.name, "--to", "d-TEST00001"]);
    back.exits(0).says("PARAMETER has another value than the release had");
    assert_eq!(web.variable("PARAMETER").as_deref(), Some("rotated"));
    assert_eq!(web.variable("KEY").as_deref(), Some(ODD));
    let mut found = Vec::new();
    holding(web.bundle.state(), &secret, &mut found);
    assert_eq!(found, [""; 0]);
}

#[test]
fn a_value_that_cannot_be_fetched_ends_the_deployment_ahead_of_time_with_its_variable_its_place_and_why() {
    let mut web = fetching("unfetched");
    let refused = |web: &Fetching, words: &str| {
        let outcome = web.bundle.hook("BeforeInstall");
        outcome.exits(7);
        let console = outcome.console().split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(console.contains(words), "{words}: {console}");
        assert!(console.contains("appspec.yml:"), "{console}");
        assert!(!console.contains("it's") && !console.contains("no JSON\""), "{console}");
    };
    for (from, to, words) in [
        (
            "{ssm: /prod/db/password}",
            "{ssm: /prod/none}",
            "PARAMETER: SSM parameter /prod/none does not exist in eu-west-1",
        ),
        (
            "{ssm: /prod/none}",
            "{ssm: 'arn:aws:ssm:us-east-2:123456789012:parameter/prod/db/password'}",
            "does not exist in us-east-2",
        ),
        (
            "{ssm: 'arn:aws:ssm:us-east-2:123456789012:parameter/prod/db/password'}",
            "{secretsmanager: prod/none}",
            "PARAMETER: secret prod/none does not exist in eu-west-1",
        ),
        ("{secretsmanager: prod/none}", "{secretsmanager: prod/binary}", "PARAMETER: secret prod/binary is binary"),
        ("{secretsmanager: prod/binary}", "{secretsmanager: prod/plain, key: a}", "the secret is no JSON object"),
        (
            "{secretsmanager: prod/plain, key: a}",
            "{secretsmanager: prod/db, key: none}",
            "no text or number under key `none`",
        ),
        (
            "{secretsmanager: prod/db, key: none}",
            "{command: [/bin/sh, -c, 'echo x; echo no such key >&2; exit 3']}",
            "PARAMETER: command /bin/sh ended with exit status: 3: no such key",
        ),
        (
            "{command: [/bin/sh, -c, 'echo x; echo no such key >&2; exit 3']}",
            "{ssm: /prod/db/password}\n      OTHER: {kms: AQIDBA==}",
            "OTHER: a text that KMS decrypts was not decrypted: no key of eu-west-1",
        ),
        ("\n      OTHER: {kms: AQIDBA==}", "", ""),
    ] {
        web.rewrite(from, to);
        if !words.is_empty() {
            refused(&web, words);
        }
    }

    // From now on moto looks at who asks: nobody is allowed anything.
    let (id, key) = web.aws.nobody();
    web.rewrite("env_file: ['ssm:///prod/web/', 'secretsmanager://prod/db']", "env_file: []");
    web.rewrite("      OBJECT: ", "      # ");
    web.bundle.env("AWS_ACCESS_KEY_ID", &id).env("AWS_SECRET_ACCESS_KEY", &key);
    refused(&web, "SSM parameter /prod/db/password is denied to ssm:GetParameters");

    web.bundle.env("AWS_ACCESS_KEY_ID", "").env("AWS_SECRET_ACCESS_KEY", "");
    web.bundle.run(&["plan", "ApplicationStart"]).exits(0).prints("no AWS credentials for SSM");
}
