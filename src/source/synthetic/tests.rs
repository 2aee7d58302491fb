//! Tests of the world as a whole: what it promises about its frames and their truth.

use std::collections::BTreeSet;

use super::classes::FENCE;
use super::strangers;
use super::*;
use crate::frame::PixelFormat;
use crate::pool::Pool;

fn config(spec: &str) -> SyntheticConfig {
    SyntheticConfig::parse(spec).unwrap()
}

fn shot(config: &SyntheticConfig, n: u64) -> (Frame, Truth) {
    let mut frame = Frame::take(&Pool::new(), PixelFormat::I420, config.width, config.height);
    let mut truth = Truth::default();
    World::new(config).render(n, &mut frame, Some(&mut truth));
    (frame, truth)
}

#[test]
fn a_frame_depends_on_its_number_alone() {
    let config = config("seed=5,width=320,height=180");
    let mut world = World::new(&config);
    let mut frame = Frame::take(&Pool::new(), PixelFormat::I420, 320, 180);
    let mut truth = Truth::default();
    for n in [900, 3, 500, 3, 77] {
        world.render(n, &mut frame, Some(&mut truth));
        let (alone, alone_truth) = shot(&config, n);
        assert_eq!(frame.pixels[..], alone.pixels[..], "frame {n}");
        assert_eq!((&truth.class, &truth.stranger), (&alone_truth.class, &alone_truth.stranger), "frame {n}");
    }
}

#[test]
fn stride_takes_every_nth_frame_of_the_same_drive() {
    let (far, _) = shot(&config("seed=5,width=160,height=90,stride=20"), 4);
    let (near, _) = shot(&config("seed=5,width=160,height=90"), 80);
    assert_eq!(far.pixels[..], near.pixels[..]);
}

#[test]
fn seeds_make_different_drives() {
    let (one, _) = shot(&config("seed=1,width=160,height=90"), 40);
    let (two, _) = shot(&config("seed=2,width=160,height=90"), 40);
    assert_ne!(one.pixels[..], two.pixels[..]);
}

#[test]
fn without_strangers_the_world_is_the_same_but_for_them_and_their_shadows() {
    let (with, without) = (config("seed=9"), config("seed=9,strangers=off"));
    let (width, height) = (with.width, with.height);
    let layout = I420Layout::new(width, height);
    let mut met = 0;
    for n in (0..1200).step_by(60) {
        let ((a, truth), (b, plain)) = (shot(&with, n), shot(&without, n));
        assert!(plain.stranger.iter().all(|&id| id == 0) && plain.class.iter().all(|&class| class != VOID));
        let view = View::at(9, n, with.fps, width, height);
        let textures = Textures::new();
        let land = Land::new(9);
        let scene = Scene { view: &view, land: &land, textures: &textures, seed: 9, kinds: &KINDS };
        // Boxes that hold each stranger, its shadow, and what the lens spreads of both.
        let mut boxes = Vec::new();
        strangers::strangers(&scene, |it| {
            let at = |x: f32, up: f32, z: f32| {
                let [px, py, pz] = view.point(x, up, z);
                (view.cx + view.focal * px / pz, view.cy + view.focal * py / pz)
            };
            let reach = 0.62 * it.size[0];
            let corners = [
                at(it.x - reach, it.size[1], it.z),
                at(it.x + reach, 0.0, it.z),
                at(it.x - reach, 0.0, (it.z - 0.3).max(0.7)),
                at(it.x + reach, 0.0, (it.z - 0.3).max(0.7)),
                at(it.x - reach, 0.0, it.z + 0.7),
                at(it.x + reach, 0.0, it.z + 0.7),
            ];
            let low = corners.iter().fold((f32::MAX, f32::MAX), |m, c| (m.0.min(c.0), m.1.min(c.1)));
            let high = corners.iter().fold((f32::MIN, f32::MIN), |m, c| (m.0.max(c.0), m.1.max(c.1)));
            boxes.push((low.0 - 4.0, low.1 - 4.0, high.0 + 4.0, high.1 + 4.0));
        });
        for y in 0..height {
            for x in 0..width {
                let (fx, fy) = (x as f32, y as f32);
                if boxes.iter().any(|b| (b.0..=b.2).contains(&fx) && (b.1..=b.3).contains(&fy)) {
                    continue;
                }
                let at = y * width + x;
                assert_eq!(truth.stranger[at], 0, "frame {n}, pixel {x},{y}");
                assert_eq!(truth.class[at], plain.class[at], "frame {n}, pixel {x},{y}");
                let luma = y * layout.y_stride + x;
                assert_eq!(a.pixels[luma], b.pixels[luma], "frame {n}, pixel {x},{y}");
            }
        }
        met += boxes.len();
        assert_eq!(truth.class.len(), width * height);
        let marked =
            truth.class.iter().zip(&truth.stranger).all(|(&class, &id)| (class == VOID) == (id != 0));
        assert!(marked, "class 255 and a stranger's number go together");
    }
    assert!(met > 10, "only {met} strangers met");
}

