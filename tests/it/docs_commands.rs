//! Every command in the README and the book that a host, an engine or AWS answers runs as it stands.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use nix::sys::signal::Signal;

use crate::book::pages;
use crate::support::cluster::Cluster;
use crate::support::codedeploy::{Aws, text};
use crate::support::world::repository;
use crate::support::{Image, Served, world};

/// What needs a machine that boots: `boot::` runs it.
pub const ON_A_MACHINE: [&str; 4] = [
    "journalctl --unit balehook-resume",
    "journalctl -t balehook BALEHOOK_NAME=web",
    "journalctl -t balehook -p err --since today",
    "journalctl MESSAGE_ID=b81e27d94c6a4c3f8f5570a9d2e36b18",
];

/// The pages' commands, each once, with its page. Our own are also in blocks that install first.
fn commands() -> Vec<(String, String)> {
    let mut found: Vec<(String, String)> = Vec::new();
    for page in pages() {
        let blocks = page.blocks().filter(|block| ["sh,commands", "sh,root"].contains(&block.mark.as_str()));
        for (block, line) in
            blocks.flat_map(|block| block.lines().into_iter().map(move |line| (block.mark.clone(), line)))
        {
            let line = line.strip_prefix("sudo ").unwrap_or(&line).to_owned();
            let is_elsewhere = block == "sh,root" && !line.starts_with("balehook ");
            let is_known = found.iter().any(|(_, known)| *known == line);
            if !is_elsewhere && !is_known && !ON_A_MACHINE.contains(&line.as_str()) {
                found.push((page.name.clone(), line));
            }
        }
    }
    found
}

/// A host on which `web` is deployed with `order: start-first`.
struct Host {
    served: Served,
    policy: PathBuf,
    /// Where a reader writes revisions.
    folder: tempfile::TempDir,
    /// A container that nobody deployed.
    plain: String,
}

impl Host {
    fn start() -> Self {
        let order = "\nupdate_config: {order: start-first, drain: 0s}";
        let mut served = Served::over("pages", order, "health: {http: /healthz, timeout: 3s}");
        Image::new(&served.tag(2)).script("echo no database; exit 3").write_into(&served.bundle.path());
        served.bundle.deployment("d-A1B2C3D4E").hook("ApplicationStart").exits(8);
        let script = "echo ready; exec /bin/busybox httpd -f -p 80 -h /www";
        let image = Image::new(&served.tag(3)).file("www/index.html", "new").file("www/healthz", "ok").script(script);
        image.write_into(&served.bundle.path());
        served.bundle.deployment("d-TEST00003").hook("ApplicationStart").exits(0);
        let policy = served.bundle.state().join("policy.yml");
        std::fs::write(&policy, "privileged: false\n").unwrap();
        let folder = tempfile::tempdir_in(world().folder()).unwrap();
        let compose = "services: {web: {image: 'registry.example.com/web:1', ports: ['8080:80']}}\n";
        std::fs::write(folder.path().join("docker-compose.yml"), compose).unwrap();
        let plain = world().name("plain");
        let image = world().inspect(&served.name, "{{.Image}}");
        world().docker(&["run", "--detach", "--name", &plain, &image]);
        Self { served, policy, folder, plain }
    }

    /// What a reader puts in place of the page's words.
    fn word(&self, before: &str, word: &str) -> String {
        let path = |path: &Path| path.to_str().unwrap().to_owned();
        match (before, word) {
            ("import", "web") => self.plain.clone(),
            ("--output", word) | (_, word @ ("web-revision" | "docker-compose.yml")) => {
                path(&self.folder.path().join(word))
            }
            (_, "web") => self.served.name.clone(),
            (_, "deploy" | "." | "/path/to/revision" | "/tmp/base/deploy") => path(&self.served.bundle.path()),
            (_, "policy.yml") => path(&self.policy),
            (_, "d-ABCDEF123") => "d-A1B2C3D4E".to_owned(),
            (_, word) => word.to_owned(),
        }
    }

    fn balehook(&self, at: &str, line: &str) {
        let bundle = &self.served.bundle;
        let read = shlex::split(line).unwrap();
        let mut words: Vec<String> = read.windows(2).map(|pair| self.word(&pair[0], &pair[1])).collect();
        if let Some(at) = words.iter().position(|word| word == "--output") {
            // A reader gives each revision a folder of its own.
            let _ = std::fs::remove_dir_all(&words[at + 1]);
        }
        // A reader stands in the bundle's folder.
        let is_of_a_bundle = ["check", "plan", "run"].contains(&words[0].as_str());
        if is_of_a_bundle && !line.contains("--appspec") && !line.contains("web-revision") {
            words.extend(["--appspec".to_owned(), bundle.path().to_str().unwrap().to_owned()]);
        }
        let args: Vec<&str> = words.iter().map(String::as_str).collect();
        if line.contains("--follow") || line.contains("--watch") {
            let mut goes_on = bundle.start_bare(&args);
            std::io::Read::read_exact(&mut goes_on.take_stdout(), &mut [0; 1]).unwrap();
            goes_on.signal(Signal::SIGTERM);
            goes_on.wait();
            return;
        }
        let outcome = bundle.start_bare(&args).wait();
        assert_eq!(outcome.code, Some(0), "{at}: {line}\n{}\n{}", outcome.stdout, outcome.stderr);
        if line.contains("ApplicationStop") {
            bundle.hook("ApplicationStart").exits(0);
        }
    }

