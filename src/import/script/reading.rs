//! Scripts one after another: variables, folders, and what each command becomes.

use std::collections::{BTreeMap, BTreeSet};

use crate::import::line::{UNKNOWN, as_written};
use crate::import::script::commands::{Pipeline, lines, pipelines};
use crate::import::script::{
    Bundle, Found, Handling, LineReport, Script, Verdict, carried, docker, host, not_needed, not_understood,
};
use crate::values::secret::masked;
use crate::values::text::shorten;

/// The longest text that is shown of a command, in characters.
const SHOWN: usize = 160;

/// Variables of the hook: they are known at every deployment. In a word each stands as a text that no one writes, of
/// letters that every option takes; the written file has the variable.
pub(super) const OF_THE_HOOK: [(&str, &str); 5] = [
    ("APPLICATION_NAME", "zq0hook1zq"),
    ("DEPLOYMENT_ID", "zq0hook2zq"),
    ("DEPLOYMENT_GROUP_NAME", "zq0hook3zq"),
    ("DEPLOYMENT_GROUP_ID", "zq0hook4zq"),
    ("LIFECYCLE_EVENT", "zq0hook5zq"),
];

/// What a script has said so far.
pub(super) struct State<'a> {
    pub(super) bundle: &'a Bundle<'a>,
    pub(super) found: Found,
    /// Where `cd` led.
    pub(super) folder: Option<String>,
    variables: BTreeMap<String, String>,
    functions: BTreeSet<String>,
    /// How many `if`, `for` and `case` are open.
    depth: i32,
}

/// What became of each line, and what all of them deploy.
pub fn read(scripts: &[Script], bundle: &Bundle<'_>) -> (Vec<LineReport>, Found) {
    let mut state = State::new(bundle);
    let mut all: Vec<(LineReport, Verdict)> = Vec::new();
    for script in scripts {
        (state.folder, state.depth) = (None, 0);
        state.variables.clear();
        state.functions.clear();
        all.extend(state.script(script));
    }
    state.finish(all)
}

impl<'a> State<'a> {
    fn new(bundle: &'a Bundle<'a>) -> Self {
        let (variables, functions) = (BTreeMap::new(), BTreeSet::new());
        Self { bundle, found: Found::default(), folder: None, variables, functions, depth: 0 }
    }

    fn script(&mut self, script: &Script) -> Vec<(LineReport, Verdict)> {
        let mut all = Vec::new();
        for line in lines(&script.text) {
            let reports = |text: &str| LineReport {
                path: script.path.clone(),
                line: line.number,
                text: shown(text),
                handling: Handling::NotNeeded(String::new()),
            };
            let unreadable = || vec![(line.text.clone(), not_understood("it cannot be read"))];
            let verdicts = match line.has_document {
                true => vec![(line.text.clone(), not_understood("it writes a text of several lines"))],
                false => self.line(&line.text).unwrap_or_else(unreadable),
            };
            all.extend(verdicts.into_iter().map(|(text, verdict)| (reports(&text), verdict)));
        }
        all
    }

    /// Each command of a line; what only steers is left out beside others.
    fn line(&mut self, text: &str) -> Option<Vec<(String, Verdict)>> {
        let pipelines = {
            let lookup = |name: &str| self.lookup(name);
            pipelines(text, &lookup)?
        };
        let is_alone = pipelines.len() == 1;
        let mut all = Vec::new();
        for pipeline in &pipelines {
            let verdict = self.command(pipeline);
            self.depth = (self.depth + pipeline.opens).max(0);
            all.push((if is_alone { text.to_owned() } else { pipeline.text.clone() }, verdict));
        }
        let steers =
            |verdict: &Verdict| matches!(verdict, Verdict::Now(Handling::NotNeeded(why)) if why == host::STEERS);
        if all.iter().any(|(_, verdict)| !steers(verdict)) {
            all.retain(|(_, verdict)| !steers(verdict));
        } else {
            // What only closes a part needs no line of its own.
            let is_word = |text: &str| host::CLOSES.contains(&text.trim());
            all.retain(|(text, _)| !is_word(text));
            all.truncate(1);
        }
        Some(all)
    }

    pub(super) fn lookup(&self, name: &str) -> Option<String> {
        let of_hook = || OF_THE_HOOK.iter().find(|(known, _)| *known == name).map(|(_, text)| (*text).to_owned());
        match name {
            "PWD" => self.folder.clone(),
            // Those of a person's own shell say nothing of a host.
            "HOME" | "USER" | "PATH" | "SHELL" | "HOSTNAME" | "OLDPWD" | "TMPDIR" => self.variables.get(name).cloned(),
            _ => self.variables.get(name).cloned().or_else(of_hook).or_else(|| (self.bundle.given)(name)),
        }
    }

    fn command(&mut self, pipeline: &Pipeline) -> Verdict {
        let stages: Vec<Vec<String>> = pipeline.stages.iter().map(|words| self.assigned(words)).collect();
        let words = stages.first().cloned().unwrap_or_default();
        if words.is_empty() {
            return self.assignments(&pipeline.stages.concat());
        }
        let name = words[0].rsplit('/').next().unwrap_or_default().to_owned();
        if name == "function" {
            self.functions.extend(words.get(1).cloned());
            return not_needed("a function: its lines are read where they stand");
        }
        if self.functions.contains(&name) {
            return not_needed("it calls a function, of which the lines are read");
        }
        if ["export", "readonly", "local", "declare"].contains(&name.as_str()) {
            return self.assignments(&words[1..]);
        }
        if name == "cd" {
            self.enter(words.get(1).map(String::as_str));
            return not_needed("paths are those of the bundle");
        }
        let verdict = docker::verdict(self, &stages, pipeline).or_else(|| host::verdict(self, &stages, pipeline));
        let verdict =
            verdict.unwrap_or_else(|| not_understood("keep it in a script of its own, as another entry of the hook"));
        self.under_a_condition(verdict)
    }

