//! What each kind of stranger looks like: colour at a place on its upright outline.

use super::noise::speck;
use super::palette::{RUBBER, Rgb, mix, scale};
use super::stranger::{Kind, Stranger};
use super::textures::Textures;

/// Colour of `it` at `at` metres (right from its left end, up from the ground), seen from `z` metres,
/// with the sun on the right if `light` is positive; nothing outside its outline.
pub fn shade(it: &Stranger, textures: &Textures, at: [f32; 2], z: f32, light: f32) -> Option<Rgb> {
    let [w, h] = it.size;
    let [x, y] = at;
    // Centred and scaled to -1..1 sideways, 0..1 upwards.
    let (p, q) = (2.0 * x / w - 1.0, y / h);
    let level = textures.grain.level(z * 0.05);
    let grain = textures.grain.smooth(level, x * 24.0 + it.grain, y * 24.0);
    let spot = textures.blotch.smooth(0, x * 16.0 + it.grain, y * 16.0);
    let [main, second] = it.colours;
    let colour = match it.kind {
        Kind::Animal => animal(it, p, q, main, second, spot)?,
        Kind::Tyre => tyre(p, 2.0 * q - 1.0)?,
        Kind::Sofa => sofa(p, q, cloth(it, x, y, z))?,
        Kind::Ladder => ladder(p, q, main)?,
        Kind::Ball => ball(p, 2.0 * q - 1.0, main, second)?,
        Kind::Carton => carton(it, p, q)?,
        Kind::Barrel => barrel(p, q, cloth(it, x, y, z), second)?,
        Kind::Trolley => trolley(p, q, main, cloth(it, x, y, z))?,
        Kind::Log => log(x, y, w, h, main, grain)?,
        Kind::Rubble => rubble(x, y, p, q, h, main, second)?,
        Kind::Tent => tent(p, q, cloth(it, x, y, z), second)?,
    };
    Some(scale(colour, 1.0 + 0.13 * grain + 0.08 * spot + 0.12 * light * p))
}

/// The pattern of two colours that a thing of cloth or tin has, at `x`, `y` metres on it.
fn cloth(it: &Stranger, x: f32, y: f32, z: f32) -> Rgb {
    let [main, second] = it.colours;
    let pitch = 0.18 + 0.0012 * it.grain;
    let on = |t: f32| (t / pitch).rem_euclid(2.0) < 1.0;
    let share = match it.grain as u32 % 4 {
        0 => f32::from(u8::from(on(x))),
        1 => f32::from(u8::from(on(x + y))),
        2 => 0.5 * (f32::from(u8::from(on(x + y))) + f32::from(u8::from(on(x - y)))),
        _ => f32::from(u8::from(on(x + y) != on(x - y))),
    };
    // Finer than the pixels it turns into one even colour.
    let sharp = (1.4 - z * 0.004 / pitch).clamp(0.0, 1.0);
    mix(main, second, 0.5 + (share - 0.5) * sharp)
}

fn ellipse(p: f32, q: f32, cx: f32, cy: f32, rx: f32, ry: f32) -> f32 {
    let (u, v) = ((p - cx) / rx, (q - cy) / ry);
    1.0 - u * u - v * v
}

fn animal(it: &Stranger, p: f32, q: f32, main: Rgb, second: Rgb, spot: f32) -> Option<Rgb> {
    let aspect = it.size[0] / it.size[1];
    let marked = if it.grain < 128.0 { spot > 0.1 } else { (p * 22.0 + 3.0 * spot).sin() > 0.1 };
    let coat = if marked { second } else { main };
    let body = ellipse(p, q, -0.08, 0.6, 0.66, 0.2).max(ellipse(p, q, 0.32, 0.62, 0.3, 0.22));
    if body > 0.0 {
        return Some(scale(coat, 0.72 + 0.5 * (q - 0.4) + 0.12 * body));
    }
    // The neck runs from the shoulder up to the head.
    let neck = (p - 0.42 - (q - 0.65) * 0.9).abs() < 0.13 && (0.6..0.9).contains(&q);
    let head = ellipse(p, q, 0.74, 0.88, 0.22, 0.10) > 0.0;
    let ear = ellipse(p, q, 0.62, 0.965, 0.05, 0.04 * aspect.min(1.0)) > 0.0;
    if neck || head || ear {
        return Some(scale(coat, 0.95));
    }
    let leg = |at: f32, lean: f32| (p - at - lean * (0.5 - q)).abs() < 0.055 + 0.05 * (q - 0.2).max(0.0);
    if q < 0.55 {
        if leg(-0.58, 0.1) || leg(0.40, -0.1) {
            return Some(scale(main, 0.9));
        }
        if leg(-0.42, -0.2) || leg(0.26, 0.2) {
            return Some(scale(main, 0.62));
        }
    }
    let tail = (p + 0.72 + (0.66 - q) * 0.3).abs() < 0.035 && (0.3..0.7).contains(&q);
    tail.then(|| scale(second, 0.8))
}

