//! The beginning of a flow: frames read from a source, all of them or the newest.

use std::any::Any;
use std::sync::Arc;
use std::time::Instant;

use crossbeam_channel::{Sender, TrySendError, bounded};

use super::parcel::{Over, Parcel, Permit, Permits};
use crate::frame::Frame;
use crate::health::{Health, SOURCE_STAGE, StageHealth};
use crate::source::{Source, SourceError};
use crate::stop::Stop;

/// Why no further frame is read.
pub(super) enum Unread {
    /// The source failed.
    Source(SourceError),
    /// The system refused a thread.
    Thread(std::io::Error),
    /// The source has a bug.
    Panic(Box<dyn Any + Send>),
}

/// A source, and where its frames go.
pub(super) struct Reading {
    source: Box<dyn Source>,
    sender: Sender<Parcel<Frame>>,
    stage: StageHealth,
    health: Arc<Health>,
    stop: Stop,
    over: Over,
}

/// Reads one frame, measuring how long that took.
fn read(source: &mut dyn Source, stage: &StageHealth, health: &Health) -> Result<Option<Frame>, SourceError> {
    let begun = Instant::now();
    let frame = source.next()?;
    if frame.is_some() {
        stage.worked(begun.elapsed());
        health.frame_in();
    }
    Ok(frame)
}

/// False if nobody takes it any more.
fn send(sender: &Sender<Parcel<Frame>>, item: Frame, permit: Option<Permit>) -> bool {
    sender.send(Parcel { frame: item.id, item, sent: Instant::now(), permit }).is_ok()
}

impl Reading {
    /// Frames of `source` go to `sender` until `stop` is asked, or `over` is raised.
    pub fn new(
        source: Box<dyn Source>,
        sender: Sender<Parcel<Frame>>,
        health: Arc<Health>,
        stop: Stop,
        over: Over,
    ) -> Reading {
        Reading { source, sender, stage: health.stage(SOURCE_STAGE), health, stop, over }
    }

    /// Every frame.
    pub fn all(mut self) -> Result<(), Unread> {
        while !self.stop.asked() {
            let frame = read(self.source.as_mut(), &self.stage, &self.health).map_err(Unread::Source)?;
            if frame.is_none_or(|frame| !send(&self.sender, frame, None)) {
                break;
            }
        }
        Ok(())
    }

    /// First the permit, then the frame, from a source that has its newest one ready.
    pub fn pulled(mut self, in_flight: usize) -> Result<(), Unread> {
        let mut permits = Permits::new(in_flight);
        while !self.stop.asked() && !self.over.is_raised() {
            let Some(permit) = permits.take(&self.health) else { continue };
            let frame = read(self.source.as_mut(), &self.stage, &self.health).map_err(Unread::Source)?;
            if frame.is_none_or(|frame| !send(&self.sender, frame, Some(permit))) {
                break;
            }
        }
        Ok(())
    }

    /// A thread of its own reads the source, so that a camera is never left unread; the newest frame
    /// waits in a slot until fewer than `in_flight` frames are under way.
    pub fn newest(self, in_flight: usize) -> Result<(), Unread> {
        let Reading { mut source, sender, stage, health, stop, over } = self;
        let mut permits = Permits::new(in_flight);
        let (slot_in, slot) = bounded::<Frame>(1);
        let older = slot.clone();
        std::thread::scope(|scope| {
            let (stage, health, stop) = (&stage, &*health, &stop);
            let reader = move || {
                while !stop.asked() {
                    let Some(mut frame) = read(source.as_mut(), stage, health)? else { break };
                    while let Err(refused) = slot_in.try_send(frame) {
                        let TrySendError::Full(back) = refused else { return Ok(()) };
                        if older.try_recv().is_ok() {
                            health.frame_dropped();
                        }
                        frame = back;
                    }
                }
                Ok(())
            };
            let reader = std::thread::Builder::new().name(SOURCE_STAGE.into()).spawn_scoped(scope, reader);
            let reader = reader.map_err(Unread::Thread)?;
            loop {
                // First the permit, then the frame: what goes on is the newest at that moment.
                let Some(permit) = permits.take(health) else {
                    if over.is_raised() {
                        stop.ask();
                    }
                    if reader.is_finished() && stop.asked() {
                        break;
                    }
                    continue;
                };
                let Ok(frame) = slot.recv() else { break };
                if !send(&sender, frame, Some(permit)) {
                    // A later stage ended; without this the reader would go on for ever.
                    stop.ask();
                    break;
                }
            }
            drop(slot);
            match reader.join() {
                Ok(result) => result.map_err(Unread::Source),
                Err(panic) => Err(Unread::Panic(panic)),
            }
        })
    }
}
