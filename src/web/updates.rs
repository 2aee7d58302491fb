//! How all stands, again and again: server-sent events.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::response::sse::{Event, Sse};
use futures_util::stream::{Stream, unfold};

use super::Subject;
use super::state::Whole;

/// How often.
const INTERVAL: Duration = Duration::from_millis(500);

/// How all stands, twice a second, as server-sent events whose data is the body of `/api/v1/state`.
#[utoipa::path(get, path = "/api/v1/updates", tag = "state", responses(
    (status = OK, description = "An endless stream.", body = String, content_type = "text/event-stream"),
))]
pub(super) async fn updates(
    State(subject): State<Arc<Subject>>,
) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let told = unfold((subject, false), |(subject, waits)| async move {
        if waits {
            tokio::time::sleep(INTERVAL).await;
        }
        let event = Event::default().json_data(Whole::of(&subject)).unwrap_or_default();
        Some((Ok(event), (subject, true)))
    });
    Sse::new(told)
}
