//! The same stream to browsers over WebRTC, with less delay than in a file that never ends. Watching is asked for by WHEP
//! (draft-ietf-wish-whep): an offer is posted to `/NAME.whep` and answered; what was made so is deleted at its `Location`.

#[doc(hidden)]
pub mod fuzzed;
mod guarded;
mod hub;
mod viewer;
mod watched;
mod words;

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Arc;

use axum::body::Body;
use axum::extract::Request;
use axum::http::header::{ALLOW, CONTENT_TYPE, HOST, HeaderName, LOCATION};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use rustls::crypto::ring;
use tokio::sync::{mpsc, oneshot};

use super::problem::Problem;
use hub::Hub;
pub(super) use watched::Watched;
pub(super) use words::Feed;
use words::{Ears, Join, Picture, Refusal, Word};

/// The end of a stream's path.
pub(super) const ENDING: &str = ".whep";
/// The media type of offers and answers.
const SDP: &str = "application/sdp";
/// Pictures of all streams that may wait for the server's thread.
const WAITING: usize = 64;
/// What the kernel may hold for the socket: a key picture at once.
const BUFFER: usize = 4 << 20;

/// How the rest of the server reaches those who watch.
pub(super) struct Whep {
    words: mpsc::UnboundedSender<Word>,
    pictures: mpsc::Sender<Picture>,
    /// Why nobody can watch, if so.
    closed: Option<String>,
}

/// What serves those who watch, until there is nobody left who could ask for it.
pub(super) struct Serving {
    socket: Option<UdpSocket>,
    ears: Ears,
}

/// Opens the UDP socket of those who watch over WebRTC, at the port of the TCP one.
///
/// # Errors
/// Why it cannot be opened.
pub(super) fn bind(at: SocketAddr) -> Result<UdpSocket, String> {
    let socket = UdpSocket::bind(at).and_then(|socket| socket.set_nonblocking(true).map(|()| socket));
    let socket = socket.map_err(|e| format!("UDP port {} cannot be opened: {e}", at.port()))?;
    // As much as the system gives.
    let _ = rustix::net::sockopt::set_socket_send_buffer_size(&socket, BUFFER);
    Ok(socket)
}

/// The server's two ends: one to ask, one to serve. Without a socket everybody is told why.
pub(super) fn prepare(socket: Result<UdpSocket, String>) -> (Whep, Serving) {
    let (say, words) = mpsc::unbounded_channel();
    let (hand, pictures) = mpsc::channel(WAITING);
    let (socket, closed) = match socket {
        Ok(socket) => (Some(socket), None),
        Err(why) => (None, Some(why)),
    };
    (Whep { words: say, pictures: hand, closed }, Serving { socket, ears: Ears { words, pictures } })
}

impl Serving {
    /// Serves, inside of the server's runtime.
    pub(super) async fn run(self) {
        let Some(socket) = self.socket else { return };
        match tokio::net::UdpSocket::from_std(socket) {
            Ok(socket) => Hub::new(socket).run(self.ears).await,
            Err(error) => tracing::warn!(%error, "nobody can watch over WebRTC"),
        }
    }
}

/// What a request is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Asked {
    /// The path of the stream without an ending.
    pub stem: String,
    /// The identifier of one who watches.
    id: Option<String>,
}

/// What a path asks for, if it is of this kind: `/NAME.whep`, or `/NAME.whep/ID`.
pub(super) fn asked(path: &str) -> Option<Asked> {
    // What ends so in the API is none.
    if path.starts_with("/api/") {
        return None;
    }
    if let Some(stem) = path.strip_suffix(ENDING) {
        return Some(Asked { stem: stem.to_owned(), id: None });
    }
    let (rest, id) = path.rsplit_once('/')?;
    let stem = rest.strip_suffix(ENDING)?;
    Some(Asked { stem: stem.to_owned(), id: Some(id.to_owned()) })
}

impl Whep {
    /// Whether anybody can watch.
    pub(super) fn is_open(&self) -> bool {
        self.closed.is_none()
    }

    /// The way of a stream's pictures to those who watch it.
    pub(super) fn feed(&self, stream: Arc<Watched>) -> Feed {
        Feed { stream, pictures: self.pictures.clone(), words: self.words.clone(), waits_for_key: false }
    }

