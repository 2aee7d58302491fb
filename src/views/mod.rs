//! Views: parts and scales of the picture that are looked at besides the whole, and how their maps become one.
//!
//! A view is the whole picture at another size, a crop, or a grid of overlapping tiles. Each gives distances on
//! a grid of its own; [`Merger`] blends them into one map, on the finest grid that any of them asks for. Knows neither
//! models nor banks.

mod axis;
mod config;
mod layout;
mod merge;
mod window;

pub use config::{Blend, Crop, Tiles, View, ViewsConfig};
pub use layout::{Layout, Placed};
pub use merge::{Merger, Scale};
pub use window::Window;
