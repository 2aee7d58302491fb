//! What a shard must know of the inputs of all the others: made once, so that each machine needs its own inputs only.

use std::collections::HashSet;
use std::fmt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::digest::hash;
use super::error::BuildError;
use super::inputs::{Input, InputKind, Open, kind_by_ending, name_of};
use super::split::{Place, Split, SplitKeys};
use crate::bank::ShardNumber;
use crate::digest::{digest_of, hex};
use crate::file::{WriteError, write_whole};
use crate::source::{Source, SourceError};
use crate::stop::Stop;

/// More than a year at 30 frames per second.
const MOST_FRAMES: u64 = 1_000_000_000;
/// Version of the file.
const FORMAT: u32 = 1;

/// An input that is only known by its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Folder and file name, as [`Input::name`].
    pub name: String,
    /// Frames of a video; `None` for a still image.
    pub frames: Option<u64>,
}

/// What inputs there are, told so that it can be added up over shards: who adds the same has the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Inputs {
    /// Images and videos.
    pub files: u64,
    /// Frames that are looked at.
    pub frames: u64,
    /// Sum of hashes of the names: the upper and the lower half.
    names: [u64; 2],
}

impl Inputs {
    /// Adds an input of which so many frames are looked at.
    pub(super) fn add(&mut self, name: &str, frames: u64) {
        let hash = hash(&[b"planned input", name.as_bytes()]);
        self.join(Inputs { files: 1, frames, names: [(hash >> 64) as u64, hash as u64] });
    }

    /// Adds other inputs.
    pub(super) fn join(&mut self, other: Inputs) {
        let whole = |[high, low]: [u64; 2]| u128::from(high) << 64 | u128::from(low);
        let sum = whole(self.names).wrapping_add(whole(other.names));
        self.names = [(sum >> 64) as u64, sum as u64];
        self.files += other.files;
        self.frames += other.frames;
    }
}

/// What a shard was built from, and what all shards of its plan together must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Planned {
    /// The shard's own inputs.
    pub own: Inputs,
    /// Those of the plan.
    pub all: Inputs,
}

impl Planned {
    /// What is wrong with shards that together have `own`.
    pub(super) fn fault(&self) -> Option<String> {
        let (own, all) = (self.own, self.all);
        (own != all).then(|| {
            format!(
                "they were built from {} images and videos with {} frames, the plan has {} with {}; an input is missing, in \
                 two shards, or not called as in the plan (a file is known by the name of its folder and its own)",
                own.files, own.frames, all.files, all.frames
            )
        })
    }
}

/// How the work on a bank is cut: which frames are held out, decided by all inputs together.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    format: u32,
    /// Number of shards.
    shards: u32,
    /// SHA-256 over the names of all inputs.
    inputs: String,
    /// What inputs there are.
    of: Inputs,
    video_step: u32,
    split: Split,
    /// The split in words.
    held_out: String,
}

/// Why a list of inputs or a plan cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// It cannot be read.
    #[error("cannot read {path}: {source}", path = path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A line of a list, or the whole of a plan, makes no sense.
    #[error("{path}{at}: {why}", path = path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// ":LINE", or nothing.
        at: String,
        /// What is wrong, and what it should be.
        why: String,
    },
    /// It was made for other options.
    #[error("{path} is not the plan of this build: {why}; make it again with farout bank plan and the same flags", path = path.display())]
    Different {
        /// The plan.
        path: PathBuf,
        /// What differs.
        why: String,
    },
}

/// Reads a list of inputs: one path, name or address per line, after that of a video a tab and its number of frames. Of each
/// the last folder and the file name count.
///
/// # Errors
/// [`PlanError::Malformed`] names the line.
pub fn read_list(path: &Path) -> Result<Vec<Listed>, PlanError> {
    let text = std::fs::read_to_string(path)
        .map_err(|source| PlanError::Unreadable { path: path.to_owned(), source })?;
    let (mut listed, mut seen) = (Vec::new(), HashSet::new());
    for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let once = match seen.insert(line.trim_end()) {
            true => of_line(line),
            false => Err(format!("{line:?} stands there twice")),
        };
        listed.push(once.map_err(|why| PlanError::Malformed {
            path: path.to_owned(),
            at: format!(":{}", number + 1),
            why,
        })?);
    }
    match listed.is_empty() {
        true => Err(PlanError::Malformed {
            path: path.to_owned(),
            at: String::new(),
            why: "it names no input; write one path per line".to_owned(),
        }),
        false => Ok(listed),
    }
}

