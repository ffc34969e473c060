//! A command of a task on the host.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::ExitStatus;
use std::time::Duration;

use crate::config::hook_env::HookEnv;
use crate::error::{Failure, Kind};
use crate::process::{Pipes, ProcessError, Program, Running};
use crate::tasks::operation::HostCommand;
use crate::tasks::{Output, failed, too_long};

/// A command under way, with everything that it started in its process group. Dropped, all of that is killed.
pub(crate) struct Group(Running);

impl Group {
    /// SIGTERM, and SIGKILL half a second later to what is left.
    pub(crate) async fn end(self, output: &mut Output<'_>) {
        self.0.end(&mut |_, bytes| output.take(bytes)).await;
    }
}

/// A command on the host, to its end. It stays in `under_way` when this future is dropped.
/// Errors: [`Kind::Task`]: it cannot be started, ends with another exit code than 0, or takes too long.
pub(crate) async fn command(
    under_way: &mut Option<Group>,
    task: &str,
    command: &HostCommand,
    env: &HookEnv,
    limit: Duration,
) -> Result<(), Failure> {
    let Some(program) = program(command, env) else {
        return Err(Failure::new(Kind::Task, format!("task {task} names no program")));
    };
    run(under_way, task, program, limit).await.map_err(|error| not_started(task, command, &error))?
}

/// A program to its end, without standard input. It stays in `under_way` when this future is dropped.
/// Errors: It cannot be started; or, inside, [`Kind::Task`]: it ends with another exit code than 0, or takes too long.
pub(crate) async fn run(
    under_way: &mut Option<Group>,
    task: &str,
    program: Program,
    limit: Duration,
) -> Result<Result<(), Failure>, ProcessError> {
    let Group(running) = under_way.insert(Group(program.start(Pipes::One)?));
    let mut output = Output::new(task);
    let ended = running.follow(limit, &mut |_, bytes: &[u8]| output.take(bytes)).await;
    // What it left running would keep the agent waiting, or live on beside the next release.
    if let Some(group) = under_way.take() {
        group.end(&mut output).await;
    }
    Ok(match ended {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(failed(task, &how(status), output)),
        Err(ProcessError::TimeUp { limit, .. }) => Err(failed(task, &too_long(limit), output)),
        Err(error) => Err(failed(task, &format!("failed: {error}"), output)),
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

/// The program with its arguments and variables; `None` where it has no name.
fn program(command: &HostCommand, env: &HookEnv) -> Option<Program> {
    let folder = Path::new(&command.folder);
    let (program, arguments) = command.words.split_first()?;
    if Path::new(program).starts_with(folder) {
        make_executable(Path::new(program));
    }
    let program = Program::new(program).args(arguments).folder(folder);
    Some(program.envs(env.vars()).variables(&command.environment))
}

/// The agent makes hooks executable, and nothing else of a bundle.
fn make_executable(path: &Path) {
    let Ok(meta) = std::fs::metadata(path) else { return };
    let mode = meta.permissions().mode();
    if mode & 0o111 == 0 {
        let _ = std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode | 0o100));
    }
}

fn not_started(task: &str, command: &HostCommand, error: &ProcessError) -> Failure {
    let ProcessError::NotStarted { why, next, .. } = error else { return error.failure(Kind::Task) };
    Failure::new(Kind::Task, format!("task {task}: {command} cannot be started: {why}")).next(*next)
}
