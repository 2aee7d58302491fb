//! How all stands, as JSON.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use super::Subject;
use super::streams::OfStream;
use super::verdicts::Verdicts;
use crate::live::{DetectionStatus, LaneState};

/// All of it.
#[derive(Debug, Serialize, ToSchema)]
pub struct Whole {
    /// Of farout.
    version: &'static str,
    /// Seconds since the start.
    uptime_secs: f64,
    /// Whether every stream's first picture has left the encoder and the detector is open.
    ready: bool,
    /// The detector; absent where pictures pass unjudged or wait for their verdicts.
    #[serde(skip_serializing_if = "Option::is_none")]
    detection: Option<Detection>,
    /// In the order in which they came.
    streams: Vec<OfStream>,
    /// How many events there were; absent where none are kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    events: Option<Events>,
}

/// How many events there were since the start.
#[derive(Debug, Serialize, ToSchema)]
pub struct Events {
    /// Those that began.
    begun: u64,
    /// Those that ended.
    ended: u64,
}

/// The detector.
#[derive(Debug, Serialize, ToSchema)]
pub struct Detection {
    /// "opening", "running" or "failed".
    state: &'static str,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<String>,
    /// Device, model and bank in a few words; absent before it is open.
    #[serde(skip_serializing_if = "Option::is_none")]
    summary: Option<String>,
    /// How often it was opened again.
    restarts: u64,
    /// Verdicts of all streams together.
    verdicts: Verdicts,
    /// Milliseconds of each stage and before it, per frame.
    stages: Vec<Stage>,
    /// What is wrong now, by part.
    problems: BTreeMap<&'static str, String>,
}

/// A stage of the detection lane.
#[derive(Debug, Serialize, ToSchema)]
pub struct Stage {
    /// Its name.
    name: String,
    /// Mean time of a frame in milliseconds.
    busy_ms: f64,
    /// Mean wait before it in milliseconds.
    wait_ms: f64,
}

impl Whole {
    /// How all stands now.
    pub(super) fn of(subject: &Subject) -> Whole {
        Whole {
            version: env!("CARGO_PKG_VERSION"),
            uptime_secs: subject.begun.elapsed().as_secs_f64(),
            ready: subject.is_ready(),
            detection: subject.detection.as_deref().map(Detection::of),
            streams: (subject.streams)().iter().map(|one| OfStream::of(one, subject)).collect(),
            events: subject.events.as_ref().map(|events| {
                let [begun, ended, _] = events.counts();
                Events { begun, ended }
            }),
        }
    }

    /// What it waits for, if it does not do what it should.
    pub(super) fn why_not_ready(&self) -> Option<String> {
        let detection =
            self.detection.as_ref().and_then(|detection| match (detection.state, &detection.why) {
                ("running", _) => None,
                (state, None) => Some(format!("the detector is {state}")),
                (state, Some(why)) => Some(format!("the detector is {state}: {why}")),
            });
        let first = self.streams.iter().find_map(OfStream::not_shown);
        detection.or_else(|| first.map(|name| format!("no picture of {name} has left the encoder yet")))
    }
}

impl Detection {
    fn of(detection: &DetectionStatus) -> Detection {
        let (state, why) = match detection.lane() {
            LaneState::Opening => ("opening", None),
            LaneState::Running => ("running", None),
            LaneState::Failed { why } => ("failed", Some(why)),
        };
        let stage = |stage: crate::health::StageReport| Stage {
            name: stage.name,
            busy_ms: stage.busy_ms,
            wait_ms: stage.wait_ms,
        };
        Detection {
            state,
            why,
            summary: detection.summary(),
            restarts: detection.restarts(),
            verdicts: Verdicts::of(&detection.health),
            stages: detection.health.report().stages.into_iter().map(stage).collect(),
            problems: detection.health.problems(),
        }
    }
}

/// How all stands.
#[utoipa::path(get, path = "/api/v1/state", tag = "state", responses((status = OK, body = Whole)))]
pub(super) async fn state(State(subject): State<Arc<Subject>>) -> Json<Whole> {
    Json(Whole::of(&subject))
}
