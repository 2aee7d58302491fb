//! `farout run`: a live stream or a recording in, the overlay out over RTSP and HTTP.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, Result, anyhow};

use super::limited::limited;
use super::outputs::{self, Beside, Told};
use super::parts::{Logs, Parts};
use super::reported::Reported;
use super::run_settings;
use super::signals::{self, Reload};
use super::watch::{Watch, Watched};
use crate::bank::{SupplementConfig, Supplements};
use crate::cli::RunArgs;
use crate::config::{Config, ConfigError, StreamConfig};
use crate::detector::{Deliver, Detector, Draw, EventRecorder, EventRecorders, Record, Status, detect};
use crate::flow::{Flow, FlowError, Pace};
use crate::foxglove::Foxglove;
use crate::health::Health;
use crate::heaps;
use crate::live::{GaveUp, Live, Standing};
use crate::overlay::Overlay;
use crate::sink::{EventStore, ShownPictures};
use crate::source::{self, Purpose, Source};
use crate::steer::{Marks, Steering};
use crate::stop::Stop;

/// Runs until all sources end, time is over or a signal comes.
///
/// # Errors
/// What cannot be opened, and faults that no later frame can mend.
pub fn run(args: &RunArgs) -> Result<()> {
    // Before there are threads.
    heaps::few();
    let config = run_settings::read(args)?;
    let streams = config.each_stream()?;
    run_settings::refuse_overwriting(&config, &streams)?;
    let stop = Stop::new();
    let reload = Reload::default();
    signals::listen_and_reload(&stop, &reload)?;
    // Cheap things first: a port in use or a missing camera should not wait for the model.
    let opened = open_sources(streams, &stop)?;
    let all_live = opened.iter().all(|one| one.source.is_live());
    let lanes = all_live && config.output.picture == ShownPictures::Live;
    if !lanes && opened.len() > 1 {
        let why =
            "several streams run live only: none may have pace = \"fast\", and output.picture is \"live\"";
        return Err(ConfigError::Invalid(why.into()).into());
    }
    let (result, stuck, reported) = match lanes {
        true => in_lanes(args, config, opened, stop, &reload)?,
        false => scored(args, &config, opened, &stop)?,
    };
    reported.tell(args.detect.json)?;
    // What stands still is the cause of what comes of stopping it.
    stuck.map_or(result, Err)
}

/// Opens all sources at once: one that is slow to answer holds up no other.
///
/// # Errors
/// The first that cannot be opened.
fn open_sources(streams: Vec<StreamConfig>, stop: &Stop) -> Result<Vec<Open>> {
    let parts: Vec<_> = streams.iter().map(|stream| (stream, stop.of_part())).collect();
    let open = |(stream, stop): &(&StreamConfig, Stop)| {
        source::open(stream.source.source.secret(), &stream.source, Purpose::Live, stop.clone())
    };
    let sources = std::thread::scope(|scope| -> Result<Vec<_>> {
        let start = |part| {
            let named = std::thread::Builder::new().name("open".into());
            named.spawn_scoped(scope, move || open(part)).context("cannot start a thread")
        };
        let opening = parts.iter().map(start).collect::<Result<Vec<_>>>()?;
        let panicked = |_| anyhow!("a source panicked; this is a bug in farout, please report it");
        opening.into_iter().map(|one| one.join().map_err(panicked)).collect()
    })?;
    let stops: Vec<_> = parts.into_iter().map(|(_, stop)| stop).collect();
    let mut opened = Vec::new();
    for ((config, source), stop) in streams.into_iter().zip(sources).zip(stops) {
        let source = source?;
        tracing::info!(stream = config.name.as_deref(), "{}", source.describe());
        opened.push(Open { config, source, stop });
    }
    Ok(opened)
}

/// How a run ended, what stood still, and what is told of it.
type Ended = (Result<()>, Option<anyhow::Error>, Reported);

/// A stream, its source, and what ends that.
struct Open {
    config: StreamConfig,
    source: Box<dyn Source>,
    stop: Stop,
}

