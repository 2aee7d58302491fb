//! An endless, seeded drive that needs no camera: a road world with exact truth, in which things
//! appear that the world normally does not have.
//!
//! A frame is a pure function of the configuration and its number: nothing is carried from frame
//! to frame, so any frame can be had at once. Everything is painted from hashed places along the
//! road, with one set of colours and textures for the normal world and the strangers alike.

mod canvas;
mod classes;
mod config;
mod finish;
mod houses;
mod land;
mod noise;
mod palette;
mod road;
mod scene;
mod scenery;
mod shapes;
mod sky;
mod stranger;
mod strangers;
mod textures;
mod traffic;
mod trees;
mod view;

#[cfg(test)]
mod tests;

pub use classes::VOID;
pub use config::{SyntheticConfig, SyntheticError};

use crate::frame::{Frame, I420Layout, Truth};
use canvas::Canvas;
use finish::Sensor;
use land::Land;
use scene::Scene;
use stranger::{KINDS, Kind};
use textures::Textures;
use view::View;

/// The painter of one drive. What it keeps between frames are scratch buffers only.
#[derive(Debug)]
pub struct World {
    config: SyntheticConfig,
    land: Land,
    textures: Textures,
    canvas: Canvas,
    skyline: Vec<(usize, u8, palette::Rgb)>,
    sensor: Sensor,
}

impl World {
    /// The drive that `config` asks for.
    pub fn new(config: &SyntheticConfig) -> World {
        // Odd or tiny sizes, which `parse` refuses, are rounded to what can be painted.
        let even = |n: usize| n.clamp(64, 4096) & !1;
        let config =
            SyntheticConfig { width: even(config.width), height: even(config.height), ..config.clone() };
        World {
            land: Land::new(config.seed),
            textures: Textures::new(),
            canvas: Canvas::new(config.width, config.height),
            skyline: Vec::with_capacity(config.width),
            sensor: Sensor::new(config.seed, config.width, config.height),
            config,
        }
    }

    /// What is painted, with the size that is really used.
    pub fn config(&self) -> &SyntheticConfig {
        &self.config
    }

    /// Paints frame `n` into `frame.pixels` (I420, BT.601, limited range; resized to fit) and, if
    /// asked for, each pixel's class and stranger number into `truth`. Other fields of `frame` stay.
    pub fn render(&mut self, n: u64, frame: &mut Frame, truth: Option<&mut Truth>) {
        let SyntheticConfig { seed, width, height, fps, strangers, stride, .. } = self.config;
        let view = View::at(seed, n.wrapping_mul(stride), fps.max(1), width, height);
        let kinds = std::mem::take(&mut self.config.kinds);
        self.paint(&view, seed, (strangers, if kinds.is_empty() { &KINDS } else { &kinds }));
        self.config.kinds = kinds;
        let layout = I420Layout::new(width, height);
        frame.pixels.resize(layout.len, 0);
        self.sensor.expose(&self.canvas, seed, view.tick, view.light.noise, &layout, &mut frame.pixels);
        if let Some(truth) = truth {
            truth.class.clear();
            truth.class.extend_from_slice(&self.canvas.class);
            truth.stranger.clear();
            truth.stranger.extend_from_slice(&self.canvas.stranger);
        }
    }

    fn paint(&mut self, view: &View, seed: u64, (strangers, kinds): (bool, &[Kind])) {
        let World { land, textures, canvas, skyline, .. } = self;
        let scene = Scene { view, land, textures, seed, kinds };
        canvas.clear();
        sky::paint(canvas, view, land, textures, seed, skyline);
        road::paint(canvas, view, land, textures, seed);
        trees::shadows(canvas, &scene);
        traffic::shadows(canvas, &scene);
        if strangers {
            strangers::shadows(canvas, &scene);
            strangers::paint(canvas, &scene);
        }
        traffic::paint(canvas, &scene);
        scenery::paint(canvas, &scene);
    }
}
