//! The table of container options is the code's.

use crate::book::{Page, pages};
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
        let section = |keys: &str| match key.as_str() {
            "secrets" => {
                format!("{}\nsecrets: {{db: {{file: /etc/db}}, key: {{file: /etc/key}}}}", section(keys).trim_end())
            }
            _ => section(keys),
        };
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

/// Keys of a page's table: `key`, `other.key`, several in a cell.
fn keys(page: &Page) -> Vec<String> {
    let mut is_table_of_keys = false;
    let rows = page.prose().filter_map(|(_, line)| {
        is_table_of_keys = line.starts_with("| key |") || (is_table_of_keys && line.starts_with('|'));
        (is_table_of_keys && line.starts_with("| `")).then(|| line.trim_matches('|').split(" | ").next().unwrap())
    });
    let last = |key: &str| key.rsplit('.').next().unwrap_or_default().to_owned();
    rows.flat_map(|cell| cell.split('`').skip(1).step_by(2).map(last).collect::<Vec<_>>()).collect()
}

#[test]
fn every_key_of_a_table_has_an_example_on_its_page() {
    let mut missing = Vec::new();
    let mut found = 0;
    for page in pages().iter().filter(|page| !page.name.ends_with("/options.md") && !page.name.ends_with("README.md")) {
        let examples: Vec<String> =
            page.blocks().filter(|block| block.mark.starts_with("yaml,")).map(|block| block.text).collect();
        for key in keys(page) {
            found += 1;
            let has = |text: &String| {
                [' ', '{', '\n'].iter().any(|before| format!("\n{text}").contains(&format!("{before}{key}:")))
            };
            missing.extend((!examples.iter().any(has)).then(|| format!("{}: {key}", page.name)));
        }
    }
    assert!(found > 40, "only {found} keys were found");
    assert!(missing.is_empty(), "{}", missing.join("\n"));
}
