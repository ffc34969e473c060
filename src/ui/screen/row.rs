//! Colour by meaning: what a line says, and the one place that knows the codes.

use console::{measure_text_width, truncate_str};

/// What a text says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Meaning {
    Plain,
    /// Done, healthy, added.
    Good,
    /// It needs attention, or changes.
    Warning,
    /// It failed, or is removed.
    Bad,
    /// What to do, and what was assumed.
    Hint,
    /// It may be skipped.
    Detail,
}

/// How lines begin that mean something wherever they stand.
const BEGINNINGS: &[(&str, Meaning)] = &[
    ("warning", Meaning::Warning),
    ("waiting: ", Meaning::Warning),
    ("balehook: error: ", Meaning::Bad),
    ("error", Meaning::Bad),
    ("problem    ", Meaning::Bad),
    ("next: ", Meaning::Hint),
    ("  | ", Meaning::Detail),
    ("  failed: ", Meaning::Bad),
    ("  would fail: ", Meaning::Bad),
    ("  note: ", Meaning::Hint),
    ("  assumed: ", Meaning::Hint),
];

/// How far changes are indented: those of a plan, those of a service in it, and the same of a drift in `status`.
const INDENTS: [usize; 4] = [2, 4, 13, 15];

/// The same of lines that begin with a name or an event.
const PARTS: &[(&str, Meaning)] = &[
    ("] failed: ", Meaning::Bad),
    (" failed at step ", Meaning::Bad),
    (" was refused: ", Meaning::Bad),
    ("could NOT be ", Meaning::Bad),
    (": warning[", Meaning::Warning),
    (": error[", Meaning::Bad),
    (" is back after ", Meaning::Good),
];

/// How a line of `status` ends that says how a name is.
const ENDINGS: &[(&str, Meaning)] =
    &[(": healthy", Meaning::Good), (": NOT healthy", Meaning::Bad), (": does NOT run", Meaning::Bad)];

impl Meaning {
    /// That of a line of ours.
    pub(crate) fn of(line: &str) -> Self {
        let begins = BEGINNINGS.iter().find(|(begin, _)| line.starts_with(begin));
        let ends = || ENDINGS.iter().find(|(end, _)| !line.starts_with(' ') && line.ends_with(end));
        let has = || PARTS.iter().find(|(part, _)| !line.starts_with(' ') && line.contains(part));
        begins
            .map(|(_, meaning)| *meaning)
            .or_else(|| Self::of_change(line))
            .unwrap_or_else(|| ends().or_else(has).map_or(Self::Plain, |(_, meaning)| *meaning))
    }

    fn of_change(line: &str) -> Option<Self> {
        let text = line.trim_start_matches(' ');
        let mark = text.get(..2).filter(|_| INDENTS.contains(&(line.len() - text.len())))?;
        [("+ ", Self::Good), ("~ ", Self::Warning), ("- ", Self::Bad)]
            .into_iter()
            .find_map(|(change, meaning)| (change == mark).then_some(meaning))
    }

    pub(crate) fn paint(self, text: &str) -> String {
        let code = match self {
            _ if text.is_empty() => return String::new(),
            Self::Plain => return text.to_owned(),
            Self::Good => "32",
            Self::Warning => "33",
            Self::Bad => "31",
            Self::Hint => "36",
            Self::Detail => "2",
        };
        format!("\u{1b}[{code}m{text}\u{1b}[0m")
    }
}

/// One line of the screen: its parts, and a time that stands at the right.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Row {
    parts: Vec<(Meaning, String)>,
    time: Option<String>,
}

/// Where there is no room for so many columns beside it, no time is shown.
const BESIDE_TIME: usize = 12;

impl Row {
    pub(crate) fn with(mut self, meaning: Meaning, text: impl Into<String>) -> Self {
        self.parts.push((meaning, text.into()));
        self
    }

    pub(crate) fn at_right(self, time: String) -> Self {
        Self { time: Some(time), ..self }
    }

    /// In columns.
    pub(crate) fn width(&self) -> usize {
        self.parts.iter().map(|(_, text)| measure_text_width(text)).sum()
    }

    /// As it is drawn: no wider than this.
    pub(crate) fn drawn(mut self, width: usize) -> Self {
        let time = self.time.take();
        let room = time.as_ref().and_then(|time| width.checked_sub(measure_text_width(time) + 1));
        match (time, room.filter(|room| *room >= BESIDE_TIME)) {
            (Some(time), Some(room)) => {
                let row = self.cut(room);
                let blank = " ".repeat(room - row.width() + 1);
                row.with(Meaning::Detail, blank + &time)
            }
            _ => self.cut(width),
        }
    }

    fn cut(self, width: usize) -> Self {
        let mut room = width;
        let cut = self.parts.into_iter().map(|(meaning, text)| {
            let text = fit(&text, room);
            room -= measure_text_width(&text);
            (meaning, text)
        });
        Self { parts: cut.collect(), time: self.time }
    }

    pub(crate) fn text(&self, has_color: bool) -> String {
        let part = |(meaning, text): &(Meaning, String)| if has_color { meaning.paint(text) } else { text.clone() };
        self.parts.iter().map(part).collect()
    }
}

/// At most so many columns, with an ellipsis where something was cut.
pub(crate) fn fit(text: &str, width: usize) -> String {
    let mut text = text.to_owned();
    if measure_text_width(&text) <= width {
        return text;
    }
    text = truncate_str(&text, width, "…").into_owned();
    // Letters that are wider beside one another than alone.
    while measure_text_width(&text) > width {
        text.pop();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_the_colour_of_what_it_says() {
        let of = |lines: &[&str]| lines.iter().map(|line| Meaning::of(line)).collect::<Vec<_>>();
        let bad = of(&[
            "balehook: error: web exited with code 3 (exit code 8)",
            "[7/9] failed: web exited with code 3",
            "[undo] failed: no",
            "ApplicationStart of web failed at step 7 of 9: check health of web",
            "web: NOT healthy",
            "appspec.yml:6:1: error[unknown-key]: unknown key",
            "problem    policy: it is not a file",
        ]);
        assert_eq!(bad, [Meaning::Bad; 7]);
        let warning = of(&["warning: it was done already", "appspec.yml:6:1: warning[privileged]: root"]);
        assert_eq!(warning, [Meaning::Warning; 2]);
        assert_eq!(of(&["web: healthy", "  + a", "old container: web (a1) is back after 5 ms"]), [Meaning::Good; 3]);
        let plain = of(&["+ 1. docker pull x", "[1/9] docker pull web", "  image      web: healthy", "errands: 3"]);
        assert_eq!(plain[..3], [Meaning::Plain; 3]);
        assert_eq!(of(&["next: look", "  | a log line"]), [Meaning::Hint, Meaning::Detail]);
    }

    #[test]
    fn text_is_cut_by_the_columns_that_it_takes_and_not_by_its_letters() {
        assert_eq!([fit("画像画像", 5), fit("画像", 4), fit("abc", 2), fit("abc", 0)], ["画像…", "画像", "a…", ""]);
        let row = Row::default().with(Meaning::Good, "✓ ").with(Meaning::Plain, "画像画像");
        assert_eq!((row.width(), row.clone().drawn(6).text(false)), (10, "✓ 画…".to_owned()));
        assert_eq!(row.text(true), "\u{1b}[32m✓ \u{1b}[0m画像画像");
    }
}
