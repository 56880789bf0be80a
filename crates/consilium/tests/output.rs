//! Where what a command prints goes to.

use std::{
    fs::OpenOptions,
    process::{Command, Stdio},
};

fn version() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_consilium"));
    command.args(["peer", "version"]).stderr(Stdio::piped());
    command
}

#[test]
fn an_answer_that_cannot_be_written_is_a_failure_and_no_panic() {
    let full = OpenOptions::new().write(true).open("/dev/full");
    let command = version().stdout(full.expect("a device")).spawn();
    let output = command.expect("the program starts").wait_with_output();
    let output = output.expect("it ends");
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert!(error.starts_with("Error: cannot print: "), "{error}");
    assert_eq!(error.lines().count(), 1, "{error}");
}

#[test]
fn nobody_who_reads_is_no_failure() {
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let output = version().stdout(writer).spawn();
    let output = output.expect("the program starts").wait_with_output();
    let output = output.expect("it ends");
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(output.stderr.is_empty(), "{output:?}");
}
