//! The pages as they are written: blocks, headings, links, commands.

use std::path::{Path, PathBuf};

pub fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A page of Markdown.
pub struct Page {
    /// Its path from the repository's root.
    pub name: String,
    text: String,
}

/// A fenced block.
pub struct Block {
    /// What stands behind the fence.
    pub mark: String,
    /// The line of its fence.
    pub line: usize,
    pub text: String,
}

impl Block {
    /// Its commands: a line that ends with a backslash goes on.
    pub fn lines(&self) -> Vec<String> {
        self.text
            .replace("\\\n", "")
            .lines()
            .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
            .collect()
    }
}

/// The README and the book.
pub fn pages() -> Vec<Page> {
    let book = repository().join("docs/src");
    let mut paths: Vec<PathBuf> = std::fs::read_dir(book).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "md"));
    paths.push(repository().join("README.md"));
    paths.sort_unstable();
    let page = |path: PathBuf| Page {
        name: path.strip_prefix(repository()).unwrap().display().to_string(),
        text: std::fs::read_to_string(&path).unwrap(),
    };
    paths.into_iter().map(page).collect()
}

impl Page {
    pub fn folder(&self) -> PathBuf {
        repository().join(&self.name).parent().unwrap().to_owned()
    }

    /// Whether this page is what `file` names on another page.
    pub fn is_at(&self, from: &Self, file: &str) -> bool {
        let (own, named) = (repository().join(&self.name), from.folder().join(file));
        own == named || std::fs::canonicalize(named).is_ok_and(|named| named == Path::new(&own))
    }

    pub fn blocks(&self) -> impl Iterator<Item = Block> {
        let mut blocks = Vec::new();
        let mut open: Option<Block> = None;
        for (index, line) in self.text.lines().enumerate() {
            match (line.trim_start().strip_prefix("```"), open.as_mut()) {
                (Some(mark), None) => {
                    open = Some(Block { mark: mark.to_owned(), line: index + 1, text: String::new() });
                }
                (Some(_), Some(_)) => blocks.extend(open.take()),
                (None, Some(block)) => block.text += &format!("{line}\n"),
                (None, None) => {}
            }
        }
        assert!(open.is_none(), "{}: a block is not closed", self.name);
        blocks.into_iter()
    }

    /// Lines that are no part of a block, with their numbers.
    pub fn prose(&self) -> impl Iterator<Item = (usize, &str)> {
        let mut is_block = false;
        self.text.lines().enumerate().filter_map(move |(index, line)| {
            let is_fence = line.trim_start().starts_with("```");
            is_block ^= is_fence;
            (!is_block && !is_fence).then_some((index + 1, line))
        })
    }

    /// Where links lead.
    pub fn links(&self) -> impl Iterator<Item = (usize, String)> {
        self.prose().flat_map(|(number, line)| {
            let ends = line.split("](").skip(1).filter_map(|rest| rest.split_once(')'));
            ends.map(move |(link, _)| (number, link.to_owned()))
        })
    }

    /// The headings' anchors, as mdBook makes them.
    pub fn anchors(&self) -> Vec<String> {
        let headings = self.prose().filter_map(|(_, line)| line.strip_prefix('#'));
        headings.map(|heading| slug(heading.trim_start_matches('#').trim())).collect()
    }

    /// Calls of `balehook` in command blocks, without what is put in place by a person.
    pub fn commands(&self) -> Vec<(usize, Vec<String>)> {
        let mut found = Vec::new();
        for block in self
            .blocks()
            .filter(|block| ["sh,commands", "sh,root", "sh,tutorial", "sh,fails"].contains(&block.mark.as_str()))
        {
            for (index, line) in block.text.lines().enumerate() {
                let line = line.trim_start_matches("sudo ");
                let Some(rest) = line.strip_prefix("balehook ") else { continue };
                let words = rest
                    .split(" > ")
                    .next()
                    .and_then(|rest| rest.split(" #").next())
                    .unwrap_or_default()
                    .split_whitespace();
                found.push((block.line + index + 1, words.map(str::to_owned).collect()));
            }
        }
        found
    }
}

fn slug(heading: &str) -> String {
    let plain = heading.to_lowercase();
    let kept = plain.chars().filter_map(|letter| match letter {
        ' ' => Some('-'),
        letter if letter.is_alphanumeric() || letter == '-' || letter == '_' => Some(letter),
        _ => None,
    });
    kept.collect()
}
