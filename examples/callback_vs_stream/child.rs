//! A child process: this program again, in another role. It ends at the latest when its parent does.

use std::{
    env,
    io::{self, Read},
    process::{self, Stdio},
    thread,
};

use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    process::{Child as Process, ChildStdin, ChildStdout, Command},
};

/// Seen from the parent. Dropping it ends the process.
#[derive(Debug)]
pub struct Child {
    process: Process,
    lines: Lines<BufReader<ChildStdout>>,
    _leash: ChildStdin,
}

impl Child {
    pub fn start(args: impl IntoIterator<Item = String>) -> io::Result<Self> {
        let mut process = Command::new(env::current_exe()?)
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let (Some(leash), Some(stdout)) = (process.stdin.take(), process.stdout.take()) else {
            return Err(io::Error::other("a child process without pipes"));
        };
        Ok(Self { process, lines: BufReader::new(stdout).lines(), _leash: leash })
    }

    /// The next line that it writes, `None` once it has ended.
    pub async fn line(&mut self) -> io::Result<Option<String>> {
        self.lines.next_line().await
    }

    /// Ends the process, if it has not ended by itself, and waits until its memory is free again.
    pub async fn end(mut self) -> io::Result<()> {
        self.process.kill().await
    }
}

/// Called in the child: ends it when its standard input does, and that the system sees to, however the parent ended.
pub fn end_with_parent() {
    thread::spawn(|| {
        let mut byte = [0];
        while matches!(io::stdin().read(&mut byte), Ok(1..)) {}
        process::exit(0);
    });
}