fn of_line(line: &str) -> Result<Listed, String> {
    let (place, frames) = match line.split_once('\t') {
        Some((place, frames)) => (place, Some(frames)),
        None => (line, None),
    };
    let mut parts = place.trim_end_matches('/').rsplit('/').filter(|part| !part.is_empty());
    let (Some(file), folder) = (parts.next(), parts.next()) else {
        return Err(format!("{place:?} names no file"));
    };
    let folder = folder.filter(|folder| ![".", "..", "~"].contains(folder)).ok_or_else(|| {
        format!("{place:?} does not name the folder of the file, which is a part of what it is called: write whole paths")
    })?;
    let name = name_of(folder, file);
    let frames = match (kind_by_ending(Path::new(file)), frames) {
        (None, _) => return Err(format!("{place:?} is neither an image nor a video by its ending")),
        (Some(InputKind::Still), None) => None,
        (Some(InputKind::Still), Some(_)) => {
            return Err(format!("{place:?} is an image: leave the frames out"));
        }
        (Some(InputKind::Video), None) => {
            return Err(format!("{place:?} is a video: write its number of frames after a tab"));
        }
        (Some(InputKind::Video), Some(text)) => {
            let frames: u64 =
                text.trim().parse().map_err(|e| format!("{text:?} is no number of frames: {e}"))?;
            if frames > MOST_FRAMES {
                return Err(format!("{frames} frames are more than a video has"));
            }
            Some(frames)
        }
    };
    Ok(Listed { name, frames })
}

impl Plan {
    /// Cuts the work on inputs with these names into `shards`; every `video_step`th frame of videos is taken.
    pub fn of(listed: &[Listed], shards: u32, keys: SplitKeys, video_step: u32) -> Plan {
        let (mut places, mut of) = (Vec::<Place>::new(), Inputs::default());
        for input in listed {
            let before = places.len();
            places.extend(places_of(input, video_step));
            of.add(&input.name, (places.len() - before) as u64);
        }
        let split = Split::new(keys, &places);
        Plan {
            format: FORMAT,
            shards: shards.max(1),
            inputs: digest_of_names(listed.iter().map(|input| input.name.as_str())),
            of,
            video_step: video_step.max(1),
            held_out: split.describe(),
            split,
        }
    }

    /// Reads what [`Plan::write`] wrote.
    ///
    /// # Errors
    /// If it is no plan.
    pub fn read(path: &Path) -> Result<Plan, PlanError> {
        let malformed = |why: String| PlanError::Malformed { path: path.to_owned(), at: String::new(), why };
        let text = std::fs::read_to_string(path)
            .map_err(|source| PlanError::Unreadable { path: path.to_owned(), source })?;
        let plan: Plan = serde_json::from_str(&text)
            .map_err(|e| malformed(format!("{e}; make it with farout bank plan")))?;
        match plan.format {
            FORMAT => Ok(plan),
            other => {
                Err(malformed(format!("format {other} is not known here, only {FORMAT}: update farout")))
            }
        }
    }

    /// Writes it whole.
    ///
    /// # Errors
    /// Names `path` and the reason.
    pub fn write(&self, path: &Path) -> Result<(), WriteError> {
        write_whole(path, |out| {
            serde_json::to_writer_pretty(&mut *out, self).map_err(std::io::Error::other)?;
            std::io::Write::write_all(out, b"\n")
        })
    }

    /// Refuses a plan, read from `path`, that was made for another build than that of `shard` by these keys and this step.
    ///
    /// # Errors
    /// [`PlanError::Different`].
    pub fn must_fit(
        &self,
        path: &Path,
        shard: ShardNumber,
        keys: SplitKeys,
        video_step: u32,
    ) -> Result<(), PlanError> {
        let step = video_step.max(1);
        let why = if shard.of != self.shards {
            format!("it has {} shards, not {}", self.shards, shard.of)
        } else if step != self.video_step {
            format!("it takes one of {} frames of videos, not one of {step}", self.video_step)
        } else if !self.split.is_by(keys) {
            "its seed or its held-out blocks are others".to_owned()
        } else {
            return Ok(());
        };
        Err(PlanError::Different { path: path.to_owned(), why })
    }

    /// The rule that decides which frames are held out.
    pub(super) fn split(&self) -> &Split {
        &self.split
    }

    /// What inputs there are.
    pub(super) fn of_all(&self) -> Inputs {
        self.of
    }

    /// SHA-256 over the names of all inputs.
    pub(super) fn inputs(&self) -> &str {
        &self.inputs
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} inputs with {} frames in {} shards", self.of.files, self.of.frames, self.shards)?;
        writeln!(f, "  held out     {}", self.held_out)
    }
}

