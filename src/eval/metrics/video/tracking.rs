//! How objects are found and held: CLEAR MOT figures with masks, and the time to first detection.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Settings;
use crate::eval::metrics::components::Components;
use crate::score::Followed;

/// An object is mostly tracked if it is matched in this share of its frames.
const MOSTLY_TRACKED: f64 = 0.8;
/// It is mostly lost below this share.
const MOSTLY_LOST: f64 = 0.2;

/// One true object: a component of the truth, followed from frame to frame.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ObjectRow {
    /// Its number.
    pub object: u64,
    /// The first frame that shows it.
    pub first_frame: u64,
    /// The last one.
    pub last_frame: u64,
    /// Frames that show it.
    pub frames: u64,
    /// Frames in which regions cover enough of it.
    pub found_frames: u64,
    /// Frames in which a region matches it.
    pub matched_frames: u64,
    /// Frames from its first to that in which it is first found (0: at once); `None` if it never is.
    pub found_after_frames: Option<u64>,
    /// The same in seconds.
    pub found_after_secs: Option<f64>,
    /// Frames from its first to that in which alarms cover enough of it; `None` if they never do.
    #[serde(default)]
    pub alarmed_after_frames: Option<u64>,
    /// The same in seconds.
    #[serde(default)]
    pub alarmed_after_secs: Option<f64>,
    /// Its largest area in pixels.
    pub largest_area: u64,
    /// Its area when it is first found.
    pub area_when_found: Option<u64>,
}

/// How objects are held over all frames with truth.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Tracking {
    /// 1 - (misses + false positives + switches) / objects; below 0 if there are more errors than objects.
    /// `None` without an object.
    pub mota: Option<f64>,
    /// Mean IoU of matches; `None` without one.
    pub mean_iou: Option<f64>,
    /// Objects, each counted in each of its frames.
    pub object_frames: u64,
    /// Of those, without a matching region.
    pub misses: u64,
    /// Regions, counted in each frame, that match no object.
    pub false_positives: u64,
    /// How often an object's match changed from one followed region to another.
    pub switches: u64,
    /// Objects.
    pub objects: u64,
    /// Objects found in some frame.
    pub found: u64,
    /// Objects matched in at least 80 % of their frames.
    pub mostly_tracked: u64,
    /// Objects in between.
    pub partly_tracked: u64,
    /// Objects matched in less than 20 % of their frames.
    pub mostly_lost: u64,
}

/// Components and the ids that stay with them.
type Named<'a> = (&'a Components, &'a [u64]);

/// Matches the regions of each frame with its objects.
#[derive(Debug)]
pub struct Matcher {
    settings: Settings,
    rows: BTreeMap<u64, Row>,
    false_positives: u64,
    switches: u64,
    iou: f64,
}

#[derive(Debug)]
struct Row {
    about: ObjectRow,
    first_secs: f64,
    /// The id of the region that matched last.
    match_id: Option<u64>,
}

impl Matcher {
    /// Before the first frame.
    pub fn new(settings: Settings) -> Matcher {
        Matcher { settings, rows: BTreeMap::new(), false_positives: 0, switches: 0, iou: 0.0 }
    }

    /// Takes the regions and objects of a frame (its number and its time); `anomalous` are all true pixels,
    /// those of too small objects too.
    ///
    /// As CLEAR MOT wants it, what matched in the frame before stays matched while it still does; the rest is
    /// matched by falling IoU.
    pub fn step(
        &mut self,
        (frame, secs): (u64, f64),
        (regions, region_ids): Named<'_>,
        (objects, object_ids): Named<'_>,
        anomalous: &[bool],
    ) {
        let mut shared: BTreeMap<(usize, usize), u64> = BTreeMap::new();
        let mut touches = vec![false; region_ids.len()];
        let mut covered = vec![0_u64; object_ids.len()];
        for (at, region) in regions.of_pixel.iter().enumerate().filter(|(_, region)| **region > 0) {
            touches[*region as usize - 1] |= anomalous[at];
            if let Some(object) = (objects.of_pixel[at] as usize).checked_sub(1) {
                *shared.entry((object, *region as usize - 1)).or_default() += 1;
                covered[object] += 1;
            }
        }
        for (object, id) in object_ids.iter().enumerate() {
            let area = objects.areas[object + 1];
            let row = self.rows.entry(*id).or_insert_with(|| Row::new(*id, frame, secs));
            row.see(frame, secs, area, covered[object] as f64 >= self.settings.cover * area as f64);
        }
        let mut pairs: Vec<(bool, f64, usize, usize)> = shared
            .into_iter()
            .filter_map(|((object, region), common)| {
                let union = objects.areas[object + 1] + regions.areas[region + 1] - common;
                let iou = common as f64 / union as f64;
                let kept = self.rows[&object_ids[object]].match_id == Some(region_ids[region]);
                (iou >= self.settings.match_iou).then_some((kept, iou, object, region))
            })
            .collect();
        pairs.sort_by(|a, b| b.0.cmp(&a.0).then(b.1.total_cmp(&a.1)).then((a.2, a.3).cmp(&(b.2, b.3))));
        let (mut taken_objects, mut taken_regions) =
            (vec![false; object_ids.len()], vec![false; region_ids.len()]);
        for (_, iou, object, region) in pairs {
            if taken_objects[object] || taken_regions[region] {
                continue;
            }
            (taken_objects[object], taken_regions[region]) = (true, true);
            self.iou += iou;
            if let Some(row) = self.rows.get_mut(&object_ids[object]) {
                let before = row.match_id.replace(region_ids[region]);
                self.switches += u64::from(before.is_some_and(|before| before != region_ids[region]));
                row.about.matched_frames += 1;
            }
        }
        // A region on an object too small to count is neither right nor wrong.
        let wrong = taken_regions.iter().zip(&touches).enumerate().filter(|(region, (taken, touches))| {
            let small_only = **touches && !on_an_object(*region, regions, objects);
            !**taken && !small_only
        });
        self.false_positives += wrong.count() as u64;
    }

