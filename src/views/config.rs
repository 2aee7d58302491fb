//! The keys of `[views]`.

use serde::{Deserialize, Serialize};

use super::Window;

use crate::written::stored_as_written;

/// Most runs of the model per frame beside that on the whole picture.
const MOST_INPUTS: usize = 64;

/// How the maps of views become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Blend {
    /// The weighted mean of all views that cover a place.
    #[default]
    Mean,
    /// The largest of them.
    Max,
}

/// What is looked at besides the whole picture at the model's own size.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ViewsConfig {
    /// How the maps become one: "mean" (default) or "max".
    pub combine: Blend,
    /// Further views, each one or more further runs of the model on every frame. Default none.
    pub more: Vec<View>,
}

/// A part of the picture, in one piece or several, at a size.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct View {
    /// Left, top, right and bottom edge in shares of the picture. Default: all of it.
    #[serde(skip_serializing_if = "Crop::is_whole")]
    pub crop: Crop,
    /// The part is cut into so many overlapping tiles, across x down. Default "1x1".
    #[serde(skip_serializing_if = "Tiles::is_one")]
    pub tiles: Tiles,
    /// Input height in pixels of each tile; the width follows the tile's aspect ratio. Default: a tile is resampled as a
    /// frame of its size would be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub height: Option<usize>,
    /// Share of a tile's sides that its neighbour covers, too. Over the same length its weight rises from its border to
    /// its inside, towards neighbours and at borders of the crop inside the picture. Default 0.25.
    pub overlap: f64,
    /// Weight beside the whole picture's, which is 1. Default 1.
    pub weight: f64,
}

impl Default for View {
    fn default() -> Self {
        View { crop: Crop::default(), tiles: Tiles::default(), height: None, overlap: 0.25, weight: 1.0 }
    }
}

/// Left, top, right, bottom in shares of the picture.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Crop(pub [f64; 4]);

impl Default for Crop {
    fn default() -> Self {
        Crop([0.0, 0.0, 1.0, 1.0])
    }
}

impl Crop {
    fn is_whole(&self) -> bool {
        *self == Crop::default()
    }

    /// Whether the picture goes on above or below.
    pub fn can_move(self) -> bool {
        let Crop([_, top, _, bottom]) = self;
        top > 0.0 || bottom < 1.0
    }

    /// The same lower by a share of the height, or higher if that is negative.
    #[must_use]
    pub fn moved_down(self, by: f64) -> Crop {
        let Crop([left, top, right, bottom]) = self;
        // What people write and read: no 0.43999999999999995.
        let [top, bottom] = [top, bottom].map(|edge| (1e4 * (edge + by)).round() / 1e4);
        Crop([left, top, right, bottom])
    }

    /// The part of the picture.
    pub fn window(self) -> Window {
        let Crop([left, top, right, bottom]) = self;
        Window { left, top, right, bottom }
    }
}

/// A grid of tiles, written `"2x1"`: across x down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tiles {
    /// Tiles from left to right.
    pub cols: usize,
    /// Tiles from top to bottom.
    pub rows: usize,
}

impl Default for Tiles {
    fn default() -> Self {
        Tiles { cols: 1, rows: 1 }
    }
}

impl Tiles {
    fn is_one(&self) -> bool {
        *self == Tiles::default()
    }
}

impl std::fmt::Display for Tiles {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}x{}", self.cols, self.rows)
    }
}

impl std::str::FromStr for Tiles {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let side = |text: &str| text.trim().parse::<usize>().ok().filter(|side| (1..=16).contains(side));
        let sides = text.split_once('x').and_then(|(cols, rows)| Some((side(cols)?, side(rows)?)));
        let wrong =
            || format!("{text:?} is no grid of 1 to 16 by 1 to 16 tiles such as \"2x1\" (across x down)");
        sides.map(|(cols, rows)| Tiles { cols, rows }).ok_or_else(wrong)
    }
}

stored_as_written!(Tiles);

impl ViewsConfig {
    /// Whether there is but the whole picture.
    pub fn is_empty(&self) -> bool {
        self.more.is_empty()
    }

    /// Checks what the types cannot.
    ///
    /// # Errors
    /// The key and what it may be.
    pub fn check(&self) -> Result<(), String> {
        for (number, view) in self.more.iter().enumerate() {
            view.check(self.combine).map_err(|why| format!("views.more, view {}: {why}", number + 1))?;
        }
        let inputs: usize = self.more.iter().map(|view| view.tiles.cols * view.tiles.rows).sum();
        match inputs > MOST_INPUTS {
            true => Err(format!("views.more asks for {inputs} tiles and crops, give {MOST_INPUTS} at most")),
            false => Ok(()),
        }
    }

