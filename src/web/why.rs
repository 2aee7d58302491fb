//! "Why does it alarm?", by the API: the references that a region's patches lie nearest to.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;
use utoipa::{IntoParams, ToSchema};

use super::events::Rect;
use super::marks::{Mark, marks};
use super::{Answer, Problem, Subject, query};
use crate::bank::{Bank, Origin, Supplement};
use crate::live::lower_priority;
use crate::nearest::{Neighbour, explain};
use crate::steer::Spot;

/// Patches that are explained.
const PATCHES: usize = 8;
/// References of each.
const REFERENCES: usize = 3;
/// How long a question may wait for another one.
const PATIENCE: Duration = Duration::from_secs(5);
/// By how many steps of `nice` the search gives way.
const GIVES_WAY: u32 = 10;

/// What something is compared with.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Why {
    /// What is explained; its `id` can be marked as normal, as `seen` or `event`.
    what: Mark,
    /// How the distances of parts become one: "concat", "sum" or "max".
    combine: &'static str,
    /// Its patches, the strangest first.
    patches: Vec<Patch>,
}

/// A patch.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Patch {
    /// The judged frame's number.
    frame: u32,
    /// Where it lies, in pixels of the frame.
    #[serde(rename = "box")]
    rect: Rect,
    /// The references that it looks least unlike, the nearest first.
    references: Vec<Reference>,
}

/// A reference.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Reference {
    /// Its row in the bank.
    row: usize,
    /// The file that it comes from: the name of its folder and its own.
    source: String,
    /// Number of the frame in that file, 0 for a picture.
    frame: u32,
    /// Row and column of its patch in the grid of that picture.
    patch: [u32; 2],
    /// How far the patch lies from it, in the unit of the score, before known outliers and the discriminant count.
    distance: f32,
    /// L2 distances of its parts, where these are searched one by one.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    parts: Vec<Part>,
    /// A small picture of the image, a path on this server; absent if the bank was built without (--thumbnails).
    #[serde(skip_serializing_if = "Option::is_none")]
    thumbnail: Option<String>,
    /// Where the patch lies in it: left, top, width and height as shares of its own; absent if it is all of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    place: Option<[f32; 4]>,
}

/// A part of the features.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Part {
    /// Its name.
    name: String,
    /// L2 distance in it.
    distance: f32,
}

/// Where somebody points.
#[derive(Debug, Deserialize, IntoParams)]
pub(super) struct Where {
    /// Column of a pixel of a region, in pixels of the judged frame.
    x: u32,
    /// Its row.
    y: u32,
    /// With `height`: `x` and `y` are the left upper corner of this very region, as "found" tells it.
    width: Option<u32>,
    /// See `width`.
    height: Option<u32>,
}

/// Which image of the bank.
#[derive(Debug, Deserialize, IntoParams)]
pub(super) struct Image {
    /// Row of the bank.
    row: usize,
}

/// Why what a stream shows at a place alarms: what it is compared with.
#[utoipa::path(get, path = "/api/v1/streams/{name}/why", tag = "normal",
    params(("name" = String, Path, description = "The stream's name, or \"stream\" if it has none."), Where),
    responses(
        (status = OK, body = Why),
        (status = "4XX", body = Problem, content_type = "application/problem+json"),
    ))]
pub(super) async fn of_spot(
    State(subject): State<Arc<Subject>>,
    Path(name): Path<String>,
    spot: Result<Query<Where>, QueryRejection>,
) -> Answer<Why> {
    let said = |why: QueryRejection| {
        let why = format!("{}; it takes ?x=COLUMN&y=ROW in pixels of the judged frame", why.body_text());
        Problem::new(StatusCode::BAD_REQUEST, "bad request", why)
    };
    let Query(Where { x, y, width, height }) = spot.map_err(said)?;
    let spot = Spot { x, y, size: width.zip(height) };
    let marks = Arc::clone(marks(&subject)?);
    let bank = bank(&subject)?;
    aside(move || why(&*marks.seen_at(&name, spot)?, &bank)).await.map(Json)
}

/// Why an event alarmed: what it is compared with.
#[utoipa::path(get, path = "/api/v1/events/{id}/why", tag = "normal",
    params(("id" = String, Path, description = "Its id.")),
    responses(
        (status = OK, body = Why),
        (status = "4XX", body = Problem, content_type = "application/problem+json"),
    ))]
pub(super) async fn of_event(State(subject): State<Arc<Subject>>, Path(id): Path<String>) -> Answer<Why> {
    let marks = Arc::clone(marks(&subject)?);
    let bank = bank(&subject)?;
    aside(move || why(&marks.seen_in(&id)?, &bank)).await.map(Json)
}

