//! A small HTTP server with endless MPEG transport streams, and a page that lists them.
//! Written on `std::net` because a stream that never ends needs its own write timeouts, which
//! the small synchronous HTTP crates do not offer; requests are parsed by `httparse`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use std::{fmt::Write as _, io::Write as _};

use crossbeam_channel::RecvTimeoutError;

use super::SinkError;
use super::config::Address;
use super::connection::{Silent, answer, is_gone, request, write_within};
use super::outlet::{AccessUnit, KeyWanted, Outlet};
use super::readers::TransportStream;
use super::transport_stream::Muxer;

/// A client that takes longer for a piece of the stream, or for the rest of one that has ended, is let go.
const PATIENCE: Duration = Duration::from_secs(10);

/// A bound port on which nobody is served yet.
pub(super) struct HttpListener {
    listener: TcpListener,
    address: Address,
    socket: SocketAddr,
}

impl HttpListener {
    /// Binds the port.
    ///
    /// # Errors
    /// [`SinkError::Listen`] if the port is taken or the address is not of this machine.
    pub(super) fn bind(address: Address) -> Result<HttpListener, SinkError> {
        let bound = TcpListener::bind(address.socket).and_then(|one| Ok((one.local_addr()?, one)));
        match bound {
            Ok((socket, listener)) => Ok(HttpListener { listener, address, socket }),
            Err(error) => Err(address.refused(error.to_string())),
        }
    }
}

/// A running server; dropped, it ends.
pub(super) struct HttpServer {
    address: Address,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
    /// Where it really listens.
    socket: SocketAddr,
}

/// What every client's thread knows.
#[derive(Default)]
struct Shared {
    streams: Mutex<Vec<Stream>>,
    closing: AtomicBool,
    silent: Silent,
}

/// A stream that is served now.
struct Stream {
    path: String,
    stream: TransportStream,
    /// Port and path of the same stream over RTSP.
    rtsp: Option<(SocketAddr, String)>,
}

impl Shared {
    fn streams(&self) -> MutexGuard<'_, Vec<Stream>> {
        self.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn find(&self, path: &str) -> Option<TransportStream> {
        self.streams().iter().find(|one| one.path == path).map(|one| one.stream.clone())
    }

    /// All streams with their addresses, for a client that reached the server at `here`.
    fn page(&self, here: SocketAddr) -> String {
        let mut page = "farout\n".to_owned();
        let streams = self.streams();
        if streams.is_empty() {
            page += "\nno stream is shown now\n";
        }
        for Stream { path, rtsp, .. } in streams.iter() {
            let _ = write!(page, "\nMPEG-TS: http://{here}{path}\n");
            if let Some((socket, path)) = rtsp {
                let reached = SocketAddr::new(known(socket.ip(), here.ip()), socket.port());
                let _ = writeln!(page, "also:    rtsp://{reached}{path}");
            }
        }
        page
    }
}

/// A server that listens at all addresses is reached at the one that the client has used.
fn known(listens: IpAddr, used: IpAddr) -> IpAddr {
    if listens.is_unspecified() { used } else { listens }
}

impl HttpServer {
    /// Starts to serve.
    ///
    /// # Errors
    /// [`SinkError::Listen`] if no thread can be started.
    pub(super) fn start(bound: HttpListener) -> Result<HttpServer, SinkError> {
        let HttpListener { listener, address, socket } = bound;
        let shared = Arc::<Shared>::default();
        let accepting = Arc::clone(&shared);
        let spawned = std::thread::Builder::new()
            .name("http-server".into())
            .spawn(move || accept(&listener, &accepting));
        match spawned {
            Ok(thread) => Ok(HttpServer { address, shared, thread: Some(thread), socket }),
            Err(error) => Err(address.refused(error.to_string())),
        }
    }

    /// Where a stream of this name is served.
    fn path(&self, name: Option<&str>) -> String {
        name.map_or_else(|| self.address.path.clone(), |name| format!("/{name}.ts"))
    }

    /// Serves one more stream until the mount is dropped. `rtsp` is where else it is served.
    ///
    /// # Errors
    /// [`SinkError::Mounted`] if there is one of this address, [`SinkError::Stage`] if it cannot be multiplexed.
    pub(super) fn mount(
        self: &Arc<Self>,
        name: Option<&str>,
        key_wanted: &Arc<KeyWanted>,
        rtsp: Option<(SocketAddr, String)>,
    ) -> Result<HttpMount, SinkError> {
        let path = self.path(name);
        let stream = TransportStream::new(Arc::clone(key_wanted));
        let muxer = Muxer::start(stream.clone())?;
        let mut streams = self.shared.streams();
        if streams.iter().any(|one| one.path == path) {
            return Err(SinkError::Mounted { url: format!("http://{}{path}", self.socket) });
        }
        streams.push(Stream { path: path.clone(), stream: stream.clone(), rtsp });
        drop(streams);
        Ok(HttpMount { server: Arc::clone(self), muxer, stream, path })
    }

