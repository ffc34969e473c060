//! What looks like a secret: by the name it stands under, by its form, and as a part of a longer text.
//!
//! It is a guess, for texts that people read. What comes from a file or from S3 is hidden whatever it looks like.

/// What stands for a hidden value.
pub const HIDDEN: &str = "***";

/// Parts of a name, wherever they stand in it.
const PARTS: &[&str] = &[
    "PASSWORD", "PASSWD", "PASSPHRASE", "SECRET", "TOKEN", "APIKEY", "PRIVATEKEY", "ACCESSKEY", "CREDENTIAL",
    "BASICAUTH", "DATABASEURL", "CONNECTIONSTRING", "CONNSTR", "COOKIE", "HTPASSWD", "WEBHOOK", "BEARER",
    "AUTHORIZATION", "REQUIREPASS",
];

/// Whole words of a name: they are too short to be looked for in others.
const WORDS: &[&str] = &[
    "PASS", "PW", "PWD", "PAT", "JWT", "SK", "DSN", "CRED", "CREDS", "OTP", "TOTP", "PEM", "SALT", "PEPPER", "CSRF",
    "SIG", "SIGNATURE", "LICENSE", "SESSION", "PIN", "AUTH", "KEY", "KEYS",
];

/// Of those, words that say so only at a name's end: `SORT_KEY_PREFIX`, `AUTH_URL` and `SESSION_TIMEOUT` are settings.
const LAST: &[&str] = &["AUTH", "KEY", "KEYS", "SESSION", "LICENSE", "PIN", "PWD"];

/// Names that none of this is true of.
const HARMLESS: &[&str] = &["PWD", "OLDPWD", "with_registry_auth"];

/// Last words of names whose value is where a secret lies, not what it is: `DB_PASSWORD_FILE`.
const PLACES: &[&str] = &["FILE", "PATH", "DIR", "FOLDER"];

/// Beginnings that services give their tokens.
const PREFIXES: &[&str] = &[
    "ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_", "glpat-", "xoxb-", "xoxp-", "xapp-", "sk_live_", "sk_test_",
    "rk_live_", "whsec_", "sk-", "AKIA", "ASIA", "eyJ", "SG.", "npm_", "pypi-", "dop_v1_", "hf_", "AIza", "$apr1$",
    "$2y$", "-----BEGIN",
];

/// The shortest text that its letters alone make suspicious.
const SUSPICIOUS: usize = 20;

/// Whether the value under that name is a secret: a variable, a label, a driver's option, a long option of a command.
pub fn is_secret_name(name: &str) -> bool {
    if HARMLESS.contains(&name) {
        return false;
    }
    let words = words(name);
    if words.last().is_some_and(|last| PLACES.contains(&last.as_str())) {
        return false;
    }
    let joined = words.concat();
    let has_word = |word: &&str| match LAST.contains(word) {
        true => words.last().is_some_and(|last| last == word),
        false => words.iter().any(|found| found == word),
    };
    PARTS.iter().any(|part| joined.contains(part)) || WORDS.iter().any(has_word)
}

/// The words of `DB_PASSWORD`, `db-password`, `db.password` and `dbPassword`, in capitals.
fn words(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut was_small = false;
    for letter in name.chars() {
        let begins = !letter.is_alphanumeric() || (letter.is_uppercase() && was_small);
        if begins && words.last().is_some_and(|word| !word.is_empty()) {
            words.push(String::new());
        }
        if letter.is_alphanumeric() {
            words.last_mut().into_iter().for_each(|word| word.extend(letter.to_uppercase()));
        }
        was_small = letter.is_lowercase() || letter.is_numeric();
    }
    words.retain(|word| !word.is_empty());
    words
}

/// Whether a single word has the form of a token: a known beginning, or letters and digits without an order.
pub fn is_token(word: &str) -> bool {
    if PREFIXES.iter().any(|prefix| word.starts_with(prefix) && word.len() >= prefix.len() + 8) {
        return true;
    }
    let is_base64 = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=' | b'_' | b'-');
    let has = |kind: fn(&u8) -> bool| word.bytes().any(|byte| kind(&byte));
    let is_mixed = has(u8::is_ascii_lowercase) && has(u8::is_ascii_uppercase) && has(u8::is_ascii_digit);
    let is_path = word.starts_with('/') || word.matches('/').count() > 2;
    let is_long = word.len() >= SUSPICIOUS && word.bytes().all(is_base64);
    is_long && is_mixed && !is_path && changes(word) * 3 >= word.len() && bits(word) >= 3.5
}

/// How often a capital, a small letter or a digit is followed by another of the three: in words rarely.
fn changes(word: &str) -> usize {
    let kind = |byte: &u8| [byte.is_ascii_uppercase(), byte.is_ascii_lowercase(), byte.is_ascii_digit()];
    let is_change =
        |pair: &&[u8]| pair.iter().all(u8::is_ascii_alphanumeric) && pair.first().map(kind) != pair.last().map(kind);
    word.as_bytes().windows(2).filter(is_change).count()
}

