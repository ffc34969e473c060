#![allow(clippy::unwrap_used)]

use std::os::unix::fs::PermissionsExt as _;

use super::*;
use crate::aws::json::tests::{client, server};

/// A folder with a `config.json`, and who asks the public gallery.
struct Home(tempfile::TempDir, Option<Json>);

impl Home {
    fn with(config: &str) -> Self {
        let home = Self(tempfile::tempdir().unwrap(), None);
        std::fs::write(home.0.path().join("config.json"), config).unwrap();
        home
    }

    fn helper(self, name: &str, script: &str) -> Self {
        let path = self.0.path().join(format!("docker-credential-{name}"));
        std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        self
    }

    async fn ask(&self, host: &str) -> Result<Option<Credential>, CredentialError> {
        let path = format!("{}:/usr/bin:/bin", self.0.path().display()).into();
        let settings = CredentialSettings {
            docker_config: self.0.path().into(),
            home: self.0.path().into(),
            aws_home: None,
            path,
            json: self.1.clone().unwrap_or_else(|| Json::from_env(&|_| None, &Waits::default())),
            waits: Waits::default(),
        };
        for_registry(host, &settings).await
    }
}

#[tokio::test]
async fn a_helper_that_fails_is_said_with_its_words_and_without_asking_anybody_else() {
    let home = Home::with(r#"{"credHelpers":{"r.test":"x"},"auths":{"r.test":{"auth":"dTpw"}}}"#)
        .helper("x", "cat >/dev/null; echo credentials not found in native keychain; exit 1");
    let error = home.ask("r.test").await.unwrap_err();
    assert!(error.to_string().contains("docker-credential-x gave no credentials for r.test"), "{error}");
    assert!(error.to_string().contains("credentials not found in native keychain"), "{error}");
}

#[tokio::test]
async fn a_helper_that_prints_rubbish_is_refused_without_printing_it() {
    let home = Home::with(r#"{"credHelpers":{"r.test":"x"}}"#).helper("x", "echo hunter2");
    let error = home.ask("r.test").await.unwrap_err().to_string();
    assert!(error.contains("did not print the JSON") && !error.contains("hunter2"), "{error}");
}

#[tokio::test]
async fn a_helper_that_prints_more_than_any_token_is_refused_with_how_much_it_was() {
    let home = Home::with(r#"{"credHelpers":{"r.test":"x"}}"#).helper("x", "head -c 200000 /dev/zero");
    let error = home.ask("r.test").await.unwrap_err().to_string();
    assert!(error.ends_with("docker-credential-x printed 200.0 kB, more than the 65.5 kB that are read"), "{error}");
}

#[tokio::test]
async fn a_helper_that_leaves_a_child_behind_is_not_waited_for() {
    let script = r#"sleep 600 & printf '{"Username":"u","Secret":"p"}'"#;
    let home = Home::with(r#"{"credHelpers":{"r.test":"x"}}"#).helper("x", script);
    assert_eq!(home.ask("r.test").await.unwrap().unwrap().secret.reveal(), "p");
}

#[tokio::test]
async fn a_broken_config_names_the_place_and_not_what_stands_there() {
    let error = Home::with(r#"{"auths":{"r.test":{"auth":hunter2}}}"#).ask("r.test").await.unwrap_err().to_string();
    assert!(error.contains(" at 1:") && !error.contains("hunter2"), "{error}");
}

#[tokio::test]
async fn the_helper_gets_the_host_on_stdin_and_its_answer_is_taken() {
    let home = Home::with(r#"{"credHelpers":{"r.test:5443":"x"}}"#)
        .helper("x", r#"read host; printf '{"ServerURL":"%s","Username":"u","Secret":"%s %s"}' "$host" "$1" "$host""#);
    let found = home.ask("r.test:5443").await.unwrap().unwrap();
    assert_eq!((found.username.as_str(), found.secret.reveal()), ("u", "get r.test:5443"));
}

#[tokio::test]
async fn a_helper_missing_from_path_falls_through_to_auths() {
    let home = Home::with(r#"{"credHelpers":{"r.test":"nowhere"},"auths":{"https://r.test/v2/":{"auth":"dTpwOnE="}}}"#);
    let found = home.ask("r.test").await.unwrap().unwrap();
    assert_eq!((found.username.as_str(), found.secret.reveal()), ("u", "p:q"));
}

#[tokio::test]
async fn a_store_that_knows_nothing_of_the_host_falls_through_to_anonymous() {
    let home = Home::with(r#"{"credsStore":"x"}"#).helper("x", "echo credentials not found; exit 1");
    assert_eq!(home.ask("r.test").await.unwrap(), None);
}

#[tokio::test]
async fn a_store_that_is_the_helper_of_another_host_falls_through_too() {
    let home = Home::with(r#"{"credHelpers":{"other.test":"x"},"credsStore":"x"}"#)
        .helper("x", "echo credentials not found; exit 1");
    assert_eq!(home.ask("r.test").await.unwrap(), None);
    assert!(home.ask("other.test").await.is_err());
}

#[tokio::test]
async fn without_a_config_a_registry_is_asked_anonymously() {
    let home = Home(tempfile::tempdir().unwrap(), None);
    assert_eq!(home.ask("r.test").await.unwrap(), None);
}

#[tokio::test]
async fn the_public_gallery_gets_a_token_unless_the_config_has_another_and_is_asked_anonymously_without_any() {
    let answer = r#"{"authorizationData":{"authorizationToken":"QVdTOnNlY3JldA=="}}"#;
    let (url, requests) = server(vec![(200, answer.to_owned())]).await;
    let home = Home(tempfile::tempdir().unwrap(), Some(client(&url)));
    let found = home.ask("public.ecr.aws").await.unwrap().unwrap();
    assert_eq!(
        (found.username.as_str(), found.secret.reveal(), found.server.as_str()),
        ("AWS", "secret", "public.ecr.aws")
    );
    assert_eq!(home.ask("public.ecr.aws.evil.test").await.unwrap(), None);
    std::fs::write(home.0.path().join("config.json"), r#"{"auths":{"public.ecr.aws":{"auth":"dTpw"}}}"#).unwrap();
    assert_eq!(home.ask("public.ecr.aws").await.unwrap().unwrap().username, "u");
    assert_eq!(requests.lock().unwrap().len(), 1);

    let (url, _) = server(vec![(400, r#"{"__type":"AccessDeniedException"}"#.to_owned())]).await;
    let denied = Home(tempfile::tempdir().unwrap(), Some(client(&url)));
    assert_eq!(denied.ask("public.ecr.aws").await.unwrap(), None);
}

#[test]
fn the_header_is_padded_base64url_also_for_passwords_that_need_its_last_two_letters() {
    let credential = Credential { username: "u".into(), secret: Secret::new("\u{7ff}~?>ÿ~?>"), server: "r".into() };
    let header = credential.to_registry_auth();
    assert!(!header.contains(['+', '/']) && header.len().is_multiple_of(4), "{header}");
    let text = base64::engine::general_purpose::URL_SAFE.decode(header).unwrap();
    let value: serde_json::Value = serde_json::from_slice(&text).unwrap();
    assert_eq!(value["password"], "\u{7ff}~?>ÿ~?>");
}

#[test]
fn a_credential_is_never_printed() {
    let credential = Credential { username: "u".into(), secret: Secret::new("hunter2"), server: "r".into() };
    assert!(!format!("{credential:?}").contains("hunter2"));
}
