//! A search that goes on elsewhere when its device fails.

use super::super::device::NoCuda;
use super::super::{Nearest, SearchError};
use crate::gpu_stream::GpuStream;
use crate::grid::{Distances, Features};

/// Opens the engine that takes over.
pub(super) type Spare = Box<dyn FnOnce() -> Result<Box<dyn Nearest>, SearchError> + Send>;

/// An engine, and what replaces it once its device is lost or out of memory.
pub(super) struct WithSpare {
    engine: Box<dyn Nearest>,
    spare: Option<Spare>,
    /// Counted by the engine that failed.
    faulty: u64,
}

impl WithSpare {
    pub(super) fn new(engine: Box<dyn Nearest>, spare: Spare) -> WithSpare {
        WithSpare { engine, spare: Some(spare), faulty: 0 }
    }

    /// Lets the engine work; if its device fails, the spare one, from then on.
    fn work(&mut self, mut work: impl FnMut(&mut dyn Nearest) -> anyhow::Result<()>) -> anyhow::Result<()> {
        let error = match work(&mut *self.engine) {
            // What a capture does not allow was tried long enough: it costs this frame, and the device is there.
            Err(error) if matches!(error.downcast_ref(), Some(NoCuda::Busy { .. })) => return Err(error),
            Err(error) if error.is::<NoCuda>() => error,
            done => return done,
        };
        let Some(spare) = self.spare.take() else { return Err(error) };
        let failed = self.engine.name();
        let other = spare()
            .map_err(|e| anyhow::Error::new(e).context(format!("{error:#}; no other search opens")))?;
        self.faulty += self.engine.faulty();
        self.engine = other;
        tracing::error!(
            why = format!("{error:#}"),
            failed,
            engine = self.engine.name(),
            "GPU lost: the search continues on the CPU, more slowly; restart farout to use the GPU again"
        );
        work(&mut *self.engine)
    }
}

impl Nearest for WithSpare {
    fn name(&self) -> String {
        self.engine.name()
    }

    fn distances(&mut self, features: &Features, out: &mut Distances) -> anyhow::Result<()> {
        let mut copy = Features::default();
        self.work(|engine| {
            let there = features.on_gpu.as_ref().and_then(|numbers| numbers.stream());
            if there.is_none_or(|stream| engine.shares(stream)) {
                return engine.distances(features, out);
            }
            engine.distances(features.on_host(&mut copy).map_err(anyhow::Error::msg)?, out)
        })
    }

    fn neighbours(
        &mut self,
        features: &Features,
        rows: &mut Vec<u32>,
        distances: &mut Vec<f32>,
    ) -> anyhow::Result<()> {
        self.work(|engine| engine.neighbours(features, rows, distances))
    }

    fn faulty(&self) -> u64 {
        self.faulty + self.engine.faulty()
    }

    fn shares(&self, stream: &dyn GpuStream) -> bool {
        self.engine.shares(stream)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grid::Grid;

    /// Works `frames` times and then fails, with the error of a lost device or another one.
    struct Failing {
        frames: usize,
        lost: bool,
        name: &'static str,
    }

    impl Nearest for Failing {
        fn name(&self) -> String {
            self.name.to_owned()
        }

        fn distances(&mut self, features: &Features, out: &mut Distances) -> anyhow::Result<()> {
            match (self.frames, self.lost) {
                (0, true) => Err(NoCuda::Lost { what: "searching", why: "gone".into() }.into()),
                (0, false) => anyhow::bail!("the bank is 4 wide"),
                _ => {
                    self.frames -= 1;
                    out.grid = features.grid;
                    Ok(())
                }
            }
        }

        fn neighbours(&mut self, _: &Features, _: &mut Vec<u32>, _: &mut Vec<f32>) -> anyhow::Result<()> {
            Ok(())
        }

        fn faulty(&self) -> u64 {
            2
        }
    }

    fn engine(frames: usize, lost: bool, name: &'static str) -> Box<dyn Nearest> {
        Box::new(Failing { frames, lost, name })
    }

    #[test]
    fn a_lost_device_costs_no_frame() {
        let mut search = WithSpare::new(engine(1, true, "gpu"), Box::new(|| Ok(engine(2, true, "cpu"))));
        let frame = Features { grid: Grid { rows: 1, cols: 7 }, ..Features::default() };
        let mut out = Distances::default();
        search.distances(&frame, &mut out).unwrap();
        assert_eq!((search.name().as_str(), search.faulty()), ("gpu", 2));
        for _ in 0..2 {
            out.grid = Grid::default();
            search.distances(&frame, &mut out).unwrap();
            assert_eq!((search.name().as_str(), search.faulty(), out.grid), ("cpu", 4, frame.grid));
        }
        // There is no third engine: the error is told.
        assert!(search.distances(&frame, &mut out).unwrap_err().to_string().contains("gone"));
    }

    #[test]
    fn a_capture_costs_a_frame_and_no_device() {
        struct Busy;
        impl Nearest for Busy {
            fn name(&self) -> String {
                "gpu".to_owned()
            }

            fn distances(&mut self, _: &Features, _: &mut Distances) -> anyhow::Result<()> {
                Err(NoCuda::Busy { what: "searching", why: "capturing".to_owned() }.into())
            }

            fn neighbours(&mut self, _: &Features, _: &mut Vec<u32>, _: &mut Vec<f32>) -> anyhow::Result<()> {
                Ok(())
            }

            fn faulty(&self) -> u64 {
                0
            }
        }
        let mut search = WithSpare::new(Box::new(Busy), Box::new(|| Ok(engine(1, true, "cpu"))));
        let why = search.distances(&Features::default(), &mut Distances::default()).unwrap_err();
        assert!(why.to_string().contains("capture") && search.name() == "gpu", "{why}");
    }

    #[test]
    fn other_errors_and_a_spare_that_does_not_open_are_told() {
        let (frame, mut out) = (Features::default(), Distances::default());
        let mut search = WithSpare::new(engine(0, false, "gpu"), Box::new(|| Ok(engine(1, true, "cpu"))));
        assert!(search.distances(&frame, &mut out).unwrap_err().to_string().contains("4 wide"));
        assert_eq!(search.name(), "gpu");
        let closed = || Err(SearchError::Neighbours { k: 9, rows: 3 });
        let mut search = WithSpare::new(engine(0, true, "gpu"), Box::new(closed));
        let why = format!("{:#}", search.distances(&frame, &mut out).unwrap_err());
        assert!(why.contains("gone") && why.contains("3 features"), "{why}");
    }
}