    /// Takes the regions of a frame that are evidence and what they go on, after [`Matcher::step`]: of which objects do those
    /// that are alarms cover enough?
    pub fn alarmed(
        &mut self,
        (frame, secs): (u64, f64),
        (evidence, followed): (&Components, &[Followed]),
        (objects, object_ids): Named<'_>,
    ) {
        let mut covered = vec![0_u64; object_ids.len()];
        for (region, object) in evidence.of_pixel.iter().zip(&objects.of_pixel) {
            let region = (*region as usize).checked_sub(1).and_then(|region| followed.get(region));
            if let (true, Some(object)) =
                (region.is_some_and(|one| one.event.is_some()), (*object as usize).checked_sub(1))
            {
                covered[object] += 1;
            }
        }
        for (object, id) in object_ids.iter().enumerate() {
            let area = objects.areas[object + 1] as f64;
            if let Some(row) = self.rows.get_mut(id)
                && covered[object] as f64 >= self.settings.cover * area
            {
                row.about.alarmed_after_frames.get_or_insert(frame - row.about.first_frame);
                row.about.alarmed_after_secs.get_or_insert(secs - row.first_secs);
            }
        }
    }

    /// Each object.
    pub fn objects(&self) -> Vec<ObjectRow> {
        self.rows.values().map(|row| row.about.clone()).collect()
    }

    /// The figures of all frames.
    pub fn tracking(&self) -> Tracking {
        let sum = |pick: fn(&ObjectRow) -> u64| self.rows.values().map(|row| pick(&row.about)).sum::<u64>();
        let (object_frames, matched) = (sum(|o| o.frames), sum(|o| o.matched_frames));
        let misses = object_frames - matched;
        let errors = misses + self.false_positives + self.switches;
        let share = |row: &Row| row.about.matched_frames as f64 / row.about.frames as f64;
        let having =
            |is: &dyn Fn(f64) -> bool| self.rows.values().filter(|row| is(share(row))).count() as u64;
        Tracking {
            mota: (object_frames > 0).then(|| 1.0 - errors as f64 / object_frames as f64),
            mean_iou: (matched > 0).then(|| self.iou / matched as f64),
            object_frames,
            misses,
            false_positives: self.false_positives,
            switches: self.switches,
            objects: self.rows.len() as u64,
            found: self.rows.values().filter(|row| row.about.found_frames > 0).count() as u64,
            mostly_tracked: having(&|share| share >= MOSTLY_TRACKED),
            partly_tracked: having(&|share| (MOSTLY_LOST..MOSTLY_TRACKED).contains(&share)),
            mostly_lost: having(&|share| share < MOSTLY_LOST),
        }
    }
}

fn on_an_object(region: usize, regions: &Components, objects: &Components) -> bool {
    let mut pixels = regions.of_pixel.iter().zip(&objects.of_pixel);
    pixels.any(|(r, object)| *r as usize == region + 1 && *object > 0)
}

impl Row {
    fn new(object: u64, frame: u64, secs: f64) -> Row {
        let about = ObjectRow {
            object,
            first_frame: frame,
            last_frame: frame,
            frames: 0,
            found_frames: 0,
            matched_frames: 0,
            found_after_frames: None,
            found_after_secs: None,
            alarmed_after_frames: None,
            alarmed_after_secs: None,
            largest_area: 0,
            area_when_found: None,
        };
        Row { about, first_secs: secs, match_id: None }
    }

    fn see(&mut self, frame: u64, secs: f64, area: u64, found: bool) {
        let about = &mut self.about;
        about.last_frame = frame;
        about.frames += 1;
        about.largest_area = about.largest_area.max(area);
        if found {
            about.found_frames += 1;
            about.found_after_frames.get_or_insert(frame - about.first_frame);
            about.found_after_secs.get_or_insert(secs - self.first_secs);
            about.area_when_found.get_or_insert(area);
        }
    }
}
