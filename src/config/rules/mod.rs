//! The rules of `check`: each has a name that stays, and says once what it means, why it matters and what to do.

mod agent;
pub(crate) mod allow;
mod general;
mod lint;

pub(crate) use agent::*;
pub(crate) use general::*;
pub(crate) use lint::*;

/// One rule. Every problem of a file belongs to one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rule {
    /// In small letters with hyphens; it never changes.
    pub(crate) name: &'static str,
    pub(crate) means: &'static str,
    pub(crate) matters: &'static str,
    pub(crate) remedy: &'static str,
    /// Lines of a file that obeys it; empty where there is none to show.
    pub(crate) example: &'static str,
}

/// Names each rule, and lists all of them in `ALL`.
macro_rules! rules {
    ($($id:ident, $name:literal, $means:literal, $matters:literal, $remedy:literal, $example:literal;)*) => {
        $(pub(crate) const $id: $crate::config::rules::Rule = $crate::config::rules::Rule {
            name: $name, means: $means, matters: $matters, remedy: $remedy, example: $example,
        };)*
        pub(super) const ALL: &[$crate::config::rules::Rule] = &[$($id),*];
    };
}
use rules;

/// Every rule, by its name.
pub(crate) fn all() -> Vec<Rule> {
    let mut all = [general::ALL, lint::ALL, agent::ALL].concat();
    all.sort_unstable_by_key(|rule| rule.name);
    all
}

/// The rule of that name.
pub(crate) fn find(name: &str) -> Option<Rule> {
    all().into_iter().find(|rule| rule.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_rule_has_a_name_of_its_own_in_small_letters_and_says_what_to_do() {
        let all = all();
        assert!(all.windows(2).all(|pair| pair[0].name < pair[1].name), "two rules have one name");
        for Rule { name, means, matters, remedy, .. } in all {
            assert!(
                name.bytes().all(|letter| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == b'-')
            );
            assert!([means, matters, remedy].iter().all(|text| text.ends_with('.') && text.len() > 10), "{name}");
        }
    }
}
