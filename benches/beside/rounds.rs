//! Peers by turns: each does the same work in every round, so that what
//! disturbs one disturbs the others. Medians of the rounds are shown, and of
//! the rounds' ratios.

use crate::load::{self, Call, Outcome};
use crate::server::Server;

/// Makes the calls of a round, by number.
pub(crate) type Make<'a> = Box<dyn Fn(usize) -> Call + 'a>;

/// Who does the work.
pub(crate) struct Peer<'a> {
    /// Whose CPU time is counted; none for an S3 server without anything before it.
    pub(crate) server: Option<&'a Server>,
    pub(crate) make: Make<'a>,
}

/// What one peer needed in one round.
#[derive(Clone, Copy)]
pub(crate) struct Turn {
    /// Megabytes a second, in the direction of the work.
    pub(crate) rate: f64,
    /// CPU milliseconds of the server for a call.
    pub(crate) cpu: f64,
    /// Half of the calls had their first byte, in milliseconds.
    pub(crate) first_byte: f64,
}

/// What each peer needed: by peers, then by rounds.
pub(crate) async fn by_turns(peers: &[Peer<'_>], rounds: usize, work: Work) -> Vec<Vec<Turn>> {
    let mut turns = vec![Vec::new(); peers.len()];
    // What has not been touched yet is not what is asked about.
    for peer in peers {
        load::run(1, warm_up_calls(work), &peer.make).await;
    }
    for _ in 0..rounds {
        for (peer, turns) in peers.iter().zip(&mut turns) {
            turns.push(turn(peer, work).await);
        }
    }
    turns
}

/// What each peer does before the first round: nothing where one call lasts
/// long enough for its beginning not to matter.
pub(crate) fn warm_up_calls(work: Work) -> usize {
    if work.calls > 1 { 2 } else { 0 }
}

/// What is done in a round.
#[derive(Clone, Copy)]
pub(crate) struct Work {
    pub(crate) clients: usize,
    pub(crate) calls: usize,
    /// Bytes of each call.
    pub(crate) bytes: u64,
}

async fn turn(peer: &Peer<'_>, work: Work) -> Turn {
    let cpu = peer.server.map(Server::cpu).unwrap_or_default();
    let Outcome {
        seconds,
        first_byte,
        ..
    } = load::run(work.clients, work.calls, &peer.make).await;
    let cpu = peer.server.map(Server::cpu).unwrap_or_default() - cpu;
    Turn {
        rate: work.bytes as f64 * work.calls as f64 / seconds / 1e6,
        cpu: cpu * 1000.0 / work.calls as f64,
        first_byte: first_byte[first_byte.len() / 2],
    }
}

/// The median of a figure over the rounds.
pub(crate) fn median_of(turns: &[Turn], figure: fn(&Turn) -> f64) -> f64 {
    median(turns.iter().map(figure))
}

/// The median of the ratios of the rounds.
pub(crate) fn ratio_of(one: &[Turn], other: &[Turn], figure: fn(&Turn) -> f64) -> f64 {
    median(
        one.iter()
            .zip(other)
            .map(|(one, other)| figure(one) / figure(other)),
    )
}

pub(crate) fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut sorted: Vec<f64> = values.collect();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}