/// The entropy of a word's letters, in bits for each.
fn bits(word: &str) -> f64 {
    let mut counts = [0_u32; 256];
    word.bytes().for_each(|byte| counts[usize::from(byte)] += 1);
    let length = word.len() as f64;
    let parts = counts.iter().filter(|count| **count > 0).map(|count| f64::from(*count) / length);
    parts.map(|part| -part * part.log2()).sum()
}

/// The text under a name, with `***` in place of what looks like a secret.
pub fn masked_value(name: &str, value: &str) -> String {
    if is_secret_name(name) && !value.is_empty() { HIDDEN.to_owned() } else { masked(value) }
}

/// The words of a command; one that follows an option with a secret's name is hidden too.
pub fn masked_words(words: &[String]) -> Vec<String> {
    let mut after_secret = false;
    let each = words.iter().map(|word| {
        let is_value = std::mem::replace(&mut after_secret, is_secret_option(word)) && !word.starts_with('-');
        if is_value { HIDDEN.to_owned() } else { masked(word) }
    });
    each.collect()
}

/// `--db-password`, whose value is the next word.
fn is_secret_option(word: &str) -> bool {
    word.starts_with("--") && !word.contains(['=', ' ']) && is_secret_name(word)
}

/// A text with `***` in place of each part that looks like a secret: `NAME=value`, `Name: value`, a URL's user info, a
/// token, and what follows an option with a secret's name.
pub fn masked(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let (mut rest, mut after_secret) = (text, false);
    while !rest.is_empty() {
        let blank = rest.find(|letter: char| !is_delimiter(letter)).unwrap_or(rest.len());
        out.push_str(&rest[..blank]);
        let quote = rest[..blank].chars().next_back().filter(|letter| matches!(letter, '"' | '\''));
        rest = &rest[blank..];
        let end = rest.find(is_delimiter).unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        let is_value = after_secret && word != ":" && !word.starts_with('-') && !word.is_empty();
        after_secret = is_secret_option(word) || is_secret_member(word, after) || (after_secret && word == ":");
        let (shown, taken) = match (is_value, quote) {
            (true, Some(quote)) => (HIDDEN.to_owned(), rest.find(quote).unwrap_or(rest.len())),
            (true, None) => (HIDDEN.to_owned(), end),
            (false, _) => masked_word(word, after),
        };
        out.push_str(&shown);
        rest = &rest[taken..];
    }
    out
}

/// `"token"` of `{"token": "…"}`.
fn is_secret_member(word: &str, after: &str) -> bool {
    (after.starts_with("\":") || after.starts_with("':")) && is_secret_name(word)
}

fn is_delimiter(letter: char) -> bool {
    letter.is_whitespace() || matches!(letter, '"' | '\'' | '`' | ',' | ';' | '&' | '|' | '(' | ')' | '{' | '}')
}

/// A word as it may be shown, and how many bytes of it and of what follows it that stands for.
fn masked_word(word: &str, after: &str) -> (String, usize) {
    let at = word.find(['=', ':']).filter(|at| !word[*at..].starts_with("://"));
    if let Some((name, value)) = at.map(|at| word.split_at(at + 1))
        && !name.contains('/')
        && is_secret_name(name)
    {
        let value_end = if value.is_empty() { quoted_length(name, after) } else { 0 };
        let is_given = !value.is_empty() || value_end > 0;
        return (format!("{name}{}", if is_given { HIDDEN } else { "" }), word.len() + value_end);
    }
    let shown = match (word.split_once("://"), word.split_once('=')) {
        (Some((scheme, rest)), _) => format!("{scheme}://{}", masked_address(rest)),
        (None, Some((name, value))) if is_token(value) => format!("{name}={HIDDEN}"),
        _ if is_token(word) => HIDDEN.to_owned(),
        _ => word.to_owned(),
    };
    (shown, word.len())
}

/// How long the value is that follows `PASSWORD=` in quotes, or `Authorization:` to the end of its line or quote.
fn quoted_length(name: &str, after: &str) -> usize {
    match after.chars().next() {
        Some(quote @ ('"' | '\'')) => after[1..].find(quote).map_or(after.len(), |end| end + 2),
        Some(' ') if name.ends_with(':') => after.find(['"', '\'', '\n']).unwrap_or(after.len()),
        _ => 0,
    }
}