/// A small picture of the image that a row of the bank comes from.
#[utoipa::path(get, path = "/api/v1/bank/thumbnail", tag = "normal", params(Image), responses(
    (status = OK, body = Vec<u8>, content_type = "image/jpeg"),
    (status = "4XX", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn thumbnail(
    State(subject): State<Arc<Subject>>,
    image: Result<Query<Image>, QueryRejection>,
) -> Result<Response, Problem> {
    let Image { row } = query(image)?;
    let bank = bank(&subject)?;
    let found = bank.provenance(row).and_then(|origin| bank.thumbnails().of(origin.source, origin.frame));
    match found {
        // Another bank has others.
        Some(one) => {
            Ok(([(CONTENT_TYPE, "image/jpeg"), (CACHE_CONTROL, "no-cache")], one.jpeg.clone())
                .into_response())
        }
        None => {
            let why = format!(
                "the bank has no small picture of row {row}; build it with: farout bank build --thumbnails"
            );
            Err(Problem::new(StatusCode::NOT_FOUND, "no picture", why))
        }
    }
}

/// Searches a whole bank on a thread that gives way to the lanes, one at a time: whoever asks too often waits.
///
/// # Errors
/// What `work` says; if somebody else's question is still being answered.
async fn aside<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Problem> + Send + 'static,
) -> Result<T, Problem> {
    static BUSY: Semaphore = Semaphore::const_new(1);
    let busy = || {
        let why = "others ask why, too: ask again in a moment";
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, "busy", why)
    };
    let Ok(Ok(_permit)) = tokio::time::timeout(PATIENCE, BUSY.acquire()).await else { return Err(busy()) };
    let (give, take) = tokio::sync::oneshot::channel();
    let body = move || {
        lower_priority(GIVES_WAY);
        // Who asked may have gone.
        let _ = give.send(work());
    };
    let failed = |why: String| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "no answer", why);
    std::thread::Builder::new().name("explain".into()).spawn(body).map_err(|why| failed(why.to_string()))?;
    let panicked = || failed("the search panicked; this is a bug in farout, please report it".to_owned());
    take.await.unwrap_or_else(|_gone| Err(panicked()))
}

/// The bank that judges now.
fn bank(subject: &Subject) -> Result<Arc<Bank>, Problem> {
    let none = || {
        let why = "no bank is searched here now: scores come from the model's logits alone, or the detector is being opened";
        Problem::new(StatusCode::CONFLICT, "no bank", why)
    };
    marks(subject)?.bank().ok_or_else(none)
}

/// What the patches of `one` are compared with in `bank`.
fn why(one: &Supplement, bank: &Bank) -> Result<Why, Problem> {
    let refused = |why: String| Problem::new(StatusCode::CONFLICT, "not comparable", why);
    let differences = one.model().differences(&bank.metadata().model);
    if !differences.is_empty() {
        return Err(refused(format!("another model saw it: {}", differences.join("; "))));
    }
    let Some(mark) = one.marks().first().filter(|_| one.rows() > 0) else {
        return Err(refused("none of its patches has features that can be compared".to_owned()));
    };
    // The strangest look comes first, and in each the strangest patches.
    let rows: Vec<usize> = (0..one.rows().min(PATCHES)).collect();
    let width = bank.width();
    let features: Vec<f32> =
        rows.iter().flat_map(|row| &one.features()[row * width..][..width]).copied().collect();
    let mut means = one.means().clone();
    means.own = rows.iter().map(|row| means.own[*row]).collect();
    let found = explain(bank, &features, &means, REFERENCES).map_err(|why| refused(why.to_string()))?;
    let patch = |(row, found): (usize, Vec<Neighbour>)| {
        let Origin { frame, row, col, .. } = one.origins()[row];
        let references = found.into_iter().filter_map(|near| reference(bank, near)).collect();
        Patch { frame, rect: pixels((row, col), mark.grid, mark.frame_size), references }
    };
    let mut patches: Vec<Patch> = rows.into_iter().zip(found).map(patch).collect();
    let nearest = |patch: &Patch| patch.references.first().map_or(0.0, |one| one.distance);
    patches.sort_by(|a, b| nearest(b).total_cmp(&nearest(a)));
    let what = Mark::of(one).ok_or_else(|| refused("it shows nothing".to_owned()))?;
    Ok(Why { what, combine: bank.recipe().combine.name(), patches })
}

/// What a patch covers.
fn pixels((row, col): (u32, u32), (rows, cols): (usize, usize), (width, height): (usize, usize)) -> Rect {
    // The numbers come from a file.
    let span = |at: u32, of: usize, length: usize| {
        let edge = |at: u64| (at.saturating_mul(length as u64) / of.max(1) as u64).min(u64::from(u32::MAX));
        let (from, to) = (edge(at.into()), edge(u64::from(at) + 1));
        (from as u32, (to - from) as u32)
    };
    let ((x, width), (y, height)) = (span(col, cols, width), span(row, rows, height));
    crate::region::Rect { x, y, width, height }.into()
}

fn reference(bank: &Bank, near: Neighbour) -> Option<Reference> {
    let origin = bank.provenance(near.row)?;
    let source = bank.source(&origin).map_or_else(String::new, |source| source.name.clone());
    let known = bank.thumbnails().of(origin.source, origin.frame);
    let parts = match bank.recipe().combine.searches_apart() {
        false => Vec::new(),
        true => {
            let part = |(part, distance): (&crate::bank::RecipePart, &f32)| Part {
                name: part.name.clone(),
                distance: *distance,
            };
            bank.recipe().parts.iter().zip(&near.parts).map(part).collect()
        }
    };
    Some(Reference {
        row: near.row,
        source,
        frame: origin.frame,
        patch: [origin.row, origin.col],
        distance: near.distance,
        parts,
        thumbnail: known.map(|_| format!("/api/v1/bank/thumbnail?row={}", near.row)),
        // A picture of something that was marked as normal shows nothing else.
        place: known.filter(|one| one.grid != (0, 0)).map(|one| {
            let (rows, cols) = (one.grid.0 as f32, one.grid.1 as f32);
            [origin.col as f32 / cols, origin.row as f32 / rows, 1.0 / cols, 1.0 / rows]
        }),
    })
}
