//! How the streams stand, as JSON.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use super::verdicts::Verdicts;
use super::{Answer, Problem, Subject};
use crate::health::Health;
use crate::live::{Recent, Standing};
use crate::region::Region;
use crate::source::SourceState;

/// A stream.
#[derive(Debug, Serialize, ToSchema)]
pub struct OfStream {
    /// What it is called: its name, or "stream" if it has none.
    name: String,
    /// "starting", "running", "lost" or "ended".
    state: &'static str,
    /// What is wrong with a source that gives no picture.
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<String>,
    /// Its pictures.
    pictures: Pictures,
    /// Its verdicts, where they go their own way.
    #[serde(skip_serializing_if = "Option::is_none")]
    verdicts: Option<Verdicts>,
    /// Its scores, where they go their own way.
    #[serde(skip_serializing_if = "Option::is_none")]
    scores: Option<Scores>,
    /// What the newest verdict has found.
    #[serde(skip_serializing_if = "Option::is_none")]
    found: Option<Found>,
    /// Where it is watched: paths on this server, and over RTSP.
    watch: Watch,
    /// Who watches.
    viewers: Viewers,
    /// What is wrong now, by part.
    problems: BTreeMap<&'static str, String>,
}

/// Pictures that were shown.
#[derive(Debug, Serialize, ToSchema)]
pub struct Pictures {
    /// Since the start.
    count: u64,
    /// Per second, lately.
    per_second: f64,
    /// Median time from capture until the encoded picture is out, in milliseconds, lately.
    latency_p50_ms: f64,
    /// 95th percentile of that time.
    latency_p95_ms: f64,
    /// Pictures overtaken by newer ones since the start.
    dropped: u64,
    /// Pictures lost to faults since the start.
    failed: u64,
    /// How often the source came back after it was lost.
    reconnects: u64,
}

/// What is judged by, and what the scores of sampled pixels have been in the last verdicts.
#[derive(Debug, Serialize, ToSchema)]
pub struct Scores {
    /// Scores above it are anomalous.
    threshold: f32,
    /// A step of the score: the standard deviation of normal frames, if the bank tells.
    step: f32,
    /// Where the threshold comes from.
    basis: String,
    /// Absent before the first verdict.
    #[serde(skip_serializing_if = "Option::is_none")]
    recent: Option<RecentScores>,
}

/// Scores of sampled pixels in the last verdicts, up to 128.
#[derive(Debug, Serialize, ToSchema)]
pub struct RecentScores {
    /// Lower end of the histogram's first class.
    low: f32,
    /// Width of a class.
    class_width: f32,
    /// Pixels in each class; what lies outside counts in the first or the last.
    classes: Vec<u64>,
    /// Median.
    p50: f32,
    /// 95th percentile.
    p95: f32,
    /// 99th percentile.
    p99: f32,
    /// Highest score; absent where something could not be judged.
    #[serde(skip_serializing_if = "Option::is_none")]
    highest: Option<f32>,
    /// The median less that of the bank's held-out frames, in standard deviations of theirs.
    #[serde(skip_serializing_if = "Option::is_none")]
    drift: Option<f64>,
}

/// What the newest verdict has found.
#[derive(Debug, Serialize, ToSchema)]
pub struct Found {
    /// The judged frame's number.
    frame: u64,
    /// Its width in pixels.
    width: usize,
    /// Its height in pixels.
    height: usize,
    /// Its age in milliseconds.
    age_ms: f64,
    /// Where the score exceeds the threshold.
    regions: Vec<OfRegion>,
}

/// A region.
#[derive(Debug, Serialize, ToSchema)]
pub struct OfRegion {
    /// Left edge in pixels of the judged frame.
    x: u32,
    /// Top edge.
    y: u32,
    /// Width.
    width: u32,
    /// Height.
    height: u32,
    /// Size in pixels.
    area: u32,
    /// The highest score inside; absent where something could not be judged.
    #[serde(skip_serializing_if = "Option::is_none")]
    peak: Option<f32>,
}

/// Where a stream is watched.
#[derive(Debug, Serialize, ToSchema)]
pub struct Watch {
    /// Fragmented MP4, for browsers: a path on this server.
    #[serde(skip_serializing_if = "Option::is_none")]
    mp4: Option<String>,
    /// Single pictures, for browsers that play no live video: a path on this server.
    #[serde(skip_serializing_if = "Option::is_none")]
    pictures: Option<String>,
    /// MPEG-TS, for players: a path on this server.
    #[serde(skip_serializing_if = "Option::is_none")]
    ts: Option<String>,
    /// WebRTC, by WHEP: a path on this server to which an SDP offer is posted.
    #[serde(skip_serializing_if = "Option::is_none")]
    whep: Option<String>,
    /// The address over RTSP; HOST stands for the name of this machine.
    #[serde(skip_serializing_if = "Option::is_none")]
    rtsp: Option<String>,
}

