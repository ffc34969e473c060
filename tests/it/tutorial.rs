//! The quick start, as a person follows it: its commands in order on an engine that has nothing. What the page shows is
//! what was printed. `make tutorial` writes the page's outputs and pictures anew.

use std::path::{Path, PathBuf};

use super::support::cluster::Cluster;
use super::support::world::{command_in, repository};
use super::support::{Image, bundle::BINARY, world};

const PAGE: &str = "docs/src/quick-start.md";

/// What the page says, in order.
enum Part {
    /// Commands, and whether they fail.
    Commands(String, bool),
    /// The section that a person writes into `appspec.yml`.
    Section(String),
    /// What the last commands print, in a block of the page.
    Output(String),
    /// The same as a picture: its name and title.
    Picture(String, String),
    /// Anything else.
    Text(String),
}

fn parts(page: &str) -> Vec<Part> {
    let mut parts = Vec::new();
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        let mut block = || lines.by_ref().take_while(|line| *line != "```").map(|line| format!("{line}\n")).collect();
        parts.push(match line {
            "```sh,tutorial" => Part::Commands(block(), false),
            "```sh,fails" => Part::Commands(block(), true),
            "```yaml,section" => Part::Section(block()),
            "```text,output" => Part::Output(block()),
            line => match line.strip_prefix("![").and_then(|rest| rest.split_once("](pictures/")) {
                Some((title, name)) => Part::Picture(name.trim_end_matches(".svg)").to_owned(), title.to_owned()),
                None => Part::Text(format!("{line}\n")),
            },
        });
    }
    parts
}

/// A clean engine, and a person's folder on its host.
struct Host {
    cluster: Cluster,
    folder: PathBuf,
    /// Where the person is.
    at: PathBuf,
}

