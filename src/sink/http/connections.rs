//! Connections: who may hold one for how long, and who answers what is asked over it.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{HttpService, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, oneshot};
use tokio_io_timeout::TimeoutStream;
use tokio_rustls::TlsAcceptor;
use tower::ServiceExt;

use super::problem::Problem;
use super::whep::{self, Whep};
use super::{Shared, video};
use crate::sink::descriptors;

/// A client that takes longer to say what it wants is let go; so is one that says nothing more.
const SAYS_WITHIN: Duration = Duration::from_secs(5);
/// A client that takes nothing of what waits for it for so long is let go.
const TAKES_WITHIN: Duration = Duration::from_secs(10);
/// A body has come by then.
const COMES_WITHIN: Duration = Duration::from_secs(10);
/// The longest body: the API takes changes of a configuration, WebRTC an offer.
const LONGEST: usize = 256 * 1024;
/// Connections that have not yet said what they want, at once: the oldest goes when one more comes, so that however many
/// say nothing, who does is heard.
const MOST_SILENT: usize = 32;
/// Connections at once.
const MOST: usize = 1024;
/// How long connections are given at the end.
const FAREWELL: Duration = Duration::from_secs(1);
/// Bytes that may wait for a client outside of its queue.
const BUFFER: usize = 64 * 1024;

/// A connection that has not yet said what it wants.
#[derive(Clone, Default)]
struct Unheard {
    spoken: Arc<AtomicBool>,
    leave: Arc<Notify>,
}

/// Connections that have not yet said what they want, oldest first.
#[derive(Default)]
struct Silent(Mutex<VecDeque<Unheard>>);

impl Silent {
    /// Notes a connection and lets the oldest go if there are too many.
    fn add(&self, one: Unheard) {
        let mut list = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        list.retain(|known| !known.spoken.load(Ordering::Relaxed));
        list.push_back(one);
        if list.len() > MOST_SILENT
            && let Some(oldest) = list.pop_front()
        {
            oldest.leave.notify_one();
        }
    }
}

/// A place among the connections; free again when dropped.
struct Place(Arc<AtomicUsize>);

impl Place {
    /// `None` if there are as many as may be.
    fn take(count: &Arc<AtomicUsize>) -> Option<Place> {
        let place = Place(Arc::clone(count));
        (count.fetch_add(1, Ordering::Relaxed) < MOST).then_some(place)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Accepts connections until `ends` is dropped, and then gives them a moment to end.
pub(super) async fn serve(
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    shared: Arc<Shared>,
    mut ends: oneshot::Receiver<()>,
) {
    let silent = Silent::default();
    let graceful = GracefulShutdown::new();
    let count = Arc::<AtomicUsize>::default();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = &mut ends => break,
        };
        let (connection, from) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of descriptors, most likely: others must go before anybody can come.
                tracing::warn!(%error, "HTTP client not accepted");
                tokio::time::sleep(Duration::from_millis(200)).await;
                continue;
            }
        };
        let Some(place) = Place::take(&count) else {
            tracing::debug!(%from, "too many HTTP connections");
            continue;
        };
        if descriptors::are_scarce() {
            descriptors::tell("HTTP");
            continue;
        }
        let unheard = Unheard::default();
        silent.add(unheard.clone());
        let (shared, tls, watcher) = (Arc::clone(&shared), tls.clone(), graceful.watcher());
        tokio::spawn(async move {
            let talk = async {
                let (talk, here) = opened(connection, tls).await?;
                let served = serve_one(talk, here, shared, Arc::clone(&unheard.spoken));
                watcher.watch(served).await.map_err(std::io::Error::other)
            };
            tokio::select! {
                ended = talk => if let Err(error) = ended {
                    tracing::debug!(%error, "HTTP client gone");
                },
                () = unheard.leave.notified() => {}
            }
            // Whatever became of it, it is silent no more.
            unheard.spoken.store(true, Ordering::Relaxed);
            drop(place);
        });
    }
    drop(listener);
    let _ = tokio::time::timeout(FAREWELL, graceful.shutdown()).await;
}

