//! What the server is asked to do on a connection; it stands in the path of the request.

use std::{fmt, str::FromStr};

use crate::payload::Content;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Job {
    /// Send so many messages.
    Pour { content: Content, size: usize, count: u64 },
    /// Take so many bytes without a look at them, then answer.
    Drain { bytes: u64 },
    /// Take so many messages and check each, then answer.
    Inspect { size: usize, count: u64 },
    /// Send each message back.
    Echo,
}

/// What the server sends after all has come.
pub const ANSWER: &[u8] = b"ok";

impl fmt::Display for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pour { content, size, count } => write!(f, "/pour/{content}/{size}/{count}"),
            Self::Drain { bytes } => write!(f, "/drain/{bytes}"),
            Self::Inspect { size, count } => write!(f, "/inspect/{size}/{count}"),
            Self::Echo => f.write_str("/echo"),
        }
    }
}

impl FromStr for Job {
    type Err = String;

    fn from_str(path: &str) -> Result<Self, String> {
        let parts: Vec<&str> = path.split('/').skip(1).collect();
        match parts[..] {
            ["pour", content, size, count] => {
                Ok(Self::Pour { content: content.parse()?, size: number(size)?, count: number(count)? })
            }
            ["drain", bytes] => Ok(Self::Drain { bytes: number(bytes)? }),
            ["inspect", size, count] => Ok(Self::Inspect { size: number(size)?, count: number(count)? }),
            ["echo"] => Ok(Self::Echo),
            _ => Err(format!("no such job: {path}")),
        }
    }
}

fn number<T: FromStr>(text: &str) -> Result<T, String> {
    text.parse().map_err(|_| format!("not a number: {text}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_is_read_as_it_was_written() {
        for job in [
            Job::Pour { content: Content::Mixed, size: 16, count: 3 },
            Job::Drain { bytes: 1 << 40 },
            Job::Inspect { size: 64, count: 5 },
            Job::Echo,
        ] {
            assert_eq!(job.to_string().parse(), Ok(job));
        }
        assert!("/nothing".parse::<Job>().is_err());
    }
}
