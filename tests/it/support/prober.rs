//! Asks a service without a pause, from inside a container's network, and counts.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream, UdpSocket};
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::world::repository;

/// What a prober saw.
#[derive(Debug, Default)]
pub struct Seen {
    /// Requests.
    pub asked: usize,
    /// Why those without a good answer had none.
    pub failed: Vec<String>,
    /// The longest time between two good answers.
    pub gap: Duration,
    /// The first answer and the last.
    pub answers: Option<(String, String)>,
}

/// A running prober.
pub struct Prober {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Seen>,
}

impl Prober {
    /// Asks `service` on port 80 from the network namespace `network`: a new connection for each request, or one as long
    /// as it is kept open.
    pub fn start(network: PathBuf, service: &str, keep_alive: bool) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (stopped, service) = (stop.clone(), service.to_owned());
        let thread = std::thread::spawn(move || {
            let namespace = std::fs::File::open(network).unwrap();
            nix::sched::setns(namespace.as_fd(), nix::sched::CloneFlags::CLONE_NEWNET).unwrap();
            probe(&service, keep_alive, &stopped)
        });
        Self { stop, thread }
    }

    /// Stops it.
    pub fn stop(self) -> Seen {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

fn probe(service: &str, keep_alive: bool, stop: &AtomicBool) -> Seen {
    let mut seen = Seen::default();
    let mut open: Option<BufReader<TcpStream>> = None;
    let mut last_good = Instant::now();
    while !stop.load(Ordering::Relaxed) {
        seen.asked += 1;
        match ask(service, &mut open) {
            Ok(answer) => {
                seen.gap = seen.gap.max(last_good.elapsed());
                last_good = Instant::now();
                match &mut seen.answers {
                    Some((_, last)) => *last = answer,
                    None => seen.answers = Some((answer.clone(), answer)),
                }
            }
            Err(why) => {
                seen.failed.push(why.to_string());
                open = None;
            }
        }
        if !keep_alive {
            open = None;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    seen.gap = seen.gap.max(last_good.elapsed());
    seen
}

fn ask(service: &str, open: &mut Option<BufReader<TcpStream>>) -> std::io::Result<String> {
    if open.is_none() {
        let stream = TcpStream::connect_timeout(&(resolve(service)?, 80).into(), Duration::from_secs(1))?;
        stream.set_read_timeout(Some(Duration::from_secs(2)))?;
        *open = Some(BufReader::new(stream));
    }
    let reader = open.as_mut().unwrap();
    reader.get_mut().write_all(format!("GET / HTTP/1.1\r\nHost: {service}\r\n\r\n").as_bytes())?;
    let (mut line, mut length, mut is_last) = (String::new(), None, false);
    reader.read_line(&mut line)?;
    if !line.contains(" 200 ") {
        return Err(std::io::Error::other(format!("it answered {line:?}")));
    }
    while line != "\r\n" {
        line.clear();
        if reader.read_line(&mut line)? == 0 {
            return Err(std::io::Error::other("cut off"));
        }
        let header = line.to_lowercase();
        if let Some(value) = header.strip_prefix("content-length:") {
            length = value.trim().parse::<usize>().ok();
        }
        is_last |= header.starts_with("connection: close");
    }
    let mut body = vec![0; length.unwrap_or(0)];
    reader.read_exact(&mut body)?;
    if is_last {
        *open = None;
    }
    Ok(String::from_utf8_lossy(&body).trim().to_owned())
}

/// Asks the engine's own resolver, which a container has at 127.0.0.11.
fn resolve(name: &str) -> std::io::Result<Ipv4Addr> {
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    socket.set_read_timeout(Some(Duration::from_secs(1)))?;
    let mut question = vec![0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, u8::try_from(name.len()).unwrap()];
    question.extend_from_slice(name.as_bytes());
    question.extend_from_slice(&[0, 0, 1, 0, 1]);
    socket.send_to(&question, "127.0.0.11:53")?;
    let mut answer = [0; 512];
    let length = socket.recv(&mut answer)?;
    // An address record ends with its length, 4, and the address; the first answer is taken.
    let found = answer[question.len()..length].windows(6).find(|bytes| bytes[..2] == [0, 4]);
    let bytes = found.ok_or_else(|| std::io::Error::other("no such name"))?;
    Ok(Ipv4Addr::new(bytes[2], bytes[3], bytes[4], bytes[5]))
}

/// The server with persistent connections, compiled once.
pub fn keep_alive_server(folder: &Path) -> Vec<u8> {
    let program = folder.join(format!("keep-alive-{:?}", std::thread::current().id()));
    let source = repository().join("tests/it/support/programs/keep_alive.rs");
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = std::process::Command::new(rustc)
        .args(["--edition", "2024", "-C", "target-feature=+crt-static", "-C", "strip=symbols", "-o"])
        .arg(&program)
        .arg(source)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    std::fs::read(program).unwrap()
}