/// SHA-256 over the names of all inputs in their order, with a 0 after each.
pub(super) fn digest_of_names<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let mut names: Vec<&str> = names.collect();
    names.sort_unstable();
    hex(&digest_of(&names.iter().flat_map(|name| [name.as_bytes(), b"\0"]).collect::<Vec<_>>()))
}

/// The places of the frames of an input that are looked at.
pub(super) fn places_of(input: &Listed, step: u32) -> impl Iterator<Item = Place> {
    let (still, frames) = match input.frames {
        None => (Some(Place::of_still(&input.name)), 0),
        Some(frames) => (None, frames.max(1)),
    };
    let numbers = (0..frames).step_by(step.max(1) as usize);
    still.into_iter().chain(numbers.map(|number| Place { series: input.name.clone(), number }))
}

/// `input` by its name; of a video the frames are counted.
///
/// # Errors
/// If it cannot be opened or read.
pub fn listed(input: &Input, open: &mut Open, stop: &Stop) -> Result<Listed, BuildError> {
    let name = input.name.clone();
    if input.kind == InputKind::Still {
        return Ok(Listed { name, frames: None });
    }
    let mut source = open(input).map_err(|source| BuildError::Frame { name: input.name.clone(), source })?;
    let frames = match source.frames() {
        Some(frames) => frames,
        None => count(source.as_mut(), stop)?,
    };
    Ok(Listed { name, frames: Some(frames) })
}

/// Decodes a video to its end; decoding costs little beside what the features will.
fn count(source: &mut dyn Source, stop: &Stop) -> Result<u64, BuildError> {
    let mut frames = 0;
    loop {
        match source.next() {
            _ if stop.asked() => return Err(BuildError::Stopped),
            Ok(Some(_)) => frames += 1,
            Ok(None) | Err(SourceError::CutOff { .. }) => return Ok(frames),
            Err(other) => return Err(other.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list_of(text: &str) -> Result<Vec<Listed>, PlanError> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        read_list(file.path())
    }

    #[test]
    fn lists_name_inputs_as_folders_do() {
        let text = "s3://bucket/day 1/a_000001.jpg\n\n/data/day2/b.mp4\t250\n";
        let still = |name: &str| Listed { name: name.to_owned(), frames: None };
        let video = Listed { name: "day2/b.mp4".to_owned(), frames: Some(250) };
        assert_eq!(list_of(text).unwrap(), [still("day 1/a_000001.jpg"), video]);
        for (text, words) in [
            ("x/a.jpg\nx/b.mp4\n", ":2: \"x/b.mp4\" is a video: write its number of frames after a tab"),
            ("x/a.txt", ":1: \"x/a.txt\" is neither"),
            ("x/b.mkv\tmany", ":1: \"many\" is no number"),
            ("x/b.png\t3", ":1: \"x/b.png\" is an image"),
            ("//\n", ":1: \"//\" names no file"),
            ("\n", "names no input"),
            ("x/c.png\nx/c.png", ":2: \"x/c.png\" stands there twice"),
            ("c.png", "write whole paths"),
            ("./c.png", "write whole paths"),
            ("x/b.mp4\t9999999999", "more than a video has"),
        ] {
            let why = list_of(text).unwrap_err().to_string();
            assert!(why.contains(words), "{text:?}: {why}");
        }
    }

    #[test]
    fn a_plan_is_written_and_fits_its_build_only() {
        let listed: Vec<Listed> = (0..40)
            .map(|i| Listed { name: format!("drive/{:06}.jpg", i * 100), frames: None })
            .chain([Listed { name: "drive/v.mp4".to_owned(), frames: Some(25) }])
            .collect();
        let keys = SplitKeys { seed: u64::MAX, share: 0.2, block: 300, guard: 30 };
        let plan = Plan::of(&listed, 4, keys, 10);
        assert_eq!((plan.of.files, plan.of.frames), (41, 43), "every tenth frame of the video");
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("plan.json");
        plan.write(&path).unwrap();
        assert_eq!(Plan::read(&path).unwrap(), plan);
        plan.must_fit(&path, ShardNumber { number: 2, of: 4 }, keys, 10).unwrap();
        let differs = |of, keys, step| {
            plan.must_fit(&path, ShardNumber { number: 2, of }, keys, step).unwrap_err().to_string()
        };
        assert!(differs(3, keys, 10).contains("4 shards, not 3"));
        assert!(differs(4, SplitKeys { seed: 1, ..keys }, 10).contains("seed"));
        assert!(differs(4, keys, 3).contains("one of 10 frames of videos, not one of 3"));
        std::fs::write(&path, "{\"format\": 2}").unwrap();
        assert!(Plan::read(&path).unwrap_err().to_string().contains("farout bank plan"));
    }
}
