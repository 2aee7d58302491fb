//! A stream as the endless body of an answer.

use axum::body::Body;
use axum::http::header::{CACHE_CONTROL, CONNECTION, CONTENT_TYPE};
use axum::http::{HeaderValue, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use futures_util::stream::unfold;

use super::broadcast::{Broadcast, Chunk};
use super::muxer::Container;

/// Shares a chunk's bytes with the other readers.
struct Shared(Chunk);

impl AsRef<[u8]> for Shared {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

/// Answers with the stream from its next key picture on, or says why not.
pub(super) fn answer(method: &Method, container: Container, stream: &Broadcast) -> Response {
    let body = match *method {
        Method::HEAD => Body::empty(),
        Method::GET => {
            let Some(reader) = stream.subscribe() else {
                return (StatusCode::SERVICE_UNAVAILABLE, "too many clients\n").into_response();
            };
            let chunks = unfold(reader, |mut reader| async {
                let bytes = axum::body::Bytes::from_owner(Shared(reader.next().await?));
                Some((Ok::<_, std::convert::Infallible>(bytes), reader))
            });
            Body::from_stream(chunks)
        }
        _ => return (StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD\n").into_response(),
    };
    let head = [
        (CONTENT_TYPE, HeaderValue::from_static(container.media_type())),
        (CACHE_CONTROL, HeaderValue::from_static("no-store")),
        // Nothing follows an endless body.
        (CONNECTION, HeaderValue::from_static("close")),
    ];
    (head, body).into_response()
}
