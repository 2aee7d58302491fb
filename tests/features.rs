//! Models and sessions on a tiny model, with a real ONNX Runtime. They need its library and fail
//! with the remedy where it is missing.
#![allow(clippy::unwrap_used, reason = "a test may fail anywhere")]

use crate::support::tiny_model;

use std::path::Path;

use farout::features::{Device, InputSpec, ModelInput, Preprocessor, RuntimeConfig, Session, findings};
use farout::finding::Standing;
use farout::frame::{Colour, Frame, Matrix, PixelFormat};
use farout::grid::{Features, Grid, Logits};
use farout::model::{self, Channels, InputSize, ModelConfig, SizeRule, SkipTokens};
use farout::pool::Pool;
use farout::views::Window;
use prost::Message;
use tiny_model::{CLASSES, Tiny, WIDTH, weights};

fn cpu() -> RuntimeConfig {
    RuntimeConfig { device: Device::CPU, threads: 1, ..Default::default() }
}

fn config(path: &Path, features: &str) -> ModelConfig {
    ModelConfig { path: path.to_owned(), features: Some(features.into()), ..Default::default() }
}

/// A picture with structure at every scale, reproducible.
fn picture(format: PixelFormat, width: usize, height: usize) -> Frame {
    let mut frame = Frame::take(&Pool::new(), format, width, height);
    let noise = weights(frame.pixels.len(), 3);
    for (i, (pixel, noise)) in frame.pixels.iter_mut().zip(noise).enumerate() {
        *pixel = (100.0 + 90.0 * (i as f32 / 97.0).sin() + 400.0 * noise) as u8;
    }
    frame
}

fn run(session: &mut Session, frame: &Frame) -> (ModelInput, Features) {
    let (mut input, mut features) = (ModelInput::default(), Features::default());
    Preprocessor::new(session.input_spec()).step(frame, &mut input).unwrap();
    session.run(&input, &mut features, None).unwrap();
    (input, features)
}

/// The features that `Tiny` must give for a patch, by its formula.
fn expected(input: &ModelInput, patch: usize, row: usize, col: usize) -> Vec<f32> {
    let kernel = weights(WIDTH * 3 * patch * patch, 7);
    let (w, h) = (input.placement.width, input.placement.height);
    let one = |kernel: &[f32]| {
        let taps = kernel.iter().enumerate().map(|(i, k)| {
            let (c, y, x) = (i / (patch * patch), i / patch % patch, i % patch);
            f64::from(*k) * f64::from(input.data[c * w * h + (row * patch + y) * w + col * patch + x])
        });
        taps.sum::<f64>().tanh() as f32
    };
    kernel.chunks_exact(3 * patch * patch).map(one).collect()
}

#[test]
fn inner_tensors_come_out_and_the_rest_does_not_run() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("tiny.onnx");
    Tiny::default().write(&path);
    let frame = picture(PixelFormat::I420, 101, 59);
    let mut first: Option<Features> = None;
    for tensor in ["map", "tokens"] {
        let mut session = Session::open(&config(&path, tensor), &cpu()).unwrap();
        assert_eq!((session.identity().patch, session.identity().width), (8, WIDTH), "{tensor}");
        assert_eq!(session.provider(), "cpu");
        let (input, features) = run(&mut session, &frame);
        assert_eq!((features.grid, features.width), (Grid { rows: 7, cols: 13 }, WIDTH), "{tensor}");
        for (row, col) in [(0, 0), (6, 12), (3, 5)] {
            let got = &features.data[(row * 13 + col) * WIDTH..][..WIDTH];
            for (got, want) in got.iter().zip(expected(&input, 8, row, col)) {
                assert!((got - want).abs() < 1e-4, "{tensor} patch {row},{col}: {got} {want}");
            }
        }
        // Frames may change size in mid-stream; the same frame gives the same bytes again.
        assert_eq!(run(&mut session, &picture(PixelFormat::Rgb, 64, 200)).1.grid, Grid { rows: 25, cols: 8 });
        assert_eq!(*run(&mut session, &frame).1.data, *features.data);
        if let Some(first) = &first {
            assert_eq!(*first.data, *features.data, "a map and its tokens hold the same");
        }
        first = Some(features);
    }
}