    /// How many watch the stream of this name.
    pub(super) fn viewers(&self, name: Option<&str>) -> usize {
        self.shared.find(&self.path(name)).map_or(0, |stream| stream.viewers())
    }
}

impl Drop for HttpServer {
    fn drop(&mut self) {
        self.shared.closing.store(true, Ordering::Release);
        // A connection of our own wakes the thread that accepts.
        let mut wake = self.socket;
        if wake.ip().is_unspecified() {
            wake.set_ip(if wake.is_ipv4() { Ipv4Addr::LOCALHOST.into() } else { Ipv6Addr::LOCALHOST.into() });
        }
        let woken = TcpStream::connect_timeout(&wake, Duration::from_secs(1)).is_ok();
        if let Some(thread) = self.thread.take()
            && woken
            && thread.join().is_err()
        {
            tracing::error!("the HTTP server's thread panicked");
        }
    }
}

/// A stream at the server; dropped, its viewers' connections end.
pub(super) struct HttpMount {
    server: Arc<HttpServer>,
    muxer: Muxer,
    stream: TransportStream,
    path: String,
}

impl HttpMount {
    /// Where it is watched.
    pub(super) fn url(&self) -> String {
        format!("http://{}{}", self.server.socket, self.path)
    }
}

impl Outlet for HttpMount {
    fn take(&mut self, unit: &AccessUnit) -> Result<(), SinkError> {
        self.muxer.take(unit)
    }
}

impl Drop for HttpMount {
    fn drop(&mut self) {
        self.server.shared.streams().retain(|one| one.path != self.path);
        self.stream.end();
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    for connection in listener.incoming() {
        if shared.closing.load(Ordering::Acquire) {
            return;
        }
        let connection = match connection {
            Ok(connection) => Arc::new(connection),
            Err(error) => {
                // Out of descriptors, most likely: others must go before anybody can come.
                tracing::warn!(%error, "HTTP client not accepted");
                std::thread::sleep(Duration::from_millis(200));
                continue;
            }
        };
        let shared = Arc::clone(shared);
        let spawned = std::thread::Builder::new().name("http-client".into()).spawn(move || {
            if let Err(error) = serve(&connection, &shared) {
                tracing::debug!(%error, "HTTP client gone");
            }
            let _ = connection.shutdown(Shutdown::Both);
        });
        if let Err(error) = spawned {
            tracing::warn!(%error, "HTTP client not served");
        }
    }
}

/// Answers one request; returns when the client is gone or the stream has ended.
fn serve(connection: &Arc<TcpStream>, shared: &Shared) -> std::io::Result<()> {
    connection.set_write_timeout(Some(PATIENCE))?;
    connection.set_nodelay(true)?;
    let number = shared.silent.add(connection)?;
    let request = request(connection);
    shared.silent.remove(number);
    let Some((method, target)) = request? else {
        return answer(connection, "400 Bad Request", "not an HTTP request\n", true);
    };
    let path = target.split(['?', '#']).next().unwrap_or_default();
    let with_body = match method.as_str() {
        "GET" => true,
        "HEAD" => false,
        _ => {
            return answer(connection, "405 Method Not Allowed", "only GET and HEAD\n", true);
        }
    };
    let page = || connection.local_addr().map(|here| shared.page(here));
    if path == "/" {
        return answer(connection, "200 OK", &page()?, with_body);
    }
    let Some(stream) = shared.find(path) else {
        return answer(connection, "404 Not Found", &format!("not here\n\n{}", page()?), with_body);
    };
    let head = b"HTTP/1.1 200 OK\r\nContent-Type: video/mp2t\r\nCache-Control: no-store\r\n\
          Access-Control-Allow-Origin: *\r\nConnection: close\r\n\r\n";
    if !with_body {
        return connection.as_ref().write_all(head);
    }
    let Some(reader) = stream.subscribe(connection) else {
        return answer(connection, "503 Service Unavailable", "too many clients\n", true);
    };
    connection.as_ref().write_all(head)?;
    let mut ended = None;
    loop {
        // What waits when the stream ends is still sent.
        if stream.has_ended() && ended.get_or_insert_with(Instant::now).elapsed() > PATIENCE {
            return Ok(());
        }
        match reader.chunks.recv_timeout(Duration::from_millis(500)) {
            Ok(chunk) => write_within(connection, &chunk, PATIENCE)?,
            // Without pictures nothing is written; a client that left is noticed all the same.
            Err(RecvTimeoutError::Timeout) if is_gone(connection)? => return Ok(()),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return Ok(()),
        }
    }
}
