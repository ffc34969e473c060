//! The client against servers that hang, at each place. The clock is tokio's: it leaps when nothing else can happen.
#![allow(clippy::unwrap_used)]

use std::sync::atomic::Ordering;

use aws_sdk_s3::config::Credentials;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::time::Instant;

use super::*;

/// The answer to a HEAD; the headers of one to a GET, with the first of ten bytes.
const HEAD: &str = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\nETag: \"e\"\r\n\r\n";
const BEGUN: &str = "HTTP/1.1 206 Partial Content\r\nContent-Length: 10\r\nETag: \"e\"\r\n\
                     Content-Range: bytes 0-9/10\r\n\r\n";

/// Before it serves again. S3 gives a code to a GET alone.
const BUSY: &str = "HTTP/1.1 503 Slow Down\r\nContent-Length: 0\r\n\r\n";
const SLOW_DOWN: &str = "HTTP/1.1 503 Slow Down\r\nContent-Length: 35\r\n\r\n<Error><Code>SlowDown</Code></Error>";

const DENIED: &str = "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n";
/// The same as [`HEAD`], for who says that they pay.
const PAID: &str = "HTTP/1.1 200 OK\r\nContent-Length: 11\r\nETag: \"e\"\r\n\r\n";

/// A server that answers a HEAD, and a GET as far as this goes; the connection stays open.
async fn server(head: &'static str, get: &'static str) -> S3 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut request = [0; 8192];
                while let Ok(count @ 1..) = stream.read(&mut request).await {
                    let asked = String::from_utf8_lossy(&request[..count]);
                    let is_paid = head != PAID || asked.to_lowercase().contains("x-amz-request-payer: requester");
                    let answer = if !is_paid {
                        DENIED
                    } else if asked.starts_with("HEAD") {
                        head
                    } else {
                        get
                    };
                    stream.write_all(answer.as_bytes()).await.unwrap();
                }
            });
        }
    });
    client(endpoint).await
}

async fn client(endpoint: String) -> S3 {
    let s3 = S3::from_env(&|name| (name == "AWS_ENDPOINT_URL").then(String::new), &Waits::default());
    let shared = config::defaults(None)
        .credentials_provider(Credentials::new("key", "secret", None, None, "test"))
        .region(Region::from_static("eu-west-1"))
        .endpoint_url(endpoint);
    s3.client.set(s3.with(&shared.load().await)).unwrap();
    s3
}

/// The client of a server that throttles the first requests, so many, and then has the object. Counts all requests.
async fn throttling(first: usize, how: &'static str) -> (S3, Arc<AtomicU32>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let requests = Arc::new(AtomicU32::new(0));
    let counted = requests.clone();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let counted = counted.clone();
            tokio::spawn(async move {
                let mut request = [0; 8192];
                while let Ok(count @ 1..) = stream.read(&mut request).await {
                    let is_busy = (counted.fetch_add(1, Ordering::SeqCst) as usize) < first;
                    let object = [BEGUN, "0123456789"].concat();
                    let answer = match (is_busy, request[..count].starts_with(b"HEAD")) {
                        (true, _) => how,
                        (false, true) => HEAD,
                        (false, false) => &object,
                    };
                    stream.write_all(answer.as_bytes()).await.unwrap();
                }
            });
        }
    });
    (client(endpoint).await, requests)
}

fn uri() -> S3Uri {
    "s3://releases/web.tar".parse().unwrap()
}

/// What was said, and after how many seconds.
async fn ended<T>(work: impl Future<Output = Result<T, S3Error>>) -> (String, u64) {
    let began = Instant::now();
    let error = work.await.err().unwrap();
    assert!(!error.is_definite(), "nobody said no");
    (error.to_string(), began.elapsed().as_secs())
}

#[tokio::test(start_paused = true)]
async fn a_server_that_never_answers_is_named_after_30_seconds() {
    let s3 = server("", "").await;
    let said = "S3 has not answered for 30 s: s3://releases/web.tar".to_owned();
    assert_eq!(ended(s3.head(&uri())).await, (said, 30));
}

#[tokio::test(start_paused = true)]
async fn an_object_that_is_found_and_never_sent_is_named_after_30_seconds() {
    let s3 = server(HEAD, "").await;
    let object = s3.head(&uri()).await.unwrap();
    let said = "S3 has not answered for 30 s: s3://releases/web.tar".to_owned();
    assert_eq!(ended(s3.read_range(&object, 0, 10)).await, (said, 30));
}

