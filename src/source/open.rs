//! Opening a source: the location decides what it is, the purpose whether it is paced.

use super::drive::Drive;
use super::images::Images;
use super::password::with_password;
use super::{Location, Looped, Pace, Paced, Source, SourceConfig, SourceError};
use crate::stop::Stop;

/// What the frames are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// `run`: live sources keep the newest frame and are opened again when lost; recordings keep
    /// their pace and may loop.
    Live,
    /// `replay`, `bank build`, `eval`: every frame, as fast as it is taken.
    Offline,
}

/// Opens `location` (`config.source` is not looked at). Recordings are decoded up to their first
/// frame, so that what cannot be read is known here; RTSP and endless HTTP streams that do not
/// answer are tried again by [`Source::next`] if the purpose is [`Purpose::Live`].
///
/// # Errors
/// [`SourceError::Unreadable`] with reason and remedy, also of `config.password_file`.
pub fn open(
    location: &str,
    config: &SourceConfig,
    purpose: Purpose,
    stop: Stop,
) -> Result<Box<dyn Source>, SourceError> {
    let location = &*with_password(location, config)?;
    match Location::parse(location)? {
        Location::Images(text) => {
            let (fps, token) = (config.fps, stop.clone());
            let mut told = false;
            let open = move || {
                let (images, left_out) = Images::list(&text, fps, token.clone())?;
                // A loop opens them again and again.
                if !std::mem::replace(&mut told, true) {
                    left_out.log(&text);
                }
                Ok(Box::new(images) as Box<dyn Source>)
            };
            played(open, config, purpose, stop)
        }
        Location::Synthetic(spec) => {
            let token = stop.clone();
            let with_truth = purpose == Purpose::Offline;
            let open =
                move || Ok(Box::new(Drive::open(&spec, with_truth, token.clone())?) as Box<dyn Source>);
            played(open, config, purpose, stop)
        }
        place => media::open(location, place, config, purpose, stop),
    }
}

/// A recording as the purpose wants it: looped and paced for `run`, plain otherwise.
fn played(
    mut open: impl FnMut() -> Result<Box<dyn Source>, SourceError> + Send + 'static,
    config: &SourceConfig,
    purpose: Purpose,
    stop: Stop,
) -> Result<Box<dyn Source>, SourceError> {
    if purpose == Purpose::Offline {
        return open();
    }
    let source = if config.repeat { Box::new(Looped::new(Box::new(open), stop.clone())?) } else { open()? };
    Ok(if config.pace == Pace::Realtime { Box::new(Paced::new(source, stop)) } else { source })
}

#[cfg(feature = "media")]
mod media {
    use super::*;
    use crate::source::address::masked;
    use crate::source::cameras;
    use crate::source::decode::Decode;
    use crate::source::ending::Ending;
    use crate::source::live::Live;
    use crate::source::pipeline::Input;
    use crate::source::recording::Recording;

    pub(super) fn open(
        location: &str,
        place: Location,
        config: &SourceConfig,
        purpose: Purpose,
        stop: Stop,
    ) -> Result<Box<dyn Source>, SourceError> {
        match place {
            Location::Video(path) => {
                let (settings, token) = (config.clone(), stop.clone());
                let open = move || {
                    Ok(Box::new(Recording::open(&path, &settings, token.clone())?) as Box<dyn Source>)
                };
                played(open, config, purpose, stop)
            }
            Location::Rtsp(uri) if purpose == Purpose::Live => {
                Ok(Box::new(Live::new(location, Input::Uri(uri.mended()), config, stop, false, None)))
            }
            Location::Rtsp(uri) | Location::Http(uri) if purpose == Purpose::Offline => {
                Ok(Box::new(recorded(location, Input::Uri(uri.mended()), config, stop)?))
            }
            Location::Rtsp(uri) | Location::Http(uri) => http(location, uri.mended(), config, stop),
            Location::V4l2(device) => {
                if let Some(why) = cameras::absent(&device).filter(|_| !config.wait) {
                    return Err(SourceError::unreadable(location, why));
                }
                camera(location, cameras::v4l2(&device, config), config, stop)
            }
            Location::Csi(sensor) => camera(location, cameras::csi(sensor, config), config, stop),
            Location::Launch(description) => {
                launch(location, description.secret().to_owned(), config, purpose, stop)
            }
            Location::Images(_) | Location::Synthetic(_) => {
                Err(SourceError::unreadable(location, "no video"))
            }
        }
    }

