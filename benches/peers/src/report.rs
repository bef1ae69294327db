//! The report in Markdown: a table of CPU time and one of elapsed time for each family.

use std::fmt::{self, Write as _};

use crate::{
    entry::Entry,
    machine,
    rounds::{Cell, Plan, Row},
    workload::Family,
};

/// Below this ratio a client counts as ahead.
const AHEAD: f64 = 0.9;

pub struct Report {
    pub machine: String,
    pub entries: Vec<Entry>,
    pub plan: Plan,
    pub command: String,
    pub rows: Vec<Row>,
}

/// Which of the two figures of a cell.
type Figure = fn(&Cell) -> Option<f64>;

const TABLES: [(&str, Figure); 2] = [("CPU of the client", Cell::cpu), ("elapsed", Cell::elapsed)];

impl Cell {
    pub fn cpu(&self) -> Option<f64> {
        if let Self::Taken { cpu, .. } = self { Some(*cpu) } else { None }
    }

    pub fn elapsed(&self) -> Option<f64> {
        if let Self::Taken { elapsed, .. } = self { Some(*elapsed) } else { None }
    }
}

impl Row {
    /// Its name where rows of several families stand in one table.
    fn name(&self) -> String {
        format!("{}{}", self.workload.family.short(), self.workload)
    }

    /// A client's figure, and how often it holds that of the first one.
    pub fn ratio(&self, at: usize, figure: Figure) -> Option<(f64, f64)> {
        let (of_first, of_client) = (figure(&self.cells[0])?, figure(&self.cells[at])?);
        Some((of_client, of_client / of_first))
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.head(f)?;
        let mut notes = Notes::default();
        for family in Family::ALL {
            let rows: Vec<&Row> = self.rows.iter().filter(|row| row.workload.family == family).collect();
            if !rows.is_empty() {
                writeln!(f, "\n## {}", family.title())?;
                for (name, figure) in TABLES {
                    self.table(f, name, figure, &rows, false, &mut notes)?;
                }
            }
        }
        write!(f, "{notes}")?;
        self.how(f)?;
        self.ahead(f)
    }
}

/// The rows of the summary: what most users do, and where others are ahead.
const SUMMARY: [&str; 10] = [
    "receive, binary, 16 B",
    "receive, binary, 1 KiB",
    "receive, binary, 256 KiB",
    "receive, text, 64 B",
    "receive, text, 1 KiB, not ASCII",
    "feed all, flush once, 64 B",
    "send, 64 B, a flush each",
    "send, 1 MiB, a shared payload",
    "by reference, receive 16 B",
    "round trip, 64 B, one at a time",
];

/// Between these lines a page shows the summary.
const BEGIN: &str = "<!-- benches/peers: begin -->\n";
const END: &str = "<!-- benches/peers: end -->\n";

impl Report {
    /// The page with the summary in the place that is marked for it.
    pub fn put_summary_into(&self, page: &str) -> Result<String, String> {
        let place = page.split_once(BEGIN).and_then(|(before, rest)| Some((before, rest.split_once(END)?.1)));
        let (before, after) = place.ok_or_else(|| format!("no place for the summary: {BEGIN:?} and {END:?}"))?;
        let mut summary = String::new();
        self.summary(&mut summary).map_err(|error| error.to_string())?;
        Ok(format!("{before}{BEGIN}{summary}{END}{after}"))
    }

    /// CPU time of a few rows, and where and with what it was taken.
    fn summary(&self, f: &mut impl fmt::Write) -> fmt::Result {
        let is_shown = |row: &&Row| SUMMARY.contains(&row.name().as_str());
        let rows: Vec<&Row> = self.rows.iter().filter(is_shown).collect();
        let (name, figure) = TABLES[0];
        let mut notes = Notes::default();
        self.table(f, name, figure, &rows, true, &mut notes)?;
        writeln!(f, "{notes}")?;
        self.circumstances(f)
    }

    fn circumstances(&self, f: &mut impl fmt::Write) -> fmt::Result {
        writeln!(f, "{}; {}.\n", self.machine, machine::date())?;
        let versions = self.entries.iter().filter_map(|entry| {
            let name = entry.about.name;
            Some(format!("{name} {}", machine::version(name)?))
        });
        writeln!(f, "{}.\n", versions.collect::<Vec<_>>().join(", "))?;
        writeln!(f, "`{}`", self.command)
    }

