//! Sizes as Compose writes them: `512m`, `1.5gb`, `64k`, `1024`. Units are powers of 1024.
//!
//! Source: Compose specification, "Specifying byte values".

use crate::values::types::Refused;

/// Reads a size in bytes.
/// Errors: An unknown unit, a negative number, or more than an `i64` holds.
pub(crate) fn parse(text: &str) -> Result<i64, Refused> {
    let text = text.trim().to_ascii_lowercase();
    let digits = text.find(|letter: char| !letter.is_ascii_digit() && letter != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let power = match unit.trim() {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 1,
        "m" | "mb" | "mib" => 2,
        "g" | "gb" | "gib" => 3,
        "t" | "tb" | "tib" => 4,
        "p" | "pb" | "pib" => 5,
        _ => return Err(bad()),
    };
    if let Ok(whole) = number.parse::<i64>() {
        return whole.checked_mul(1024i64.pow(power)).ok_or_else(bad);
    }
    let number: f64 = number.parse().map_err(|_| bad())?;
    let bytes = number * 1024f64.powi(power.cast_signed());
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
        for text in ["", "m", "-1", "12x", "1.2.3k", "99999999999999999999", "5ib", "5bb", "8192p", "1e3", "+1"] {
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
            ("2p", 1 << 51),
            ("1 g", 1 << 30),
            ("9007199254740993", 9_007_199_254_740_993),
        ] {
            assert_eq!(parse(text).unwrap(), bytes, "{text}");
        }
    }
}