    /// All that the map of a frame depends on, in a line; empty if there is but the whole picture. Equal lines, equal
    /// maps.
    pub fn describe(&self) -> String {
        if self.is_empty() {
            return String::new();
        }
        let combine = match self.combine {
            Blend::Mean => "mean",
            Blend::Max => "max",
        };
        let views: Vec<String> = self.more.iter().map(View::describe).collect();
        format!("{combine} of the whole picture; {}", views.join("; "))
    }
}

impl View {
    fn check(&self, combine: Blend) -> Result<(), String> {
        let Crop([left, top, right, bottom]) = self.crop;
        if [left, top, right, bottom].iter().any(|edge| !(0.0..=1.0).contains(edge)) {
            return Err(format!(
                "crop {:?} reaches out of the picture; give left, top, right, bottom from 0 to 1",
                self.crop.0
            ));
        }
        if left >= right || top >= bottom {
            return Err(format!(
                "crop {:?} is empty; give left below right and top below bottom",
                self.crop.0
            ));
        }
        if !(0.0..1.0).contains(&self.overlap) {
            return Err(format!("overlap is {}, give 0 to less than 1", self.overlap));
        }
        if self.height.is_some_and(|height| !(1..=1 << 15).contains(&height)) {
            return Err(format!("height is {}, give 1 to {}", self.height.unwrap_or(0), 1 << 15));
        }
        if !(self.weight > 0.0 && self.weight <= 1e6) {
            return Err(format!("weight is {}, give a number above 0, up to 1000000", self.weight));
        }
        if combine == Blend::Max && self.weight != 1.0 {
            return Err("weight means nothing to views.combine = \"max\"; leave it out".to_owned());
        }
        match self.crop.is_whole() && self.tiles.is_one() && self.height.is_none() {
            true => Err("it is the whole picture at the model's own size, which is looked at anyway; \
                         give crop, tiles or height"
                .to_owned()),
            false => Ok(()),
        }
    }

    fn describe(&self) -> String {
        let View { crop: Crop([left, top, right, bottom]), tiles, height, overlap, weight } = self;
        let mut words = Vec::new();
        if !self.crop.is_whole() {
            words.push(format!("crop {left} {top} {right} {bottom}"));
        }
        if !tiles.is_one() {
            words.push(format!("tiles {}x{}", tiles.cols, tiles.rows));
        }
        if !self.crop.is_whole() || !tiles.is_one() {
            words.push(format!("overlap {overlap}"));
        }
        words.extend(height.map(|height| format!("height {height}")));
        if *weight != 1.0 {
            words.push(format!("weight {weight}"));
        }
        words.join(" ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<ViewsConfig, String> {
        let config: ViewsConfig = toml::from_str(text).map_err(|why| why.to_string())?;
        config.check().map(|()| config)
    }

    #[test]
    fn views_are_read_written_and_told() {
        let text = "combine = 'max'\nmore = [{ height = 532 }, { tiles = '2x1', overlap = 0.1 }, \
                    { crop = [0.2, 0.35, 0.8, 0.65] }]";
        let config = read(text).unwrap();
        assert_eq!(read(&toml::to_string(&config).unwrap()).unwrap(), config);
        assert_eq!(
            config.describe(),
            "max of the whole picture; height 532; tiles 2x1 overlap 0.1; crop 0.2 0.35 0.8 0.65 overlap 0.25"
        );
        assert_eq!(read("").unwrap().describe(), "");
    }

    #[test]
    fn what_cannot_be_is_named() {
        for (text, words) in [
            ("more = [{ height = 8 }, { crop = [0.0, 0.0, 1.1, 1.0] }]", "view 2: crop"),
            ("more = [{ crop = [0.0, -0.1, 1.0, 1.0] }]", "out of the picture"),
            ("more = [{ crop = [nan, 0.0, 1.0, 1.0] }]", "out of the picture"),
            ("more = [{ crop = [0.5, 0.2, 0.5, 0.6] }]", "empty"),
            ("more = [{ crop = [0.5, 0.6, 0.7, 0.2] }]", "empty"),
            ("more = [{ tiles = '2x1', overlap = 1.0 }]", "less than 1"),
            ("more = [{ tiles = '2x1', overlap = -0.1 }]", "less than 1"),
            ("more = [{ tiles = '0x1' }]", "2x1"),
            ("more = [{ tiles = '17x1' }]", "1 to 16"),
            ("more = [{ tiles = 2 }]", "string"),
            ("more = [{ tiles = '16x16' }]", "64 at most"),
            ("more = [{ height = 0 }]", "height is 0"),
            ("more = [{ height = 8, weight = 0.0 }]", "above 0"),
            ("combine = 'max'\nmore = [{ height = 8, weight = 2.0 }]", "leave it out"),
            ("more = [{}]", "anyway"),
            ("more = [{ scale = 2 }]", "scale"),
            ("combine = 'sum'", "mean"),
        ] {
            let why = read(text).unwrap_err();
            assert!(why.contains(words), "{text}: {why}");
        }
    }
}
