//! What a person sees on a real terminal while a deployment runs, at three widths, and what Ctrl-C leaves.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use nix::pty::{Winsize, openpty};

use crate::support::images::web;
use crate::support::world::repository;
use crate::support::{Bundle, Image, world};

const ROWS: u16 = 60;

/// What turns while a step is under way.
const SPINS: &str = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏";

/// A terminal with a program on it.
struct Terminal {
    keys: File,
    path: String,
    parser: vt100::Parser,
    printed: Receiver<Vec<u8>>,
    child: Child,
}

impl Terminal {
    fn with(columns: u16, mut command: Command) -> Self {
        let size = Winsize { ws_row: ROWS, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        let pty = openpty(&size, None).unwrap();
        let path = nix::unistd::ttyname(&pty.slave).unwrap().to_str().unwrap().to_owned();
        let stdio = |fd: &OwnedFd| Stdio::from(fd.try_clone().unwrap());
        command.stdin(stdio(&pty.slave)).stdout(stdio(&pty.slave)).stderr(stdio(&pty.slave));
        let child = command.spawn().unwrap();
        // Only the child has the terminal: its end is an end.
        drop((pty.slave, command));
        let keys = File::from(pty.master);
        let (mut reader, (found, printed)) = (keys.try_clone().unwrap(), channel());
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(count @ 1..) = reader.read(&mut bytes) {
                let _ = found.send(bytes[..count].to_vec());
            }
        });
        Self { keys, path, parser: vt100::Parser::new(ROWS, columns, 0), printed, child }
    }

    fn is(&mut self, columns: u16) {
        let size = [columns.to_string(), ROWS.to_string()];
        let stty = Command::new("stty").args(["-F", &self.path, "cols", &size[0], "rows", &size[1]]).status().unwrap();
        assert!(stty.success());
        self.parser.screen_mut().set_size(ROWS, columns);
    }

    /// Reads on until the screen shows this, and shows the same for a second: what is read may end in the middle of a frame.
    fn shows(&mut self, what: impl Fn(&str) -> bool, steady: impl Fn(&str) -> String) -> String {
        let began = Instant::now();
        let mut last = (String::new(), began);
        loop {
            let screen = self.parser.screen().contents();
            let now = steady(&screen);
            if now != last.0 {
                last = (now, Instant::now());
            } else if what(&screen) && last.1.elapsed() > Duration::from_secs(1) {
                return screen;
            }
            assert!(began.elapsed() < Duration::from_secs(60), "it never came:\n{screen}");
            match self.printed.recv_timeout(Duration::from_millis(200)) {
                Ok(bytes) => self.parser.process(&bytes),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => panic!("it has ended:\n{screen}"),
            }
        }
    }

    /// To the program's end: its exit code.
    fn ends(&mut self) -> Option<i32> {
        while let Ok(bytes) = self.printed.recv_timeout(Duration::from_secs(60)) {
            self.parser.process(&bytes);
        }
        self.child.wait().unwrap().code()
    }

    /// The rows that go on in the next one, but for those of the log.
    fn wrapped(&self) -> Vec<String> {
        let screen = self.parser.screen();
        let (_, columns) = screen.size();
        let rows = screen.rows(0, columns).zip(0..ROWS);
        rows.filter(|(_, row)| screen.row_wrapped(*row)).map(|(text, _)| text).collect()
    }
}

/// A screen as it is each time: no times, digests, version or port; what was cut is cut earlier.
fn steady(screen: &str, port: u16) -> String {
    let mut out = String::new();
    let screen = screen.replace(&port.to_string(), "PORT").replace(env!("CARGO_PKG_VERSION"), "VERSION");
    for line in screen.lines() {
        let line: String = line.chars().map(|letter| if SPINS.contains(letter) { '⠿' } else { letter }).collect();
        let time = line.strip_suffix(" s").and_then(|line| line.rsplit_once(' '));
        let line = match (line.split_once('…'), time) {
            (Some((kept, _)), _) => kept.chars().take(25).chain(['…']).collect(),
            (None, Some((text, time))) if time.parse::<f64>().is_ok() => format!("{} TIME", text.trim_end()),
            (None, _) => line.trim_end().to_owned(),
        };
        let _ = writeln!(out, "{}", without_digests(&line));
    }
    out
}

fn without_digests(text: &str) -> String {
    let words = text.split(' ').map(|word| {
        let letters = word.trim_matches(|letter: char| !letter.is_ascii_hexdigit());
        let hex = letters.rsplit(':').next().unwrap_or_default();
        let is_digest = hex.len() == 12 && hex.bytes().all(|byte| byte.is_ascii_hexdigit());
        if is_digest { word.replace(hex, "DIGEST") } else { word.to_owned() }
    });
    words.collect::<Vec<_>>().join(" ")
}

#[test]
fn steps_tick_off_on_a_terminal_of_any_width_and_ctrl_c_undoes_them_and_leaves_it_clean() {
    let port = world().port();
    let options = format!("image: {{archive: image.tar}}\nports: [\"127.0.0.1:{port}:80\"]\nstop_grace_period: 1s");
    let mut bundle = Bundle::container("screen", &options, "health: {http: /healthz, timeout: 50s}");
    web("screen:1", "old").write_into(&bundle.path());
    bundle.hook("ApplicationStart").exits(0);
    Image::new("screen:2").script("exec sleep 600").write_into(&bundle.path());
    bundle.deployment("d-TEST00002");
    let path = bundle.path();
    let run = ["run", "ApplicationStart", "--appspec", path.to_str().unwrap()];

    let mut terminal = Terminal::with(40, bundle.on_terminal(&run));
    let mut screens = String::new();
    for columns in [40, 80, 200] {
        terminal.is(columns);
        // Drawn at this width: the time stands at its right end, or at column 100.
        let right = usize::from(columns.min(101) - 1);
        let is_wide = |line: &str| line.starts_with("⠿ check health") && line.chars().count() == right;
        let spun = |screen: &str| screen.replace(|letter| SPINS.contains(letter), "⠿");
        let screen = terminal.shows(|screen| spun(screen).lines().any(is_wide), |screen| steady(screen, port));
        assert_eq!(terminal.wrapped(), Vec::<String>::new(), "at {columns}:\n{screen}");
        let _ = writeln!(screens, "--- {columns} columns\n{}", steady(&screen, port));
    }
    terminal.is(80);
    terminal.keys.write_all(b"\x03").unwrap();

    assert_eq!(terminal.ends(), Some(12));
    let screen = terminal.parser.screen();
    let contents = screen.contents();
    let (steps, report) = contents.split_once("ApplicationStart of screen failed at step").unwrap();
    let _ = write!(screens, "--- after Ctrl-C\n{}", steady(steps, port));
    assert!(report.contains("old container: screen (") && report.contains(" is back after "), "{report}");
    let (row, column) = screen.cursor_position();
    let last = screen.rows(0, 80).take(usize::from(row)).last().unwrap_or_default();
    assert!(last.contains("(exit code 12)") && column == 0 && !screen.hide_cursor(), "{}", screen.contents());
    assert_eq!(screen.fgcolor(), vt100::Color::Default);
    assert_eq!(screen.cell(row - 1, 0).unwrap().fgcolor(), vt100::Color::Idx(1), "what failed is red");
    let golden = repository().join("tests/golden/screen.txt");
    if std::env::var_os("BALEHOOK_GOLDEN").is_some() {
        std::fs::write(&golden, &screens).unwrap();
    }
    assert_eq!(screens, std::fs::read_to_string(golden).unwrap_or_default());
    assert_eq!(world().get(port, "/").as_deref(), Some("old"));
}
