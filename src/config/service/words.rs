//! A command in one text.

use crate::values::types::Refused;

/// Splits a text into words as a POSIX shell does, without expanding anything.
pub(crate) fn words(text: &str) -> Result<Vec<String>, Refused> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut letters = text.chars();
    let open = |quote: char| Refused(format!("has a {quote} that is not closed"));
    while let Some(letter) = letters.next() {
        match letter {
            ' ' | '\t' | '\n' => words.extend(word.take()),
            '\'' => {
                let word = word.get_or_insert_default();
                loop {
                    match letters.next().ok_or_else(|| open('\''))? {
                        '\'' => break,
                        letter => word.push(letter),
                    }
                }
            }
            '"' => {
                let word = word.get_or_insert_default();
                loop {
                    match letters.next().ok_or_else(|| open('"'))? {
                        '"' => break,
                        '\\' => match letters.next().ok_or_else(|| open('"'))? {
                            letter @ ('"' | '\\' | '$' | '`') => word.push(letter),
                            letter => word.extend(['\\', letter]),
                        },
                        letter => word.push(letter),
                    }
                }
            }
            '\\' => word.get_or_insert_default().extend(letters.next()),
            letter => word.get_or_insert_default().push(letter),
        }
    }
    words.extend(word);
    Ok(words)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_quote_that_is_not_closed_is_refused() {
        assert_eq!(words("sh -c 'x").unwrap_err().0, "has a ' that is not closed");
        assert!(words("a \"b\\").is_err());
    }

    #[test]
    fn words_are_split_as_a_shell_splits_them() {
        assert_eq!(
            words(r#"sh -c 'a "b"' "c \" $d" e\ f '' "#).unwrap(),
            ["sh", "-c", r#"a "b""#, r#"c " $d"#, "e f", ""]
        );
    }
}
