//! Following a container to its end, and running a command inside one. Both last as long as what runs: the caller
//! bounds them.

use bollard::container::LogOutput;
use bollard::exec::{CreateExecOptions, StartExecOptions, StartExecResults};
use bollard::query_parameters as query;
use bytes::Bytes;
use futures_util::{Stream, StreamExt as _};

use crate::engine::Engine;
use crate::engine::call::{CallError, Limit};

/// The output of a command that is kept, in bytes.
const KEPT: usize = 200;

impl Engine {
    /// The output of a container from now on, as it comes; the stream ends with the container, or where it breaks.
    pub(crate) async fn attach(&self, container: &str) -> Result<impl Stream<Item = Bytes> + use<>, CallError> {
        let options = query::AttachContainerOptionsBuilder::default().stream(true).stdout(true).stderr(true).build();
        let asked = self.docker.attach_container(container, Some(options));
        let attached = self.answer(Limit::Change, &format!("docker attach {container}"), asked).await?;
        let output = attached.output.take_while(|chunk| std::future::ready(chunk.is_ok()));
        Ok(output.filter_map(|chunk| std::future::ready(chunk.ok().map(LogOutput::into_bytes))))
    }

    /// Waits until a container has ended, or is gone. How it ended its inspection says.
    pub(crate) async fn wait(&self, container: &str) {
        let mut wait = std::pin::pin!(self.docker.wait_container(container, None));
        while wait.next().await.is_some() {}
    }

    /// Runs a command inside a container to its end: its exit code, and the first bytes of what it printed.
    pub(crate) async fn exec(&self, container: &str, command: &[String]) -> Result<(Option<i64>, String), CallError> {
        let options = CreateExecOptions {
            cmd: Some(command.to_vec()),
            attach_stdout: Some(true),
            attach_stderr: Some(true),
            ..Default::default()
        };
        let call = format!("docker exec {container} {}", command.join(" "));
        let exec = self.answer(Limit::Change, &call, self.docker.create_exec(container, options)).await?.id;
        let asked = self.docker.start_exec(&exec, None::<StartExecOptions>);
        let printed = match self.answer(Limit::Change, &call, asked).await? {
            StartExecResults::Attached { output, .. } => first_bytes(output).await,
            StartExecResults::Detached => String::new(),
        };
        let ended = self.answer(Limit::Question, &call, self.docker.inspect_exec(&exec)).await?;
        Ok((ended.exit_code, printed))
    }
}

/// Reads to the end, so that the command is not held up, and keeps the beginning.
async fn first_bytes<E>(mut output: impl Stream<Item = Result<LogOutput, E>> + Unpin) -> String {
    let mut text = String::new();
    while let Some(Ok(chunk)) = output.next().await {
        if text.len() < KEPT {
            text.push_str(&chunk.to_string());
        }
    }
    text.truncate(text.floor_char_boundary(KEPT));
    text
}
