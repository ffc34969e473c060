//! Values that cannot be fetched, of every source: missing, of another region, binary, too large, denied. What throttles is in the
//! unit tests of `fetch` and `aws/s3`: no server here throttles.

use crate::support::codedeploy::Aws;
use crate::support::images::web;
use crate::support::{Bundle, world};

/// One byte more than a variable may have.
const TOO_LARGE: usize = 65_537;

/// A bundle with this of a container, and what AWS has.
struct Sources {
    aws: Aws,
    bundle: Bundle,
    name: String,
    /// What KMS encrypted, in base64: of this region and of another, and bytes that are no text.
    here: String,
    elsewhere: String,
    binary: String,
}

impl Sources {
    fn new() -> Self {
        let (world, name, aws) = (world(), world().name("bad"), Aws::start("web"));
        let folder = tempfile::tempdir_in(world.folder()).unwrap();
        let (bytes, large) = (folder.path().join("bytes"), folder.path().join("large"));
        std::fs::write(&bytes, b"\x00\xff").unwrap();
        std::fs::write(&large, "x".repeat(TOO_LARGE)).unwrap();
        let of_file = format!("fileb://{}", bytes.display());
        aws.cli(&["ssm", "put-parameter", "--type", "SecureString", "--name", "/db/password", "--value", "hunter2"]);
        aws.cli(&["secretsmanager", "create-secret", "--name", "plain", "--secret-string", "no JSON"]);
        aws.cli(&["secretsmanager", "create-secret", "--name", "json", "--secret-string", r#"{"list": [1]}"#]);
        aws.cli(&["secretsmanager", "create-secret", "--name", "binary", "--secret-binary", &of_file]);
        for (key, file) in [("bytes", &bytes), ("large", &large)] {
            world.put("secrets", &format!("{name}/{key}"), file);
        }
        let [here, elsewhere] = ["eu-west-1", "us-east-2"].map(|region| encrypted(&aws, region, "hunter2"));
        let binary = encrypted(&aws, "eu-west-1", &of_file);
        let mut bundle = Bundle::container(&name, "image: {archive: image.tar}", "");
        web(&format!("{name}:1"), "one").write(&bundle.path().join("image.tar"));
        for service in ["SSM", "SECRETS_MANAGER", "KMS"] {
            bundle.env(&format!("AWS_ENDPOINT_URL_{service}"), &aws.url());
        }
        Self { aws, bundle, name, here, elsewhere, binary }
    }

    /// The container's variables are these, from V0 on, and its env files these.
    fn variables(&self, values: &[&str], env_files: &[&str]) {
        let appspec = self.bundle.path().join("appspec.yml");
        let lines = |of: &[&str], head: &dyn Fn(usize) -> String| -> String {
            of.iter().enumerate().map(|(number, value)| format!("      {}{value}\n", head(number))).collect()
        };
        let variables = lines(values, &|number| format!("V{number}: "));
        let files = lines(env_files, &|_| "- ".to_owned());
        let files = if env_files.is_empty() { String::new() } else { format!("    env_file:\n{files}") };
        let text = std::fs::read_to_string(&appspec).unwrap();
        let image = "    image: {archive: image.tar}\n";
        let head = &text[..text.find(image).unwrap()];
        std::fs::write(&appspec, format!("{head}{image}{files}    environment:\n{variables}")).unwrap();
    }

    /// All are refused at once, each with its place and these words; nothing was touched.
    fn refuses(&self, values: &[(String, &str)], env_files: &[(&str, &str)]) {
        let texts: Vec<&str> = values.iter().map(|(text, _)| text.as_str()).collect();
        self.variables(&texts, &env_files.iter().map(|(text, _)| *text).collect::<Vec<_>>());
        let outcome = self.bundle.hook("BeforeInstall");
        outcome.exits(7).says("nothing was touched");
        let plan = self.bundle.run(&["plan", "ApplicationStart"]);
        plan.exits(7);
        let of_files = env_files.iter().map(|(_, words)| (String::new(), *words));
        let of_values = values.iter().enumerate().map(|(number, (_, words))| (format!("V{number}: "), *words));
        let places = (0..env_files.len())
            .chain((0..values.len()).map(|line| line + env_files.len() + usize::from(!env_files.is_empty())));
        let wanted: Vec<_> =
            places.map(|line| format!("appspec.yml:{}:", line + 14)).zip(of_files.chain(of_values)).collect();
        let console = outcome.console();
        for (command, text) in [("plan", &plan.stdout), ("hook", &console)] {
            let is_said = |(place, (name, words)): &&(String, (String, &str))| {
                text.lines().any(|line| line.contains(place) && line.contains(name) && line.contains(words))
            };
            let missing: Vec<_> = wanted.iter().filter(|wanted| !is_said(wanted)).collect();
            assert!(missing.is_empty(), "{command}: {missing:?}\n{text}");
        }
        let all = format!("{}{}", outcome.console(), plan.stdout);
        assert!(!all.contains("hunter2") && !all.contains("no JSON\""), "{all}");
    }
}

fn encrypted(aws: &Aws, region: &str, plain: &str) -> String {
    let key = ["kms", "create-key", "--region", region, "--query", "KeyMetadata.KeyId", "--output", "text"];
    let key = aws.cli(&key);
    let encrypt = ["kms", "encrypt", "--region", region, "--key-id", key.trim(), "--plaintext", plain];
    aws.cli(&[&encrypt[..], &["--query", "CiphertextBlob", "--output", "text"]].concat()).trim().to_owned()
}

#[test]
fn all_values_that_cannot_be_had_of_any_source_are_said_at_once_with_their_place_and_why() {
    let mut it = Sources::new();
    for need in [
        "s3:GetObject arn:aws:s3:::no-such-bucket/none",
        "s3:ListBucket arn:aws:s3:::no-such-bucket",
        "s3:ListBucket arn:aws:s3:::secrets",
    ] {
        it.bundle.is_refused(need);
    }
    let name = it.name.clone();
    it.refuses(
        &[
            ("{ssm: /none}".into(), "SSM parameter /none does not exist in eu-west-1"),
            ("{ssm: '/db/password:9'}".into(), "SSM parameter /db/password:9 does not exist in eu-west-1"),
            (
                "{ssm: 'arn:aws:ssm:us-east-2:123456789012:parameter/db/password'}".into(),
                "SSM parameter arn:aws:ssm:us-east-2:123456789012:parameter/db/password does not exist in us-east-2",
            ),
            ("{secretsmanager: none}".into(), "secret none does not exist in eu-west-1"),
            ("{secretsmanager: plain, version: NONE}".into(), "secret plain (NONE) has no such version or label"),
            (
                "{secretsmanager: 'arn:aws:secretsmanager:us-east-2:123456789012:secret:plain-AbCdEf'}".into(),
                "secret:plain-AbCdEf does not exist in us-east-2",
            ),
            ("{secretsmanager: binary}".into(), "secret binary is binary"),
            ("{secretsmanager: plain, key: a}".into(), "the secret is no JSON object"),
            ("{secretsmanager: json, key: list}".into(), "no text or number under key `list`"),
        ],
        &[
            ("ssm:///none/", "ssm:///none/ holds no value in eu-west-1"),
            ("secretsmanager://none", "secretsmanager://none does not exist in eu-west-1"),
            ("secretsmanager://binary", "secretsmanager://binary cannot be read: the secret is no JSON object"),
            ("secretsmanager://plain", "the secret is no JSON object"),
            (&format!("s3://secrets/{name}/none.env"), "none.env does not exist"),
        ],
    );
    it.refuses(
        &[
            (format!("{{s3: 's3://secrets/{name}/none'}}"), "none does not exist"),
            ("{s3: 's3://no-such-bucket/none'}".into(), "bucket no-such-bucket does not exist"),
            (format!("{{s3: 's3://secrets/{name}/bytes'}}"), "bytes is binary"),
            (format!("{{s3: 's3://secrets/{name}/large'}}"), "has 65537 bytes, more than the 65536"),
            ("{kms: AQIDBA==}".into(), "no key of eu-west-1 decrypts it with this context"),
            (format!("{{kms: '{}', context: {{app: no}}}}", it.here), "no key of eu-west-1 decrypts it with this"),
            (format!("{{kms: '{}'}}", it.elsewhere), "or its key is in another region than eu-west-1"),
            (format!("{{kms: '{}'}}", it.binary), "a text that KMS decrypts is binary"),
            ("{command: [no-such-program]}".into(), "no such program on PATH"),
            ("{command: [/bin/sh, -c, 'echo hunter2; echo no such key >&2; exit 3']}".into(), "no such key"),
            ("{command: [/bin/printf, 'a\\0b']}".into(), "command /bin/printf is binary"),
            (format!("{{command: [head, -c, {TOO_LARGE}, /dev/zero]}}"), "has 65537 bytes, more than the 65536"),
        ],
        &[],
    );

    // From now on moto looks at who asks: nobody is allowed anything.
    let (id, key) = it.aws.user("nobody");
    it.aws.asks_who();
    let url = it.aws.url();
    it.bundle.env("AWS_ACCESS_KEY_ID", &id).env("AWS_SECRET_ACCESS_KEY", &key).env("AWS_ENDPOINT_URL_S3", &url);
    it.refuses(
        &[
            ("{ssm: /db/password}".into(), "SSM parameter /db/password is denied to ssm:GetParameters"),
            ("{secretsmanager: plain}".into(), "secret plain is denied to secretsmanager:GetSecretValue"),
            ("{s3: 's3://secrets/a'}".into(), "access to s3://secrets/a is denied"),
            (format!("{{kms: '{}'}}", it.here), "is denied to kms:Decrypt"),
        ],
        &[
            ("ssm:///web/", "ssm:///web/ is denied to ssm:GetParametersByPath"),
            ("secretsmanager://json", "is denied to secretsmanager:GetSecretValue"),
            ("s3://secrets/a.env", "access to s3://secrets/a.env is denied"),
        ],
    );
}