impl Host {
    fn start() -> Self {
        let folder = world().room("tutorial").0;
        std::fs::create_dir(folder.join("programs")).unwrap();
        std::os::unix::fs::symlink(repository().join("appspec"), folder.join("appspec")).unwrap();
        std::os::unix::fs::symlink(BINARY, folder.join("programs/balehook")).unwrap();
        let sudo = folder.join("programs/sudo");
        std::fs::write(&sudo, "#!/bin/sh\nexec \"$@\"\n").unwrap();
        std::fs::set_permissions(&sudo, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let host = Self { cluster: Cluster::start(1), at: folder.clone(), folder };
        // What a registry would give it.
        let busybox = Image::new("busybox:latest").command(&["/bin/busybox", "sh"]);
        let (archive, _) = busybox.write_into(&host.folder);
        host.cluster.docker(1, &["load", "--input", archive.to_str().unwrap()]);
        host
    }

    /// What commands print; the page's own words where they end in another way than it says.
    fn run(&mut self, commands: &str, fails: bool) -> String {
        let ends = self.folder.join("ends-at");
        let script = format!("exec 2>&1\nset -e\n{commands}pwd >'{}'", ends.display());
        let path = format!("{}:/usr/sbin:/usr/bin:/sbin:/bin", self.folder.join("programs").display());
        let mut bash = command_in(self.cluster.init(1), "bash");
        bash.args(["-c", &script]).current_dir(&self.at).env_clear().env("PATH", path).env("HOME", &self.folder);
        bash.env("DOCKER_HOST", self.cluster.docker_host(1)).env("BALEHOOK_STATE_DIR", self.folder.join("state"));
        let output = bash.output().unwrap();
        let printed = String::from_utf8(output.stdout).unwrap();
        assert_eq!(!output.status.success(), fails, "{commands}{printed}");
        if !fails {
            self.at = Path::new(std::fs::read_to_string(ends).unwrap().trim()).to_owned();
        }
        printed.replace(&format!("{}/", self.folder.display()), "/home/you/")
    }

    fn write(&self, section: &str) {
        let path = self.at.join("appspec.yml");
        let appspec = std::fs::read_to_string(&path).unwrap();
        let (hooks, _) = appspec.split_once("x-balehook:\n").unwrap();
        let section: String = section.lines().map(|line| format!("  {line}\n")).collect();
        std::fs::write(path, format!("{hooks}x-balehook:\n{section}")).unwrap();
    }
}

/// A text without what differs each time: IDs, moments, and how many milliseconds something took.
fn steady(text: &str) -> String {
    // The engine may have started it again meanwhile: then the container has said the same once more.
    let mut lines: Vec<&str> = text.split_inclusive('\n').collect();
    lines.dedup_by(|line, before| line == before && line.starts_with("  | "));
    let text = lines.concat();
    let words: Vec<&str> = text.split_inclusive(char::is_whitespace).collect();
    let next = words.iter().skip(1).map(|word| word.trim_end()).chain([""]);
    let steady = words.iter().zip(next).map(|(word, next)| {
        let plain = word.trim_end();
        let is_moment = plain.starts_with("20") && plain.ends_with('Z') && plain.contains('T');
        let is_duration = next == "ms" && plain.bytes().all(|byte| byte.is_ascii_digit());
        let is_day = plain.len() == 10 && plain.starts_with("20") && plain.matches('-').count() == 2;
        if is_moment || is_duration || is_day || next == "UTC" {
            word.replacen(plain, "0", 1)
        } else {
            without_ids(word)
        }
    });
    steady.collect()
}

fn without_ids(word: &str) -> String {
    let parts = word.split_inclusive(|letter: char| !letter.is_ascii_alphanumeric()).map(|part| {
        let plain = part.trim_end_matches(|letter: char| !letter.is_ascii_alphanumeric());
        let is_id = plain.len() >= 12 && plain.bytes().all(|byte| byte.is_ascii_hexdigit());
        if is_id { part.replacen(plain, "0", 1) } else { part.to_owned() }
    });
    parts.collect()
}

#[test]
fn the_quick_start_is_run_in_order_and_prints_what_its_golden_page_shows() {
    // Another image store has other steps and IDs. The page has those of this engine.
    if world().has_containerd_store() {
        return;
    }
    let path = repository().join(PAGE);
    let page = std::fs::read_to_string(&path).unwrap();
    let is_golden = std::env::var_os("BALEHOOK_GOLDEN").is_some();
    let mut host = Host::start();
    let (mut typed, mut printed, mut written, mut wrong) = (String::new(), String::new(), String::new(), String::new());
    let mut shown = 0;
    for part in parts(&page) {
        match part {
            Part::Commands(commands, fails) => {
                printed = host.run(&commands, fails);
                written += &format!("```sh,{}\n{commands}```\n", if fails { "fails" } else { "tutorial" });
                typed = commands;
            }
            Part::Section(section) => {
                host.write(&section);
                written += &format!("```yaml,section\n{section}```\n");
            }
            Part::Output(said) => {
                let is_same = steady(&said) == steady(&printed);
                wrong += &if is_same { String::new() } else { format!("{typed}{printed}the page has:\n{said}") };
                written += &format!("```text,output\n{}```\n", if is_same { &said } else { &printed });
                shown += 1;
            }
            Part::Picture(name, title) => {
                let source = repository().join(format!("docs/pictures/{name}.txt"));
                let commands: String = typed.lines().map(|line| format!("$ {line}\n")).collect();
                let picture = format!("{title}\nterminal\n{commands}{printed}");
                let said = std::fs::read_to_string(&source).unwrap_or_default();
                if steady(&said) != steady(&picture) {
                    wrong += &format!("docs/pictures/{name}.txt:\n{picture}the file has:\n{said}");
                    is_golden.then(|| std::fs::write(&source, &picture).unwrap());
                }
                written += &format!("![{title}](pictures/{name}.svg)\n");
                shown += 1;
            }
            Part::Text(line) => written += &line,
        }
    }
    assert!(shown >= 7, "the page shows {shown} outputs");
    if is_golden {
        std::fs::write(path, written).unwrap();
    } else {
        assert!(wrong.is_empty(), "make tutorial\n{wrong}");
    }
}