#[test]
fn padding_never_leaves_the_session() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("fixed.onnx");
    Tiny { size: Some((128, 64)), baked: true, ..Default::default() }.write(&path);
    let mut asked = config(&path, "tokens");
    asked.logits = Some("logits".into());
    let mut session = Session::open(&asked, &cpu()).unwrap();
    assert_eq!((session.identity().input_size.as_str(), session.classes()), ("fixed 128x64", Some(CLASSES)));
    // 100x100 fits as 64x64: 8 x 8 of the 8 x 16 patches.
    let (input, features) = run(&mut session, &picture(PixelFormat::Rgb, 100, 100));
    assert_eq!(features.grid, Grid { rows: 8, cols: 8 });
    for (row, col) in [(0, 0), (7, 7)] {
        let got = &features.data[(row * 8 + col) * WIDTH..][..WIDTH];
        for (got, want) in got.iter().zip(expected(&input, 8, row, col)) {
            assert!((got - want).abs() < 1e-4);
        }
    }
    assert!(input.data.chunks_exact(128).all(|row| row[64..].iter().all(|x| *x == 0.0)));
    let mut logits = Logits::default();
    session.run(&input, &mut Features::default(), Some(&mut logits)).unwrap();
    assert_eq!(
        (logits.classes, logits.grid, logits.data.len()),
        (CLASSES, Grid { rows: 8, cols: 8 }, CLASSES * 64)
    );
    let head = weights(CLASSES * WIDTH, 11);
    let patch = &features.data[9 * WIDTH..10 * WIDTH];
    let want: f32 = patch.iter().zip(&head[2 * WIDTH..]).map(|(f, w)| f * w).sum();
    assert!((logits.data[2 * 64 + 9] - want).abs() < 1e-5);
    // Another size is asked for, but the graph does not run on it: said at once.
    asked.size = Some(InputSize { width: 256, height: 64 });
    let fault = format!("{:#}", Session::open(&asked, &cpu()).unwrap_err());
    assert!(fault.contains("asks for 256x64") && fault.contains("declares 128x64"), "{fault}");
}

#[test]
fn a_declared_size_that_is_not_baked_in_is_overridden() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("declared.onnx");
    Tiny { size: Some((64, 64)), ..Default::default() }.write(&path);
    let mut asked = config(&path, "tokens");
    asked.height = Some(120);
    let mut session = Session::open(&asked, &cpu()).unwrap();
    assert_eq!(run(&mut session, &picture(PixelFormat::I420, 640, 360)).1.grid, Grid { rows: 15, cols: 27 });
    asked.multiple = Some(40);
    let mut session = Session::open(&asked, &cpu()).unwrap();
    assert_eq!(run(&mut session, &picture(PixelFormat::I420, 640, 360)).1.grid, Grid { rows: 15, cols: 25 });
}

#[test]
fn a_file_may_carry_its_own_section() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("own.onnx");
    let mut model = Tiny { unrelated: false, ..Default::default() }.model();
    let entry = |key: &str, value: &str| model::onnx::StringStringEntryProto {
        key: Some(key.into()),
        value: Some(value.into()),
    };
    model
        .metadata_props
        .push(entry(model::METADATA_KEY, "features = 'tokens'\nheight = 64\nmean = [0.5, 0.5, 0.5]"));
    std::fs::write(&path, model.encode_to_vec()).unwrap();
    let bare = ModelConfig { path: path.clone(), ..Default::default() };
    let session = Session::open(&bare, &cpu()).unwrap();
    assert_eq!(
        (session.identity().features.as_str(), session.identity().input_size.as_str()),
        ("tokens", "height 64")
    );
    assert!(session.identity().normalisation.contains("0.5, 0.5, 0.5"));
    // Without a section, the only output is taken.
    model.metadata_props.clear();
    std::fs::write(&path, model.encode_to_vec()).unwrap();
    assert_eq!(Session::open(&bare, &cpu()).unwrap().identity().features, "map");
}

#[test]
fn unfit_models_and_sections_are_explained() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("tiny.onnx");
    Tiny::default().write(&path);
    let good = config(&path, "tokens");
    let absent = dir.path().join("absent.onnx");
    let cases: [(ModelConfig, &[&str]); 9] = [
        (ModelConfig::default(), &["no model is configured"]),
        (config(&absent, "x"), &["absent.onnx", "No such file"]),
        (config(&path, "token"), &["no tensor \"token\"", "closest names are: tokens", "unrelated"]),
        (config(&path, "unrelated"), &["cannot use the model", "unrelated", "Reshape"]),
        (ModelConfig { features: None, ..good.clone() }, &["cannot use the model", "Reshape"]),
        (ModelConfig { skip_tokens: Some(SkipTokens::Count(3)), ..good.clone() }, &["tokens", "skip_tokens"]),
        (ModelConfig { size: "8x8".parse().ok(), height: Some(8), ..good.clone() }, &["exclude each other"]),
        (ModelConfig { std: Some([0.2, 0.0, 0.2]), ..good.clone() }, &["std", "positive"]),
        (ModelConfig { logits: Some("logit".into()), ..good.clone() }, &["closest names are: logits"]),
    ];
    for (config, words) in cases {
        let fault = format!("{:#}", Session::open(&config, &cpu()).map(|s| s.describe()).unwrap_err());
        for word in words {
            assert!(fault.contains(word), "{config:?}: {fault} lacks {word}");
        }
    }
}

