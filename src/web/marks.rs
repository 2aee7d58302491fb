//! "This is normal", by the API: what was marked, more of it, and back.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::events::{Rect, unwritten};
use super::{Answer, Problem, Subject, apart, body};
use crate::bank::{self, AddError, Supplement};
use crate::steer::{MarkError, Marks, Spot};

/// What counts as normal here beside the bank.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Normal {
    /// Whether it is kept when the run ends (supplement.folder).
    kept: bool,
    /// Features in all.
    features: usize,
    /// Most features (supplement.size).
    most: usize,
    /// What was marked, newest first.
    marks: Vec<Mark>,
    /// Files that cannot be read and do not count.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    damaged: Vec<String>,
}

/// Something that was marked as normal.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Mark {
    /// Its name.
    id: String,
    /// The stream in which it was seen.
    #[serde(skip_serializing_if = "Option::is_none")]
    stream: Option<String>,
    /// Whether it is an event, and `id` its name.
    event: bool,
    /// When it was seen (RFC 3339, UTC).
    #[serde(skip_serializing_if = "Option::is_none")]
    seen: Option<String>,
    /// When it was marked.
    #[serde(skip_serializing_if = "Option::is_none")]
    marked: Option<String>,
    /// Where it lay, in pixels of the judged frame.
    #[serde(rename = "box")]
    rect: Rect,
    /// Width of that frame.
    frame_width: usize,
    /// Its height.
    frame_height: usize,
    /// Its highest score then.
    #[serde(skip_serializing_if = "Option::is_none")]
    peak: Option<f32>,
    /// Features of it.
    features: usize,
    /// A small picture of it, a path on this server.
    #[serde(skip_serializing_if = "Option::is_none")]
    picture: Option<String>,
    /// Why it does not count, if it does not: another model saw it.
    #[serde(skip_serializing_if = "Option::is_none")]
    unused: Option<String>,
}

impl From<&bank::Mark> for Mark {
    fn from(one: &bank::Mark) -> Mark {
        Mark {
            id: one.id.clone(),
            stream: one.stream.clone(),
            event: one.event,
            seen: one.seen.clone(),
            marked: one.marked.clone(),
            rect: one.rect.into(),
            frame_width: one.frame_size.0,
            frame_height: one.frame_size.1,
            peak: one.peak,
            features: one.rows,
            picture: None,
            unused: None,
        }
    }
}

impl Mark {
    /// The first of `one`.
    pub(super) fn of(one: &Supplement) -> Option<Mark> {
        one.marks().first().map(|mark| Mark::from(mark).shown(one))
    }

    fn shown(mut self, one: &Supplement) -> Mark {
        self.picture = one.picture(&self.id).map(|_| format!("/api/v1/normal/{}/picture", self.id));
        self
    }
}

/// What is normal: an event, or what a stream shows at a place.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Marking {
    /// The event's id.
    event: Option<String>,
    /// Instead of it, what the answer to "why" has called so (`id`).
    seen: Option<String>,
    /// Instead of it, the stream's name, or "stream" if it has none.
    stream: Option<String>,
    /// Column of a pixel of a region, in pixels of the judged frame.
    x: Option<u32>,
    /// Its row.
    y: Option<u32>,
}

impl From<MarkError> for Problem {
    fn from(error: MarkError) -> Problem {
        let (status, title) = match &error {
            MarkError::NoStream { .. } => (StatusCode::NOT_FOUND, "no such stream"),
            MarkError::NoEvent(_) => (StatusCode::NOT_FOUND, "no such event"),
            MarkError::Forgotten(_) => (StatusCode::NOT_FOUND, "forgotten"),
            MarkError::Nothing { .. } => (StatusCode::NOT_FOUND, "nothing there"),
            MarkError::NoFeatures { .. } => (StatusCode::CONFLICT, "no features"),
            MarkError::OtherModel { .. } => (StatusCode::CONFLICT, "another model"),
            MarkError::NoSearch => (StatusCode::CONFLICT, "no search"),
            MarkError::Add(AddError::Empty) => (StatusCode::CONFLICT, "no features"),
            MarkError::Add(AddError::Full { .. }) => (StatusCode::CONFLICT, "no room"),
            MarkError::Add(AddError::Write(_)) => (StatusCode::INTERNAL_SERVER_ERROR, "the disk"),
        };
        Problem::new(status, title, error.to_string())
    }
}

pub(super) fn marks(subject: &Subject) -> Result<&Arc<Marks>, Problem> {
    let why = "nothing is judged here, or only shown pictures are (output.picture = \"scored\"): nothing can be marked or explained";
    subject.marks.as_ref().ok_or_else(|| Problem::new(StatusCode::CONFLICT, "no marks", why))
}