/// How many watch.
#[derive(Debug, Serialize, ToSchema)]
pub struct Viewers {
    /// Over RTSP.
    rtsp: usize,
    /// Over HTTP.
    http: usize,
    /// Over WebRTC.
    webrtc: usize,
}

impl OfStream {
    /// Its name, if none of its pictures has left the encoder yet.
    pub(super) fn not_shown(&self) -> Option<&str> {
        (self.pictures.count == 0).then_some(self.name.as_str())
    }

    pub(super) fn of(standing: &Standing, subject: &Subject) -> OfStream {
        let pictures = &standing.pictures;
        let state = match pictures.source() {
            _ if standing.ended => "ended",
            Some(SourceState::Starting) => "starting",
            Some(SourceState::Lost) => "lost",
            Some(SourceState::Running) | None => "running",
        };
        let name = standing.name.as_deref();
        let served = subject.audience.watched_at(name);
        let viewers = subject.audience.viewers(name);
        OfStream {
            name: standing.called().to_owned(),
            state,
            why: pictures.lost(),
            pictures: Pictures::of(pictures),
            verdicts: standing.verdicts.as_ref().map(|verdicts| Verdicts::of(&verdicts.health)),
            scores: standing.verdicts.as_ref().and_then(|verdicts| Scores::of(verdicts)),
            found: standing.verdicts.as_ref().and_then(|verdicts| Found::of(verdicts)),
            watch: Watch {
                mp4: served.mp4,
                pictures: served.pictures,
                ts: served.ts,
                whep: served.whep,
                rtsp: served.rtsp,
            },
            viewers: Viewers { rtsp: viewers.rtsp, http: viewers.http, webrtc: viewers.webrtc },
            problems: pictures.problems(),
        }
    }
}

impl Pictures {
    fn of(health: &Health) -> Pictures {
        let (recent, report) = (health.recent(), health.report());
        Pictures {
            count: report.frames,
            per_second: recent.fps,
            latency_p50_ms: recent.p50_ms,
            latency_p95_ms: recent.p95_ms,
            dropped: report.dropped,
            failed: report.failed,
            reconnects: report.reconnects,
        }
    }
}

impl Scores {
    fn of(verdicts: &crate::live::Verdicts) -> Option<Scores> {
        let figures = verdicts.scores.figures();
        let level = figures.level?;
        Some(Scores {
            threshold: level.scale.threshold,
            step: level.scale.spread,
            basis: level.basis,
            recent: figures.recent.map(RecentScores::of),
        })
    }
}

impl RecentScores {
    fn of(recent: Recent) -> RecentScores {
        let Recent { low, step, classes, quantiles: [p50, p95, p99], highest, drift } = recent;
        let highest = Some(highest).filter(|score| score.is_finite());
        RecentScores { low, class_width: step, classes, p50, p95, p99, highest, drift }
    }
}

impl Found {
    fn of(verdicts: &crate::live::Verdicts) -> Option<Found> {
        let scored = verdicts.newest()?;
        let region = |Region { rect, area, peak }: &Region| OfRegion {
            x: rect.x,
            y: rect.y,
            width: rect.width,
            height: rect.height,
            area: *area,
            peak: Some(*peak).filter(|peak| peak.is_finite()),
        };
        Some(Found {
            frame: scored.frame,
            width: scored.verdict.scores.width,
            height: scored.verdict.scores.height,
            age_ms: scored.captured.elapsed().as_secs_f64() * 1e3,
            regions: scored.verdict.regions.iter().map(region).collect(),
        })
    }
}

/// How the streams stand.
#[utoipa::path(get, path = "/api/v1/streams", tag = "streams", responses((status = OK, body = [OfStream])))]
pub(super) async fn streams(State(subject): State<Arc<Subject>>) -> Json<Vec<OfStream>> {
    Json((subject.streams)().iter().map(|one| OfStream::of(one, &subject)).collect())
}

/// How a stream stands.
#[utoipa::path(get, path = "/api/v1/streams/{name}", tag = "streams",
    params(("name" = String, Path, description = "Its name, or \"stream\" if it has none.")),
    responses(
        (status = OK, body = OfStream),
        (status = NOT_FOUND, body = Problem, content_type = "application/problem+json"),
    ))]
pub(super) async fn stream(
    State(subject): State<Arc<Subject>>,
    Path(name): Path<String>,
) -> Answer<OfStream> {
    let streams = (subject.streams)();
    let found = streams.iter().find(|one| one.called() == name);
    found.map(|one| Json(OfStream::of(one, &subject))).ok_or_else(|| no_stream(&name, &streams))
}

/// There is no stream of this name.
fn no_stream(name: &str, streams: &[Standing]) -> Problem {
    let known: Vec<_> = streams.iter().map(Standing::called).collect();
    let why = format!("there is no stream {name:?}; there are: {}", known.join(", "));
    Problem::new(StatusCode::NOT_FOUND, "no such stream", why)
}
