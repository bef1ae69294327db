//! What the benches of two clients are asked on the command line.

use std::{fs, path::PathBuf};

use clap::{Parser, Subcommand};

use crate::error::Result;

/// Measures wsflow beside tokio-tungstenite, and prints tables in Markdown
#[derive(Parser)]
pub struct Args {
    /// Rounds, in which the clients take turns
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// One short round, to see that all works
    #[arg(long)]
    pub quick: bool,
    /// Only rows of which table and name contain this, as "receive 64 B"
    #[arg(long, default_value = "")]
    only: String,
    /// Writes the tables to this file rather than to the terminal
    #[arg(long)]
    markdown: Option<PathBuf>,
    #[command(subcommand)]
    pub role: Option<Role>,
}

#[derive(Subcommand)]
pub enum Role {
    /// Be the server; what it has to know are its arguments.
    #[command(hide = true)]
    Serve {
        #[arg(allow_hyphen_values = true)] // as PEM begins with
        knowledge: Vec<String>,
    },
}

/// The argument that makes a binary the server.
pub const SERVE: &str = "serve";

impl Args {
    pub fn rounds(&self) -> usize {
        if self.quick { 1 } else { self.rounds.max(1) }
    }

    /// Whether a row is to be measured.
    pub fn asks_for(&self, table: &str, row: &str) -> bool {
        format!("{table} {row}").to_lowercase().contains(&self.only.to_lowercase())
    }

    pub fn publish(&self, page: &str) -> Result<()> {
        match &self.markdown {
            Some(file) => fs::write(file, page)?,
            None => print!("{page}"),
        }
        Ok(())
    }
}
