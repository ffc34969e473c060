//! `${VAR}` in the values of our section, as Compose does it.
//!
//! Source: Compose specification, "Interpolation".

use crate::config::problem::Problems;
use crate::config::rules::{UNSET_VARIABLE, VARIABLE};
use crate::config::yaml::{Node, Place, Value};
use crate::values::secret::is_secret_name;

/// Defaults in defaults.
const MAX_DEPTH: usize = 8;

/// Longest result, in bytes.
const MAX_RESULT: usize = 256 * 1024;

/// What to write instead.
const HELP: &str = "write `$$` for a dollar sign, `${NAME}` for a variable";

/// Looks a variable up.
pub(crate) type Lookup<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Replaces the variables in every scalar value under `node`; keys stay as they are.
pub fn interpolate(node: &mut Node, path: &str, lookup: Lookup<'_>, problems: &Problems) {
    within(node, path, false, lookup, problems);
}

/// `secret`: a key above says that the value is one, so that no part of it may stand in a message.
fn within(node: &mut Node, path: &str, secret: bool, lookup: Lookup<'_>, problems: &Problems) {
    let place = node.place;
    match &mut node.value {
        Value::Scalar { text, plain } if text.contains('$') => {
            // As in Compose, which knows what is null before it replaces variables.
            *plain = false;
            let secret = secret || text.split_once('=').is_some_and(|(name, _)| is_secret_name(name));
            let mut unset = Vec::new();
            match expand(text, lookup, &mut unset) {
                Ok(expanded) => *text = expanded,
                Err(why) => refuse(place, path, why, secret, problems),
            }
            warn_unset(place, path, unset, secret, problems);
        }
        Value::Scalar { .. } | Value::Alias => {}
        Value::Sequence(items) => {
            for (index, item) in items.iter_mut().enumerate() {
                within(item, &format!("{path}[{index}]"), secret, lookup, problems);
            }
        }
        Value::Mapping(entries) => {
            for (key, value) in entries {
                let name = key.as_text().unwrap_or_default();
                within(value, &format!("{path}.{name}"), secret || is_secret_name(name), lookup, problems);
            }
        }
    }
}

fn refuse(place: Place, path: &str, why: String, secret: bool, problems: &Problems) {
    // What `:?message` says was written to be read, also where it guards a secret.
    let (why, help) = match (why.contains(" is required: "), secret) {
        (true, _) => (why, ""),
        (false, true) => ("a `$` in this value begins no variable that can be read".into(), HELP),
        (false, false) => (why, HELP),
    };
    problems.broken(VARIABLE, place, path, why, help);
}

fn warn_unset(place: Place, path: &str, mut unset: Vec<String>, secret: bool, problems: &Problems) {
    unset.sort();
    unset.dedup();
    if secret && !unset.is_empty() {
        let message = "a variable in this value is not set: an empty string is used";
        problems.warning(UNSET_VARIABLE, place, path, message, "write `$$` for a dollar sign that is none");
        return;
    }
    for name in unset {
        let help = format!("write `${{{name}:-default}}`, or `${{{name}:?message}}` to refuse it");
        problems.warning(
            UNSET_VARIABLE,
            place,
            path,
            format!("variable {name} is not set: an empty string is used"),
            help,
        );
    }
}

/// Replaces the variables of one text; the names of those that are not set and have no default go into `unset`.
/// Errors: Bad syntax, a `:?message` that applies, or a result that is too long.
pub(crate) fn expand(text: &str, lookup: Lookup<'_>, unset: &mut Vec<String>) -> Result<String, String> {
    expand_at(text, lookup, unset, 0)
}

