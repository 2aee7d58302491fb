//! What a run tells at its end, in words and as JSON.

use std::fmt;

use anyhow::Result;
use serde::Serialize;

use super::answer;
use crate::health::{Health, Report};
use crate::live::{DetectionStatus, Standing};

/// All streams together, and each by itself if there are several.
#[derive(Serialize)]
pub(super) struct Reported {
    #[serde(flatten)]
    pictures: Option<Report>,
    #[serde(skip_serializing_if = "Option::is_none")]
    verdicts: Option<Report>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    streams: Vec<OfStream>,
}

/// One of several streams.
#[derive(Serialize)]
struct OfStream {
    name: String,
    #[serde(flatten)]
    pictures: Report,
    #[serde(skip_serializing_if = "Option::is_none")]
    verdicts: Option<Report>,
}

impl Reported {
    /// How it stands now.
    pub fn of(streams: &[Standing], detection: Option<&DetectionStatus>) -> Reported {
        let all: Vec<&Health> = streams.iter().map(|stream| &*stream.pictures).collect();
        let each = |stream: &Standing| OfStream {
            name: stream.name.as_deref().unwrap_or("stream").to_owned(),
            pictures: stream.pictures.report(),
            verdicts: stream.verdicts.as_ref().map(|verdicts| verdicts.health.report()),
        };
        Reported {
            pictures: Health::together(&all),
            verdicts: detection.map(|detection| detection.health.report()),
            streams: if streams.len() > 1 { streams.iter().map(each).collect() } else { Vec::new() },
        }
    }

    /// Prints it; the time of each stage goes to the log.
    ///
    /// # Errors
    /// If standard output cannot be written to.
    pub fn tell(&self, json: bool) -> Result<()> {
        if json {
            return answer::print_json_line(self);
        }
        let shown = self.streams.iter().map(|stream| &stream.pictures);
        for stage in shown.chain(&self.pictures).chain(&self.verdicts).flat_map(|report| &report.stages) {
            tracing::info!(
                "{:<10} {:7.2} ms per frame, {:7.2} ms waiting, {} frames",
                stage.name,
                stage.busy_ms,
                stage.wait_ms,
                stage.frames
            );
        }
        answer::print(format!("{self}\n"))
    }
}

impl fmt::Display for Reported {
    /// Each of several streams, the verdicts if they go their own way, and the last line, which programs may read.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for stream in &self.streams {
            write!(f, "{}: {}", stream.name, stream.pictures)?;
            if let Some(verdicts) = &stream.verdicts {
                write!(f, "; {}", Judged(verdicts))?;
            }
            writeln!(f)?;
        }
        if let Some(verdicts) = &self.verdicts {
            writeln!(f, "{}", Judged(verdicts))?;
        }
        self.pictures.as_ref().map_or(Ok(()), |pictures| write!(f, "{pictures}"))
    }
}

/// `verdicts: 120, 6.0 per second, age p50 180 ms, p95 260 ms`.
struct Judged<'a>(&'a Report);

impl fmt::Display for Judged<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Report { frames, fps, p50_ms, p95_ms, .. } = self.0;
        write!(f, "verdicts: {frames}, {fps:.1} per second, age p50 {p50_ms:.0} ms, p95 {p95_ms:.0} ms")
    }
}
