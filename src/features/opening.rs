//! Opening a model: every way in turn, each held against the CPU on the golden frame, TensorRT's engines
//! taken from their folder or built into it.

use std::borrow::Cow;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{anyhow, bail};

use super::agreement::{agree, golden_size, on_golden_frame};
use super::attempt::{Attempt, OnStream};
use super::building::Building;
use super::byte_products;
use super::choose::{Opener, PassedOver, first_that_works, grouped};
use super::config::RuntimeConfig;
use super::device::{Device, Precision, Provider};
use super::engines::{EngineKey, Engines, Kept, Making};
use super::golden::{self, Golden};
use super::gpu;
use super::provider;
use super::refusal::Refusal;
use super::runtime::Runtime;
use super::session::{Pending, Session};
use super::shortcut::{self, Shortcut};
use crate::digest::{digest_of, hex};
use crate::file::cache_folder;
use crate::gpu_stream::{GpuStream, Gpus};
use crate::model::{self, Loaded, ModelConfig, SizeRule};

impl Session {
    /// Reads the model, opens it the first way that works, and runs it once or twice on small (or the fixed
    /// size's) empty pictures to understand its outputs. What runs on a GPU is compared with the CPU on the
    /// golden frame before. TensorRT may build for minutes, and what it builds is not kept; the log and systemd are told
    /// meanwhile.
    ///
    /// # Errors
    /// [`super::RuntimeError`] and [`crate::model::ModelError`] can be told apart by downcasting; else
    /// why no provider opens the model, or why its outputs are no features.
    pub fn open(config: &ModelConfig, runtime_config: &RuntimeConfig) -> anyhow::Result<Session> {
        open(config, runtime_config, None)
    }

    /// As [`Session::open`]. What TensorRT builds is kept for this model, GPU and software. On a GPU, inputs and outputs
    /// stay at fixed places in its memory, on a stream that `gpus` gives, where the configuration allows that and it gives
    /// the same features.
    ///
    /// # Errors
    /// As [`Session::open`].
    pub fn open_on(
        config: &ModelConfig,
        runtime_config: &RuntimeConfig,
        gpus: &dyn Gpus,
    ) -> anyhow::Result<Session> {
        open(config, runtime_config, Some(gpus))
    }
}

/// What [`Session::open`] promises.
///
/// # Errors
/// As [`Session::open`].
pub(super) fn open(
    config: &ModelConfig,
    runtime_config: &RuntimeConfig,
    gpus: Option<&dyn Gpus>,
) -> anyhow::Result<Session> {
    runtime_config.check().map_err(|why| anyhow!(why))?;
    let runtime = Runtime::load(runtime_config.library.as_deref())?;
    let loaded = model::load(config)?;
    let attempts = runtime_config.attempts();
    let mut opener =
        Providers { runtime: &runtime, config: runtime_config, loaded: &loaded, gpus, golden: None };
    match first_that_works(&attempts, &mut opener) {
        Ok((opened, _, passed_over)) => {
            let mut session = opened.session;
            session.origin.passed_over = passed_over;
            Ok(match gpus {
                Some(gpus) => opener.shorten(session, gpus),
                None => session,
            })
        }
        Err(passed) => bail!("{}", opener.nothing_opens(&passed)),
    }
}

/// A model and what may open it.
struct Providers<'a> {
    runtime: &'a Runtime,
    config: &'a RuntimeConfig,
    loaded: &'a Loaded,
    /// Who knows the GPUs.
    gpus: Option<&'a dyn Gpus>,
    /// What the CPU gives for the golden frame, once it is known.
    golden: Option<Golden>,
}

/// A session that is not judged yet.
struct Opened {
    session: Session,
    /// The engines that it has built.
    making: Option<Making>,
}

