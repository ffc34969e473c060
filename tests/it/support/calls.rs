//! The calls of AWS that the tests make, as IAM sees them: what reaches the S3 server and the ECR API goes through here, and
//! the ECR registry writes its own log.

use std::collections::{BTreeSet, VecDeque};
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use serde_json::Value;

use super::iam::{Need, Policy};

/// The buckets that stand for `RELEASES`.
const RELEASES: [&str; 2] = ["releases", "versions"];

/// One call.
#[derive(Debug)]
pub struct Call {
    service: Service,
    method: String,
    /// The path and the query.
    target: String,
    /// `X-Amz-Target`.
    operation: String,
    /// The bundle that made it, by the application ID of its user agent; for the registry, the repository.
    origin: String,
    /// Of the answer; 0 before it came.
    status: AtomicU16,
    /// By `docker push` rather than by an instance.
    is_push: AtomicBool,
}

/// What is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Service {
    S3,
    EcrApi,
    Registry,
}

impl std::fmt::Display for Call {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { service, method, target, operation, origin, .. } = self;
        write!(f, "{service:?}: {method} {target} {operation} by {origin:?}")
    }
}

impl Call {
    /// Reads the head of an HTTP request.
    pub fn parse(service: Service, head: &str) -> Self {
        let mut words = head.split(' ').map(str::to_owned);
        let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let header = |wanted: &str| {
            let headers = head.lines().skip(1).filter_map(|line| line.split_once(": "));
            headers.filter(|(name, _)| name.eq_ignore_ascii_case(wanted)).map(|(_, value)| value).next().unwrap_or("")
        };
        let agent = format!("{} {}", header("x-amz-user-agent"), header("user-agent"));
        let origin = agent.split(' ').find_map(|word| word.strip_prefix("app/")).unwrap_or_default().to_owned();
        let operation = header("x-amz-target").to_owned();
        Self { service, method, target, operation, origin, status: AtomicU16::new(0), is_push: AtomicBool::new(false) }
    }

    /// Reads a line of the registry's log.
    fn logged(line: &str) -> Option<Self> {
        let line: Value = serde_json::from_str(line).ok().filter(|line: &Value| line["msg"] == "authorized request")?;
        let text = |key: &str| line[key].as_str().unwrap_or_default().to_owned();
        let head = format!("{} {} ", text("http.request.method"), text("http.request.uri"));
        Some(Self { origin: text("vars.name"), ..Self::parse(Service::Registry, &head) })
    }

    pub fn answered(self, status: u16) -> Self {
        self.status.store(status, Ordering::SeqCst);
        self
    }

    /// What IAM must allow for it.
    /// Errors: A call of which nobody has said what it needs.
    pub fn needs(&self) -> Result<Vec<Need>, String> {
        // `doctor` reads the server's clock by it, unsigned.
        if self.service == Service::S3 && (self.method.as_str(), self.target.as_str()) == ("HEAD", "/") {
            return Ok(Vec::new());
        }
        let needs = match self.service {
            Service::S3 => self.needs_of_s3(),
            Service::EcrApi => self.needs_of_ecr(),
            Service::Registry => self.needs_of_registry(),
        };
        let has_origin = !self.origin.is_empty() || self.service == Service::Registry;
        needs.filter(|_| has_origin).ok_or_else(|| format!("not known: {self}"))
    }

    /// Source: Amazon S3 API Reference, HeadObject and GetObject, permissions.
    fn needs_of_s3(&self) -> Option<Vec<Need>> {
        let (path, query) = self.target.split_once('?').unwrap_or((&self.target, ""));
        let (bucket, key) = path.strip_prefix('/')?.split_once('/').unwrap_or((&path[1..], ""));
        let names: BTreeSet<&str> = query.split('&').map(|pair| pair.split('=').next().unwrap_or(pair)).collect();
        let bucket = format!("arn:aws:s3:::{bucket}");
        let is_plain = names.iter().all(|name| ["", "x-id", "versionId"].contains(name));
        let mut needs = match (self.method.as_str(), key) {
            ("GET" | "HEAD", "") => vec![],
            ("GET" | "HEAD", key) if is_plain => {
                let action = if names.contains("versionId") { "s3:GetObjectVersion" } else { "s3:GetObject" };
                vec![Need::new(action, format!("{bucket}/{}", decoded(key)))]
            }
            _ => return None,
        };
        match (needs.is_empty(), self.method.as_str()) {
            (true, "GET") if names.contains("location") => needs.push(Need::new("s3:GetBucketLocation", bucket)),
            (true, "HEAD") => needs.push(Need::new("s3:ListBucket", bucket)),
            (true, _) if names.contains("list-type") => needs.push(Need::new("s3:ListBucket", bucket)),
            (true, _) => return None,
            // Who may not list is told 403 of an object that is missing.
            (false, _) if self.status.load(Ordering::SeqCst) == 404 => needs.push(Need::new("s3:ListBucket", bucket)),
            (false, _) => {}
        }
        Some(needs)
    }

