//! What is marked as normal alarms no more, and the rest does: on the drive, by kinds of things.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use crate::support::given::text;
use crate::support::program::farout;
use farout::bank::{Look, Mark, Supplement, SupplementConfig, Supplements};
use farout::config::Config;
use farout::detector::{Detector, Judged, Looks, Record};
use farout::flow::{Flow, Pace, Stage};
use farout::health::Health;
use farout::source::{self, Purpose, SourceConfig};
use farout::stop::Stop;

/// A stranger counts from so many pixels on.
const LEAST: usize = 300;
/// It alarms if so much of it lies above the threshold.
const SHARE: f64 = 0.3;

/// The shipped detector of the drive, with fewer references: the search is slow where nothing is optimised.
fn config() -> &'static Config {
    static CONFIG: OnceLock<(tempfile::TempDir, Config)> = OnceLock::new();
    let made = || {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let dir = tempfile::tempdir().unwrap();
        let (whole, bank) = (root.join("models/synthetic.bank"), dir.path().join("small.bank"));
        let from = ["bank", "prune", "-i", text(&whole), "-o", text(&bank)];
        farout([&from[..], &["--to", "4000", "--method", "random"]].concat()).succeeded();
        let model = root.join("models/synthetic-vit.onnx");
        let text = format!(
            "[model]\npath = {model:?}\n[bank]\npath = {bank:?}\n[runtime]\nproviders = [\"cpu\"]\n[score]\nthreshold = 3.6\n"
        );
        (dir, toml::from_str(&text).unwrap())
    };
    &CONFIG.get_or_init(made).1
}

/// What is found in a frame, with its truth.
struct Found {
    /// Of each stranger that is large enough: pixels, and those of them above the threshold.
    strangers: BTreeMap<u8, (usize, usize)>,
    frame: u64,
    /// Looks of regions that lie on strangers for the most part.
    looks: Vec<Look>,
}

struct End {
    looks: Looks,
    give: Sender<Found>,
}

impl Stage for End {
    type In = Judged;
    type Out = ();

    fn step(&mut self, judged: Judged) -> anyhow::Result<()> {
        let (frame, verdict) = (&judged.frame, judged.verdict.as_ref().unwrap());
        let truth = &frame.truth.as_ref().unwrap().stranger;
        let mut strangers: BTreeMap<u8, (usize, usize)> = BTreeMap::new();
        for (id, score) in truth.iter().zip(verdict.scores.data.iter()).filter(|(id, _)| **id > 0) {
            let one = strangers.entry(*id).or_default();
            one.0 += 1;
            one.1 += usize::from(*score > verdict.scale.threshold);
        }
        strangers.retain(|_, (pixels, _)| *pixels >= LEAST);
        let seen = self.looks.last(0).into_iter().find(|seen| seen.frame == frame.id);
        let on_stranger = |x: u32, y: u32| truth[y as usize * frame.width + x as usize] > 0;
        let mut looks = Vec::new();
        for (region, look) in seen.iter().flat_map(|seen| seen.regions.iter().take(seen.above)) {
            let rect = region.rect;
            let all = (rect.y..rect.y + rect.height)
                .flat_map(|y| (rect.x..rect.x + rect.width).map(move |x| (x, y)));
            let share =
                all.filter(|(x, y)| on_stranger(*x, *y)).count() as f64 / f64::from(rect.width * rect.height);
            if share > 0.4 {
                looks.push(look.clone());
            }
        }
        self.give.send(Found { strangers, frame: frame.id, looks })?;
        Ok(())
    }
}

/// Judges a drive; what is found in its frames.
fn judged(source: &str, supplements: &Supplements) -> Vec<Found> {
    let config = config();
    let mut detector = Detector::open_beside(config, Some(supplements.clone())).unwrap();
    detector.keep_features();
    detector.alarms.add(0, &config.score).unwrap();
    let stop = Stop::new();
    let frames = source::open(source, &SourceConfig::default(), Purpose::Offline, stop.clone()).unwrap();
    let frames = Flow::from_source(frames, Pace::Offline, Arc::new(Health::new()), stop).unwrap();
    let looks = Looks::default();
    looks.keep(0);
    let (give, take) = channel();
    let record = Record { looks: Some(looks.clone()), ..Record::default() };
    let judged = detector.chain(frames).unwrap().stage("record", record).unwrap();
    judged.run("end", End { looks, give }, Duration::from_secs(10)).unwrap();
    take.into_iter().collect()
}

/// How many strangers alarm, of how many, over all frames.
fn alarming(found: &[Found]) -> (usize, usize) {
    let all = found.iter().flat_map(|one| one.strangers.values());
    let alarms = all.clone().filter(|(pixels, above)| *above as f64 > SHARE * *pixels as f64).count();
    (alarms, all.count())
}

fn mark(id: String) -> Mark {
    let rect = farout::region::Rect::default();
    Mark {
        id,
        stream: None,
        event: false,
        seen: None,
        marked: None,
        rect,
        frame_size: (640, 360),
        grid: (18, 32),
        peak: None,
        rows: 0,
    }
}

#[test]
fn the_marked_kind_falls_silent_and_the_others_do_not() {
    let none = Supplements::open(&SupplementConfig::default()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let kept = SupplementConfig { folder: Some(folder.path().to_owned()), size: 50_000 };
    let marked = Supplements::open(&kept).unwrap();
    let barrels = "synthetic:seed=31,kinds=barrel,frames=40,stride=2";
    let drive = |kinds: &str, seed: u32| format!("synthetic:seed={seed},kinds={kinds},frames=24,stride=41");
    let kinds = "animal+sofa+ladder+carton+trolley+log+rubble+tent";
    let model = farout::detector::open_session(config()).unwrap().identity().clone();
    let first = judged(barrels, &none);
    // Twice a second, as events are looked at.
    let looks = first.iter().filter(|one| one.frame % 8 == 0 && !one.looks.is_empty());
    for one in looks {
        let one = Supplement::of(&model, mark(format!("barrels-{}", one.frame)), &one.looks);
        marked.add(one).unwrap();
    }
    // What another process would find there.
    let marked = Supplements::existing(&kept).unwrap().unwrap();
    let told = |what: &str, source: &str| {
        let (before, after) = (alarming(&judged(source, &none)), alarming(&judged(source, &marked)));
        println!("{what}: {} of {} alarmed before, {} after", before.0, before.1, after.0);
        (before.0, after.0)
    };
    let same = told("the marked barrels", barrels);
    assert!(same.0 >= 40 && same.1 * 5 <= same.0, "{same:?}");
    told("barrels of another drive", &drive("barrel", 32));
    told("tyres", &drive("tyre", 35));
    let others = [33, 34].map(|seed| told("other kinds", &drive(kinds, seed)));
    let (before, after) = (others[0].0 + others[1].0, others[0].1 + others[1].1);
    assert!(before >= 20 && after * 4 >= before * 3, "{others:?}");
}
