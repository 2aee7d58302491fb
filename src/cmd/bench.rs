//! `farout bench`: what each way to run the model gives on this machine, each opened and timed in a process of its own.

use std::fmt;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use serde::Serialize;

use super::answer::answer;
use super::{progress, settings, unread};
use crate::cli::BenchArgs;
use crate::config::{Config, ConfigError, RoiConfig};
use crate::features::{Device, Precision, Provider};

/// Times every provider of the configuration at every precision and height, in turns, and says which is fastest.
///
/// # Errors
/// A configuration without a model; no way that works. One that does not work beside others is a row of the answer, with the
/// reason.
pub fn bench(args: &BenchArgs) -> Result<()> {
    let mut named = args.config.clone();
    // What runs apart reads another file, in another folder.
    for path in [&mut named.own.config, &mut named.own.model].into_iter().flatten() {
        *path = std::path::absolute(&*path)?;
    }
    let config = settings::read(&named, ("bench", unread::BENCH))?;
    if config.model.path.as_os_str().is_empty() {
        let why = "no model is named: give --model FILE, or set model.path in the file given with --config";
        return Err(ConfigError::Invalid(why.into()).into());
    }
    let mut ways = ways(&config, &args.heights);
    let folder = tempfile::tempdir().context("cannot make a folder for configurations")?;
    let bar = progress::bar(Some(ways.len() as u64 * u64::from(args.rounds)), "runs");
    for _ in 0..args.rounds {
        for (number, way) in ways.iter_mut().enumerate() {
            bar.set_message(way.to_string());
            if way.why.is_none() {
                let file = folder.path().join(format!("{number}.toml"));
                std::fs::write(&file, toml::to_string(&way.config)?)?;
                if let Err(why) = way.run(&file, args.runs) {
                    way.why = Some(format!("{why:#}"));
                }
            }
            bar.inc(1);
        }
    }
    bar.finish_and_clear();
    let told = Told::new(ways, config.model.height);
    answer(args.json, &told)?;
    match told.ways.iter().all(|way| way.per_second.is_none()) {
        true => bail!("no way to run the model works: the answer tells why"),
        false => Ok(()),
    }
}

/// A provider at a precision and a height.
struct Way {
    device: Provider,
    precision: Precision,
    height: Option<usize>,
    config: Config,
    /// What came of it in each round.
    results: Vec<Opened>,
    /// Why it is no way.
    why: Option<String>,
}

/// What `farout model warm` tells.
#[derive(Debug, Clone, serde::Deserialize)]
struct Opened {
    runs_on: String,
    passed_over: Vec<String>,
    input_size: String,
    off_golden_frame: Option<f32>,
    opened_secs: f64,
    run_ms: f64,
    peak_memory_mb: f64,
}

/// All ways that `config` names, at its own height and at each of `heights`.
fn ways(config: &Config, heights: &[usize]) -> Vec<Way> {
    let mut all: Vec<Option<usize>> = vec![config.model.height];
    all.extend(heights.iter().map(|&height| Some(height)).filter(|height| *height != config.model.height));
    // Those that have a lower precision are tried in it, too.
    let mut lowest = config.runtime.clone();
    lowest.precision = Precision::Bf16;
    let mut ways = Vec::new();
    for height in all {
        for attempt in lowest.attempts() {
            let mut own = config.clone();
            // Another model would cost every run, and its memory be taken for this one's.
            own.roi = RoiConfig::default();
            own.runtime.device = Device::Only(attempt.provider);
            own.runtime.precision = attempt.precision;
            if height != config.model.height {
                own.model.height = height;
                own.model.size = None;
            }
            ways.push(Way {
                device: attempt.provider,
                precision: attempt.precision,
                height,
                config: own,
                results: Vec::new(),
                why: None,
            });
        }
    }
    ways
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.device, self.precision)?;
        self.height.map_or(Ok(()), |height| write!(f, " at height {height}"))
    }
}

impl Way {
    /// Opens and times it once more, by the configuration in `file`.
    fn run(&mut self, file: &std::path::Path, runs: u16) -> Result<()> {
        let mut command = Command::new(std::env::current_exe().context("cannot find this program")?);
        command.args(["-q", "model", "warm", "--json", "--runs", &runs.to_string(), "--config"]).arg(file);
        let ended = command.stdin(Stdio::null()).output().context("cannot start this program again")?;
        if !ended.status.success() {
            let said = String::from_utf8_lossy(&ended.stderr);
            let last = said.lines().last().unwrap_or_default();
            // Which model and which provider stands in the table already.
            let last = last.split_once("is asked for: ").map_or(last, |(_, why)| why).to_owned();
            anyhow::bail!("{}", if last.is_empty() { ended.status.to_string() } else { last });
        }
        let opened: Opened = serde_json::from_slice(&ended.stdout).context("model warm gave no JSON")?;
        // It insists on the provider, not on the precision: that one may have failed.
        let wanted = crate::features::attempt::Attempt { provider: self.device, precision: self.precision };
        if opened.runs_on != wanted.to_string() {
            anyhow::bail!("{}", opened.passed_over.join("; "));
        }
        self.results.push(opened);
        Ok(())
    }
}

/// The table.
#[derive(Debug, Serialize)]
struct Told {
    ways: Vec<Row>,
    /// The fastest at the configured height, as the configuration says it.
    write: Option<String>,
}

