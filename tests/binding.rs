//! Sessions with inputs and outputs at fixed places, against the same without: here the places are in the host's memory,
//! on the CPU provider. On a GPU the same code runs with other memory.
#![allow(clippy::unwrap_used, reason = "a test may fail anywhere")]

use crate::support::host_stream;
use crate::support::tiny_model;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;

use farout::features::{Device, ModelInput, Placement, RuntimeConfig, Session, Shortcut};
use farout::gpu_stream::{Gpu, GpuStream, Gpus};
use farout::grid::{Features, Grid, Logits};
use farout::model::ModelConfig;
use host_stream::HostStream;
use tiny_model::{CLASSES, Tiny, WIDTH, weights};

/// Anything but the same bits is a fault here.
const TOLERANCE: f32 = 0.0;

fn open(path: &Path, features: &str) -> Session {
    let model = ModelConfig {
        path: path.to_owned(),
        features: Some(features.into()),
        logits: Some("logits".into()),
        ..Default::default()
    };
    let runtime = RuntimeConfig { device: Device::CPU, threads: 1, ..Default::default() };
    Session::open(&model, &runtime).unwrap()
}

/// A session as it is and one at fixed places.
fn pair(features: &str, tiny: Tiny) -> (Session, Session, Arc<HostStream>) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("tiny.onnx");
    tiny.write(&path);
    let (plain, mut bound) = (open(&path, features), open(&path, features));
    let stream = Arc::new(HostStream::default());
    bound.bind(stream.clone(), TOLERANCE);
    (plain, bound, stream)
}

fn input(width: usize, height: usize, seed: u32) -> ModelInput {
    let mut input = ModelInput::default();
    input.reset(Placement { width, height, content_width: width, content_height: height });
    let noise = weights(input.data.len(), seed);
    input.data.iter_mut().zip(noise).for_each(|(x, noise)| *x = 40.0 * noise);
    input
}

fn run(session: &mut Session, input: &ModelInput) -> (Features, Logits) {
    let (mut features, mut logits) = (Features::default(), Logits::default());
    session.run(input, &mut features, Some(&mut logits)).unwrap();
    (features, logits)
}

fn same(plain: &mut Session, bound: &mut Session, input: &ModelInput) {
    let (want, got) = (run(plain, input), run(bound, input));
    assert_eq!((got.0.grid, got.0.width, got.1.grid), (want.0.grid, want.0.width, want.1.grid));
    assert_eq!(*got.0.data, *want.0.data, "features");
    assert_eq!(*got.1.data, *want.1.data, "logits");
    assert!(got.0.on_gpu.is_none() && !got.0.data.is_empty() && got.1.classes == CLASSES);
}

#[test]
fn features_and_logits_are_the_same_bits_run_after_run_and_size_after_size() {
    for layout in ["map", "tokens"] {
        let (mut plain, mut bound, stream) = pair(layout, Tiny::default());
        for (seed, (width, height)) in
            [(64, 64), (64, 64), (64, 64), (128, 64), (128, 64), (64, 64), (96, 40), (96, 40)]
                .into_iter()
                .enumerate()
        {
            same(&mut plain, &mut bound, &input(width, height, seed as u32));
        }
        assert!(bound.withheld().is_empty(), "{:?}", bound.withheld());
        // Each run but the first of a size is at its places; the places are tried once more when they are made.
        assert_eq!(stream.uploads.load(SeqCst), 4 + 4, "{layout}");
        assert!(bound.stream().is_some());
        drop(bound);
        assert_eq!((stream.pieces(), Arc::strong_count(&stream)), (0, 1), "all is given back");
    }
}

#[test]
fn what_fails_both_ways_costs_that_frame_only() {
    let (mut plain, mut bound, stream) = pair("tokens", Tiny::default());
    same(&mut plain, &mut bound, &input(64, 64, 1));
    let mut short = input(64, 64, 2);
    short.data.truncate(100);
    let (mut features, mut logits) = (Features::default(), Logits::default());
    for _ in 0..3 {
        assert!(bound.run(&short, &mut features, Some(&mut logits)).is_err());
    }
    // The places are still used.
    let before = stream.uploads.load(SeqCst);
    same(&mut plain, &mut bound, &input(64, 64, 3));
    assert!(bound.withheld().is_empty() && stream.uploads.load(SeqCst) == before + 1);
}

