//! A server of a test's own that answers as it is told, and counts.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A web server with one status for each request: the last one for ever.
pub struct Answers {
    port: u16,
    asked: Arc<AtomicUsize>,
}

impl Answers {
    /// On a listener that was opened where the asking program runs.
    pub fn on(listener: TcpListener, statuses: Vec<u16>) -> Self {
        let answers = Self { port: listener.local_addr().unwrap().port(), asked: Arc::default() };
        let asked = answers.asked.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let status = statuses[asked.fetch_add(1, Ordering::SeqCst).min(statuses.len() - 1)];
                // Who asks may be gone already.
                let lines = BufReader::new(&stream).lines().map_while(Result::ok);
                let _ = lines.take_while(|line| !line.is_empty()).count();
                let _ = write!(stream, "HTTP/1.1 {status} Said\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
            }
        });
        answers
    }

    /// Good and bad by turns, `times` of each, and good from then on: there are never two good ones in a row before.
    pub fn flapping(listener: TcpListener, times: usize) -> Self {
        let by_turns = std::iter::repeat_n([200, 503], times).flatten();
        Self::on(listener, by_turns.chain([200]).collect())
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}/", self.port)
    }

    pub fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}