#[derive(Debug, Serialize)]
struct Row {
    way: String,
    device: &'static str,
    precision: String,
    height: Option<usize>,
    input_size: Option<String>,
    /// Runs of the model per second: median of the rounds.
    per_second: Option<f64>,
    /// How many times as fast as the CPU at the same height.
    of_cpu: Option<f64>,
    off_golden_frame: Option<f32>,
    peak_memory_mb: Option<f64>,
    opened_secs: Option<f64>,
    /// Why it cannot be had.
    why: Option<String>,
}

impl Told {
    fn new(ways: Vec<Way>, height: Option<usize>) -> Told {
        let mut rows: Vec<Row> = ways.into_iter().map(Row::new).collect();
        let cpu: Vec<(Option<usize>, Option<f64>)> =
            rows.iter().filter(|row| row.device == "cpu").map(|row| (row.height, row.per_second)).collect();
        for row in &mut rows {
            let base = cpu.iter().find(|(height, _)| *height == row.height).and_then(|(_, rate)| *rate);
            row.of_cpu = row.per_second.zip(base).map(|(own, base)| own / base);
        }
        let working = rows.iter().filter(|row| row.height == height);
        let rate = |row: &&Row| row.per_second.unwrap_or(0.0);
        let best = working.filter(|row| row.per_second.is_some()).max_by(|a, b| rate(a).total_cmp(&rate(b)));
        let write = best.map(|row| {
            let precision = match row.device {
                "cpu" => String::new(),
                _ => format!("precision = \"{}\"\n", row.precision),
            };
            format!("[runtime]\ndevice = \"{}\"\n{precision}", row.device)
        });
        Told { ways: rows, write }
    }
}

impl Row {
    fn new(way: Way) -> Row {
        let name = way.to_string();
        let Way { device, precision, height, mut results, why, .. } = way;
        results.sort_by(|a, b| a.run_ms.total_cmp(&b.run_ms));
        let middle = if why.is_some() { None } else { results.get(results.len() / 2) };
        Row {
            way: name,
            device: device.name(),
            precision: precision.to_string(),
            height,
            input_size: middle.map(|one| one.input_size.clone()),
            per_second: middle.map(|one| 1e3 / one.run_ms),
            of_cpu: None,
            off_golden_frame: middle.and_then(|one| one.off_golden_frame),
            peak_memory_mb: middle.map(|one| one.peak_memory_mb),
            opened_secs: middle.map(|one| one.opened_secs),
            why,
        }
    }
}

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let wide = self.ways.iter().map(|row| row.way.chars().count()).max().unwrap_or(0);
        writeln!(f, "{:wide$}  per second  of cpu  from the CPU  memory  opened in", "")?;
        for row in &self.ways {
            write!(f, "{:wide$}", row.way)?;
            match (row.per_second, &row.why) {
                (Some(rate), _) => {
                    let of_cpu = row.of_cpu.map_or(String::new(), |of| format!("{of:.2}"));
                    let off =
                        row.off_golden_frame.map_or(String::new(), |off| format!("{:.3} %", 100.0 * off));
                    let (memory, opened) =
                        (row.peak_memory_mb.unwrap_or(0.0), row.opened_secs.unwrap_or(0.0));
                    writeln!(f, "  {rate:10.2}  {of_cpu:>6}  {off:>12}  {memory:3.0} MB  {opened:7.1} s")?;
                }
                (None, why) => writeln!(f, "  - {}", why.as_deref().unwrap_or_default())?,
            }
        }
        match &self.write {
            Some(write) => write!(f, "\nThe fastest at the configured height:\n\n{write}"),
            None => writeln!(f, "\nNone of them works."),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn way(device: Provider, height: Option<usize>, run_ms: &[f64]) -> Way {
        let one = |&run_ms: &f64| Opened {
            runs_on: device.to_string(),
            passed_over: Vec::new(),
            input_size: "644x364".into(),
            off_golden_frame: Some(0.001),
            opened_secs: 1.0,
            run_ms,
            peak_memory_mb: 300.0,
        };
        let (config, results) = (Config::default(), run_ms.iter().map(one).collect::<Vec<_>>());
        let why = results.is_empty().then(|| "not there".to_owned());
        Way { device, precision: Precision::Fp32, height, config, results, why }
    }

    #[test]
    fn the_fastest_at_the_configured_height_is_recommended() {
        let ways = vec![
            way(Provider::Cuda, None, &[]),
            way(Provider::OpenVino, None, &[40.0, 50.0, 900.0]),
            way(Provider::Cpu, None, &[100.0, 100.0, 90.0]),
            way(Provider::Cpu, Some(252), &[10.0]),
        ];
        let told = Told::new(ways, None);
        assert_eq!(told.write.as_deref(), Some("[runtime]\ndevice = \"openvino\"\nprecision = \"fp32\"\n"));
        assert_eq!((told.ways[1].per_second, told.ways[1].of_cpu), (Some(20.0), Some(2.0)));
        assert_eq!((told.ways[3].of_cpu, told.ways[0].per_second), (Some(1.0), None));
        let text = told.to_string();
        assert!(text.contains("cuda (fp32)") && text.contains("- not there"), "{text}");
        assert!(Told::new(vec![way(Provider::Cpu, None, &[])], None).to_string().contains("None of them"));
    }

    #[test]
    fn every_precision_is_a_way() {
        let named: Vec<String> = ways(&Config::default(), &[252]).iter().map(Way::to_string).collect();
        for name in
            ["tensorrt (fp16)", "cuda (tf32)", "openvino (fp32)", "cpu (fp32)", "cpu (fp32) at height 252"]
        {
            assert!(named.iter().any(|one| one == name), "{named:?}");
        }
    }
}
