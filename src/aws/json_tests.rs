//! A scripted server that answers as the services do: throttled, ill, denied.
#![allow(clippy::unwrap_used)]

use aws_config::{BehaviorVersion, Region};
use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::*;

/// Answers each request with the next of `answers`, the last one again and again; keeps what was sent.
pub(crate) async fn server(answers: Vec<(u16, String)>) -> (String, Arc<std::sync::Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let requests: Arc<std::sync::Mutex<Vec<String>>> = Arc::default();
    let kept = requests.clone();
    tokio::spawn(async move {
        for number in 0.. {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut text = Vec::new();
            let length = |text: &[u8]| {
                let text = String::from_utf8_lossy(text).to_lowercase();
                let head = text.find("\r\n\r\n")?;
                let length = text.split("content-length: ").nth(1)?.split('\r').next()?.parse::<usize>().ok()?;
                Some(head + 4 + length)
            };
            while length(&text).is_none_or(|length| text.len() < length) {
                let read = stream.read_buf(&mut text).await.unwrap();
                assert_ne!(read, 0);
            }
            kept.lock().unwrap().push(String::from_utf8(text).unwrap());
            let (status, body) = &answers[answers.len().min(number + 1) - 1];
            let head = format!("HTTP/1.1 {status} X\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", body.len());
            stream.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
        }
    });
    (address, requests)
}

/// A client that is somebody, in eu-west-1.
pub(crate) fn client(url: &str) -> Json {
    let credentials = Credentials::new("AKIATESTS", "secret", None, None, "test");
    let settings = SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::from_static("eu-west-1"))
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        .endpoint_url(url)
        .build();
    Json { settings: Arc::new(OnceCell::new_with(Some(settings))), ..Json::from_env(&|_| None, &Waits::default()) }
}

fn error(status: u16, code: &str) -> (u16, String) {
    (status, json!({"__type": format!("com.amazonaws.ssm#{code}:http://x"), "message": "words"}).to_string())
}

#[tokio::test]
async fn a_call_that_is_throttled_or_finds_the_service_ill_is_sent_again_and_is_signed_each_time() {
    let answers = vec![error(400, "ThrottlingException"), (503, String::new()), (200, r#"{"a":1}"#.into())];
    let (url, requests) = server(answers).await;
    let client = client(&url);
    let answer = client.call(Service::Ssm, "GetParameters", Some("us-east-2"), &json!({"Names": ["/a"]})).await;
    assert_eq!((answer, client.calls()), (Ok(json!({"a": 1})), 3));
    for request in requests.lock().unwrap().iter() {
        assert!(request.contains("x-amz-target: AmazonSSM.GetParameters\r\n"), "{request}");
        assert!(request.contains("/us-east-2/ssm/aws4_request, SignedHeaders="), "{request}");
        assert!(request.ends_with(r#"{"Names":["/a"]}"#), "{request}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_service_that_throttles_on_and_on_is_given_up_after_seven_attempts() {
    let (url, requests) = server(vec![error(400, "ThrottlingException")]).await;
    let answer = client(&url).call(Service::Kms, "Decrypt", None, &json!({})).await;
    assert_eq!(answer, Err(CallError::Throttled("words".into())));
    assert_eq!(requests.lock().unwrap().len(), 7);
}

#[tokio::test]
async fn what_a_service_refuses_is_asked_once_and_its_code_is_read() {
    let (url, requests) = server(vec![error(400, "AccessDeniedException")]).await;
    let answer = client(&url).call(Service::SecretsManager, "GetSecretValue", None, &json!({})).await;
    assert!(answer.as_ref().is_err_and(CallError::is_denied), "{answer:?}");
    assert_eq!(requests.lock().unwrap().len(), 1);
}

/// Source: the AWS SDKs' model of ECR Public (api.ecr-public, signed as ecr-public).
#[tokio::test]
async fn the_token_of_the_public_gallery_is_asked_for_in_us_east_1_whatever_the_hosts_region() {
    let answer = json!({"authorizationData": {"authorizationToken": "QVdTOnNlY3JldDp4", "expiresAt": 1.7e9}});
    let (url, requests) = server(vec![(200, answer.to_string())]).await;
    let (user, password) = crate::aws::ecr::public_token(&client(&url)).await.unwrap();
    assert_eq!((user.as_str(), password.reveal()), ("AWS", "secret:x"));
    let requests = requests.lock().unwrap();
    assert!(requests[0].contains("x-amz-target: SpencerFrontendService.GetAuthorizationToken\r\n"), "{requests:?}");
    assert!(requests[0].contains("/us-east-1/ecr-public/aws4_request, SignedHeaders="), "{requests:?}");
    assert_eq!(
        address(Service::EcrPublic.names().host, "us-east-1"),
        "https://api.ecr-public.us-east-1.amazonaws.com/"
    );
}

#[tokio::test]
async fn a_token_that_is_denied_or_none_is_said() {
    for (answer, why) in [
        (error(400, "AccessDeniedException"), "AccessDeniedException: words"),
        ((200, "{}".into()), "the answer holds no token"),
    ] {
        let (url, _) = server(vec![answer]).await;
        let said = crate::aws::ecr::public_token(&client(&url)).await.unwrap_err();
        assert!(said.contains(why), "{said}");
    }
}

#[tokio::test]
async fn a_service_has_an_endpoint_of_its_own_by_its_variable() {
    let (url, requests) = server(vec![(200, "{}".into())]).await;
    let variable = |name: &str| (name == "AWS_ENDPOINT_URL_SECRETS_MANAGER").then(|| url.clone());
    let own = Json { settings: client("http://127.0.0.1:9").settings, ..Json::from_env(&variable, &Waits::default()) };
    own.call(Service::SecretsManager, "GetSecretValue", None, &json!({})).await.unwrap();
    assert_eq!(requests.lock().unwrap().len(), 1);
}
