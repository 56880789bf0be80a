//! Running a builder's programs: a small environment, a process group of their own, no orphans.

use super::ExternalBuilder;
use super::output::{self, LastWords, Speaker};
use rustix::process::{Pid, Signal, kill_process_group};
use std::io;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;

/// What every program sees of the peer's environment.
/// fabric: core/container/externalbuilder/externalbuilder.go DefaultPropagateEnvironment
const ALWAYS_PROPAGATED: [&str; 4] = ["LD_LIBRARY_PATH", "LIBPATH", "PATH", "TMPDIR"];

/// How long what a program said last may be on its way after it ended.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// How long the system may take to end what it was told to kill.
const KILLING: Duration = Duration::from_secs(5);

/// A program that was started, with the processes that it started in turn, as far as they stay in its
/// process group. Dropped, all of them are killed.
#[derive(Debug)]
pub(crate) struct Running {
    child: Child,
    group: Option<Pid>,
    outputs: Vec<JoinHandle<()>>,
    last: LastWords,
}

impl Running {
    /// Starts `bin/<program>` of a builder for a chaincode.
    pub(crate) fn start(
        builder: &ExternalBuilder,
        program: &'static str,
        arguments: &[&Path],
        chaincode: &str,
    ) -> io::Result<Self> {
        let propagated = ALWAYS_PROPAGATED
            .into_iter()
            .chain(builder.propagate_environment.iter().map(String::as_str))
            .filter_map(|name| Some((name, std::env::var_os(name)?)));
        let mut child = Command::new(builder.path.join("bin").join(program))
            .args(arguments)
            .env_clear()
            .envs(propagated)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true)
            .spawn()?;
        let speaker = Speaker {
            builder: builder.name.clone(),
            command: program,
            chaincode: chaincode.to_owned(),
        };
        let last = LastWords::default();
        let mut outputs = Vec::new();
        if let Some(stdout) = child.stdout.take() {
            let logging = output::log(stdout, speaker.clone(), last.clone());
            outputs.push(tokio::spawn(logging));
        }
        if let Some(stderr) = child.stderr.take() {
            outputs.push(tokio::spawn(output::log(stderr, speaker, last.clone())));
        }
        let id = child.id().and_then(|id| i32::try_from(id).ok());
        Ok(Self {
            child,
            group: id.and_then(Pid::from_raw),
            outputs,
            last,
        })
    }

    /// Waits for the program's end, which is the end of its process group too. May be asked again.
    pub(crate) async fn wait(&mut self) -> io::Result<ExitStatus> {
        let status = self.child.wait().await;
        self.kill_group();
        for mut output in self.outputs.drain(..) {
            // A process that left the group may hold the pipe for ever.
            if tokio::time::timeout(LAST_WORDS, &mut output).await.is_err() {
                output.abort();
            }
        }
        status
    }

    /// Asks the program to end, and makes it end when it has not done so after `patience`.
    pub(crate) async fn stop(mut self, patience: Duration) {
        self.signal(Signal::TERM);
        if tokio::time::timeout(patience, self.wait()).await.is_err() {
            self.signal(Signal::KILL);
            // It is killed; only a process stuck in the kernel takes longer, and is left to it.
            let _ = tokio::time::timeout(KILLING, self.wait()).await;
        }
    }

    /// The last lines that it said, after a colon, or nothing.
    pub(crate) fn last_words(&self) -> String {
        self.last.text()
    }

    fn signal(&self, signal: Signal) {
        if let Some(group) = self.group {
            // Nobody is left in the group: what was wanted.
            let _ = kill_process_group(group, signal);
        }
    }

    fn kill_group(&mut self) {
        self.signal(Signal::KILL);
        // Once its last member is gone, the number may mean another group.
        self.group = None;
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill_group();
    }
}

/// How a program ended.
pub(crate) fn exit_text(status: io::Result<ExitStatus>) -> String {
    use std::os::unix::process::ExitStatusExt;
    match status {
        Ok(status) => match (status.code(), status.signal()) {
            (Some(code), _) => format!("exit status {code}"),
            (None, Some(signal)) => format!("signal {signal}"),
            (None, None) => status.to_string(),
        },
        Err(error) => error.to_string(),
    }
}