fn expand_at(text: &str, lookup: Lookup<'_>, unset: &mut Vec<String>, depth: usize) -> Result<String, String> {
    if depth > MAX_DEPTH {
        return Err(format!("defaults are nested deeper than {MAX_DEPTH}"));
    }
    let mut out = String::new();
    let mut rest = text;
    while let Some(dollar) = rest.find('$') {
        out.push_str(&rest[..dollar]);
        rest = &rest[dollar + 1..];
        if let Some(after) = rest.strip_prefix('$') {
            out.push('$');
            rest = after;
        } else if let Some(after) = rest.strip_prefix('{') {
            let end = closing(after).ok_or("`${` is not closed by `}`")?;
            out.push_str(&braced(&after[..end], lookup, unset, depth)?);
            rest = &after[end + 1..];
        } else {
            let end = name_end(rest);
            match end {
                0 => out.push('$'),
                _ => out.push_str(&value(&rest[..end], lookup, unset)),
            }
            rest = &rest[end..];
        }
        if out.len() > MAX_RESULT {
            return Err(format!("the result is longer than {MAX_RESULT} bytes"));
        }
    }
    out.push_str(rest);
    Ok(out)
}

/// Where the brace that was opened just before `text` is closed.
fn closing(text: &str) -> Option<usize> {
    let mut open = 1usize;
    let mut previous = ' ';
    for (at, letter) in text.char_indices() {
        match letter {
            '{' if previous == '$' => open += 1,
            '}' => open -= 1,
            _ => {}
        }
        if open == 0 {
            return Some(at);
        }
        previous = letter;
    }
    None
}

fn braced(inside: &str, lookup: Lookup<'_>, unset: &mut Vec<String>, depth: usize) -> Result<String, String> {
    let end = name_end(inside);
    let (name, operation) = inside.split_at(end);
    if name.is_empty() {
        return Err(format!("`${{{inside}}}` does not begin with a variable's name"));
    }
    let found = lookup(name);
    let (strict, operation) = operation.strip_prefix(':').map_or((false, operation), |rest| (true, rest));
    let is_set = found.as_ref().is_some_and(|value| !(strict && value.is_empty()));
    let mut operand = |text: &str| expand_at(text, lookup, unset, depth + 1);
    match operation.chars().next() {
        None if !strict => Ok(value(name, lookup, unset)),
        Some('-') if is_set => Ok(found.unwrap_or_default()),
        Some('-') => operand(&operation[1..]),
        Some('+') if is_set => operand(&operation[1..]),
        Some('+') => Ok(String::new()),
        Some('?') if is_set => Ok(found.unwrap_or_default()),
        Some('?') => Err(format!("variable {name} is required: {}", operand(&operation[1..])?)),
        _ => Err(format!(
            "`${{{inside}}}` is no form of a variable: `${{NAME}}`, `${{NAME:-default}}`, `${{NAME:?message}}`"
        )),
    }
}

fn value(name: &str, lookup: Lookup<'_>, unset: &mut Vec<String>) -> String {
    lookup(name).unwrap_or_else(|| {
        unset.push(name.to_owned());
        String::new()
    })
}