/// Every picture of all streams at its camera's rate, and the newest verdicts on them.
///
/// # Errors
/// Outputs that cannot be opened.
fn in_lanes(args: &RunArgs, config: Config, opened: Vec<Open>, stop: Stop, reload: &Reload) -> Result<Ended> {
    let servers = outputs::servers(&config.output, &config.access)?;
    let judged = !args.detect.bypass;
    let supplements = match judged {
        true => Supplements::open(&config.supplement)?,
        false => Supplements::open(&SupplementConfig::default())?,
    };
    let live = Live::new(config.clone(), judged, supplements.clone(), stop.clone());
    let parts = Parts {
        args: args.clone(),
        servers: servers.clone(),
        detection: live.detection().map(|detection| Arc::clone(&detection.health)),
        stop: stop.clone(),
        logs: Logs::default(),
        supplements: supplements.clone(),
        store: live.detection().map(|detection| store(&config, &detection.health)).transpose()?,
        broker: outputs::broker(&config.mqtt, live.detection().map(|detection| &detection.health))?,
        foxglove: outputs::foxglove(&config.foxglove, live.detection().map(|detection| &detection.health))?,
        clips: Mutex::default(),
    };
    parts.foxglove.iter().for_each(|topics| live.tell_of_verdicts(topics.verdicts()));
    parts.tell_of_supplements();
    let guarded = config.access.token_file.is_some() || config.access.user.is_some();
    let (broker, topics) = (parts.broker.clone(), parts.foxglove.clone());
    let events = parts.store.clone();
    let kept = events.clone();
    let marks = live.detection().map(|_| Arc::new(Marks::new(live.clone(), supplements, events.clone())));
    let mut streams = Vec::new();
    for Open { config: stream, source, stop } in opened {
        streams.push(parts.with_source(stream, &config.output, source, stop)?);
    }
    for stream in streams {
        live.add(stream)?;
    }
    let steering = Arc::new(Steering::new(live.clone(), Box::new(parts), config, stop.clone()));
    let told = live.clone();
    let streams = Box::new(move || told.streams());
    let told = Told {
        streams,
        detection: live.detection().cloned(),
        steering: Some(Arc::downgrade(&steering)),
        guarded,
        events,
        marks,
        broker: broker.clone(),
    };
    outputs::tell(&servers, told)?;
    let reloads = Arc::downgrade(&steering);
    reload.put(Arc::new(move || reloads.upgrade().iter().for_each(|steering| reread(steering))));
    let (watched, detection) = (live.clone(), live.detection().cloned());
    let standings = Box::new(move || watched.streams());
    let watched = Watched { streams: standings, detection: detection.clone(), steady: true };
    let watch = Watch::start(watched, stop, args.seconds).context("cannot start a thread")?;
    let result = live.run();
    outputs::fall_silent(&servers, broker.as_ref());
    drop(steering);
    kept.iter().for_each(EventStore::finish);
    topics.iter().for_each(Foxglove::end);
    let stuck = watch.end();
    Ok((result, stuck, Reported::of(&live.streams(), detection.as_deref())))
}

/// Where events are kept; `health` is told of what is wrong with it.
///
/// # Errors
/// If the folder cannot be written to.
fn store(config: &Config, health: &Arc<Health>) -> Result<EventStore> {
    let told = Arc::clone(health);
    Ok(EventStore::open(&config.events, Arc::new(move |part, problem| told.problem(part, problem)))?)
}

/// Takes the configuration anew, and says what became of it.
fn reread(steering: &Steering) {
    tracing::info!("the configuration is read again");
    if let Err(why) = steering.reload() {
        tracing::error!("{why}");
    }
}

/// Judged frames only, each shown with its own verdict: one chain for the one stream.
///
/// # Errors
/// Outputs that cannot be opened.
fn scored(args: &RunArgs, config: &Config, opened: Vec<Open>, stop: &Stop) -> Result<Ended> {
    let Open { config: stream, source, .. } =
        opened.into_iter().next().context("there is no stream; this is a bug in farout")?;
    let health = Arc::new(Health::new());
    // A recording played as fast as possible is not live: nothing is dropped.
    let live = source.is_live();
    let servers = outputs::servers(&config.output, &config.access)?;
    let (video, _) = outputs::live(
        &stream.output,
        (&servers, stream.name.as_deref()),
        live,
        source.rate(),
        &health,
        Beside::default(),
    )?;
    let standing = Standing {
        id: 0,
        name: stream.name.clone(),
        pictures: Arc::clone(&health),
        verdicts: None,
        ended: false,
    };
    let told = standing.clone();
    let streams = Box::new(move || vec![told.clone()]);
    outputs::tell(
        &servers,
        Told {
            streams,
            detection: None,
            steering: None,
            guarded: false,
            events: None,
            marks: None,
            broker: None,
        },
    )?;
    let known = standing.clone();
    let standings = Box::new(move || vec![known.clone()]);
    let watched = Watched { streams: standings, detection: None, steady: false };
    let watch = Watch::start(watched, stop.clone(), args.seconds).context("cannot start a thread")?;
    let source = limited(source, args.detect.frames);
    let pace = match live {
        true => Pace::Live { in_flight: config.flow.in_flight },
        false => Pace::Offline,
    };
    let chain = || -> Result<()> {
        let mut record = Record::default();
        let mut draw = None;
        let detector = match args.detect.bypass {
            true => None,
            false => Some(Detector::open(config)?),
        };
        if let Some(detector) = &detector {
            detector.alarms.add(0, &stream.score)?;
            if let Some(path) = &stream.output.events {
                let log = Logs::default().at(path, &health)?;
                let recorder = EventRecorder::new(&stream.score, stream.name.clone(), log);
                record.events = EventRecorders::one(recorder);
            }
            let status = Status::new(detector.summary.clone(), Some(Arc::clone(&health)));
            draw = Some(Draw { overlay: Overlay::new(&stream.overlay), status });
        }
        let frames = Flow::from_source(source, pace, Arc::clone(&health), stop.clone())?;
        let deliver = Deliver { pictures: None, video: Some(video), health: Arc::clone(&health) };
        let patience = Duration::from_secs_f64(config.flow.drain_secs);
        let ended = detect(frames, detector, record, draw, deliver, patience);
        ended.map_err(|why| match why {
            FlowError::Source(_) => why.into(),
            _ if live => anyhow::Error::from(why).context(GaveUp),
            _ => why.into(),
        })
    };
    let result = chain();
    outputs::fall_silent(&servers, None);
    let stuck = watch.end();
    Ok((result, stuck, Reported::of(&[standing], None)))
}
