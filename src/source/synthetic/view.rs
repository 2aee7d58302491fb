//! Where the camera is, which way it looks and in what light, as pure functions of time.

use super::noise::wander;
use super::palette::{Rgb, mix};

/// Metres ahead up to which things are drawn.
pub const FAR: f32 = 170.0;
/// Metres ahead from which surfaces are drawn.
pub const NEAR: f32 = 0.7;

/// The light of one moment.
#[derive(Debug, Clone)]
pub struct Light {
    /// What every surface's colour is multiplied with.
    pub ambient: Rgb,
    /// How much stronger the sunlit sides are than the others, 0 (overcast) to 1.
    pub sun: f32,
    /// Which side the sun stands on: -1 left to 1 right.
    pub side: f32,
    /// Colour that far things fade to.
    pub haze: Rgb,
    /// Distance in metres at which half of a thing's own colour is left.
    pub haze_half: f32,
    /// Colour of the sky overhead.
    pub zenith: Rgb,
    /// How much of the sky is cloud, 0 to 1.
    pub cloud: f32,
    /// Standard deviation of the sensor's noise, in 8-bit steps.
    pub noise: f32,
}

/// The camera at one moment. Camera space: x right, y down, z ahead, metres.
#[derive(Debug, Clone)]
pub struct View {
    /// Frames of the drive so far.
    pub tick: u64,
    /// Seconds of the drive so far.
    pub time: f64,
    /// Metres driven so far.
    pub s: f64,
    /// Focal length in pixels.
    pub focal: f32,
    /// Column of the vanishing point.
    pub cx: f32,
    /// Row of the horizon.
    pub cy: f32,
    /// Metres right of the centre of the own lane.
    pub side: f32,
    /// Metres above the road.
    pub height: f32,
    /// Curvature of the road ahead in 1/m, positive to the right.
    pub bend: f32,
    /// Heading that the far background turns with, in radians.
    pub heading: f32,
    /// The light.
    pub light: Light,
}

impl View {
    /// The camera of a `width` x `height` picture, `tick` frames of `fps` per second into drive `seed`.
    pub fn at(seed: u64, tick: u64, fps: u32, width: usize, height: usize) -> View {
        let time = tick as f64 / f64::from(fps);
        // Speed wanders around 13 m/s; the integral is written directly, so any moment is reachable.
        let s = 13.0 * time + 14.0 * f64::from(wander(seed, 1, time / 9.0));
        let bend = 0.0016 * wander(seed, 2, s / 160.0) + 0.0008 * wander(seed, 3, s / 70.0);
        let unit = width as f32 / 640.0;
        let shake = |kind: u64, rate: f64| wander(seed, kind, time * rate);
        let cy = height as f32 * 0.43
            + unit * (1.5 * shake(4, 5.0) + 0.7 * shake(5, 12.0) + 7.0 * wander(seed, 6, time / 4.0));
        let cx = width as f32 * 0.5 + unit * (1.0 * shake(7, 6.0) + 14.0 * wander(seed, 8, time / 5.0));
        View {
            tick,
            time,
            s,
            focal: width as f32 * 0.86,
            cx,
            cy,
            side: 0.35 * wander(seed, 9, time / 6.0),
            height: 1.42 + 0.02 * shake(10, 4.0),
            bend,
            heading: 1.5 * wander(seed, 11, s / 420.0) + bend * 60.0,
            light: Light::at(seed, time),
        }
    }

    /// Camera coordinates of the point `x` metres right of the own lane's centre, `up` metres above
    /// the road, `z` metres ahead.
    #[inline]
    pub fn point(&self, x: f32, up: f32, z: f32) -> [f32; 3] {
        [x + self.shift(z), self.height - up, z]
    }

    /// What the bend and the camera's place add to the sideways position of everything `z` metres ahead.
    #[inline]
    pub fn shift(&self, z: f32) -> f32 {
        0.5 * self.bend * z * z - self.side
    }

    /// Metres ahead of the camera of the place `s` metres from the start of the drive.
    #[inline]
    pub fn ahead(&self, s: f64) -> f32 {
        (s - self.s) as f32
    }
}

impl Light {
    fn at(seed: u64, time: f64) -> Light {
        let wave = |kind: u64, seconds: f64| 0.5 + 0.5 * wander(seed, kind, time / seconds);
        let cloud = (1.3 * wave(20, 23.0) - 0.15).clamp(0.0, 1.0);
        let dusk = (1.25 * wave(21, 41.0) - 0.25).clamp(0.0, 1.0);
        let fog = (1.6 * wave(22, 31.0) - 0.8).clamp(0.0, 1.0);
        let breath = 1.0 + 0.05 * wander(seed, 23, time / 1.7);
        let level = breath * (1.0 - 0.22 * cloud) * (1.0 - 0.34 * dusk);
        let warm = mix([1.0, 1.0, 1.0], [1.05, 0.97, 0.9], dusk * (1.0 - cloud));
        let cool = mix([1.0, 1.0, 1.0], [0.95, 0.99, 1.06], cloud);
        let ambient = [level * warm[0] * cool[0], level * warm[1] * cool[1], level * warm[2] * cool[2]];
        let clear = mix([196.0, 210.0, 224.0], [222.0, 186.0, 158.0], dusk);
        let grey = mix([188.0, 192.0, 197.0], [128.0, 131.0, 142.0], dusk);
        let haze = mix(clear, grey, cloud);
        let blue = mix([96.0, 142.0, 198.0], [84.0, 100.0, 142.0], dusk);
        Light {
            ambient,
            sun: (1.0 - 1.2 * cloud).max(0.0),
            side: wander(seed, 24, time / 37.0),
            haze,
            haze_half: 150.0 - 85.0 * fog,
            zenith: mix(blue, mix([150.0, 156.0, 166.0], [92.0, 95.0, 106.0], dusk), cloud),
            cloud,
            noise: 1.4 + 1.5 * dusk + 0.5 * cloud,
        }
    }
}
