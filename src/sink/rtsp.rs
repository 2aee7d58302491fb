//! The RTSP server: streams come and go while it runs.

use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use gstreamer::glib;
use gstreamer::glib::translate::ToGlibPtr as _;
use gstreamer::prelude::*;
use gstreamer_rtsp_server as rtsp;
use gstreamer_rtsp_server::gst_rtsp::ffi::gst_rtsp_url_get_request_uri;
use gstreamer_rtsp_server::gst_rtsp::{RTSPStatusCode, RTSPUrl};
use gstreamer_rtsp_server::prelude::*;

use super::SinkError;
use super::access::Access;
use super::config::Address;
use super::descriptors;
use super::http::AlsoAt;
use super::outlet::{AccessUnit, KeyWanted, Outlet};
use super::rtsp_guard;
use super::rtsp_stream::{Step, Stream};

/// Seconds between searches for sessions whose clients are gone.
const CLEANUP_SECS: u32 = 2;
/// Sessions at once.
const MAX_SESSIONS: u32 = 64;
/// Clients of a stream that has ended may take so long to hang up themselves.
const FAREWELL: Duration = Duration::from_secs(5);

/// A bound port on which nobody is served yet.
pub(super) struct RtspListener {
    address: Address,
    server: rtsp::RTSPServer,
    source: glib::Source,
    mounts: rtsp::RTSPMountPoints,
    socket: SocketAddr,
    scheme: &'static str,
}

impl RtspListener {
    /// Binds the port.
    ///
    /// # Errors
    /// [`SinkError::Listen`] if the port is taken or the address is not of this machine; [`SinkError::Access`] if certificate
    /// and key are none.
    pub(super) fn bind(address: Address, access: &Access) -> Result<RtspListener, SinkError> {
        // The server itself only says that it failed; the system says why.
        let trial = TcpListener::bind(address.socket).map_err(|e| address.refused(e.to_string()))?;
        drop(trial);
        let server = rtsp::RTSPServer::new();
        server.set_address(&address.socket.ip().to_string());
        server.set_service(&address.socket.port().to_string());
        let guard = rtsp_guard::guard(access)?;
        server.set_auth(guard.as_ref());
        let scheme = if access.tls.is_some() { "rtsps" } else { "rtsp" };
        let mounts =
            server.mount_points().ok_or_else(|| address.refused("the server has no mount points".into()))?;
        let source =
            server.create_source(rtsp::gio::Cancellable::NONE).map_err(|e| address.refused(e.to_string()))?;
        let port = u16::try_from(server.bound_port()).unwrap_or(address.socket.port());
        let socket = SocketAddr::new(address.socket.ip(), port);
        Ok(RtspListener { address, server, source, mounts, socket, scheme })
    }
}

/// A running server; dropped, it closes its clients' connections and ends.
pub(super) struct RtspServer {
    address: Address,
    server: rtsp::RTSPServer,
    mounts: rtsp::RTSPMountPoints,
    streams: Arc<Streams>,
    context: glib::MainContext,
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
    /// Where it really listens.
    pub(super) socket: SocketAddr,
    /// "rtsp" or "rtsps".
    scheme: &'static str,
}

/// The streams that are served now.
#[derive(Default)]
struct Streams(Mutex<Vec<Arc<Stream>>>);

impl Streams {
    fn list(&self) -> MutexGuard<'_, Vec<Arc<Stream>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes for whom a client asks.
    fn note(&self, client: &rtsp::RTSPClient, context: &rtsp::RTSPContext, step: Step) {
        let asked = context.uri().and_then(request_uri);
        let host_and_path = asked.as_deref().and_then(|uri| uri.split_once("://"));
        if let Some((_, rest)) = host_and_path
            && let Some(slash) = rest.find('/')
        {
            let (_, path) = rest.split_at(slash);
            self.list().iter().for_each(|stream| stream.note(client, path, step));
        }
    }

