//! appspec.yml of what scripts deploy, with `files:` and `permissions:` of the old one.

use crate::config::compose::project_name;
use crate::import::script::reading::OF_THE_HOOK;
use crate::import::script::{Found, LineReport, Project};
use crate::import::write::{How, appspec as of_container, name as name_of};
use crate::import::{Imported, secrets, yaml};

/// The ready-made revisions, whose hooks are written.
const COMPOSE: &str = include_str!("../../../appspec/compose/appspec.yml");
const SWARM: &str = include_str!("../../../appspec/swarm/appspec.yml");

/// Top-level keys of the old file that stay as they are.
const KEPT: [&str; 3] = ["files", "permissions", "file_exists_behavior"];

/// The parts of an old appspec.yml that stay, as they are written there.
pub fn kept(old: &str) -> String {
    let mut kept = String::new();
    let mut is_kept = false;
    for line in old.lines() {
        if line.starts_with(|letter: char| letter.is_ascii_alphabetic()) {
            is_kept = line.split(':').next().is_some_and(|key| KEPT.contains(&key.trim_end()));
        }
        if is_kept && !line.trim().is_empty() {
            kept.push_str(line.trim_end());
            kept.push('\n');
        }
    }
    kept
}

/// The whole file; `None` where nothing is known that could be deployed.
pub fn appspec(found: &Found, kept: &str, reports: &[LineReport]) -> Option<String> {
    let text = match (&found.project, &found.service, &found.container) {
        (Some(project), _, _) => whole(COMPOSE, &of_project(project)),
        (None, Some(service), _) => whole(SWARM, &of_service(service)),
        (None, None, Some(container)) => {
            let text = of_container(
                &mut container.clone(),
                How { source: "hook scripts", show_values: false, container: None, hidden: &[] },
            );
            with_health(&text, found)
        }
        (None, None, None) => return None,
    };
    let text = if found.container.is_some() && found.project.is_none() && found.service.is_none() {
        text
    } else {
        text + &health(found)
    };
    let text = text.replacen("os: linux\n", &format!("os: linux\n{kept}"), 1);
    let text = text.replacen("\nversion:", &format!("\n{}version:", notes(found, reports)), 1);
    Some(OF_THE_HOOK.iter().fold(text, |text, (name, token)| text.replace(token, &format!("${{{name}:-none}}"))))
}

/// What a person has to look at, as comments.
fn notes(found: &Found, reports: &[LineReport]) -> String {
    let open = reports.iter().filter(|reports| reports.handling.is_open());
    let open = open.map(|reports| {
        format!("# - {}:{}: {}: {}\n", reports.path, reports.line, reports.text, reports.handling.text())
    });
    let of_service = found.service.iter().flat_map(|service| &service.remarks);
    let remarks = found.remarks.iter().chain(of_service).map(|remark| format!("# - {remark}\n"));
    let lines: String = open.chain(remarks).collect();
    if lines.is_empty() { lines } else { format!("#\n# Before it is deployed:\n{lines}") }
}

/// The hooks of a ready-made revision with another section.
fn whole(ready: &str, section: &str) -> String {
    let hooks = ready.split_once("version:").and_then(|(_, rest)| rest.split_once("x-balehook:"));
    let hooks = hooks.map(|(hooks, _)| hooks).unwrap_or_default();
    format!("# Written by `balehook import` from hook scripts.\nversion:{hooks}x-balehook:\n{section}")
}

fn of_project(project: &Project) -> String {
    let name = project.name.as_deref().unwrap_or("app").to_lowercase();
    let name: String = name.chars().filter(|letter| project_name(&letter.to_string()).is_ok()).collect();
    let mut section =
        format!("  name: {name} # the project's name: `docker compose ls` lists the one that runs\n  compose:\n");
    let lists = [
        ("files", &project.files),
        ("profiles", &project.profiles),
        ("env_file", &project.env_file),
        ("services", &project.services),
    ];
    for (key, list) in lists.into_iter().filter(|(_, list)| !list.is_empty()) {
        let list = list.iter().map(|item| item.as_str().into()).collect();
        section.push_str(&yaml::entry(key, &serde_yaml::Value::Sequence(list), 4));
    }
    section
}

fn of_service(service: &Imported) -> String {
    let (mut service, name) = (service.clone(), name_of(service));
    let path = format!("/etc/{name}.env");
    let hidden = secrets::take_out(&mut service, &path, &[]);
    let mut section = yaml::entry("name", &name.as_str().into(), 2) + "  swarm:\n";
    let image = service.image.clone().unwrap_or_default();
    section.push_str(&yaml::entry("image", &image.into(), 4));
    for (key, value) in &service.options {
        if key == "env_file" && !hidden.is_empty() {
            section.push_str(&format!(
                "    # {} look like secrets: make the file on each host, for root alone\n",
                hidden.join(", ")
            ));
        }
        section.push_str(&yaml::entry(key, value, 4));
    }
    section
}

fn health(found: &Found) -> String {
    let health = found.health.as_ref().map(|address| format!("  health:\n    http: \"{address}\"\n"));
    health.unwrap_or_default()
}

/// In place of the comment that says that there is none.
fn with_health(text: &str, found: &Found) -> String {
    if found.health.is_none() {
        return text.to_owned();
    }
    let lines: Vec<&str> = text.lines().collect();
    let end = lines.iter().rposition(|line| !line.starts_with("  # ")).map_or(0, |at| at + 1);
    lines[..end].iter().map(|line| format!("{line}\n")).collect::<String>() + &health(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_and_permissions_stay_as_they_are_and_hooks_go() {
        let old = "version: 0.0\nos: linux\nfiles:\n  - source: /\n    destination: /opt/app\n\nhooks:\n  \
                   AfterInstall:\n    - location: a.sh\npermissions:\n- object: /opt/app # x\n  owner: root\n";
        let wanted =
            "files:\n  - source: /\n    destination: /opt/app\npermissions:\n- object: /opt/app # x\n  owner: root\n";
        assert_eq!(kept(old), wanted);
    }
}
