//! Judging what a live viewer has: each frame against the newest score map that has left by then (streaming accuracy; Li et
//! al., ECCV 2020). A slow method is judged by the maps of frames that are gone.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::maps::{Pair, Place};

/// How maps come about live.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Streaming {
    /// Frames per second of the camera.
    pub fps: f64,
    /// How long the method takes.
    pub latency: Latency,
}

/// How long a method takes from a frame to its map.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Latency {
    /// The same for each frame, in milliseconds.
    Constant(f64),
    /// A file with a line per frame: its name, a space or tab, milliseconds.
    Measured(PathBuf),
}

/// What became of the frames.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StreamingReport {
    /// How maps came about.
    #[serde(flatten)]
    pub how: Streaming,
    /// Sequences: folders of frames.
    pub sequences: usize,
    /// Frames judged.
    pub frames: usize,
    /// Frames that the method had time for.
    pub used: usize,
    /// Frames before the first map has left: nothing alarms there.
    pub before_first: usize,
    /// How old the frame is whose map a viewer has, on average, in milliseconds.
    pub mean_age_ms: f64,
}

/// Why latencies cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{path}: {why}", path = path.display())]
pub struct LatencyError {
    /// The file.
    pub path: PathBuf,
    /// What is wrong, and what it should be.
    pub why: String,
}

/// What a frame is judged with.
#[derive(Debug, Clone, PartialEq)]
pub struct Shown {
    /// The truth, and the score map of the same frame.
    pub pair: Pair,
    /// The map that has left by then; `None` before the first.
    pub scores: Option<Place>,
    /// What all pixels score before the first.
    pub lowest: f64,
}

impl From<Pair> for Shown {
    fn from(pair: Pair) -> Shown {
        Shown { scores: Some(pair.scores.clone()), pair, lowest: 0.0 }
    }
}

impl Shown {
    /// The score map that is read: for messages.
    pub fn place(&self) -> &Place {
        self.scores.as_ref().unwrap_or(&self.pair.scores)
    }
}

impl Streaming {
    /// Each frame of `pairs` with the map that a viewer has at its moment. Frames of a folder are a sequence, in natural order.
    ///
    /// # Errors
    /// [`LatencyError`]: a file of latencies that lacks a frame or makes no sense.
    pub fn shown(&self, pairs: &[Pair]) -> Result<(Vec<Shown>, StreamingReport), LatencyError> {
        let latencies = match &self.latency {
            Latency::Constant(ms) => vec![*ms; pairs.len()],
            Latency::Measured(path) => measured(path, pairs)?,
        };
        let mut sequences: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        for (number, pair) in pairs.iter().enumerate() {
            let folder = pair.name.rsplit_once('/').map_or("", |(folder, _)| folder);
            sequences.entry(folder).or_default().push(number);
        }
        let mut shown: Vec<Shown> =
            pairs.iter().map(|pair| Shown { pair: pair.clone(), scores: None, lowest: 0.0 }).collect();
        let (mut used, mut before_first, mut age, period) = (0, 0, 0.0, 1e3 / self.fps);
        for frames in sequences.values_mut() {
            frames.sort_by(|a, b| crate::collect::natural(&pairs[*a].name, &pairs[*b].name));
            let own: Vec<f64> = frames.iter().map(|number| latencies[*number]).collect();
            let left = newest(period, &own);
            let mut seen: Vec<usize> = left.iter().filter_map(|of| *of).collect();
            seen.dedup();
            used += seen.len();
            for (at, of) in left.iter().enumerate() {
                match of {
                    Some(of) => {
                        age += (at - of) as f64 * period;
                        shown[frames[at]].scores = Some(pairs[frames[*of]].scores.clone());
                    }
                    None => before_first += 1,
                }
            }
        }
        let with_map = pairs.len() - before_first;
        if with_map == 0 {
            return Err(LatencyError {
                path: PathBuf::from("--latency"),
                why: format!(
                    "no map leaves before its sequence of frames ends, at {} frames per second",
                    self.fps
                ),
            });
        }
        let report = StreamingReport {
            how: self.clone(),
            sequences: sequences.len(),
            frames: pairs.len(),
            used,
            before_first,
            mean_age_ms: age / with_map.max(1) as f64,
        };
        Ok((shown, report))
    }
}

