//! The HTTP server: endless streams for players and browsers, and what other parts of the house have to say
//! ([`HttpServer::answer_by`]). One thread serves all connections; it never waits for a client.

pub(super) mod broadcast;
mod connections;
mod fragments;
mod guard;
pub(super) mod muxer;
pub(super) mod pictures;
pub(super) mod problem;
pub(super) mod tls;
mod transport_stream;
mod video;
pub(super) mod whep;

use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use axum::Router;
use tokio::sync::oneshot;
use tokio_rustls::TlsAcceptor;

use super::SinkError;
use super::access::Access;
use super::config::Address;
use super::outlet::{AccessUnit, KeyWanted, Outlet};
use broadcast::Broadcast;
use guard::Guard;
use muxer::{Container, Muxer};
use pictures::PictureTap;
use whep::{Feed, Watched, Whep};

/// How long the farewell of those who watch over WebRTC may take.
const FAREWELL: Duration = Duration::from_millis(500);

/// A bound port on which nobody is served yet.
pub(super) struct HttpListener {
    listener: TcpListener,
    access: Access,
    tls: Option<TlsAcceptor>,
    address: Address,
    socket: SocketAddr,
    /// For those who watch over WebRTC, or why there is none.
    datagrams: Result<UdpSocket, String>,
}

impl HttpListener {
    /// Binds the port.
    ///
    /// # Errors
    /// [`SinkError::Listen`] if the port is taken or the address is not of this machine; [`SinkError::Access`] if certificate
    /// and key are none.
    pub(super) fn bind(address: Address, access: Access) -> Result<HttpListener, SinkError> {
        let tls =
            access.tls.as_ref().map(|(certificate, key)| tls::acceptor(certificate, key)).transpose()?;
        let bound = TcpListener::bind(address.socket).and_then(|one| {
            one.set_nonblocking(true)?;
            Ok((one.local_addr()?, one))
        });
        match bound {
            Ok((socket, listener)) => {
                let datagrams = whep::bind(socket);
                if let Err(why) = &datagrams {
                    tracing::warn!("nobody can watch over WebRTC: {why}");
                }
                Ok(HttpListener { listener, access, tls, address, socket, datagrams })
            }
            Err(error) => Err(address.refused(error.to_string())),
        }
    }
}

/// A running server; dropped, it ends.
pub(super) struct HttpServer {
    address: Address,
    shared: Arc<Shared>,
    /// Dropped, it asks the server to end.
    over: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
    /// Where it really listens.
    socket: SocketAddr,
    /// "http" or "https".
    scheme: &'static str,
}

/// What every connection knows.
struct Shared {
    guard: Guard,
    scheme: &'static str,
    streams: Mutex<Vec<Stream>>,
    routes: Mutex<Option<Router>>,
    whep: Whep,
}

/// A stream that is served now.
struct Stream {
    /// Its path without an ending.
    stem: String,
    /// By container: the path and who reads there.
    served: [(Container, String, Broadcast); 3],
    /// Who watches over WebRTC.
    watched: Arc<Watched>,
    /// The same stream over RTSP.
    rtsp: Option<AlsoAt>,
}

/// Where else a stream is served.
pub(super) struct AlsoAt {
    pub scheme: &'static str,
    pub socket: SocketAddr,
    pub path: String,
}

impl Shared {
    fn streams(&self) -> MutexGuard<'_, Vec<Stream>> {
        self.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn routes(&self) -> MutexGuard<'_, Option<Router>> {
        self.routes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn find(&self, path: &str) -> Option<(Container, Broadcast)> {
        let streams = self.streams();
        let all = streams.iter().flat_map(|stream| &stream.served);
        all.filter(|one| one.1 == path).map(|one| (one.0, one.2.clone())).next()
    }

    /// The stream of this path without an ending, as those know it who watch it over WebRTC.
    fn watched(&self, stem: &str) -> Option<Arc<Watched>> {
        self.streams().iter().find(|one| one.stem == stem).map(|one| Arc::clone(&one.watched))
    }