fn tyre(p: f32, q: f32) -> Option<Rgb> {
    let r = (p * p + q * q).sqrt();
    if !(0.46..1.0).contains(&r) {
        return None;
    }
    let tread = r > 0.88 && (q.atan2(p) * 9.0).sin() > 0.2;
    let shine = 1.25 - (r - 0.72).abs() * 2.2 + 0.25 * q;
    Some(scale(mix(RUBBER, [70.0, 68.0, 66.0], 0.35), if tread { 0.7 } else { shine }))
}

fn sofa(p: f32, q: f32, main: Rgb) -> Option<Rgb> {
    let arm = p.abs() > 0.78;
    if arm {
        let round = ellipse(p.abs(), q, 0.89, 0.58, 0.11, 0.09) > 0.0;
        return ((0.07..0.58).contains(&q) || round).then(|| scale(main, if q > 0.5 { 1.12 } else { 0.86 }));
    }
    if q < 0.1 {
        return (p.abs() > 0.68).then_some([52.0, 44.0, 38.0]);
    }
    let cushion = ((p + 0.78) * 3.0 / 1.56).fract();
    let gap = !(0.04..0.96).contains(&cushion);
    if q < 0.44 {
        let front = if q < 0.28 { 0.74 } else { 1.05 };
        return Some(scale(main, if gap && q > 0.28 { 0.5 } else { front }));
    }
    let top = 0.97 - 0.05 * (cushion - 0.5).abs();
    (q < top).then(|| scale(main, if gap { 0.55 } else { 0.78 + 0.3 * (q - 0.44) }))
}

fn ladder(p: f32, q: f32, main: Rgb) -> Option<Rgb> {
    let reach = 0.22 + 0.72 * (1.0 - q);
    let rail = (p.abs() - reach).abs() < 0.10;
    let rung = p.abs() < reach && (q * 6.0).fract() < 0.4 && q > 0.05;
    let back = (p - 0.15).abs() < 0.9 * reach && ((p.abs() - 0.7 * reach).abs() < 0.04);
    if rail {
        Some(scale(main, 1.1))
    } else if rung {
        Some(scale(main, if (q * 6.0).fract() < 0.13 { 0.6 } else { 0.95 }))
    } else {
        back.then(|| scale(main, 0.62))
    }
}

fn ball(p: f32, q: f32, main: Rgb, second: Rgb) -> Option<Rgb> {
    let rr = p * p + q * q;
    if rr > 1.0 {
        return None;
    }
    let depth = (1.0 - rr).sqrt();
    let turn = (p * 0.8 + q * 0.6).atan2(depth + 0.25);
    let panel = (turn * 2.4).rem_euclid(2.0) < 1.0;
    Some(scale(if panel { main } else { second }, 0.5 + 0.4 * depth + 0.22 * q))
}

fn carton(it: &Stranger, p: f32, q: f32) -> Option<Rgb> {
    let [main, second] = it.colours;
    // A corner looks at the camera; flaps stand open.
    let edge = 0.22;
    let (u, left) =
        if p < edge { ((p + 1.0) / (1.0 + edge), true) } else { ((1.0 - p) / (1.0 - edge), false) };
    let foot = 0.10 * (1.0 - u);
    let lip = 0.78 - 0.05 * (1.0 - u);
    if q < foot {
        return None;
    }
    let board = scale(main, if left { 0.98 } else { 0.70 });
    if q < lip {
        // Two rows of print: bars of chance length.
        let line = (q * 14.0) as i32;
        let print = speck((u * 11.0) as i32 + it.grain as i32, line) > 0.4;
        let label = matches!(line, 3 | 4 | 7) && (0.15..0.85).contains(&u) && print;
        let tape = (u - 0.5).abs() < 0.07 && q > 0.55 || (q - 0.17).abs() < 0.03;
        return Some(if label {
            second
        } else if tape {
            scale(board, 1.15)
        } else {
            board
        });
    }
    let flap = if left { u < 0.55 + (q - lip) * 1.5 && u > 0.1 } else { u > 0.3 };
    (flap && q < lip + 0.2).then(|| scale(main, if left { 0.85 } else { 1.1 }))
}

fn barrel(p: f32, q: f32, main: Rgb, second: Rgb) -> Option<Rgb> {
    let bulge = 0.9 + 0.1 * (1.0 - (2.0 * q - 1.0) * (2.0 * q - 1.0));
    let lid = ellipse(p, q, 0.0, 0.92, 0.9, 0.075);
    if lid > 0.0 {
        return Some(scale(main, if lid < 0.25 { 1.1 } else { 0.62 }));
    }
    let sag = 0.06 * (1.0 - p * p).max(0.0).sqrt();
    if q > 0.92 || p.abs() > bulge || q < 0.06 - sag {
        return None;
    }
    let ring = [0.18, 0.5, 0.8].iter().any(|&at| (q + sag - at - 0.05).abs() < 0.035);
    let round = 0.55 + 0.5 * (1.0 - (p + 0.25) * (p + 0.25)).max(0.0);
    Some(scale(if ring { second } else { main }, round))
}

