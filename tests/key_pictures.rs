//! Which encoded pictures decoding can start with.
#![cfg(feature = "media")]

use std::sync::{Arc, Mutex};

use crate::support::screens::{quarters, served};
use farout::pool::Pool;
use farout::sink::{AccessConfig, EncodedPicture, Haste, OutputConfig, PictureLog, Servers, VideoOut};

/// Whether each picture is said to be a key picture, and its bytes.
#[derive(Clone, Default)]
struct Seen(Arc<Mutex<Vec<(bool, Vec<u8>)>>>);

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

/// When the scene changes right after a key picture, x264 codes the next one without references, but later pictures may
/// still refer to those before it (7.4.1.2.4: it is no IDR picture).
#[test]
fn a_change_of_scene_is_no_key_picture() {
    let servers = Servers::start(&served(), &AccessConfig::default()).unwrap();
    let seen = Seen::default();
    let mount = servers.mount(Some("cam")).unwrap().with_log(Box::new(seen.clone()));
    let config = OutputConfig { encoder: "x264enc".into(), keyframe_secs: 1.0, ..OutputConfig::default() };
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
}