impl Opener for Providers<'_> {
    type Session = Opened;

    fn open(&mut self, attempt: Attempt) -> Result<Opened, String> {
        let (place, told) = match attempt.provider {
            Provider::TensorRt if self.config.plugin(attempt.provider).is_none() => self.place(attempt)?,
            _ => (Place::None, None),
        };
        let _telling = told.map(Building::start);
        let folder = match &place {
            Place::Kept(folder) => Some(folder.as_path()),
            Place::Making(making) => Some(making.folder()),
            Place::None => None,
        };
        let mut builder = provider::builder_for(self.runtime, attempt, self.config, folder, None)?;
        let bytes = match attempt.provider {
            Provider::Cpu => byte_products::exact(self.runtime, &self.loaded.bytes),
            // They have kernels of their own, and TensorRT takes signed weights only.
            Provider::Cuda | Provider::TensorRt | Provider::OpenVino | Provider::PlugIn(_) => {
                Cow::Borrowed(&self.loaded.bytes[..])
            }
        };
        let inner = builder.commit_from_memory(&bytes).map_err(|e| self.refused(&e.to_string()))?;
        let threads = self.config.cpu_threads();
        let mut session = Session::of(inner, self.loaded, attempt, self.runtime, threads)
            .map_err(|why| format!("{why:#}"))?;
        let making = match place {
            Place::Making(making) => Some(*making),
            Place::Kept(folder) => {
                session.origin.engines = Some((folder, false));
                None
            }
            Place::None => None,
        };
        Ok(Opened { session, making })
    }

    fn check(&mut self, opened: &mut Opened, attempt: Attempt) -> Result<(), String> {
        if attempt.provider == Provider::Cpu {
            return Ok(());
        }
        let features = on_golden_frame(&mut opened.session, self.loaded)?;
        let tolerance = self.config.parity_tolerance;
        let verdict = self.golden()?.judge(&features, tolerance);
        if let Some(making) = opened.making.take() {
            let off = self.golden()?.difference(&features).unwrap_or(f32::MAX).min(f32::MAX);
            let kept = match verdict {
                Ok(_) => making.keep(),
                Err(_) => making.refuse(off),
            };
            match kept {
                Ok(folder) => opened.session.origin.engines = Some((folder, true)),
                Err(why) => {
                    tracing::warn!(%why, "TensorRT's engine is not kept; the next start builds it again")
                }
            }
        }
        opened.session.origin.parity = Some(verdict?);
        Ok(())
    }
}

/// Where TensorRT finds its engines or leaves them.
enum Place {
    Kept(PathBuf),
    Making(Box<Making>),
    None,
}

