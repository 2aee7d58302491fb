//! A recording read to its end: every frame in order, then the verdict on how it ended.

use std::path::Path;
use std::time::{Duration, Instant};

use super::config::SourceConfig;
use super::decode::{Decode, Pulled};
use super::ending::{Ending, look};
use super::pipeline::{Facts, Input};
use super::{Address, Source, SourceError};
use crate::frame::Frame;
use crate::stop::Stop;

/// How often a waiting reader looks at the bus and at the stop token.
const POLL: Duration = Duration::from_millis(50);
/// A recording that gives no frame for so long hangs. Local files answer at once; only a
/// sleeping disk, a server, or a machine with far too much to do takes seconds.
const PATIENCE: Duration = Duration::from_secs(20);
/// By how much the last frame may lie before the end that an unknown container announces.
const SLACK: Duration = Duration::from_secs(1);

/// A finite stream: a file, a file on a server, or a launch description that is not live.
pub(super) struct Recording {
    location: Address,
    decode: Decode,
    ending: Ending,
    stop: Stop,
    name: std::sync::Arc<str>,
    first: Option<Frame>,
    facts: Facts,
    duration: Option<Duration>,
    /// Running time of the first frame.
    zero: Duration,
    last: Option<(u64, Duration)>,
    over: bool,
}

impl Recording {
    /// Opens a video file and decodes its first frame.
    ///
    /// # Errors
    /// [`SourceError::Unreadable`] with reason and remedy.
    pub(super) fn open(path: &Path, config: &SourceConfig, stop: Stop) -> Result<Recording, SourceError> {
        let location = path.display().to_string();
        let bad = |why: &str| SourceError::unreadable(&location, why);
        let meta = std::fs::metadata(path).map_err(|e| match e.kind() {
            std::io::ErrorKind::NotFound => bad("there is no such file; check the path"),
            _ => bad(&e.to_string()),
        })?;
        if !meta.is_file() {
            return Err(bad("it is neither a file nor a folder; cameras are written v4l2:///dev/video0"));
        }
        if meta.len() == 0 {
            return Err(bad("the file is empty (0 bytes)"));
        }
        let ending = look(path).map_err(|e| bad(&e.to_string()))?;
        if let Ending::NoIndex(why) = &ending {
            return Err(bad(why));
        }
        let whole = path.canonicalize().map_err(|e| bad(&e.to_string()))?;
        let uri = gstreamer::glib::filename_to_uri(whole, None).map_err(|e| bad(&e.to_string()))?;
        let decode = Decode::start(&Input::Uri(uri.into()), config, false).map_err(|why| bad(&why))?;
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        Self::from_running(location, name, decode, ending, stop)
    }

    /// Waits for the first frame of a pipeline that is already running.
    ///
    /// # Errors
    /// [`SourceError::Unreadable`] if none comes.
    pub(super) fn from_running(
        location: String,
        name: String,
        mut decode: Decode,
        ending: Ending,
        stop: Stop,
    ) -> Result<Recording, SourceError> {
        let first = match (wait(&mut decode, &stop), &ending) {
            (Pulled::End | Pulled::Broken(_), Ending::Cut(cut)) => {
                let why = format!("no frame can be decoded: {cut}");
                return Err(SourceError::unreadable(location, why));
            }
            (pulled, _) => pulled,
        };
        let first = match first {
            Pulled::Frame(frame) => Some(frame),
            Pulled::Nothing if stop.asked() => None,
            Pulled::Nothing => {
                let secs = PATIENCE.as_secs();
                return Err(SourceError::unreadable(location, format!("no frame came within {secs} s")));
            }
            Pulled::End => {
                return Err(SourceError::unreadable(
                    location,
                    "it holds no video that could be decoded; ffprobe tells what it holds",
                ));
            }
            // Without anything to decode, the missing decoder that is reported is that of the sound.
            Pulled::Broken(_)
                if decode.facts().has_sound
                    && decode.facts().decoder.is_none()
                    && !decode.facts().has_video =>
            {
                return Err(SourceError::unreadable(location, "it holds no video, only sound"));
            }
            Pulled::Broken(why) => {
                let hint = Address::from(location.as_str()).hint(&why);
                return Err(SourceError::unreadable(location, format!("{}{hint}", remedy(&why))));
            }
        };
        let location = Address::from(location);
        let facts = decode.facts();
        let duration = decode.duration();
        tracing::info!(%location, decoder = facts.decoder.as_deref().unwrap_or("none"), size = ?facts.size, rate = facts.rate, "recording opened");
        let zero = first.as_ref().map_or(Duration::ZERO, |frame| frame.pts);
        let name = name.into();
        Ok(Recording {
            location,
            decode,
            ending,
            stop,
            name,
            first,
            facts,
            duration,
            zero,
            last: None,
            over: false,
        })
    }

