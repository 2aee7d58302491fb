//! Changes by the API.

use std::sync::{Arc, Weak};

use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde_json::Value;
use utoipa::ToSchema;

use super::{Answer, Problem, Subject, apart, body};
use crate::source::SourceConfig;
use crate::steer::{self, SteerError, Steering, Who};

/// What became of each key that was to change.
#[derive(Debug, serde::Serialize, ToSchema)]
pub(super) struct Outcome {
    /// Whether all holds now.
    complete: bool,
    /// The keys that differ.
    changes: Vec<Change>,
}

/// A key that was to change.
#[derive(Debug, serde::Serialize, ToSchema)]
pub(super) struct Change {
    /// Its name, such as "score.threshold" or "stream.front.source".
    key: String,
    /// What held; absent if nothing was set.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Object)]
    before: Option<Value>,
    /// What was asked for; absent if nothing is set any more.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Object)]
    after: Option<Value>,
    /// Why it was not done; absent if it holds now.
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<String>,
}

impl From<steer::Outcome> for Outcome {
    fn from(outcome: steer::Outcome) -> Outcome {
        let complete = outcome.is_complete();
        let change =
            |one: steer::Change| Change { key: one.key, before: one.before, after: one.after, why: one.why };
        Outcome { complete, changes: outcome.changes.into_iter().map(change).collect() }
    }
}

impl From<SteerError> for Problem {
    fn from(error: SteerError) -> Problem {
        let (status, title) = match &error {
            SteerError::Refused(_) => (StatusCode::UNPROCESSABLE_ENTITY, "invalid configuration"),
            SteerError::Forbidden(_) => (StatusCode::FORBIDDEN, "not allowed"),
            SteerError::NoStream { .. } => (StatusCode::NOT_FOUND, "no such stream"),
            SteerError::Last(_) => (StatusCode::CONFLICT, "the last stream"),
        };
        Problem::new(status, title, error.to_string())
    }
}

/// Does what a command of a broker asks, on the broker's thread: `{"patch": ...}` or `{"reload": true}`.
pub(super) fn commanded(subject: &Subject, command: &Value) -> Value {
    let refused = |why: String| serde_json::json!({"done": false, "why": why});
    let steering = subject.steering.as_ref().and_then(Weak::upgrade);
    let Some(steering) = steering else { return refused("this run takes no changes".into()) };
    let outcome = match (command.get("patch"), command.get("reload")) {
        (Some(patch), None) => steering.patch(patch, Who::Anyone),
        (None, Some(Value::Bool(true))) => steering.reload(),
        _ => return refused("a command is {\"patch\": {...}} or {\"reload\": true}".into()),
    };
    match outcome {
        Ok(outcome) => serde_json::json!({"done": outcome.is_complete(), "changes": outcome.changes}),
        Err(why) => refused(why.to_string()),
    }
}

/// Who asks: where somebody is asked for, all who come so far have shown it.
fn who(subject: &Subject) -> Who {
    if subject.guarded { Who::Known } else { Who::Anyone }
}

/// Lets `work` change the run, on a thread that may wait.
async fn steer<T: Send + 'static>(
    subject: &Subject,
    work: impl FnOnce(&Steering) -> Result<T, SteerError> + Send + 'static,
) -> Result<T, Problem> {
    let Some(steering) = subject.steering.as_ref().and_then(Weak::upgrade) else {
        let why = "this run takes no changes: it shows judged pictures only (output.picture = \"scored\"), or plays as fast as it can";
        return Err(Problem::new(StatusCode::CONFLICT, "no changes", why));
    };
    Ok(apart(move || work(&steering)).await??)
}

/// The configuration that holds now: the keys of the file, with passwords hidden and streams as an object by name.
#[utoipa::path(get, path = "/api/v1/config", tag = "config", responses(
    (status = OK, body = Object),
    (status = CONFLICT, description = "This run takes no changes.", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn config(State(subject): State<Arc<Subject>>) -> Answer<Value> {
    steer(&subject, |steering| Ok(steering.config())).await.map(Json)
}

/// Changes the configuration of this run, not the file: a JSON merge patch (RFC 7396), such as
/// `{"score": {"threshold": 4}}` or `{"stream": {"front": {"overlay": {"heat": false}}}}`.
#[utoipa::path(patch, path = "/api/v1/config", tag = "config", request_body = Object, responses(
    (status = OK, body = Outcome),
    (status = "4XX", description = "Nothing was changed.", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn patch(
    State(subject): State<Arc<Subject>>,
    change: Result<Json<Value>, JsonRejection>,
) -> Answer<Outcome> {
    let change = body(change)?;
    let who = who(&subject);
    steer(&subject, move |steering| steering.patch(&change, who)).await.map(|done| Json(done.into()))
}

/// Reads the configuration file again and puts in force what has changed, as SIGHUP does.
#[utoipa::path(post, path = "/api/v1/reload", tag = "config", responses(
    (status = OK, body = Outcome),
    (status = "4XX", description = "Nothing was changed.", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn reload(State(subject): State<Arc<Subject>>) -> Answer<Outcome> {
    steer(&subject, Steering::reload).await.map(|done| Json(done.into()))
}

/// Watches one more stream: the keys of a `[[stream]]` table.
#[utoipa::path(post, path = "/api/v1/streams", tag = "streams", request_body = Object, responses(
    (status = CREATED, body = Outcome),
    (status = "4XX", description = "Nothing was changed.", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn add(
    State(subject): State<Arc<Subject>>,
    stream: Result<Json<SourceConfig>, JsonRejection>,
) -> Result<(StatusCode, Json<Outcome>), Problem> {
    let stream = body(stream)?;
    let who = who(&subject);
    let done = steer(&subject, move |steering| steering.add(stream, who)).await?;
    Ok((StatusCode::CREATED, Json(done.into())))
}

/// Watches a stream no more: its viewers see its end.
#[utoipa::path(delete, path = "/api/v1/streams/{name}", tag = "streams",
    params(("name" = String, Path, description = "Its name, or \"stream\" if it has none.")),
    responses(
        (status = OK, body = Outcome),
        (status = "4XX", description = "Nothing was changed.", body = Problem, content_type = "application/problem+json"),
    ))]
pub(super) async fn remove(State(subject): State<Arc<Subject>>, Path(name): Path<String>) -> Answer<Outcome> {
    steer(&subject, move |steering| steering.remove(&name)).await.map(|done| Json(done.into()))
}
