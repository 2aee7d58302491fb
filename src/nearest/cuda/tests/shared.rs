//! Features that are handed over in the card's memory, on a stream that the search shares.

use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;

use super::super::engine::Engine;
use super::super::spare::WithSpare;
use super::agreement::{KINDS, engine};
use super::emulated::{EmulatedCard, Machine};
use crate::bank::{Affinity, Bank, DataType, FORMAT_WITH_RECIPE, Recipe};
use crate::gpu_stream::{GpuStock, GpuStream};
use crate::grid::{Distances, Features, Grid};
use crate::host_stream::HostStream;
use crate::nearest::gauge::Gauge;
use crate::nearest::made_up::{Noise, bank, features};
use crate::nearest::{CpuSearch, Device, Nearest, SearchConfig};

/// The same features in the card's memory only.
fn there(features: &Features, stock: &GpuStock) -> Features {
    // SAFETY: the numbers are as many as the stock's places hold, in memory that the emulated card can read.
    let numbers = unsafe { stock.copy_of(features.data.as_ptr() as u64) }.unwrap();
    Features { on_gpu: Some(Arc::new(numbers)), data: Default::default(), ..features.clone() }
}

struct Scene {
    machine: Arc<Machine>,
    stream: Arc<HostStream<Arc<Machine>>>,
    bank: Arc<Bank>,
    frame: Features,
    stock: GpuStock,
    /// What the CPU says.
    want: Vec<f32>,
}

fn scene() -> Scene {
    let mut noise = Noise::new(5);
    let bank = bank(DataType::F16, 24, &noise.many(200 * 24, 1.0, 0.0));
    let frame = Features { grid: Grid { rows: 3, cols: 5 }, ..features(24, noise.many(15 * 24, 1.0, 0.0)) };
    let machine = Machine::of(KINDS[2]);
    let stream = Arc::new(HostStream::on(Arc::clone(&machine)));
    let stock = GpuStock::new(stream.clone(), frame.data.len());
    let mut out = Distances::default();
    engine(&machine, 3, &bank, 1).unwrap().distances(&frame, &mut out).unwrap();
    Scene { machine, stream, bank, frame, stock, want: out.data.to_vec() }
}

impl Scene {
    fn shared(&self) -> Engine<EmulatedCard> {
        let mut engine = engine(&self.machine, 3, &self.bank, 1).unwrap();
        engine.share(self.stream.clone());
        engine
    }
}

#[test]
fn the_engine_takes_what_is_in_its_order_and_nothing_else() {
    let scene = scene();
    let there = there(&scene.frame, &scene.stock);
    let mut out = Distances::default();
    let mut shared = scene.shared();
    let (mut rows, mut near) = (Vec::new(), Vec::new());
    for features in [&there, &scene.frame, &there] {
        shared.distances(features, &mut out).unwrap();
        assert_eq!((&*out.data, out.grid), (&scene.want, scene.frame.grid));
        shared.neighbours(features, &mut rows, &mut near).unwrap();
        assert_eq!(near.len(), 45);
    }
    assert_eq!(scene.stream.downloads.load(SeqCst), 0, "nothing was read back");
    let mut alone = engine(&scene.machine, 3, &scene.bank, 1).unwrap();
    let why = alone.distances(&there, &mut out).unwrap_err().to_string();
    assert!(why.contains("not in memory"), "{why}");
    let wrong = Features { width: 12, ..there.clone() };
    assert!(shared.distances(&wrong, &mut out).is_err());
}

#[test]
fn a_gauge_reads_back_what_its_engines_do_not_take() {
    let scene = scene();
    let mut rows = vec![0.0; 200 * 24];
    scene.bank.features().copy_to(0, &mut rows);
    let config = SearchConfig { device: Device::Cpu, threads: 1, ..SearchConfig::default() };
    let gauge = |bank: &Arc<Bank>, shares: bool| {
        let open = |_: &_, k, references: &crate::bank::References| {
            let card = EmulatedCard::new(&scene.machine, 2, 1);
            let mut engine = Engine::new(card, k, references.clone())?;
            if shares {
                engine.share(scene.stream.clone());
            }
            Ok(Box::new(engine) as Box<dyn Nearest>)
        };
        Gauge::new(&config, bank, &open).unwrap()
    };
    let there = there(&scene.frame, &scene.stock);
    let mut out = Distances::default();
    for (shares, read_back) in [(true, 0), (false, 1)] {
        let mut gauge = gauge(&scene.bank, shares);
        assert_eq!(gauge.shares(&*scene.stream), shares);
        scene.stream.downloads.store(0, SeqCst);
        gauge.distances(&there, &mut out).unwrap();
        assert_eq!(*out.data, scene.want);
        assert_eq!(scene.stream.downloads.load(SeqCst), read_back);
    }
    // Distances that are smoothed among like patches want the features on the host.
    let mut smoothed =
        Arc::into_inner(self::bank(DataType::F16, 24, &rows)).unwrap().into_contents().unwrap();
    let affinity = Some(Affinity { part: 0, temperature: 0.3, radius: 2.0, share: 0.6 });
    smoothed.metadata.recipe = Some(Recipe { affinity, ..smoothed.metadata.recipe() });
    smoothed.metadata.format = FORMAT_WITH_RECIPE;
    let mut gauge = gauge(&Arc::new(Bank::from_contents(smoothed, 3).unwrap()), true);
    assert!(!gauge.shares(&*scene.stream));
    let mut want = Distances::default();
    gauge.distances(&scene.frame, &mut want).unwrap();
    gauge.distances(&there, &mut out).unwrap();
    assert_eq!(*out.data, *want.data);
    assert_ne!(*out.data, scene.want, "they are smoothed");
}