#[test]
fn the_rewritten_model_keeps_what_is_needed_only() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("tiny.onnx");
    Tiny::default().write(&path);
    let loaded = model::load(&config(&path, "tokens")).unwrap();
    assert_eq!(loaded.patch_hint, Some(8));
    assert_eq!(loaded.nodes, (7, 8), "the cast in; head and the broken output out");
    let graph = model::read::decode(&loaded.bytes).unwrap().graph.unwrap();
    assert!(graph.output.len() == 1 && graph.initializer.iter().all(|tensor| tensor.name() != "head"));
    assert_eq!(loaded.sha256.len(), 64);
}

#[test]
fn colours_arrive_in_the_models_order_and_range() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("tiny.onnx");
    Tiny::default().write(&path);
    let mut asked = config(&path, "map");
    (asked.mean, asked.std) = (Some([0.0; 3]), Some([1.0; 3]));
    let spec = |channels| {
        let asked = ModelConfig { channels: Some(channels), ..asked.clone() };
        *Session::open(&asked, &cpu()).unwrap().input_spec()
    };
    let (bt601, bt709) = (Matrix::Bt601, Matrix::Bt709);
    // Y', Cb, Cr, matrix, full range: R, G, B of 255, by the standards' tables of colour bars.
    let cases = [
        ((235, 128, 128), bt601, false, [255.0, 255.0, 255.0]),
        ((16, 128, 128), bt709, false, [0.0, 0.0, 0.0]),
        ((81, 90, 240), bt601, false, [255.0, 0.0, 0.0]),
        ((63, 102, 240), bt709, false, [255.0, 0.0, 0.0]),
        ((173, 42, 26), bt709, false, [0.0, 255.0, 0.0]),
        ((76, 85, 255), bt601, true, [255.0, 0.0, 0.0]),
        ((29, 255, 107), bt601, true, [0.0, 0.0, 255.0]),
    ];
    for channels in [Channels::Rgb, Channels::Bgr] {
        let mut preprocessor = Preprocessor::new(&spec(channels));
        for ((y, cb, cr), matrix, full_range, mut rgb) in cases {
            let mut frame = Frame::take(&Pool::new(), PixelFormat::I420, 37, 21);
            frame.colour = Colour { matrix, full_range };
            let layout = frame.i420().unwrap();
            let (luma, u, v) = layout.planes_mut(&mut frame.pixels);
            luma.fill(y);
            u.fill(cb);
            v.fill(cr);
            let mut input = ModelInput::default();
            preprocessor.step(&frame, &mut input).unwrap();
            if channels == Channels::Bgr {
                rgb.reverse();
            }
            for (plane, want) in input.data.chunks_exact(input.data.len() / 3).zip(rgb) {
                assert!(
                    plane.iter().all(|x| (x * 255.0 - want).abs() < 2.5),
                    "{y} {cb} {cr} {matrix:?}: {} {want}",
                    plane[0] * 255.0
                );
            }
        }
    }
}

/// A fixed size and one by height, in units of 8 pixels.
fn specs() -> [InputSpec; 2] {
    let normalisation = ModelConfig { mean: Some([0.0; 3]), std: Some([1.0; 3]), ..Default::default() };
    let spec = |size| InputSpec { size, unit: 8, normalisation: normalisation.normalisation() };
    [spec(SizeRule::Height(48)), spec(SizeRule::Fixed(InputSize { width: 64, height: 64 }))]
}

