//! The table of container options is the code's.

use crate::book::pages;
use crate::{refused, revision, section};

pub struct Row {
    pub key: String,
    pub example: String,
    pub swarm: bool,
}

pub fn rows() -> Vec<Row> {
    let pages = pages();
    let page = pages.iter().find(|page| page.name.ends_with("/options.md")).unwrap();
    let cells = page.prose().filter(|(_, line)| line.starts_with("| `"));
    cells
        .map(|(number, line)| {
            let cells: Vec<&str> = line.trim_matches('|').split(" | ").map(str::trim).collect();
            let [key, example, swarm, _] = cells[..] else { panic!("options.md:{number}: {line}") };
            let plain = |cell: &str| cell.trim_matches('`').to_owned();
            Row { key: plain(key), example: plain(example), swarm: swarm == "yes" }
        })
        .collect()
}

#[test]
fn every_option_of_the_code_is_in_the_table_and_no_other() {
    let mut listed: Vec<String> = rows().into_iter().map(|row| row.key).collect();
    let mut known = balehook::config::service::keys();
    listed.sort_unstable();
    known.sort_unstable();
    assert_eq!(listed, known);
}

#[test]
fn every_example_is_accepted_and_a_swarm_takes_those_that_the_table_says() {
    let mut wrong = Vec::new();
    for Row { key, example, swarm } in rows() {
        let besides = match key.as_str() {
            "memswap_limit" | "mem_reservation" => "mem_limit: 512m\n",
            "update_config" => "stop_grace_period: 5s\n",
            _ => "",
        };
        let keys = format!("{besides}{key}: {example}");
        if let Some(why) = refused(&revision(&section(&keys))) {
            wrong.push(format!("container {key}: {why}"));
        }
        let section = section(&keys).replace("container:", "swarm:");
        if refused(&revision(&section)).is_none() != swarm {
            wrong.push(format!("swarm {key}: {:?}", refused(&revision(&section))));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