    fn head(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let first = self.entries[0].about.name;
        writeln!(f, "# Beside other clients\n")?;
        writeln!(
            f,
            "Nanoseconds for each message, and in brackets how often that holds the time of {first}: medians of {} \
             interleaved rounds, if nothing\nelse is said, runs of about {} ms of {first}, all clients with the same \
             number of messages, against the same cheap server over loopback TCP.\nThe client has core 0 and one \
             thread, the server is a process on core 1. **Bold**: more than 10 % ahead of {first}.\n",
            self.plan.rounds,
            self.plan.run.as_millis()
        )?;
        self.circumstances(f)
    }

    /// `is_mixed`: the rows are of several families, which they then name.
    fn table(
        &self,
        f: &mut impl fmt::Write,
        name: &str,
        figure: Figure,
        rows: &[&Row],
        is_mixed: bool,
        notes: &mut Notes,
    ) -> fmt::Result {
        let names: Vec<&str> = self.entries.iter().map(|entry| entry.about.name).collect();
        writeln!(f, "\n| {name} | {} |", names.join(" | "))?;
        writeln!(f, "|---|{}", "---|".repeat(names.len()))?;
        for row in rows {
            let mark = row.workload.statistic().note().map(|note| notes.mark(note)).unwrap_or_default();
            let cells = (0..self.entries.len()).map(|at| self.cell(row, at, figure, notes));
            let name = if is_mixed { row.name() } else { row.workload.to_string() };
            let cells = cells.collect::<Vec<_>>().join(" | ");
            writeln!(f, "| {name}{mark} | {cells} |")?;
        }
        Ok(())
    }

    fn cell(&self, row: &Row, at: usize, figure: Figure, notes: &mut Notes) -> String {
        let text = match &row.cells[at] {
            Cell::Absent(why) => return format!("-{}", notes.mark(why)),
            Cell::Failed(why) => return format!("failed: {}", why.replace('|', "/")),
            cell => nanoseconds(figure(cell).unwrap_or_default()),
        };
        match row.ratio(at, figure) {
            Some((_, ratio)) if at > 0 && self.is_ahead(at, ratio) => format!("**{text} ({ratio:.2})**"),
            Some((_, ratio)) if at > 0 => format!("{text} ({ratio:.2})"),
            _ => text,
        }
    }

    /// raw does less than a client has to, so that it cannot be ahead of one.
    fn is_ahead(&self, at: usize, ratio: f64) -> bool {
        ratio < AHEAD && self.entries[at].is_client
    }

    fn how(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "\n## How each is driven\n")?;
        writeln!(
            f,
            "All begin on a transport that one piece of code has upgraded. Each receives and feeds in loops of its own, \
             as a user's program does.\nEvery message received is counted with its bytes and its kind; in a round before \
             those that count,\nclient and server compare every payload, and text that is not UTF-8 has to be \
             refused.\nA fresh payload is allocated and filled within the time. What is freed stays in the heap that all \
             share, since\nwhat it costs to give memory back and to fetch it again depends on who allocated what \
             before.\n"
        )?;
        for entry in &self.entries {
            writeln!(f, "* {}: {}", entry.about.name, entry.about.how)?;
        }
        Ok(())
    }

    fn ahead(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let first = self.entries[0].about.name;
        writeln!(f)?;
        for (name, figure) in TABLES {
            let ratios = self
                .rows
                .iter()
                .flat_map(|row| (1..self.entries.len()).filter_map(move |at| Some((at, row.ratio(at, figure)?.1))));
            let ratios: Vec<_> = ratios.filter(|(at, _)| self.entries[*at].is_client).collect();
            let ahead = ratios.iter().filter(|(at, ratio)| self.is_ahead(*at, *ratio)).count();
            writeln!(f, "More than 10 % ahead of {first}, {name}: {ahead} of {} cells.", ratios.len())?;
        }
        Ok(())
    }
}

fn nanoseconds(time: f64) -> String {
    if time < 100.0 { format!("{time:.1}") } else { format!("{time:.0}") }
}

/// Footnotes, each said once.
#[derive(Default)]
struct Notes(Vec<&'static str>);

impl Notes {
    fn mark(&mut self, note: &'static str) -> String {
        let at = self.0.iter().position(|known| *known == note).unwrap_or_else(|| {
            self.0.push(note);
            self.0.len() - 1
        });
        format!(" ({})", at + 1)
    }
}

impl fmt::Display for Notes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut lines = String::new();
        for (at, note) in self.0.iter().enumerate() {
            writeln!(lines, "\n({}) {note}.", at + 1)?;
        }
        f.write_str(&lines)
    }
}
