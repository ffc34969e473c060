//! Durations as Compose writes them: `1m30s`, `500ms`, `1.5h`.
//!
//! Source: Compose specification, "Specifying durations".

use std::time::Duration;

use crate::values::types::Refused;

const UNITS: [(&str, f64); 9] = [
    ("ns", 1e-9),
    ("us", 1e-6),
    ("µs", 1e-6),
    ("ms", 1e-3),
    ("s", 1.0),
    ("m", 60.0),
    ("h", 3600.0),
    ("d", 86400.0),
    ("w", 604_800.0),
];

/// Reads a duration.
/// Errors: Without a unit, with an unknown one, or negative.
pub(crate) fn parse(text: &str) -> Result<Duration, Refused> {
    let mut rest = text.trim();
    if rest.is_empty() || rest.parse::<f64>().is_ok_and(|number| number != 0.0) {
        return Err(Refused(format!(
            "needs a unit: `{}s`, `500ms`, `1m30s`",
            if rest.is_empty() { "10" } else { rest }
        )));
    }
    let mut seconds = 0.0;
    while !rest.is_empty() {
        let digits = rest.find(|letter: char| !letter.is_ascii_digit() && letter != '.').unwrap_or(rest.len());
        let number: f64 = rest[..digits].parse().map_err(|_| bad())?;
        rest = &rest[digits..];
        let letters = rest.find(|letter: char| letter.is_ascii_digit() || letter == '.').unwrap_or(rest.len());
        let (unit, after) = rest.split_at(letters);
        if unit.is_empty() && number == 0.0 && after.is_empty() {
            break;
        }
        let (_, factor) = UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(bad)?;
        seconds += number * factor;
        rest = after;
    }
    Duration::try_from_secs_f64(seconds).map_err(|_| bad())
}

fn bad() -> Refused {
    Refused("is no duration: write `90s`, `500ms`, `1m30s`".into())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_is_no_duration_is_refused_with_examples() {
        for text in [
            "", "5", "1.5", "-3s", "s", "3x", "3 s s", "1e9h99", "99999999999999999999h", "1.2.3s", ".s", "1s-1s",
            "inf", "NaNs", "5ms5",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
        assert_eq!(parse("5").unwrap_err().0, "needs a unit: `5s`, `500ms`, `1m30s`");
    }

    #[test]
    fn units_add_up() {
        for (text, milliseconds) in [
            ("1m30s", 90_000),
            ("500ms", 500),
            ("1.5s", 1500),
            ("0", 0),
            ("2h", 7_200_000),
            ("10us", 0),
            ("1w", 604_800_000),
            (" 250ms ", 250),
        ] {
            assert_eq!(parse(text).unwrap().as_millis(), milliseconds, "{text}");
        }
    }
}
