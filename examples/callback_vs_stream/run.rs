//! One of the four runs: its name, and the process that carries it out.

use std::{
    fmt,
    io::{self, Write},
    process::ExitCode,
    sync::atomic::AtomicU64,
    time::Duration,
};

use clap::ValueEnum;
use tokio::{
    task,
    time::{Instant, MissedTickBehavior, interval},
};

use crate::{
    args::Args,
    memory,
    meter::Meter,
    outcome::{End, Line, Outcome},
    pace::Pace,
    receive, send,
    tick::{Prompt, Ticks},
};

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Run {
    ReceiveByCallback,
    ReceiveByStream,
    SendByCallback,
    SendByStream,
}

impl Run {
    pub const ALL: [Self; 4] =
        [Self::ReceiveByCallback, Self::ReceiveByStream, Self::SendByCallback, Self::SendByStream];

    /// What a person calls it.
    pub fn title(self) -> &'static str {
        match self {
            Self::ReceiveByCallback => "receive, event API",
            Self::ReceiveByStream => "receive, stream",
            Self::SendByCallback => "send, event API",
            Self::SendByStream => "send, stream",
        }
    }

    pub fn is_callback(self) -> bool {
        matches!(self, Self::ReceiveByCallback | Self::SendByCallback)
    }

    pub fn receives(self) -> bool {
        matches!(self, Self::ReceiveByCallback | Self::ReceiveByStream)
    }
}

/// Its name on the command line.
impl fmt::Display for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.to_possible_value().map_or(Ok(()), |value| f.write_str(value.get_name()))
    }
}

/// Carries the run out until its end and reports on standard output.
pub async fn carry_out(run: Run, echo: bool, args: &Args) -> ExitCode {
    let Some(url) = args.url.clone().map(String::from) else {
        report(&Line::Failure("a run needs --url".into()));
        return ExitCode::FAILURE;
    };
    let meter = Meter::default();
    let ticks = Ticks::new(args.message_size);
    let prompt = if echo { Prompt::echoed(ticks.clone()) } else { Prompt::nothing() };
    let consumer = Pace::new(AtomicU64::new(args.pace).into());
    let start = Instant::now();

    let work = {
        let meter = meter.clone();
        task::spawn(async move {
            match run {
                Run::ReceiveByCallback => receive::by_callback(&url, prompt, consumer, meter).await,
                Run::ReceiveByStream => receive::by_stream(&url, prompt, consumer, meter).await,
                Run::SendByCallback => send::by_callback(&url, ticks, meter).await,
                Run::SendByStream => send::by_stream(&url, ticks, meter).await,
            }
        })
    };
    let end = tokio::select! {
        end = watch(&meter, start, args) => Ok(end),
        worked = work => match worked {
            Ok(Ok(())) => Ok(End::Closed),
            Ok(Err(error)) => Err(error.to_string()),
            Err(error) => Err(error.to_string()),
        },
    };
    match end {
        Ok(end) => {
            let last = meter.sample(start.elapsed());
            let (peak_waiting, peak_memory) = (meter.peak().max(last.waiting), memory::peak());
            report(&Line::Outcome(Outcome { end, last, peak_waiting, peak_memory }));
            ExitCode::SUCCESS
        }
        Err(message) => {
            report(&Line::Failure(message));
            ExitCode::FAILURE
        }
    }
}

/// A report that cannot be written has no reader any more, and this process has not long to live.
fn report(line: &Line) {
    let _ = writeln!(io::stdout(), "{line}");
}

/// Reports a sample now and then, until the time is over or too much waits.
async fn watch(meter: &Meter, start: Instant, args: &Args) -> End {
    let between = (args.duration() / 200).clamp(Duration::from_millis(5), Duration::from_millis(250));
    let mut looks = interval(LOOK);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut next = Duration::ZERO;
    loop {
        looks.tick().await;
        let sample = meter.sample(start.elapsed());
        if sample.time >= next {
            report(&Line::Sample(sample));
            next = sample.time + between;
        }
        if sample.waiting > args.ceiling {
            return End::Ceiling;
        }
        if sample.time >= args.duration() {
            return End::Time;
        }
    }
}

/// How often the ceiling is looked at: a queue that grows by 1 GB/s passes it by 5 MB.
const LOOK: Duration = Duration::from_millis(5);
