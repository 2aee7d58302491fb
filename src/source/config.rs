//! The keys of a `[[stream]]` table that say what is read and how.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::Address;
use crate::ranges::within;

/// Where frames come from and how they are read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SourceConfig {
    /// What the stream is called: its mount points are `/NAME` and `/NAME.ts`, and events name it. Needed if there are
    /// several. Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What to read: a video file, `rtsp://...`, `v4l2:///dev/video0`, `csi://0`, `http://...`,
    /// an image, a folder of images, a glob, `file:///...`, `gst:DESCRIPTION` or `synthetic:SPEC`.
    /// Default: `synthetic:`.
    pub source: Address,
    /// A file with the password of the user that `source` names, as in `rtsp://USER@HOST/1`, or `credential:NAME` for one
    /// that systemd hands over. Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password_file: Option<PathBuf>,
    /// `run` only: start a file or folder again when it ends. Default: false.
    #[serde(rename = "loop")]
    pub repeat: bool,
    /// `run` only: play files, folders and synthetic frames at their own pace (`realtime`) or
    /// as fast as they are taken (`fast`). Default: `realtime`.
    pub pace: Pace,
    /// RTSP: how long packets are held back to put them in order, in milliseconds. Default: 100.
    pub rtsp_latency_ms: u32,
    /// RTSP: `tcp` (nothing is lost on the way) or `udp`. Default: `tcp`.
    pub rtsp_transport: Transport,
    /// Live sources: a stream that gives no frame for so many seconds counts as lost and is
    /// opened again. Default: 5.
    pub timeout_secs: f64,
    /// Cameras: if the camera is not there at start, wait for it instead of ending with an
    /// error. Default: false.
    pub wait: bool,
    /// `auto` turns interlaced video into whole frames, one per pair of fields; `off` leaves it
    /// as it is. Default: `auto`.
    pub deinterlace: Deinterlace,
    /// Cameras: width in pixels to ask for; 0 takes what the camera prefers. Default: 0.
    pub width: u32,
    /// Cameras: height in pixels to ask for; 0 takes what the camera prefers. Default: 0.
    pub height: u32,
    /// Cameras: frames per second to ask for, 0 takes what the camera prefers. Image folders:
    /// frames per second at which pictures follow each other, 0 means 10. Default: 0.
    pub fps: f64,
    /// `[stream.score]`: keys of `[score]` that are other ones for this stream.
    #[serde(skip_serializing_if = "toml::Table::is_empty")]
    pub score: toml::Table,
    /// `[stream.overlay]`: keys of `[overlay]` that are other ones for this stream.
    #[serde(skip_serializing_if = "toml::Table::is_empty")]
    pub overlay: toml::Table,
    /// `[stream.output]`: keys of `[output]` that are other ones for this stream.
    #[serde(skip_serializing_if = "toml::Table::is_empty")]
    pub output: toml::Table,
}

impl Default for SourceConfig {
    fn default() -> Self {
        SourceConfig {
            name: None,
            source: "synthetic:".into(),
            password_file: None,
            repeat: false,
            pace: Pace::Realtime,
            rtsp_latency_ms: 100,
            rtsp_transport: Transport::Tcp,
            timeout_secs: 5.0,
            wait: false,
            deinterlace: Deinterlace::Auto,
            width: 0,
            height: 0,
            fps: 0.0,
            score: toml::Table::new(),
            overlay: toml::Table::new(),
            output: toml::Table::new(),
        }
    }
}

impl SourceConfig {
    /// Checks what the types cannot.
    ///
    /// # Errors
    /// The key and what it may be.
    pub fn check(&self) -> Result<(), String> {
        let numbers = [
            ("timeout_secs", self.timeout_secs, 0.1, 3600.0),
            ("fps", self.fps, 0.0, 1000.0),
            ("rtsp_latency_ms", f64::from(self.rtsp_latency_ms), 0.0, 60_000.0),
            ("width", f64::from(self.width), 0.0, 32_768.0),
            ("height", f64::from(self.height), 0.0, 32_768.0),
        ];
        within("stream", &numbers)
    }
}

/// How fast recorded frames follow each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Pace {
    /// By their presentation times; the reader loses frames if it is late.
    #[default]
    Realtime,
    /// As fast as the reader takes them; no frame is lost.
    Fast,
}

/// How RTSP brings its packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Transport {
    /// Interleaved in the RTSP connection.
    #[default]
    Tcp,
    /// RTP over UDP.
    Udp,
}

/// What is done about interlaced video.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Deinterlace {
    /// Interlaced frames become progressive ones, one per pair of fields.
    #[default]
    Auto,
    /// Frames are left as they are.
    Off,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_that_cannot_be_are_named() {
        assert_eq!(SourceConfig::default().check(), Ok(()));
        for text in [
            "timeout_secs = nan",
            "timeout_secs = inf",
            "timeout_secs = -1.0",
            "timeout_secs = 1e300",
            "fps = nan",
            "fps = -5.0",
            "width = 4000000000",
            "rtsp_latency_ms = 4000000000",
        ] {
            let config: SourceConfig = toml::from_str(text).unwrap();
            let key = text.split(' ').next().unwrap();
            let why = config.check().unwrap_err();
            assert!(why.starts_with(&format!("stream.{key} is ")) && why.contains("give"), "{text}: {why}");
        }
    }
}
