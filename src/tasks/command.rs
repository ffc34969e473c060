//! A command of a task on the host.

use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::io::AsyncReadExt as _;
use tokio::net::unix::pipe::Receiver;
use tokio::process::{Child, Command};

use crate::config::hook_env::HookEnv;
use crate::error::{Failure, Kind};
use crate::tasks::operation::HostCommand;
use crate::tasks::{Output, failed, too_long};
use crate::values::types::{EnvVar, Secret};

/// Between SIGTERM and SIGKILL.
const LAST_WISH: Duration = Duration::from_millis(500);

/// A command under way, with everything that it started in its process group. Dropped, all of that is killed.
pub struct Group {
    child: Child,
    id: Pid,
    said: Receiver,
}

impl Group {
    fn signal(&self, signal: Option<Signal>) -> bool {
        killpg(self.id, signal).is_ok()
    }

    /// Reads what it says until the process ends. Somebody whom it left behind may hold the pipe open: of that only what
    /// is in it by then.
    async fn follow(&mut self, output: &mut Output<'_>) -> io::Result<ExitStatus> {
        let mut buffer = vec![0; 16 * 1024];
        let status = loop {
            tokio::select! {
                biased;
                read = self.said.read(&mut buffer) => match read? {
                    0 => return self.child.wait().await,
                    count => output.take(&buffer[..count]),
                },
                status = self.child.wait() => break status,
            }
        };
        while let Ok(count @ 1..) = self.said.try_read(&mut buffer) {
            output.take(&buffer[..count]);
        }
        status
    }

    /// SIGTERM, and SIGKILL half a second later to what is left.
    pub async fn end(mut self, output: &mut Output<'_>) {
        self.signal(Some(Signal::SIGTERM));
        let _ = tokio::time::timeout(LAST_WISH, async {
            // Its last words are heard: a write to a closed pipe would kill it.
            let _ = self.follow(output).await;
            while self.signal(None) {
                tokio::time::sleep(LAST_WISH / 50).await;
            }
        })
        .await;
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.signal(Some(Signal::SIGKILL));
    }
}

/// A command on the host, to its end. It stays in `under_way` when this future is dropped.
///
/// # Errors
/// [`Kind::Task`]: it cannot be started, ends with another exit code than 0, or takes too long.
pub async fn command(
    under_way: &mut Option<Group>,
    task: &str,
    command: &HostCommand,
    env: &HookEnv,
    limit: Duration,
) -> Result<(), Failure> {
    let process = process(command, env).map_err(|error| not_started(task, command, &error))?;
    run(under_way, task, process, limit).await.map_err(|error| not_started(task, command, &error))?
}

/// A process to its end, in a group of its own and without standard input. It stays in `under_way` when this future is
/// dropped.
///
/// # Errors
/// It cannot be started; or, inside, [`Kind::Task`]: it ends with another exit code than 0, or takes too long.
pub async fn run(
    under_way: &mut Option<Group>,
    task: &str,
    process: Command,
    limit: Duration,
) -> io::Result<Result<(), Failure>> {
    let group = start(process)?;
    let group = under_way.insert(group);
    let mut output = Output::new(task);
    let ended = tokio::time::timeout(limit, group.follow(&mut output)).await;
    // What it left running would keep the agent waiting, or live on beside the next release.
    if let Some(group) = under_way.take() {
        group.end(&mut output).await;
    }
    Ok(match ended {
        Err(_) => Err(failed(task, &too_long(limit), output)),
        Ok(Err(error)) => Err(failed(task, &format!("is lost: {error}"), output)),
        Ok(Ok(status)) if status.success() => Ok(()),
        Ok(Ok(status)) => Err(failed(task, &how(status), output)),
    })
}

fn how(status: ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt as _;
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("ended with exit code {code}"),
        (None, Some(signal)) => format!("was ended by signal {signal}"),
        (None, None) => "ended".into(),
    }
}

/// In a group of its own, without standard input, and one pipe for what it says, in order.
fn start(mut process: Command) -> io::Result<Group> {
    let (reader, writer) = io::pipe()?;
    process.process_group(0).stdin(Stdio::null()).stdout(writer.try_clone()?).stderr(writer);
    let said = Receiver::from_owned_fd(reader.into())?;
    let child = process.spawn()?;
    drop(process); // it holds the writers
    let id = child.id().and_then(|id| i32::try_from(id).ok()).unwrap_or(i32::MAX);
    Ok(Group { child, id: Pid::from_raw(id), said })
}

/// The program with its arguments and variables.
fn process(command: &HostCommand, env: &HookEnv) -> io::Result<Command> {
    let folder = Path::new(&command.folder);
    let Some((program, arguments)) = command.words.split_first() else {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it names no program"));
    };
    if Path::new(program).starts_with(folder) {
        make_executable(Path::new(program));
    }
    let mut process = Command::new(program);
    process.args(arguments).current_dir(folder).env_clear().envs(env.vars());
    set(&mut process, &command.environment);
    Ok(process)
}

/// Variables of a task.
pub fn set(process: &mut Command, environment: &[EnvVar]) {
    for EnvVar { name, value, .. } in environment {
        match value.as_ref().map(Secret::reveal) {
            Some(value) => process.env(name, value),
            None => process.env_remove(name),
        };
    }
}

/// The agent makes hooks executable, and nothing else of a bundle.
fn make_executable(path: &Path) {
    let Ok(meta) = std::fs::metadata(path) else { return };
    let mode = meta.permissions().mode();
    if mode & 0o111 == 0 {
        let _ = std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode | 0o100));
    }
}

fn not_started(task: &str, command: &HostCommand, error: &io::Error) -> Failure {
    let failure = Failure::new(Kind::Task, format!("task {task}: {command} cannot be started: {error}"));
    let program = command.words.first().map(String::as_str).unwrap_or_default();
    match error.kind() {
        // ENOEXEC
        _ if error.raw_os_error() == Some(8) => {
            failure.next("its first line must name its interpreter: #!/bin/sh; or it is built for another processor")
        }
        io::ErrorKind::NotFound if Path::new(program).exists() => {
            failure.next("the interpreter that its first line names is not on this host")
        }
        io::ErrorKind::NotFound => failure.next("is it installed, and on the hook's PATH?"),
        _ => failure.next("may the hook's user run it, and is its file system mounted noexec?"),
    }
}
