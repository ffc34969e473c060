//! How standard output and standard error are written to: in colour or not, with steps that tick off or in plain lines.

use std::io::IsTerminal as _;
use std::sync::OnceLock;

use crate::cli::ColorChoice;

/// How one of the two is written to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Look {
    pub(crate) is_terminal: bool,
    pub(crate) has_color: bool,
    /// Lines are folded, and what is under way is drawn anew in its place.
    pub(crate) is_live: bool,
}

static LOOKS: OnceLock<(Look, Look)> = OnceLock::new();

/// Looks at both, once. Before that they are plain.
pub(crate) fn start(choice: ColorChoice, variable: &dyn Fn(&str) -> Option<String>) {
    let of = |is_terminal| Look::of(is_terminal, choice, variable);
    LOOKS.get_or_init(|| (of(std::io::stdout().is_terminal()), of(std::io::stderr().is_terminal())));
}

impl Look {
    pub(crate) fn of_stdout() -> Self {
        LOOKS.get().map(|(stdout, _)| *stdout).unwrap_or_default()
    }

    pub(crate) fn of_stderr() -> Self {
        LOOKS.get().map(|(_, stderr)| *stderr).unwrap_or_default()
    }

    /// Sources: <https://no-color.org>, <https://bixense.com/clicolors>.
    fn of(is_terminal: bool, choice: ColorChoice, variable: &dyn Fn(&str) -> Option<String>) -> Self {
        let is_set = |name: &str| variable(name).is_some_and(|value| !value.is_empty() && value != "0");
        let is_dumb = variable("TERM").is_some_and(|term| term == "dumb");
        let is_ci = variable("CI").is_some_and(|value| !value.is_empty() && value != "false");
        let has_color = match choice {
            ColorChoice::Always => true,
            ColorChoice::Never => false,
            // Whatever its value.
            ColorChoice::Auto if variable("NO_COLOR").is_some_and(|value| !value.is_empty()) => false,
            ColorChoice::Auto => {
                let is_off = variable("CLICOLOR").is_some_and(|value| value == "0");
                is_set("CLICOLOR_FORCE") || is_terminal && !is_dumb && !is_ci && !is_off
            }
        };
        Self { is_terminal, has_color, is_live: is_terminal && !is_dumb && !is_ci }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_option_comes_before_the_variables_and_only_a_terminal_that_can_is_drawn_on() {
        let look = |is_terminal, choice, set: &[(&str, &str)]| {
            let variable =
                |asked: &str| set.iter().find(|(name, _)| *name == asked).map(|(_, value)| (*value).to_owned());
            let Look { has_color, is_live, .. } = Look::of(is_terminal, choice, &variable);
            (has_color, is_live)
        };
        let auto = ColorChoice::Auto;
        for (is_terminal, choice, set, wanted) in [
            (true, auto, &[][..], (true, true)),
            (true, auto, &[("TERM", "xterm"), ("NO_COLOR", "")], (true, true)),
            (true, auto, &[("NO_COLOR", "0"), ("CLICOLOR_FORCE", "1")], (false, true)),
            (true, auto, &[("CLICOLOR", "0")], (false, true)),
            (true, auto, &[("TERM", "dumb")], (false, false)),
            (true, auto, &[("CI", "true")], (false, false)),
            (true, auto, &[("CI", "true"), ("CLICOLOR_FORCE", "1")], (true, false)),
            (true, ColorChoice::Never, &[("CLICOLOR_FORCE", "1")], (false, true)),
            (false, auto, &[], (false, false)),
            (false, auto, &[("CLICOLOR_FORCE", "0")], (false, false)),
            (false, auto, &[("CLICOLOR_FORCE", "1")], (true, false)),
            (false, ColorChoice::Always, &[("NO_COLOR", "1")], (true, false)),
        ] {
            assert_eq!(look(is_terminal, choice, set), wanted, "{is_terminal} {choice:?} {set:?}");
        }
    }
}
