//! Sizes as Compose writes them: `512m`, `1.5gb`, `64k`, `1024`. Units are powers of 1024.
//!
//! Source: Compose specification, "Specifying byte values".

use super::types::Refused;

/// Reads a size in bytes.
///
/// # Errors
/// An unknown unit, a negative number, or more than an `i64` holds.
pub fn parse(text: &str) -> Result<i64, Refused> {
    let text = text.trim().to_ascii_lowercase();
    let digits = text.find(|letter: char| !letter.is_ascii_digit() && letter != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let number: f64 = number.parse().map_err(|_| bad())?;
    let factor: f64 = match unit.trim().trim_end_matches("ib").trim_end_matches('b') {
        "" => 1.0,
        "k" => 1024.0,
        "m" => 1024.0 * 1024.0,
        "g" => 1024.0 * 1024.0 * 1024.0,
        "t" => 1024.0 * 1024.0 * 1024.0 * 1024.0,
        _ => return Err(bad()),
    };
    let bytes = number * factor;
    // 2^63 as f64 is exact; anything below it fits.
    if bytes >= 9_223_372_036_854_775_808.0 { Err(bad()) } else { Ok(bytes as i64) }
}

fn bad() -> Refused {
    Refused("is no size: write `512m`, `1.5gb`, `64k` or a number of bytes".into())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_is_no_size_is_refused() {
        for text in ["", "m", "-1", "12x", "1.2.3k", "99999999999999999999"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn units_are_powers_of_1024() {
        for (text, bytes) in [
            ("1024", 1024),
            ("64k", 65536),
            ("1.5kb", 1536),
            ("512M", 536_870_912),
            ("1g", 1 << 30),
            ("2b", 2),
            ("1GiB", 1 << 30),
        ] {
            assert_eq!(parse(text).unwrap(), bytes, "{text}");
        }
    }
}
