//! The thread that passes on what the lanes say: to the file, and to the apps that are connected.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use ::foxglove::{Context, WebSocketServerHandle};
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};

use super::messages::{Map, Size, Topics};
use super::recording::{Goes, Recording};
use super::said::{Line, Said, Teller};
use super::{FoxgloveConfig, FoxgloveFault};
use crate::clock::{Clock, system_time};
use crate::live::{TimedVerdict, VerdictHook};
use crate::sink::{EventSink, PictureLog, StateHook};

/// Lines that may wait: some seconds of a camera.
const WAITING: usize = 256;
/// How often it looks after the file where nothing is said.
const TICK: Duration = Duration::from_millis(200);
/// Pictures and verdicts that may wait for an app that is slow; then it loses the oldest.
const BACKLOG: usize = 64;
/// How long the end may take.
const FAREWELL: Duration = Duration::from_secs(2);
/// How long a slow disk is waited for at the end.
const ENDS_WITHIN: Duration = Duration::from_secs(8);
/// The name by which its state is told.
const PART: &str = "foxglove";

/// What shows and records; cloning shares it.
#[derive(Clone)]
pub struct Foxglove(Arc<Inner>);

struct Inner {
    lines: Sender<Line>,
    thread: Mutex<Option<JoinHandle<()>>>,
    over: Arc<AtomicBool>,
    lost: Arc<AtomicU64>,
    scores_width: u32,
    /// Where the app connects.
    listens: Option<SocketAddr>,
}

/// What the apps are connected to.
struct Server {
    handle: WebSocketServerHandle,
    runtime: tokio::runtime::Runtime,
}

impl Foxglove {
    /// Opens what `config` asks for, if anything; `state` is told what is wrong with it.
    ///
    /// # Errors
    /// If the port is taken or the file cannot be made.
    pub fn open(config: &FoxgloveConfig, state: StateHook) -> Result<Option<Foxglove>, FoxgloveFault> {
        if !config.is_wanted() {
            return Ok(None);
        }
        let context = Context::new();
        let fault = |key, why: String| FoxgloveFault { key, why };
        let address = config.address().map_err(|why| fault("listen", why))?;
        let server = address.map(|address| Server::start(&context, address)).transpose();
        let server = server.map_err(|why| fault("listen", format!("{why}; set it to another port")))?;
        let listens =
            server.as_ref().zip(address).map(|(server, at)| SocketAddr::new(at.ip(), server.handle.port()));
        let begin =
            |path: &Path| Recording::begin(&context, path, config).map_err(|why| fault("record", why));
        let recording = config.record.as_deref().map(begin).transpose()?;
        let (lines, heard) = bounded(WAITING);
        let (lost, over) = (Arc::<AtomicU64>::default(), Arc::<AtomicBool>::default());
        let speaker = Speaker {
            context,
            topics: HashMap::new(),
            recording,
            lost: Arc::clone(&lost),
            told: 0,
            state,
            server,
            over: Arc::clone(&over),
        };
        let named = std::thread::Builder::new().name("foxglove".into());
        let thread = named.spawn(move || speaker.run(&heard));
        let thread = thread.map_err(|why| fault("listen", format!("the system refuses a thread: {why}")))?;
        let (thread, scores_width) = (Mutex::new(Some(thread)), config.scores_width);
        Ok(Some(Foxglove(Arc::new(Inner { lines, thread, over, lost, scores_width, listens }))))
    }

    /// Where the app connects, if it can.
    pub fn url(&self) -> Option<String> {
        self.0.listens.map(|at| format!("ws://{at}"))
    }

    /// Takes the encoded pictures of a stream.
    pub fn pictures(&self, stream: &str) -> Box<dyn PictureLog> {
        Box::new(self.teller(stream))
    }

    /// Takes the events of a stream.
    pub fn events(&self, stream: &str) -> Box<dyn EventSink> {
        Box::new(self.teller(stream))
    }

    fn teller(&self, stream: &str) -> Teller {
        Teller::new(stream, self.0.lines.clone(), Arc::clone(&self.0.lost))
    }

