//! Events by the API: what was found, with pictures and clips.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::extract::{Path, Query, Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use tower::ServiceExt;
use tower_http::services::ServeFile;
use utoipa::{IntoParams, ToSchema};

use super::{Answer, Problem, Subject, apart, body, query};
use crate::bank::Supplement;
use crate::file::WriteError;
use crate::region;
use crate::sink::{EventRecord, EventStore};

/// An event.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Event {
    /// Its name among all events of all runs.
    id: String,
    /// The stream's name; absent if it has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    stream: Option<String>,
    /// Its number in the stream's part of the run.
    event: u64,
    /// Whether it goes on.
    open: bool,
    /// Whether it stays, however old.
    protected: bool,
    /// When the frame was captured in which there was enough evidence for it (RFC 3339, UTC).
    utc: String,
    /// Presentation time of that frame, in seconds.
    time_secs: f64,
    /// When it ended; absent while it goes on.
    #[serde(skip_serializing_if = "Option::is_none")]
    end_utc: Option<String>,
    /// The same as presentation time, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    end_time_secs: Option<f64>,
    /// Where the region lay when its score peaked, in pixels of the frame.
    #[serde(rename = "box")]
    rect: Rect,
    /// Its largest area in pixels.
    area: u32,
    /// Its highest score; absent where something could not be judged.
    #[serde(skip_serializing_if = "Option::is_none")]
    peak: Option<f32>,
    /// Whether there are `snapshot.jpg` and `marked.jpg`.
    snapshot: bool,
    /// Whether it can be marked as normal: it is kept what it looks like to the model.
    features: bool,
    /// Whether it is marked as normal.
    normal: bool,
    /// Its clip, `clip.mp4`, once it is complete.
    #[serde(skip_serializing_if = "Option::is_none")]
    clip: Option<Clip>,
    /// Why there is no clip.
    #[serde(skip_serializing_if = "Option::is_none")]
    no_clip: Option<String>,
}

/// A rectangle.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Rect {
    /// Left edge.
    x: u32,
    /// Top edge.
    y: u32,
    /// Width.
    width: u32,
    /// Height.
    height: u32,
}

/// A clip's place in time.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Clip {
    /// Presentation time of its first picture, on the axis of the event's times, in seconds.
    start_secs: f64,
    /// Its length in seconds; absent where the run was cut off in the middle of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    secs: Option<f64>,
}

impl From<region::Rect> for Rect {
    fn from(one: region::Rect) -> Rect {
        Rect { x: one.x, y: one.y, width: one.width, height: one.height }
    }
}

impl Event {
    fn of(one: EventRecord, marked: &BTreeSet<String>) -> Event {
        Event {
            normal: marked.contains(&one.id),
            id: one.id,
            stream: one.stream,
            event: one.event,
            open: one.open,
            protected: one.protected,
            utc: one.utc,
            time_secs: one.time_secs,
            end_utc: one.end_utc,
            end_time_secs: one.end_time_secs,
            rect: one.rect.into(),
            area: one.area,
            peak: one.peak,
            snapshot: one.snapshot,
            features: one.features,
            clip: one.clip.map(|clip| Clip { start_secs: clip.start_secs, secs: clip.secs }),
            no_clip: one.no_clip,
        }
    }
}

/// The events that are marked as normal.
fn marked(subject: &Subject) -> BTreeSet<String> {
    let all = subject.marks.iter().flat_map(|marks| marks.supplements().all().1);
    let of = |one: &Arc<Supplement>| one.marks().iter().map(|mark| mark.id.clone()).collect::<Vec<_>>();
    all.flat_map(|one| of(&one)).collect()
}

/// Which events.
#[derive(Debug, Deserialize, IntoParams)]
pub(super) struct Which {
    /// Only those that began before the one with this id.
    before: Option<String>,
    /// So many at most, 1 to 200; 50 if it is not said.
    limit: Option<usize>,
}

/// What is to change of an event.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Change {
    /// Whether it stays, however old.
    protected: bool,
}

fn store(subject: &Subject) -> Result<&EventStore, Problem> {
    let why = "nothing is judged here, or only shown pictures are (output.picture = \"scored\"): events are in the log only";
    subject.events.as_ref().ok_or_else(|| Problem::new(StatusCode::CONFLICT, "no events", why))
}

fn absent(id: &str) -> Problem {
    let why = format!("there is no event {id}, or it is gone; /api/v1/events lists them");
    Problem::new(StatusCode::NOT_FOUND, "no such event", why)
}

