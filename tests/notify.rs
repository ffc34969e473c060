//! Who is told how a deployment ended: a command, web servers over HTTPS and HTTP, and a topic of moto's SNS. The
//! deployments here are refused by a host's policy: an event that fails without an engine.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// A web server: what is posted to `/ok` is kept with its headers, `/refuse` says why, and `/hang` never answers.
const SERVER: &str = "
import http.server, json, ssl, sys, threading
folder, cert = sys.argv[1], sys.argv[2:]
class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers['content-length'])).decode()
        if self.path == '/hang':
            threading.Event().wait()
        if self.path == '/ok':
            with open(folder + '/posted', 'a') as kept:
                kept.write(json.dumps({'headers': {k.lower(): v for k, v in self.headers.items()}, 'body': json.loads(body)}) + '\\n')
        self.send_response(200 if self.path == '/ok' else 403)
        self.end_headers()
        self.wfile.write(b'no such hook: token=hunter2secret')
    def log_message(self, *_):
        pass
server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Handler)
if cert:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*cert)
    server.socket = context.wrap_socket(server.socket, server_side=True)
print(server.server_port, flush=True)
server.serve_forever()
";

/// A topic whose messages go to a queue; afterwards, what the queue has.
const TOPIC: &str = "
import boto3, json, sys
def client(name):
    return boto3.client(name, region_name='eu-west-1', endpoint_url=sys.argv[1], aws_access_key_id='a', aws_secret_access_key='b')
sns, sqs = client('sns'), client('sqs')
queue = sqs.create_queue(QueueName='q')['QueueUrl']
if sys.argv[2] == 'make':
    topic = sns.create_topic(Name='deployments')['TopicArn']
    arn = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=['QueueArn'])['Attributes']['QueueArn']
    sns.subscribe(TopicArn=topic, Protocol='sqs', Endpoint=arn)
    print(topic)
else:
    for message in sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=9).get('Messages', []):
        print(json.dumps(json.loads(message['Body'])))
";

struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn python() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("target/tools/venv/bin/python")
}

/// Starts the web server, with TLS where it has a certificate. Returns its port too.
fn server(folder: &Path, certificate: &[&str]) -> (Ended, String) {
    let mut command = Command::new(python());
    command.args(["-c", SERVER]).arg(folder).args(certificate.iter().map(|name| folder.join(name)));
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut port = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut port).unwrap();
    (Ended(child), port.trim().to_owned())
}

/// A bundle with this `notify`, which the host's policy refuses, and a command that keeps what it was told.
fn bundle(notify: &str) -> tempfile::TempDir {
    let bundle = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(bundle.path().join(name), text).unwrap();
    std::fs::create_dir(bundle.path().join("hooks")).unwrap();
    write("hooks/balehook", include_str!("../hooks/balehook"));
    write("policy.yml", "registries: [other.example.com]\n");
    write(
        "tell",
        "#!/bin/sh\ncat >\"$(dirname \"$0\")/told\"\necho $BALEHOOK_RESULT $BALEHOOK_EXIT_CODE >>\"$(dirname \"$0\")/told\"\n",
    );
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(bundle.path().join("tell"), mode).unwrap();
    let hooks = "hooks: {ApplicationStart: [{location: hooks/balehook, timeout: 60}]}";
    let section = "x-balehook:\n  name: web\n  container: {image: 'registry.example.com/web:1'}\n";
    write("appspec.yml", &format!("version: 0.0\nos: linux\n{hooks}\n{section}  notify:\n{notify}"));
    bundle
}

fn deploy(bundle: &Path, variables: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_balehook"));
    command.arg("--policy").arg(bundle.join("policy.yml")).arg("--state-dir").arg(bundle.join("state"));
    command.args(["run", "ApplicationStart"]).env_clear().env("PATH", std::env::var_os("PATH").unwrap());
    command.envs(variables.iter().copied()).current_dir(bundle).output().unwrap()
}

fn warnings(output: &Output) -> Vec<String> {
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.lines().filter(|line| line.contains(" was not told: ")).map(str::to_owned).collect()
}

