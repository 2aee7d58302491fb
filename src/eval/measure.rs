//! Images -> score maps: the detector's own stages over the images of a data set that have no maps yet.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::dataset::Dataset;
use super::partial::{SessionTime, StageTime, WorkFolder};
use super::progress::Progress;
use crate::detector::{Mapped, Mapper};
use crate::flow::{Flow, Pace, Stage};
use crate::health::Health;
use crate::source::images::Images;
use crate::stop::Stop;

/// How long a run that was asked to stop may take to finish the images under way.
const PATIENCE: Duration = Duration::from_secs(600);

/// Keeps the maps of the images numbered `indices`, those left out that have some already. `in_order`: the maps of a
/// frame depend on those before it, so that nothing is left out unless all is there.
///
/// # Errors
/// The first image that cannot be read, scored or kept, by name; being stopped before the end, with
/// how to go on.
pub fn measure(
    dataset: &Dataset,
    indices: &[usize],
    in_order: bool,
    mapper: Mapper,
    work: WorkFolder,
    progress: &Arc<dyn Progress>,
    stop: &Stop,
) -> Result<WorkFolder> {
    let kept = |index: &usize| work.kept(*index, &dataset.samples[*index].name).is_some();
    let mut missing: Vec<usize> = indices.iter().copied().filter(|index| !kept(index)).collect();
    if in_order && !missing.is_empty() {
        missing = indices.to_vec();
    }
    let before = indices.len() - missing.len();
    if before > 0 {
        tracing::info!("{before} of {} images were done before, in {}", indices.len(), work.path().display());
    }
    (0..before).for_each(|_| progress.step());
    if missing.is_empty() {
        return Ok(work);
    }
    let health = Arc::new(Health::new());
    let files = missing
        .iter()
        .map(|index| &dataset.samples[*index])
        .map(|sample| (sample.image.clone(), sample.name.as_str().into()))
        .collect();
    let source = Images::of_files(dataset.spec.to_string(), files, dataset.fps, stop.clone());
    let frames = Flow::from_source(Box::new(source), Pace::Offline, Arc::clone(&health), stop.clone())?;
    let begun = Instant::now();
    let work = Arc::new(work);
    let keep = Keep {
        work: Arc::clone(&work),
        indices: missing,
        health: Arc::clone(&health),
        progress: Arc::clone(progress),
    };
    let ended = mapper.chain(frames)?.run("keep", keep, PATIENCE);
    let report = health.report();
    let time = SessionTime {
        seconds: begun.elapsed().as_secs_f64(),
        images: report.frames,
        stages: report.stages.iter().map(StageTime::from).collect(),
    };
    let noted = work.keep_session(&time);
    ended?;
    noted?;
    let done = before + report.frames as usize;
    if done < indices.len() {
        bail!(
            "stopped after {done} of {} images; the same command goes on from there ({})",
            indices.len(),
            work.path().display()
        );
    }
    Arc::into_inner(work).context("the flow still holds the work folder; this is a bug in farout")
}

/// The end of the way: maps into the work folder.
struct Keep {
    work: Arc<WorkFolder>,
    /// The images' numbers in the data set, by frame number.
    indices: Vec<usize>,
    health: Arc<Health>,
    progress: Arc<dyn Progress>,
}

impl Stage for Keep {
    type In = Mapped;
    type Out = ();

    fn step(&mut self, Mapped { frame, maps }: Mapped) -> Result<()> {
        for map in &maps {
            let bad = map.data.iter().filter(|score| !score.is_finite()).count();
            if bad > 0 {
                bail!(
                    "{}: {bad} of {} cells have no finite score (the model gives NaN or infinity there)",
                    frame.name,
                    map.data.len()
                );
            }
        }
        let index = self.indices.get(frame.id as usize).context("more frames than images")?;
        self.work.keep(*index, &frame.name, &maps)?;
        self.health.frame_done(frame.captured);
        self.progress.step();
        Ok(())
    }
}