    fn needs_of_ecr(&self) -> Option<Vec<Need>> {
        let operation = self.operation.strip_prefix("AmazonEC2ContainerRegistry_V20150921.")?;
        (operation == "GetAuthorizationToken").then(|| vec![Need::new("ecr:GetAuthorizationToken", "*")])
    }

    /// Source: Amazon ECR User Guide, the permissions to pull and to push an image, and the API Reference of each action.
    fn needs_of_registry(&self) -> Option<Vec<Need>> {
        if self.target == "/v2/" {
            return Some(Vec::new()); // the token alone
        }
        let rest = self.target.strip_prefix(&format!("/v2/{}/", self.origin))?;
        let kind = ["manifests/", "blobs/uploads/", "blobs/"].into_iter().find(|kind| rest.starts_with(kind))?;
        let action = match (self.method.as_str(), kind) {
            ("GET" | "HEAD", "manifests/") => "ecr:BatchGetImage",
            ("PUT", "manifests/") => "ecr:PutImage",
            ("GET", "blobs/") => "ecr:GetDownloadUrlForLayer",
            ("HEAD", "blobs/") => "ecr:BatchCheckLayerAvailability",
            ("POST", "blobs/uploads/") => "ecr:InitiateLayerUpload",
            ("PATCH", "blobs/uploads/") => "ecr:UploadLayerPart",
            ("PUT", "blobs/uploads/") => "ecr:CompleteLayerUpload",
            _ => return None,
        };
        Some(vec![Need::new(action, format!("arn:aws:ecr:eu-west-1:123456789012:repository/{}", self.origin))])
    }

    pub fn is_push(&self) -> bool {
        self.is_push.load(Ordering::SeqCst)
    }

    /// The policy of the one who makes it, where `name` is deployed: one for each bucket of archives.
    fn policies(&self, name: &str) -> [Policy; 2] {
        let file = if self.is_push() { "ci.json" } else { "instance.json" };
        RELEASES.map(|bucket| Policy::read(file, bucket, name))
    }

    /// What that policy does not allow.
    pub fn refused(&self, name: &str) -> Vec<String> {
        let policies = self.policies(name);
        let is_refused = |need: &&Need| policies.iter().all(|policy| policy.allows(need).is_none());
        match self.needs() {
            Ok(needs) => needs.iter().filter(is_refused).map(Need::to_string).collect(),
            Err(unknown) => vec![unknown],
        }
    }

    /// The statements that allow it, each with the action.
    pub fn allowed(&self, name: &str) -> Vec<(String, String)> {
        let (policies, needs) = (self.policies(name), self.needs().unwrap_or_default());
        let statement = |need: &Need| policies.iter().find_map(|policy| policy.allows(need).map(str::to_owned));
        needs.into_iter().filter_map(|need| Some((statement(&need)?, need.action))).collect()
    }
}

