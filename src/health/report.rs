//! What a run tells of itself: figures of the last frames, and of all.

use std::collections::BTreeMap;

use serde::Serialize;

/// Figures over the last frames.
#[derive(Debug, Clone, Copy)]
pub struct Recent {
    /// Frames per second that left the encoder.
    pub fps: f64,
    /// Median latency in milliseconds.
    pub p50_ms: f64,
    /// 95th percentile of latency in milliseconds.
    pub p95_ms: f64,
    /// Frames dropped since the start.
    pub dropped: u64,
}

impl std::fmt::Display for Recent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Recent { fps, p50_ms, p95_ms, dropped } = self;
        write!(f, "{fps:.1} fps, p50 {p50_ms:.0} ms, p95 {p95_ms:.0} ms, dropped {dropped}")
    }
}

impl Recent {
    /// The same as fields of a status line, which are set apart by two blanks.
    pub fn fields(&self) -> String {
        self.to_string().replace(", ", "  ")
    }
}

/// Figures of a whole run.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// Frames that reached the end.
    pub frames: u64,
    /// Frames that the source delivered.
    pub frames_in: u64,
    /// Live frames overtaken by newer ones.
    pub dropped: u64,
    /// Frames lost to faults.
    pub failed: u64,
    /// How often a source that was lost came back.
    pub reconnects: u64,
    /// Patches for which the model gave NaN or infinite features: they count as anomalous.
    pub faulty_patches: u64,
    /// Wall-clock time since the start.
    pub seconds: f64,
    /// Frames per second between the first and the last frame that reached the end.
    pub fps: f64,
    /// Median latency in milliseconds.
    pub p50_ms: f64,
    /// 95th percentile of latency in milliseconds.
    pub p95_ms: f64,
    /// What is wrong at the end, by part.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub problems: BTreeMap<&'static str, String>,
    /// Time per stage, in the order of the flow.
    pub stages: Vec<StageReport>,
}

impl std::fmt::Display for Report {
    /// The one line that programs may read: `600 frames, 20.4 fps, p50 41.2 ms, p95 88.0 ms, dropped 0`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Report { frames, fps, p50_ms, p95_ms, dropped, .. } = self;
        write!(f, "{frames} frames, {fps:.1} fps, p50 {p50_ms:.1} ms, p95 {p95_ms:.1} ms, dropped {dropped}")
    }
}

/// Time of one stage.
#[derive(Debug, Clone, Serialize)]
pub struct StageReport {
    /// The stage.
    pub name: String,
    /// Frames it worked on.
    pub frames: u64,
    /// Mean time per frame in milliseconds.
    pub busy_ms: f64,
    /// Mean time that a frame waited before it, in milliseconds.
    pub wait_ms: f64,
}
