//! From a frame's pixels to the numbers that a model takes: scaled, converted, normalised.
//!
//! Luma and chroma are resampled separately, each from its own resolution, and only the pixels of
//! the result are converted to R'G'B'; resampling and matrix are linear, so the order only
//! matters where colours leave the gamut. Row by row, so that nothing frame-sized lies in between.

use super::placement::{InputSpec, Placement};
use super::resample::Taps;
use crate::frame::{Colour, Frame, PixelFormat};
use crate::model::Channels;
use crate::views::Window;

/// The input of one run: `[1, 3, height, width]`, normalised.
#[derive(Debug, Clone, Default)]
pub struct ModelInput {
    /// Its size, and that of the picture in it.
    pub placement: Placement,
    /// `3 x height x width` numbers.
    pub data: Vec<f32>,
}

impl ModelInput {
    /// Takes the size of `placement`; what lies outside the content is 0, the rest is unspecified.
    pub fn reset(&mut self, placement: Placement) {
        let len = 3 * placement.width * placement.height;
        if self.placement != placement || self.data.len() != len {
            self.placement = placement;
            self.data.clear();
            self.data.resize(len, 0.0);
        }
    }
}

/// Kinds of frames whose tables are kept: cameras of one run that take turns.
const KINDS: usize = 8;

/// Turns frames, or one part of them, into inputs; keeps its tables for the kinds of frames that came last.
#[derive(Debug)]
pub struct Preprocessor {
    spec: InputSpec,
    window: Window,
    /// The last kind first.
    tables: Vec<Tables>,
    /// Whether it was said that frames fill little of the input: once is enough.
    told: bool,
    vertical: [Vec<f32>; 3],
    horizontal: [Vec<f32>; 3],
}

/// An input that is filled less than so costs detail that somebody should know of.
const MUCH: f64 = 0.75;

#[derive(Debug)]
struct Tables {
    frame: (usize, usize, PixelFormat, bool),
    placement: Placement,
    /// First column and number of columns that are read of Y' (or of packed RGB), then of Cb and Cr.
    spans: [(usize, usize); 2],
    /// Columns (from the first that is read) and rows of Y', then of Cb and Cr.
    columns: [Taps; 2],
    rows: [Taps; 2],
}

/// `(value + add) * mul` per channel.
#[derive(Clone, Copy)]
struct Affine {
    mul: [f32; 3],
    add: [f32; 3],
}

/// Y'CbCr to 8-bit R'G'B': gain of Y', offset of Y', and the four chroma gains.
struct Coefficients {
    gain: f32,
    black: f32,
    red_cr: f32,
    green_cb: f32,
    green_cr: f32,
    blue_cb: f32,
}

impl Coefficients {
    /// The matrix's Kr and Kb, and the ranges of 8-bit digital video (ITU-R BT.601-7).
    fn new(colour: Colour) -> Self {
        let (kr, kb) = colour.matrix.luma_weights();
        let kg = 1.0 - kr - kb;
        let (gain, black, chroma) =
            if colour.full_range { (1.0, 0.0, 1.0) } else { (255.0 / 219.0, 16.0, 255.0 / 224.0) };
        let (cr, cb) = (2.0 * (1.0 - kr) * chroma, 2.0 * (1.0 - kb) * chroma);
        Coefficients { gain, black, red_cr: cr, green_cb: cb * kb / kg, green_cr: cr * kr / kg, blue_cb: cb }
    }
}

impl Preprocessor {
    /// For the model whose session gave `spec`.
    pub fn new(spec: &InputSpec) -> Self {
        Preprocessor::of_window(spec, Window::WHOLE)
    }

    /// The same for this part of each frame, which is placed as a frame of its size would be. Its edges may lie
    /// between pixels; what lies beside them is read where the filter reaches beyond.
    pub fn of_window(spec: &InputSpec, window: Window) -> Self {
        Preprocessor {
            spec: *spec,
            window,
            tables: Vec::new(),
            told: false,
            vertical: Default::default(),
            horizontal: Default::default(),
        }
    }

    /// The same, without a warning about frames of another shape than the input's: for what does not look for small things.
    pub fn silent(spec: &InputSpec) -> Self {
        Preprocessor { told: true, ..Preprocessor::new(spec) }
    }

