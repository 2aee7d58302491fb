//! Where annotated video goes, for `run` and for `replay`.

use std::path::Path;
use std::sync::{Arc, Weak};

use anyhow::Result;

use crate::config::Config;
use crate::detector::VideoEnd;
use crate::foxglove::{Foxglove, FoxgloveConfig};
use crate::health::Health;
use crate::live::{DetectionStatus, Reencode, Standing};
use crate::mqtt::MqttConfig;
use crate::sink::{AccessConfig, EventStore, OutputConfig, PictureLog};
use crate::steer::{Marks, Steering};

#[cfg(feature = "media")]
pub use crate::sink::{ClipControl as Clips, Servers};

#[cfg(feature = "media")]
pub use crate::mqtt::Mqtt as Broker;

/// Without video no broker is told.
#[cfg(not(feature = "media"))]
#[derive(Clone)]
pub struct Broker;

/// Without video there are no clips.
#[cfg(not(feature = "media"))]
#[derive(Clone)]
pub struct Clips;

/// There are none without video.
#[derive(Clone)]
#[cfg(not(feature = "media"))]
pub struct Servers;

/// The servers as configured, for all streams.
///
/// # Errors
/// If an address is none or a port is in use.
#[cfg(feature = "media")]
pub fn servers(output: &OutputConfig, access: &AccessConfig) -> Result<Servers> {
    Ok(Servers::start(output, access)?)
}

/// The servers as configured, for all streams.
///
/// # Errors
/// If there is to be one: there are none without video.
#[cfg(not(feature = "media"))]
pub fn servers(output: &OutputConfig, _: &AccessConfig) -> Result<Servers> {
    nothing_to_show(output)?;
    Ok(Servers)
}

/// What is told over HTTP beside the streams.
#[cfg_attr(not(feature = "media"), expect(dead_code, reason = "there is no HTTP server without video"))]
pub struct Told {
    /// How the streams stand now.
    pub streams: Box<dyn Fn() -> Vec<Standing> + Send + Sync>,
    /// The detection lane, if verdicts go their own way.
    pub detection: Option<Arc<DetectionStatus>>,
    /// What changes the run, while it can be changed.
    pub steering: Option<Weak<Steering>>,
    /// Whether those who ask have shown who they are.
    pub guarded: bool,
    /// What was found, if anything is judged.
    pub events: Option<EventStore>,
    /// What marks regions and events as normal, if anything is judged.
    pub marks: Option<Arc<Marks>>,
    /// A broker that is told, too.
    pub broker: Option<Broker>,
}

/// Page, API and metrics at the HTTP server, if there is one; and the broker is told from now on.
///
/// # Errors
/// If the system refuses a thread.
#[cfg(feature = "media")]
pub fn tell(servers: &Servers, told: Told) -> Result<()> {
    let Told { streams, detection, steering, guarded, events, marks, broker } = told;
    let begun = std::time::Instant::now();
    let subject = crate::web::Subject {
        streams,
        detection,
        steering,
        guarded,
        events,
        marks,
        broker,
        audience: servers.audience(),
        begun,
    };
    let subject = Arc::new(subject);
    if let Some(broker) = &subject.broker {
        broker.start(crate::web::teller(&subject))?;
    }
    servers.answer_by(Some(crate::web::routes(subject)));
    match servers.page() {
        Some(page) => super::answer::print(format!("open {page} in a browser\n")),
        None => Ok(()),
    }
}

/// The broker that `config` asks for, if any; `health` is told how it stands.
///
/// # Errors
/// If a file cannot be read.
#[cfg(feature = "media")]
pub fn broker(config: &MqttConfig, health: Option<&Arc<Health>>) -> Result<Option<Broker>> {
    let health = health.cloned();
    let state =
        move |part, problem| health.iter().for_each(|health| health.problem(part, Option::clone(&problem)));
    Ok(Broker::prepare(config, Arc::new(state))?)
}

/// No broker is told without video.
#[cfg(not(feature = "media"))]
pub fn broker(_: &MqttConfig, _: Option<&Arc<Health>>) -> Result<Option<Broker>> {
    Ok(None)
}

/// The topics that `config` asks for, if any; `health` is told how they stand.
///
/// # Errors
/// If a port is taken or a file cannot be made.
pub fn foxglove(config: &FoxgloveConfig, health: Option<&Arc<Health>>) -> Result<Option<Foxglove>> {
    let health = health.cloned();
    let state =
        move |part, problem| health.iter().for_each(|health| health.problem(part, Option::clone(&problem)));
    let opened = Foxglove::open(config, Arc::new(state))?;
    if let Some(url) = opened.iter().find_map(Foxglove::url) {
        super::answer::print(format!("connect the Foxglove app to {url}\n"))?;
    }
    Ok(opened)
}

/// Nothing is told any more.
#[cfg(feature = "media")]
pub fn fall_silent(servers: &Servers, broker: Option<&Broker>) {
    servers.answer_by(None);
    broker.iter().for_each(|broker| broker.end());
}

