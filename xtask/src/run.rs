//! Running other programs.

use std::{
    io::Write,
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};

/// Runs `command` with its output shown.
///
/// # Errors
/// It cannot be started, or does not succeed.
pub fn run(command: &mut Command) -> anyhow::Result<()> {
    let text = show(command);
    println!("$ {text}");
    std::io::stdout().flush()?;
    let status = command
        .status()
        .with_context(|| format!("cannot start `{text}`"))?;
    if !status.success() {
        bail!("`{text}` ended with {status}");
    }
    Ok(())
}

/// A command from a program and its arguments.
pub fn command<'a>(program: &str, args: impl IntoIterator<Item = &'a str>) -> Command {
    let mut command = Command::new(program);
    command.args(args);
    command
}

/// Whether `program` can be started with `args` and succeeds, silently.
pub fn succeeds(program: &str, args: &[&str]) -> bool {
    Command::new(program)
        .args(args)
        .output()
        .is_ok_and(|output| output.status.success())
}

/// What `program` prints on stdout.
pub fn output(program: &str, args: &[&str]) -> Option<String> {
    let output = Command::new(program).args(args).output().ok()?;
    output
        .status
        .success()
        .then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// What `program` prints on stdout when it runs in `folder`.
///
/// # Errors
/// It cannot be started, or does not succeed.
pub fn output_in(folder: &str, program: &str, args: &[&str]) -> anyhow::Result<String> {
    let mut asked = command(program, args.iter().copied());
    let output = asked.current_dir(folder).output();
    let output = output.with_context(|| format!("cannot start `{program}`"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!(
            "`{program}` in {folder} ended with {}: {said}",
            output.status
        );
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Runs a stage under a heading and says how long it took.
///
/// # Errors
/// Those of the stage.
pub fn stage<T>(name: &str, work: impl FnOnce() -> anyhow::Result<T>) -> anyhow::Result<T> {
    println!("\n== {name}");
    let started = Instant::now();
    let result = work().with_context(|| format!("stage `{name}` failed"))?;
    println!("== {name}: done in {}", seconds(started.elapsed()));
    Ok(result)
}

fn seconds(duration: Duration) -> String {
    format!(
        "{} min {:02} s",
        duration.as_secs() / 60,
        duration.as_secs() % 60
    )
}

fn show(command: &Command) -> String {
    let mut text = command.get_program().to_string_lossy().into_owned();
    for arg in command.get_args() {
        text.push(' ');
        text.push_str(&arg.to_string_lossy());
    }
    text
}
