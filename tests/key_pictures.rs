//! Which encoded pictures decoding can start with.
#![cfg(feature = "media")]

use std::ops::Range;
use std::sync::{Arc, Mutex};

use crate::support::screens::{quarters, served};
use farout::pool::Pool;
use farout::sink::{AccessConfig, EncodedPicture, Haste, OutputConfig, PictureLog, Servers, VideoOut};

/// Whether a picture is said to be a key picture, and its bytes.
type Picture = (bool, Vec<u8>);

/// All pictures, in order.
#[derive(Clone, Default)]
struct Seen(Arc<Mutex<Vec<Picture>>>);

impl PictureLog for Seen {
    fn take(&mut self, picture: &EncodedPicture<'_>) {
        self.0.lock().unwrap().push((picture.key, picture.bytes.to_vec()));
    }
}

/// The first two bytes of each unit of a byte stream (ITU-T H.264, annex B).
fn units(bytes: &[u8]) -> Vec<(u8, u8)> {
    let found = bytes.windows(5).filter(|five| five[..3] == [0, 0, 1]);
    found.map(|five| (five[3] & 0x1f, five[4])).collect()
}

/// Whether each picture of a fragmented MP4 file is a sync sample: the flags of `trun`, or the defaults of `tfhd`
/// (ISO/IEC 14496-12, 8.8.7 and 8.8.8).
fn sync_samples(file: &[u8]) -> Vec<bool> {
    let number = |at: usize| u32::from_be_bytes(file[at..at + 4].try_into().unwrap()) as usize;
    let (mut found, mut usual) = (Vec::new(), 0);
    let mut boxes = Vec::from([Range { start: 0, end: file.len() }]);
    while let Some(mut within) = boxes.pop() {
        while within.len() >= 8 {
            let (at, length) = (within.start, number(within.start));
            within.start += length;
            if let b"moof" | b"traf" = &file[at + 4..at + 8] {
                // What is inside comes before what follows.
                boxes.push(within);
                within = at + 8..at + length;
                continue;
            }
            let (flags, mut at) = (number(at + 8), at + 12);
            match &file[at - 8..at - 4] {
                b"tfhd" => {
                    // The track, then what the flags name; the sample flags are the last of it.
                    at += 4 + if flags & 1 == 0 { 0 } else { 8 };
                    at += [2, 8, 16].iter().filter(|flag| flags & **flag != 0).count() * 4;
                    usual = if flags & 0x20 == 0 { 0 } else { number(at) };
                }
                b"trun" => {
                    let count = number(at);
                    at += 4 + if flags & 1 == 0 { 0 } else { 4 };
                    let first = (flags & 4 != 0).then(|| number(at));
                    at += first.map_or(0, |_| 4);
                    for sample in 0..count {
                        at += [0x100, 0x200].iter().filter(|flag| flags & **flag != 0).count() * 4;
                        let own = (flags & 0x400 != 0).then(|| number(at));
                        at += own.map_or(0, |_| 4) + if flags & 0x800 == 0 { 0 } else { 4 };
                        let said = own.or(first.filter(|_| sample == 0)).unwrap_or(usual);
                        // `sample_is_non_sync_sample`
                        found.push(said & 0x1_0000 == 0);
                    }
                }
                _ => {}
            }
        }
    }
    found
}

/// When the scene changes right after a key picture, x264 codes the next one without references, but later pictures may
/// still refer to those before it (7.4.1.2.4: it is no IDR picture).
#[test]
fn a_change_of_scene_is_no_key_picture() {
    let servers = Servers::start(&served(), &AccessConfig::default()).unwrap();
    let seen = Seen::default();
    let mount = servers.mount(Some("cam")).unwrap().with_log(Box::new(seen.clone()));
    let folder = tempfile::tempdir().unwrap();
    let drive = folder.path().join("drive.mp4");
    let config = OutputConfig {
        encoder: "x264enc".into(),
        keyframe_secs: 1.0,
        record: Some(drive.clone()),
        ..OutputConfig::default()
    };
    let mut out = VideoOut::open(&config, Some(mount), Haste::Offline, Some(30.0), None, None).unwrap();
    let (pool, mut random) = (Pool::new(), 1_u32);
    for n in 0..90 {
        let mut frame = quarters(&pool, 320, 180, n, 30);
        // Another scene with every picture.
        for byte in frame.pixels.iter_mut() {
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            *byte = 16 + (random >> 25) as u8;
        }
        out.push(frame).unwrap();
    }
    out.finish().unwrap();
    let seen = seen.0.lock().unwrap();
    assert_eq!(seen.len(), 90);
    let mut intra = 0;
    for (n, (key, bytes)) in seen.iter().enumerate() {
        let units = units(bytes);
        let (kind, first) = *units.iter().find(|(kind, _)| (1..=5).contains(kind)).unwrap();
        assert_eq!(*key, kind == 5, "picture {n}: {units:?}");
        assert!(
            !key || [7, 8].iter().all(|set| units.iter().any(|(kind, _)| kind == set)),
            "picture {n}: {units:?}"
        );
        // A slice from the first macroblock on (bit 1), of type 7: intra only (bits 0001000; table 7-6).
        intra += usize::from(kind == 1 && first == 0b1000_1000);
    }
    println!(
        "{} key pictures, {intra} others without references",
        seen.iter().filter(|(key, _)| *key).count()
    );
    assert!(seen[0].0);
    assert!(intra > 0, "no picture shows what this is about");
    // A player that seeks goes by what the recording says (ffprobe looks at the pictures instead).
    let recorded = sync_samples(&std::fs::read(&drive).unwrap());
    assert_eq!(recorded, seen.iter().map(|(key, _)| *key).collect::<Vec<_>>());
}