#[test]
fn strangers_of_all_kinds_come_near_and_far_with_gaps_between() {
    let config = config("seed=4,width=320,height=180");
    let land = Land::new(4);
    let textures = Textures::new();
    let (mut kinds, mut near, mut far, mut clear) = (BTreeSet::new(), 0, 0, 0);
    for second in 0..300u64 {
        let view = View::at(4, second * 30, 30, 320, 180);
        let scene = Scene { view: &view, land: &land, textures: &textures, seed: 4, kinds: &KINDS };
        let mut seen = false;
        strangers::strangers(&scene, |it| {
            kinds.insert(it.kind);
            near += usize::from(it.z < 12.0);
            far += usize::from(it.z > 35.0);
            seen = true;
        });
        clear += usize::from(!seen);
    }
    assert_eq!(kinds.len(), KINDS.len(), "five minutes show every kind");
    assert!(near > 30 && far > 100, "near {near}, far {far}");
    assert!((10..150).contains(&clear), "{clear} of 300 seconds without strangers");
    let (mut small, mut large) = (0, 0);
    for n in (0..3000).step_by(50) {
        let (_, truth) = shot(&config, n);
        let mut area = [0usize; 256];
        truth.stranger.iter().for_each(|&id| area[usize::from(id)] += 1);
        small += area[1..].iter().filter(|&&a| (1..100).contains(&a)).count();
        large += area[1..].iter().filter(|&&a| a > 600).count();
    }
    assert!(small > 5 && large > 5, "small {small}, large {large}");
}

#[test]
fn the_normal_world_has_every_class_and_no_other() {
    let mut seen = BTreeSet::new();
    for n in 0..40 {
        let (_, truth) = shot(&config("seed=3,width=320,height=180,strangers=off,stride=150"), n);
        seen.extend(truth.class);
    }
    assert_eq!(seen, (0..=FENCE).collect());
}

#[test]
fn any_size_can_be_painted() {
    for (width, height) in [(64, 64), (66, 1000), (1280, 720), (1000, 64)] {
        let config = config(&format!("seed=8,width={width},height={height}"));
        for n in [0, 1111] {
            let (frame, truth) = shot(&config, n);
            assert_eq!(frame.pixels.len(), I420Layout::new(width, height).len);
            assert_eq!((truth.class.len(), truth.stranger.len()), (width * height, width * height));
            assert!(truth.class.iter().all(|&class| class == VOID || class <= FENCE));
        }
    }
}

/// Mean Y, Cb, Cr of every 16x16 patch of whole patches, and how many of its pixels are strangers'.
fn patches(config: &SyntheticConfig, n: u64) -> Vec<([f32; 3], usize)> {
    const PATCH: usize = 16;
    let (frame, truth) = shot(config, n);
    let layout = I420Layout::new(config.width, config.height);
    let (luma, cb, cr) = layout.planes(&frame.pixels);
    let mean = |plane: &[u8], stride: usize, x: usize, y: usize, side: usize| {
        let sum: u32 =
            (y..y + side).flat_map(|y| &plane[y * stride + x..][..side]).map(|&v| u32::from(v)).sum();
        sum as f32 / (side * side) as f32
    };
    let mut out = Vec::new();
    for y in (0..config.height / PATCH).map(|row| row * PATCH) {
        for x in (0..config.width / PATCH).map(|column| column * PATCH) {
            let colour = [
                mean(luma, layout.y_stride, x, y, PATCH),
                mean(cb, layout.uv_stride, x / 2, y / 2, PATCH / 2),
                mean(cr, layout.uv_stride, x / 2, y / 2, PATCH / 2),
            ];
            let strange = (y..y + PATCH)
                .flat_map(|y| &truth.stranger[y * config.width + x..][..PATCH])
                .filter(|&&id| id != 0)
                .count();
            out.push((colour, strange));
        }
    }
    out
}

/// The strangers must not be found by their colour: then finding them by features would prove nothing.
#[test]
fn strangers_hide_from_nearest_neighbours_in_mean_colour() {
    let mut bank = Vec::new();
    for seed in 801..809 {
        let normal = config(&format!("seed={seed},strangers=off,stride=170"));
        for n in 0..6 {
            bank.extend(patches(&normal, n).into_iter().step_by(10).map(|patch| patch.0));
        }
    }
    let mut scored = Vec::new();
    for seed in [901, 902, 903] {
        let strange = config(&format!("seed={seed},stride=122"));
        for n in 0..12 {
            scored.extend(patches(&strange, n).into_iter().map(|(colour, strange)| {
                let mut nearest = [f32::MAX; 3];
                for other in &bank {
                    let square: f32 = colour.iter().zip(other).map(|(a, b)| (a - b) * (a - b)).sum();
                    if square < nearest[2] {
                        nearest[2] = square;
                        nearest.sort_by(f32::total_cmp);
                    }
                }
                (nearest.iter().map(|square| square.sqrt()).sum::<f32>(), strange)
            }));
        }
    }
    // Average precision over pixels; all pixels of a patch share its score.
    scored.sort_by(|a, b| b.0.total_cmp(&a.0));
    let total: usize = scored.iter().map(|patch| patch.1).sum();
    let (mut hits, mut ap) = (0, 0.0);
    for (i, &(_, strange)) in scored.iter().enumerate() {
        hits += strange;
        let precision = hits as f64 / (256 * (i + 1)) as f64;
        ap += precision * strange as f64 / total as f64;
    }
    assert!(total > 20_000, "only {total} pixels of strangers");
    assert!(ap < 0.30, "mean colour finds the strangers with AP {ap:.3}");
    println!(
        "mean colour AP {ap:.3}, {:.4} of the pixels are strangers'",
        total as f64 / (256 * scored.len()) as f64
    );
}
