//! A page of tables in Markdown, which begins with where and with what its figures were taken.

use std::fmt::Write as _;

use crate::{machine, pair};

pub struct Page {
    text: String,
}

impl Page {
    /// `machine`: what the machine says before this process is pinned to one of its cores.
    pub fn new(title: &str, about: &str, machine: &str) -> Self {
        let packages = pair::NAMES.iter().chain(&["rustls"]).filter_map(|name| Some((name, machine::version(name)?)));
        let packages: Vec<String> = packages.map(|(name, version)| format!("{name} {version}")).collect();
        let (date, command) = (machine::date(), machine::command());
        let text = format!("# {title}\n\n{about}\n\n{machine}; {date}.\n\n{}.\n\n`{command}`\n", packages.join(", "));
        Self { text }
    }

    /// Nothing, if there are no rows.
    pub fn table(&mut self, title: &str, head: &[&str], rows: &[Vec<String>]) {
        if rows.is_empty() {
            return;
        }
        let line = |cells: &[String]| format!("| {} |", cells.join(" | "));
        let head: Vec<String> = head.iter().map(ToString::to_string).collect();
        let lines: Vec<String> = rows.iter().map(|row| line(row)).collect();
        let rule = "|---".repeat(head.len());
        self.text += &format!("\n## {title}\n\n{}\n{rule}|\n{}\n", line(&head), lines.join("\n"));
    }

    pub fn paragraph(&mut self, text: &str) {
        _ = writeln!(self.text, "\n{text}");
    }

    pub fn as_str(&self) -> &str {
        &self.text
    }
}

/// Three digits that count.
pub fn figure(value: f64) -> String {
    match value.abs() {
        0.0..10.0 => format!("{value:.2}"),
        10.0..100.0 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;
const GIB: usize = 1 << 30;

pub fn size(bytes: usize) -> String {
    match bytes {
        ..KIB => format!("{bytes} B"),
        KIB..MIB => format!("{} KiB", bytes / KIB),
        MIB..GIB => format!("{} MiB", bytes / MIB),
        _ => format!("{} GiB", bytes / GIB),
    }
}
