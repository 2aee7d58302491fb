//! ffmpeg makes clips and says how they look; without it such tests are skipped.
#![allow(dead_code, clippy::unwrap_used)]

use std::path::Path;
use std::process::Command;

use farout::colour::rgb_from_i420;
use farout::frame::Frame;

/// Whether ffmpeg can be asked; says so if not.
pub fn is_there() -> bool {
    let there = Command::new("ffmpeg").arg("-version").output().is_ok();
    if !there {
        super::skipped::skipped("clips that ffmpeg makes", "ffmpeg is not installed");
    }
    there
}

/// Runs `ffmpeg -v error -y ARGS... OUT`. False if it has no such encoder.
pub fn makes(args: &str, out: &Path) -> bool {
    let told = Command::new("ffmpeg")
        .args("-v error -y".split(' ').chain(args.split_whitespace()))
        .arg(out)
        .output()
        .unwrap();
    let words = String::from_utf8_lossy(&told.stderr);
    assert!(told.status.success() || words.contains("Unknown encoder"), "{args}: {words}");
    told.status.success()
}

/// The first picture as ffmpeg shows it: R, G, B.
pub fn picture(clip: &Path) -> Vec<u8> {
    let told = Command::new("ffmpeg")
        .args("-v error -i".split(' '))
        .arg(clip)
        .args(
            "-frames:v 1 -sws_flags accurate_rnd+full_chroma_int+bilinear -f rawvideo -pix_fmt rgb24 -"
                .split(' '),
        )
        .output()
        .unwrap();
    assert!(told.status.success(), "{}: {}", clip.display(), String::from_utf8_lossy(&told.stderr));
    told.stdout
}

/// A frame as `--frames-out` writes it: R, G, B.
pub fn rgb(frame: &Frame) -> Vec<u8> {
    let mut rgb = Vec::new();
    rgb_from_i420(&frame.pixels, &frame.i420().unwrap(), frame.colour, &mut rgb);
    rgb
}

/// Mean absolute difference.
pub fn difference(a: &[u8], b: &[u8]) -> f64 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| f64::from(a.abs_diff(*b))).sum::<f64>() / a.len() as f64
}
