//! The search for the views of one picture: each on its own grid, all centred alike.

use super::Gauge;
use crate::grid::{Distances, Features};
use crate::views::Layout;

/// Measures the views and tiles of pictures; keeps its buffers.
///
/// Where the bank's recipe centres pictures, a view of all of the picture (tiles or another size) is centred by the mean of
/// its own features, over all of its tiles together; a crop by that of the whole picture, because what it leaves out
/// decides what is usual there: a crop of nothing but road has another mean.
pub struct ViewSearch {
    layout: Layout,
    distances: Vec<Distances>,
    mean: Vec<f32>,
    tile: Vec<f32>,
    sums: Vec<f64>,
}

impl ViewSearch {
    /// For the windows of `layout`.
    pub fn new(layout: &Layout) -> ViewSearch {
        ViewSearch {
            layout: layout.clone(),
            distances: vec![Distances::default(); layout.len()],
            mean: Vec::new(),
            tile: Vec::new(),
            sums: Vec::new(),
        }
    }

    /// The distances of each window of the layout. `picture` holds the features of the whole picture, `views` those of
    /// each window; `classes` are the windows' patches', or empty where the search does not ask for them.
    ///
    /// # Errors
    /// As [`Gauge::distances_by_class`]; if there are more or fewer views than windows.
    pub fn step(
        &mut self,
        gauge: &mut Gauge,
        picture: &Features,
        views: &[Features],
        classes: &[Vec<u16>],
    ) -> anyhow::Result<&[Distances]> {
        let ViewSearch { layout, distances, mean, tile, sums } = self;
        anyhow::ensure!(views.len() == layout.len(), "{} views for {}", views.len(), layout.len());
        let mut next = 0;
        for (view, features) in layout.by_view(views) {
            let centred = gauge.centres_images();
            if centred && view.is_whole() {
                sums.clear();
                let patches: usize = features.iter().map(|tile| tile.grid.len()).sum();
                for one in features {
                    gauge.mean_of(one, tile);
                    sums.resize(tile.len(), 0.0);
                    let share = one.grid.len() as f64 / patches.max(1) as f64;
                    sums.iter_mut().zip(&*tile).for_each(|(sum, x)| *sum += share * f64::from(*x));
                }
                mean.clear();
                mean.extend(sums.iter().map(|sum| *sum as f32));
            } else if centred {
                gauge.mean_of(picture, mean);
            }
            for one in features {
                let classes = classes.get(next).map_or(&[][..], Vec::as_slice);
                let about = centred.then_some(&mean[..]);
                // The picture itself has the first place.
                gauge.turn_to(next + 1);
                let measured = gauge.distances_about(one, about, classes, &mut distances[next]);
                gauge.turn_to(0);
                measured?;
                next += 1;
            }
        }
        Ok(distances)
    }
}