    /// Follows what a client does.
    fn follow(self: &Arc<Self>, client: &rtsp::RTSPClient) {
        tracing::debug!("RTSP client connected");
        // Before the answer: a client that has got one is known.
        let streams = Arc::clone(self);
        client.connect_pre_describe_request(move |client, context| {
            streams.note(client, context, Step::Ask);
            RTSPStatusCode::Ok
        });
        let streams = Arc::clone(self);
        client.connect_pre_setup_request(move |client, context| {
            streams.note(client, context, Step::Ask);
            RTSPStatusCode::Ok
        });
        let streams = Arc::clone(self);
        client.connect_play_request(move |client, context| streams.note(client, context, Step::Play));
        let streams = Arc::clone(self);
        client.connect_teardown_request(move |client, context| streams.note(client, context, Step::Leave));
        let streams = Arc::clone(self);
        client.connect_closed(move |client| streams.list().iter().for_each(|stream| stream.forget(client)));
    }
}

/// The address of a request, if it is text: clients may send any bytes, which the safe bindings assert to be UTF-8.
fn request_uri(uri: &RTSPUrl) -> Option<String> {
    // SAFETY: `uri` lives through the call, which gives NULL or a string that ends with NUL and is ours.
    unsafe {
        let text = gst_rtsp_url_get_request_uri(uri.to_glib_none().0);
        if text.is_null() {
            return None;
        }
        let whole = std::ffi::CStr::from_ptr(text).to_str().ok().map(str::to_owned);
        glib::ffi::g_free(text.cast());
        whole
    }
}

impl RtspServer {
    /// Starts to serve.
    ///
    /// # Errors
    /// [`SinkError::Listen`] if no thread can be started.
    pub(super) fn start(bound: RtspListener) -> Result<RtspServer, SinkError> {
        let RtspListener { address, server, source, mounts, socket, scheme } = bound;
        let context = glib::MainContext::new();
        let streams = Arc::<Streams>::default();
        let known = Arc::clone(&streams);
        let waiting = context.clone();
        server.connect_client_connected(move |server, client| {
            known.follow(client);
            if descriptors::are_scarce() {
                descriptors::tell("RTSP");
                // Not here: the server is about to watch the connection.
                let (server, client) = (server.downgrade(), client.downgrade());
                let farewell = move || {
                    if let (Some(server), Some(client)) = (server.upgrade(), client.upgrade()) {
                        close(&server, |one| *one == client);
                    }
                    glib::ControlFlow::Break
                };
                glib::idle_source_new(None, glib::Priority::DEFAULT, farewell).attach(Some(&waiting));
            }
        });
        source.attach(Some(&context));
        if let Some(pool) = server.session_pool() {
            pool.set_max_sessions(MAX_SESSIONS);
            let cleanup = move || {
                pool.cleanup();
                glib::ControlFlow::Continue
            };
            glib::timeout_source_new_seconds(CLEANUP_SECS, None, glib::Priority::DEFAULT, cleanup)
                .attach(Some(&context));
        }
        let over = Arc::new(AtomicBool::new(false));
        let (ends, events, ending) = (Arc::clone(&over), context.clone(), server.clone());
        let thread = std::thread::Builder::new()
            .name("rtsp-server".into())
            .spawn(move || {
                // No `MainLoop`: one that is told to quit before it runs never ends.
                let ran = events.with_thread_default(|| {
                    while !ends.load(Ordering::Acquire) {
                        events.iteration(true);
                    }
                });
                if let Err(error) = ran {
                    tracing::error!(%error, "the RTSP server's loop does not run");
                }
                close(&ending, |_| true);
                source.destroy();
                // What the farewell left to do.
                while events.iteration(false) {}
            })
            .map_err(|e| address.refused(e.to_string()))?;
        Ok(RtspServer {
            address,
            server,
            mounts,
            streams,
            context,
            over,
            thread: Some(thread),
            socket,
            scheme,
        })
    }