#[tokio::test(start_paused = true)]
async fn a_body_that_stalls_on_each_connection_is_named_after_30_seconds_without_a_byte() {
    let s3 = server(HEAD, BEGUN).await;
    let object = s3.head(&uri()).await.unwrap();
    let (said, after) = ended(s3.read_range(&object, 0, 10)).await;
    assert_eq!(said, "S3 has not sent a byte for 30 s: s3://releases/web.tar");
    assert!((30..=31).contains(&after), "{after}");
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_takes_no_connection_is_named() {
    let s3 = server("", "").await;
    let uri = uri();
    let config = s3.client().await.config().to_builder().endpoint_url("http://127.0.0.1:1").build();
    let gone = S3 { client: Arc::new(OnceCell::new_with(Some(Client::from_conf(config)))), ..s3 };
    let (said, _) = ended(gone.head(&uri)).await;
    assert!(said.starts_with("S3 cannot be reached for s3://releases/web.tar: "), "{said}");
    assert!(said.contains("Connection refused"), "{said}");
}

/// What is said of an object that S3 answers for.
async fn refused(head: &'static str) -> S3Error {
    server(head, DENIED).await.head(&uri()).await.unwrap_err()
}

#[tokio::test]
async fn an_answer_that_means_something_else_than_its_status_is_said_as_what_it_means() {
    let moved = refused("HTTP/1.1 301 Moved Permanently\r\nContent-Length: 0\r\n\r\n").await;
    let elsewhere = "the bucket of s3://releases/web.tar is in another region, and the answer does not say in which";
    assert_eq!((moved.to_string().as_str(), moved.is_definite()), (elsewhere, true));
    assert!(moved.next().contains("set AWS_REGION"), "{}", moved.next());

    let denied = refused(DENIED).await;
    assert_eq!(denied.to_string(), "access to s3://releases/web.tar is denied: 403 Forbidden");
    assert!(denied.next().contains("who lacks s3:ListBucket S3 says the same of an object that does not exist"));

    let glacier = HEAD.replace("ETag", "x-amz-storage-class: DEEP_ARCHIVE\r\nETag");
    let archived = refused(glacier.leak()).await;
    let words = "s3://releases/web.tar is archived in storage class DEEP_ARCHIVE, where it cannot be read";
    assert_eq!(archived.to_string(), words);
    let restored =
        HEAD.replace("ETag", "x-amz-storage-class: GLACIER\r\nx-amz-restore: ongoing-request=\"false\"\r\nETag");
    assert_eq!(server(restored.leak(), BEGUN).await.head(&uri()).await.unwrap().size, 10);
    let broken = refused("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n").await;
    assert_eq!(broken.to_string(), "cannot read s3://releases/web.tar: HTTP 400");
}

#[tokio::test]
async fn a_bucket_whose_requester_pays_is_read_by_who_says_that_they_do() {
    let not_paid = server(PAID, BEGUN).await;
    assert!(matches!(not_paid.head(&uri()).await.unwrap_err(), S3Error::Denied { .. }));
    let paid = S3 { payer: Some(RequestPayer::Requester), ..not_paid };
    assert_eq!(paid.head(&uri()).await.unwrap().size, 11);
}

#[tokio::test(start_paused = true)]
async fn an_object_that_s3_throttles_is_asked_for_again_and_named_where_that_goes_on() {
    let (s3, requests) = throttling(3, BUSY).await;
    assert_eq!(s3.get_small(&uri(), 10).await.unwrap(), "0123456789");
    assert_eq!(requests.load(Ordering::SeqCst), 5, "three that are throttled, a HEAD and a GET");

    let (s3, requests) = throttling(usize::MAX, BUSY).await;
    let error = s3.get_small(&uri(), 10).await.unwrap_err();
    assert_eq!(error.to_string(), "S3 throttles requests for s3://releases/web.tar, or has no capacity (503)");
    assert_eq!((error.is_definite(), requests.load(Ordering::SeqCst)), (false, REQUESTS));

    let get = server(HEAD, SLOW_DOWN).await;
    let error = get.get_small(&uri(), 10).await.unwrap_err();
    assert_eq!(error, S3Error::Throttled("s3://releases/web.tar".into()));
    assert!(error.next().starts_with("deploy to fewer hosts at once"), "{}", error.next());
}
