//! A small HTTP server with one endless MPEG transport stream, and a page that says where it is.
//! Written on `std::net` because a stream that never ends needs its own write timeouts, which
//! the small synchronous HTTP crates do not offer; requests are parsed by `httparse`.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::RecvTimeoutError;

use super::SinkError;
use super::config::Address;
use super::outlet::{AccessUnit, KeyWanted, Outlet};
use super::transport_stream::{Muxer, TransportStream};

/// A client that takes longer for a piece of the stream is let go.
const PATIENCE: Duration = Duration::from_secs(10);
/// A client that takes longer to say what it wants is let go.
const SAYS_WITHIN: Duration = Duration::from_secs(5);
/// Bytes of a request's head.
const MAX_HEAD: usize = 8192;
/// Viewers at once.
const MAX_CLIENTS: usize = 32;
/// Connections that have not yet said what they want, at once: the oldest goes when one more comes, so that however many
/// say nothing, who does is heard.
const MAX_SILENT: usize = 32;

/// A running server; dropped, it lets its clients go and ends.
pub(super) struct HttpServer {
    muxer: Muxer,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
    /// Where it really listens.
    pub(super) socket: SocketAddr,
}

/// What every client's thread knows.
struct Shared {
    stream: TransportStream,
    path: String,
    page: String,
    closing: AtomicBool,
    clients: AtomicUsize,
    silent: Silent,
}

/// The connections that have not yet said what they want, oldest first.
#[derive(Default)]
struct Silent(Mutex<VecDeque<(u64, TcpStream)>>, AtomicU64);

impl Silent {
    fn list(&self) -> MutexGuard<'_, VecDeque<(u64, TcpStream)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes a connection and lets the oldest go if there are too many. Its number.
    fn add(&self, connection: &TcpStream) -> std::io::Result<u64> {
        let number = self.1.fetch_add(1, Ordering::Relaxed);
        let mut list = self.list();
        list.push_back((number, connection.try_clone()?));
        if list.len() > MAX_SILENT
            && let Some((_, oldest)) = list.pop_front()
        {
            // Whoever reads from it then sees its end.
            let _ = oldest.shutdown(Shutdown::Both);
        }
        Ok(number)
    }

    fn remove(&self, number: u64) {
        self.list().retain(|(known, _)| *known != number);
    }
}

impl HttpServer {
    /// Starts to listen. `others` are further addresses for the page at `/`.
    ///
    /// # Errors
    /// [`SinkError::Listen`] if the port is taken or the address is not of this machine.
    pub(super) fn start(
        address: &Address,
        key_wanted: Arc<KeyWanted>,
        others: &[String],
    ) -> Result<HttpServer, SinkError> {
        let refused = |e: std::io::Error| SinkError::Listen {
            key: address.key,
            address: address.socket.to_string(),
            why: e.to_string(),
        };
        let listener = TcpListener::bind(address.socket).map_err(refused)?;
        let socket = listener.local_addr().map_err(refused)?;
        let stream = TransportStream::new(key_wanted);
        let muxer = Muxer::start(stream.clone())?;
        let mut page = format!("farout\nMPEG-TS: http://{socket}{}\n", address.path);
        for other in others {
            page += &format!("also:    {other}\n");
        }
        let shared = Arc::new(Shared {
            stream,
            path: address.path.clone(),
            page,
            closing: AtomicBool::new(false),
            clients: AtomicUsize::new(0),
            silent: Silent::default(),
        });
        let accepting = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("http-server".into())
            .spawn(move || accept(&listener, &accepting))
            .map_err(refused)?;
        Ok(HttpServer { muxer, shared, thread: Some(thread), socket })
    }
}