    /// Pictures of another shape than the input's are fitted into it, so that small things get smaller.
    fn say_what_is_lost(&mut self, frame: &Frame) {
        let Some(placement) = self.tables.first().map(|tables| tables.placement) else { return };
        let filled = placement.filled();
        if self.window == Window::WHOLE && filled < MUCH && !self.told {
            self.told = true;
            tracing::warn!(
                "frames of {}x{} fill {:.0} % of the model's input of {}x{}: small things get smaller; prepare the model, or learn the \
                 detector, for this shape",
                frame.width,
                frame.height,
                100.0 * filled,
                placement.width,
                placement.height
            );
        }
    }

    /// Fills `input` with the picture of `frame`. Frames may change in size and format at any time.
    ///
    /// # Errors
    /// If the frame is empty or holds fewer bytes than its size needs, or the part is smaller than a pixel of it.
    pub fn step(&mut self, frame: &Frame, input: &mut ModelInput) -> anyhow::Result<()> {
        let needed = Frame::byte_len(frame.format, frame.width, frame.height);
        anyhow::ensure!(
            frame.width > 0 && frame.height > 0 && frame.pixels.len() >= needed,
            "frame {} is {}x{} and needs {needed} bytes, it has {}",
            frame.id,
            frame.width,
            frame.height,
            frame.pixels.len()
        );
        let key = (frame.width, frame.height, frame.format, frame.colour.full_range);
        let known = self.tables.iter().position(|tables| tables.frame == key);
        if let Some(at) = known {
            self.tables.swap(0, at);
        } else {
            let (width, height) = self.window.pixels(frame.width, frame.height);
            anyhow::ensure!(
                width > 0 && height > 0,
                "a view is {width}x{height} pixels of the {}x{} frame {}; give larger crops or fewer tiles in [views]",
                frame.width,
                frame.height,
                frame.id
            );
            self.tables.truncate(KINDS - 1);
            self.tables.insert(0, Tables::new(&self.spec, &self.window, frame));
            self.say_what_is_lost(frame);
        }
        let Some(tables) = self.tables.first() else {
            return Ok(());
        };
        let place = tables.placement;
        input.reset(place);
        for row in &mut self.horizontal {
            row.resize(place.content_width, 0.0);
        }
        let affine = self.affine();
        let (first, rest) = input.data.split_at_mut(place.width * place.height);
        let (second, third) = rest.split_at_mut(place.width * place.height);
        let coefficients = Coefficients::new(frame.colour);
        let rows = first
            .chunks_exact_mut(place.width)
            .zip(second.chunks_exact_mut(place.width))
            .zip(third.chunks_exact_mut(place.width));
        for (y, ((a, b), c)) in rows.take(place.content_height).enumerate() {
            tables.row(frame, y, &mut self.vertical, &mut self.horizontal);
            let out =
                [&mut a[..place.content_width], &mut b[..place.content_width], &mut c[..place.content_width]];
            match frame.format {
                PixelFormat::I420 => {
                    convert(&self.horizontal, &coefficients, affine, self.spec.normalisation.channels, out)
                }
                PixelFormat::Rgb => arrange(&self.horizontal, affine, self.spec.normalisation.channels, out),
            }
        }
        Ok(())
    }

    fn affine(&self) -> Affine {
        let norm = &self.spec.normalisation;
        Affine {
            mul: std::array::from_fn(|c| norm.scale / norm.std[c]),
            add: std::array::from_fn(|c| -norm.mean[c] / norm.std[c]),
        }
    }
}

impl Tables {
    fn new(spec: &InputSpec, window: &Window, frame: &Frame) -> Tables {
        let (window_width, window_height) = window.pixels(frame.width, frame.height);
        let place = spec.place(window_width, window_height);
        let sx = frame.width as f64 * window.width() / place.content_width as f64;
        let sy = frame.height as f64 * window.height() / place.content_height as f64;
        let (left, top) = (frame.width as f64 * window.left, frame.height as f64 * window.top);
        // Chroma samples of video lie on every second luma column (their centre a quarter of a
        // chroma sample left of the pair's); those of JPEG lie between the two. Rows: between.
        let sited = if frame.colour.full_range { 0.0 } else { 0.25 };
        let (uv_width, uv_height) = (frame.width.div_ceil(2), frame.height.div_ceil(2));
        let (width, height) = (place.content_width, place.content_height);
        let (luma_span, luma_columns) = columns(frame.width, width, sx, left);
        let (uv_span, uv_columns) = columns(uv_width, width, sx / 2.0, left / 2.0 + sited);
        Tables {
            frame: (frame.width, frame.height, frame.format, frame.colour.full_range),
            placement: place,
            spans: [luma_span, uv_span],
            columns: [luma_columns, uv_columns],
            rows: [
                Taps::new(frame.height, height, sy, top),
                Taps::new(uv_height, height, sy / 2.0, top / 2.0),
            ],
        }
    }

