//! The figures as JSON, as a table, and nothing else.

use std::collections::BTreeMap;

use serde::Serialize;

/// Everything of one run.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Processor and number of threads.
    pub machine: String,
    /// Threads of ours and of the peers.
    pub threads: usize,
    /// What seconds are: `wall`, or `processor` time of all threads.
    pub clock: &'static str,
    /// Version of each peer, or why it is absent.
    pub peers: BTreeMap<String, String>,
    /// Multiply-adds per second that this machine was measured to reach, by instruction.
    pub peaks: BTreeMap<String, f64>,
    /// One per backend and problem.
    pub rows: Vec<Row>,
}

/// One backend on one problem.
#[derive(Debug, Serialize)]
pub struct Row {
    /// What the engine calls itself.
    pub backend: String,
    /// `gaussian`, `dinov2`, `vit-ti`, `effvit` or `video`.
    pub data: String,
    /// Reference features.
    pub n: usize,
    /// Numbers per feature.
    pub c: usize,
    /// Patches of a frame.
    pub t: usize,
    /// Neighbours.
    pub k: usize,
    /// Per frame.
    pub seconds: f64,
    /// From the bank to an engine that can search.
    pub open_seconds: f64,
    /// Seconds of each peer on the same frames, divided by ours.
    pub ratio: BTreeMap<String, f64>,
    /// Multiply-adds per second that brute force would need for this time, as a share of the machine's peak for the
    /// engine's instruction; above 1 where rows need not be looked at. Absent for an instruction that is not measured.
    pub peak_fraction: Option<f64>,
    /// Against double precision, beyond an allowance of 1e-6 of the query's norm.
    pub max_rel_error: f64,
}

/// The heading of the table.
pub fn heading(peers: &[String]) -> String {
    let mut line = format!(
        "{:<34} {:<9} {:>8} {:>4} {:>5} {:>3} {:>10}",
        "backend", "data", "N", "C", "T", "k", "ms/frame"
    );
    peers.iter().for_each(|peer| line += &format!(" {:>8}", format!("x {peer}")));
    line + &format!(" {:>6} {:>9}", "peak", "error")
}

impl Row {
    /// A line of the table.
    pub fn line(&self, peers: &[String]) -> String {
        let Row { backend, data, n, c, t, k, seconds, .. } = self;
        let mut line = format!("{backend:<34} {data:<9} {n:>8} {c:>4} {t:>5} {k:>3} {:>10.2}", seconds * 1e3);
        for peer in peers {
            line += &self.ratio.get(peer).map_or(format!(" {:>8}", "-"), |ratio| format!(" {ratio:>8.2}"));
        }
        let peak = self.peak_fraction.map_or("-".to_owned(), |p| format!("{p:.2}"));
        line + &format!(" {peak:>6} {:>9.1e}", self.max_rel_error)
    }
}
