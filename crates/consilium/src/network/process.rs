//! The processes of a local network: start, find, stop.

use std::{
    fs::{self, File},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::Context;

/// A node that runs as a process of its own: log in `logs/<name>.log`, process id in `run/<name>.pid`.
#[derive(Clone, Debug)]
pub struct Process {
    dir: PathBuf,
    /// For example `peer0.hospital.example`.
    pub name: String,
}

impl Process {
    /// The process `name` of the network in `dir`.
    pub fn new(dir: &Path, name: &str) -> Self {
        Self {
            dir: dir.to_owned(),
            name: name.to_owned(),
        }
    }

    fn pid_file(&self) -> PathBuf {
        self.dir.join("run").join(format!("{}.pid", self.name))
    }

    /// Its log.
    pub fn log_file(&self) -> PathBuf {
        self.dir.join("logs").join(format!("{}.log", self.name))
    }

    /// Starts this program again with `args`, detached from the terminal. Does nothing when it
    /// already runs.
    ///
    /// # Errors
    /// The program cannot be started, or the network's folder cannot be written.
    pub fn start(&self, args: &[String]) -> anyhow::Result<u32> {
        if let Some(pid) = self.pid() {
            return Ok(pid);
        }
        fs::create_dir_all(self.dir.join("run"))?;
        fs::create_dir_all(self.dir.join("logs"))?;
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.log_file())
            .with_context(|| format!("cannot write {}", self.log_file().display()))?;
        let program = std::env::current_exe().context("cannot find the consilium program")?;
        let mut command = Command::new(program);
        crate::config::without_variables(&mut command);
        let child = command
            .args(args)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .process_group(0)
            .spawn()
            .with_context(|| format!("cannot start {}", self.name))?;
        let pid = child.id();
        let started = start_time(pid).unwrap_or_default();
        fs::write(self.pid_file(), format!("{pid} {started}"))?;
        // Reaps the child when it ends while we live; otherwise init does.
        thread::spawn(move || {
            let mut child = child;
            child.wait()
        });
        Ok(pid)
    }

    /// Its process id while it runs. A number that now belongs to another process does not count.
    pub fn pid(&self) -> Option<u32> {
        let text = fs::read_to_string(self.pid_file()).ok()?;
        let (pid, started) = text.trim().split_once(' ')?;
        let pid = pid.parse().ok()?;
        (start_time(pid).as_deref() == Some(started)).then_some(pid)
    }

    /// Sends a signal by name (`TERM`, `KILL`) and waits until the process is gone; after 20 seconds
    /// it is killed.
    ///
    /// # Errors
    /// The signal cannot be sent.
    pub fn stop(&self, signal: &str) -> anyhow::Result<bool> {
        let Some(pid) = self.pid() else {
            let _ = fs::remove_file(self.pid_file());
            return Ok(false);
        };
        send(signal, pid)?;
        let deadline = Instant::now() + Duration::from_secs(20);
        while self.pid().is_some() {
            if Instant::now() > deadline {
                send("KILL", pid)?;
            }
            thread::sleep(Duration::from_millis(20));
        }
        let _ = fs::remove_file(self.pid_file());
        Ok(true)
    }

    /// Sends a signal by name, if the process runs.
    ///
    /// # Errors
    /// The signal cannot be sent.
    pub fn signal(&self, signal: &str) -> anyhow::Result<()> {
        self.pid().map_or(Ok(()), |pid| send(signal, pid))
    }

    /// The last lines of the log.
    pub fn log_tail(&self, lines: usize) -> String {
        let text = fs::read_to_string(self.log_file()).unwrap_or_default();
        let all: Vec<_> = text.lines().collect();
        all[all.len().saturating_sub(lines)..].join("\n")
    }
}

fn send(signal: &str, pid: u32) -> anyhow::Result<()> {
    Command::new("kill")
        .args(["-s", signal, &pid.to_string()])
        .stderr(Stdio::null())
        .status()
        .context("cannot run kill")?;
    Ok(())
}

/// Start time of a live (not defunct) process in clock ticks since boot: with the id it names a
/// process for good. Fields as in proc(5), `/proc/<pid>/stat`.
fn start_time(pid: u32) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let rest = &stat[stat.rfind(')')? + 2..];
    let fields: Vec<_> = rest.split(' ').collect();
    (*fields.first()? != "Z").then(|| fields.get(19).map(ToString::to_string))?
}