/// For each frame of a sequence the newest one whose map has left when it is taken. Frames come every `period`
/// milliseconds; the method takes the newest whenever it is free, and `latencies[i]` for frame i. A map that takes no time
/// is there at once.
fn newest(period: f64, latencies: &[f64]) -> Vec<Option<usize>> {
    let (mut free, mut next, mut done) = (0.0_f64, 0_usize, Vec::new());
    while next < latencies.len() {
        // The newest frame when it is free, or the one that it has to wait for.
        let newest = (free / period + 1e-9).floor() as usize;
        let frame = newest.max(next);
        let Some(latency) = latencies.get(frame) else { break };
        free = free.max(frame as f64 * period) + latency;
        done.push((frame, free));
        next = frame + 1;
    }
    let mut of = done.iter().peekable();
    let mut last = None;
    (0..latencies.len())
        .map(|at| {
            let now = at as f64 * period + 1e-6;
            while let Some((frame, _)) = of.next_if(|(_, left)| *left <= now) {
                last = Some(*frame);
            }
            last
        })
        .collect()
}

fn measured(path: &Path, pairs: &[Pair]) -> Result<Vec<f64>, LatencyError> {
    let wrong = |why: String| LatencyError { path: path.to_owned(), why };
    let text = std::fs::read_to_string(path).map_err(|e| wrong(format!("it cannot be read: {e}")))?;
    let mut known = HashMap::new();
    for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let form = || wrong(format!("line {}: {line:?} is not NAME MILLISECONDS", number + 1));
        let (name, ms) = line.trim_end().rsplit_once([' ', '\t']).ok_or_else(form)?;
        let ms: f64 = ms.parse().ok().filter(|ms: &f64| ms.is_finite() && *ms >= 0.0).ok_or_else(form)?;
        known.insert(name.trim().to_owned(), ms);
    }
    let of = |pair: &Pair| {
        known.get(&pair.name).copied().ok_or_else(|| wrong(format!("it has no line for {}", pair.name)))
    };
    pairs.iter().map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_method_that_takes_no_time_has_every_frame_and_a_slow_one_the_newest() {
        assert_eq!(newest(100.0, &[0.0; 4]), [Some(0), Some(1), Some(2), Some(3)]);
        // As fast as the camera: always the frame before.
        assert_eq!(newest(100.0, &[100.0; 4]), [None, Some(0), Some(1), Some(2)]);
        // 250 ms: frame 0 until 250, then frame 2 until 500, then 5.
        let slow = [None, None, None, Some(0), Some(0), Some(2), Some(2), Some(2), Some(5)];
        assert_eq!(newest(100.0, &[250.0; 9]), slow);
        // Faster than the camera it waits for the next frame.
        assert_eq!(newest(100.0, &[40.0; 3]), [None, Some(0), Some(1)]);
        assert_eq!(newest(100.0, &[]), []);
    }

    #[test]
    fn sequences_are_folders_and_measured_latencies_are_by_name() {
        let pair = |name: &str| Pair {
            name: name.to_owned(),
            scores: PathBuf::from(format!("/s/{name}.npy")).into(),
            truth: format!("/t/{name}.png").into(),
        };
        let pairs: Vec<Pair> = ["b/2", "b/10", "a/1", "a/2"].map(pair).into();
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "a/1 0\na/2\t0\nb/2 100\n\nb/10 100\n").unwrap();
        let streaming = Streaming { fps: 10.0, latency: Latency::Measured(file.path().to_owned()) };
        let (shown, report) = streaming.shown(&pairs).unwrap();
        let scores: Vec<Option<&str>> =
            shown.iter().map(|one| one.scores.as_ref().and_then(|place| place.file.to_str())).collect();
        assert_eq!(scores, [None, Some("/s/b/2.npy"), Some("/s/a/1.npy"), Some("/s/a/2.npy")]);
        let told = (report.sequences, report.frames, report.used, report.before_first);
        assert_eq!((told, report.mean_age_ms), ((2, 4, 3, 1), 100.0 / 3.0));
        for (text, words) in [("a/1 0", "no line for b/2"), ("a/1 fast", "line 1"), ("x", "MILLISECONDS")] {
            std::fs::write(file.path(), text).unwrap();
            assert!(streaming.shown(&pairs).unwrap_err().to_string().contains(words), "{text}");
        }
    }
}