    /// All is over: viewers are told farewell.
    pub(super) fn end(&self) {
        // One that has ended already needs no telling.
        let _ = self.words.send(Word::Over);
    }

    /// There is no stream of this path.
    pub(super) fn absent(asked: &Asked) -> Response {
        let why = format!("there is no stream {}; /api/v1/streams tells which there are", asked.stem);
        problem(StatusCode::NOT_FOUND, "no such stream", why).into_response()
    }

    /// Answers a request of a client that has reached the server at `here`.
    pub(super) async fn answer(
        &self,
        asked: Asked,
        stream: Arc<Watched>,
        here: SocketAddr,
        request: Request,
    ) -> Response {
        match (request.method().clone(), asked.id) {
            (Method::OPTIONS, id) => (StatusCode::NO_CONTENT, allowed(id.is_some())).into_response(),
            (Method::POST, None) => {
                let joined = self.join(&asked.stem, stream, here, request).await;
                joined.unwrap_or_else(IntoResponse::into_response)
            }
            (Method::DELETE, Some(id)) => {
                let (told, hears) = oneshot::channel();
                let said = self.words.send(Word::Leave { id, stream, told });
                match said.is_ok() && hears.await.unwrap_or(false) {
                    true => StatusCode::OK.into_response(),
                    false => problem(StatusCode::NOT_FOUND, "no such viewer", "who watched here is gone")
                        .into_response(),
                }
            }
            (method, id) => {
                let why = match id {
                    None => format!("{method} is not how it is watched; POST an SDP offer (WHEP)"),
                    Some(_) => format!("{method} is not supported; DELETE ends it, POST anew to watch again"),
                };
                let refused = problem(StatusCode::METHOD_NOT_ALLOWED, "another method", why);
                (allowed(id.is_some()), refused).into_response()
            }
        }
    }

    async fn join(
        &self,
        stem: &str,
        stream: Arc<Watched>,
        here: SocketAddr,
        request: Request,
    ) -> Result<Response, Problem> {
        if let Some(why) = &self.closed {
            let why = format!("{why}; watch over HTTP or RTSP");
            return Err(problem(StatusCode::SERVICE_UNAVAILABLE, "no WebRTC", why));
        }
        let (head, body) = request.into_parts();
        if !head.headers.get(CONTENT_TYPE).is_some_and(is_sdp) {
            let why = format!("WHEP takes an SDP offer; send it as Content-Type: {SDP}");
            return Err(problem(StatusCode::UNSUPPORTED_MEDIA_TYPE, "no SDP", why));
        }
        let offer = read(body).await?;
        let id = identifier().ok_or_else(|| {
            problem(StatusCode::INTERNAL_SERVER_ERROR, "no randomness", "the system gives no random numbers")
        })?;
        let location = format!("{stem}{ENDING}/{id}");
        let reached_at = reached_at(here, &head.headers);
        let (told, hears) = oneshot::channel();
        let join = Join { id, stream, offer, reached_at, told };
        let over = || problem(StatusCode::SERVICE_UNAVAILABLE, "no WebRTC", "the server is ending");
        self.words.send(Word::Join(Box::new(join))).map_err(|_ended| over())?;
        match hears.await.map_err(|_ended| over())? {
            Ok(answer) => {
                let head = [(CONTENT_TYPE, SDP.to_owned()), (LOCATION, location)];
                Ok((StatusCode::CREATED, head, answer).into_response())
            }
            Err(why @ Refusal::Full) => {
                Err(problem(StatusCode::SERVICE_UNAVAILABLE, "too many viewers", why.to_string()))
            }
            Err(why @ Refusal::Ended) => {
                Err(problem(StatusCode::NOT_FOUND, "no such stream", why.to_string()))
            }
            Err(why @ Refusal::Offer(_)) => {
                Err(problem(StatusCode::BAD_REQUEST, "bad offer", why.to_string()))
            }
        }
    }
}

fn problem(status: StatusCode, title: &'static str, why: impl Into<String>) -> Problem {
    Problem::new(status, title, why)
}

