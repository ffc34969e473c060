//! Run lines of public repositories: what `import` writes of them passes `check`, and the engine is asked for the very
//! container that docker's own command asks for. That command talks to a socket of ours here, which keeps the request.

use std::io::{Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::{Command, Output};

use balehook::config::{Mode, appspec, service, validate};
use balehook::import::run_line;
use balehook::modes::create::container_options;
use serde_json::{Value, json};

/// Where the lines are run: `$PWD`, and relative paths begin there.
const FOLDER: &str = "/opt";

fn lines() -> Vec<String> {
    let text = include_str!("../run-lines.txt");
    let lines = text.lines().filter(|line| !line.starts_with('#')).collect::<Vec<_>>().join("\n");
    lines.split("\n\n").map(|line| line.trim().to_owned()).filter(|line| !line.is_empty()).collect()
}

fn balehook(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_balehook"));
    let output = command.args(arguments).current_dir(FOLDER).env_clear().env("PWD", FOLDER).env("HOME", "/home/ann");
    output.output().unwrap()
}

fn succeeds(arguments: &[&str]) -> String {
    let output = balehook(arguments);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{arguments:?}: {said}{}", String::from_utf8_lossy(&output.stdout));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn what_is_written_of_real_run_lines_reads_as_its_golden_file_and_names_what_it_does_not_carry() {
    assert!(lines().len() >= 25, "{}", lines().len());
    let written = lines().into_iter().map(|line| {
        let text = succeeds(&["import", &line]);
        let (head, _) = text.split_once("version: 0.0").unwrap();
        let (_, section) = text.split_once("x-balehook:\n").unwrap();
        format!("$ {}\n{head}{section}\n", line.replace('\n', "\n> "))
    });
    let printed: String = written.collect();
    for secret in ["abc123", "a_password", "changed1", "a_secure_jwt_key", "PASSWORD: docker"] {
        assert!(!printed.lines().any(|line| line.starts_with(' ') && line.contains(secret)), "{secret}");
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/imported.txt");
    if std::env::var_os("BALEHOOK_GOLDEN").is_some() {
        std::fs::write(&path, &printed).unwrap();
    }
    assert_eq!(printed, std::fs::read_to_string(&path).unwrap_or_default());
}

#[test]
fn what_is_written_of_real_run_lines_passes_check_and_asks_for_the_container_that_docker_asks_for() {
    for line in lines() {
        let folder = tempfile::tempdir().unwrap();
        let revision = folder.path().join("revision");
        let path = revision.to_str().unwrap();
        succeeds(&["import", "--output", path, "--show-values", &line]);
        succeeds(&["check", path]);
        assert_eq!(of_appspec(&revision), of_docker(&line, folder.path()), "{line}");
    }
}

/// The create request of the written revision.
fn of_appspec(revision: &Path) -> Value {
    let text = appspec::read(revision).unwrap();
    let (deployment, problems) = validate::validate(&text, &Default::default());
    let deployment = deployment.unwrap_or_else(|| panic!("{problems:?}"));
    let Mode::Container(container) = deployment.mode else { panic!("it is container mode") };
    let mut body = container_options(&container.service, None).body;
    let environment = container.service.environment.iter().map(|var| match &var.value {
        Some(value) => format!("{}={}", var.name, value.reveal()),
        None => var.name.clone(),
    });
    body.env = Some(environment.collect());
    chosen(serde_json::to_value(body).unwrap())
}

/// The create request of docker's own command. `create` knows no `--detach`; files of variables need not be here.
fn of_docker(line: &str, folder: &Path) -> Value {
    let socket = folder.join("docker.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    let engine = std::thread::spawn(move || request_of(&listener));
    let line =
        line.split("run").next().unwrap().replace("podman", "docker") + "create" + line.split_once("run").unwrap().1;
    let options = [
        (" --detach ", " "),
        (" -d ", " "),
        (" -dit ", " -it "),
        (" -itd ", " -it "),
        (" --systemd true", ""),
        ("sudo ", ""),
        (" --env-file ./tracker.env", ""),
        (" --env-file sponsor.env", ""),
        (" --pull=always", ""),
        ("--log-opt awslogs-group=`echo web`", ""),
    ];
    let line = options.into_iter().fold(line.replace("\\\n", " "), |line, (old, new)| line.replace(old, new));
    let script = format!("/usr/bin/{}", line.trim());
    let mut command = Command::new("bash");
    let command = command.args(["-c", &script]).current_dir(FOLDER).env_clear().env("HOME", "/home/ann");
    let path = std::env::var("PATH").unwrap();
    let said = command.env("PATH", path).env("DOCKER_HOST", format!("unix://{}", socket.display())).output().unwrap();
    // Where it did not ask, the engine still waits.
    let _ = UnixStream::connect(&socket).and_then(|mut stream| stream.write_all(b"GET /end HTTP/1.1\r\n\r\n"));
    let body = engine.join().unwrap();
    chosen(body.unwrap_or_else(|| panic!("{script}: {}", String::from_utf8_lossy(&said.stderr))))
}

/// Answers as an engine does, until a container is to be created.
fn request_of(listener: &UnixListener) -> Option<Value> {
    loop {
        let (mut stream, _) = listener.accept().unwrap();
        let (head, body) = read(&mut stream);
        let answer = |status: &str, body: &str| {
            format!(
                "HTTP/1.1 {status}\r\nApi-Version: 1.41\r\nOSType: linux\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            )
        };
        let (reply, found) = match () {
            () if head.contains("/containers/create") => {
                (answer("201 Created", r#"{"Id":"0123456789ab","Warnings":[]}"#), Some(body))
            }
            () if head.contains("/end") => return None,
            () => (answer("200 OK", "{}"), None),
        };
        stream.write_all(reply.as_bytes()).unwrap();
        if let Some(body) = found {
            return Some(serde_json::from_slice(&body).unwrap());
        }
    }
}

fn read(stream: &mut UnixStream) -> (String, Vec<u8>) {
    let mut all = Vec::new();
    let mut part = [0; 4096];
    loop {
        let count = stream.read(&mut part).unwrap();
        all.extend_from_slice(&part[..count]);
        let text = String::from_utf8_lossy(&all).into_owned();
        let Some((head, _)) = text.split_once("\r\n\r\n") else {
            if count == 0 {
                return (text, Vec::new());
            }
            continue;
        };
        let length = head.lines().find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
        let (begin, length) = (head.len() + 4, length.unwrap_or(0));
        if all.len() >= begin + length {
            return (head.to_owned(), all[begin..begin + length].to_vec());
        }
    }
}

/// What somebody chose: neither what stands for nothing, nor who is attached, nor the image, which is a pin elsewhere.
fn chosen(mut body: Value) -> Value {
    for member in ["AttachStdin", "AttachStdout", "AttachStderr", "StdinOnce", "Image"] {
        body[member] = Value::Null;
    }
    for member in ["ExposedPorts", "Volumes"] {
        let mut names: Vec<String> = match &body[member] {
            Value::Object(entries) => entries.keys().cloned().collect(),
            Value::Array(items) => items.iter().map(|item| item.as_str().unwrap().to_owned()).collect(),
            _ => Vec::new(),
        };
        names.sort();
        body[member] = json!(names);
    }
    if let Some(variables) = body["Env"].as_array_mut() {
        variables.sort_by_key(Value::to_string);
    }
    let host = &mut body["HostConfig"];
    // docker keeps these in a map, and sends them in another order each time.
    for member in ["Binds", "Ulimits"] {
        if let Some(items) = host[member].as_array_mut() {
            items.sort_by_key(Value::to_string);
        }
    }
    host["AutoRemove"] = Value::Null;
    host["ConsoleSize"] = Value::Null;
    // Not carried, each by name: a published port where the network is the host's, links and other containers' volumes.
    if host["NetworkMode"] == "host" {
        host["PortBindings"] = Value::Null;
        body["ExposedPorts"] = Value::Null;
    }
    let host = &mut body["HostConfig"];
    for member in ["Links", "VolumesFrom", "PublishAllPorts"] {
        host[member] = Value::Null;
    }
    for (member, nothing) in [("MemorySwappiness", json!(-1)), ("NetworkMode", json!("default"))] {
        if host[member] == nothing {
            host[member] = Value::Null;
        }
    }
    if host["RestartPolicy"]["Name"] == "no" {
        host["RestartPolicy"] = Value::Null;
    }
    if body["StopSignal"] == "SIGTERM" {
        body["StopSignal"] = Value::Null;
    }
    without_nothing(body).unwrap_or_default()
}

fn without_nothing(value: Value) -> Option<Value> {
    match value {
        Value::Null | Value::Bool(false) => None,
        Value::Number(number) if number.as_f64() == Some(0.0) => None,
        Value::String(text) if text.is_empty() => None,
        Value::Array(items) if items.is_empty() => None,
        Value::Array(items) => Some(items.into_iter().map(|item| without_nothing(item).unwrap_or_default()).collect()),
        Value::Object(entries) => {
            let entries = entries.into_iter().filter_map(|(key, value)| Some((key, without_nothing(value)?)));
            let entries: serde_json::Map<_, _> = entries.collect();
            (!entries.is_empty()).then_some(Value::Object(entries))
        }
        other => Some(other),
    }
}

/// Every option of `docker run`, with a value.
const OPTIONS: &[&str] = &[
    "--add-host=db:10.0.0.5",
    "--annotation=a=b",
    "--attach=STDOUT",
    "--blkio-weight=300",
    "--blkio-weight-device=/dev/sda:200",
    "--cap-add=NET_ADMIN",
    "--cap-drop=ALL",
    "--cgroup-parent=/apps",
    "--cgroupns=private",
    "--cidfile=/run/x",
    "--cpu-count=2",
    "--cpu-percent=50",
    "--cpu-period=100000",
    "--cpu-quota=50000",
    "--cpu-rt-period=1000",
    "--cpu-rt-runtime=900",
    "--cpu-shares=512",
    "--cpus=1.5",
    "--cpuset-cpus=0,1",
    "--cpuset-mems=0",
    "--detach",
    "--detach-keys=ctrl-a",
    "--device=/dev/fuse:/dev/fuse:r",
    "--device-cgroup-rule=c 13:* rwm",
    "--device-read-bps=/dev/sda:1mb",
    "--device-read-iops=/dev/sda:100",
    "--device-write-bps=/dev/sda:2mb",
    "--device-write-iops=/dev/sda:200",
    "--disable-content-trust",
    "--dns=10.0.0.2",
    "--dns-option=ndots:2",
    "--dns-search=example.com",
    "--domainname=example.com",
    "--entrypoint=/bin/tini",
    "--env=LOG_LEVEL=info",
    "--env-file=/etc/web.env",
    "--expose=8080",
    "--gpus=2",
    "--group-add=docker",
    "--health-cmd=exit 0",
    "--health-interval=5s",
    "--health-retries=3",
    "--health-start-interval=1s",
    "--health-start-period=30s",
    "--health-timeout=2s",
    "--help",
    "--hostname=web-1",
    "--init",
    "--interactive",
    "--io-maxbandwidth=1mb",
    "--io-maxiops=10",
    "--ip=10.1.0.5",
    "--ip6=2001:db8::5",
    "--ipc=host",
    "--isolation=process",
    "--kernel-memory=50m",
    "--label=a=b",
    "--label-file=/etc/labels",
    "--link=db:db",
    "--link-local-ip=169.254.1.1",
    "--log-driver=local",
    "--log-opt=max-size=10m",
    "--mac-address=02:42:ac:11:00:02",
    "--memory=512m",
    "--memory-reservation=256m",
    "--memory-swap=1g",
    "--memory-swappiness=10",
    "--mount=type=volume,src=data,dst=/data,volume-nocopy",
    "--name=web",
    "--network=front",
    "--network-alias=www",
    "--no-healthcheck",
    "--oom-kill-disable",
    "--oom-score-adj=-500",
    "--pid=host",
    "--pids-limit=200",
    "--platform=linux/arm64",
    "--privileged",
    "--publish=127.0.0.1:80:8080/udp",
    "--publish-all",
    "--pull=always",
    "--quiet",
    "--read-only",
    "--restart=on-failure:3",
    "--rm",
    "--runtime=runsc",
    "--security-opt=no-new-privileges",
    "--shm-size=128m",
    "--sig-proxy",
    "--stop-signal=SIGINT",
    "--stop-timeout=30",
    "--storage-opt=size=10G",
    "--sysctl=net.core.somaxconn=1024",
    "--tmpfs=/run:size=64m",
    "--tty",
    "--ulimit=nofile=1024:65536",
    "--use-api-socket",
    "--user=1000:1000",
    "--userns=host",
    "--uts=host",
    "--volume=/srv/data:/data:ro",
    "--volume-driver=rexray",
    "--volumes-from=data",
    "--workdir=/srv",
];

/// What belongs to a network of one's own is given one.
fn imported(option: &str) -> balehook::import::Imported {
    let needs_network =
        ["--ip=", "--ip6=", "--link-local-ip=", "--network-alias="].iter().any(|name| option.starts_with(name));
    let more = match () {
        () if needs_network => "--network=front",
        () if option.starts_with("--memory-swap=") => "--memory=512m",
        () => "--quiet=false",
    };
    run_line(&["docker", "run", option, more, "web:1"].map(str::to_owned))
}

#[test]
fn every_option_of_docker_run_is_carried_or_named_with_its_reason() {
    let table = OPTIONS.iter().map(|option| {
        let imported = imported(option);
        let carried =
            imported.options.iter().map(|(key, value)| format!("{key}: {}", serde_json::to_string(value).unwrap()));
        let named = imported.name.iter().map(|name| format!("name: {name}"));
        let not = imported.not_carried.iter().map(|item| format!("not carried: {}", item.line()));
        let became: Vec<String> = carried.chain(named).chain(not).collect();
        assert!(!became.is_empty(), "nothing became of {option}");
        format!("{option}\n    {}\n", became.join("\n    "))
    });
    let printed: String = table.collect();
    assert!(!printed.contains("it is not known"), "{printed}");
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/run-options.txt");
    if std::env::var_os("BALEHOOK_GOLDEN").is_some() {
        std::fs::write(&path, &printed).unwrap();
    }
    assert_eq!(printed, std::fs::read_to_string(&path).unwrap_or_default());
}

#[test]
fn no_option_that_dockers_own_command_lists_is_missing_and_each_key_of_a_container_can_come_of_one() {
    let help = Command::new("/usr/bin/docker").args(["run", "--help"]).output().unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    let lines = help.lines().filter(|line| line.trim_start().starts_with('-'));
    let listed = lines.filter_map(|line| line.trim_start().split("--").nth(1)?.split_whitespace().next());
    let is_known = |name: &&str| OPTIONS.iter().any(|option| option[2..].split('=').next() == Some(*name));
    let missing: Vec<&str> = listed.filter(|name| !is_known(name)).collect();
    assert!(help.contains("--volumes-from") && missing.is_empty(), "{missing:?}");
    let of_none = ["image", "deploy", "update_config", "network_mode", "command", "secrets"];
    let keys = service::keys().into_iter().filter(|key| !of_none.contains(key));
    let never: Vec<_> = keys.filter(|key| OPTIONS.iter().all(|option| imported(option).get(key).is_none())).collect();
    assert_eq!(never, Vec::<&str>::new());
}
