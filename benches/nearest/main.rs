//! The search beside its peers, on the same numbers, in one run: `benches/nearest.sh [OPTIONS]`, which makes the
//! peers' Python environment and calls `cargo bench --bench nearest -- OPTIONS`.
//!
//! `--full` runs the whole grid (an hour), `--backend NAME` forces a backend (may be repeated), `--features DIR` names
//! the folder of real features (see `docs/results/search.md`), `--python FILE` the interpreter with the peers,
//! `--threads N` is 2 by default, `--seconds S` (1) how long each is timed, `--only gaussian` or `--only real` runs one half.
//! `--goals` runs three Gaussian problems only. `--processor-time` counts processor time instead of the time that passes: for a
//! machine that is not idle, with `--threads 1`, since waiting threads of the peers burn it.
//! Writes `target/bench/nearest.json`, or the file given with `--out`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use farout::bank::Bank;
use farout::file::write_whole;

mod data;
#[path = "../../tests/support/made_up.rs"]
mod made_up;
mod measure;
mod peak;
mod peers;
mod report;

use data::{Clip, Work};
use measure::Clock;
use peers::Peers;
use report::{Report, Row};

struct Options {
    full: bool,
    goals: bool,
    backends: Vec<Option<String>>,
    features: Option<PathBuf>,
    python: Option<PathBuf>,
    threads: usize,
    clock: Clock,
    seconds: f64,
    only: Option<String>,
    out: Option<PathBuf>,
}

fn main() -> Result<()> {
    // `cargo test --benches` only wants to know that this starts.
    if !std::env::args().any(|a| a == "--bench") {
        return Ok(());
    }
    let options = &options()?;
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/bench");
    std::fs::create_dir_all(folder.join("nearest"))?;
    let mut bench = Bench::new(options, &folder.join("nearest"))?;
    println!("{}, {} threads, {} time", bench.report.machine, options.threads, options.clock.name());
    println!("peers: {:?}", bench.report.peers);
    println!("{}", report::heading(&bench.columns()));
    let gaussian =
        if options.only.as_deref() == Some("real") { Vec::new() } else { grid(options.full, options.goals) };
    for (n, c, ts) in gaussian {
        let mut held = false;
        for (t, ks, slow) in ts {
            let work = data::gaussian(n, c, t);
            for k in ks {
                bench.row(&work, k, slow, &mut held)?;
            }
        }
    }
    match &options.features {
        _ if options.only.as_deref() == Some("gaussian") => {}
        Some(features) => real(&mut bench, features)?,
        None => eprintln!("skipped: rows with real features, since --features names no folder of them"),
    }
    let out = options.out.clone().unwrap_or_else(|| folder.join("nearest.json"));
    write_whole(&out, |w| Ok(serde_json::to_writer_pretty(w, &bench.report)?))?;
    println!("{}", out.display());
    Ok(())
}

/// N, C, and for each T its values of k and whether the slow peers run too.
#[allow(clippy::type_complexity)]
fn grid(full: bool, goals: bool) -> Vec<(usize, usize, Vec<(usize, Vec<usize>, bool)>)> {
    if full {
        let all = |_| [600, 1200, 3600].map(|t| (t, vec![1, 3, 10], false)).to_vec();
        let widths = [64, 192, 384, 768];
        return [10_000, 100_000, 1_000_000]
            .into_iter()
            .flat_map(|n| widths.map(|c| (n, c, all(()))))
            .collect();
    }
    let one = |slow| vec![(1200, vec![3], slow)];
    if goals {
        return [192, 384, 768].map(|c| (100_000, c, one(false))).to_vec();
    }
    vec![
        (100_000, 64, one(false)),
        (100_000, 192, one(false)),
        (100_000, 384, vec![(600, vec![3], false), (1200, vec![1, 3, 10], true), (3600, vec![3], false)]),
        (100_000, 768, one(false)),
        (10_000, 384, one(false)),
        (1_000_000, 384, one(false)),
    ]
}

/// Rows on real features: patches drawn from all frames, and frames in their order. One bank and its clips after
/// another; those that are not in `folder` are skipped aloud.
fn real(bench: &mut Bench, folder: &Path) -> Result<()> {
    for (name, bank, clips) in [
        ("dinov2", "dinov2s-camvid-100k.bank", ["dinov2s-highway", "dinov2s-test_video"].as_slice()),
        ("vit-ti", "vitti-camvid-100k.bank", &["vitti-highway", "vitti-test_video"]),
        ("effvit", "effvit-camvid-100k.bank", &["effvit-highway"]),
    ] {
        let bank = folder.join(bank);
        if !bank.exists() {
            eprintln!("skipped: there is no {}", bank.display());
            continue;
        }
        let whole = Arc::new(Bank::open(&bank, 3)?);
        let clips: Vec<Clip> = clips.iter().map(|c| Clip::read(&folder.join(c))).collect::<Result<_>>()?;
        for (i, n) in [whole.rows(), 10_000].into_iter().enumerate() {
            let bank = if n < whole.rows() { data::first_rows(&whole, n)? } else { Arc::clone(&whole) };
            let mut held = false;
            for clip in &clips {
                if i == 0 {
                    bench.row(&data::shuffled(name, &bank, clip, 4)?, 3, false, &mut held)?;
                }
                bench.row(&data::video(&bank, clip, 30)?, 3, false, &mut held)?;
            }
        }
    }
    Ok(())
}

