//! A recording read to its end: every frame in order, then the verdict on how it ended.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::config::SourceConfig;
use super::container::{programmes, tracks};
use super::decode::{Decode, Pulled};
use super::ending::{Ending, broken_at, look};
use super::facts::Facts;
use super::patience::wait;
use super::pipeline::Input;
use super::refused::refused;
use super::{Address, Source, SourceError};
use crate::frame::Frame;
use crate::stop::Stop;

/// A recording that gives no frame for so long hangs: only a sleeping disk, a server or a busy machine takes seconds.
const PATIENCE: Duration = Duration::from_secs(20);
/// Frames that wait for those after them while damage may still show: as many as pictures may be out of order.
const AHEAD: usize = 4;
/// A first frame later than this is worth a word.
const LATE: Duration = Duration::from_millis(500);
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
    /// Frames that wait, and what came after them.
    ahead: VecDeque<Frame>,
    after: Option<Pulled>,
    facts: Facts,
    duration: Option<Duration>,
    /// Running time of the first frame.
    zero: Duration,
    last: Option<(u64, Duration)>,
    /// The last good frame before the first damage.
    sound_until: Option<(u64, Duration)>,
    /// Pictures that were left out because of damage.
    left_out: u64,
    /// How a file is read again from its start, exactly, once it shows damage.
    again: Option<(Input, SourceConfig)>,
    /// The file, if it is one.
    path: Option<PathBuf>,
    /// Where a file is damaged behind which nothing was read.
    broken_at: Option<u64>,
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
        let programmes = programmes(path);
        if programmes > 1 {
            tracing::info!(
                location,
                programmes,
                "the transport stream carries several programmes; the first is read"
            );
        }
        let ending = look(path).map_err(|e| bad(&e.to_string()))?;
        if let Ending::NoIndex(why) = &ending {
            return Err(bad(why));
        }
        let whole = path.canonicalize().map_err(|e| bad(&e.to_string()))?;
        let uri = gstreamer::glib::filename_to_uri(whole, None).map_err(|e| bad(&e.to_string()))?;
        let input = Input::Uri(uri.into());
        let decode = Decode::start_fast(&input, config).map_err(|why| bad(&why))?;
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let tracks = tracks(path);
        let brief = !tracks.is_empty() && tracks.iter().all(|track| track.brief);
        let opened = Self::new(location, name, decode, ending, stop, Some((input, config.clone())));
        let opened = opened.map(|recording| Recording { path: Some(path.to_owned()), ..recording });
        opened.map_err(|error| match error {
            SourceError::Unreadable { location, why } if brief && ["no playable streams", "no frame came"].iter().any(|one| why.contains(one)) => {
                let why = "its video lasts less than a fifth of the file, which GStreamer takes for a preview; \
                           `ffmpeg -i FILE -map 0:v -c copy FILE.mkv` makes a file that can be read";
                SourceError::unreadable(location, why)
            }
            other => other,
        })
    }

    /// Waits for the first frame of a pipeline that is already running.
    ///
    /// # Errors
    /// [`SourceError::Unreadable`] if none comes.
    pub(super) fn from_running(
        location: String,
        name: String,
        decode: Decode,
        ending: Ending,
        stop: Stop,
    ) -> Result<Recording, SourceError> {
        Self::new(location, name, decode, ending, stop, None)
    }

    fn new(
        location: String,
        name: String,
        mut decode: Decode,
        ending: Ending,
        stop: Stop,
        mut again: Option<(Input, SourceConfig)>,
    ) -> Result<Recording, SourceError> {
        // A server that sends nothing whole is tried again; a file is read to its end.
        let is_file = again.is_some();
        let mut pulled = wait(&mut decode, &stop, PATIENCE, is_file);
        if matches!(pulled, Pulled::Suspect)
            && let Some((input, config)) = again.take()
        {
            decode.stop();
            decode = Decode::start(&input, &config, false)
                .map_err(|why| SourceError::unreadable(&location, why))?;
            pulled = wait(&mut decode, &stop, PATIENCE, is_file);
        }
        let first = match pulled {
            Pulled::Frame(frame) => Some(frame),
            Pulled::Nothing if stop.asked() => None,
            other => return Err(refused(location, other, &decode, &ending, PATIENCE)),
        };
        let location = Address::from(location);
        let facts = decode.facts();
        let duration = decode.duration();
        tracing::info!(%location, decoder = facts.decoder.as_deref().unwrap_or("none"), size = ?facts.size, rate = facts.rate, "recording opened");
        let zero = first.as_ref().map_or(Duration::ZERO, |frame| frame.pts);
        if zero > LATE {
            tracing::warn!(%location, secs = zero.as_secs_f64(), "the first picture comes late: none before it decodes");
        }
        let name = name.into();
        Ok(Recording {
            location,
            decode,
            ending,
            stop,
            name,
            first,
            ahead: VecDeque::new(),
            after: None,
            facts,
            duration,
            zero,
            last: None,
            sound_until: None,
            left_out: 0,
            again,
            path: None,
            broken_at: None,
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

    /// What comes next. Of a file, frames wait for those after them: damage shows later than the picture that it begins
    /// in, and what is given out must not depend on which thread was faster.
    fn pull(&mut self) -> Result<Pulled, SourceError> {
        let waits = self.again.is_some() || self.path.is_some();
        while waits && self.after.is_none() && self.ahead.len() <= AHEAD {
            match self.taken() {
                Pulled::Frame(frame) => self.ahead.push_back(frame),
                Pulled::Suspect => self.start_again()?,
                other => {
                    self.look_for_a_break();
                    self.after = Some(other);
                }
            }
        }
        if let Some(frame) = self.ahead.pop_front() {
            return Ok(Pulled::Frame(frame));
        }
        Ok(self.after.take().unwrap_or_else(|| self.taken()))
    }

    /// Matroska's demuxer takes damage for the end, without a word; its elements tell whether the file is damaged or only
    /// its sound goes on. The damage may begin in the last block that was read, and nothing tells which picture that is.
    fn look_for_a_break(&mut self) {
        let given = self.last.map(|(_, last)| last);
        let last = self.ahead.back().map(|frame| frame.pts.saturating_sub(self.zero)).or(given);
        let last = last.unwrap_or_default();
        let early = self.duration.is_some_and(|length| length > self.zero + last + SLACK);
        let path = self.path.as_deref().filter(|_| early);
        self.broken_at = path.and_then(|path| broken_at(path, last, &self.stop));
        if self.broken_at.is_some() && !self.decode.checks_pictures() {
            self.ahead.clear();
        }
    }

    fn taken(&mut self) -> Pulled {
        self.first.take().map_or_else(|| wait(&mut self.decode, &self.stop, PATIENCE, true), Pulled::Frame)
    }

    /// Starts the recording anew, decoded so that damage is put down to its picture, and goes on where it stood.
    fn start_again(&mut self) -> Result<(), SourceError> {
        let Some((input, config)) = self.again.take() else {
            return Ok(());
        };
        tracing::debug!(location = %self.location, "damaged: decoded again on one thread");
        // A decoder in hardware may be there only once.
        self.decode.stop();
        self.decode = Decode::start(&input, &config, false).map_err(|why| {
            self.over = true;
            SourceError::unreadable(self.location.to_string(), self.location.hide(&why))
        })?;
        self.ahead.clear();
        let next = self.last.map_or(0, |(id, _)| id + 1);
        loop {
            match wait(&mut self.decode, &self.stop, PATIENCE, true) {
                Pulled::Frame(frame) if frame.id < next => {}
                Pulled::Frame(frame) => self.first = Some(frame),
                other => {
                    self.look_for_a_break();
                    self.after = Some(other);
                }
            }
            if self.first.is_some() || self.after.is_some() {
                return Ok(());
            }
        }
    }

    /// The verdict once no frame comes any more.
    fn end(&mut self, broken: Option<String>) -> Result<Option<Frame>, SourceError> {
        self.over = true;
        // Before the end nobody has counted all pictures: those that were left out since the last frame count.
        let uncounted = self.decode.left_out().saturating_sub(self.left_out);
        let next = self.last.map_or(0, |(id, _)| id + 1) + uncounted;
        self.count_left_out(self.decode.passed().max(next));
        let left_out = self.left_out;
        let damage = match left_out {
            0 if self.decode.is_damaged() => {
                Some("pictures are missing that GStreamer's parser could not read".into())
            }
            0 => None,
            1 => Some("1 picture was left out: damaged, or made from a damaged one".into()),
            _ => Some(format!("{left_out} pictures were left out: damaged, or made from damaged ones")),
        };
        let parts: Vec<String> = damage.into_iter().chain(self.cut(broken)).collect();
        if parts.is_empty() {
            return Ok(None);
        }
        let sound = self.sound_until.filter(|_| left_out > 0);
        let (last_frame, last) = sound.or(self.last).unwrap_or_default();
        Err(SourceError::CutOff {
            location: self.location.to_string(),
            last_frame,
            last_secs: last.as_secs_f64(),
            why: self.location.hide(&parts.join("; ")),
        })
    }

    /// What to say of a file behind whose damage nothing was read.
    fn stopped_early(&self) -> Option<String> {
        let at = self.broken_at?;
        let unsure =
            if self.decode.checks_pictures() { "" } else { ", and the last pictures before are left out" };
        Some(format!(
            "the file is damaged at byte {at}: GStreamer does not read on{unsure}; `ffmpeg -i FILE -c copy FILE.mkv` does"
        ))
    }

    /// Numbers that are passed over before picture `next` are those of damaged ones.
    fn count_left_out(&mut self, next: u64) {
        let gap = next.saturating_sub(self.last.map_or(0, |(id, _)| id + 1));
        if gap > 0 {
            self.sound_until = self.sound_until.or(Some(self.last.unwrap_or_default()));
            self.left_out += gap;
        }
    }

    /// What shows that the recording does not go on to its end.
    fn cut(&self, broken: Option<String>) -> Option<String> {
        let (_, last) = self.last.unwrap_or_default();
        match (broken, &self.ending) {
            (None, Ending::Whole | Ending::NoIndex(_)) => self.stopped_early(),
            (Some(why), Ending::Cut(cut)) => Some(format!("{cut}; {why}")),
            (Some(why), _) => Some(why),
            (None, Ending::Cut(cut)) => Some(cut.clone()),
            // The container's length covers sound too, so that it only tells without sound.
            (None, Ending::Unknown) => match self.duration {
                Some(length)
                    if !self.facts.has_sound && length > self.zero + last + SLACK.max(length / 50) =>
                {
                    Some(format!("it announces {:.3} s", length.as_secs_f64()))
                }
                _ => None,
            },
        }
    }
}

impl Source for Recording {
    fn next(&mut self) -> Result<Option<Frame>, SourceError> {
        if self.over || self.stop.asked() {
            return Ok(None);
        }
        match self.pull()? {
            Pulled::Frame(mut frame) => {
                self.count_left_out(frame.id);
                frame.pts = frame.pts.saturating_sub(self.zero);
                if let Some((_, before)) = self.last {
                    // Times that stand still or run backwards come from broken containers.
                    frame.pts = frame.pts.max(before + Duration::from_micros(1));
                }
                frame.name = self.name.clone();
                // It was captured long ago, nobody knows when.
                frame.utc = None;
                self.last = Some((frame.id, frame.pts));
                Ok(Some(frame))
            }
            Pulled::Nothing if self.stop.asked() => Ok(None),
            Pulled::Nothing => self.end(Some(format!("no frame came within {} s", PATIENCE.as_secs()))),
            Pulled::End | Pulled::Suspect => self.end(None),
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