/// What may be done at a stream, or to one who watches.
fn allowed(viewer: bool) -> [(HeaderName, HeaderValue); 2] {
    let methods = if viewer { "DELETE, OPTIONS" } else { "POST, OPTIONS" };
    [
        (ALLOW, HeaderValue::from_static(methods)),
        (HeaderName::from_static("accept-post"), HeaderValue::from_static(SDP)),
    ]
}

fn is_sdp(kind: &HeaderValue) -> bool {
    let kind = kind.to_str().unwrap_or_default();
    kind.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case(SDP)
}

/// The text of a request, whose body has come as a whole.
async fn read(body: Body) -> Result<String, Problem> {
    let refused =
        |why: String| problem(StatusCode::BAD_REQUEST, "bad offer", format!("the offer is no text: {why}"));
    let bytes = axum::body::to_bytes(body, usize::MAX).await.map_err(|e| refused(e.to_string()))?;
    std::str::from_utf8(&bytes).map(str::to_owned).map_err(|e| refused(e.to_string()))
}

/// What nobody can guess.
fn identifier() -> Option<String> {
    let mut bytes = [0; 16];
    ring::default_provider().secure_random.fill(&mut bytes).ok()?;
    Some(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Where a client finds this machine: at the address that it has used, and at the one that it has named, with the port that
/// it has named: another one where a router or a container's host stands between them and passes both protocols on.
fn reached_at(here: SocketAddr, head: &HeaderMap) -> Vec<SocketAddr> {
    let here = SocketAddr::new(here.ip().to_canonical(), here.port());
    let host = head.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let bare = || host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    // Without a port in it, a name means that of HTTP; whoever speaks TLS means another one, and says so or is not reached so.
    let named = host.parse().or_else(|_| bare().map(|ip| SocketAddr::new(ip, 80)));
    let named = named.map(|at: SocketAddr| SocketAddr::new(at.ip().to_canonical(), at.port()));
    let other = named.ok().filter(|named| *named != here && !named.ip().is_unspecified());
    std::iter::once(here).chain(other).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_of_streams_or_of_viewers() {
        let of = |stem: &str, id: Option<&str>| Some(Asked { stem: stem.into(), id: id.map(str::to_owned) });
        assert_eq!(asked("/front.whep"), of("/front", None));
        assert_eq!(asked("/front.whep/0a1b"), of("/front", Some("0a1b")));
        assert_eq!(asked("/cars/front.whep/0a1b"), of("/cars/front", Some("0a1b")));
        for none in [
            "/api/v1/events/a.whep",
            "/api/a.whep/b",
            "/front",
            "/front.mp4",
            "/",
            "",
            "/front.whep/a/b",
            "front",
        ] {
            assert_eq!(asked(none), None, "{none}");
        }
    }

    #[test]
    fn a_client_finds_us_where_it_has_looked() {
        let at = |here: &str, host: Option<&str>| {
            let mut head = HeaderMap::new();
            if let Some(host) = host {
                head.insert(HOST, host.parse().unwrap());
            }
            reached_at(here.parse().unwrap(), &head).iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(at("127.0.0.1:8080", None), ["127.0.0.1:8080"]);
        assert_eq!(at("127.0.0.1:8080", Some("127.0.0.1:8080")), ["127.0.0.1:8080"]);
        assert_eq!(at("127.0.0.1:8080", Some("car.local:8080")), ["127.0.0.1:8080"]);
        assert_eq!(at("172.17.0.2:8080", Some("192.168.1.5:9000")), ["172.17.0.2:8080", "192.168.1.5:9000"]);
        assert_eq!(at("172.17.0.2:8080", Some("192.168.1.5")), ["172.17.0.2:8080", "192.168.1.5:80"]);
        assert_eq!(at("[::ffff:10.0.0.1]:80", Some("[fd00::1]:80")), ["10.0.0.1:80", "[fd00::1]:80"]);
        assert_eq!(at("[::1]:80", Some("[fd00::2]")), ["[::1]:80", "[fd00::2]:80"]);
        assert_eq!(at("10.0.0.1:80", Some("0.0.0.0:80")), ["10.0.0.1:80"]);
    }

    #[test]
    fn identifiers_differ() {
        let (one, other) = (identifier().unwrap(), identifier().unwrap());
        assert_eq!(one.len(), 32);
        assert_ne!(one, other);
    }
}
