//! What regions look like to the model: kept for a while, so that somebody can ask why they alarm, or mark them as normal.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use jiff::Timestamp;

use super::crop::crop;
use super::items::{FrameFeatures, Verdict};
use crate::bank::Look;
use crate::frame::{Frame, StreamId};
use crate::grid::{Grid, PixelScores};
use crate::identity::ModelIdentity;
use crate::region::{Rect, Region};

/// Most patches of a region.
const OF_REGION: usize = 128;
/// Most patches of a frame.
const OF_FRAME: usize = 512;
/// Most pictures of a frame.
const PICTURES: usize = 8;
/// Most bytes of features and pictures kept of a stream.
const BYTES: usize = 16 << 20;
/// Most frames kept of a stream.
const FRAMES: usize = 64;

/// The regions of a frame, and what they look like.
#[derive(Debug)]
pub struct Seen {
    /// The frame's number.
    pub frame: u64,
    /// When it was captured.
    pub captured: Instant,
    /// When it was judged.
    pub judged: Instant,
    /// The same as a time of day, if that is known.
    pub utc: Option<Timestamp>,
    /// Its width and height in pixels.
    pub size: (usize, usize),
    /// Its patches.
    pub grid: Grid,
    /// What made the features.
    pub model: Arc<ModelIdentity>,
    /// Regions above the threshold, then those that are evidence in part, in the verdict's order. Where there are too many,
    /// the last have no patches.
    pub regions: Vec<(Region, Look)>,
    /// How many of them are above the threshold.
    pub above: usize,
}

impl Seen {
    fn bytes(&self) -> usize {
        let of = |look: &Look| {
            let picture = look.picture.as_ref().map_or(0, |picture| picture.rgb.len());
            4 * (look.features.len() + look.mean.len()) + picture
        };
        self.regions.iter().map(|(_, look)| of(look)).sum()
    }

    /// The region above the threshold that lies at this pixel: the smallest whose rectangle, widened by a patch, holds it.
    pub fn at(&self, x: u32, y: u32) -> Option<&(Region, Look)> {
        let wider = self.size.0.div_ceil(self.grid.cols.max(1)) as u64;
        let holds = |rect: &Rect| {
            let inside = |at: u32, from: u32, length: u32| {
                let (at, from) = (u64::from(at), u64::from(from));
                at + wider >= from && at < from + u64::from(length) + wider
            };
            inside(x, rect.x, rect.width) && inside(y, rect.y, rect.height)
        };
        self.known().filter(|(region, _)| holds(&region.rect)).min_by_key(|(region, _)| region.area)
    }

    /// The region above the threshold whose rectangle is this one.
    pub fn of(&self, rect: &Rect) -> Option<&(Region, Look)> {
        self.known().find(|(region, _)| region.rect == *rect)
    }

    /// Regions above the threshold that have patches.
    fn known(&self) -> impl Iterator<Item = &(Region, Look)> {
        self.regions.iter().take(self.above).filter(|(_, look)| !look.places.is_empty())
    }
}

/// What the regions of the last frames of all streams look like; cloning shares it.
#[derive(Clone, Default)]
pub struct Looks(Arc<Mutex<BTreeMap<StreamId, VecDeque<Arc<Seen>>>>>);

impl Looks {
    fn streams(&self) -> MutexGuard<'_, BTreeMap<StreamId, VecDeque<Arc<Seen>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The last frames of a stream that had regions, newest first.
    pub fn last(&self, stream: StreamId) -> Vec<Arc<Seen>> {
        self.streams().get(&stream).into_iter().flatten().rev().cloned().collect()
    }

    /// From now on what the regions of a stream look like is kept.
    pub fn keep(&self, stream: StreamId) {
        self.streams().entry(stream).or_default();
    }

    /// A stream is watched no more.
    pub fn forget(&self, stream: StreamId) {
        self.streams().remove(&stream);
    }