    /// Whether the pipeline turned out to be live.
    pub(super) fn runs_live(&self) -> bool {
        self.decode.is_live()
    }

    /// The running pipeline, which keeps the newest frame only from now on, and its first frame.
    pub(super) fn into_running(mut self) -> (Decode, Option<Frame>) {
        self.decode.keep_newest_only();
        let first = self.first.take();
        (self.decode, first)
    }

    /// The verdict once no frame comes any more.
    fn end(&mut self, broken: Option<String>) -> Result<Option<Frame>, SourceError> {
        self.over = true;
        let (last_frame, last) = self.last.unwrap_or_default();
        let why = match (broken, &self.ending) {
            (None, Ending::Whole | Ending::NoIndex(_)) => return Ok(None),
            (Some(why), Ending::Cut(cut)) => format!("{cut}; {why}"),
            (Some(why), _) => why,
            (None, Ending::Cut(cut)) => cut.clone(),
            // The container's length covers sound too, so that it only tells without sound.
            (None, Ending::Unknown) => match self.duration {
                Some(length)
                    if !self.facts.has_sound && length > self.zero + last + SLACK.max(length / 50) =>
                {
                    format!("it announces {:.3} s", length.as_secs_f64())
                }
                _ => return Ok(None),
            },
        };
        Err(SourceError::CutOff {
            location: self.location.to_string(),
            last_frame,
            last_secs: last.as_secs_f64(),
            why: self.location.hide(&why),
        })
    }
}

impl Source for Recording {
    fn next(&mut self) -> Result<Option<Frame>, SourceError> {
        if self.over || self.stop.asked() {
            return Ok(None);
        }
        let pulled = match self.first.take() {
            Some(frame) => Pulled::Frame(frame),
            None => wait(&mut self.decode, &self.stop),
        };
        match pulled {
            Pulled::Frame(mut frame) => {
                frame.pts = frame.pts.saturating_sub(self.zero);
                if let Some((_, before)) = self.last {
                    // Times that stand still or run backwards come from broken containers.
                    frame.pts = frame.pts.max(before + Duration::from_micros(1));
                }
                frame.name = self.name.clone();
                self.last = Some((frame.id, frame.pts));
                Ok(Some(frame))
            }
            Pulled::Nothing if self.stop.asked() => Ok(None),
            Pulled::Nothing => self.end(Some(format!("no frame came within {} s", PATIENCE.as_secs()))),
            Pulled::End => self.end(None),
            Pulled::Broken(why) => self.end(Some(why)),
        }
    }

    fn rate(&self) -> Option<f64> {
        self.facts.rate
    }

    fn frames(&self) -> Option<u64> {
        Some((self.duration?.as_secs_f64() * self.facts.rate?).round() as u64)
    }

    fn describe(&self) -> String {
        describe(&self.location, &self.facts)
    }

    fn is_live(&self) -> bool {
        false
    }
}

/// Location, decoder and size in one line.
pub(super) fn describe(location: &Address, facts: &Facts) -> String {
    let decoder = facts.decoder.as_deref().unwrap_or("not encoded");
    match facts.size {
        Some((width, height)) => format!("{location}, {width}x{height}, {decoder}"),
        None => location.to_string(),
    }
}

/// The next thing that happens, or `Nothing` if that takes too long or stopping is asked.
fn wait(decode: &mut Decode, stop: &Stop) -> Pulled {
    let start = Instant::now();
    loop {
        match decode.pull(POLL) {
            Pulled::Nothing if start.elapsed() < PATIENCE && !stop.asked() => {}
            other => return other,
        }
    }
}

/// Adds what to try to the messages that users meet most.
fn remedy(why: &str) -> String {
    let hint = if why.contains("missing a plug-in") || why.contains("no suitable plugins") {
        "; a decoder is missing: install gstreamer1.0-libav, gstreamer1.0-plugins-bad and -ugly"
    } else if why.contains("type of stream")
        || why.contains("text file")
        || why.contains("could not be determined")
        || why.contains("wrong type")
    {
        "; is it a video? ffprobe tells what it holds"
    } else {
        ""
    };
    format!("{why}{hint}")
}
