//! A web server on port 80 with persistent connections that ends well: after SIGTERM each connection's next answer is its
//! last. Compiled by the tests into a static program for an image.
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

static ENDING: AtomicBool = AtomicBool::new(false);
static OPEN: AtomicUsize = AtomicUsize::new(0);

extern "C" fn end(_: i32) {
    ENDING.store(true, Ordering::SeqCst);
}

unsafe extern "C" {
    fn signal(number: i32, handler: extern "C" fn(i32)) -> usize;
}

fn main() {
    unsafe { signal(15, end) };
    let listener = TcpListener::bind("0.0.0.0:80").unwrap();
    listener.set_nonblocking(true).unwrap();
    let mut ended_at = None;
    loop {
        match listener.accept() {
            Ok((stream, _)) => {
                OPEN.fetch_add(1, Ordering::SeqCst);
                std::thread::spawn(move || {
                    let _ = serve(stream);
                    OPEN.fetch_sub(1, Ordering::SeqCst);
                });
            }
            Err(_) => std::thread::sleep(Duration::from_millis(1)),
        }
        if ENDING.load(Ordering::SeqCst) {
            let since = *ended_at.get_or_insert_with(Instant::now);
            // New connections are served for a moment longer: a client that got this address before may still come.
            if since.elapsed() > Duration::from_millis(500) && OPEN.load(Ordering::SeqCst) == 0 {
                return;
            }
        }
    }
}

fn serve(stream: std::net::TcpStream) -> std::io::Result<()> {
    stream.set_nonblocking(false)?;
    stream.set_nodelay(true)?;
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut stream = stream;
    let version = std::env::var("VERSION").unwrap_or_default();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(());
        }
        while line != "\r\n" {
            line.clear();
            if reader.read_line(&mut line)? == 0 {
                return Ok(());
            }
        }
        let last = ENDING.load(Ordering::SeqCst);
        let connection = if last { "close" } else { "keep-alive" };
        let length = version.len();
        let answer = format!("HTTP/1.1 200 OK\r\nConnection: {connection}\r\nContent-Length: {length}\r\n\r\n{version}");
        stream.write_all(answer.as_bytes())?;
        if last {
            return Ok(());
        }
    }
}
