//! An engine of another host by ssh, as docker's CLI asks it: `docker system dial-stdio` there.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bollard::BollardRequest;
use bollard::errors::Error;
use http::Response;
use http::uri::Authority;
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;

use crate::engine::bounded::{Bounded, Left};
use crate::engine::dial::{unusable, with_host};
use crate::engine::endpoint::{Lookup, host};
use crate::process::{Complaints, Program};
use crate::values::types::EnvVar;

/// The client's own name.
const SSH: &str = "ssh";

/// It is not asked for a passphrase or a new host's key: nobody could answer. It gives up before our own limits do.
const OPTIONS: [&str; 5] = ["-o", "BatchMode=yes", "-o", "ConnectTimeout=8", "-T"];

/// What ssh and the programs of its own `config` (`ProxyCommand aws ssm start-session …`) may need of our environment.
const VARIABLES: [&str; 13] = [
    "PATH", "HOME", "USER", "LOGNAME", "SSH_AUTH_SOCK", "AWS_PROFILE", "AWS_REGION", "AWS_DEFAULT_REGION",
    "AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
];

/// How long ssh may take to end once its connection is closed.
const ENDING: Duration = Duration::from_secs(1);

/// The most of what it says, in letters.
const WORDS: usize = 300;

const NEXT: &str = "does `ssh HOST docker version`, with the same user and port, answer without a question?";

/// The body of a request, as bollard sends it.
type Sender = SendRequest<<BollardRequest as IntoBody>::Body>;

trait IntoBody {
    type Body;
}

impl<B> IntoBody for http::Request<B> {
    type Body = B;
}

#[derive(Debug, Clone)]
pub(crate) struct Ssh {
    user: Option<String>,
    host: String,
    port: Option<u16>,
    /// The engine's socket there, where it is another one.
    socket: Option<String>,
    /// What it is given of our environment.
    pub(super) variables: Vec<EnvVar>,
    /// Connections whose last answer is read: a new one costs a login.
    idle: Idle,
}

#[derive(Clone, Default)]
struct Idle(Arc<Mutex<Vec<Open>>>);

struct Open {
    sender: Sender,
    left: Left,
}

impl std::fmt::Debug for Idle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Idle")
    }
}

impl Ssh {
    /// Reads what stands behind `ssh://`: `user@host:port/path/to/docker.sock`, of which the host must be there. `None` for
    /// anything else, also with a password.
    pub(super) fn parse(rest: &str, variables: Lookup<'_>) -> Option<Self> {
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (user, server) = authority.rsplit_once('@').map_or((None, authority), |(user, host)| (Some(user), host));
        let is_plain = |text: &str| !text.contains(|letter: char| letter.is_whitespace() || "?#:".contains(letter));
        let parsed: Authority = authority.parse().ok()?;
        let is_port = parsed.port().is_some_and(|port| server == format!("{}:{port}", parsed.host()));
        let is_host = !host(&parsed).is_empty() && (server == parsed.host() || is_port);
        let is_good = is_host && is_plain(path) && user.iter().all(|user| !user.is_empty() && is_plain(user));
        let socket = Some(format!("/{path}")).filter(|path| path != "/");
        is_good.then(|| Self {
            user: user.map(str::to_owned),
            host: host(&parsed).to_owned(),
            port: parsed.port_u16(),
            socket,
            variables: VARIABLES
                .iter()
                .filter_map(|name| Some(super::endpoint::variable(name, variables(name)?)))
                .collect(),
            idle: Idle::default(),
        })
    }

    /// The arguments of ssh.
    fn arguments(&self) -> Vec<String> {
        let mut all: Vec<String> = OPTIONS.map(str::to_owned).to_vec();
        all.extend(self.user.iter().flat_map(|user| ["-l".to_owned(), user.clone()]));
        all.extend(self.port.iter().flat_map(|port| ["-p".to_owned(), port.to_string()]));
        all.extend(["--", &self.host, "docker"].map(str::to_owned));
        all.extend(self.socket.iter().flat_map(|path| ["--host".to_owned(), format!("unix://{path}")]));
        all.extend(["system", "dial-stdio"].map(str::to_owned));
        all
    }

    /// Sends a request, and returns the answer once its head is there.
    pub(super) async fn exchange(&self, request: BollardRequest) -> Result<Response<Incoming>, Error> {
        // The connections themselves find out first that an answer was read to its end.
        tokio::task::yield_now().await;
        if let Some(open) = self.idle.get() {
            open.left.again(request.uri().path());
            return self.send(open, request).await.map_err(Error::from);
        }
        let (open, complaints) = self.open(request.uri().path()).await?;
        match self.send(open, request).await {
            Ok(answer) => Ok(answer),
            Err(error) => Err(match complaints.all(ENDING, WORDS).await {
                words if words.is_empty() => error.into(),
                words => unusable(format!("{SSH}: {words}"), NEXT),
            }),
        }
    }

    async fn open(&self, path: &str) -> Result<(Open, Complaints), Error> {
        let program = Program::new(SSH).args(self.arguments()).variables(&self.variables);
        let started = program.talk();
        let (talk, complaints) = started.map_err(|error| unusable(error.to_string(), "install OpenSSH's client"))?;
        let left = Left::of(path);
        let (sender, connection) = handshake(TokioIo::new(Bounded { stream: talk, left: left.clone() })).await?;
        tokio::spawn(connection.with_upgrades());
        Ok((Open { sender, left }, complaints))
    }

    async fn send(&self, mut open: Open, request: BollardRequest) -> Result<Response<Incoming>, hyper::Error> {
        let answer = open.sender.send_request(with_host(request)).await?;
        self.idle.put(open);
        Ok(answer)
    }
}

impl Idle {
    /// One whose last answer was read to its end.
    fn get(&self) -> Option<Open> {
        let mut all = self.0.lock().ok()?;
        all.retain(|open| !open.sender.is_closed());
        let at = all.iter().position(|open| open.sender.is_ready())?;
        Some(all.swap_remove(at))
    }

    fn put(&self, open: Open) {
        if let Ok(mut all) = self.0.lock() {
            all.push(open);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn arguments(rest: &str) -> Option<String> {
        let lookup = |name: &str| ["HOME", "SSH_AUTH_SOCK"].contains(&name).then(|| "/x".to_owned());
        let ssh = Ssh::parse(rest, &lookup)?;
        assert_eq!(ssh.variables.iter().map(|it| it.name.as_str()).collect::<Vec<_>>(), ["HOME", "SSH_AUTH_SOCK"]);
        Some(ssh.arguments()[OPTIONS.len()..].join(" "))
    }

    #[test]
    fn ssh_is_called_as_dockers_cli_calls_it_and_no_part_of_an_address_becomes_an_option() {
        let said = |rest: &str| arguments(rest).unwrap();
        assert_eq!(said("web.test"), "-- web.test docker system dial-stdio");
        assert_eq!(said("ec2-user@10.0.0.5:2222/"), "-l ec2-user -p 2222 -- 10.0.0.5 docker system dial-stdio");
        assert_eq!(said("[::1]:22"), "-p 22 -- ::1 docker system dial-stdio");
        let rootless = said("me@web/run/user/1000/docker.sock");
        assert_eq!(rootless, "-l me -- web docker --host unix:///run/user/1000/docker.sock system dial-stdio");
        assert_eq!(said("-oProxyCommand=x"), "-- -oProxyCommand=x docker system dial-stdio");
        for bad in ["", "@web", "me:secret@web", "web:port", "web/a b", "web/x?y", "a b"] {
            assert_eq!(arguments(bad), None, "{bad}");
        }
    }
}