    /// Keeps what the regions of a frame look like; nothing if it has none, or all of it is one.
    pub(super) fn see(
        &self,
        frame: &Frame,
        verdict: &Verdict,
        features: &FrameFeatures,
    ) -> Option<Arc<Seen>> {
        let none = verdict.regions.is_empty() && verdict.weak.is_empty();
        if none || verdict.scene_out || features.features.grid.is_empty() {
            return None;
        }
        let grid = features.features.grid;
        let cells = Cells { scores: &verdict.scores, grid };
        let mut left = OF_FRAME;
        let scale = verdict.scale;
        let above = verdict.regions.iter().map(|region| (region, scale.threshold));
        // Of what only is evidence, what is within a step of its highest score.
        let weak = verdict.weak.iter().map(|region| (region, region.peak - scale.spread));
        let mut pictures = PICTURES;
        let look = |(region, level): (&Region, f32)| {
            let places = cells.of(&region.rect, level, left.min(OF_REGION));
            left -= places.len();
            let shown = pictures > 0 && !places.is_empty();
            pictures -= usize::from(shown);
            let picture = shown.then(|| Arc::new(crop(frame, &region.rect)));
            (*region, Look { picture, ..features.look(frame.id, places) })
        };
        let seen = Arc::new(Seen {
            frame: frame.id,
            captured: frame.captured,
            judged: Instant::now(),
            utc: frame.utc,
            size: (frame.width, frame.height),
            grid,
            model: Arc::clone(&features.model),
            regions: above.chain(weak).map(look).collect(),
            above: verdict.regions.len(),
        });
        let mut streams = self.streams();
        // A frame that was under way when its stream went leaves nothing behind.
        let Some(own) = streams.get_mut(&frame.stream) else { return Some(seen) };
        own.push_back(Arc::clone(&seen));
        let mut bytes: usize = own.iter().map(|one| one.bytes()).sum();
        while own.len() > FRAMES || (bytes > BYTES && own.len() > 1) {
            bytes -= own.pop_front().map_or(0, |one| one.bytes());
        }
        Some(seen)
    }
}

impl FrameFeatures {
    /// What these patches look like.
    fn look(&self, frame: u64, places: Vec<(u32, u32)>) -> Look {
        let (width, cols) = (self.features.width, self.features.grid.cols);
        let numbers = |(row, col): &(u32, u32)| {
            let at = (*row as usize * cols + *col as usize) * width;
            self.features.data.get(at..at + width).unwrap_or_default()
        };
        let features = places.iter().flat_map(numbers).copied().collect();
        Look { frame, features, mean: self.mean.to_vec(), places, picture: None }
    }
}

/// The pixels that patches stand for.
struct Cells<'a> {
    scores: &'a PixelScores,
    grid: Grid,
}

