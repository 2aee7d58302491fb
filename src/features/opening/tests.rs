//! What a GPU session may have, taken step by step on the CPU, where a stream's memory is the host's.

use std::path::Path;
use std::sync::atomic::Ordering::SeqCst;

use super::*;
use crate::grid::Features;
use crate::host_stream::HostStream;

const CPU: Attempt = Attempt { provider: Provider::Cpu, precision: Precision::Fp32 };

/// Opens the demo's model of one size on the CPU and takes `steps` with it, as a GPU would.
fn opened_with(steps: &[Shortcut], stream: &Arc<HostStream>) -> (Session, Vec<String>) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/synthetic-vit.onnx");
    let config = RuntimeConfig { device: Device::CPU, threads: 1, ..RuntimeConfig::default() };
    let runtime = Runtime::load(None).unwrap();
    let loaded = model::load(&ModelConfig { path, ..ModelConfig::default() }).unwrap();
    assert!(matches!(loaded.size, SizeRule::Fixed(_)), "{}", loaded.size);
    let mut providers =
        Providers { runtime: &runtime, config: &config, loaded: &loaded, gpus: None, golden: None };
    let plain = providers.open(CPU).unwrap().session;
    let shared: Arc<dyn GpuStream> = stream.clone();
    let (session, withheld) = shortcut::apply(plain, steps, |now, step| providers.better(now, step, &shared));
    (session, withheld.iter().map(ToString::to_string).collect())
}

/// The features of the golden frame and of it reversed.
fn both(session: &mut Session) -> Vec<anyhow::Result<Features>> {
    let (width, height) = match session.input_spec().size {
        SizeRule::Fixed(size) => (size.width, size.height),
        other => panic!("{other}"),
    };
    let frame = golden::input(width, height);
    let mut reversed = frame.clone();
    reversed.data.reverse();
    let mut run = |input| {
        let mut features = Features::default();
        session.run(input, &mut features, None).map(|()| features)
    };
    vec![run(&frame), run(&reversed)]
}

#[test]
fn each_step_gives_the_same_features_and_the_last_runs_at_its_places_only() {
    use Shortcut::{Binding, Graph};
    let stream = Arc::new(HostStream::default());
    let (mut plain, _) = opened_with(&[], &stream);
    assert_eq!(stream.uploads.load(SeqCst), 0);
    let wanted = both(&mut plain);
    for steps in [&[Binding][..], &[Binding, Graph]] {
        let (mut session, withheld) = opened_with(steps, &stream);
        assert!(withheld.is_empty(), "{withheld:?}");
        session.settle();
        let before = stream.uploads.load(SeqCst);
        for (got, want) in both(&mut session).into_iter().zip(&wanted) {
            assert_eq!(*got.unwrap().data, *want.as_ref().unwrap().data);
        }
        assert_eq!(stream.uploads.load(SeqCst), before + 2);
        // What is captured must never run on other memory: its fault is told.
        stream.broken.store(true, SeqCst);
        let faults = both(&mut session).iter().filter(|run| run.is_err()).count();
        assert_eq!(faults, if steps.len() == 2 { 2 } else { 0 });
        stream.broken.store(false, SeqCst);
        assert_eq!(session.withheld().len(), if steps.len() == 2 { 0 } else { 1 });
    }
}

#[test]
fn a_graph_is_captured_in_the_thread_that_runs_and_nowhere_else() {
    let steps = [Shortcut::Binding, Shortcut::Graph];
    let ids = |stream: &HostStream| stream.threads.lock().unwrap().clone();
    let stream = Arc::new(HostStream::default());
    let (bound, _) = opened_with(&steps[..1], &stream);
    let opened = stream.uploads.load(SeqCst);
    drop(bound);
    let stream = Arc::new(HostStream::default());
    let (mut session, withheld) = opened_with(&steps, &stream);
    assert!(withheld.is_empty() && session.pending.is_some(), "{withheld:?}");
    // Only the session without a graph has run so far, and goes on to.
    assert_eq!(stream.uploads.load(SeqCst), opened);
    session.warm_up(64, 64, 1).unwrap();
    assert!(session.pending.is_some());
    assert!(!session.keep_on_gpu(true));
    stream.threads.lock().unwrap().clear();
    let before = stream.uploads.load(SeqCst);
    let (mut session, runner) = std::thread::scope(|scope| {
        let run = scope.spawn(|| {
            session.settle();
            (session, std::thread::current().id())
        });
        run.join().unwrap()
    });
    assert!(stream.uploads.load(SeqCst) > before && session.pending.is_none());
    assert!(ids(&stream).iter().all(|id| *id == runner));
    assert!(session.withheld().is_empty() && session.keep_on_gpu(false), "features stay where they were");

    // Where it fails, the session runs as before and says why.
    let stream = Arc::new(HostStream::default());
    let (mut session, _) = opened_with(&steps, &stream);
    stream.forgetful.store(true, SeqCst);
    session.settle();
    assert_eq!(session.withheld().len(), 1, "{:?}", session.withheld());
    assert_eq!(session.withheld()[0].shortcut, Shortcut::Graph);
    stream.forgetful.store(false, SeqCst);
    assert!(both(&mut session).iter().all(Result::is_ok));
}

#[test]
fn a_stream_that_loses_its_inputs_is_noticed_before_the_session_goes_live() {
    let stream = Arc::new(HostStream::default());
    stream.forgetful.store(true, SeqCst);
    let (mut session, withheld) = opened_with(&[Shortcut::Binding, Shortcut::Graph], &stream);
    assert_eq!(withheld.len(), 2);
    assert!(withheld[0].contains("% of their length"), "{withheld:?}");
    assert!(session.stream().is_none() && both(&mut session).iter().all(Result::is_ok));
}

#[test]
fn without_a_stream_a_session_is_as_it_was() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/synthetic-vit.onnx");
    let config = RuntimeConfig { device: Device::CPU, threads: 1, ..RuntimeConfig::default() };
    let model = ModelConfig { path, ..ModelConfig::default() };
    let session = open(&model, &config, None).unwrap();
    let runtime = Runtime::load(None).unwrap();
    let loaded = model::load(&model).unwrap();
    let mut providers =
        Providers { runtime: &runtime, config: &config, loaded: &loaded, gpus: None, golden: None };
    let (session, withheld) = shortcut::apply(session, &[Shortcut::Binding], |now, _| {
        Err(Box::new((now, "there is no GPU".to_owned())))
    });
    assert_eq!(withheld[0].why, "there is no GPU");
    assert!(session.stream().is_none() && providers.golden().is_ok());
}