/// Bytes in and out.
trait Bytes: AsyncRead + AsyncWrite + Send {}
impl<T: AsyncRead + AsyncWrite + Send> Bytes for T {}

/// What becomes of a connection.
type Talk<S> = http1::Connection<TokioIo<Pin<Box<dyn Bytes>>>, S>;

/// A connection over which can be talked, and the address that its client has used.
///
/// # Errors
/// If it is gone already, or its client does not speak TLS where it should.
async fn opened(
    connection: TcpStream,
    tls: Option<TlsAcceptor>,
) -> std::io::Result<(Pin<Box<dyn Bytes>>, SocketAddr)> {
    connection.set_nodelay(true)?;
    let here = connection.local_addr()?;
    let mut patient = TimeoutStream::new(connection);
    patient.set_write_timeout(Some(TAKES_WITHIN));
    let patient = Box::pin(patient);
    let Some(tls) = tls else { return Ok((patient, here)) };
    let shaken = tokio::time::timeout(SAYS_WITHIN, tls.accept(patient)).await??;
    Ok((Box::pin(shaken), here))
}

/// Answers what is asked over a connection, one question after the other.
fn serve_one(
    connection: Pin<Box<dyn Bytes>>,
    here: SocketAddr,
    shared: Arc<Shared>,
    spoken: Arc<AtomicBool>,
) -> Talk<impl HttpService<Incoming, ResBody = Body, Error = Infallible, Future: Send>> {
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        spoken.store(true, Ordering::Relaxed);
        let shared = Arc::clone(&shared);
        async move { Ok::<_, Infallible>(answer(&shared, here, request.map(Body::new)).await) }
    });
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(SAYS_WITHIN).max_buf_size(BUFFER);
    builder.serve_connection(TokioIo::new(connection), service)
}

/// The same request with all of its body: it has to come in time, and to be of a bounded length.
///
/// # Errors
/// What is wrong with it.
async fn whole(request: Request) -> Result<Request, Problem> {
    let (head, body) = request.into_parts();
    match tokio::time::timeout(COMES_WITHIN, axum::body::to_bytes(body, LONGEST)).await {
        Ok(Ok(bytes)) => Ok(Request::from_parts(head, Body::from(bytes))),
        Ok(Err(why)) if why.to_string().contains("length limit") => {
            let why = format!("the body has more than {LONGEST} bytes");
            Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too long", why))
        }
        Ok(Err(why)) => {
            Err(Problem::new(StatusCode::BAD_REQUEST, "bad request", format!("the body breaks off: {why}")))
        }
        Err(_) => {
            let why = format!("the body did not come within {} s", COMES_WITHIN.as_secs());
            Err(Problem::new(StatusCode::REQUEST_TIMEOUT, "too slow", why))
        }
    }
}

/// Answers a request.
async fn answer(shared: &Shared, here: SocketAddr, request: Request) -> Response {
    let request = match shared.guard.refuses(request).await {
        Ok(request) => request,
        Err(refused) => return refused,
    };
    // Nobody reads a body of the others.
    let says = matches!(*request.method(), Method::POST | Method::PUT | Method::PATCH);
    let request = match if says { whole(request).await } else { Ok(request) } {
        Ok(request) => request,
        Err(refused) => return refused.into_response(),
    };
    let path = request.uri().path();
    if let Some((container, stream)) = shared.find(path) {
        return video::answer(request.method(), container, &stream);
    }
    if let Some(asked) = whep::asked(path) {
        return match shared.watched(&asked.stem) {
            Some(stream) => shared.whep.answer(asked, stream, here, request).await,
            None => Whep::absent(&asked),
        };
    }
    let routes = shared.routes().clone();
    if let Some(routes) = routes {
        return routes.oneshot(request).await.into_response();
    }
    let page = shared.page(here);
    match path {
        "/" => page.into_response(),
        _ => (StatusCode::NOT_FOUND, format!("not here\n\n{page}")).into_response(),
    }
}
