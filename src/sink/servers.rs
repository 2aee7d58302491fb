//! The RTSP and the HTTP server: one of each for all streams, which come and go while they run.

use std::sync::{Arc, Weak};

use super::SinkError;
use super::access::{Access, AccessConfig};
use super::config::{OutputConfig, is_stream_name};
use super::http::pictures::PictureTap;
use super::http::{HttpListener, HttpServer};
use super::ntp;
use super::outlet::{AccessUnit, KeyWanted, Outlet};
use super::picture_log::{EncodedPicture, PictureLog};
use super::rtsp::{RtspListener, RtspServer};
use super::store::clips::ClipControl;

/// The servers that a config asks for; a clone is another handle of the same ones. They end when the last handle and the
/// last [`Mount`] are dropped.
#[derive(Clone)]
pub struct Servers {
    rtsp: Option<Arc<RtspServer>>,
    http: Option<Arc<HttpServer>>,
}

impl Servers {
    /// Binds all ports and then starts to serve: a port in use leaves nothing behind.
    ///
    /// # Errors
    /// [`SinkError::Address`] and [`SinkError::Listen`]; [`SinkError::Access`] and [`SinkError::Open`] if nobody at an address
    /// that other machines reach is asked who they are.
    pub fn start(config: &OutputConfig, access: &AccessConfig) -> Result<Servers, SinkError> {
        gstreamer::init()
            .map_err(|e| SinkError::Stage { stage: "RTSP", why: format!("GStreamer does not start: {e}") })?;
        let (rtsp, http) = (config.rtsp_address()?, config.http_address()?);
        let access = Access::read(access)?;
        rtsp.iter().chain(&http).try_for_each(|address| access.guards(address))?;
        let rtsp = rtsp.map(|address| RtspListener::bind(address, &access)).transpose()?;
        let http = http.map(|address| HttpListener::bind(address, access)).transpose()?;
        Ok(Servers {
            rtsp: rtsp.map(RtspServer::start).transpose()?.map(Arc::new),
            http: http.map(HttpServer::start).transpose()?.map(Arc::new),
        })
    }

    /// Adds a stream: at `/NAME` over RTSP and `/NAME.ts` over HTTP; without a name at the paths in the config.
    ///
    /// # Errors
    /// [`SinkError::Mounted`] if there is a stream of this name, [`SinkError::Name`] if it cannot be a name, and
    /// [`SinkError::Stage`] if it cannot be multiplexed.
    pub fn mount(&self, name: Option<&str>) -> Result<Mount, SinkError> {
        if let Some(name) = name.filter(|name| !is_stream_name(name)) {
            return Err(SinkError::Name { name: name.to_owned() });
        }
        let key_wanted = Arc::<KeyWanted>::default();
        let mut mount = Mount { key_wanted, urls: Vec::new(), outlets: Vec::new(), tap: None };
        let mut also = None;
        if let Some(server) = &self.rtsp {
            let rtsp = server.mount(name, &mount.key_wanted)?;
            also = Some(rtsp.at());
            mount.urls.push(rtsp.url());
            mount.outlets.push(Box::new(rtsp));
        }
        if let Some(server) = &self.http {
            let mut http = server.mount(name, &mount.key_wanted, also)?;
            mount.tap = http.tap.take();
            mount.urls.push(http.url.clone());
            mount.outlets.push(Box::new(http));
        }
        Ok(mount)
    }

    /// From now on `routes` answer what is asked of the HTTP server and is no stream. Routes that hold these servers keep
    /// them alive until others are given, or none.
    pub fn answer_by(&self, routes: Option<axum::Router>) {
        self.http.iter().for_each(|server| server.answer_by(routes.clone()));
    }

    /// Address of the live page, if there is an HTTP server.
    pub fn page(&self) -> Option<String> {
        self.http.as_ref().map(|server| server.page())
    }

