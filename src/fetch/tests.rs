//! What a program of the host gives.
#![allow(clippy::unwrap_used)]

use serde_json::json;

use super::*;
use crate::aws::json::tests::{client, server};
use crate::error::ObserveFailure;

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

fn throttled() -> (u16, String) {
    (400, json!({"__type": "ThrottlingException", "message": "Rate exceeded"}).to_string())
}

/// One of each service, and the answer that gives it the value `v=1`.
fn of_each_service() -> [(Source, serde_json::Value); 3] {
    let source = |text: &str| serde_json::from_str::<Source>(text).unwrap();
    [
        (source(r#"{"ssm":"/a"}"#), json!({"Parameters": [{"Name": "/a", "Value": "v=1"}]})),
        (source(r#"{"secretsmanager":"a"}"#), json!({"SecretString": "v=1"})),
        (source(r#"{"kms":"AQID"}"#), json!({"Plaintext": "dj0x"})),
    ]
}

#[tokio::test(start_paused = true)]
async fn each_service_that_throttles_is_asked_again() {
    for (source, answer) in of_each_service() {
        let (url, requests) = server(vec![throttled(), throttled(), (200, answer.to_string())]).await;
        let fetcher = Fetcher { aws: client(&url), ..fetcher() };
        assert_eq!(fetcher.all([&source]).await, []);
        assert_eq!((fetcher.secret(&source, "salt").reveal(), requests.lock().unwrap().len()), ("v=1", 3));
    }
}

#[tokio::test(start_paused = true)]
async fn a_service_that_throttles_on_and_on_is_named_with_what_to_do_and_may_be_assumed_in_a_dry_run() {
    let [(ssm, _), (secret, _), (kms, _)] = of_each_service();
    for (source, words) in [(ssm, "SSM"), (secret, "Secrets Manager"), (kms, "KMS")] {
        let (url, requests) = server(vec![throttled()]).await;
        let fetcher = Fetcher { aws: client(&url), ..fetcher() };
        let (_, error) = fetcher.all([&source]).await.remove(0);
        let ObserveFailure { failure, definite } = error.failure("X");
        assert_eq!(failure.message, format!("X was not fetched: {words} throttles: Rate exceeded"));
        assert_eq!(failure.next.as_deref(), Some("deploy to fewer hosts at once, or raise the service's quota"));
        assert_eq!((definite, requests.lock().unwrap().len()), (false, 7));
    }
}

#[tokio::test(start_paused = true)]
async fn a_path_and_a_secret_of_an_env_file_are_asked_for_again_too() {
    let path = json!({"Parameters": [{"Name": "/a/B", "Value": "v=1"}]});
    let keys = json!({"SecretString": r#"{"B": "v=1"}"#});
    for (many, answer) in [("ssm:///a/", path), ("secretsmanager://a", keys)] {
        let (url, requests) = server(vec![throttled(), (200, answer.to_string())]).await;
        let fetcher = Fetcher { aws: client(&url), ..fetcher() };
        let found = fetcher.many(&many.parse().unwrap(), "salt").await.unwrap();
        let found: Vec<_> = found.iter().map(|var| (var.name.as_str(), var.value.as_ref().unwrap().reveal())).collect();
        assert_eq!((found, requests.lock().unwrap().len()), (vec![("B", "v=1")], 2));
        let (url, _) = server(vec![throttled()]).await;
        let fetcher = Fetcher { aws: client(&url), ..self::fetcher() };
        let error = fetcher.many(&many.parse().unwrap(), "salt").await.unwrap_err();
        assert!(error.failure(many).failure.message.ends_with("throttles: Rate exceeded"), "{error:?}");
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