    /// A camera must start once, unless it may be waited for; afterwards it is opened again.
    fn camera(
        location: &str,
        description: String,
        config: &SourceConfig,
        stop: Stop,
    ) -> Result<Box<dyn Source>, SourceError> {
        let input = Input::Launch(description);
        let decode = match Decode::start(&input, config, true) {
            Ok(decode) => Some((decode, None)),
            Err(why) if config.wait => {
                tracing::warn!(
                    location = masked(location),
                    why = masked(&why),
                    "the camera does not start yet"
                );
                None
            }
            Err(why) => return Err(SourceError::unreadable(location, why)),
        };
        Ok(Box::new(Live::new(location, input, config, stop, false, decode)))
    }

    /// A description: live if its source says so, a recording otherwise.
    fn launch(
        location: &str,
        description: String,
        config: &SourceConfig,
        purpose: Purpose,
        stop: Stop,
    ) -> Result<Box<dyn Source>, SourceError> {
        let input = Input::Launch(description);
        let decode =
            Decode::start(&input, config, false).map_err(|why| SourceError::unreadable(location, why))?;
        let source =
            Recording::from_running(location.into(), String::new(), decode, Ending::Whole, stop.clone())?;
        if purpose == Purpose::Offline {
            return Ok(Box::new(source));
        }
        if source.runs_live() {
            let running = Some(source.into_running());
            return Ok(Box::new(Live::new(location, input, config, stop, true, running)));
        }
        let source = Box::new(source);
        Ok(if config.pace == Pace::Realtime { Box::new(Paced::new(source, stop)) } else { source })
    }

    /// What a server gives: a recording if it has a length, a live stream otherwise (pictures that replace
    /// each other, a transport stream) or if the server does not answer.
    fn http(
        location: &str,
        uri: String,
        config: &SourceConfig,
        stop: Stop,
    ) -> Result<Box<dyn Source>, SourceError> {
        let open = {
            let (location, uri, config, stop) =
                (location.to_owned(), uri.clone(), config.clone(), stop.clone());
            move || recorded(&location, Input::Uri(uri.clone()), &config, stop.clone())
        };
        // The connection that was made to find out is as good as a new one, and some cameras allow but one.
        let running = match open() {
            Ok(source) if source.frames().is_some() => {
                let mut first = Some(source);
                let again = move || {
                    let source = first.take().map_or_else(&open, Ok)?;
                    Ok(Box::new(source) as Box<dyn Source>)
                };
                return played(again, config, Purpose::Live, stop);
            }
            Ok(source) => Some(source.into_running()),
            Err(error) => {
                tracing::warn!(%error, "the stream does not answer yet");
                None
            }
        };
        Ok(Box::new(Live::new(location, Input::Uri(uri), config, stop, false, running)))
    }

    fn recorded(
        location: &str,
        input: Input,
        config: &SourceConfig,
        stop: Stop,
    ) -> Result<Recording, SourceError> {
        let decode =
            Decode::start(&input, config, false).map_err(|why| SourceError::unreadable(location, why))?;
        Recording::from_running(location.into(), String::new(), decode, Ending::Unknown, stop)
    }
}

#[cfg(not(feature = "media"))]
mod media {
    use super::*;

    pub(super) fn open(
        location: &str,
        _: Location,
        _: &SourceConfig,
        _: Purpose,
        _: Stop,
    ) -> Result<Box<dyn Source>, SourceError> {
        let why = "this farout was built without video (feature `media`); it reads still images and synthetic frames";
        Err(SourceError::unreadable(location, why))
    }
}
