//! Rounds in which two clients take turns, so that what disturbs the machine for a while disturbs both.

use crate::error::Result;

/// What the rounds of each client gave. Who begins changes from round to round.
pub fn take<T>(rounds: usize, clients: [impl Fn() -> Result<T>; 2]) -> Result<[Vec<T>; 2]> {
    let mut taken = [Vec::new(), Vec::new()];
    for round in 0..rounds {
        for turn in 0..2 {
            let at = (round + turn) % 2;
            taken[at].push(clients[at]()?);
        }
    }
    Ok(taken)
}

/// The median of a figure.
pub fn median<T>(runs: &[T], figure: impl Fn(&T) -> f64) -> f64 {
    let mut figures: Vec<f64> = runs.iter().map(figure).collect();
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}