#[test]
fn a_search_among_changed_features_has_a_stream_of_its_own() {
    let scene = scene();
    let stream: Arc<dyn GpuStream> = scene.stream.clone();
    let mut rows = vec![0.0; 200 * 24];
    scene.bank.features().copy_to(0, &mut rows);
    let with = |recipe: &dyn Fn(&mut Recipe)| {
        let bank = self::bank(DataType::F16, 24, &rows);
        let mut contents = Arc::into_inner(bank).unwrap().into_contents().unwrap();
        let mut changed = contents.metadata.recipe();
        recipe(&mut changed);
        contents.metadata.recipe = Some(changed);
        contents.metadata.format = FORMAT_WITH_RECIPE;
        Arc::new(Bank::from_contents(contents, 3).unwrap())
    };
    let smoothed = with(&|recipe| {
        recipe.affinity = Some(Affinity { part: 0, temperature: 0.3, radius: 2.0, share: 0.6 });
    });
    for (bank, shares) in [(&scene.bank, true), (&smoothed, false)] {
        let opened = std::cell::RefCell::new(Vec::new());
        let card =
            |_: &SearchConfig, references: &crate::bank::References, given: Option<&Arc<dyn GpuStream>>| {
                opened.borrow_mut().push(given.is_some());
                let engine = Engine::new(EmulatedCard::new(&scene.machine, 2, 1), 3, references.clone())?;
                Ok(Box::new(engine) as Box<dyn Nearest>)
            };
        let config = SearchConfig { threads: 1, ..SearchConfig::default() };
        let search = crate::nearest::open_with(&config, bank, Some(&stream), &card).unwrap();
        assert!(search.fallback.is_none());
        assert_eq!(*opened.borrow(), [shares]);
    }
}

#[test]
fn a_capture_elsewhere_delays_a_frame_and_changes_nothing() {
    let scene = scene();
    let card = EmulatedCard::new(&scene.machine, 2, 1);
    let busy = Arc::clone(&card.busy);
    let engine = Engine::new(card, 3, &scene.bank).unwrap();
    let mut search = WithSpare::new(Box::new(engine), Box::new(|| panic!("the card is there")));
    let mut out = Distances::default();
    // One call that is refused costs the whole try.
    for refused in [1, 3, 0] {
        busy.store(refused, SeqCst);
        search.distances(&scene.frame, &mut out).unwrap();
        assert_eq!(*out.data, scene.want);
    }
    busy.store(usize::MAX, SeqCst);
    let why = search.distances(&scene.frame, &mut out).unwrap_err().to_string();
    assert!(why.contains("busy with the capture"), "{why}");
    busy.store(0, SeqCst);
    search.distances(&scene.frame, &mut out).unwrap();
    assert_eq!(*out.data, scene.want);
}

#[test]
fn a_lost_card_hands_the_frame_to_the_cpu() {
    let scene = scene();
    let card = EmulatedCard::new(&scene.machine, 2, 1);
    let lost = Arc::clone(&card.lost);
    let mut engine = Engine::new(card, 3, &scene.bank).unwrap();
    engine.share(scene.stream.clone());
    let bank = Arc::clone(&scene.bank);
    let spare = move || {
        let cpu = CpuSearch::with(crate::nearest::Backend::Portable, 3, 1, &bank)?;
        Ok(Box::new(cpu) as Box<dyn Nearest>)
    };
    let mut search = WithSpare::new(Box::new(engine), Box::new(spare));
    let there = there(&scene.frame, &scene.stock);
    let mut out = Distances::default();
    search.distances(&there, &mut out).unwrap();
    assert!(search.shares(&*scene.stream) && *out.data == scene.want);
    lost.store(true, SeqCst);
    for _ in 0..2 {
        search.distances(&there, &mut out).unwrap();
        assert!(!search.shares(&*scene.stream), "{}", search.name());
        for (got, want) in out.data.iter().zip(&scene.want) {
            assert!((got - want).abs() < 1e-5 * want, "{got} {want}");
        }
    }
}
