//! The `[output]` keys that say where annotated video goes, and the addresses in them.

use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::SinkError;
use crate::ranges::within;

/// Where annotated video goes and how it is encoded.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OutputConfig {
    /// Address of the RTSP server, or `off`. Default: `rtsp://127.0.0.1:8554/farout`; with
    /// `0.0.0.0` as host, other machines can watch.
    pub rtsp: String,
    /// Address of the HTTP server, or `off`: the live page, the API, metrics, and the same streams as MPEG-TS and for
    /// browsers. A stream without a name is at the path that is written here, `/farout.ts` if there is none.
    /// Default: `http://127.0.0.1:8080/`.
    pub http: String,
    /// A file to record to as fragmented MP4, playable at any moment. Default: none.
    pub record: Option<PathBuf>,
    /// A file to append events to, one JSON object per line; `-` is standard output. Default: none.
    pub events: Option<PathBuf>,
    /// The H.264 encoder: `auto` takes the first that starts of nvv4l2h264enc, nvh264enc,
    /// vah264enc, x264enc and openh264enc; else the name of one of them. Default: `auto`.
    pub encoder: String,
    /// Bits per second of the encoded video, in thousands. Default: 4000.
    pub bitrate_kbps: u32,
    /// Seconds between key frames. Default: 1.
    pub keyframe_secs: f64,
    /// `run`: `live` shows every picture of a camera at its rate, with the newest verdict carried along the motion; `scored`
    /// shows judged pictures only, each with its own. Default: `live`.
    pub picture: ShownPictures,
    /// Width of the encoded video in pixels; 0 takes the first frame's. Frames of another size
    /// are scaled, with borders if their shape differs. Default: 0.
    pub width: u32,
    /// Height of the encoded video in pixels; 0 takes the first frame's. Default: 0.
    pub height: u32,
}

impl Default for OutputConfig {
    fn default() -> Self {
        OutputConfig {
            rtsp: "rtsp://127.0.0.1:8554/farout".into(),
            http: "http://127.0.0.1:8080/".into(),
            record: None,
            events: None,
            encoder: "auto".into(),
            bitrate_kbps: 4000,
            keyframe_secs: 1.0,
            picture: ShownPictures::Live,
            width: 0,
            height: 0,
        }
    }
}

impl OutputConfig {
    /// Keys that a stream may have of its own; the servers are one for all.
    pub const OF_STREAM: &[&str] = &["record", "events", "bitrate_kbps", "keyframe_secs", "width", "height"];

    /// Checks what the types cannot.
    ///
    /// # Errors
    /// The key and what it may be.
    pub fn check(&self) -> Result<(), String> {
        let numbers = [
            ("keyframe_secs", self.keyframe_secs, 0.01, 600.0),
            ("bitrate_kbps", f64::from(self.bitrate_kbps), 1.0, 1_000_000.0),
            ("width", f64::from(self.width), 0.0, 32_768.0),
            ("height", f64::from(self.height), 0.0, 32_768.0),
        ];
        within("output", &numbers)
    }

    /// The RTSP server's address; `None` if it is off.
    ///
    /// # Errors
    /// [`SinkError::Address`] if the value is neither an address nor `off`.
    pub fn rtsp_address(&self) -> Result<Option<Address>, SinkError> {
        Address::parse("output.rtsp", &self.rtsp, "rtsp", (8554, "/farout"), false)
    }

    /// The HTTP server's address; `None` if it is off.
    ///
    /// # Errors
    /// [`SinkError::Address`] if the value is neither an address nor `off`.
    pub fn http_address(&self) -> Result<Option<Address>, SinkError> {
        Address::parse("output.http", &self.http, "http", (8080, "/farout.ts"), true)
    }
}

/// Which pictures of a live source are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ShownPictures {
    /// All, each with the newest verdict.
    #[default]
    Live,
    /// Those that were judged, each with its own verdict.
    Scored,
}

/// Whether a stream may be called so: a part of addresses and of file names that needs no quoting, 1 to 64 letters, digits, `-` and
/// `_`, a letter or digit first.
pub fn is_stream_name(name: &str) -> bool {
    name.len() <= 64
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'))
}

/// Where a server listens and under which path it serves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// The key of the config it was given by.
    pub key: &'static str,
    /// Address and port to listen on; port 0 takes a free one.
    pub socket: SocketAddr,
    /// The path, starting with a slash.
    pub path: String,
}

impl Address {
    /// Why nobody can listen here.
    #[cfg(feature = "media")]
    pub(super) fn refused(&self, why: String) -> SinkError {
        SinkError::Listen { key: self.key, address: self.socket.to_string(), why }
    }

    /// Reads an address; `usual` are the port and the path of one that has none. `bare`: `/` counts as no path.
    fn parse(
        key: &'static str,
        value: &str,
        scheme: &str,
        usual: (u16, &str),
        bare: bool,
    ) -> Result<Option<Address>, SinkError> {
        let (port, usual) = usual;
        if value == "off" {
            return Ok(None);
        }
        let bad = |why: String| SinkError::Address { key, value: value.to_owned(), why };
        let how = || format!("write {scheme}://127.0.0.1:{port}{usual} or \"off\"");
        let rest =
            value.strip_prefix(scheme).and_then(|v| v.strip_prefix("://")).ok_or_else(|| bad(how()))?;
        let (host, path) = match rest.find('/') {
            Some(slash) if !(bare && &rest[slash..] == "/") => rest.split_at(slash),
            _ => (rest.trim_end_matches('/'), usual),
        };
        let has_port = host.rsplit_once(':').is_some_and(|(_, p)| p.parse::<u16>().is_ok());
        let host = if has_port { host.to_owned() } else { format!("{host}:{port}") };
        let mut sockets = host.to_socket_addrs().map_err(|e| bad(format!("{e}; {}", how())))?;
        let socket = sockets.next().ok_or_else(|| bad(how()))?;
        let printable = path.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b'?' | b'#'));
        if path == "/" || !printable {
            return Err(bad(format!("it needs a plain path; {}", how())));
        }
        Ok(Some(Address { key, socket, path: path.to_owned() }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        let parse = |value: &str| {
            let config = OutputConfig { rtsp: value.into(), ..OutputConfig::default() };
            config.rtsp_address().map(|a| a.map(|a| format!("{}{}", a.socket, a.path)))
        };
        for (value, want) in [
            ("off", None),
            ("rtsp://127.0.0.1:8554/farout", Some("127.0.0.1:8554/farout")),
            ("rtsp://0.0.0.0/a/b", Some("0.0.0.0:8554/a/b")),
            ("rtsp://127.0.0.1", Some("127.0.0.1:8554/farout")),
            ("rtsp://[::1]:9/x", Some("[::1]:9/x")),
        ] {
            assert_eq!(parse(value).unwrap().as_deref(), want, "{value}");
        }
        for value in
            ["", "on", "http://127.0.0.1/x", "rtsp://:/x", "rtsp://127.0.0.1:99999/x", "rtsp://127.0.0.1/"]
        {
            let err = parse(value).unwrap_err().to_string();
            assert!(err.contains("output.rtsp") && err.contains("write rtsp://"), "{value}: {err}");
        }
        let http = OutputConfig::default().http_address().unwrap().unwrap();
        assert_eq!((http.socket.port(), &*http.path), (8080, "/farout.ts"));
        for (value, path) in [("http://127.0.0.1:1", "/farout.ts"), ("http://127.0.0.1:1/x.ts", "/x.ts")] {
            let config = OutputConfig { http: value.into(), ..OutputConfig::default() };
            assert_eq!(config.http_address().unwrap().unwrap().path, path);
        }
    }
}