    /// How many watch the stream of this name now.
    pub fn viewers(&self, name: Option<&str>) -> Viewers {
        self.audience().viewers(name)
    }

    /// Who watches what, for those that must not keep the servers alive.
    pub fn audience(&self) -> Audience {
        let http = self.http.as_ref().map_or_else(Weak::new, Arc::downgrade);
        Audience { rtsp: self.rtsp.as_ref().map_or_else(Weak::new, Arc::downgrade), http }
    }
}

/// Who watches what. Once the servers have ended, nobody watches anything.
#[derive(Clone)]
pub struct Audience {
    rtsp: Weak<RtspServer>,
    http: Weak<HttpServer>,
}

impl Audience {
    /// Where the stream of this name is watched, if it is served.
    pub fn watched_at(&self, name: Option<&str>) -> WatchedAt {
        let [ts, mp4, pictures] = self.http.upgrade().map_or([None, None, None], |server| server.paths(name));
        let whep = self.http.upgrade().and_then(|server| server.whep_path(name));
        WatchedAt { mp4, ts, pictures, whep, rtsp: self.rtsp.upgrade().map(|server| server.at(name)) }
    }

    /// How many watch the stream of this name now.
    pub fn viewers(&self, name: Option<&str>) -> Viewers {
        let rtsp = self.rtsp.upgrade().map_or(0, |server| server.viewers(name));
        let (http, webrtc) = self.http.upgrade().map_or((0, 0), |server| server.viewers(name));
        Viewers { rtsp, http, webrtc }
    }
}

/// A stream's place at the servers. Dropped, or at the end of the `VideoOut` that has it, it is taken away: viewers get a
/// proper end, those of other streams notice nothing, and the name is free again.
#[derive(Default)]
pub struct Mount {
    pub(super) key_wanted: Arc<KeyWanted>,
    pub(super) outlets: Vec<Box<dyn Outlet>>,
    pub(super) urls: Vec<String>,
    pub(super) tap: Option<PictureTap>,
}

/// Where a stream is watched.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WatchedAt {
    /// Path of the fragmented MP4 at the HTTP server.
    pub mp4: Option<String>,
    /// Path of the MPEG-TS at the HTTP server.
    pub ts: Option<String>,
    /// Path of single pictures at the HTTP server.
    pub pictures: Option<String>,
    /// Path at the HTTP server where WebRTC is asked for (WHEP).
    pub whep: Option<String>,
    /// The address at the RTSP server: `rtsp://HOST:8554/front`.
    pub rtsp: Option<String>,
}

impl Mount {
    /// Clips of events are made of the video, too.
    pub fn with_clips(mut self, clips: &ClipControl) -> Mount {
        self.outlets.push(Box::new(clips.ring()));
        self
    }

    /// `log` takes the encoded pictures, too.
    pub fn with_log(mut self, log: Box<dyn PictureLog>) -> Mount {
        self.outlets.push(Box::new(Logged(log)));
        self
    }
}

/// What takes encoded pictures, as an outlet.
struct Logged(Box<dyn PictureLog>);

impl Outlet for Logged {
    fn take(&mut self, unit: &AccessUnit) -> Result<(), SinkError> {
        let Ok(bytes) = unit.buffer.map_readable() else { return Ok(()) };
        let of_caps = |key: &str| {
            let length = unit.caps.structure(0).and_then(|caps| caps.get::<i32>(key).ok());
            length.and_then(|length| u32::try_from(length).ok()).unwrap_or_default()
        };
        let size = (of_caps("width"), of_caps("height"));
        let captured = ntp::captured(&unit.buffer);
        self.0.take(&EncodedPicture { bytes: &bytes, key: unit.key, size, captured });
        Ok(())
    }
}

/// How many watch a stream.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Viewers {
    /// RTSP clients that play.
    pub rtsp: usize,
    /// HTTP clients that read.
    pub http: usize,
    /// WebRTC clients.
    pub webrtc: usize,
}
