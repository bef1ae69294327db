//! Interleaved rounds: what disturbs the machine for a while disturbs every client.

use std::{net::SocketAddr, time::Duration};

use crate::{cost::Cost, drive::Task, entry::Entry, error::Result, workload::Workload};

/// How long and how often.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    pub rounds: usize,
    /// How long a run of the first client is to take; the others do as many messages.
    pub run: Duration,
}

/// A workload's figures, one for each client.
pub struct Row {
    pub workload: Workload,
    pub count: u64,
    pub cells: Vec<Cell>,
}

/// What became of a client in a workload.
pub enum Cell {
    /// Nanoseconds for each message, by the workload's statistic.
    Taken {
        cpu: f64,
        elapsed: f64,
    },
    Absent(&'static str),
    Failed(String),
}

/// Runs a workload: a round in which contents are checked, which is dropped, and then those that count.
pub async fn run(server: SocketAddr, entries: &[Entry], workload: Workload, plan: Plan) -> Result<Row> {
    let task = Task { workload, count: count(server, &entries[0], workload, plan).await?, checked: false };
    let mut runs: Vec<Result<Vec<Cost>, Cell>> = Vec::new();
    for entry in entries {
        runs.push(match entry.lacks(&workload) {
            Some(why) => Err(Cell::Absent(why)),
            None => entry.check(server, task).await.map(|()| Vec::new()).map_err(failed),
        });
    }
    for round in 0..workload.statistic().rounds(plan.rounds) {
        for turn in 0..entries.len() {
            let at = (round + turn) % entries.len();
            if let Ok(costs) = &mut runs[at] {
                match entries[at].measure(server, task).await {
                    Ok(cost) => costs.push(cost),
                    Err(error) => runs[at] = Err(failed(error)),
                }
            }
        }
    }
    let cells = runs.into_iter().map(|run| run.map_or_else(|cell| cell, |costs| taken(&costs, task)));
    Ok(Row { workload, count: task.count, cells: cells.collect() })
}

fn failed(error: impl ToString) -> Cell {
    Cell::Failed(error.to_string())
}

/// With how many messages a run of this client takes about as long as planned.
async fn count(server: SocketAddr, entry: &Entry, workload: Workload, plan: Plan) -> Result<u64> {
    let mut count = 64;
    loop {
        let elapsed = entry.measure(server, Task { workload, count, checked: false }).await?.elapsed;
        let scale = plan.run.as_secs_f64() / elapsed.as_secs_f64().max(1e-6);
        let next = (count as f64 * scale / 64.0).ceil().max(1.0) as u64 * 64;
        if scale < 4.0 {
            return Ok(next);
        }
        count = next.min(count * 16); // the first messages tell little of those after them
    }
}

fn taken(costs: &[Cost], task: Task) -> Cell {
    let statistic = task.workload.statistic();
    let figure =
        |of: fn(&Cost) -> Duration| statistic.of(costs.iter().map(of).collect()).as_nanos() as f64 / task.count as f64;
    Cell::Taken { cpu: figure(|cost| cost.cpu), elapsed: figure(|cost| cost.elapsed) }
}
