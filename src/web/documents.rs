//! The description of the API, as it is served.

use std::sync::Arc;

use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;

/// Where it is.
pub(super) const PATH: &str = "/api/v1/openapi.json";

/// The description, written once.
#[derive(Clone)]
pub(super) struct Described(Arc<str>);

impl Described {
    pub(super) fn new(mut api: utoipa::openapi::OpenApi) -> Described {
        api.info.version = env!("CARGO_PKG_VERSION").into();
        Described(api.to_pretty_json().unwrap_or_default().into())
    }
}

pub(super) async fn describe(described: Described) -> impl IntoResponse {
    ([(CONTENT_TYPE, "application/json")], described.0.to_string())
}