    fn under_a_condition(&self, verdict: Verdict) -> Verdict {
        match verdict {
            Verdict::Now(Handling::Carried(keys)) if self.depth > 0 && !keys.starts_with("health") => {
                carried(format!("{keys}; it stood under a condition, which is not carried"))
            }
            other => other,
        }
    }

    fn enter(&mut self, folder: Option<&str>) {
        let Some(folder) = folder.filter(|folder| !folder.contains(UNKNOWN)) else { return self.folder = None };
        self.folder = match &self.folder {
            Some(before) if !folder.starts_with('/') => Some(format!("{before}/{}", folder.trim_start_matches("./"))),
            _ => folder.starts_with('/').then(|| folder.trim_end_matches('/').to_owned()),
        };
    }

    /// The words without `sudo` and the variables before a command, which count for it.
    fn assigned(&mut self, words: &[String]) -> Vec<String> {
        let mut rest = words;
        while let Some((word, after)) = rest.split_first() {
            rest = match word.as_str() {
                "sudo" => match after {
                    [option, _, more @ ..] if option == "-u" || option == "-g" => more,
                    after => after,
                },
                "exec" | "nohup" | "command" | "env" => after,
                option if words[0] == "sudo" && option.starts_with('-') => after,
                word if is_assignment(word) && after.iter().any(|word| !is_assignment(word)) => {
                    self.assign(word);
                    after
                }
                word if is_assignment(word) => return Vec::new(),
                _ => break,
            };
        }
        rest.to_vec()
    }

    fn assign(&mut self, word: &str) {
        if let Some((name, value)) = word.split_once('=').filter(|(_, value)| !value.contains(UNKNOWN)) {
            self.variables.insert(name.to_owned(), value.to_owned());
        } else if let Some((name, _)) = word.split_once('=') {
            self.variables.remove(name);
        }
    }

    /// `NAME=value`: kept for the lines below.
    fn assignments(&mut self, words: &[String]) -> Verdict {
        let mut verdict = not_needed("its value is put where it is used");
        for word in words {
            let Some((name, value)) = word.split_once('=') else { continue };
            self.assign(word);
            if let Some(command) = value.split_once(UNKNOWN).and_then(|(_, after)| after.strip_prefix('(')) {
                let command = as_written(command.strip_suffix(')').unwrap_or(command));
                verdict = self.substituted(name, &command, value);
            } else if value.contains(UNKNOWN) {
                verdict = not_understood("its value is known on the host alone");
            }
        }
        verdict
    }

    /// `NAME=$(command)`.
    fn substituted(&mut self, name: &str, command: &str, value: &str) -> Verdict {
        let lookup = |name: &str| self.lookup(name);
        let Some(inner) = pipelines(command, &lookup) else { return not_understood("it cannot be read") };
        let words = inner.first().and_then(|first| first.stages.first()).cloned().unwrap_or_default();
        let is_whole = inner.len() == 1 && inner[0].stages.len() == 1 && value.starts_with(UNKNOWN);
        let file = match words.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
            ["cat", file] if is_whole => Some((*file).to_owned()),
            [] if is_whole => inner[0].from.clone(),
            _ => None,
        };
        if let Some(file) = file {
            let inside = self.bundle.find(&file, self.folder.as_deref());
            let Some(text) = inside.and_then(|file| (self.bundle.read)(&file)) else {
                return not_understood(format!("{file} is not in the bundle, so its text is not known"));
            };
            self.variables.insert(name.to_owned(), text.trim().to_owned());
            self.found.remarks.push(format!(
                "${name} was read from {file} as it is now: write the value into appspec.yml when the bundle is made"
            ));
            return not_needed(format!("{file} is read now, and its text put where ${name} is used"));
        }
        match inner.first().map(|first| self.command(first)) {
            Some(Verdict::Now(Handling::NotNeeded(why))) if why != host::STEERS => not_needed(why),
            Some(Verdict::Now(Handling::Carried(keys))) => carried(keys),
            _ => not_understood("its value is known on the host alone"),
        }
    }

    /// Reads the variables of a file that a script sources.
    pub(super) fn source(&mut self, file: &str) -> bool {
        let inside = self.bundle.find(file, self.folder.as_deref());
        let Some(text) = inside.and_then(|file| (self.bundle.read)(&file)) else { return false };
        for line in lines(&text) {
            let found = pipelines(&line.text, &|name: &str| self.lookup(name)).unwrap_or_default();
            for words in found.iter().flat_map(|pipeline| &pipeline.stages) {
                words.iter().filter(|word| is_assignment(word)).for_each(|word| self.assign(word));
            }
        }
        true
    }
}

fn is_assignment(word: &str) -> bool {
    word.split_once('=').is_some_and(|(name, _)| {
        let begins = name.starts_with(|letter: char| letter.is_ascii_alphabetic() || letter == '_');
        begins && name.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_')
    })
}

/// In one line, without secrets.
fn shown(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().filter(|word| *word != "\\").collect();
    shorten(&masked(&words.join(" ")), SHOWN)
}
