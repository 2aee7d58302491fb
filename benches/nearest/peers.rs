//! The peers: a Python process that holds the same numbers and is told what to search.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use farout::bank::Rows;
use serde_json::{Value, json};

use super::data::Work;
use super::measure::Clock;

/// Relative error that a peer in single precision may have; it only must have searched the same.
const ALLOWED: f64 = 2e-2;

/// The process and what it can do.
pub struct Peers {
    child: Child,
    ask: ChildStdin,
    answers: BufReader<ChildStdout>,
    folder: PathBuf,
    /// Names of the peers that are there.
    pub present: Vec<String>,
    /// Version of each, or why it is absent.
    pub versions: BTreeMap<String, String>,
}

impl Peers {
    /// Starts `python` with the peers' script.
    pub fn start(python: &Path, folder: &Path, threads: usize, clock: Clock) -> Result<Peers> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/nearest/peers.py");
        let mut command = Command::new(python);
        for variable in ["OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"] {
            command.env(variable, threads.to_string());
        }
        let command = command.arg(script).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().with_context(|| format!("starting {}", python.display()))?;
        let (Some(ask), Some(out)) = (child.stdin.take(), child.stdout.take()) else {
            bail!("no pipes to Python")
        };
        let mut peers = Peers {
            child,
            ask,
            answers: BufReader::new(out),
            folder: folder.to_owned(),
            present: Vec::new(),
            versions: BTreeMap::new(),
        };
        let hello = peers.call(&json!({"do": "hello", "threads": threads, "clock": clock.name()}))?;
        peers.present = serde_json::from_value(hello["present"].clone())?;
        peers.versions = serde_json::from_value(hello["versions"].clone())?;
        Ok(peers)
    }

    fn call(&mut self, request: &Value) -> Result<Value> {
        writeln!(self.ask, "{request}")?;
        let mut line = String::new();
        ensure!(self.answers.read_line(&mut line)? > 0, "the peers' process ended, see above");
        let answer: Value = serde_json::from_str(&line)?;
        ensure!(answer["error"].is_null(), "peers: {}", answer["error"]);
        Ok(answer)
    }

    /// Hands over the bank of `work`.
    pub fn hold(&mut self, work: &Work) -> Result<()> {
        let path = self.folder.join("bank.f16");
        let Rows::F16(rows) = work.bank.features() else { bail!("the bench wants banks of f16") };
        std::fs::write(&path, bytemuck::cast_slice(rows))?;
        self.call(&json!({"do": "bank", "path": path, "c": work.bank.width()}))?;
        Ok(())
    }

    /// Seconds of `peer` for the last frame of `work`, the median of some rounds, after its distances were compared
    /// with ours.
    pub fn time(&mut self, peer: &str, work: &Work, k: usize, ours: &[f32], least: f64) -> Result<f64> {
        let (queries, means) = (self.folder.join("queries.f32"), self.folder.join("means.f32"));
        let frame = work.frames.last().context("no frame")?;
        std::fs::write(&queries, bytemuck::cast_slice(frame))?;
        let answer = self.call(&json!({
            "do": "search", "peer": peer, "path": queries, "means": means, "k": k, "least": least,
        }))?;
        let bytes = std::fs::read(&means)?;
        let theirs: Vec<f32> = bytes.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect();
        ensure!(theirs.len() == ours.len(), "{peer} answered {} of {} patches", theirs.len(), ours.len());
        let width = work.bank.width();
        for ((theirs, ours), query) in theirs.iter().zip(ours).zip(frame.chunks(width)) {
            // ||q||^2 - 2 q.r + ||r||^2 in f32 leaves an error of some 1e-7 ||q||^2 in the squared distance.
            let norm = query.iter().map(|x| x * x).sum::<f32>();
            let off = f64::from((theirs * theirs - ours * ours).abs() - 1e-5 * norm);
            ensure!(
                off <= ALLOWED * f64::from(ours * ours),
                "{peer} and farout disagree on {} data: {theirs} and {ours}",
                work.data
            );
        }
        answer["seconds"].as_f64().context("no seconds")
    }
}

impl Drop for Peers {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
