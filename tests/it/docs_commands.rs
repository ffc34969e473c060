//! Every command of ours in the README and the book runs as it stands, on a host where `web` is deployed.

use std::path::Path;

use nix::sys::signal::Signal;

use crate::support::world::repository;
use crate::support::{Image, Served};

/// The lines of the pages' blocks of commands that begin with `balehook`, each once, with its page.
fn commands() -> Vec<(String, String)> {
    let pages = std::fs::read_dir(repository().join("docs/src")).unwrap().map(|page| page.unwrap().path());
    let mut pages: Vec<_> = pages.filter(|page| page.extension().is_some_and(|ending| ending == "md")).collect();
    pages.sort();
    pages.insert(0, repository().join("README.md"));
    let mut found: Vec<(String, String)> = Vec::new();
    for page in pages {
        let text = std::fs::read_to_string(&page).unwrap();
        for block in text.split("```sh,commands\n").skip(1) {
            for line in block.split("```").next().unwrap().lines() {
                let line = line.strip_prefix("sudo ").unwrap_or(line);
                let is_new = found.iter().all(|(_, known)| known != line);
                if line.starts_with("balehook ") && is_new {
                    found.push((page.file_name().unwrap().to_str().unwrap().to_owned(), line.to_owned()));
                }
            }
        }
    }
    found
}

/// What a reader puts in place of the page's words.
fn word(word: &str, served: &Served, policy: &Path) -> String {
    let bundle = served.bundle.path();
    match word {
        "web" => served.name.clone(),
        "deploy" | "." | "/path/to/revision" | "/tmp/base/deploy" => bundle.to_str().unwrap().to_owned(),
        "policy.yml" => policy.to_str().unwrap().to_owned(),
        word => word.to_owned(),
    }
}

#[test]
fn every_command_of_the_pages_does_what_it_says_on_a_host_with_a_deployment() {
    let mut served = Served::over("pages", "", "health: {http: /healthz, timeout: 3s}");
    Image::new(&served.tag(2)).script("echo no database; exit 3").write_into(&served.bundle.path());
    served.bundle.deployment("d-A1B2C3D4E").hook("ApplicationStart").exits(8);
    let script = "echo ready; exec /bin/busybox httpd -f -p 80 -h /www";
    let image = Image::new(&served.tag(3)).file("www/index.html", "new").file("www/healthz", "ok").script(script);
    image.write_into(&served.bundle.path());
    served.bundle.deployment("d-TEST00003").hook("ApplicationStart").exits(0);
    let policy = served.bundle.state().join("policy.yml");
    std::fs::write(&policy, "privileged: false\n").unwrap();

    let commands = commands();
    assert!(commands.len() > 15, "{commands:?}");
    for (page, line) in commands {
        let mut words: Vec<String> = line.split_whitespace().skip(1).map(|text| word(text, &served, &policy)).collect();
        // A reader stands in the bundle's folder.
        if ["check", "plan", "run"].contains(&words[0].as_str()) && !line.contains("--appspec") {
            words.extend(["--appspec".to_owned(), served.bundle.path().to_str().unwrap().to_owned()]);
        }
        let args: Vec<&str> = words.iter().map(String::as_str).collect();
        if line.contains("--follow") || line.contains("--watch") {
            let mut goes_on = served.bundle.start_bare(&args);
            std::io::Read::read_exact(&mut goes_on.take_stdout(), &mut [0; 1]).unwrap();
            goes_on.signal(Signal::SIGTERM);
            goes_on.wait();
            continue;
        }
        let outcome = served.bundle.start_bare(&args).wait();
        assert_eq!(outcome.code, Some(0), "{page}: {line}\n{}\n{}", outcome.stdout, outcome.stderr);
        if line.contains("ApplicationStop") {
            served.bundle.hook("ApplicationStart").exits(0);
        }
    }
    served.serves("new");
}
