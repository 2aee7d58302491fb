//! A recording as fragmented MP4: every finished fragment is in the file, whatever happens next.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app as gst_app;

use super::SinkError;
use super::h264;
use super::outlet::{AccessUnit, Outlet, bus_error, waiting};

/// Length of a fragment: what a power cut can cost.
const FRAGMENT_MS: u32 = 1000;
/// Pictures that may wait for the disk.
const WAITING: u64 = 64;
/// How long a disk may take for one picture.
const PATIENCE: Duration = Duration::from_secs(20);

/// A file that grows by fragments.
pub(super) struct Mp4 {
    path: PathBuf,
    pipeline: gst::Pipeline,
    entry: gst_app::AppSrc,
    bus: gst::Bus,
    pictures: u64,
    /// Time of the first picture: the file starts at zero.
    zero: Option<gst::ClockTime>,
    finished: bool,
    /// How long the end of the file may take.
    ends_within: Duration,
}

impl Mp4 {
    /// Prepares a recording. The file is made, or an older one of that name overwritten, with the first
    /// picture: what goes wrong before costs nobody a recording. Its end may take `ends_within`.
    ///
    /// # Errors
    /// [`SinkError::Record`] if the file could not be written.
    pub(super) fn prepare(path: &Path, ends_within: Duration) -> Result<Mp4, SinkError> {
        let record = |why: String| SinkError::Record { path: path.to_owned(), why };
        writable(path)
            .map_err(|e| record(format!("{e}; name a .mp4 file in a folder that can be written to")))?;
        let failed = |e: gst::glib::BoolError| record(e.to_string());
        let entry = gst_app::AppSrc::builder().format(gst::Format::Time).max_bytes(0).build();
        let parse = gst::ElementFactory::make("h264parse").build().map_err(failed)?;
        h264::mark_key_pictures(&parse);
        let mux = gst::ElementFactory::make("mp4mux")
            .property("fragment-duration", FRAGMENT_MS)
            .build()
            .map_err(failed)?;
        let file = gst::ElementFactory::make("filesink")
            .property("location", path)
            .property("async", false)
            .build()
            .map_err(failed)?;
        // Each fragment goes to the system when it is complete, not when a buffer is full.
        file.set_property_from_str("buffer-mode", "unbuffered");
        let pipeline = gst::Pipeline::new();
        let chain = [entry.upcast_ref(), &parse, &mux, &file];
        pipeline.add_many(chain).map_err(failed)?;
        gst::Element::link_many(chain).map_err(failed)?;
        if let Some(pad) = parse.static_pad("src").and_then(|pad| pad.peer())
            && pad.find_property("trak-timescale").is_some()
        {
            pad.set_property("trak-timescale", 90_000_u32);
        }
        let bus = pipeline.bus().ok_or_else(|| record("the muxer has no bus".into()))?;
        Ok(Mp4 {
            path: path.to_owned(),
            pipeline,
            entry,
            bus,
            pictures: 0,
            zero: None,
            finished: false,
            ends_within,
        })
    }

    /// Where it is written.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    fn failed(&self, why: impl Into<String>) -> SinkError {
        SinkError::Record { path: self.path.clone(), why: why.into() }
    }
}

/// Whether a file can be written at `path`; an existing one stays as it is.
fn writable(path: &Path) -> std::io::Result<()> {
    use std::io::{Error, ErrorKind};
    let mut options = std::fs::OpenOptions::new();
    match std::fs::metadata(path) {
        Ok(there) if there.is_dir() => Err(Error::from(ErrorKind::IsADirectory)),
        // A device or a pipe would be taken for a file and would not become one.
        Ok(there) if !there.is_file() => Err(Error::other("it is no regular file")),
        Ok(_) => options.write(true).open(path).map(drop),
        Err(_) => {
            options.write(true).create_new(true).open(path)?;
            std::fs::remove_file(path)
        }
    }
}

impl Outlet for Mp4 {
    fn take(&mut self, unit: &AccessUnit) -> Result<(), SinkError> {
        if self.pictures == 0 {
            if !unit.key {
                return Ok(());
            }
            self.entry.set_caps(Some(&unit.caps));
            if self.pipeline.set_state(gst::State::Playing).is_err() {
                let why = bus_error(&self.bus).unwrap_or_else(|| "the muxer does not start".into());
                return Err(self.failed(why));
            }
        }
        let start = Instant::now();
        while waiting(&self.entry) >= WAITING && start.elapsed() < PATIENCE {
            std::thread::sleep(Duration::from_millis(2));
        }
        if let Some(why) = bus_error(&self.bus) {
            return Err(self.failed(why));
        }
        if start.elapsed() >= PATIENCE {
            return Err(self.failed(format!("the disk took nothing for {} s", PATIENCE.as_secs())));
        }
        let mut buffer = unit.buffer.clone();
        let own = buffer.make_mut();
        let zero = *self.zero.get_or_insert(own.pts().unwrap_or_default());
        own.set_pts(own.pts().map(|t| t.saturating_sub(zero)));
        own.set_dts(own.dts().map(|t| t.saturating_sub(zero)));
        self.entry
            .push_buffer(buffer)
            .map_err(|e| self.failed(bus_error(&self.bus).unwrap_or_else(|| e.to_string())))?;
        self.pictures += 1;
        Ok(())
    }

    fn finish(&mut self) -> Result<(), SinkError> {
        if std::mem::replace(&mut self.finished, true) {
            return Ok(());
        }
        if self.pictures == 0 {
            let _ = self.pipeline.set_state(gst::State::Null);
            return Ok(());
        }
        let ended = self.entry.end_of_stream().map_err(|e| e.to_string()).and_then(|_| {
            let wait = gst::ClockTime::try_from(self.ends_within).unwrap_or(gst::ClockTime::MAX);
            match self.bus.timed_pop_filtered(wait, &[gst::MessageType::Eos, gst::MessageType::Error]) {
                Some(message) => match message.view() {
                    gst::MessageView::Error(error) => Err(error.error().to_string()),
                    _ => Ok(()),
                },
                None => Err(format!("the file did not end within {} s", self.ends_within.as_secs())),
            }
        });
        let _ = self.pipeline.set_state(gst::State::Null);
        ended.map_err(|why| self.failed(why))?;
        std::fs::File::open(&self.path)
            .and_then(|file| file.sync_all())
            .map_err(|e| self.failed(e.to_string()))
    }
}

impl Drop for Mp4 {
    fn drop(&mut self) {
        if let Err(error) = self.finish() {
            tracing::error!(%error, "the recording is not properly ended");
        }
    }
}