fn trolley(p: f32, q: f32, main: Rgb, load: Rgb) -> Option<Rgb> {
    let wheel = |at: f32| ellipse(p, q, at, 0.07, 0.08, 0.07) > 0.0;
    if wheel(-0.55) || wheel(0.55) {
        return Some(RUBBER);
    }
    let frame = (q - 0.16).abs() < 0.02 && p.abs() < 0.62
        || (p + 0.62 + (q - 0.2) * 0.25).abs() < 0.035 && (0.1..1.0).contains(&q)
        || (q - 0.965).abs() < 0.035 && (-1.0..-0.72).contains(&p);
    if frame {
        return Some(scale(main, 0.8));
    }
    let (low, high) = (0.36 + 0.05 * p, 0.84 - 0.05 * p);
    let (start, end) = (-0.8 + 0.12 * (0.84 - q), 0.95 - 0.3 * (0.84 - q));
    if !(low..high).contains(&q) || !(start..end).contains(&p) {
        return None;
    }
    let rim = q > high - 0.04 || q < low + 0.03 || p > end - 0.04;
    let mesh = (p * 9.0).rem_euclid(1.0) < 0.32 || (q * 14.0).rem_euclid(1.0) < 0.3;
    if rim || mesh {
        Some(scale(main, 1.08))
    } else {
        Some(scale(load, if q < high - 0.1 { 0.8 } else { 0.55 }))
    }
}

fn log(x: f32, y: f32, w: f32, h: f32, main: Rgb, grain: f32) -> Option<Rgb> {
    let r = 0.36 * h;
    let middle = r + 0.03 * h * grain;
    let v = (y - middle) / r;
    let (ex, ev) = ((x - 0.16 * w) / (0.55 * r), v);
    let ring = ex * ex + ev * ev;
    if ring < 1.0 {
        let year = (ring.sqrt() * 14.0).sin() * 0.07;
        return Some(scale(mix(main, [176.0, 148.0, 108.0], 0.55), 0.95 + year));
    }
    if x > 0.16 * w && x < 0.98 * w && v.abs() < 1.0 - 0.15 * x / w {
        return Some(scale(main, 0.62 + 0.36 * (v + 0.3).min(0.8) + 0.2 * grain));
    }
    // Stumps of branches.
    let stump = [(0.38, 0.5), (0.62, -0.35), (0.84, 0.6)].iter().any(|&(at, lean)| {
        let t = y - 1.6 * r;
        t > 0.0 && t < (h - 1.6 * r) * 0.95 && (x - at * w - lean * t).abs() < 0.05 * w * (1.2 - t / h)
    });
    stump.then(|| scale(main, 0.85))
}

fn rubble(x: f32, y: f32, p: f32, q: f32, h: f32, main: Rgb, second: Rgb) -> Option<Rgb> {
    // Stones: the cells of a jittered lattice, shaded as if each were a lump.
    let pitch = 0.3 * h.max(0.5);
    let (i, j) = ((x / pitch).floor() as i32, (y / pitch).floor() as i32);
    let (mut best, mut next, mut who) = (f32::MAX, f32::MAX, (0, 0));
    for dj in -1..=1 {
        for di in -1..=1 {
            let (ci, cj) = (i + di, j + dj);
            let cx = (ci as f32 + 0.2 + 0.6 * speck(ci, cj)) * pitch;
            let cy = (cj as f32 + 0.2 + 0.6 * speck(cj + 71, ci)) * pitch;
            let d = ((x - cx) * (x - cx) + (y - cy) * (y - cy)).sqrt() / pitch;
            if d < best {
                (next, best, who) = (best, d, (ci, cj));
            } else if d < next {
                next = d;
            }
        }
    }
    // A stone belongs to the heap if its centre lies below the heap's outline.
    let top = (1.0 - p.abs() * p.abs().sqrt()).max(0.0) * (0.8 + 0.3 * speck(who.0, 5));
    if q > top {
        return None;
    }
    let own = mix(main, second, speck(who.0 + 9, who.1));
    let gap = ((next - best) * 4.0).min(1.0);
    Some(scale(own, (0.45 + 0.5 * gap) * (0.75 + 0.35 * speck(who.1, who.0)) + 0.15 * (1.0 - best)))
}

fn tent(p: f32, q: f32, main: Rgb, second: Rgb) -> Option<Rgb> {
    // The roof ridge runs away to the right.
    let front = (p + 0.35).abs() < 0.62 * (1.0 - q) && q < 0.97;
    if front {
        let door = (p + 0.35).abs() < 0.24 * (0.8 - q);
        return Some(if door { scale(main, 0.3) } else { scale(main, 0.8 + 0.2 * q) });
    }
    let flank = p > -0.35 && p < 0.97 - 0.42 * q && q < 0.95 - 0.12 * (p + 0.35);
    flank.then(|| scale(if (q - 0.2).abs() < 0.06 { second } else { main }, 1.02 - 0.25 * (0.5 - q).abs()))
}
