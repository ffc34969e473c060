//! Text for a console and a log: printable, short, sizes and times as people read them.

use std::fmt::Write as _;
use std::time::Duration;

/// As `12.3 MB` (10^6 bytes) or `1.31 GB`, as Docker prints sizes.
pub(crate) fn megabytes(bytes: u64) -> String {
    match bytes {
        0..1_000 => format!("{bytes} B"),
        1_000..1_000_000 => format!("{:.1} kB", bytes as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} MB", bytes as f64 / 1e6),
        _ => format!("{:.2} GB", bytes as f64 / 1e9),
    }
}

/// As `60 s` or `2.5 s`; from 10 s on in whole seconds.
pub(crate) fn seconds(time: Duration) -> String {
    if time.as_secs() >= 10 {
        return format!("{} s", time.as_secs());
    }
    let tenths = time.as_millis().div_ceil(100);
    match (tenths / 10, tenths % 10) {
        (whole, 0) => format!("{whole} s"),
        (whole, tenth) => format!("{whole}.{tenth} s"),
    }
}

/// A text without control characters: those become a space, runs of them one space.
pub(crate) fn printable(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '\u{1b}' => skip_escape(&mut letters),
            letter if letter.is_control() || is_direction(letter) => {
                if !out.ends_with(' ') {
                    out.push(' ');
                }
            }
            letter => out.push(letter),
        }
    }
    out
}

/// Marks that turn the writing direction of what follows.
const fn is_direction(letter: char) -> bool {
    matches!(letter, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Drops an ANSI control sequence (`ESC [ … letter`).
fn skip_escape(letters: &mut std::iter::Peekable<std::str::Chars<'_>>) {
    if letters.next_if_eq(&'[').is_some() {
        while letters.next_if(|letter| !('@'..='~').contains(letter)).is_some() {}
        letters.next();
    }
}

/// A word as a POSIX shell takes it.
pub(crate) fn quoted(word: &str) -> String {
    shlex::Quoter::new().allow_nul(true).quote(word).map_or_else(|_| word.to_owned(), Into::into)
}

/// Words as a POSIX shell takes them.
pub(crate) fn command_line(words: &[String]) -> String {
    words.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" ")
}

/// At most `limit` characters, with an ellipsis where something was cut.
pub(crate) fn shorten(text: &str, limit: usize) -> String {
    if text.chars().count() <= limit {
        return text.to_owned();
    }
    let mut short: String = text.chars().take(limit.saturating_sub(1)).collect();
    short.push('…');
    short
}

/// Percent-encoded for a form or a query: all but RFC 3986's unreserved letters and those of `plain`.
pub(crate) fn percent_encoded(text: &str, plain: &[u8]) -> String {
    text.bytes().fold(String::new(), |mut out, byte| {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => out.push(char::from(byte)),
            byte if plain.contains(&byte) => out.push(char::from(byte)),
            byte => drop(write!(out, "%{byte:02X}")),
        }
        out
    })
}

/// The first twelve digits of each digest, as `docker` shows IDs.
pub(crate) fn short_digests(text: &str) -> String {
    const BEGIN: &str = "sha256:";
    let (mut out, mut rest) = (String::with_capacity(text.len()), text);
    while let Some(at) = rest.find(BEGIN) {
        let digits = &rest[at + BEGIN.len()..];
        let count = digits.bytes().take_while(u8::is_ascii_hexdigit).count();
        let shown = at + BEGIN.len() + if count == 64 { 12 } else { count };
        out.push_str(&rest[..shown]);
        rest = &digits[count..];
    }
    out + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_sequences_carriage_returns_and_bidi_marks_never_reach_the_console() {
        assert_eq!(printable("\u{1b}[31mred\u{1b}[0m\r\n\tx\u{202e}y"), "red x y");
        assert_eq!(printable("\u{1b}"), "");
        assert_eq!(printable("\u{1b}["), "");
    }

    #[test]
    fn sizes_are_as_docker_prints_them() {
        let sizes = [999, 1_000, 12_345_678, 999_949_999, 1_000_000_000, 1_310_100_000].map(megabytes);
        assert_eq!(sizes, ["999 B", "1.0 kB", "12.3 MB", "999.9 MB", "1.00 GB", "1.31 GB"]);
    }

    #[test]
    fn times_are_as_a_person_says_them() {
        let said = |milliseconds| seconds(Duration::from_millis(milliseconds));
        let times = [0, 299, 2500, 8970, 30_600].map(said);
        assert_eq!(times, ["0 s", "0.3 s", "2.5 s", "9 s", "30 s"]);
    }

    #[test]
    fn digests_are_shortened_and_what_is_none_is_left_alone() {
        let digest = format!("sha256:{}", "0123456789abcdef".repeat(4));
        let text = |digest: &str| format!("web@{digest}: {digest} sha256:abc sha256:");
        assert_eq!(short_digests(&text(&digest)), text("sha256:0123456789ab"));
    }
}
