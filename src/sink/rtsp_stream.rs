//! One stream at the RTSP server: its shared media, fed with pictures that are already encoded, and its clients.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use gstreamer::glib;
use gstreamer::prelude::*;
use gstreamer_app as gst_app;
use gstreamer_rtsp_server as rtsp;
use gstreamer_rtsp_server::prelude::*;

use super::feed::Feeds;
use super::ntp;
use super::outlet::{AccessUnit, KeyWanted};
use super::rtsp_guard;

/// What is between our encoder and a client. Time stamps are those of capture (see [`ntp`]), and of arrival where that
/// is not known, because clients may come at any time and frames' own times may jump.
const MEDIA: &str = "( appsrc name=units is-live=true format=time do-timestamp=true max-bytes=0 \
    ! rtph264pay name=pay0 pt=96 config-interval=-1 aggregate-mode=zero-latency )";

/// A stream that is served.
pub(super) struct Stream {
    pub(super) path: String,
    key_wanted: Arc<KeyWanted>,
    feeds: Feeds,
    clients: Mutex<Vec<Client>>,
}

/// One who has asked for a stream.
struct Client {
    client: glib::WeakRef<rtsp::RTSPClient>,
    plays: bool,
}

/// What a client does with a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// It asks what there is, or how to get it.
    Ask,
    /// It wants pictures.
    Play,
    /// It has had enough.
    Leave,
}

impl Stream {
    pub(super) fn new(path: String, key_wanted: Arc<KeyWanted>) -> Stream {
        let feeds = Feeds::new(Arc::clone(&key_wanted));
        Stream { path, key_wanted, feeds, clients: Mutex::default() }
    }

    fn clients(&self) -> MutexGuard<'_, Vec<Client>> {
        self.clients.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes what a client does that has asked for `path`. A client has one stream at a time.
    pub(super) fn note(&self, client: &rtsp::RTSPClient, path: &str, step: Step) {
        let below = path.strip_prefix(&self.path);
        let is_ours = below.is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', '?']));
        let mut clients = self.clients();
        let played =
            clients.iter().any(|known| known.plays && known.client.upgrade().as_ref() == Some(client));
        clients.retain(|known| known.client.upgrade().is_some_and(|one| one != *client));
        if is_ours && step != Step::Leave {
            clients.push(Client { client: client.downgrade(), plays: played || step == Step::Play });
        }
        if is_ours && step == Step::Play {
            // The first picture after PLAY can be decoded.
            self.key_wanted.ask();
        }
    }

    /// The client's connection is closed.
    pub(super) fn forget(&self, client: &rtsp::RTSPClient) {
        self.clients().retain(|known| known.client.upgrade().is_some_and(|one| one != *client));
    }

    /// Whether a client is one of this stream.
    pub(super) fn has(&self, client: &rtsp::RTSPClient) -> bool {
        self.clients().iter().any(|known| known.client.upgrade().as_ref() == Some(client))
    }

    /// How many play.
    pub(super) fn viewers(&self) -> usize {
        self.clients().iter().filter(|known| known.plays && known.client.upgrade().is_some()).count()
    }

    /// Hands a picture to all who watch.
    pub(super) fn offer(&self, unit: &AccessUnit) {
        self.feeds.offer(unit);
    }

    /// The end for all who watch: the pipelines say good-bye over RTCP.
    pub(super) fn end(&self) {
        self.feeds.end();
    }

    /// Makes the media that all clients share.
    pub(super) fn factory(&self) -> rtsp::RTSPMediaFactory {
        let factory = rtsp::RTSPMediaFactory::new();
        factory.set_launch(MEDIA);
        factory.set_shared(true);
        factory.set_latency(0);
        rtsp_guard::admit(&factory);
        let feeds = self.feeds.clone();
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
}