    /// Says what is found in each frame.
    pub fn verdicts(&self) -> VerdictHook {
        let this = self.clone();
        Arc::new(move |TimedVerdict { stream, captured, utc, verdict }: TimedVerdict<'_>| {
            // Nothing is made that finds no room.
            if this.0.lines.is_full() {
                this.0.lost.fetch_add(1, Ordering::Relaxed);
                return;
            }
            let time = utc.unwrap_or_else(|| Clock::of_run().at(captured));
            let size = |length: usize| u32::try_from(length).unwrap_or(u32::MAX);
            let judged: Size = (size(verdict.scores.width), size(verdict.scores.height));
            let scores = Map::of(&verdict.scores, this.0.scores_width);
            this.teller(stream).verdict(system_time(time), judged, verdict.regions.to_vec(), scores);
        })
    }

    /// Nothing more is said: the file is completed, and the apps are told farewell.
    pub fn end(&self) {
        self.0.over.store(true, Ordering::Release);
        let Some(thread) = self.0.thread.lock().unwrap_or_else(PoisonError::into_inner).take() else {
            return;
        };
        let begun = Instant::now();
        while !thread.is_finished() {
            if begun.elapsed() > ENDS_WITHIN {
                return tracing::error!(
                    "the disk of foxglove.record takes too long: the file is not complete"
                );
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        if thread.join().is_err() {
            tracing::error!("the thread that talks to Foxglove panicked");
        }
    }
}

impl Server {
    /// Listens at an address.
    ///
    /// # Errors
    /// If it cannot.
    fn start(context: &Arc<Context>, at: SocketAddr) -> Result<Server, String> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("foxglove-server")
            .enable_all()
            .build()
            .map_err(|why| why.to_string())?;
        let server = ::foxglove::WebSocketServer::new()
            .name("farout")
            .bind(at.ip().to_string(), at.port())
            .message_backlog_size(BACKLOG)
            .context(context)
            .tokio_runtime(runtime.handle());
        let handle =
            runtime.block_on(server.start()).map_err(|why| format!("cannot listen at {at}: {why}"))?;
        Ok(Server { handle, runtime })
    }

    fn end(self) {
        let over = self.handle.stop();
        let waits = async { tokio::time::timeout(FAREWELL, over.wait()).await };
        let _ = self.runtime.block_on(waits);
        self.runtime.shutdown_background();
    }
}

/// Hears the lanes.
struct Speaker {
    context: Arc<Context>,
    topics: HashMap<Arc<str>, (Topics, Option<Size>)>,
    recording: Option<Recording>,
    lost: Arc<AtomicU64>,
    /// How many lost lines were told.
    told: u64,
    state: StateHook,
    server: Option<Server>,
    over: Arc<AtomicBool>,
}

impl Speaker {
    fn run(mut self, heard: &Receiver<Line>) {
        // How much is said after the end is known: whoever says something may still be there.
        let mut left = None;
        loop {
            let over = self.over.load(Ordering::Acquire);
            match heard.recv_timeout(if over { Duration::ZERO } else { TICK }) {
                Ok(line) => self.pass_on(line),
                Err(RecvTimeoutError::Timeout) if over => break,
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            if over {
                let left: &mut usize = left.get_or_insert_with(|| heard.len());
                if *left == 0 {
                    break;
                }
                *left -= 1;
            }
            self.look_after();
        }
        if let Some(Err(why)) = self.recording.take().map(Recording::finish) {
            tracing::error!("{why}");
        }
        if let Some(server) = self.server.take() {
            server.end();
        }
    }

    fn pass_on(&mut self, Line { stream, time, said }: Line) {
        let context = &self.context;
        let (topics, shown) =
            self.topics.entry(stream).or_insert_with_key(|stream| (Topics::of(stream, context), None));
        match said {
            Said::Picture { size, data } => {
                *shown = Some(size);
                topics.video(time, data);
            }
            Said::Verdict { size, regions, scores } => {
                topics.regions(time, &regions, size, shown.unwrap_or(size));
                scores.iter().for_each(|map| topics.scores(time, map));
            }
            Said::Event(event) => topics.event(time, &event),
        }
    }

    /// Sees how file and queue stand.
    fn look_after(&mut self) {
        if let Some(recording) = &mut self.recording {
            match recording.keep() {
                Ok(Goes::Well) => (self.state)(PART, None),
                Ok(Goes::On) => {}
                Err(why) => {
                    tracing::error!("{why}");
                    (self.state)(PART, Some(why));
                }
            }
        }
        let lost = self.lost.load(Ordering::Relaxed);
        // Once in a while is enough.
        if lost > self.told * 2 {
            self.told = lost;
            tracing::warn!(lost, "Foxglove or its file is behind: messages are left out");
        }
    }
}