fn name_end(text: &str) -> usize {
    let starts = text.starts_with(|letter: char| letter.is_ascii_alphabetic() || letter == '_');
    let end = text.find(|letter: char| !(letter.is_ascii_alphanumeric() || letter == '_')).unwrap_or(text.len());
    if starts { end } else { 0 }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    fn lookup(name: &str) -> Option<String> {
        match name {
            "A" => Some("a".into()),
            "EMPTY" => Some(String::new()),
            _ => None,
        }
    }

    fn expanded(text: &str) -> Result<String, String> {
        expand(text, &lookup, &mut Vec::new())
    }

    #[test]
    fn bad_forms_are_refused() {
        for text in ["${", "${}", "${A", "${1}", "${A:}", "${A/x/y}", "${B:?say so}", "${EMPTY:?}"] {
            assert!(expanded(text).is_err(), "{text}");
        }
        assert_eq!(expanded("${B:?say ${A}}").unwrap_err(), "variable B is required: say a");
    }

    #[test]
    fn composes_forms_are_expanded() {
        for (text, result) in [
            ("$A-${A}", "a-a"),
            ("$$A $$", "$A $"),
            ("$ $1 a$", "$ $1 a$"),
            ("${B-x}${EMPTY-x}${EMPTY:-x}", "xx"),
            ("${B:-${C:-${A}}}", "a"),
            ("${A:+y}${B:+y}${EMPTY+z}", "yz"),
            ("${B}", ""),
            ("${A:?m}", "a"),
        ] {
            assert_eq!(expanded(text).unwrap(), result, "{text}");
        }
    }

    #[test]
    fn a_variable_that_is_not_set_is_said() {
        let mut unset = Vec::new();
        expand("$B ${C} ${D:-x}", &lookup, &mut unset).unwrap();
        assert_eq!(unset, ["B", "C"]);
    }

    fn after(yaml: &str) -> (Node, Problems) {
        let (mut node, problems) = (Node::parse(yaml).unwrap(), Problems::new());
        interpolate(&mut node, "x", &lookup, &problems);
        (node, problems)
    }

    #[test]
    fn no_part_of_a_secret_with_a_dollar_sign_stands_in_a_message() {
        for yaml in ["DB_PASSWORD: hun${1}ter2", "DB_PASSWORD: [hun$ter2]", "- DB_PASSWORD=hun${ter2"] {
            let (_, problems) = after(yaml);
            assert!(!problems.is_empty(), "{yaml}");
            assert!(!format!("{problems:?}").contains("ter2"), "{problems:?}");
        }
    }

    #[test]
    fn a_bad_form_is_said_at_its_place_with_its_path() {
        let (_, problems) = after("a:\n  - ok\n  - ${1}\n");
        let problem = problems.sorted()[0].clone();
        assert_eq!((problem.place.to_string().as_str(), problem.path.as_str()), ("3:5", "x.a[1]"));
    }

    #[test]
    fn a_variable_that_is_missing_twice_in_a_value_is_said_once() {
        assert_eq!(after("a: $B$B").1.warnings(), 1);
    }

    #[test]
    fn values_are_replaced_and_keys_are_not() {
        let (node, problems) = after("$A: {k: $A}");
        assert!(problems.is_empty());
        assert_eq!(node.get("$A").unwrap().1.get("k").unwrap().1.as_text(), Some("a"));
    }

    #[test]
    fn a_value_that_a_variable_leaves_empty_is_the_empty_text_and_one_can_still_be_a_number() {
        for text in ["k: ${EMPTY}", "k: \"${EMPTY}\"", "k: $UNSET", "k: ${UNSET:-}"] {
            assert_eq!(after(text).0.get("k").unwrap().1.as_text(), Some(""), "{text}");
        }
        assert_eq!(after("k: ${UNSET:-null}").0.get("k").unwrap().1.as_text(), Some("null"));
        assert_eq!(after("k: ${N:-3}").0.get("k").unwrap().1.as_i64(), Some(3));
        assert_eq!(after("k: ${N:-true}").0.get("k").unwrap().1.as_bool(), Some(true));
    }

    #[test]
    fn what_a_variable_holds_is_not_expanded_again() {
        let twice = |name: &str| (name == "A").then(|| "${A}$B".to_owned());
        assert_eq!(expand("$A", &twice, &mut Vec::new()).unwrap(), "${A}$B");
    }

    #[test]
    fn defaults_nested_too_deep_are_refused() {
        let deep = format!("{}x{}", "${B:-".repeat(20), "}".repeat(20));
        assert_eq!(expanded(&deep).unwrap_err(), "defaults are nested deeper than 8");
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic_or_grow_without_bound(text in "[$A-Z{}:?+\\-é]{0,200}") {
            if let Ok(result) = expanded(&text) {
                prop_assert!(result.len() <= MAX_RESULT + text.len());
            }
        }
    }
}