/// A key of a URL as it is meant.
fn decoded(key: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = key.bytes();
    while let Some(byte) = rest.next() {
        let two: Vec<u8> = if byte == b'%' { rest.by_ref().take(2).collect() } else { Vec::new() };
        let hex = std::str::from_utf8(&two).ok().and_then(|two| u8::from_str_radix(two, 16).ok());
        bytes.push(hex.unwrap_or(byte));
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// All calls of a world that no test has answered for.
#[derive(Debug, Default)]
pub struct Calls {
    calls: Mutex<Vec<Arc<Call>>>,
    /// How far the registry's log was read.
    read: Mutex<usize>,
}

impl Calls {
    fn all(&self) -> MutexGuard<'_, Vec<Arc<Call>>> {
        self.calls.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn add(&self, call: Call) -> Arc<Call> {
        let call = Arc::new(call);
        self.all().push(call.clone());
        call
    }

    /// Reads what the registry has logged since.
    fn read(&self, log: &Path) {
        let mut read = self.read.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let text = std::fs::read_to_string(log).unwrap_or_default();
        let whole = text.rfind('\n').map_or(0, |end| end + 1);
        for call in text[*read..whole].lines().filter_map(Call::logged) {
            self.add(call);
        }
        *read = whole;
    }

    /// Runs `docker push` to a repository: what the registry is asked for it meanwhile is the pipeline's.
    pub fn push<T>(&self, log: &Path, repository: &str, push: impl FnOnce() -> T) -> T {
        self.read(log);
        let before: BTreeSet<_> = self.all().iter().map(Arc::as_ptr).collect();
        let done = push();
        self.read(log);
        for call in self.all().iter().filter(|call| call.is_of_repository(repository)) {
            if !before.contains(&Arc::as_ptr(call)) {
                call.is_push.store(true, Ordering::SeqCst);
            }
        }
        done
    }

    /// The calls that are so far.
    pub fn so_far(&self, log: &Path, wanted: impl Fn(&Call) -> bool) -> Vec<Arc<Call>> {
        self.read(log);
        self.all().iter().filter(|call| wanted(call)).cloned().collect()
    }

    /// The same; they are answered for.
    pub fn take(&self, log: &Path, wanted: impl Fn(&Call) -> bool) -> Vec<Arc<Call>> {
        let taken = self.so_far(log, wanted);
        self.all().retain(|call| !taken.iter().any(|taken| Arc::ptr_eq(taken, call)));
        taken
    }
}

impl Call {
    pub fn is_of_bundle(&self, id: &str) -> bool {
        self.service != Service::Registry && self.origin == id
    }

    pub fn is_of_repository(&self, name: &str) -> bool {
        self.service == Service::Registry && self.origin == name
    }

    /// Whether no test can answer for it: it names none, or a repository that no test deploys.
    pub fn is_of_nobody(&self, names: &BTreeSet<String>) -> bool {
        match self.service {
            Service::Registry => self.target != "/v2/" && !names.contains(&self.origin),
            Service::S3 | Service::EcrApi => self.origin.is_empty(),
        }
    }
}

/// Passes every connection to the listener on to a port of the world, and writes down what is called.
pub fn record(service: Service, listener: &TcpListener, connect: impl Fn() -> TcpStream, calls: &Arc<Calls>) {
    for client in listener.incoming().flatten() {
        let (server, calls) = (connect(), calls.clone());
        client.set_nodelay(true).unwrap();
        server.set_nodelay(true).unwrap();
        let asked = Arc::new(Mutex::new(VecDeque::new()));
        let (from, to, noted) = (client.try_clone().unwrap(), server.try_clone().unwrap(), asked.clone());
        std::thread::spawn(move || requests(service, from, to, &calls, &noted));
        std::thread::spawn(move || answers(server, client, &asked));
    }
}

type Asked = Mutex<VecDeque<Arc<Call>>>;

fn requests(service: Service, mut from: TcpStream, mut to: TcpStream, calls: &Calls, asked: &Asked) {
    let (mut buffer, mut heads) = (vec![0; 64 * 1024], Heads::default());
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        for head in heads.feed(&buffer[..count]) {
            asked.lock().unwrap().push_back(calls.add(Call::parse(service, &head)));
        }
        if to.write_all(&buffer[..count]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
}

/// Clients ask again only when they have the whole answer: each one begins with what is read next.
fn answers(mut from: TcpStream, mut to: TcpStream, asked: &Asked) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        let status =
            buffer[..count].strip_prefix(b"HTTP/1.1 ").and_then(|rest| std::str::from_utf8(rest.get(..3)?).ok());
        if let Some(status @ 200..) = status.and_then(|status| status.parse().ok())
            && let Some(call) = asked.lock().unwrap().pop_front()
        {
            call.status.store(status, Ordering::SeqCst);
        }
        if to.write_all(&buffer[..count]).is_err() {
            break;
        }
    }
    let _ = (to.shutdown(Shutdown::Both), from.shutdown(Shutdown::Both));
}

/// The heads of the requests of one connection.
#[derive(Default)]
pub struct Heads {
    head: Vec<u8>,
    /// Bytes of the body that are still to come.
    body: usize,
}

impl Heads {
    pub fn feed(&mut self, mut bytes: &[u8]) -> Vec<String> {
        let mut heads = Vec::new();
        loop {
            let skipped = self.body.min(bytes.len());
            (self.body, bytes) = (self.body - skipped, &bytes[skipped..]);
            let Some((first, rest)) = bytes.split_first() else { return heads };
            self.head.push(*first);
            bytes = rest;
            if self.head.ends_with(b"\r\n\r\n") {
                let head = String::from_utf8_lossy(&std::mem::take(&mut self.head)).into_owned();
                let length =
                    head.lines().find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
                self.body = length.unwrap_or(0);
                heads.push(head);
            }
        }
    }
}
