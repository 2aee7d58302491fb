//! The sky and the far line of woods and roofs under it.

use super::canvas::{Canvas, Haze};
use super::classes::{BUILDING, SKY, TREE};
use super::land::Land;
use super::noise::{Line, fixed, speck, wander};
use super::palette::{Rgb, mix};
use super::textures::Textures;
use super::view::View;

/// Paints everything above the horizon, which other things then stand in front of.
pub fn paint(
    canvas: &mut Canvas,
    view: &View,
    land: &Land,
    textures: &Textures,
    seed: u64,
    skyline: &mut Vec<(usize, u8, Rgb)>,
) {
    far_line(canvas, view, land, seed, skyline);
    let light = &view.light;
    let end = ((view.cy + 0.5).ceil().max(0.0) as usize).min(canvas.height);
    let step = 1.0 / view.focal;
    let drift = (view.time * 0.4) as f32;
    for y in 0..end {
        let rise = ((view.cy - y as f32) * step).max(0.0);
        let base = mix(light.haze, light.zenith, (rise * 2.4).min(1.0));
        // Clouds lie on a plane overhead: their rows get closer towards the horizon.
        let plane = 1.0 / (rise + 0.12);
        let level = textures.blotch.level(plane * plane * 12.0 * step);
        let weight = (rise * 5.0).min(1.0) * (0.25 + 0.75 * light.cloud);
        let clouds = Line::new(&textures.blotch, level, plane * 20.0);
        let crowns = Line::new(&textures.leaves, 1, y as f32 * 1.7);
        let turn = (0.5 - view.cx) * step + view.heading;
        let (mut u, du) = (fixed(turn * plane * 22.0 + drift), fixed(step * plane * 22.0));
        let row = y * canvas.width;
        let bright = mix([252.0, 250.0, 246.0], light.haze, 0.55);
        for (x, &(top, class, own)) in skyline.iter().enumerate() {
            let pixel = row + x;
            u = u.wrapping_add(du);
            if y >= top {
                canvas.class[pixel] = class;
                let k = 1.0 + 0.10 * crowns.at(fixed(x as f32 * 1.3 + view.heading * 400.0));
                canvas.colour[pixel] = [(own[0] * k) as u8, (own[1] * k) as u8, (own[2] * k) as u8, 0];
                continue;
            }
            let puff = clouds.at(u);
            let puff = (puff + 0.5 * light.cloud - 0.1).clamp(0.0, 1.0) * weight;
            let own = mix(base, bright, puff);
            canvas.class[pixel] = SKY;
            canvas.colour[pixel] = [own[0] as u8, own[1] as u8, own[2] as u8, 0];
        }
    }
}

/// For every column the row at which the far line starts, its class and its colour.
fn far_line(canvas: &Canvas, view: &View, land: &Land, seed: u64, skyline: &mut Vec<(usize, u8, Rgb)>) {
    let haze = Haze::new(&view.light, 0.85);
    let town = land.town(view.s + 200.0);
    skyline.clear();
    for x in 0..canvas.width {
        let azimuth = f64::from((x as f32 - view.cx) / view.focal + view.heading);
        let woods = 0.022
            + 0.018 * wander(seed, 60, azimuth * 5.0)
            + 0.006 * wander(seed, 61, azimuth * 34.0)
            + 0.003 * wander(seed, 62, azimuth * 120.0);
        let block = (azimuth * 14.0).floor();
        let roofs = 0.02 + 0.035 * speck(block as i32, seed as i32);
        let built = speck(block as i32, seed as i32 ^ 77) < town * 0.7;
        let (rise, class, own, z) = if built && roofs > woods {
            (roofs, BUILDING, [138.0, 128.0, 118.0], 190.0)
        } else {
            (woods, TREE, [70.0, 84.0, 56.0], 160.0)
        };
        let top = (view.cy - rise.max(0.004) * view.focal).max(0.0) as usize;
        let [r, g, b, _] = haze.over(own, z);
        skyline.push((top, class, [f32::from(r), f32::from(g), f32::from(b)]));
    }
}
