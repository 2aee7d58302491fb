//! The RTSP server: one shared media, fed with pictures that are already encoded.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use gstreamer::glib;
use gstreamer::prelude::*;
use gstreamer_app as gst_app;
use gstreamer_rtsp_server as rtsp;
use gstreamer_rtsp_server::prelude::*;

use super::SinkError;
use super::config::Address;
use super::feed::Feeds;
use super::ntp;
use super::outlet::{AccessUnit, KeyWanted, Outlet};

/// What is between our encoder and a client. Time stamps are those of capture (see [`ntp`]), and of arrival where that
/// is not known, because clients may come at any time and frames' own times may jump.
const MEDIA: &str = "( appsrc name=units is-live=true format=time do-timestamp=true max-bytes=0 \
    ! rtph264pay name=pay0 pt=96 config-interval=-1 aggregate-mode=zero-latency )";
/// Seconds between searches for sessions whose clients are gone.
const CLEANUP_SECS: u32 = 2;
/// Sessions at once.
const MAX_SESSIONS: u32 = 64;

/// A running server; dropped, it says good-bye to its clients and ends.
pub(super) struct RtspServer {
    feeds: Feeds,
    context: glib::MainContext,
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
    /// Where it really listens.
    pub(super) socket: SocketAddr,
}

impl RtspServer {
    /// Starts to listen.
    ///
    /// # Errors
    /// [`SinkError::Listen`] if the port is taken or the address is not of this machine.
    pub(super) fn start(address: &Address, key_wanted: Arc<KeyWanted>) -> Result<RtspServer, SinkError> {
        let refused =
            |why: String| SinkError::Listen { key: address.key, address: address.socket.to_string(), why };
        // The server itself only says that it failed; the system says why.
        let trial = TcpListener::bind(address.socket).map_err(|e| refused(e.to_string()))?;
        drop(trial);
        let feeds = Feeds::new(Arc::clone(&key_wanted));
        let context = glib::MainContext::new();
        let server = rtsp::RTSPServer::new();
        server.set_address(&address.socket.ip().to_string());
        server.set_service(&address.socket.port().to_string());
        let factory = factory(&feeds);
        server
            .mount_points()
            .ok_or_else(|| refused("the server has no mount points".into()))?
            .add_factory(&address.path, factory);
        server.connect_client_connected(move |_, client| {
            tracing::debug!("RTSP client connected");
            // The first picture after PLAY can be decoded.
            let key_wanted = Arc::clone(&key_wanted);
            client.connect_play_request(move |_, _| key_wanted.ask());
        });
        let source =
            server.create_source(rtsp::gio::Cancellable::NONE).map_err(|e| refused(e.to_string()))?;
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
        let port = u16::try_from(server.bound_port()).unwrap_or(address.socket.port());
        let over = Arc::new(AtomicBool::new(false));
        let (ends, events) = (Arc::clone(&over), context.clone());
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
                server.client_filter(Some(&mut |_: &rtsp::RTSPServer, _: &rtsp::RTSPClient| {
                    rtsp::RTSPFilterResult::Remove
                }));
                source.destroy();
                // What the farewell left to do.
                while events.iteration(false) {}
            })
            .map_err(|e| refused(e.to_string()))?;
        let socket = SocketAddr::new(address.socket.ip(), port);
        Ok(RtspServer { feeds, context, over, thread: Some(thread), socket })
    }
}

/// Makes the media that all clients share.
fn factory(feeds: &Feeds) -> rtsp::RTSPMediaFactory {
    let factory = rtsp::RTSPMediaFactory::new();
    factory.set_launch(MEDIA);
    factory.set_shared(true);
    factory.set_latency(0);
    let feeds = feeds.clone();
    factory.connect_media_configure(move |_, media| {
        let bin = media.element().downcast::<gstreamer::Bin>().ok();
        let entry = bin.and_then(|bin| bin.by_name_recurse_up("units"));
        let Some(entry) = entry.and_then(|e| e.downcast::<gst_app::AppSrc>().ok()) else {
            tracing::error!("the RTSP media has no entry");
            return;
        };
        ntp::tell(media, &entry);
        feeds.join(entry.clone(), true);
        let feeds = feeds.clone();
        media.connect_unprepared(move |_| feeds.leave(&entry));
    });
    factory
}

impl Outlet for RtspServer {
    fn take(&mut self, unit: &AccessUnit) -> Result<(), SinkError> {
        self.feeds.offer(unit);
        Ok(())
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    /// As when the next server's port is in use: this one has only just begun.
    #[test]
    fn a_server_that_has_only_just_started_ends() {
        gstreamer::init().unwrap();
        let (done, ended) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            for _ in 0..20 {
                let address = Address {
                    key: "output.rtsp",
                    socket: SocketAddr::from(([127, 0, 0, 1], 0)),
                    path: "/farout".into(),
                };
                drop(RtspServer::start(&address, Arc::default()).unwrap());
            }
            done.send(()).unwrap();
        });
        ended.recv_timeout(std::time::Duration::from_secs(30)).expect("a server does not end");
    }
}
