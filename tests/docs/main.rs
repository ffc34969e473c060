//! What people read is true: every YAML block is accepted, every command line is one, every link leads somewhere, and
//! sentences are short.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod book;
mod iam;
mod options;
mod pictures;
mod prose;
mod schema;

use std::process::Command;

use book::{Block, Page, pages, repository};

/// What a block may be marked as, after the language: by that it is known how it is tested.
const MARKS: [&str; 17] = [
    "yaml,revision", "yaml,section", "yaml,container", "yaml,policy", "yaml,other",
    // On a host with a deployment, an engine, and moto for AWS; in a root of its own; by the quick start's test.
    "sh,commands", "sh,root", "sh,tutorial", "sh,fails",
    // Not run: targets of make, what needs AWS itself or the internet, what is no command of ours to give.
    "sh,make", "sh,outside", "sh,other", "text,output", "text,tree", "text,diagram", "json,other", "markdown,other",
];

/// Files that revisions of the pages name.
const FILES: [(&str, &str); 14] = [
    ("ca.pem", include_str!("ca.pem")),
    ("image.tar", ""),
    ("prod.env", ""),
    ("env/common.env", ""),
    ("conf/nginx.conf", ""),
    ("app/compose.yml", COMPOSE),
    ("app/prod.env", ""),
    ("scripts/smoke.sh", ""),
    ("bin/migrate", ""),
    ("hooks/balehook", ""),
    ("build.env", "TAG=1.4.2\n"),
    ("build.json", "{}"),
    ("web.tar.sig", "AAAA"),
    ("imagedefinitions.json", r#"[{"name": "web", "imageUri": "registry.example.com/web:1.4.2"}]"#),
];

/// What `check` says of a revision; nothing where it is accepted.
pub fn refused(appspec: &str) -> Option<String> {
    refused_by(&["check"], appspec)
}

/// The same of another check.
fn refused_by(check: &[&str], appspec: &str) -> Option<String> {
    let bundle = tempfile::tempdir().unwrap();
    for (file, text) in FILES {
        let path = bundle.path().join(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    std::fs::copy(repository().join("hooks/balehook"), bundle.path().join("hooks/balehook")).unwrap();
    std::fs::write(bundle.path().join("appspec.yml"), appspec).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_balehook"));
    let output = command.args(check).env_clear().current_dir(bundle.path()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    (!output.status.success()).then_some(said)
}

/// A Compose file of which nothing is to be said.
const COMPOSE: &str = "services: {web: {image: 'web:1', restart: always, logging: {driver: local}}}\n";

const HOOKS: &str = "version: 0.0
os: linux
hooks:
  ApplicationStart: [{location: hooks/balehook, timeout: 300}]
";

/// A revision with this section; what every section must have is added where it is not there.
pub fn revision(section: &str) -> String {
    let has = |key: &str| section.lines().any(|line| line.starts_with(key));
    let mut whole = String::new();
    if !has("name:") {
        whole += "name: web\n";
    }
    if !["container:", "compose:", "swarm:"].into_iter().any(has) {
        whole += "container: {image: registry.example.com/web:1, ports: [\"80:8080\"]}\n";
    }
    whole += section;
    let lines: String = whole.lines().map(|line| format!("  {line}\n")).collect();
    format!("{HOOKS}x-balehook:\n{lines}")
}

/// A section with these keys of a container.
pub fn section(keys: &str) -> String {
    let image =
        if keys.lines().any(|line| line.starts_with("image:")) { "" } else { "image: registry.example.com/web:1\n" };
    let lines: String = (image.to_owned() + keys).lines().map(|line| format!("  {line}\n")).collect();
    format!("name: web\ncontainer:\n{lines}")
}

#[test]
fn every_block_says_how_it_is_tested() {
    let wrong = |page: &Page| -> Vec<String> {
        let unmarked = page.blocks().filter(|block| !MARKS.contains(&block.mark.as_str()));
        unmarked.map(|block| format!("{}:{}: ```{}", page.name, block.line, block.mark)).collect()
    };
    let wrong: Vec<String> = pages().iter().flat_map(wrong).collect();
    assert!(wrong.is_empty(), "{}\none of {MARKS:?}", wrong.join("\n"));
}

#[test]
fn every_yaml_block_is_accepted_by_check() {
    let wrong = |page: &Page, block: &Block| -> Option<String> {
        let appspec = match block.mark.as_str() {
            "yaml,revision" => block.text.clone(),
            "yaml,section" => revision(&block.text),
            "yaml,container" => revision(&section(&block.text)),
            _ => return None,
        };
        refused(&appspec).map(|why| format!("{}:{}: {why}", page.name, block.line))
    };
    let pages = pages();
    let wrong: Vec<String> =
        pages.iter().flat_map(|page| page.blocks().filter_map(move |block| wrong(page, &block))).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_whole_revision_that_people_copy_passes_a_strict_check() {
    let (check, pages) = (["check", "--strict"], pages());
    let blocks = pages.iter().flat_map(|page| page.blocks().map(move |block| (page, block)));
    let whole: Vec<_> = blocks.filter(|(_, block)| block.mark == "yaml,revision").collect();
    assert!(whole.len() > 2);
    let wrong = whole.iter().filter_map(|(page, block)| {
        refused_by(&check, &block.text).map(|why| format!("{}:{}: {why}", page.name, block.line))
    });
    let mut wrong: Vec<String> = wrong.collect();
    for mode in ["container", "compose", "swarm"] {
        let bundle = tempfile::tempdir().unwrap();
        let (from, mut copy) = (repository().join("appspec").join(mode), Command::new("cp"));
        assert!(copy.arg("-r").args([from.as_path(), bundle.path()]).status().unwrap().success());
        std::fs::write(bundle.path().join(mode).join("image.tar"), "").unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_balehook"));
        let output = command.args(check).arg(bundle.path().join(mode)).env_clear().output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        wrong.extend((!output.status.success()).then_some(said));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_command_block_is_shell_and_names_targets_of_make_that_are_there() {
    let makefile = std::fs::read_to_string(repository().join("Makefile")).unwrap();
    for page in pages() {
        for block in page.blocks().filter(|block| block.mark.starts_with("sh,")) {
            let at = format!("{}:{}", page.name, block.line);
            let parsed = Command::new("sh").args(["-n", "-c", &block.text]).output().unwrap();
            assert!(parsed.status.success(), "{at}: {}", String::from_utf8_lossy(&parsed.stderr));
            let targets = block.text.lines().filter_map(|line| line.strip_prefix("make "));
            for target in targets.filter_map(|rest| rest.split_whitespace().next()) {
                assert!(makefile.contains(&format!("\n{target}: ")), "{at}: make {target}");
            }
        }
    }
}

/// Nobody marks a block so in passing.
#[test]
fn only_these_blocks_of_commands_are_run_by_no_test() {
    let pages = pages();
    let blocks = |mark: &str| -> Vec<(String, String)> {
        let all = pages.iter().flat_map(|page| page.blocks().map(|block| (page.name.clone(), block)));
        let marked = all.filter(|(_, block)| block.mark == mark);
        marked.flat_map(|(page, block)| block.lines().into_iter().map(move |line| (page.clone(), line))).collect()
    };
    let commands = |mark: &str| -> Vec<(String, String)> {
        let word = |line: String| line.split(' ').take(2).collect::<Vec<_>>().join(" ");
        blocks(mark).into_iter().map(|(page, line)| (page, word(line))).collect()
    };
    let known = |page: &str, line: &str| (format!("docs/src/{page}.md"), line.to_owned());
    // `make ami-check` validates the template; a person's internet has Compose.
    let outside = [
        known("ami", "make dist"),
        known("ami", "packer init"),
        known("ami", "packer build"),
        known("compose", "P=/usr/local/lib/docker/cli-plugins/docker-compose"),
        known("compose", "curl -fL"),
    ];
    assert_eq!(commands("sh,outside"), outside);
    // Variables of a file, the hooks that a person has before, what tests/revisions does with scripts of its own, and lines for
    // cron with a timer; what a pipeline signs with, as tests/it/trust.rs runs it; engines of other hosts, as tests/it/endpoint.rs
    // asks them.
    let other = blocks("sh,other").into_iter().map(|(page, _)| page).collect::<std::collections::BTreeSet<_>>();
    assert_eq!(
        other.into_iter().collect::<Vec<_>>(),
        [
            "docs/src/ami.md", "docs/src/from-bash.md", "docs/src/import.md", "docs/src/operations.md",
            "docs/src/trust.md"
        ]
    );
    let make = blocks("sh,make");
    assert!(make.len() == 5 && make.iter().all(|(_, line)| line.starts_with("make ")), "{make:?}");
}

#[test]
fn every_balehook_command_is_one() {
    for page in pages() {
        for (line, words) in page.commands() {
            // Only the command line is read: `--help` ends it before anything is done. A wrong word before it is refused.
            let known = Command::new(env!("CARGO_BIN_EXE_balehook")).args(&words).arg("--help").output().unwrap();
            let said = String::from_utf8_lossy(&known.stderr);
            assert!(known.status.success(), "{}:{line}: balehook {}: {said}", page.name, words.join(" "));
        }
    }
}

#[test]
fn every_link_leads_to_a_page_and_a_heading_that_are_there() {
    let pages = pages();
    let mut wrong = Vec::new();
    for page in &pages {
        for (line, link) in page.links() {
            if link.starts_with("http") || link.starts_with("mailto:") {
                continue;
            }
            let (file, anchor) = link.split_once('#').unwrap_or((&link, ""));
            let target = if file.is_empty() { Some(page) } else { pages.iter().find(|other| other.is_at(page, file)) };
            let is_file = || page.folder().join(file).exists();
            match target {
                Some(target) if anchor.is_empty() || target.anchors().iter().any(|known| known == anchor) => {}
                None if anchor.is_empty() && is_file() => {}
                _ => wrong.push(format!("{}:{line}: {link}", page.name)),
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_page_is_in_the_summary() {
    let pages = pages();
    let summary = pages.iter().find(|page| page.name.ends_with("SUMMARY.md")).unwrap();
    let listed: Vec<String> = summary.links().map(|(_, link)| link).collect();
    for page in pages.iter().filter(|page| page.name.starts_with("docs/") && !page.name.ends_with("SUMMARY.md")) {
        let file = page.name.trim_start_matches("docs/src/");
        assert!(listed.iter().any(|link| link == file), "{file} is not in SUMMARY.md");
    }
}

#[test]
fn the_readme_is_read_in_five_minutes() {
    let readme = std::fs::read_to_string(repository().join("README.md")).unwrap();
    assert!(readme.lines().count() <= 150, "{} lines", readme.lines().count());
}

#[test]
fn every_exit_code_of_a_failure_is_in_the_troubleshooting() {
    let pages = pages();
    let page = |name: &str| pages.iter().find(|page| page.name.ends_with(name)).unwrap();
    let first = |line: &str| line.trim_start_matches("| ").split(' ').next().and_then(|code| code.parse::<u8>().ok());
    let codes: Vec<u8> = page("/exit-codes.md").prose().filter_map(|(_, line)| first(line)).collect();
    let lines: Vec<&str> = page("/troubleshooting.md").prose().map(|(_, line)| line).collect();
    for code in codes.iter().filter(|code| **code != 0 && **code != 2) {
        let named = format!("| exit code {code}");
        let is_named = |line: &&str| line.strip_prefix(&named).is_some_and(|rest| rest.starts_with([',', ' ']));
        assert!(lines.iter().any(is_named), "exit code {code} is not in troubleshooting.md");
    }
    assert!(codes.len() > 10);
}

fn help(command: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_balehook")).args(command).arg("--help").env_clear().output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(|line| line.trim_end().to_owned() + "\n").collect()
}

/// `make golden` writes the page anew.
#[test]
fn the_page_of_commands_is_the_programs_own_golden_help() {
    let mut text = "# Commands\n\nThis page is the program's own help.\n\n".to_owned();
    for command in ["", "run", "plan", "check", "explain", "schema", "status", "resume", "completions"] {
        let (title, words) = if command.is_empty() { ("balehook", vec![]) } else { (command, vec![command]) };
        text += &format!("## {title}\n\n```text,output\n{}```\n\n", help(&words));
    }
    assert_is_page("commands.md", &text);
}

/// What people read of the rules is what the program says of them.
#[test]
fn the_page_of_rules_is_what_explain_says() {
    let said = |words: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_balehook"));
        let output = command.arg("explain").args(words).env_clear().output().unwrap();
        assert!(output.status.success(), "{words:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let list = said(&[]);
    let rules = list.split("Exit codes:").next().unwrap().lines();
    let rules: Vec<&str> =
        rules.filter_map(|line| line.strip_prefix("  ").filter(|name| !name.starts_with(' '))).collect();
    assert!(rules.len() > 30, "{list}");
    let mut text = RULES.to_owned();
    for rule in rules {
        text += &format!("## {rule}\n\n```text,output\n{}```\n\n", said(&[rule]));
    }
    assert_is_page("rules.md", &text);
}

const RULES: &str = "# Rules of check

Every problem that `balehook check` finds belongs to a rule. Its name stands in brackets: `warning[moving-tag]`. This
page is what `balehook explain` says of each.

- An error forbids the deployment. A warning does not, unless you run `balehook check --strict`.
- A comment `# balehook: allow RULE` silences a warning of its line. Where the comment stands alone, it is for the next
  line. It works in Compose files too. An error is never silenced.
- Some rules are for `check` alone. Events do not print them, because CodeDeploy keeps 2 kB of the console.
- `balehook check --fix` first fixes what is safe: CRLF in hooks, hooks that are not executable, and tabs in appspec.yml
  where they can mean one thing alone.
- Each file is read by itself. That two names of one deployment group publish the same port is not found.

";

/// Where the golden files are written anew, the page is; else it must be this.
fn assert_is_page(name: &str, text: &str) {
    let path = repository().join("docs/src").join(name);
    let text = text.trim_end().to_owned() + "\n";
    if std::env::var_os("BALEHOOK_GOLDEN").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    let is_same = std::fs::read_to_string(path).unwrap_or_default() == text;
    assert!(is_same, "docs/src/{name} is not what the program says: make golden");
}