/// `user:***@host/path?token=***` of a URL.
fn masked_address(rest: &str) -> String {
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    // A password may hold a `/`: then its `@` stands behind it.
    let at = rest[..end].rfind('@').or_else(|| rest.find('@').filter(|at| rest[..*at].contains(':')));
    let (user, host) = at.map_or(("", rest), |at| rest.split_at(at));
    let user = match user.split_once(':') {
        Some((user, _)) => format!("{user}:{HIDDEN}"),
        None if is_token(user) => HIDDEN.to_owned(),
        None => user.to_owned(),
    };
    let (path, query) = host.split_once('?').unwrap_or((host, ""));
    let query = match query.split_once('=') {
        None if query.is_empty() => String::new(),
        Some((name, _)) if is_secret_name(name) => format!("?{name}={HIDDEN}"),
        _ => format!("?{query}"),
    };
    let parts = path.split('/').map(|part| if is_token(part) { HIDDEN } else { part });
    format!("{user}{}{query}", parts.collect::<Vec<_>>().join("/"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_of_secrets_are_known_in_every_spelling_and_settings_are_not_taken_for_them() {
        for name in [
            "GITHUB_PAT", "SMTP_PASS", "JWT", "COOKIE", "STRIPE_SK", "DB_PASSWORD", "dbPassword", "db.password",
            "API_KEY", "apiKey", "splunk-token", "AWS_SECRET_ACCESS_KEY", "DB_PWD", "BASIC_AUTH", "SENTRY_DSN",
            "DATABASE_URL", "SLACK_WEBHOOK_URL", "spring.datasource.password", "--db-password", "CSRF_SALT", "SSH_KEY",
            "DB_PW",
        ] {
            assert!(is_secret_name(name), "{name}");
        }
        for name in [
            "LOG_LEVEL", "DB_PASSWORD_FILE", "PATH", "PWD", "COMPASS", "KEYBOARD", "SORT_KEY_PREFIX", "AUTH_URL",
            "SESSION_TIMEOUT", "SKIP", "PATTERN", "BYPASS_PROXY", "with_registry_auth", "awslogs-group", "HOSTNAME",
            "SPIN", "DESIGN",
        ] {
            assert!(!is_secret_name(name), "{name}");
        }
    }

    #[test]
    fn of_a_text_only_the_secret_parts_are_hidden() {
        for (text, shown) in [
            ("redis://:pw@h:6379/0", "redis://:***@h:6379/0"),
            ("postgres://app:hunter2@db/app?sslmode=on", "postgres://app:***@db/app?sslmode=on"),
            ("postgres://app:hun/ter2@db/app", "postgres://app:***@db/app"),
            ("https://h/x?token=abc&x=1", "https://h/x?token=***&x=1"),
            ("https://hooks.test/T0/aB3dE5fG7hI9jK1lM2nO4p", "https://hooks.test/T0/***"),
            ("serve --password=hunter2 --port=80", "serve --password=*** --port=80"),
            ("serve --db-password hunter2 -v", "serve --db-password *** -v"),
            ("sh -c \"PGPASSWORD='a b' psql\"", "sh -c \"PGPASSWORD=*** psql\""),
            ("curl -H 'Authorization: Bearer abc' http://h", "curl -H 'Authorization:***' http://h"),
            ("java -Dspring.datasource.password=x -jar a.jar", "java -Dspring.datasource.password=*** -jar a.jar"),
            ("a ghp_0123456789abcdef b", "a *** b"),
            ("k=AbCdEfGh1234567890xYz", "k=***"),
            ("{\"token\": \"a b\", \"a\": 1}", "{\"token\": \"***\", \"a\": 1}"),
            ("key: AKIA0123456789ABCDEF", "key:***"),
        ] {
            assert_eq!(masked(text), shown, "{text}");
        }
    }

    #[test]
    fn what_is_no_secret_stays_as_it_is() {
        for text in [
            "/usr/local/bin/web --config /etc/web.yml",
            "sha256:8ec5a17af8278ec5a17af8278ec5a17af8278ec5a17af8278ec5a17af8278ec5",
            "0123456789abcdef0123456789abcdef01234567",
            "host.test/web:1.4.2",
            "http://10.0.0.1:8080/healthz",
            "info",
            "arn:aws:iam::123456789012:role/Web",
            "MyService-Prod2-Deploy-Group",
            "/etc/secrets/token:/run/token",
            "a=b c: d",
            "ssh://git@host/x",
            "123e4567-e89b-12d3-a456-426614174000",
            "",
        ] {
            assert_eq!(masked(text), text);
        }
    }

    #[test]
    fn the_word_behind_an_option_with_a_secrets_name_is_hidden() {
        let words = ["serve", "--password", "hunter two", "--token", "--verbose", "x"].map(str::to_owned);
        assert_eq!(masked_words(&words), ["serve", "--password", "***", "--token", "--verbose", "x"]);
    }

    #[test]
    fn the_value_of_a_secrets_name_is_hidden_whole_and_an_empty_one_is_not() {
        assert_eq!(masked_value("JWT", "a b"), "***");
        assert_eq!(masked_value("JWT", ""), "");
        assert_eq!(masked_value("URL", "redis://:pw@h"), "redis://:***@h");
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic_and_no_password_of_a_url_is_shown(
            text in "[a-zA-Z0-9 '\"=:@/?&,é-]{0,60}", password in "[a-z]{12,20}",
        ) {
            masked(&text);
            let shown = masked(&format!("x postgres://u:{password}@h/d y"));
            prop_assert!(!shown.contains(&password));
        }
    }
}
