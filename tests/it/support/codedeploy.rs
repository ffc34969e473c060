//! AWS for the tests of what people and pipelines type: moto, and the AWS CLI that talks to it.

use std::path::{Path, PathBuf};
use std::process::Child;

use super::world::{repository, tools, world};

/// AWS, as far as moto and its additions have it.
pub struct Aws {
    server: Option<Child>,
    port: u16,
    calls: PathBuf,
    _folder: tempfile::TempDir,
}

impl Drop for Aws {
    fn drop(&mut self) {
        if let Some(server) = &mut self.server {
            let _ = server.kill();
            let _ = server.wait();
        }
    }
}

impl Aws {
    pub fn start(repository_: &str) -> Self {
        let (world, folder) = (world(), tempfile::tempdir_in(world().folder()).unwrap());
        let (port, calls) = (world.port(), folder.path().join("calls"));
        let log = std::fs::File::create(folder.path().join("log")).unwrap();
        let mut command = world.command(tools().join("venv/bin/python"));
        command
            .arg(repository().join("tests/it/support/codedeploy.py"))
            .arg(port.to_string())
            .arg(&calls)
            .arg(repository_);
        let server = command.stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap();
        world.wait_for("AWS", || calls.exists());
        Self { server: Some(server), port, calls, _folder: folder }
    }

    /// Nobody answers.
    pub fn nowhere() -> Self {
        let folder = tempfile::tempdir_in(world().folder()).unwrap();
        Self { server: None, port: world().port(), calls: folder.path().join("calls"), _folder: folder }
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub fn variables(&self) -> [(&'static str, String); 4] {
        let text = str::to_owned;
        [
            ("AWS_ENDPOINT_URL", self.url()),
            ("AWS_ACCESS_KEY_ID", text("AKIATESTS")),
            ("AWS_SECRET_ACCESS_KEY", text("tests-secret")),
            ("AWS_REGION", text("eu-west-1")),
        ]
    }

    /// The AWS CLI; what it printed.
    pub fn cli(&self, args: &[&str]) -> String {
        self.cli_in(world().folder(), args)
    }

    /// The same where a person stands in a folder.
    pub fn cli_in(&self, folder: &Path, args: &[&str]) -> String {
        let mut command = world().command(tools().join("venv/bin/aws"));
        command.args(args).envs(self.variables()).env("AWS_DEFAULT_REGION", "eu-west-1").current_dir(folder);
        let output = command.output().unwrap();
        assert!(output.status.success(), "aws {args:?}: {}", text(&output.stderr));
        text(&output.stdout)
    }

    /// Fetches an object, by its bucket and key; its headers.
    pub fn object(&self, object: &str, to: &Path) -> String {
        let mut command = world().command("curl");
        command.args(["--aws-sigv4", "aws:amz:eu-west-1:s3", "--user", "AKIATESTS:tests-secret"]);
        command.args(["--silent", "--show-error", "--fail", "--dump-header", "-", "--output"]).arg(to);
        let output = command.arg(format!("{}/{object}", self.url())).output().unwrap();
        assert!(output.status.success(), "{object}: {}", text(&output.stderr));
        text(&output.stdout)
    }

    /// A new user, who is allowed nothing: the ID and the secret of a key.
    pub fn user(&self, name: &str) -> (String, String) {
        self.cli(&["iam", "create-user", "--user-name", name]);
        let ask = ["iam", "create-access-key", "--user-name", name, "--output", "text"];
        let keys = self.cli(&[&ask[..], &["--query", "AccessKey.[AccessKeyId,SecretAccessKey]"]].concat());
        let (id, key) = keys.trim().split_once('\t').unwrap();
        (id.to_owned(), key.to_owned())
    }

    /// From now on it looks at who asks; a user who is allowed nothing.
    pub fn nobody(&self) -> (String, String) {
        let keys = self.user("nobody");
        self.asks_who();
        keys
    }

    /// From now on it looks at who asks.
    pub fn asks_who(&self) {
        self.post("/moto-api/reset-auth", "text/plain", "0");
    }

    /// Moto's own API.
    pub fn post(&self, path: &str, media_type: &str, body: &str) {
        let mut command = world().command("curl");
        command.args(["-fsS", "-H", &format!("Content-Type: {media_type}"), "-d", body]);
        let output = command.arg(format!("{}{path}", self.url())).output().unwrap();
        assert!(output.status.success(), "{path}: {output:?}");
    }

    /// The calls since they were asked for last.
    pub fn calls(&self) -> Vec<String> {
        let calls = std::fs::read_to_string(&self.calls).unwrap();
        std::fs::write(&self.calls, "").unwrap();
        calls.lines().map(str::to_owned).collect()
    }
}

/// The value of a header, without quotes.
pub fn header(head: &str, name: &str) -> String {
    let lines = head.lines().filter_map(|line| line.split_once(": "));
    let (_, value) = lines.into_iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).unwrap();
    value.trim().trim_matches('"').to_owned()
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
