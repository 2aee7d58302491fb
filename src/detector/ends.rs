//! What happens to judged frames: files are written, findings drawn, the video encoded.

use std::sync::Arc;

use anyhow::Result;

use super::events::EventRecorders;
use super::items::Judged;
use super::looks::Looks;
use super::status::Status;
use crate::flow::Stage;
use crate::frame::Frame;
use crate::health::Health;
use crate::overlay::Overlay;
use crate::sink::{PictureWriter, ScoreMapWriter, TruthWriter};

/// Writes what is judged, before anything is drawn over it.
#[derive(Default)]
pub struct Record {
    /// Regions that last become events in a log.
    pub events: EventRecorders,
    /// Score maps.
    pub scores: Option<ScoreMapWriter>,
    /// Unmarked frames.
    pub frames: Option<PictureWriter>,
    /// Truth masks.
    pub truth: Option<TruthWriter>,
    /// What regions look like to the model.
    pub looks: Option<Looks>,
}

impl Stage for Record {
    type In = Judged;
    type Out = Judged;

    fn step(&mut self, mut judged: Judged) -> Result<Judged> {
        // Nobody needs them after this.
        let features = judged.features.take();
        let Judged { frame, verdict, .. } = &judged;
        if let Some(verdict) = verdict {
            let seen = self.looks.as_ref().zip(features.as_ref());
            let seen = seen.and_then(|(looks, features)| looks.see(frame, verdict, features));
            self.events.step(frame, verdict, seen.as_deref())?;
            if let Some(writer) = &mut self.scores {
                writer.write(frame.id, &frame.name, &verdict.scores)?;
            }
        }
        if let Some(writer) = &mut self.frames {
            writer.write(frame)?;
        }
        if let Some(writer) = &mut self.truth {
            writer.write(frame)?;
        }
        Ok(judged)
    }

    fn finish(&mut self) -> Result<()> {
        self.events.finish()
    }
}

/// Lays the findings over the picture.
pub struct Draw {
    /// The pencil.
    pub overlay: Overlay,
    /// The status line.
    pub status: Status,
}

impl Stage for Draw {
    type In = Judged;
    type Out = Judged;

    fn step(&mut self, mut judged: Judged) -> Result<Judged> {
        if let Some(verdict) = &judged.verdict {
            let status = self.status.line(&judged.frame, verdict);
            self.overlay.count_only(&verdict.counted);
            self.overlay.draw(&mut judged.frame, &verdict.scores, &verdict.regions, verdict.scale, status)?;
        }
        Ok(judged)
    }
}

/// The end of the way: annotated pictures, encoder and servers.
pub struct Deliver {
    /// Annotated pictures.
    pub pictures: Option<PictureWriter>,
    /// Encoder, servers and video file. It reports each frame that leaves the encoder itself.
    pub video: Option<Box<dyn VideoEnd>>,
    /// Told of frames that end here.
    pub health: Arc<Health>,
}

/// Where annotated frames end as video.
pub trait VideoEnd: Send {
    /// Takes the next frame.
    ///
    /// # Errors
    /// If encoder, muxer or disk failed; names the element.
    fn push(&mut self, frame: Frame) -> Result<()>;

    /// Ends the stream: files are finished.
    ///
    /// # Errors
    /// As [`VideoEnd::push`].
    fn finish(&mut self) -> Result<()>;
}

impl Stage for Deliver {
    type In = Judged;
    type Out = ();

    fn step(&mut self, judged: Judged) -> Result<()> {
        let frame = judged.frame;
        if let Some(pictures) = &mut self.pictures {
            pictures.write(&frame)?;
        }
        match &mut self.video {
            Some(video) => video.push(frame)?,
            None => self.health.frame_done(frame.captured),
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<()> {
        self.video.as_mut().map_or(Ok(()), |video| video.finish())
    }
}