/// A picture that gets brighter by the pixel has inputs that get brighter likewise, wherever a window begins: at odd
/// pixels, between pixels, in odd pictures, at their borders.
#[test]
fn windows_show_their_part_of_the_picture() {
    let window = |left, top, right, bottom| Window { left, top, right, bottom };
    let windows = [
        Window::WHOLE,
        window(0.2, 0.35, 0.8, 0.65),
        window(0.0, 0.0, 4.0 / 7.0, 1.0),
        window(3.0 / 7.0, 0.5, 1.0, 1.0),
        window(1.0 / 3.0, 1.0 / 7.0, 1.0 / 3.0 + 0.111, 0.9),
    ];
    for (format, width, height) in [
        (PixelFormat::Rgb, 180, 120),
        (PixelFormat::Rgb, 177, 61),
        (PixelFormat::I420, 180, 120),
        (PixelFormat::I420, 177, 61),
        (PixelFormat::I420, 23, 17),
    ] {
        let mut frame = Frame::take(&Pool::new(), format, width, height);
        frame.colour = Colour { matrix: Matrix::Bt601, full_range: true };
        let value = |x: usize, y: usize| (x + y / 2) as u8;
        match frame.i420() {
            Some(layout) => {
                let (luma, cb, cr) = layout.planes_mut(&mut frame.pixels);
                cb.fill(128);
                cr.fill(128);
                for y in 0..height {
                    (0..width).for_each(|x| luma[y * layout.y_stride + x] = value(x, y));
                }
            }
            None => {
                for (i, pixel) in frame.pixels.chunks_exact_mut(3).enumerate() {
                    pixel.fill(value(i % width, i / width));
                }
            }
        }
        for (spec, window) in specs().iter().flat_map(|spec| windows.iter().map(move |w| (spec, w))) {
            let mut input = ModelInput::default();
            Preprocessor::of_window(spec, *window).step(&frame, &mut input).unwrap();
            let place = input.placement;
            let (w, h) = window.pixels(width, height);
            assert_eq!(place, spec.place(w, h), "as a frame of {w}x{h}");
            for y in 0..place.content_height {
                for x in 0..place.content_width {
                    let at = |from: f64, share: f64, i: usize, n: usize, pixels: usize| {
                        (from + (i as f64 + 0.5) / n as f64 * share) * pixels as f64 - 0.5
                    };
                    let px = at(window.left, window.width(), x, place.content_width, width);
                    let py = at(window.top, window.height(), y, place.content_height, height);
                    let scale =
                        (w as f64 / place.content_width as f64).max(h as f64 / place.content_height as f64);
                    // Filters that reach over the picture's border see less of it.
                    let near = |at: f64, pixels: usize| at < scale + 1.0 || at > pixels as f64 - scale - 2.0;
                    let slack = if near(px, width) || near(py, height) { scale + 2.0 } else { 1.0 };
                    let want = px.max(0.0) + (py.max(0.0) / 2.0);
                    let got = f64::from(input.data[y * place.width + x]) * 255.0;
                    assert!(
                        (got - want).abs() < slack,
                        "{format:?} {width}x{height} {window:?} at {x} {y}: {got}, not {want}"
                    );
                }
            }
        }
    }
}

#[test]
fn a_window_of_whole_pixels_is_the_cut_out_picture() {
    let frame = picture(PixelFormat::Rgb, 160, 96);
    let mut cut = Frame::take(&Pool::new(), PixelFormat::Rgb, 80, 48);
    for (row, to) in cut.pixels.chunks_exact_mut(80 * 3).enumerate() {
        to.copy_from_slice(&frame.pixels[((row + 24) * 160 + 40) * 3..][..80 * 3]);
    }
    let (spec, window) = (&specs()[0], Window { left: 0.25, top: 0.25, right: 0.75, bottom: 0.75 });
    let (mut from_window, mut from_cut) = (ModelInput::default(), ModelInput::default());
    Preprocessor::of_window(spec, window).step(&frame, &mut from_window).unwrap();
    Preprocessor::new(spec).step(&cut, &mut from_cut).unwrap();
    assert_eq!(from_window.placement, from_cut.placement);
    assert_eq!(from_window.data, from_cut.data, "at its own size no filter reaches beyond a pixel");
    let (sliver, mut input) = (Window { right: 0.252, ..window }, ModelInput::default());
    let why = Preprocessor::of_window(spec, sliver).step(&frame, &mut input).unwrap_err().to_string();
    assert!(why.contains("0x48 pixels of the 160x96 frame"), "{why}");
}

#[test]
fn devices_that_are_not_there_are_named_with_reasons() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("tiny.onnx");
    Tiny::default().write(&path);
    let all = findings(&RuntimeConfig::default());
    let standing = |name: &str| all.iter().find(|f| f.name == name).map(|f| f.standing);
    assert_eq!(
        (standing("library"), standing("cpu")),
        (Some(Standing::Good), Some(Standing::Good)),
        "{all:?}"
    );
    let auto =
        Session::open(&config(&path, "map"), &RuntimeConfig { threads: 1, ..Default::default() }).unwrap();
    if standing("cuda") == Some(Standing::Absent) {
        assert!(all.iter().all(|f| f.standing == Standing::Good || f.remedy.is_some()));
        let insisting =
            RuntimeConfig { device: Device::Only(farout::features::Provider::Cuda), ..Default::default() };
        let fault = format!(
            "{:#}",
            Session::open(&config(&path, "map"), &insisting).map(|s| s.describe()).unwrap_err()
        );
        assert!(fault.contains("device = \"cuda\""), "{fault}");
        assert_eq!(findings(&insisting)[2].standing, Standing::Bad);
        if standing("tensorrt") == Some(Standing::Absent) {
            // Two precisions of each, and OpenVINO.
            assert_eq!((auto.provider(), auto.fallbacks().len()), ("cpu", 5));
        }
    }
}
