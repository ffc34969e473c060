//! What a program of the host gives.
#![allow(clippy::unwrap_used)]

use super::*;

fn fetcher() -> Fetcher {
    let variables = [("PATH".to_owned(), "/usr/bin:/bin".to_owned()), ("HOSTED".to_owned(), "yes".to_owned())];
    Fetcher::new(variables, &Waits::default())
}

async fn output(script: &str) -> Result<String, String> {
    let source = Source::Command { command: ["sh", "-c", script].map(str::to_owned).into() };
    let fetcher = fetcher();
    match fetcher.all([&source]).await.pop() {
        Some((_, error)) => Err(error.failure("X").failure.message),
        None => Ok(fetcher.secret(&source, "salt").reveal().to_owned()),
    }
}

#[tokio::test]
async fn a_programs_output_is_the_value_without_the_newline_at_its_end() {
    for (script, value) in
        [("printf 'a\\n\\n'", "a\n"), ("echo \"it's $HOSTED=\\\"x\\\"\"", "it's yes=\"x\""), ("printf ''", "")]
    {
        assert_eq!(output(script).await.as_deref(), Ok(value), "{script}");
    }
    let large = output("head -c 65536 /dev/zero | tr '\\0' x").await.unwrap();
    assert_eq!(large.len(), LARGEST);
}

#[tokio::test]
async fn a_program_that_fails_is_named_with_its_standard_error_and_never_with_its_output() {
    for (script, said) in [
        ("echo hunter2; echo no such key >&2; exit 3", "X ended with exit status: 3: no such key"),
        ("exit 1", "X ended with exit status: 1: it said nothing"),
        ("printf 'a\\0b'", "X is binary: a variable holds text without zero bytes"),
        ("printf '\\377'", "X is binary: a variable holds text without zero bytes"),
        ("head -c 70000 /dev/zero | tr '\\0' x", "X has 70000 bytes, more than the 65536 that are taken"),
        (
            "head -c 600000 /dev/zero | tr '\\0' x",
            "X gave no value: sh printed 600.0 kB, more than the 512.0 kB that are read",
        ),
    ] {
        assert_eq!(output(script).await, Err(said.to_owned()));
    }
}

#[tokio::test]
async fn a_value_is_fetched_once() {
    let folder = tempfile::tempdir().unwrap();
    let script = format!("echo x >> {0}/runs; wc -l < {0}/runs", folder.path().display());
    let source = Source::Command { command: ["sh", "-c", &script].map(str::to_owned).into() };
    let fetcher = fetcher();
    for _ in 0..2 {
        assert_eq!(fetcher.clone().all([&source, &source]).await, []);
        assert_eq!(fetcher.secret(&source, "salt").reveal(), "1");
    }
}

#[tokio::test]
async fn what_is_no_variable_may_still_be_a_file() {
    let source = |script: &str| Source::Command { command: ["sh", "-c", script].map(str::to_owned).into() };
    let (binary, large) = (source("printf 'a\\0\\377\\n'"), source("head -c 512000 /dev/zero"));
    let fetcher = fetcher();
    assert_eq!(fetcher.whole([&binary, &large]).await, []);
    let bytes = |source| fetcher.file(source).map(|value| value.reveal().to_vec());
    assert_eq!(bytes(&binary).as_deref(), Some(&b"a\0\xff\n"[..]));
    assert_eq!(bytes(&large).map(|bytes| bytes.len()), Some(LARGEST_FILE));
    let failed = fetcher.all([&binary]).await;
    assert_eq!(failed, [(binary.clone(), FetchError::Binary)]);
    assert!(fetcher.secret(&binary, "salt").is_missing());
}