#[test]
fn places_that_cannot_be_used_are_given_up_and_the_frame_is_right_all_the_same() {
    type Fault = fn(&HostStream);
    let faults: [(&str, Fault, &str); 2] = [
        ("broken", |stream| stream.broken.store(true, SeqCst), "the cable is out"),
        ("forgetful", |stream| stream.forgetful.store(true, SeqCst), "% of their length"),
    ];
    for (name, fault, word) in faults {
        // From the start on: the comparison notices.
        let (mut plain, mut bound, stream) = pair("tokens", Tiny::default());
        fault(&stream);
        for seed in 0..3 {
            same(&mut plain, &mut bound, &input(64, 64, seed));
        }
        let [withheld] = bound.withheld() else { panic!("{name}: {:?}", bound.withheld()) };
        assert_eq!(withheld.shortcut, Shortcut::Binding);
        assert!(withheld.why.contains(word), "{name}: {withheld}");
        assert!(bound.stream().is_none() && stream.uploads.load(SeqCst) == 1, "{name}: tried once");
    }
    // In mid-stream: the frame that fails is run again without.
    let (mut plain, mut bound, stream) = pair("tokens", Tiny::default());
    for seed in 0..4 {
        stream.broken.store(seed == 2, SeqCst);
        same(&mut plain, &mut bound, &input(64, 64, seed));
    }
    assert!(bound.withheld()[0].why.contains("fixed places: the cable is out"), "{:?}", bound.withheld());
    assert_eq!(stream.uploads.load(SeqCst), 3, "given up for good");
}

#[test]
fn sizes_that_go_on_changing_end_it() {
    let (mut plain, mut bound, _stream) = pair("tokens", Tiny::default());
    for seed in 0..12 {
        same(&mut plain, &mut bound, &input(64 + 8 * seed as usize, 64, seed));
    }
    assert!(bound.withheld()[0].why.contains("changed 8 times"), "{:?}", bound.withheld());
}

#[test]
fn features_stay_there_where_nothing_has_to_be_cut_off() {
    let (mut plain, mut bound, stream) = pair("tokens", Tiny::default());
    bound.keep_on_gpu(true);
    let inputs: Vec<ModelInput> = (0..4).map(|seed| input(64, 48, seed)).collect();
    let wanted: Vec<Features> = inputs.iter().map(|input| run(&mut plain, input).0).collect();
    assert!(run(&mut bound, &inputs[0]).0.on_gpu.is_none(), "the first run is without places");
    let downloads = stream.downloads.load(SeqCst);
    // All frames are held while the next ones run: none overwrites another.
    let mut held = Vec::new();
    for input in &inputs {
        let mut features = Features::default();
        bound.run(input, &mut features, None).unwrap();
        assert!(features.data.is_empty() && features.on_gpu.is_some());
        assert_eq!((features.grid, features.width), (Grid { rows: 6, cols: 8 }, WIDTH));
        held.push(features);
    }
    assert_eq!(stream.downloads.load(SeqCst), downloads, "nothing was read back");
    assert_eq!(stream.pieces(), 4);
    for (features, want) in held.iter().zip(&wanted) {
        let mut copy = Features::default();
        assert_eq!(*features.on_host(&mut copy).unwrap().data, *want.data);
    }
    // Places go round.
    drop(held);
    run(&mut bound, &inputs[1]);
    assert_eq!(stream.pieces(), 4);
    // Columns of padding have to be cut off, rows at the bottom not.
    let mut padded = inputs[2].clone();
    padded.placement.content_width = 56;
    let (features, want) = (run(&mut bound, &padded).0, run(&mut plain, &padded).0);
    assert!(features.on_gpu.is_none());
    assert_eq!(*features.data, *want.data);
    padded.placement = Placement { content_width: 64, content_height: 32, ..padded.placement };
    let (features, want) = (run(&mut bound, &padded).0, run(&mut plain, &padded).0);
    let mut copy = Features::default();
    assert!(features.on_gpu.is_some());
    assert_eq!(*features.on_host(&mut copy).unwrap().data, *want.data);
    assert_eq!(features.grid, Grid { rows: 4, cols: 8 });
    // They outlive the session.
    drop(bound);
    assert_eq!(*features.on_host(&mut Features::default()).unwrap().data, *want.data);
    drop(features);
    assert_eq!((stream.pieces(), Arc::strong_count(&stream)), (0, 1));
    // A map has to be transposed.
    let (_, mut bound, _stream) = pair("map", Tiny::default());
    bound.keep_on_gpu(true);
    for input in &inputs {
        assert!(run(&mut bound, input).0.on_gpu.is_none());
    }
}

struct Unasked;

impl Gpus for Unasked {
    fn gpu(&self, _: usize) -> Result<Gpu, String> {
        panic!("a GPU is asked for");
    }

    fn stream(&self, _: usize) -> Result<Arc<dyn GpuStream>, String> {
        panic!("a stream is asked for");
    }
}

#[test]
fn a_session_on_the_cpu_asks_for_no_gpu() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("tiny.onnx");
    Tiny::default().write(&path);
    let model = ModelConfig { path, features: Some("tokens".into()), ..Default::default() };
    let runtime = RuntimeConfig { device: Device::CPU, cuda_graph: true, ..Default::default() };
    let session = Session::open_on(&model, &runtime, &Unasked).unwrap();
    assert!(session.stream().is_none() && session.withheld().is_empty());
}