pub(super) fn unwritten(error: WriteError) -> Problem {
    Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "the disk", error.to_string())
}

/// Events, newest first.
#[utoipa::path(get, path = "/api/v1/events", tag = "events", params(Which), responses(
    (status = OK, body = [Event]),
    (status = "4XX", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn list(
    State(subject): State<Arc<Subject>>,
    which: Result<Query<Which>, QueryRejection>,
) -> Answer<Vec<Event>> {
    let which = query(which)?;
    if let Some(id) =
        which.before.as_deref().filter(|id| store(&subject).is_ok_and(|all| all.get(id).is_none()))
    {
        return Err(absent(id));
    }
    let most = which.limit.unwrap_or(50).clamp(1, 200);
    let found = store(&subject)?.list(which.before.as_deref(), most);
    let marked = marked(&subject);
    Ok(Json(found.into_iter().map(|one| Event::of(one, &marked)).collect()))
}

/// An event.
#[utoipa::path(get, path = "/api/v1/events/{id}", tag = "events",
    params(("id" = String, Path, description = "Its id.")),
    responses(
        (status = OK, body = Event),
        (status = "4XX", body = Problem, content_type = "application/problem+json"),
    ))]
pub(super) async fn one(State(subject): State<Arc<Subject>>, Path(id): Path<String>) -> Answer<Event> {
    let found = store(&subject)?.get(&id);
    found.map(|one| Json(Event::of(one, &marked(&subject)))).ok_or_else(|| absent(&id))
}

/// Keeps an event however old it is, or does not any more.
#[utoipa::path(patch, path = "/api/v1/events/{id}", tag = "events", request_body = Change,
    params(("id" = String, Path, description = "Its id.")),
    responses(
        (status = OK, body = Event),
        (status = "4XX", body = Problem, content_type = "application/problem+json"),
    ))]
pub(super) async fn change(
    State(subject): State<Arc<Subject>>,
    Path(id): Path<String>,
    change: Result<Json<Change>, JsonRejection>,
) -> Answer<Event> {
    let (change, events, name) = (body(change)?, store(&subject)?.clone(), id.clone());
    let changed = apart(move || events.protect(&name, change.protected)).await?.map_err(unwritten)?;
    changed.map(|one| Json(Event::of(one, &marked(&subject)))).ok_or_else(|| absent(&id))
}

/// Forgets an event, with its pictures and its clip.
#[utoipa::path(delete, path = "/api/v1/events/{id}", tag = "events",
    params(("id" = String, Path, description = "Its id.")),
    responses(
        (status = NO_CONTENT, description = "It is gone."),
        (status = "4XX", body = Problem, content_type = "application/problem+json"),
    ))]
pub(super) async fn remove(
    State(subject): State<Arc<Subject>>,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    let (events, name) = (store(&subject)?.clone(), id.clone());
    match apart(move || events.remove(&name)).await?.map_err(unwritten)? {
        true => Ok(StatusCode::NO_CONTENT),
        false => Err(absent(&id)),
    }
}

/// A picture or the clip of an event; parts of it on request (HTTP ranges).
#[utoipa::path(get, path = "/api/v1/events/{id}/{file}", tag = "events",
    params(
        ("id" = String, Path, description = "The event's id."),
        ("file" = String, Path, description = "snapshot.jpg, marked.jpg or clip.mp4."),
    ),
    responses(
        (status = OK, body = Vec<u8>, content_type = "application/octet-stream"),
        (status = "4XX", body = Problem, content_type = "application/problem+json"),
    ))]
pub(super) async fn file(
    State(subject): State<Arc<Subject>>,
    Path((id, name)): Path<(String, String)>,
    request: Request,
) -> Result<Response, Problem> {
    let events = store(&subject)?;
    let Some(path) = events.file(&id, &name) else {
        let why = match events.get(&id) {
            None => return Err(absent(&id)),
            Some(_) if events.folder().is_none() => {
                "pictures and clips are not kept: name a folder in events.folder".to_owned()
            }
            Some(one) => one.no_clip.unwrap_or_else(|| format!("event {id} has no {name}, or not yet")),
        };
        return Err(Problem::new(StatusCode::NOT_FOUND, "no such file", why));
    };
    Ok(served(path, request).await)
}

async fn served(path: PathBuf, request: Request) -> Response {
    let answer = ServeFile::new(path).oneshot(request).await;
    answer.map_or_else(|never| match never {}, |answer| answer.map(Body::new).into_response())
}
