//! What a source is called: the location string, told apart by scheme and by what lies there.

use std::io::Read;
use std::path::{Path, PathBuf};

use super::SourceError;

/// A location, told apart but not yet opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Location {
    /// A video file (anything that exists and is no still image, or does not exist).
    Video(PathBuf),
    /// A single picture, a folder, or a glob.
    Images(String),
    /// `rtsp://` or `rtsps://`.
    Rtsp(String),
    /// `http://` or `https://`.
    Http(String),
    /// `v4l2://`: the device's path.
    V4l2(PathBuf),
    /// `csi://`: the sensor's number.
    Csi(u32),
    /// `gst:`: a GStreamer launch description.
    Launch(String),
    /// `synthetic:`: what follows the colon.
    Synthetic(String),
}

/// The schemes, for messages.
const SCHEMES: &str = "rtsp://, rtsps://, http://, https://, file://, v4l2://, csi://, gst: and synthetic:";

impl Location {
    /// Tells a location apart; looks at the file system, not at the network.
    ///
    /// # Errors
    /// An empty string, an unknown scheme, or a camera that is no number.
    pub fn parse(text: &str) -> Result<Location, SourceError> {
        let bad = |why: String| Err(SourceError::unreadable(text, why));
        if text.is_empty() {
            return bad(format!("the source is empty; give a file, a folder or one of {SCHEMES}"));
        }
        for (scheme, make) in
            [("gst:", Location::Launch as fn(String) -> Location), ("synthetic:", Location::Synthetic)]
        {
            if let Some(rest) = text.strip_prefix(scheme) {
                return Ok(make(rest.trim().to_owned()));
            }
        }
        let Some((scheme, rest)) = text.split_once("://") else {
            return Ok(Self::path(text));
        };
        match scheme.to_ascii_lowercase().as_str() {
            "rtsp" | "rtsps" => Ok(Location::Rtsp(text.to_owned())),
            "http" | "https" => Ok(Location::Http(text.to_owned())),
            "file" => Ok(Self::path(rest)),
            "v4l2" if rest.starts_with('/') => Ok(Location::V4l2(rest.into())),
            "v4l2" => bad("a camera is written v4l2:///dev/video0, with three slashes".into()),
            "csi" => match rest.parse() {
                Ok(sensor) => Ok(Location::Csi(sensor)),
                Err(_) => bad("a CSI camera is written csi://0, with the sensor's number".into()),
            },
            _ if Path::new(text).exists() => Ok(Self::path(text)),
            other => bad(format!("unknown scheme {other}://; farout reads files, folders, {SCHEMES}")),
        }
    }

    /// The file that is read, or the folder that the pictures lie in; nothing for what is no file.
    pub fn on_disk(&self) -> Option<PathBuf> {
        match self {
            Location::Video(path) => Some(path.clone()),
            Location::Images(text) if Path::new(text).exists() => Some(text.into()),
            // A glob: the folder up to the first wildcard.
            Location::Images(text) => {
                let fixed = text.find(['*', '?', '[']).map_or(text.as_str(), |at| &text[..at]);
                let folder = fixed.rfind('/').map_or(".", |at| &fixed[..=at]);
                Some(folder.into())
            }
            _ => None,
        }
    }

    fn path(text: &str) -> Location {
        let path = Path::new(text);
        let pattern = text.contains(['*', '?', '[']) && !path.exists();
        if pattern || path.is_dir() || is_picture(path) {
            Location::Images(text.to_owned())
        } else {
            Location::Video(path.to_owned())
        }
    }
}

/// Whether the first bytes of a file are those of a still image that the images source reads.
/// Motion JPEG streams start like a JPEG; their usual endings tell them apart.
pub(super) fn is_picture(path: &Path) -> bool {
    let ending = path.extension().and_then(|e| e.to_str()).map(str::to_ascii_lowercase);
    if matches!(ending.as_deref(), Some("mjpg" | "mjpeg")) || !path.is_file() {
        return false;
    }
    let mut head = Vec::with_capacity(64);
    let Ok(file) = std::fs::File::open(path) else {
        return false;
    };
    if file.take(64).read_to_end(&mut head).is_err() {
        return false;
    }
    crate::jpeg::is_jpeg(&head) || image::guess_format(&head).is_ok_and(|format| format.reading_enabled())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_locations_apart() {
        let dir = tempfile::tempdir().unwrap();
        let png = dir.path().join("called.mp4");
        image::RgbImage::new(2, 2).save_with_format(&png, image::ImageFormat::Png).unwrap();
        let (dir, png) = (dir.path().to_str().unwrap(), png.to_str().unwrap());
        let star = format!("{dir}/*.png");
        let cases = [
            ("clip.mp4", Location::Video("clip.mp4".into())),
            ("file:///no/clip.mp4", Location::Video("/no/clip.mp4".into())),
            (png, Location::Images(png.into())),
            (dir, Location::Images(dir.into())),
            (&star, Location::Images(star.clone())),
            ("RTSP://cam/1", Location::Rtsp("RTSP://cam/1".into())),
            ("https://x/y.ts", Location::Http("https://x/y.ts".into())),
            ("v4l2:///dev/video9", Location::V4l2("/dev/video9".into())),
            ("csi://1", Location::Csi(1)),
            ("gst: videotestsrc ", Location::Launch("videotestsrc".into())),
            ("synthetic:seed=1", Location::Synthetic("seed=1".into())),
        ];
        for (text, want) in cases {
            assert_eq!(Location::parse(text).unwrap(), want, "{text}");
        }
        for (text, want) in [
            ("", "empty"),
            ("ftp://x/y.mp4", "unknown scheme ftp://"),
            ("v4l2://video0", "three slashes"),
            ("csi://left", "csi://0"),
        ] {
            let err = Location::parse(text).unwrap_err().to_string();
            assert!(err.contains(want), "{text}: {err}");
        }
    }
}