struct Bench<'a> {
    options: &'a Options,
    peers: Option<Peers>,
    report: Report,
}

impl<'a> Bench<'a> {
    fn new(options: &'a Options, folder: &Path) -> Result<Bench<'a>> {
        let peers = match &options.python {
            Some(python) => Some(Peers::start(python, folder, options.threads, options.clock)?),
            None => {
                eprintln!(
                    "skipped: the peers, since --python names no interpreter that has them (see benches/nearest.sh)"
                );
                None
            }
        };
        let absent = |name: &str| (name.to_owned(), "absent: no Python environment".to_owned());
        let versions = match &peers {
            Some(peers) => peers.versions.clone(),
            None => {
                ["faiss", "faiss-blocks", "faiss-panorama", "torch", "numpy", "sklearn"].map(absent).into()
            }
        };
        let report = Report {
            machine: machine(),
            threads: options.threads,
            clock: options.clock.name(),
            peers: versions,
            peaks: Default::default(),
            rows: Vec::new(),
        };
        Ok(Bench { options, peers, report })
    }

    fn columns(&self) -> Vec<String> {
        self.report.peers.keys().cloned().collect()
    }

    /// Measures one problem with every backend asked for, and with the peers once.
    fn row(&mut self, work: &Work, k: usize, slow: bool, held: &mut bool) -> Result<()> {
        let (threads, least) = (self.options.threads, self.options.seconds);
        let mut rows = Vec::new();
        let mut distances = Vec::new();
        for backend in &self.options.backends {
            let config = measure::config(k, threads, backend.as_deref())?;
            let ours = measure::ours(work, &config, self.options.clock, least)
                .with_context(|| format!("backend {}", backend.as_deref().unwrap_or("auto")))?;
            let (n, c) = (work.bank.rows(), work.bank.width());
            let t = work.frames[0].len() / c;
            let peak = peak::of(&ours.backend, threads);
            self.report.peaks.extend(peak.map(|(name, most)| (name.to_owned(), most)));
            rows.push(Row {
                backend: ours.backend,
                data: work.data.clone(),
                n,
                c,
                t,
                k,
                seconds: ours.seconds,
                open_seconds: ours.open_seconds,
                ratio: Default::default(),
                peak_fraction: peak.map(|(_, most)| (t * n * c) as f64 / ours.seconds / most),
                max_rel_error: ours.max_rel_error,
            });
            distances = ours.distances;
        }
        if let Some(peers) = &mut self.peers {
            if !*held {
                peers.hold(work)?;
                *held = true;
            }
            for peer in peers.present.clone() {
                if slow || !matches!(peer.as_str(), "numpy" | "sklearn") {
                    let theirs = peers.time(&peer, work, k, &distances, least)?;
                    for row in &mut rows {
                        row.ratio.insert(peer.clone(), theirs / row.seconds);
                    }
                }
            }
        }
        let columns = self.columns();
        rows.iter().for_each(|row| println!("{}", row.line(&columns)));
        self.report.rows.append(&mut rows);
        Ok(())
    }
}

/// The processor's name, as the system tells it.
fn machine() -> String {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = text.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let name = model.map_or(std::env::consts::ARCH, |(_, name)| name.trim());
    format!("{name}, {cores} processors")
}

fn options() -> Result<Options> {
    let mut options = Options {
        full: false,
        goals: false,
        backends: Vec::new(),
        features: None,
        python: None,
        threads: 2,
        clock: Clock::Wall,
        seconds: 1.0,
        only: None,
        out: None,
    };
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        let mut value = || args.next().with_context(|| format!("{arg} wants a value"));
        match arg.as_str() {
            "--bench" => {}
            "--full" => options.full = true,
            "--backend" => options.backends.push(Some(value()?)),
            "--features" => options.features = Some(value()?.into()),
            "--python" => options.python = Some(value()?.into()),
            "--threads" => options.threads = value()?.parse()?,
            "--seconds" => options.seconds = value()?.parse()?,
            "--processor-time" => options.clock = Clock::Processor,
            "--goals" => options.goals = true,
            "--out" => options.out = Some(value()?.into()),
            "--only" => match value()?.as_str() {
                part @ ("gaussian" | "real") => options.only = Some(part.to_owned()),
                other => bail!("--only {other}: give gaussian or real"),
            },
            _ => bail!(
                "unknown option {arg}; there are --full, --backend, --features, --python, --threads, --seconds, --processor-time, --goals, --only and --out"
            ),
        }
    }
    if options.backends.is_empty() {
        options.backends.push(None);
    }
    Ok(options)
}