    /// Where a stream of this name is served.
    fn path(&self, name: Option<&str>) -> String {
        name.map_or_else(|| self.address.path.clone(), |name| format!("/{name}"))
    }

    /// Serves one more stream until the mount is dropped.
    ///
    /// # Errors
    /// [`SinkError::Mounted`] if there is one of this address.
    pub(super) fn mount(
        self: &Arc<Self>,
        name: Option<&str>,
        key_wanted: &Arc<KeyWanted>,
    ) -> Result<RtspMount, SinkError> {
        let path = self.path(name);
        let mut streams = self.streams.list();
        if streams.iter().any(|stream| stream.path == path) {
            return Err(SinkError::Mounted { url: format!("{}://{}{path}", self.scheme, self.socket) });
        }
        let stream = Arc::new(Stream::new(path, Arc::clone(key_wanted)));
        self.mounts.add_factory(&stream.path, stream.factory());
        streams.push(Arc::clone(&stream));
        drop(streams);
        Ok(RtspMount { server: Arc::clone(self), stream })
    }

    /// Serves a stream no longer: its clients get the end of it, and are let go if they stay.
    pub(super) fn unmount(&self, stream: &Arc<Stream>) {
        let mut streams = self.streams.list();
        self.mounts.remove_factory(&stream.path);
        streams.retain(|one| !Arc::ptr_eq(one, stream));
        drop(streams);
        stream.end();
        let (server, stream, others) =
            (self.server.downgrade(), Arc::clone(stream), Arc::clone(&self.streams));
        let farewell = move || {
            if let Some(server) = server.upgrade() {
                // Who has gone on to another stream over the same connection stays.
                close(&server, |client| {
                    stream.has(client) && !others.list().iter().any(|other| other.has(client))
                });
            }
            glib::ControlFlow::Break
        };
        glib::timeout_source_new(FAREWELL, None, glib::Priority::DEFAULT, farewell)
            .attach(Some(&self.context));
    }

    /// Scheme, port and path of the stream of this name, with a place for the host.
    pub(super) fn at(&self, name: Option<&str>) -> String {
        format!("{}://HOST:{}{}", self.scheme, self.socket.port(), self.path(name))
    }

    /// How many watch the stream of this name.
    pub(super) fn viewers(&self, name: Option<&str>) -> usize {
        let path = self.path(name);
        self.streams.list().iter().find(|one| one.path == path).map_or(0, |stream| stream.viewers())
    }
}

/// Closes the connections of some clients.
fn close(server: &rtsp::RTSPServer, which: impl Fn(&rtsp::RTSPClient) -> bool) {
    server.client_filter(Some(&mut |_: &rtsp::RTSPServer, client: &rtsp::RTSPClient| {
        if which(client) { rtsp::RTSPFilterResult::Remove } else { rtsp::RTSPFilterResult::Keep }
    }));
}

impl Drop for RtspServer {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Release);
        // Remembered if the thread does not wait yet.
        self.context.wakeup();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the RTSP server's thread panicked");
        }
    }
}

/// A stream at the server; dropped, its clients get the end of it.
pub(super) struct RtspMount {
    server: Arc<RtspServer>,
    stream: Arc<Stream>,
}

impl RtspMount {
    /// Where it is.
    pub(super) fn at(&self) -> AlsoAt {
        let RtspServer { scheme, socket, .. } = *self.server;
        AlsoAt { scheme, socket, path: self.stream.path.clone() }
    }

    /// Where it is watched.
    pub(super) fn url(&self) -> String {
        format!("{}://{}{}", self.server.scheme, self.server.socket, self.stream.path)
    }
}

impl Outlet for RtspMount {
    fn take(&mut self, unit: &AccessUnit) -> Result<(), SinkError> {
        self.stream.offer(unit);
        Ok(())
    }
}

impl Drop for RtspMount {
    fn drop(&mut self) {
        self.server.unmount(&self.stream);
    }
}