impl Cells<'_> {
    /// First and last but one pixel of cell `number` of `cells` along a side of `length`.
    fn span(number: usize, cells: usize, length: usize) -> (usize, usize) {
        (number * length / cells, ((number + 1) * length).div_ceil(cells).min(length))
    }

    /// The cells along a side that pixels `from..to` touch.
    fn touched(from: usize, to: usize, cells: usize, length: usize) -> std::ops::Range<usize> {
        let length = length.max(1);
        (from * cells / length).min(cells)..(to * cells).div_ceil(length).min(cells)
    }

    /// The highest score of a cell's pixels that lie in `rect`.
    fn highest(&self, (row, col): (usize, usize), rect: &Rect) -> f32 {
        let PixelScores { width, height, data } = self.scores;
        let (top, bottom) = Cells::span(row, self.grid.rows, *height);
        let (left, right) = Cells::span(col, self.grid.cols, *width);
        let (x, y) = (rect.x as usize, rect.y as usize);
        let rows = top.max(y)..bottom.min(y + rect.height as usize);
        let columns = left.max(x)..right.min(x + rect.width as usize);
        let row =
            |row: usize| data.get(row * width + columns.start..row * width + columns.end.max(columns.start));
        let numbers = rows.filter_map(row).flatten();
        numbers.copied().fold(f32::NEG_INFINITY, f32::max)
    }

    /// Row and column of up to `most` patches: those with a score above `level` in `rect`, highest first, and then those
    /// around them that belong to nothing else: what is at the edge of a thing is partly that thing.
    fn of(&self, rect: &Rect, level: f32, most: usize) -> Vec<(u32, u32)> {
        let Grid { rows, cols } = self.grid;
        let PixelScores { width, height, .. } = *self.scores;
        let (x, y) = (rect.x as usize, rect.y as usize);
        let inside = |at: &(usize, usize)| self.highest(*at, rect);
        let mut own = Vec::new();
        for row in Cells::touched(y, y + rect.height as usize, rows, height) {
            for col in Cells::touched(x, x + rect.width as usize, cols, width) {
                let score = inside(&(row, col));
                if score > level {
                    own.push((score, (row, col)));
                }
            }
        }
        own.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        let mut places: Vec<(usize, usize)> = own.into_iter().map(|(_, at)| at).collect();
        let all = Rect { x: 0, y: 0, width: width as u32, height: height as u32 };
        let core = places.clone();
        for (row, col) in core {
            for (r, c) in (row.saturating_sub(1)..=(row + 1).min(rows - 1))
                .flat_map(|r| (col.saturating_sub(1)..=(col + 1).min(cols - 1)).map(move |c| (r, c)))
            {
                if places.len() < most && !places.contains(&(r, c)) && self.highest((r, c), &all) <= level {
                    places.push((r, c));
                }
            }
        }
        places.truncate(most);
        places.into_iter().map(|(row, col)| (row as u32, col as u32)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::PixelFormat;
    use crate::grid::Features;
    use crate::overlay::ScoreScale;
    use crate::pool::{Pool, Pooled};

    const GRID: Grid = Grid { rows: 4, cols: 8 };

    /// 64 x 32 pixels of score 0, but so much in these patches of 8 pixels.
    fn verdict(strange: &[((usize, usize), f32)]) -> Verdict {
        let mut data = vec![0.0; 64 * 32];
        let mut regions = Vec::new();
        for ((row, col), score) in strange {
            for y in 8 * row..8 * row + 8 {
                data[y * 64 + 8 * col..][..8].fill(*score);
            }
            let rect = Rect { x: 8 * *col as u32, y: 8 * *row as u32, width: 8, height: 8 };
            regions.push(Region { rect, area: 64, peak: *score });
        }
        Verdict {
            scores: PixelScores { width: 64, height: 32, data: Pooled::unpooled(data) },
            counted: Pooled::default(),
            regions: Pooled::unpooled(regions),
            weak: Pooled::default(),
            scene_out: false,
            scale: ScoreScale { threshold: 5.0, spread: 1.0 },
        }
    }

    /// Each patch is its number twice.
    fn features() -> FrameFeatures {
        let numbers = (0..GRID.len()).flat_map(|n| [n as f32; 2]).collect();
        let features = Features { grid: GRID, width: 2, data: Pooled::unpooled(numbers), on_gpu: None };
        let model = crate::bank::supplement_tests::model(2);
        FrameFeatures { features, mean: Pooled::unpooled(vec![15.5; 2]), model: Arc::new(model) }
    }

    fn frame(id: u64) -> Frame {
        let mut frame = Frame::take(&Pool::new(), PixelFormat::I420, 64, 32);
        frame.id = id;
        frame
    }

    #[test]
    fn a_region_has_its_patches_and_those_around_it_that_belong_to_nothing_else() {
        let looks = Looks::default();
        looks.keep(0);
        let seen = looks.see(&frame(3), &verdict(&[((1, 2), 9.0), ((1, 4), 7.0)]), &features()).unwrap();
        let places = |n: usize| {
            let mut places = seen.regions[n].1.places.clone();
            let core = places[0];
            places.sort_unstable();
            (core, places)
        };
        let around = |row: u32, col: u32| -> Vec<(u32, u32)> {
            (row - 1..=row + 1).flat_map(|r| (col - 1..=col + 1).map(move |c| (r, c))).collect()
        };
        assert_eq!(places(0), ((1, 2), around(1, 2)));
        assert_eq!(places(1), ((1, 4), around(1, 4)));
        let look = &seen.regions[0].1;
        assert_eq!((look.frame, &look.features[..2], &look.mean[..]), (3, &[10.0; 2][..], &[15.5; 2][..]));
        // Regions that touch corners keep apart.
        let seen = looks.see(&frame(4), &verdict(&[((1, 2), 9.0), ((2, 3), 7.0)]), &features()).unwrap();
        assert!(seen.regions.iter().all(|(_, look)| look.places.len() == 8));
        // At the edge of the picture there is less around.
        let seen = looks.see(&frame(5), &verdict(&[((0, 0), 9.0), ((3, 7), 7.0)]), &features()).unwrap();
        assert!(seen.regions.iter().all(|(_, look)| look.places.len() == 4));
        let at = |x, y| seen.at(x, y).map(|(region, _)| region.peak);
        assert_eq!(
            [at(4, 4), at(15, 4), at(17, 4), at(63, 31), at(47, 31)],
            [Some(9.0), Some(9.0), None, Some(7.0), None]
        );
        assert_eq!(looks.last(0).iter().map(|seen| seen.frame).collect::<Vec<_>>(), [5, 4, 3]);
        assert!(looks.last(1).is_empty());
        looks.forget(0);
        assert!(looks.last(0).is_empty());
    }

    #[test]
    fn nothing_is_kept_of_nothing_and_no_more_than_there_is_room_for() {
        let looks = Looks::default();
        looks.keep(0);
        assert!(looks.see(&frame(0), &verdict(&[]), &features()).is_none());
        let out = Verdict { scene_out: true, ..verdict(&[((1, 2), 9.0)]) };
        assert!(looks.see(&frame(0), &out, &features()).is_none());
        // What is only evidence in part has what is near its highest score, and is pointed at by nobody.
        let Verdict { regions, .. } = verdict(&[((1, 2), 4.5)]);
        let weak = Verdict { regions: Pooled::default(), weak: regions, ..verdict(&[((1, 2), 4.5)]) };
        let seen = looks.see(&frame(0), &weak, &features()).unwrap();
        assert!(seen.at(20, 12).is_none() && seen.above == 0);
        assert_eq!(seen.regions[0].1.places[0], (1, 2));
        for id in 0..200 {
            looks.see(&frame(id), &verdict(&[((1, 2), 9.0)]), &features()).unwrap();
        }
        let kept = looks.last(0);
        assert_eq!((kept.len(), kept[0].frame), (FRAMES, 199));
    }
}