#[test]
fn a_command_and_a_web_server_over_https_are_told_and_those_that_fail_refuse_or_hang_change_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=balehook-tests"])
        .args(["-addext", "subjectAltName=IP:127.0.0.1", "-addext", "basicConstraints=critical,CA:FALSE"])
        .args(["-keyout", "key.pem", "-out", "cert.pem"])
        .current_dir(folder.path())
        .output();
    assert!(made.unwrap().status.success());
    let (_https, secure) = server(folder.path(), &["cert.pem", "key.pem"]);
    let (_http, plain) = server(folder.path(), &[]);
    let bundle = bundle(&format!(
        "    - {{on: [failure], command: [./tell]}}
    - {{on: [failure, rollback], webhook: 'https://127.0.0.1:{secure}/ok', headers: {{Authorization: 'Bearer ${{KEY}}'}}}}
    - {{on: [success], webhook: 'https://127.0.0.1:{secure}/ok'}}
    - {{on: [failure], webhook: 'http://127.0.0.1:{plain}/refuse'}}
    - {{on: [failure], webhook: 'http://127.0.0.1:{plain}/hang'}}
    - {{on: [failure], webhook: 'http://127.0.0.1:1/closed'}}
    - {{on: [failure], command: [sleep, '60']}}
    - {{on: [failure], command: [no-such-program]}}
"
    ));
    let began = Instant::now();
    let certificate = folder.path().join("cert.pem");
    let output = deploy(bundle.path(), &[("SSL_CERT_FILE", certificate.to_str().unwrap()), ("KEY", "key-of-the-hook")]);
    assert_eq!(output.status.code(), Some(15), "{output:?}");
    assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());

    let warned = warnings(&output);
    assert_eq!(warned.len(), 5, "{warned:?}");
    assert_eq!(warned[0], "warning: the webhook at 127.0.0.1 was not told: it answered 403: no such hook: token=***");
    assert_eq!(warned[1], "warning: the webhook at 127.0.0.1 was not told: it has not answered for 5 s");
    assert!(warned[2].starts_with("warning: the webhook at 127.0.0.1 was not told: "), "{warned:?}");
    assert!(warned[3].starts_with("warning: the command sleep was not told: "), "{warned:?}");
    assert_eq!(warned[4], "warning: the command no-such-program was not told: it is not on PATH");

    let posted = std::fs::read_to_string(folder.path().join("posted")).unwrap();
    let posted: Vec<Value> = posted.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let [posted] = &posted[..] else { panic!("{posted:?}") };
    assert_eq!(posted["headers"]["authorization"], "Bearer key-of-the-hook");
    assert_eq!(posted["headers"]["content-type"], "application/json");
    let body = &posted["body"];
    let of = ["result", "name", "event", "deployment"].map(|key| body[key].as_str().unwrap());
    assert_eq!(of, ["failure", "web", "ApplicationStart", "manual"], "{body}");
    assert_eq!(body["exit_code"], 15);
    assert!(body["error"][0].as_str().unwrap().contains("policy"), "{body}");
    assert!(body["text"].as_str().unwrap().starts_with("web: failure of ApplicationStart on "), "{body}");

    let told = std::fs::read_to_string(bundle.path().join("told")).unwrap();
    let (json, variables) = told.split_once("}failure 15").unwrap_or((&told, "none"));
    assert_eq!(
        (variables, serde_json::from_str::<Value>(&format!("{json}}}")).unwrap()["text"].clone()),
        ("\n", body["text"].clone())
    );
}

#[test]
fn a_topic_of_sns_is_published_to_with_a_subject_and_one_that_is_not_there_is_a_warning() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string();
    let mut moto = Command::new(python().with_file_name("moto_server"));
    let moto = moto.args(["-H", "127.0.0.1", "-p", &port]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let _moto = Ended(moto);
    let began = Instant::now();
    while std::net::TcpStream::connect(format!("127.0.0.1:{port}")).is_err() {
        assert!(began.elapsed() < Duration::from_secs(120), "moto does not start");
        std::thread::sleep(Duration::from_millis(100));
    }
    let url = format!("http://127.0.0.1:{port}");
    let topic = |what: &str| {
        let output = Command::new(python()).args(["-c", TOPIC, &url, what]).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let arn = topic("make");
    let arn = arn.trim();
    let bundle = bundle(&format!("    - {{on: [failure], sns: '{arn}'}}\n    - {{on: [failure], sns: '{arn}2'}}\n"));
    let variables = [("AWS_ENDPOINT_URL_SNS", &*url), ("AWS_ACCESS_KEY_ID", "a"), ("AWS_SECRET_ACCESS_KEY", "b")];
    let output = deploy(bundle.path(), &variables);
    assert_eq!(output.status.code(), Some(15), "{output:?}");
    let warned = warnings(&output);
    assert!(
        matches!(&warned[..], [one] if one.contains(&format!("the topic {arn}2 was not told: it answered 404"))),
        "{warned:?}"
    );
    let messages = topic("read");
    let messages: Vec<Value> = messages.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let [message] = &messages[..] else { panic!("{messages:?}") };
    assert_eq!(message["Subject"], "balehook: failure of web");
    let body: Value = serde_json::from_str(message["Message"].as_str().unwrap()).unwrap();
    assert_eq!((&body["result"], &body["exit_code"]), (&"failure".into(), &15.into()));
}