    /// Of the switched port.
    fn rules(&self, line: &str) {
        let said = succeeds(world().command("sh").args(["-c", line]));
        let port = format!("--dport {} ", self.served.port);
        assert!(said.lines().any(|rule| rule.contains(&port)), "{line}: {port} is not in\n{said}");
    }

    fn log(&self, line: &str) {
        let state = format!("{}/{}/", self.served.bundle.state().display(), self.served.name);
        let words = line.split(' ').map(|word| word.replace("/var/lib/balehook/web/", &state));
        let mut words = words.collect::<Vec<_>>().into_iter();
        let said = succeeds(Command::new(words.next().unwrap()).args(words));
        assert!(said.contains("ApplicationStart"), "{line}: {said}");
    }
}

#[track_caller]
fn succeeds(command: &mut Command) -> String {
    let output: Output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}\n{}\n{}", text(&output.stdout), text(&output.stderr));
    text(&output.stdout)
}

/// A person's computer: a folder with a revision, and an engine with the image that the pages name.
struct Person {
    folder: tempfile::TempDir,
    engine: Cluster,
    aws: Aws,
    deployment: String,
}

impl Person {
    fn start() -> Self {
        let folder = tempfile::tempdir_in(world().folder()).unwrap();
        let revision = repository().join("appspec/container");
        for to in [folder.path().to_owned(), folder.path().join("bundle")] {
            succeeds(Command::new("cp").arg("-r").arg(revision.join(".")).arg(to));
        }
        let (engine, aws) = (Cluster::start(1), Aws::start("web"));
        let person = Self { folder, engine, aws, deployment: String::new() };
        person.builds("1");
        person.builds("2");
        person
    }

    /// The first one stays without a tag.
    fn builds(&self, content: &str) {
        let folder = tempfile::tempdir_in(world().folder()).unwrap();
        let (archive, _) = Image::new("web:1.4.2").file("www/index.html", content).write_into(folder.path());
        self.engine.docker(1, &["load", "--input", archive.to_str().unwrap()]);
    }

    fn docker(&self, line: &str) {
        let untagged = || self.engine.docker(1, &["images", "--filter", "dangling=true", "--quiet"]).lines().count();
        let before = untagged();
        let mut command = Command::new("sh");
        // It asks before it removes anything.
        command.args(["-c", &format!("echo y | {line}")]).current_dir(&self.folder);
        let said = succeeds(command.env("DOCKER_HOST", self.engine.docker_host(1)));
        match line {
            "docker image prune" => assert!(before > 0 && untagged() == 0, "{before}: {said}"),
            "docker builder prune" => assert!(said.contains("Total"), "{said}"),
            "docker version" => assert!(said.contains("\nServer:"), "{said}"),
            line if line.starts_with("docker save --output ") => {
                let archive = self.folder.path().join(line.split(' ').nth(3).unwrap());
                self.engine.docker(1, &["load", "--input", archive.to_str().unwrap()]);
            }
            line => panic!("what `{line}` does is not looked at"),
        }
    }

    fn aws(&mut self, line: &str) {
        let line = line.replace("d-ABCDEF123", &self.deployment);
        let words = shlex::split(&line).unwrap();
        let words: Vec<&str> = words.iter().skip(1).map(String::as_str).collect();
        let said = self.aws.cli_in(self.folder.path(), &words);
        match words[..2] {
            ["deploy", "push"] => {
                let zip = self.folder.path().join("pushed.zip");
                self.aws.object("my-releases/web.zip", &zip);
                let list = succeeds(Command::new("python3").args(["-m", "zipfile", "--list"]).arg(zip));
                assert!(list.contains("\nappspec.yml ") && list.contains("\nhooks/balehook "), "{list}");
            }
            ["deploy", "create-deployment"] => {
                let said: serde_json::Value = serde_json::from_str(&said).unwrap();
                said["deploymentId"].as_str().unwrap().clone_into(&mut self.deployment);
            }
            // It fails where the deployment did.
            ["deploy", "wait"] => {}
            ["s3", "cp"] => {
                let got = self.folder.path().join("got");
                self.aws.object(&format!("releases/{}", words[2]), &got);
                let read = |path: &Path| std::fs::read(path).unwrap();
                assert!(read(&got) == read(&self.folder.path().join(words[2])), "{line}");
            }
            ["ec2", "create-launch-template"] => {
                let show = ["ec2", "describe-launch-template-versions", "--launch-template-name", "web", "--query"];
                let hops = "LaunchTemplateVersions[].LaunchTemplateData.MetadataOptions.HttpPutResponseHopLimit";
                assert_eq!(self.aws.cli(&[&show[..], &[hops, "--output", "text"]].concat()).trim(), "1");
            }
            _ => panic!("what `{line}` does is not looked at"),
        }
    }
}

#[test]
fn every_command_of_the_pages_does_what_it_says_on_a_host_with_a_deployment() {
    let (host, mut person) = (Host::start(), Person::start());
    let commands = commands();
    assert!(commands.len() > 35, "{commands:?}");
    for (page, line) in commands {
        match line.split_whitespace().next().unwrap() {
            "balehook" => host.balehook(&page, &line),
            "iptables-save" => host.rules(&line),
            "tail" => host.log(&line),
            "docker" => person.docker(&line),
            "aws" => person.aws(&line),
            _ => panic!("{page}: nothing here runs `{line}`"),
        }
    }
    world().docker(&["rm", "--force", &host.plain]);
    host.served.serves("new");
}
