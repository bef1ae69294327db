//! A child process: this program again, in another role. It ends at the latest when its parent does.

use std::{
    env, io,
    process::{self, Stdio},
    thread,
};

use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines},
    process::{Child as Process, ChildStdin, ChildStdout, Command},
};

/// Seen from the parent. Dropping it ends the process.
#[derive(Debug)]
pub struct Child {
    process: Process,
    lines: Lines<BufReader<ChildStdout>>,
    leash: ChildStdin,
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
        Ok(Self { process, lines: BufReader::new(stdout).lines(), leash })
    }

    /// The next line that it writes, `None` once it has ended.
    pub async fn line(&mut self) -> io::Result<Option<String>> {
        self.lines.next_line().await
    }

    /// Says a line to it.
    pub async fn say(&mut self, line: &str) -> io::Result<()> {
        self.leash.write_all(format!("{line}\n").as_bytes()).await
    }

    /// Ends the process, if it has not ended by itself, and waits until its memory is free again.
    pub async fn end(mut self) -> io::Result<()> {
        self.process.kill().await
    }
}

/// Called in the child: ends it when its parent ends.
pub fn end_with_parent() {
    listen_to_parent(|_| ());
}

/// Called in the child: hears the lines that the parent says, and ends the child when its standard input ends. The
/// system sees to that, however the parent ended.
pub fn listen_to_parent(mut hear: impl FnMut(&str) + Send + 'static) {
    thread::spawn(move || {
        io::stdin().lines().map_while(Result::ok).for_each(|line| hear(&line));
        process::exit(0);
    });
}