    /// Resamples row `y` of the content: Y', Cb, Cr or R, G, B, 0..=255.
    fn row(&self, frame: &Frame, y: usize, vertical: &mut [Vec<f32>; 3], horizontal: &mut [Vec<f32>; 3]) {
        let [columns, uv_columns] = &self.columns;
        let [rows, uv_rows] = &self.rows;
        let [span, uv_span] = self.spans;
        match frame.i420() {
            Some(layout) => {
                let (luma, cb, cr) = layout.planes(&frame.pixels);
                let parts = [
                    (luma, layout.y_stride, span, rows, columns),
                    (cb, layout.uv_stride, uv_span, uv_rows, uv_columns),
                    (cr, layout.uv_stride, uv_span, uv_rows, uv_columns),
                ];
                for ((plane, stride, (from, width), rows, columns), (v, h)) in
                    parts.into_iter().zip(vertical.iter_mut().zip(horizontal))
                {
                    v.resize(width, 0.0);
                    rows.rows(&plane[from..], stride, y, v);
                    columns.across::<1>(v, 0, h);
                }
            }
            None => {
                let [v, ..] = vertical;
                let (from, width) = span;
                v.resize(width * 3, 0.0);
                rows.rows(&frame.pixels[from * 3..], frame.width * 3, y, v);
                for (channel, h) in horizontal.iter_mut().enumerate() {
                    columns.across::<3>(v, channel, h);
                }
            }
        }
    }
}

/// The columns that outputs `0..outputs`, as of [`Taps::new`], are made of: the first, how many, and the taps from there.
fn columns(inputs: usize, outputs: usize, scale: f64, offset: f64) -> ((usize, usize), Taps) {
    // Wide enough that no filter ends at the span's border where the picture goes on.
    let reach = scale.max(1.0) + 1.0;
    let from = (offset - reach).floor().clamp(0.0, inputs as f64 - 1.0) as usize;
    let to = (outputs as f64).mul_add(scale, offset + reach).ceil().clamp(from as f64 + 1.0, inputs as f64)
        as usize;
    ((from, to - from), Taps::new(to - from, outputs, scale, offset - from as f64))
}

/// One row of Y', Cb, Cr to normalised channels.
fn convert(row: &[Vec<f32>; 3], k: &Coefficients, affine: Affine, channels: Channels, out: [&mut [f32]; 3]) {
    let [y, cb, cr] = row;
    let [first, green, last] = out;
    let (red, blue) = match channels {
        Channels::Rgb => (first, last),
        Channels::Bgr => (last, first),
    };
    let (r, b) = match channels {
        Channels::Rgb => (0, 2),
        Channels::Bgr => (2, 0),
    };
    let (mul, add) = (affine.mul, affine.add);
    let samples = y.iter().zip(cb).zip(cr);
    for (((red, green), blue), ((y, cb), cr)) in red.iter_mut().zip(green).zip(blue).zip(samples) {
        let (y, cb, cr) = ((y - k.black) * k.gain, cb - 128.0, cr - 128.0);
        *red = (y + k.red_cr * cr).clamp(0.0, 255.0) * mul[r] + add[r];
        *green = (y - k.green_cb * cb - k.green_cr * cr).clamp(0.0, 255.0) * mul[1] + add[1];
        *blue = (y + k.blue_cb * cb).clamp(0.0, 255.0) * mul[b] + add[b];
    }
}

/// One row of R, G, B to normalised channels.
fn arrange(row: &[Vec<f32>; 3], affine: Affine, channels: Channels, out: [&mut [f32]; 3]) {
    let [red, green, blue] = row;
    let ordered = match channels {
        Channels::Rgb => [red, green, blue],
        Channels::Bgr => [blue, green, red],
    };
    for (((from, to), mul), add) in ordered.into_iter().zip(out).zip(affine.mul).zip(affine.add) {
        for (to, from) in to.iter_mut().zip(from) {
            *to = from * mul + add;
        }
    }
}