impl Providers<'_> {
    /// What to say where no way works.
    fn nothing_opens(&self, passed: &[PassedOver]) -> String {
        let what = self.loaded.config.path.display().to_string();
        let insists = match self.config.device {
            Device::Auto => String::new(),
            Device::Only(provider) => format!("device = \"{provider}\" is asked for: "),
        };
        let listed = |passed: &[PassedOver]| -> String {
            let reasons: Vec<String> =
                grouped(passed).iter().map(|(who, why)| format!("{who}: {why}")).collect();
            reasons.join("; ")
        };
        let named = |why: String| match why.contains(&what) {
            true => why,
            false => format!("cannot run the model {what}: {insists}{why}"),
        };
        let why = match passed {
            [] => return named("[runtime] providers names none".to_owned()),
            // What the CPU says is of the model itself; what GPUs lack helps nobody with it.
            [cpu] if cpu.attempt.provider == Provider::Cpu => return named(cpu.why.clone()),
            [others @ .., cpu] if cpu.attempt.provider == Provider::Cpu => {
                let others = listed(others);
                return named(format!("{} (no other execution provider opens it either: {others})", cpu.why));
            }
            [one] => one.why.clone(),
            _ => format!("no execution provider of [runtime] providers opens it: {}", listed(passed)),
        };
        let absent = |one: &&PassedOver| provider::loads(self.runtime, one.attempt, self.config).is_err();
        let remedy =
            passed.iter().find(absent).map(|one| format!("; {}", provider::remedy(one.attempt.provider)));
        named(format!("{why}{}", remedy.unwrap_or_default()))
    }

    /// What the library says of the model, and what to try.
    fn refused(&self, said: &str) -> String {
        Refusal::new(&self.runtime.version, said, self.loaded.bytes.len()).to_string()
    }

    /// Where the engines are or come, and what to tell while they are built.
    fn place(&self, attempt: Attempt) -> Result<(Place, Option<String>), String> {
        provider::built_in(self.runtime, attempt.provider)?;
        let SizeRule::Fixed(size) = self.loaded.size else {
            return Err(
                "TensorRT builds for one size of input, and this model takes any; prepare it with --size, or set `size` in [model]"
                    .to_owned(),
            );
        };
        let building = format!(
            "building the TensorRT engine of {} for {size}, {}",
            self.loaded.config.path.display(),
            attempt.precision
        );
        let kept =
            self.folder().and_then(|root| Ok((Engines::at(&root), self.key(attempt, &size.to_string())?)));
        let (engines, key) = match kept {
            Ok(kept) => kept,
            Err(why) => {
                tracing::warn!(%why, "TensorRT's engine is built at every start and not kept");
                return Ok((Place::None, Some(building)));
            }
        };
        match engines.find(&key) {
            Kept::Engines(folder) => return Ok((Place::Kept(folder), None)),
            Kept::Refused(off) if off > self.config.parity_tolerance => {
                return Err(format!(
                    "an engine that was built before differs from the CPU by {:.2} % on the golden frame",
                    100.0 * off
                ));
            }
            Kept::Damaged(why) => tracing::warn!(%why, "TensorRT's engine is built again"),
            Kept::Refused(_) | Kept::Nothing => {}
        }
        let making = engines.make(&key).map_err(|e| format!("the folder of engines: {e}"));
        match making {
            Ok(making) => Ok((Place::Making(Box::new(making)), Some(building))),
            Err(why) => {
                tracing::warn!(%why, "TensorRT's engine is built at every start and not kept");
                Ok((Place::None, Some(building)))
            }
        }
    }

    fn folder(&self) -> Result<PathBuf, String> {
        self.config
            .engines
            .clone()
            .or_else(|| cache_folder().map(|folder| folder.join("engines")))
            .ok_or_else(|| "no cache folder is known; set runtime.engines".to_owned())
    }

    fn key(&self, attempt: Attempt, size: &str) -> Result<EngineKey, String> {
        let gpus = self.gpus.ok_or("Session::open keeps none; use Session::open_on")?;
        let gpu = gpus.gpu(self.config.gpu)?;
        Ok(EngineKey {
            model_sha256: self.loaded.sha256.clone(),
            graph_sha256: hex(&digest_of(&[&self.loaded.bytes])),
            size: size.to_owned(),
            precision: attempt.precision.to_string(),
            workspace_mb: self.config.tensorrt_workspace_mb,
            cuda: format!("{} of driver {}", gpu::cuda_runtime(self.runtime)?, gpu.driver),
            tensorrt: gpu::tensorrt(self.runtime)?.to_string(),
            onnxruntime: self.runtime.version.clone(),
            gpu: gpu.name,
            architecture: gpu.architecture,
        })
    }

    /// The session with the shortcuts that are wanted and work.
    fn shorten(&self, session: Session, gpus: &dyn Gpus) -> Session {
        let (steps, mut withheld) = self.config.shortcuts(session.attempt().provider, self.loaded.size);
        let mut stream = None;
        let (mut session, more) = shortcut::apply(session, &steps, |now, step| {
            let stream = match &stream {
                Some(known) => known,
                None => match gpus.stream(self.config.gpu) {
                    Ok(new) => stream.insert(new),
                    Err(why) => return Err(Box::new((now, why))),
                },
            };
            self.better(now, step, stream)
        });
        withheld.extend(more);
        session.origin.withheld = withheld;
        session
    }

    /// The same session with one more shortcut, if it then gives the same features; a graph waits for
    /// [`Session::settle`]. The session as it was where that fails, and why.
    fn better(
        &self,
        mut now: Session,
        step: Shortcut,
        stream: &Arc<dyn GpuStream>,
    ) -> Result<Session, Box<(Session, String)>> {
        // The same provider at the same precision: what differs is order of summation at most.
        let tolerance = self.config.parity_tolerance / 10.0;
        let (width, height) = golden_size(&now, self.loaded);
        let frame = golden::input(width, height);
        let mut reversed = frame.clone();
        reversed.data.reverse();
        let inputs = vec![frame, reversed];
        let made = self.made(&now, step, stream, tolerance).and_then(|mut better| match step {
            Shortcut::Binding => agree(&mut now, &mut better, &inputs, tolerance).map(|()| better),
            Shortcut::Graph => Ok(better),
        });
        match (made, step) {
            (Ok(better), Shortcut::Binding) => Ok(better),
            (Ok(graph), Shortcut::Graph) => {
                now.pending = Some(Pending { session: Box::new(graph), inputs, tolerance });
                Ok(now)
            }
            (Err(why), _) => Err(Box::new((now, why))),
        }
    }

    /// The same model opened with one more shortcut, not run yet.
    fn made(
        &self,
        now: &Session,
        step: Shortcut,
        stream: &Arc<dyn GpuStream>,
        tolerance: f32,
    ) -> Result<Session, String> {
        let attempt = now.attempt();
        let folder = now.engines().map(|(folder, _)| folder.to_owned());
        if attempt.provider == Provider::TensorRt && folder.is_none() {
            return Err("its engine is not kept, and would be built once more".to_owned());
        }
        let on = OnStream { stream: stream.handle() as usize, graph: step == Shortcut::Graph };
        let mut builder =
            provider::builder_for(self.runtime, attempt, self.config, folder.as_deref(), Some(on))?;
        let inner = builder.commit_from_memory(&self.loaded.bytes).map_err(|e| e.to_string())?;
        let mut better = now.reopened(inner);
        match step {
            Shortcut::Binding => better.bind(Arc::clone(stream), tolerance),
            Shortcut::Graph => better.bind_as(now)?,
        }
        Ok(better)
    }

    /// What the CPU gives for the golden frame: what the file says, else what it gives now.
    fn golden(&mut self) -> Result<&Golden, String> {
        let golden = match self.golden.take() {
            Some(golden) => golden,
            None => self.stored().map_or_else(|| self.by_the_cpu(), Ok)?,
        };
        Ok(self.golden.insert(golden))
    }

    /// What a prepared file carries, if that is what is run.
    fn stored(&self) -> Option<Golden> {
        match Golden::parse(self.loaded.golden.as_deref()?) {
            Ok(golden) => Some(golden),
            Err(why) => {
                tracing::warn!(%why, "the golden frame in the model is not used; the CPU computes it");
                None
            }
        }
    }

    fn by_the_cpu(&self) -> Result<Golden, String> {
        let attempt = Attempt { provider: Provider::Cpu, precision: Precision::Fp32 };
        let threads = self.config.cpu_threads();
        let mut builder = provider::builder(self.runtime, threads)?;
        let bytes = byte_products::exact(self.runtime, &self.loaded.bytes);
        let inner = builder.commit_from_memory(&bytes).map_err(|e| e.to_string())?;
        let session = Session::of(inner, self.loaded, attempt, self.runtime, threads);
        let mut session = session.map_err(|why| format!("the golden frame on the CPU: {why:#}"))?;
        Ok(Golden::of(&on_golden_frame(&mut session, self.loaded)?))
    }
}

#[cfg(test)]
mod tests;
