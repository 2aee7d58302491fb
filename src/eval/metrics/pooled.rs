//! All pixels of a data set in one list, in bounded memory: sorted runs are merged, and what does not
//! fit goes to the scratch folder.

use std::io;
use std::sync::Arc;

use rayon::prelude::*;

use super::conventions::{Conventions, Reader};
use super::counts::{CountError, Counts};
use super::curve::{AtThreshold, Curve, CurveBuilder, Histogram};
use super::detection::{Detection, Judge};
use super::key::{Kind, Score};
use super::risk::{Risk, RiskReport};
use super::run::{Run, RunWriter};
use super::scratch::{Limits, ScratchError, free_bytes, spill};
use super::walk::{Part, Step, walk};

/// Pixels that are sorted at once.
const PIECE: usize = 1 << 21;
/// Runs are merged when there are more, even if they would fit.
const MOST_RUNS: usize = 512;
/// Scores outside the middle of both classes do not widen a histogram; each outer part has this share.
const OUTER: f64 = 0.001;

/// Why pixels cannot be pooled.
#[derive(Debug, thiserror::Error)]
pub enum PooledError {
    /// The scores are none.
    #[error(transparent)]
    Count(#[from] CountError),
    /// f32 and f64 scores in one list would tie differently.
    #[error("scores of 32 and of 64 bits cannot be pooled; give all of them in one format")]
    Mixed,
    /// No room for what does not fit into memory.
    #[error(transparent)]
    Scratch(#[from] ScratchError),
    /// What was spilled cannot be read back.
    #[error("cannot read the spilled scores back from {folder}: {source}", folder = folder.display())]
    ReadBack {
        /// The scratch folder.
        folder: std::path::PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// What a walk over all pixels gives.
#[derive(Debug, Clone, PartialEq)]
pub struct Overview {
    /// The metrics.
    pub detection: Detection,
    /// Operating points.
    pub curve: Curve,
    /// Scores by class.
    pub histogram: Histogram,
}

/// Pixels of many images as one list.
#[derive(Debug, Default)]
pub struct Pooled {
    limits: Limits,
    kind: Option<Kind>,
    normal: Vec<Run>,
    anomaly: Vec<Run>,
    /// Bytes of the runs that lie in memory.
    memory: usize,
    spilled_runs: usize,
    spilled_bytes: u64,
    normal_pixels: u64,
    anomaly_pixels: u64,
}

impl Pooled {
    /// An empty list.
    pub fn new(limits: Limits) -> Pooled {
        Pooled { limits, ..Pooled::default() }
    }

    /// Adds pixels: scores and labels as [`Counts::of`] takes them, sorted on all cores.
    ///
    /// # Errors
    /// [`PooledError`]; nothing is added if the scores are at fault.
    pub fn add<S: Score + Into<f64>>(&mut self, scores: &[S], labels: &[u8]) -> Result<(), PooledError> {
        if scores.len() != labels.len() {
            return Err(CountError::Lengths { scores: scores.len(), labels: labels.len() }.into());
        }
        let pieces = scores.par_chunks(PIECE).zip(labels.par_chunks(PIECE));
        let counted: Result<Vec<Counts>, CountError> =
            pieces.map(|(scores, labels)| Counts::of(scores, labels)).collect();
        let counted = match counted {
            Ok(counted) => counted,
            // The position is told for the whole, not for the piece.
            Err(_) => vec![Counts::of(scores, labels)?],
        };
        counted.into_iter().try_for_each(|counts| self.push(counts))
    }

    /// Adds the pixels of an image.
    ///
    /// # Errors
    /// [`PooledError`]: numbers of another kind, or no room.
    pub fn push(&mut self, counts: Counts) -> Result<(), PooledError> {
        if *self.kind.get_or_insert(counts.kind) != counts.kind {
            return Err(PooledError::Mixed);
        }
        self.normal_pixels += counts.normal.pixels;
        self.anomaly_pixels += counts.anomaly.pixels;
        self.take(counts.normal, counts.anomaly);
        let runs = self.normal.len() + self.anomaly.len() - self.spilled_runs;
        if self.memory > self.limits.memory_bytes || runs > MOST_RUNS {
            self.compact()?;
        }
        Ok(())
    }

    fn take(&mut self, normal: Run, anomaly: Run) {
        self.memory += normal.memory() + anomaly.memory();
        self.normal.extend((normal.pairs > 0).then_some(normal));
        self.anomaly.extend((anomaly.pairs > 0).then_some(anomaly));
    }

    /// Merges the runs in memory, and spills them if that does not help enough.
    fn compact(&mut self) -> Result<(), PooledError> {
        let (mut normal, mut anomaly) = (RunWriter::default(), RunWriter::default());
        let in_memory = |run: &&Run| run.memory() > 0;
        let walked =
            walk(self.normal.iter().filter(in_memory), self.anomaly.iter().filter(in_memory), |step| {
                if step.normal > 0 {
                    normal.push(step.key, step.normal);
                }
                if step.anomaly > 0 {
                    anomaly.push(step.key, step.anomaly);
                }
            });
        walked.map_err(|source| self.read_back(source))?;
        self.normal.retain(|run| run.memory() == 0);
        self.anomaly.retain(|run| run.memory() == 0);
        self.memory = 0;
        let (normal, anomaly) = (normal.finish(), anomaly.finish());
        if normal.memory() + anomaly.memory() <= self.limits.memory_bytes / 2 {
            self.take(normal, anomaly);
            return Ok(());
        }
        let bytes = normal.bytes().len() as u64 + anomaly.bytes().len() as u64;
        self.announce(bytes);
        let file = Arc::new(spill(&self.limits.scratch, &[normal.bytes(), anomaly.bytes()])?);
        let start = normal.bytes().len() as u64;
        self.spilled_bytes += bytes;
        for (run, start, runs) in [(normal, 0, &mut self.normal), (anomaly, start, &mut self.anomaly)] {
            if run.pairs > 0 {
                runs.push(run.moved_to(&file, start));
                self.spilled_runs += 1;
            }
        }
        Ok(())
    }

    /// Tells, once, where scores go and how much room they may take.
    fn announce(&self, bytes: u64) {
        if self.spilled_bytes > 0 {
            return;
        }
        let folder = self.limits.scratch.display();
        let free = free_bytes(&self.limits.scratch).unwrap_or(0) >> 20;
        let pixels = self.pixels();
        let in_all = match self.limits.expected_pixels {
            Some(all) if all >= pixels => {
                format!("about {} MiB in all", (bytes as f64 * all as f64 / pixels as f64) as u64 >> 20)
            }
            _ => "more may follow".to_owned(),
        };
        let memory = self.limits.memory_bytes >> 20;
        tracing::info!(
            "the scores do not fit into {memory} MiB: {} MiB go to a nameless file in {folder}, {in_all}; {free} MiB are free there",
            bytes >> 20
        );
    }

    /// Pixels so far, void left out.
    pub fn pixels(&self) -> u64 {
        self.normal_pixels + self.anomaly_pixels
    }

    /// Normal pixels so far.
    pub fn normal(&self) -> u64 {
        self.normal_pixels
    }

    /// Anomalous pixels so far.
    pub fn anomaly(&self) -> u64 {
        self.anomaly_pixels
    }

    /// Bytes that went to the scratch folder so far.
    pub fn spilled_bytes(&self) -> u64 {
        self.spilled_bytes
    }

    /// The metrics of all pixels so far; `None` without an anomalous or without a normal one.
    ///
    /// # Errors
    /// If what was spilled cannot be read back.
    pub fn detection(&self) -> Result<Option<Detection>, PooledError> {
        let Some(judge) = self.judge() else { return Ok(None) };
        let begin = |fp, tp| judge.clone().after(fp, tp);
        let parts = self.walk_in_parts(begin, |judge, step| judge.step(step))?;
        Ok(Some(joined(judge, parts)))
    }

    /// Metrics, curve and a histogram of `bins` bins.
    ///
    /// # Errors
    /// As [`Pooled::detection`].
    pub fn overview(&self, bins: usize) -> Result<Option<Overview>, PooledError> {
        let Some(judge) = self.judge() else { return Ok(None) };
        let (kind, normal, anomaly) = (self.kind(), self.normal_pixels, self.anomaly_pixels);
        let begin = |fp, tp| {
            let curve = CurveBuilder::new(kind, normal, anomaly).after(fp, tp);
            (judge.clone().after(fp, tp), curve, [Middle::new(normal, fp), Middle::new(anomaly, tp)])
        };
        let parts = self.walk_in_parts(begin, |(judge, curve, middle), step| {
            judge.step(step);
            curve.step(step);
            middle[0].step(step.key, step.normal);
            middle[1].step(step.key, step.anomaly);
        })?;
        let mut curve = Curve { normal, anomaly, points: Vec::new() };
        let (mut ends, mut judges) = (Vec::new(), Vec::new());
        for (judge, part, middle) in parts {
            judges.push(judge);
            curve.points.extend(part.finish().points);
            ends.extend(middle.iter().flat_map(|middle| [middle.high, middle.low]).flatten());
        }
        let score = |key: Option<&u64>| kind.score(key.copied().unwrap_or(0));
        // The highest score has the lowest key.
        let (low, high) = (score(ends.iter().max()), score(ends.iter().min()));
        let empty = Histogram::new(low, high, bins);
        let parts = self.walk_in_parts(
            |_, _| empty.clone(),
            |part, step| part.add(kind.score(step.key), step.normal, step.anomaly),
        )?;
        let mut histogram = empty;
        parts.iter().for_each(|part| histogram.join(part));
        Ok(Some(Overview { detection: joined(judge, judges), curve, histogram }))
    }

    /// What comes out at each of `thresholds`.
    ///
    /// # Errors
    /// As [`Pooled::detection`].
    pub fn at(&self, thresholds: &[f64]) -> Result<Vec<AtThreshold>, PooledError> {
        let above: Vec<u64> = thresholds.iter().map(|t| self.kind().keys_above(*t)).collect();
        let mut counts = vec![(0, 0); thresholds.len()];
        self.walk(|step| {
            for ((tp, fp), above) in counts.iter_mut().zip(&above) {
                if step.key < *above {
                    (*tp, *fp) = (*tp + step.anomaly, *fp + step.normal);
                }
            }
        })?;
        let (anomaly, normal) = (self.anomaly_pixels, self.normal_pixels);
        let at = thresholds.iter().zip(counts);
        Ok(at.map(|(t, (tp, fp))| AtThreshold::new(*t, (tp, anomaly), (fp, normal))).collect())
    }

    /// Risk against coverage; `None` without an anomalous or without a normal pixel.
    ///
    /// # Errors
    /// As [`Pooled::detection`].
    pub fn risk(&self) -> Result<Option<RiskReport>, PooledError> {
        let Some(mut risk) = Risk::new(self.kind(), self.normal_pixels, self.anomaly_pixels) else {
            return Ok(None);
        };
        self.walk(|step| risk.step(step))?;
        Ok(Some(risk.finish()))
    }

    /// Other readings of the curves; `None` without an anomalous or without a normal pixel.
    ///
    /// # Errors
    /// As [`Pooled::detection`].
    pub fn conventions(&self) -> Result<Option<Conventions>, PooledError> {
        let Some(mut reader) = Reader::new(self.normal_pixels, self.anomaly_pixels) else { return Ok(None) };
        self.walk(|step| reader.step(step))?;
        Ok(Some(reader.finish()))
    }

    fn judge(&self) -> Option<Judge> {
        Judge::new(self.kind(), self.normal_pixels, self.anomaly_pixels)
    }

    /// Walks on all cores, each over a part of the scores; gives what was made of each part, in order.
    fn walk_in_parts<A: Send>(
        &self,
        begin: impl Fn(u64, u64) -> A + Sync,
        step: impl Fn(&mut A, Step) + Sync,
    ) -> Result<Vec<A>, PooledError> {
        let runs: Vec<&Run> = self.normal.iter().chain(&self.anomaly).collect();
        // More parts than threads, as they do not take equally long.
        let parts = Part::split(&runs, rayon::current_num_threads() * 4);
        let walked: io::Result<Vec<A>> =
            parts.into_par_iter().map(|part| part.walk(&self.normal, &self.anomaly, &begin, &step)).collect();
        walked.map_err(|source| self.read_back(source))
    }

    pub(super) fn kind(&self) -> Kind {
        self.kind.unwrap_or(Kind::F32)
    }

    pub(super) fn walk(&self, step: impl FnMut(Step)) -> Result<(), PooledError> {
        walk(&self.normal, &self.anomaly, step).map_err(|source| self.read_back(source))
    }

    fn read_back(&self, source: io::Error) -> PooledError {
        PooledError::ReadBack { folder: self.limits.scratch.clone(), source }
    }
}

/// One judgement of parts that follow one another.
fn joined(mut judge: Judge, parts: Vec<Judge>) -> Detection {
    parts.into_iter().for_each(|part| judge.join(part));
    judge.finish()
}

/// Keys between which all but the outer parts of a class lie.
struct Middle {
    outer: u64,
    inner: u64,
    seen: u64,
    high: Option<u64>,
    low: Option<u64>,
}

impl Middle {
    /// Of so many pixels of the class, of which so many were seen.
    fn new(pixels: u64, seen: u64) -> Middle {
        let outer = (pixels as f64 * OUTER) as u64;
        Middle { outer, inner: pixels - outer, seen, high: None, low: None }
    }

    #[inline]
    fn step(&mut self, key: u64, pixels: u64) {
        let after = self.seen + pixels;
        if self.seen <= self.outer && after > self.outer {
            self.high = Some(key);
        }
        if self.seen < self.inner && after >= self.inner {
            self.low = Some(key);
        }
        self.seen = after;
    }
}
