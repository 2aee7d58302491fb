//! The page, which is part of the program.

use axum::Router;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use axum::response::{IntoResponse, Redirect};
use axum::routing::get;

/// Nothing comes from elsewhere, and no other page shows this one.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; \
                      media-src 'self' blob:; frame-ancestors 'none'; base-uri 'none'; form-action 'none'";

/// The page and what belongs to it.
pub(super) fn routes<S: Clone + Send + Sync + 'static>() -> Router<S> {
    let part = |kind: &'static str, text: &'static str| get(move || part(kind, text));
    Router::new()
        .route("/", part("text/html; charset=utf-8", include_str!("page/index.html")))
        .route("/page.css", part("text/css; charset=utf-8", include_str!("page/page.css")))
        .route("/page.js", part("text/javascript; charset=utf-8", include_str!("page/page.js")))
        .route("/favicon.ico", part("image/svg+xml", include_str!("page/icon.svg")))
        // The guard has asked for a password before.
        .route("/sign-in", get(|| async { Redirect::to("/") }))
        .route("/ask.js", part("text/javascript; charset=utf-8", include_str!("page/ask.js")))
        .route("/events.js", part("text/javascript; charset=utf-8", include_str!("page/events.js")))
        .route("/steer.js", part("text/javascript; charset=utf-8", include_str!("page/steer.js")))
        .route("/video.js", part("text/javascript; charset=utf-8", include_str!("page/video.js")))
        .route("/webrtc.js", part("text/javascript; charset=utf-8", include_str!("page/webrtc.js")))
        .route("/why.js", part("text/javascript; charset=utf-8", include_str!("page/why.js")))
        .route("/icon.svg", part("image/svg+xml", include_str!("page/icon.svg")))
}

async fn part(kind: &'static str, text: &'static str) -> impl IntoResponse {
    let head = [
        (CONTENT_TYPE, kind),
        (CONTENT_SECURITY_POLICY, POLICY),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (REFERRER_POLICY, "no-referrer"),
        // Another version of farout has another page.
        (CACHE_CONTROL, "no-cache"),
    ];
    (head, text)
}