impl Outlet for HttpServer {
    fn take(&mut self, unit: &AccessUnit) -> Result<(), SinkError> {
        self.muxer.take(unit)
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

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    for connection in listener.incoming() {
        if shared.closing.load(Ordering::Acquire) {
            return;
        }
        let connection = match connection {
            Ok(connection) => connection,
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

/// Answers one request; returns when the client is gone.
fn serve(mut connection: &TcpStream, shared: &Shared) -> std::io::Result<()> {
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
    if path == "/" {
        return answer(connection, "200 OK", &shared.page, with_body);
    }
    if path != shared.path {
        return answer(connection, "404 Not Found", &format!("not here\n\n{}", shared.page), with_body);
    }
    let Some(_place) = Place::take(shared) else {
        return answer(connection, "503 Service Unavailable", "too many clients\n", with_body);
    };
    connection.write_all(
        b"HTTP/1.1 200 OK\r\nContent-Type: video/mp2t\r\nCache-Control: no-store\r\n\
          Access-Control-Allow-Origin: *\r\nConnection: close\r\n\r\n",
    )?;
    if !with_body {
        return Ok(());
    }
    let chunks = shared.stream.subscribe();
    while !shared.closing.load(Ordering::Acquire) {
        match chunks.recv_timeout(Duration::from_millis(500)) {
            Ok(chunk) => write_within(connection, &chunk, PATIENCE)?,
            // Without pictures nothing is written; a client that left is noticed all the same.
            Err(RecvTimeoutError::Timeout) if is_gone(connection)? => return Ok(()),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return Ok(()),
        }
    }
    Ok(())
}

/// One of the viewers' places; free again when dropped.
struct Place<'a>(&'a Shared);

impl Place<'_> {
    fn take(shared: &Shared) -> Option<Place<'_>> {
        let place = Place(shared);
        (shared.clients.fetch_add(1, Ordering::AcqRel) < MAX_CLIENTS).then_some(place)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.clients.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Writes all of `bytes`, or fails after so long: a client that takes a byte now and then holds no place for ever.
fn write_within(mut connection: &TcpStream, mut bytes: &[u8], most: Duration) -> std::io::Result<()> {
    let start = Instant::now();
    while !bytes.is_empty() {
        if start.elapsed() > most {
            return Err(std::io::Error::new(ErrorKind::TimedOut, "the client takes too long"));
        }
        match connection.write(bytes) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(written) => bytes = bytes.get(written..).unwrap_or_default(),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Method and target of the request; `None` if it is none, or takes too long.
fn request(mut connection: &TcpStream) -> std::io::Result<Option<(String, String)>> {
    let mut head = Vec::with_capacity(512);
    let mut bytes = [0; 512];
    let start = Instant::now();
    while head.len() < MAX_HEAD {
        // The limit is that of the whole head: a byte now and then does not prolong it.
        let left = SAYS_WITHIN.saturating_sub(start.elapsed());
        if left.is_zero() {
            return Ok(None);
        }
        connection.set_read_timeout(Some(left))?;
        let got = connection.read(&mut bytes)?;
        head.extend_from_slice(bytes.get(..got).unwrap_or_default());
        let mut headers = [httparse::EMPTY_HEADER; 64];
        let mut request = httparse::Request::new(&mut headers);
        match request.parse(&head) {
            Ok(httparse::Status::Complete(_)) => {
                return Ok(request.method.zip(request.path).map(|(m, p)| (m.to_owned(), p.to_owned())));
            }
            Ok(httparse::Status::Partial) if got > 0 => {}
            Ok(httparse::Status::Partial) | Err(_) => return Ok(None),
        }
    }
    Ok(None)
}

fn answer(mut connection: &TcpStream, status: &str, body: &str, with_body: bool) -> std::io::Result<()> {
    let len = body.len();
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {len}\r\nConnection: close\r\n\r\n"
    );
    connection.write_all(head.as_bytes())?;
    if with_body {
        connection.write_all(body.as_bytes())?;
    }
    Ok(())
}

/// Whether the client has closed its side.
fn is_gone(connection: &TcpStream) -> std::io::Result<bool> {
    connection.set_nonblocking(true)?;
    let gone = matches!(connection.peek(&mut [0]), Ok(0));
    connection.set_nonblocking(false)?;
    Ok(gone)
}