/// There is no HTTP server without video.
#[cfg(not(feature = "media"))]
pub fn fall_silent(_: &Servers, _: Option<&Broker>) {}

/// There is no HTTP server without video.
#[cfg(not(feature = "media"))]
pub fn tell(_: &Servers, _: Told) -> Result<()> {
    Ok(())
}

/// What takes the encoded pictures of a stream beside servers and recording.
#[derive(Default)]
#[cfg_attr(not(feature = "media"), expect(dead_code, reason = "there are no encoded pictures without video"))]
pub struct Beside {
    /// Clips of events.
    pub clips: Option<Clips>,
    /// Topics for the tools of robotics.
    pub log: Option<Box<dyn PictureLog>>,
}

/// A stream at the servers, at `/NAME` and `/NAME.ts` or without a name where the config says, and in the recording of
/// `output`. For a live source a busy encoder loses frames, which are counted; for one that can wait nothing is lost.
///
/// # Errors
/// If the name is taken, a file cannot be made, or no encoder works.
pub fn live(
    output: &OutputConfig,
    at: (&Servers, Option<&str>),
    live: bool,
    rate: Option<f64>,
    health: &Arc<Health>,
    beside: Beside,
) -> Result<(Box<dyn VideoEnd>, Option<Reencode>)> {
    open(output, Some(at), !live, rate, health, beside)
}

/// One video file and no servers; nothing is lost.
///
/// # Errors
/// As [`live`].
pub fn file(
    config: &Config,
    path: &Path,
    rate: Option<f64>,
    health: &Arc<Health>,
) -> Result<Box<dyn VideoEnd>> {
    let output = OutputConfig { record: Some(path.to_owned()), ..config.output.clone() };
    Ok(open(&output, None, true, rate, health, Beside::default())?.0)
}

#[cfg(feature = "media")]
fn open(
    output: &OutputConfig,
    at: Option<(&Servers, Option<&str>)>,
    wait: bool,
    rate: Option<f64>,
    health: &Arc<Health>,
    beside: Beside,
) -> Result<(Box<dyn VideoEnd>, Option<Reencode>)> {
    use super::answer;
    use crate::frame::Frame;
    use crate::sink::{Haste, StateHook, VideoOut};

    struct Video {
        out: VideoOut,
        health: Arc<Health>,
        dropped: u64,
    }

    impl VideoEnd for Video {
        fn push(&mut self, frame: Frame) -> Result<()> {
            self.out.push(frame)?;
            for _ in self.dropped..self.out.dropped() {
                self.health.frame_dropped();
            }
            self.dropped = self.out.dropped();
            Ok(())
        }

        fn finish(&mut self) -> Result<()> {
            Ok(self.out.finish()?)
        }
    }

    let told = Arc::clone(health);
    let hook = Box::new(move |_, captured, bytes| {
        told.encoded(bytes);
        told.frame_done(captured);
    });
    let haste = if wait { Haste::Offline } else { Haste::Live };
    let states = Arc::clone(health);
    let state: StateHook = Arc::new(move |part, problem| states.problem(part, problem));
    let mount = at.map(|(servers, name)| servers.mount(name)).transpose()?;
    let mount = match &beside.clips {
        Some(clips) => Some(mount.unwrap_or_default().with_clips(clips)),
        None => mount,
    };
    let mount = match beside.log {
        Some(log) => Some(mount.unwrap_or_default().with_log(log)),
        None => mount,
    };
    let out = VideoOut::open(output, mount, haste, rate, Some(hook), Some(state))?;
    for url in out.urls() {
        // What a person who starts the program looks for.
        answer::print(format!("watch {url}\n"))?;
    }
    let control = out.control();
    // Where nothing may be lost nothing is changed on the way.
    let reencode = (!wait).then(|| -> Reencode { Arc::new(move |output| Ok(control.apply(output)?)) });
    Ok((Box::new(Video { out, health: Arc::clone(health), dropped: 0 }), reencode))
}

/// What is judged is not shown; events are written all the same.
#[cfg(not(feature = "media"))]
fn open(
    output: &OutputConfig,
    _: Option<(&Servers, Option<&str>)>,
    _: bool,
    _: Option<f64>,
    health: &Arc<Health>,
    _: Beside,
) -> Result<(Box<dyn VideoEnd>, Option<Reencode>)> {
    struct Unseen(Arc<Health>);

    impl VideoEnd for Unseen {
        fn push(&mut self, frame: crate::frame::Frame) -> Result<()> {
            self.0.frame_done(frame.captured);
            Ok(())
        }

        fn finish(&mut self) -> Result<()> {
            Ok(())
        }
    }

    nothing_to_show(output)?;
    Ok((Box::new(Unseen(Arc::clone(health))), None))
}

#[cfg(not(feature = "media"))]
fn nothing_to_show(output: &OutputConfig) -> Result<()> {
    anyhow::ensure!(
        output.rtsp == "off" && output.http == "off" && output.record.is_none(),
        "this farout was built without video: it can only write events, with --rtsp off --http off and nothing to record; \
         for video build it with the feature \"media\""
    );
    Ok(())
}
