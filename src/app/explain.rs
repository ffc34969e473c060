//! `explain`: what a rule of `check`, a key or an exit code means, and what to do.

use crate::app::say;
use crate::config::explained;
use crate::config::problem::nearest;
use crate::config::rules::{all, find};
use crate::error::{Failure, Kind, NO_FAILURES};
use crate::ui::explain;
use crate::ui::text::Console;

pub(crate) fn explain(what: Option<&str>) -> u8 {
    match text(what) {
        Ok(text) => {
            Console::stdout().listing(&text);
            0
        }
        Err(failure) => say(&failure),
    }
}

fn text(what: Option<&str>) -> Result<String, Failure> {
    let Some(what) = what else { return Ok(explain::list(&all())) };
    if let Some(rule) = find(what) {
        return Ok(explain::rule(&rule));
    }
    if let Some(key) = explained::find(what) {
        return Ok(explain::key(&key));
    }
    let code = what.parse::<u8>().ok();
    if let Some(kind) = Kind::ALL.into_iter().find(|kind| Some(kind.exit_code()) == code) {
        return Ok(explain::kind(kind));
    }
    if let Some((code, meaning)) = NO_FAILURES.into_iter().find(|(known, _)| Some(*known) == code) {
        return Ok(explain::no_failure(code, meaning));
    }
    let rules = all();
    let known: Vec<&str> = rules.iter().map(|rule| rule.name).collect();
    let near = nearest(what, &known).map(|near| format!("did you mean `{near}`?"));
    let failure = Failure::new(Kind::Usage, format!("`{what}` is no rule of check, no key and no exit code"));
    Err(failure.next(near.unwrap_or_else(|| "`balehook explain` lists them all".into())))
}