    /// All streams with their addresses, for a client that reached the server at `here`.
    fn page(&self, here: SocketAddr) -> String {
        let scheme = self.scheme;
        let mut page = "farout\n".to_owned();
        let streams = self.streams();
        if streams.is_empty() {
            page += "\nno stream is shown now\n";
        }
        for Stream { served: [(_, transport, _), (_, fragments, _), _], rtsp, .. } in streams.iter() {
            let _ = write!(
                page,
                "\nMPEG-TS: {scheme}://{here}{transport}\nMP4:     {scheme}://{here}{fragments}\n"
            );
            if let Some(AlsoAt { scheme, socket, path }) = rtsp {
                let reached = SocketAddr::new(known(socket.ip(), here.ip()), socket.port());
                let _ = writeln!(page, "also:    {scheme}://{reached}{path}");
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
        let HttpListener { listener, access, tls, address, socket, datagrams } = bound;
        let scheme = if tls.is_some() { "https" } else { "http" };
        let guard = Guard::new(access, address.socket.ip());
        let (whep, watching) = whep::prepare(datagrams);
        let (streams, routes) = (Mutex::default(), Mutex::default());
        let shared = Arc::new(Shared { guard, scheme, streams, routes, whep });
        let refused = |why: std::io::Error| address.refused(why.to_string());
        // Its own sockets are made here: what the system refuses is told here, too.
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .enable_time()
            .build()
            .map_err(refused)?;
        let listener = {
            let _inside = runtime.enter();
            tokio::net::TcpListener::from_std(listener).map_err(refused)?
        };
        let (over, ends) = oneshot::channel();
        let serving = Arc::clone(&shared);
        let spawned = std::thread::Builder::new().name("http-server".into()).spawn(move || {
            runtime.block_on(async {
                let watching = tokio::spawn(watching.run());
                connections::serve(listener, tls, Arc::clone(&serving), ends).await;
                serving.whep.end();
                let _ = tokio::time::timeout(FAREWELL, watching).await;
            });
            // Whatever still waits for a disk or a camera is not waited for.
            runtime.shutdown_background();
        });
        match spawned {
            Ok(thread) => {
                Ok(HttpServer { address, shared, over: Some(over), thread: Some(thread), socket, scheme })
            }
            Err(error) => Err(address.refused(error.to_string())),
        }
    }

    /// From now on `routes` answer what is no stream, or nobody does.
    pub(super) fn answer_by(&self, routes: Option<Router>) {
        let before = std::mem::replace(&mut *self.shared.routes(), routes);
        // They may know this server: not under the lock.
        drop(before);
    }

    /// Address of the page.
    pub(super) fn page(&self) -> String {
        format!("{}://{}/", self.scheme, self.socket)
    }

    /// Where a stream of this name is served, without an ending.
    fn stem(&self, name: Option<&str>) -> String {
        match name {
            Some(name) => format!("/{name}"),
            None => self.address.path.trim_end_matches(Container::TransportStream.ending()).to_owned(),
        }
    }

    /// Serves one more stream until the mount is dropped. `rtsp` is where else it is served.
    ///
    /// # Errors
    /// [`SinkError::Mounted`] if there is one of this address, [`SinkError::Stage`] if it cannot be multiplexed.
    pub(super) fn mount(
        self: &Arc<Self>,
        name: Option<&str>,
        key_wanted: &Arc<KeyWanted>,
        rtsp: Option<AlsoAt>,
    ) -> Result<HttpMount, SinkError> {
        let stem = self.stem(name);
        // As the configuration writes it, with whatever ending.
        let transport = match name {
            Some(_) => format!("{stem}{}", Container::TransportStream.ending()),
            None => self.address.path.clone(),
        };
        let [fragments, pictures] =
            [Container::Fragments, Container::Pictures].map(|one| (one, format!("{stem}{}", one.ending())));
        let served = [(Container::TransportStream, transport), fragments, pictures]
            .map(|(container, path)| (container, path, Broadcast::new(Arc::clone(key_wanted))));
        let tap = PictureTap::new(served[2].2.clone());
        let muxers =
            served.iter().take(2).map(|(container, _, stream)| Muxer::new(*container, stream.clone()));
        let muxers = muxers.collect::<Result<Vec<_>, _>>()?;
        let mut streams = self.shared.streams();
        if streams.iter().any(|one| one.stem == stem) {
            return Err(SinkError::Mounted {
                url: format!("{}://{}{}", self.scheme, self.socket, served[0].1),
            });
        }
        let url = format!("{}://{}{}", self.scheme, self.socket, served[0].1);
        let watched = Watched::new(Arc::clone(key_wanted));
        let feed = self.shared.whep.feed(Arc::clone(&watched));
        streams.push(Stream { stem: stem.clone(), served, watched, rtsp });
        drop(streams);
        Ok(HttpMount { server: Arc::clone(self), muxers, feed, tap: Some(tap), stem, url })
    }

    /// The paths of the stream of this name, MPEG-TS, fragmented MP4 and single pictures, if it is served.
    pub(super) fn paths(&self, name: Option<&str>) -> [Option<String>; 3] {
        let stem = self.stem(name);
        let streams = self.shared.streams();
        let found = streams.iter().find(|stream| stream.stem == stem);
        found.map_or([None, None, None], |stream| stream.served.each_ref().map(|one| Some(one.1.clone())))
    }

    /// Where the stream of this name is watched over WebRTC (WHEP), if it is served and can be.
    pub(super) fn whep_path(&self, name: Option<&str>) -> Option<String> {
        let stem = self.stem(name);
        let served = self.shared.whep.is_open() && self.shared.watched(&stem).is_some();
        served.then(|| format!("{stem}{}", whep::ENDING))
    }

    /// How many read the stream of this name, and how many watch it over WebRTC.
    pub(super) fn viewers(&self, name: Option<&str>) -> (usize, usize) {
        let stem = self.stem(name);
        let streams = self.shared.streams();
        let found = streams.iter().find(|stream| stream.stem == stem);
        found.map_or((0, 0), |stream| {
            let read = stream.served.iter().map(|(_, _, readers)| readers.viewers()).sum();
            (read, stream.watched.viewers())
        })
    }
}

impl Drop for HttpServer {
    fn drop(&mut self) {
        self.over = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the HTTP server's thread panicked");
        }
    }
}

/// A stream at the server; dropped, its viewers' connections end.
pub(super) struct HttpMount {
    // Dropped first: the server has to hear that this ends.
    feed: Feed,
    server: Arc<HttpServer>,
    muxers: Vec<Muxer>,
    /// Takes single pictures, until somebody has it.
    pub(super) tap: Option<PictureTap>,
    stem: String,
    /// Where it is watched.
    pub(super) url: String,
}

impl Outlet for HttpMount {
    fn take(&mut self, unit: &AccessUnit) -> Result<(), SinkError> {
        // First those who see it soonest.
        self.feed.take(unit);
        self.muxers.iter_mut().try_for_each(|muxer| muxer.take(unit))
    }
}

impl Drop for HttpMount {
    fn drop(&mut self) {
        let mut streams = self.server.shared.streams();
        for stream in streams.extract_if(.., |stream| stream.stem == self.stem) {
            stream.served.iter().for_each(|(_, _, readers)| readers.end());
        }
    }
}
