//! What the overlay shows and how: the `[overlay]` keys.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::ranges::within;
use crate::written::stored_as_written;

/// How findings are drawn over the picture.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OverlayConfig {
    /// Draw the score as a heat map. Default true.
    pub heat: bool,
    /// Opacity of full heat, 0 (invisible) to 1 (hides the picture). Default 0.55.
    pub opacity: f32,
    /// Colours of the heat: "inferno", "magma", "plasma" or "viridis". Default "inferno".
    pub colormap: ColourMap,
    /// Draw a line around what exceeds the threshold. Default true.
    pub contour: bool,
    /// Draw a box with the peak score around each region. Default true.
    pub boxes: bool,
    /// Colour of contours and boxes, "#rrggbb". Default "#00e5ff", which no heat map contains.
    pub line_colour: HexColour,
    /// Draw the status line on a dark strip at the top. Default true.
    pub status: bool,
    /// Factor on the text size, which follows the picture height by itself. Default 1.
    pub text_scale: f32,
    /// `run` with live pictures: a verdict older than this, in seconds, fades to nothing. Default 1.
    pub max_age_secs: f64,
}

impl Default for OverlayConfig {
    fn default() -> Self {
        OverlayConfig {
            heat: true,
            opacity: 0.55,
            colormap: ColourMap::Inferno,
            contour: true,
            boxes: true,
            line_colour: HexColour([0x00, 0xe5, 0xff]),
            status: true,
            text_scale: 1.0,
            max_age_secs: 1.0,
        }
    }
}

impl OverlayConfig {
    /// Checks the ranges of the numbers.
    ///
    /// # Errors
    /// One sentence that names the key and what it may be.
    pub fn check(&self) -> Result<(), String> {
        let numbers = [
            ("opacity", f64::from(self.opacity), 0.0, 1.0),
            ("text_scale", f64::from(self.text_scale), 0.5, 4.0),
            ("max_age_secs", self.max_age_secs, 0.05, 3600.0),
        ];
        within("overlay", &numbers)
    }
}

/// A perceptually uniform colour map: equal steps of the score look equally large, also in
/// grey and to colour-blind eyes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ColourMap {
    /// Purple, red, orange, pale yellow.
    #[default]
    Inferno,
    /// Purple, pink, cream.
    Magma,
    /// Blue, magenta, orange, yellow.
    Plasma,
    /// Blue, green, yellow.
    Viridis,
}

/// An 8-bit sRGB colour, written "#rrggbb".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HexColour(pub [u8; 3]);

impl fmt::Display for HexColour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [r, g, b] = self.0;
        write!(f, "#{r:02x}{g:02x}{b:02x}")
    }
}

impl FromStr for HexColour {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        text.strip_prefix('#')
            .filter(|digits| digits.len() == 6 && digits.bytes().all(|c| c.is_ascii_hexdigit()))
            .and_then(|digits| u32::from_str_radix(digits, 16).ok())
            .map(|n| HexColour([(n >> 16) as u8, (n >> 8) as u8, n as u8]))
            .ok_or_else(|| format!("`{text}` is no colour, give \"#rrggbb\""))
    }
}

stored_as_written!(HexColour);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_survives_toml_and_mistakes_are_named() {
        let text = toml::to_string(&OverlayConfig::default()).unwrap();
        assert_eq!(toml::from_str::<OverlayConfig>(&text).unwrap(), OverlayConfig::default());
        assert_eq!(toml::from_str::<OverlayConfig>("").unwrap(), OverlayConfig::default());
        for (text, word) in [
            ("opaqueness = 1", "opaqueness"),
            ("colormap = \"jet\"", "jet"),
            ("line_colour = \"cyan\"", "#rrggbb"),
            ("line_colour = \"#12345é\"", "#rrggbb"),
        ] {
            let error = toml::from_str::<OverlayConfig>(text).unwrap_err().to_string();
            assert!(error.contains(word), "{text}: {error}");
        }
        let config = OverlayConfig { opacity: f32::NAN, ..OverlayConfig::default() };
        assert!(config.check().unwrap_err().contains("overlay.opacity"));
        assert_eq!(OverlayConfig::default().check(), Ok(()));
    }
}
