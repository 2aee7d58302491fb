//! Where the horizon of the footage lies: given, or measured in its videos as the row towards which the camera drives.
//! Crops of a recipe's views are moved by it.

use super::recipe::{HorizonConfig, Recipe};
use crate::config::{ConfigError, Horizon};
use crate::luma::Luma;
use crate::motion::{Expansion, Reduced};
use crate::views::Crop;

/// Frames from one that is compared to the next such, at first.
const EVERY: u64 = 4;
/// After each so many frames, the way to the next grows by as much: an hour of video costs minutes.
const ENOUGH: usize = 32;
/// A frame is compared with those so many frames later, until enough has moved.
const LATER: [u64; 4] = [1, 2, 4, 8];
/// Fewer rows than this say nothing.
const LEAST: usize = 10;
/// The middle half of the rows may lie so far apart, in shares of the height.
const SPREAD: f64 = 0.12;
/// How far the crops may stay behind the horizon, in shares of the height, before that is told.
const FAR: f64 = 0.05;
/// A horizon outside of this is not one of a camera that looks ahead.
const LIKELY: std::ops::RangeInclusive<f64> = 0.1..=0.9;

/// Looks at the frames of one video for the row towards which it drives.
#[derive(Debug, Default)]
pub(super) struct Watch {
    /// The number of the frame that is compared, while there is one.
    from: Option<u64>,
    /// That frame.
    anchor: Reduced,
    now: Reduced,
    /// The number of the next such.
    next: u64,
    /// Frames that were compared.
    compared: usize,
    /// What was found, in ten thousandths of the height: whole numbers, so that a run that goes on reads what was written.
    pub(super) rows: Vec<i32>,
}

impl Watch {
    /// Looks at frame `number`; numbers rise by one.
    pub(super) fn see(&mut self, number: u64, luma: &Luma) {
        let age = self.from.map(|from| number - from).filter(|age| LATER.contains(age));
        let is_free = |watch: &Watch| watch.from.is_none() && number >= watch.next;
        if age.is_none() && !is_free(self) {
            return;
        }
        self.now.take(&luma.pixels, luma.width, luma.height);
        if let Some(age) = age {
            match self.anchor.expansion_to(&self.now, number) {
                Expansion::Still if LATER.iter().any(|later| *later > age) => {}
                Expansion::Still | Expansion::Unclear => self.from = None,
                Expansion::From { row, .. } => {
                    self.rows.push((1e4 * row) as i32);
                    self.from = None;
                }
            }
        }
        if is_free(self) {
            std::mem::swap(&mut self.anchor, &mut self.now);
            self.from = Some(number);
            self.compared += 1;
            self.next = number + EVERY * (1 + self.compared / ENOUGH) as u64;
        }
    }
}

/// The horizon that the rows of all videos agree on.
///
/// # Errors
/// Why there is none, in words.
fn agreed(rows: &[i32]) -> Result<Horizon, String> {
    let mut sorted = rows.to_vec();
    sorted.sort_unstable();
    let count = sorted.len();
    if count < LEAST {
        return Err(format!(
            "{count} pair{} of frames of the videos show which way the camera drives, {LEAST} are needed",
            if count == 1 { "" } else { "s" }
        ));
    }
    let [low, row, high] =
        [count / 4, count / 2, 3 * count / 4].map(|place| f64::from(sorted[place.min(count - 1)]) / 1e4);
    let between = format!("the middle half of {count} pairs of frames says {low:.2} to {high:.2}");
    if high - low > SPREAD || !LIKELY.contains(&row) {
        return Err(format!("{between}: several cameras, or one that does not drive ahead"));
    }
    // A hundredth is what the pairs tell apart, and what people read.
    Ok(Horizon { row: (100.0 * row).round() / 100.0, assumed: false, basis: format!("measured: {between}") })
}

/// Whether a recipe asks for the horizon, and does not say it.
pub(super) fn is_wanted(recipe: &Recipe) -> bool {
    recipe.horizon.views.is_some() && recipe.horizon.row.is_none()
}

/// What became of a recipe.
#[derive(Debug)]
pub(super) struct Laid {
    /// It, with its crops moved.
    pub(super) recipe: Recipe,
    /// Where the horizon is, if the recipe asks for it.
    pub(super) horizon: Option<Horizon>,
    /// What to beware of.
    pub(super) warning: Option<String>,
}