/// What was marked as normal.
#[utoipa::path(get, path = "/api/v1/normal", tag = "normal", responses(
    (status = OK, body = Normal),
    (status = CONFLICT, body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn list(State(subject): State<Arc<Subject>>) -> Answer<Normal> {
    let known = marks(&subject)?.supplements();
    let (_, all) = known.all();
    let judging = marks(&subject)?.bank();
    let told = |one: &Supplement| -> Vec<Mark> {
        let differences = judging.as_ref().map(|bank| one.model().differences(&bank.metadata().model));
        let unused = differences.filter(|differences| !differences.is_empty()).map(|all| all.join("; "));
        let of = |mark| Mark { unused: unused.clone(), ..Mark::from(mark).shown(one) };
        one.marks().iter().map(of).collect()
    };
    let mut marks: Vec<Mark> = all.iter().flat_map(|one| told(one)).collect();
    marks.sort_by(|a, b| b.marked.cmp(&a.marked).then(b.id.cmp(&a.id)));
    Ok(Json(Normal {
        kept: known.folder().is_some(),
        features: all.iter().map(|one| one.rows()).sum(),
        most: known.most(),
        marks,
        damaged: known.damaged(),
    }))
}

/// Marks an event, or what a stream shows at a place, as normal: what looks like it alarms no more from the next verdict on,
/// `{"event": "ID"}` or `{"stream": "front", "x": 320, "y": 200}`.
#[utoipa::path(post, path = "/api/v1/normal", tag = "normal", request_body = Marking, responses(
    (status = CREATED, body = Mark),
    (status = "4XX", description = "Nothing was changed.", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn mark(
    State(subject): State<Arc<Subject>>,
    what: Result<Json<Marking>, JsonRejection>,
) -> Result<(StatusCode, Json<Mark>), Problem> {
    let what = body(what)?;
    let marks = Arc::clone(marks(&subject)?);
    let marked = match what {
        Marking { event: Some(id), seen: None, stream: None, x: None, y: None } => {
            apart(move || marks.mark_event(&id)).await??
        }
        Marking { event: None, seen: Some(id), stream: None, x: None, y: None } => {
            apart(move || marks.mark_seen(&id)).await??
        }
        Marking { event: None, seen: None, stream: Some(stream), x: Some(x), y: Some(y) } => {
            apart(move || marks.mark_spot(&stream, Spot { x, y, size: None })).await??
        }
        _ => {
            let why = "it takes {\"event\": \"ID\"}, {\"seen\": \"ID\"}, or {\"stream\": \"NAME\", \"x\": COLUMN, \"y\": ROW}";
            return Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "bad request", why));
        }
    };
    let mut told = Mark::from(&marked);
    // The picture that was seen is that of the mark.
    let all = subject.marks.iter().flat_map(|marks| marks.supplements().all().1);
    if let Some(one) = all.into_iter().find(|one| one.picture(&told.id).is_some()) {
        told = told.shown(&one);
    }
    Ok((StatusCode::CREATED, Json(told)))
}

/// A small picture of something that was marked as normal, or that was asked about.
#[utoipa::path(get, path = "/api/v1/normal/{id}/picture", tag = "normal",
    params(("id" = String, Path, description = "The mark's id, or that of what was asked about.")),
    responses(
        (status = OK, body = Vec<u8>, content_type = "image/jpeg"),
        (status = "4XX", body = Problem, content_type = "application/problem+json"),
    ))]
pub(super) async fn picture(
    State(subject): State<Arc<Subject>>,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let marks = Arc::clone(marks(&subject)?);
    let name = id.clone();
    let found = apart(move || marks.picture(&name)).await?;
    let absent = || {
        let why = format!("there is no picture of {id}; /api/v1/normal lists what is marked");
        Problem::new(StatusCode::NOT_FOUND, "no picture", why)
    };
    // Nobody asks for it again and again: of an event that goes on it changes.
    let head = [(CONTENT_TYPE, "image/jpeg"), (CACHE_CONTROL, "private, max-age=60")];
    found.map(|jpeg| (head, jpeg).into_response()).ok_or_else(absent)
}

/// Takes a mark back: what looks like it alarms again.
#[utoipa::path(delete, path = "/api/v1/normal/{id}", tag = "normal",
    params(("id" = String, Path, description = "The mark's id.")),
    responses(
        (status = NO_CONTENT, description = "It is gone."),
        (status = "4XX", body = Problem, content_type = "application/problem+json"),
    ))]
pub(super) async fn unmark(
    State(subject): State<Arc<Subject>>,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    let (marks, name) = (Arc::clone(marks(&subject)?), id.clone());
    match apart(move || marks.unmark(&name)).await?.map_err(unwritten)? {
        true => Ok(StatusCode::NO_CONTENT),
        false => {
            let why = format!("nothing is marked under {id}; /api/v1/normal lists what is");
            Err(Problem::new(StatusCode::NOT_FOUND, "no such mark", why))
        }
    }
}
