//! What a source would be, told without opening it.

use super::password::with_password;
use super::{Location, SourceConfig, SourceError, Transport};

/// What would be watched, in words, as far as files and devices tell: no server and no camera is asked.
///
/// # Errors
/// In words, without passwords: why it could not be opened.
pub fn look(config: &SourceConfig) -> Result<String, String> {
    let whole = with_password(config.source.secret(), config).map_err(|why| why.to_string())?;
    let said = |why: SourceError| config.source.hide(&why.to_string());
    let shown = &config.source;
    let secret = config.password_file.as_ref().map(|path| format!("; its password is in {}", path.display()));
    let what = match Location::parse(&whole).map_err(said)? {
        Location::Images(text) => {
            let images =
                super::images::Images::open(&text, config.fps, crate::stop::Stop::new()).map_err(said)?;
            format!("{shown}: {} pictures", images.paths().len())
        }
        Location::Synthetic(spec) => {
            super::synthetic::SyntheticConfig::parse(&spec).map_err(|why| why.to_string())?;
            format!("{shown}, a drive that is drawn")
        }
        _ if cfg!(not(feature = "media")) => {
            return Err(format!(
                "{shown}: this farout was built without video; build it with the feature \"media\""
            ));
        }
        Location::Video(path) => {
            std::fs::File::open(&path).map_err(|why| format!("{}: {why}", path.display()))?;
            format!("{shown}, a recording")
        }
        Location::Rtsp(_) => {
            let transport = match config.rtsp_transport {
                Transport::Tcp => "TCP",
                Transport::Udp => "UDP",
            };
            format!("{shown} over {transport} (not asked now)")
        }
        Location::Http(_) => format!("{shown} (not asked now)"),
        Location::V4l2(device) => camera(&device)?,
        Location::Csi(sensor) => format!("CSI camera {sensor} (not asked now)"),
        Location::Launch(description) => {
            launch(description.secret()).map(|()| shown.to_string()).map_err(|why| shown.hide(&why))?
        }
    };
    Ok(what + &secret.unwrap_or_default())
}

#[cfg(feature = "media")]
fn camera(device: &std::path::Path) -> Result<String, String> {
    if let Some(why) = super::cameras::absent(device) {
        return Err(format!("{}: {why}", device.display()));
    }
    let opened = std::fs::File::options().read(true).write(true).open(device);
    let remedy = "is this user in the group video?";
    opened.map_err(|why| format!("{}: {why}; {remedy}", device.display()))?;
    Ok(format!("camera {}", device.display()))
}

/// Whether a description can be made into a pipeline; it is not started.
#[cfg(feature = "media")]
fn launch(description: &str) -> Result<(), String> {
    gstreamer::init().map_err(|why| format!("GStreamer does not start: {why}"))?;
    gstreamer::parse::bin_from_description(description, true).map(drop).map_err(|why| format!("gst: {why}"))
}

#[cfg(not(feature = "media"))]
fn camera(_: &std::path::Path) -> Result<String, String> {
    Err(String::new())
}

#[cfg(not(feature = "media"))]
fn launch(_: &str) -> Result<(), String> {
    Err(String::new())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_be_watched_is_told_and_passwords_are_not() {
        let dir = tempfile::tempdir().unwrap();
        image::RgbImage::new(2, 2).save(dir.path().join("a.png")).unwrap();
        let folder = dir.path().to_str().unwrap().to_owned();
        let at = |source: &str| look(&SourceConfig { source: source.into(), ..SourceConfig::default() });
        assert!(at(&folder).unwrap().ends_with(": 1 pictures"));
        assert!(at("synthetic:seed=3").unwrap().contains("drawn"));
        assert!(at("synthetic:seed=x").is_err());
        assert!(at(&format!("{folder}/*.jpg")).is_err());
        assert!(at("ftp://me:Geheim77@x/y").unwrap_err().contains("unknown scheme"));
        #[cfg(feature = "media")]
        {
            let told = at("rtsp://me:Geheim77@cam/1").unwrap();
            assert_eq!(told, "rtsp://me:***@cam/1 over TCP (not asked now)");
            assert!(at("/nowhere/clip.mp4").unwrap_err().contains("/nowhere/clip.mp4"));
            assert!(at("v4l2:///dev/video77").unwrap_err().contains("no such camera"));
            assert!(at("gst:videotestsrc ! videoconvert").is_ok());
            let why = at("gst:rtspsrc location=rtsp://me:Geheim77@cam ! nosuch").unwrap_err();
            assert!(why.contains("nosuch") && !why.contains("Geheim77"), "{why}");
        }
    }
}