/// Moves the crops of a recipe to the horizon of the footage, of whose videos, if there are some, pairs of frames say `rows`. A
/// recipe that was moved stays as it is.
///
/// # Errors
/// [`ConfigError`]: a crop that is too thin to be moved.
pub(super) fn laid(recipe: &Recipe, rows: Option<&[i32]>) -> Result<Laid, ConfigError> {
    let Some(expected) = recipe.horizon.views else {
        return Ok(Laid { recipe: recipe.clone(), horizon: None, warning: None });
    };
    let assumed = |basis| Horizon { row: expected, assumed: true, basis };
    let horizon = match (recipe.horizon.row, rows) {
        (Some(row), _) => Horizon { row, assumed: false, basis: "given".into() },
        (None, None) => assumed("the footage has no video".into()),
        (None, Some(rows)) => agreed(rows).unwrap_or_else(assumed),
    };
    let mut recipe = recipe.clone();
    // All alike, as far as the picture goes for all of them.
    let wanted = horizon.row - expected;
    let mut by = wanted;
    for view in recipe.views.more.iter().filter(|view| view.crop.can_move()) {
        let Crop([_, top, _, bottom]) = view.crop;
        by = by.max(-top).min(1.0 - bottom);
    }
    for view in recipe.views.more.iter_mut().filter(|view| view.crop.can_move()) {
        view.crop = view.crop.moved_down(by);
    }
    recipe.horizon = HorizonConfig { views: Some(horizon.row), row: Some(horizon.row) };
    recipe.views.check().map_err(ConfigError::Invalid)?;
    let behind = (wanted - by).abs();
    let warning = match horizon.assumed {
        true => Some(format!(
            "the horizon of the footage is not known ({}): the recipe's closer look is laid for one at {} of the height; if it lies \
             elsewhere, learn with --horizon",
            horizon.basis, horizon.row
        )),
        false if behind > FAR => Some(format!(
            "the horizon lies at {}, too near to the picture's edge for the recipe's closer look, which stays behind by {behind:.2} of the \
             height",
            horizon
        )),
        false => None,
    };
    Ok(Laid { recipe, horizon: Some(horizon), warning })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fine() -> Recipe {
        Recipe::find("road-fine").unwrap()
    }

    /// A camera that comes nearer by `speed` a frame.
    fn watched(speed: f64, frames: u64) -> Watch {
        let mut watch = Watch::default();
        for number in 0..frames {
            let (width, height, pixels) =
                crate::motion::driven([150.0, 100.0], (speed * number as f64).exp(), 0.0);
            watch.see(number, &Luma { width, height, pixels });
        }
        watch
    }

    #[test]
    fn a_video_is_watched_until_enough_has_moved() {
        for (speed, least) in [(0.02, 4), (0.004, 3)] {
            let found = watched(speed, 32).rows;
            assert!(found.len() >= least, "{speed}: {found:?}");
            assert!(found.iter().all(|row| (row - 10_000 * 100 / 180).abs() < 500), "{speed}: {found:?}");
        }
        // A parked car costs less the longer it stands.
        let still = Luma { width: 64, height: 40, pixels: vec![9; 64 * 40] };
        let mut watch = Watch::default();
        (0..4000).for_each(|number| watch.see(number, &still));
        assert!(watch.rows.is_empty() && (100..300).contains(&watch.compared), "{}", watch.compared);
    }

    #[test]
    fn crops_follow_the_horizon_as_far_as_the_picture_goes() {
        let expected = fine().horizon.views.unwrap();
        let crop = |recipe: &Recipe| recipe.views.more[0].crop.0;
        let [left, top, right, bottom] = crop(&fine());
        let given = |row: f64| {
            let mut recipe = fine();
            recipe.horizon.row = Some(row);
            laid(&recipe, None).unwrap()
        };
        let lower = given(expected + 0.1);
        let want = [left, top + 0.1, right, bottom + 0.1].map(|edge| (1e4 * edge).round() / 1e4);
        assert_eq!((crop(&lower.recipe), &lower.warning), (want, &None));
        assert!(lower.horizon.is_some_and(|horizon| !horizon.assumed && horizon.basis == "given"));
        // What was moved is not moved again.
        assert_eq!(laid(&lower.recipe, None).unwrap().recipe, lower.recipe);
        // At the picture's end it keeps its size, and says so.
        for (row, top) in [(0.9, 0.5), (0.0, 0.0)] {
            let end = given(row);
            assert_eq!(crop(&end.recipe), [left, top, right, top + 0.5]);
            assert!(end.warning.is_some_and(|warning| warning.contains("stays behind")), "{row}");
        }
        // A recipe that does not ask stays as it is.
        let road = Recipe::find("road").unwrap();
        let stays = laid(&road, Some(&[6000; 50])).unwrap();
        assert_eq!((stays.recipe, stays.horizon, stays.warning), (road, None, None));
    }

    #[test]
    fn rows_that_agree_are_believed_and_others_told() {
        let rows = |around: f64, by: f64, count: usize| -> Vec<i32> {
            let row = |i: usize| around + by * (i as f64 / (count - 1) as f64 - 0.5);
            (0..count).map(|i| (1e4 * row(i)) as i32).collect()
        };
        let moved = laid(&fine(), Some(&rows(0.55, 0.1, 41))).unwrap();
        let horizon = moved.horizon.unwrap();
        assert!(horizon.row == 0.55 && !horizon.assumed && horizon.basis.contains("41 pairs"), "{horizon:?}");
        assert!(moved.recipe.views != fine().views && moved.warning.is_none());
        for (rows, words) in [
            (Some(rows(0.55, 0.1, 5)), "5 pairs of frames"),
            (Some(rows(0.5, 1.0, 40)), "several cameras"),
            (Some(rows(0.05, 0.1, 40)), "does not drive ahead"),
            (None, "no video"),
        ] {
            let stays = laid(&fine(), rows.as_deref()).unwrap();
            let (horizon, warning) = (stays.horizon.unwrap(), stays.warning.unwrap());
            assert!(horizon.assumed && horizon.basis.contains(words), "{horizon:?}");
            assert!(warning.contains(words) && warning.contains("--horizon"), "{warning}");
            assert_eq!(stays.recipe.views, fine().views);
        }
    }
}
