//! What a source is called: the location string, told apart by scheme and by what lies there.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use super::contents::{self, Contents};
use super::escapes::decoded;
use super::{Address, SourceError, places};

/// A location, told apart but not yet opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Location {
    /// A video file (anything that exists and is no still image, or does not exist).
    Video(PathBuf),
    /// A single picture, a folder, or a glob.
    Images(String),
    /// `rtsp://` or `rtsps://`.
    Rtsp(Address),
    /// `http://` or `https://`.
    Http(Address),
    /// `v4l2://`: the device's path.
    V4l2(PathBuf),
    /// `csi://`: the sensor's number.
    Csi(u32),
    /// `gst:`: a GStreamer launch description.
    Launch(Address),
    /// `synthetic:`: what follows the colon.
    Synthetic(String),
}

/// The schemes, for messages.
const SCHEMES: &str = "rtsp://, rtsps://, http://, https://, file://, v4l2://, csi://, gst: and synthetic:";

impl Location {
    /// Tells a location apart; looks at the file system, not at the network.
    ///
    /// # Errors
    /// An empty string, an unknown scheme, a camera that is no number, a `file:` address of another
    /// machine, or a file that is neither a video nor a picture that is read.
    pub fn parse(text: &str) -> Result<Location, SourceError> {
        let bad = |why: String| Err(SourceError::unreadable(text, why));
        if text.is_empty() {
            return bad(format!("the source is empty; give a file, a folder or one of {SCHEMES}"));
        }
        if let Some(description) = text.strip_prefix("gst:") {
            return Ok(Location::Launch(description.trim().into()));
        }
        if let Some(specification) = text.strip_prefix("synthetic:") {
            return Ok(Location::Synthetic(specification.trim().to_owned()));
        }
        let Some((scheme, rest)) = text.split_once("://") else {
            return Self::path(text);
        };
        match scheme.to_ascii_lowercase().as_str() {
            "rtsp" | "rtsps" => Ok(Location::Rtsp(text.into())),
            "http" | "https" => Ok(Location::Http(text.into())),
            "file" => match local_file(rest) {
                // A name that is no UTF-8 is only found as a path.
                Ok(path) => path
                    .into_string()
                    .map_or_else(|path| Ok(Location::Video(path.into())), |path| Self::path(&path)),
                Err(why) => bad(why),
            },
            "v4l2" if rest.starts_with('/') => Ok(Location::V4l2(rest.into())),
            "v4l2" => bad("a camera is written v4l2:///dev/video0, with three slashes".into()),
            "csi" => match rest.parse() {
                Ok(sensor) => Ok(Location::Csi(sensor)),
                Err(_) => bad("a CSI camera is written csi://0, with the sensor's number".into()),
            },
            _ if Path::new(text).exists() => Self::path(text),
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
                let (folder, _) = places::literal_folder(text);
                Some(if folder.is_empty() { "." } else { folder }.into())
            }
            _ => None,
        }
    }

    fn path(text: &str) -> Result<Location, SourceError> {
        let path = Path::new(text);
        let pattern = text.contains(['*', '?', '[']) && !path.exists();
        if pattern || path.is_dir() {
            return Ok(Location::Images(text.to_owned()));
        }
        // What cannot be looked at is told of when it is opened. Only files: others may wait for a writer.
        let contents = if path.is_file() { contents::look(path).ok() } else { None };
        match contents {
            Some(Contents::Picture) => Ok(Location::Images(text.to_owned())),
            Some(contents) => match contents.refusal() {
                Some(why) => Err(SourceError::unreadable(text, why)),
                None => Ok(Location::Video(path.to_owned())),
            },
            None => Ok(Location::Video(path.to_owned())),
        }
    }
}

/// The path of a `file:` address, from what follows `://` (RFC 8089).
fn local_file(rest: &str) -> Result<OsString, String> {
    let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    if !host.is_empty() && !host.eq_ignore_ascii_case("localhost") {
        return Err(format!(
            "`{host}` stands where a host does, and files are read from this machine only; \
             a path is written file:///path/to/file, with three slashes"
        ));
    }
    let bytes = decoded(path)?;
    if bytes.contains(&0) {
        return Err("no path contains the byte 0 (%00)".into());
    }
    Ok(OsString::from_vec(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_locations_apart() {
        let dir = tempfile::tempdir().unwrap();
        let png = dir.path().join("called.mp4");
        image::RgbImage::new(2, 2).save_with_format(&png, image::ImageFormat::Png).unwrap();
        std::fs::write(dir.path().join("a.avif"), b"\0\0\0\x1cftypavif\0\0\0\0avifmif1miafMA1B").unwrap();
        std::fs::write(dir.path().join("b.mp4"), b"").unwrap();
        std::fs::write(dir.path().join("c.png"), b"version https://git-lfs.github.com/spec/v1\n").unwrap();
        let text = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
        let (dir, png) = (dir.path().to_str().unwrap(), png.to_str().unwrap());
        let star = format!("{dir}/*.png");
        let cases = [
            ("clip.mp4", Location::Video("clip.mp4".into())),
            ("file:///no/clip.mp4", Location::Video("/no/clip.mp4".into())),
            ("FILE://localhost/no/a%20b%23%C3%A4.mp4", Location::Video("/no/a b#\u{e4}.mp4".into())),
            ("/no/a%20b.mp4", Location::Video("/no/a%20b.mp4".into())),
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
            ("file://server/clip.mp4", "this machine only"),
            ("file://clip.mp4", "file:///path"),
            ("file:///no/100%.mp4", "%25"),
            ("file:///no/a%00b", "byte 0"),
            (&text("a.avif"), "AVIF is not read; convert it to PNG or JPEG"),
            (&text("b.mp4"), "the file is empty"),
            (&text("c.png"), "git lfs pull"),
        ] {
            let err = Location::parse(text).unwrap_err().to_string();
            assert!(err.contains(want), "{text}: {err}");
        }
    }
}
