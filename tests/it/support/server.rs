//! The application of the handover's tests, compiled on its own into an image: HTTP with connections that stay open, on
//! several ports, and UDP.
//!
//!     server VERSION BOOT_SECONDS tcp:80 udp:53 …
//!     server get ADDRESS:PORT [PATH]
//!
//! `/slow` takes 3 s, `/peer` says who asks, everything else answers VERSION. `/quit` ends it as a well-behaved server
//! ends at SIGTERM: nobody is let in any more, who is in is answered and told that it is the last time.

use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv6Addr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::thread;
use std::time::Duration;

static QUITS: AtomicBool = AtomicBool::new(false);
/// Requests being answered.
static BUSY: AtomicUsize = AtomicUsize::new(0);

fn main() {
    let mut args = std::env::args().skip(1);
    let version = args.next().expect("VERSION");
    if version == "get" {
        return ask(&args.next().expect("ADDRESS:PORT"), args.next().as_deref().unwrap_or("/"));
    }
    let boot: u64 = args.next().and_then(|text| text.parse().ok()).expect("BOOT_SECONDS");
    thread::sleep(Duration::from_secs(boot));
    let listeners: Vec<_> = args.map(|port| listen(version.clone(), &port)).collect();
    for listener in listeners {
        let _ = listener.join();
    }
    loop {
        thread::park(); // `/quit` ends it
    }
}

/// The client: prints the answer's body.
fn ask(address: &str, path: &str) {
    let address = address.parse().expect("ADDRESS:PORT");
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(5)).expect("a connection");
    stream.set_read_timeout(Some(Duration::from_secs(5))).expect("a limit");
    write!(stream, "GET {path} HTTP/1.0\r\n\r\n").expect("a request");
    let lines = BufReader::new(stream).lines().map_while(Result::ok);
    println!("{}", lines.last().unwrap_or_default());
}

fn listen(version: String, port: &str) -> thread::JoinHandle<()> {
    let (protocol, port) = port.split_once(':').expect("tcp:PORT");
    let port: u16 = port.parse().expect("a port");
    if protocol == "udp" {
        let socket = UdpSocket::bind((Ipv6Addr::UNSPECIFIED, port)).or_else(|_| UdpSocket::bind(("0.0.0.0", port)));
        let socket = socket.expect("a UDP port");
        return thread::spawn(move || loop {
            let mut buffer = [0; 64];
            if let Ok((_, from)) = socket.recv_from(&mut buffer) {
                let _ = socket.send_to(version.as_bytes(), from);
            }
        });
    }
    let listener = TcpListener::bind((Ipv6Addr::UNSPECIFIED, port)).or_else(|_| TcpListener::bind(("0.0.0.0", port)));
    let listener = listener.expect("a TCP port");
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            if QUITS.load(SeqCst) {
                return;
            }
            let version = version.clone();
            thread::spawn(move || serve(stream, &version));
        }
    })
}

/// Ends the process when no request is left, and all who ask often enough were told to go.
fn quit(own: std::net::SocketAddr) {
    QUITS.store(true, SeqCst);
    let _ = TcpStream::connect(own); // the listener wakes up, sees it and is gone
    thread::spawn(|| {
        thread::sleep(Duration::from_millis(300));
        while BUSY.load(SeqCst) > 0 {
            thread::sleep(Duration::from_millis(10));
        }
        std::process::exit(0);
    });
}

fn serve(stream: TcpStream, version: &str) -> Option<()> {
    stream.set_nodelay(true).ok()?;
    let own = stream.local_addr().ok()?;
    let peer = stream.peer_addr().ok()?.ip().to_canonical().to_string();
    let mut writer = stream.try_clone().ok()?;
    let mut lines = BufReader::new(stream).lines();
    loop {
        let request = lines.next()?.ok()?;
        let headers: Vec<String> = lines.by_ref().map_while(Result::ok).take_while(|line| !line.is_empty()).collect();
        let path = request.split(' ').nth(1)?;
        BUSY.fetch_add(1, SeqCst);
        let body = match path {
            "/quit" => {
                quit(own);
                version
            }
            "/slow" => {
                thread::sleep(Duration::from_secs(3));
                version
            }
            "/peer" => &peer,
            _ => version,
        };
        let is_last = headers.iter().any(|line| line.eq_ignore_ascii_case("connection: close"));
        let close = is_last || request.ends_with("1.0") || QUITS.load(SeqCst);
        let connection = if close { "close" } else { "keep-alive" };
        let length = body.len() + 1;
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: {connection}");
        let written = writer.write_all(format!("{head}\r\n\r\n{body}\n").as_bytes());
        BUSY.fetch_sub(1, SeqCst);
        written.ok()?;
        if close {
            return None;
        }
    }
}
