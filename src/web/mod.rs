//! What the HTTP server says beside the streams: a page for people, an API for programs ([`state`]), metrics for
//! Prometheus. Handlers only read what the lanes have counted; nothing here makes a frame wait.

mod documents;
mod events;
mod marks;
mod metrics;
mod page;
pub mod state;
mod steering;
mod streams;
mod updates;
mod verdicts;
mod why;

use std::sync::{Arc, Weak};
use std::time::Instant;

use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::extract::{Query, Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::live::{DetectionStatus, Standing, is_ready};
use crate::mqtt::{Mqtt, Teller};
use crate::sink::{Audience, EventStore, Problem};
use crate::steer::{Marks, Steering};
use state::Whole;

/// What is told of.
pub struct Subject {
    /// How the streams stand now.
    pub streams: Box<dyn Fn() -> Vec<Standing> + Send + Sync>,
    /// The detection lane, if verdicts go their own way.
    pub detection: Option<Arc<DetectionStatus>>,
    /// What changes the run, while it can be changed.
    pub steering: Option<Weak<Steering>>,
    /// Whether those who ask have shown who they are.
    pub guarded: bool,
    /// What was found, if anything is judged.
    pub events: Option<EventStore>,
    /// What marks regions and events as normal, if anything is judged.
    pub marks: Option<Arc<Marks>>,
    /// A broker that is told, too.
    pub broker: Option<Mqtt>,
    /// Who watches.
    pub audience: Audience,
    /// When the run began.
    pub begun: Instant,
}

impl Subject {
    fn is_ready(&self) -> bool {
        is_ready(&(self.streams)(), self.detection.as_deref())
    }
}

/// What a broker is told of `subject`, and may ask of it.
pub fn teller(subject: &Arc<Subject>) -> Teller {
    let [stated, named, commanded] = [(); 3].map(|()| Arc::clone(subject));
    Teller {
        state: Box::new(move || serde_json::to_value(Whole::of(&stated)).unwrap_or_default()),
        streams: Box::new(move || (named.streams)().iter().map(|one| one.called().to_owned()).collect()),
        command: Box::new(move |command| steering::commanded(&commanded, command)),
    }
}

/// The API in the words of OpenAPI.
#[derive(OpenApi)]
#[openapi(info(
    title = "farout",
    description = "What a running farout sees, how it stands, and how it is told to change. Errors are problem details (RFC 9457)."
))]
struct Api;

/// All routes that tell of `subject`.
pub fn routes(subject: Arc<Subject>) -> Router {
    let (router, api) = OpenApiRouter::with_openapi(Api::openapi())
        .routes(routes!(state::state))
        .routes(routes!(streams::streams))
        .routes(routes!(streams::stream))
        .routes(routes!(steering::add))
        .routes(routes!(steering::remove))
        .routes(routes!(steering::config, steering::patch))
        .routes(routes!(steering::reload))
        .routes(routes!(events::list))
        .routes(routes!(events::one, events::change, events::remove))
        .routes(routes!(events::file))
        .routes(routes!(marks::list, marks::mark))
        .routes(routes!(marks::unmark))
        .routes(routes!(marks::picture))
        .routes(routes!(why::of_spot))
        .routes(routes!(why::of_event))
        .routes(routes!(why::thumbnail))
        .routes(routes!(updates::updates))
        .routes(routes!(metrics::metrics))
        .routes(routes!(healthz))
        .routes(routes!(readyz))
        .split_for_parts();
    let described = documents::Described::new(api);
    router
        .route(documents::PATH, get(move || documents::describe(described.clone())))
        .merge(page::routes())
        .fallback(absent)
        .method_not_allowed_fallback(not_so)
        .with_state(subject)
}

/// Whether the process answers. What stands still for good ends it, so that it is started again.
#[utoipa::path(get, path = "/healthz", tag = "health", responses((status = OK, description = "It answers.", body = String)))]
async fn healthz() -> &'static str {
    "ok\n"
}

/// Whether every stream's first picture has left the encoder and the detector judges.
#[utoipa::path(get, path = "/readyz", tag = "health", responses(
    (status = OK, description = "It does what it should.", body = String),
    (status = SERVICE_UNAVAILABLE, description = "Not yet, or not now.", body = Problem, content_type = "application/problem+json"),
))]
async fn readyz(State(subject): State<Arc<Subject>>) -> Response {
    let whole = Whole::of(&subject);
    match whole.why_not_ready() {
        None => "ready\n".into_response(),
        Some(why) => Problem::new(StatusCode::SERVICE_UNAVAILABLE, "not ready", why).into_response(),
    }
}

async fn absent(request: Request) -> Problem {
    let path = request.uri().path();
    let why = format!("there is nothing at {path}; / is the page, {} describes the API", documents::PATH);
    Problem::new(StatusCode::NOT_FOUND, "not here", why)
}

async fn not_so(request: Request) -> Problem {
    let why = format!("{} is not how {} is used", request.method(), request.uri().path());
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "another method", why)
}

/// What is answered where all goes well.
type Answer<T> = Result<Json<T>, Problem>;

/// A body that is no JSON, or not what is wanted.
fn body<T>(read: Result<Json<T>, JsonRejection>) -> Result<T, Problem> {
    let said = |why: JsonRejection| Problem::new(why.status(), "bad request", why.body_text());
    read.map(|Json(body)| body).map_err(said)
}

/// A query that says not what is wanted.
fn query<T>(read: Result<Query<T>, QueryRejection>) -> Result<T, Problem> {
    let said = |why: QueryRejection| Problem::new(why.status(), "bad request", why.body_text());
    read.map(|Query(query)| query).map_err(said)
}

/// Does `work` on a thread that may wait for a disk or a camera.
async fn apart<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Problem> {
    let panicked = |_| {
        let why = "a request panicked; this is a bug in farout, please report it";
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "a bug", why)
    };
    tokio::task::spawn_blocking(work).await.map_err(panicked)
}
