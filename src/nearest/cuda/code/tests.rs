//! Files of code, the cache and ready folders. The compiler takes part where it is installed.

use super::*;
use crate::skipped::skipped;

const ARCH: Arch = Arch::of(87);

#[test]
fn a_file_is_read_back_and_any_damage_is_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let (path, target) = (folder.path().join("x.kernels"), Target::Cubin(ARCH));
    let code: Vec<u8> = (0..=255).cycle().take(5000).collect();
    write(&path, target, "12.6", &code).unwrap();
    assert_eq!(read(&path, target).unwrap(), code);
    let whole = std::fs::read(&path).unwrap();
    for (what, damage) in [
        ("cut short", whole[..whole.len() - 1].to_vec()),
        ("cut in the label", whole[..20].to_vec()),
        ("empty", Vec::new()),
        ("longer", [&whole[..], b"x"].concat()),
        ("a bit", {
            let mut bytes = whole.clone();
            *bytes.last_mut().unwrap() ^= 1;
            bytes
        }),
        (
            "another source",
            String::from_utf8_lossy(&whole).replacen(&source::digest()[..8], "00000000", 1).into_bytes(),
        ),
    ] {
        std::fs::write(&path, damage).unwrap();
        assert!(read(&path, target).is_err(), "{what}");
    }
    std::fs::write(&path, &whole).unwrap();
    assert!(read(&path, Target::Cubin(Arch::of(86))).unwrap_err().contains("sm_87"));
}

#[test]
fn the_cache_tells_apart_all_that_the_code_depends_on() {
    let names = [
        cache_name(Target::Cubin(ARCH), "12.6"),
        cache_name(Target::Cubin(ARCH), "12.9"),
        cache_name(Target::Cubin(Arch::of(86)), "12.6"),
        cache_name(Target::Ptx(ARCH), "12.6"),
    ];
    let distinct: std::collections::BTreeSet<_> = names.iter().collect();
    assert_eq!(distinct.len(), names.len());
}

#[test]
fn ready_code_is_its_own_or_the_newest_that_the_card_can_translate() {
    let folder = tempfile::tempdir().unwrap();
    let put = |target: Target, code: &[u8]| {
        write(&folder.path().join(ready_name(target)), target, "12.6", code).unwrap()
    };
    assert!(ready(folder.path(), ARCH).unwrap_err().contains("no code for sm_87"));
    put(Target::Ptx(Arch::of(75)), b"ptx 75");
    put(Target::Ptx(Arch::of(80)), b"ptx 80");
    put(Target::Ptx(Arch::of(90)), b"ptx 90");
    assert_eq!(ready(folder.path(), ARCH).unwrap().bytes, b"ptx 80");
    put(Target::Cubin(ARCH), b"cubin");
    assert_eq!(ready(folder.path(), ARCH).unwrap().target, Target::Cubin(ARCH));
    std::fs::write(folder.path().join("sm_87.kernels"), "junk").unwrap();
    assert_eq!(ready(folder.path(), ARCH).unwrap().bytes, b"ptx 80");
    std::fs::remove_file(folder.path().join("compute_80.kernels")).unwrap();
    std::fs::remove_file(folder.path().join("compute_75.kernels")).unwrap();
    assert!(ready(folder.path(), ARCH).unwrap_err().contains("sm_87.kernels: it is no file"));
    assert!(ready(&folder.path().join("none"), ARCH).is_err());
}

#[test]
fn code_is_compiled_once_and_again_after_damage() {
    if let Err(why) = Compiler::all() {
        assert!(std::env::var_os("FAROUT_TEST_NVRTC").is_none(), "{why}");
        skipped("GPU code that is compiled and kept", &why.to_string());
        return;
    }
    let cache = tempfile::tempdir().unwrap();
    let first = code_for((ARCH, 13_000), None, Some(cache.path())).unwrap();
    assert!(first.origin.starts_with("NVRTC") && first.target == Target::Cubin(ARCH));
    let files: Vec<_> =
        std::fs::read_dir(cache.path().join("kernels")).unwrap().map(|e| e.unwrap().path()).collect();
    assert_eq!(files.len(), 1);
    let second = code_for((ARCH, 13_000), None, Some(cache.path())).unwrap();
    assert_eq!((second.origin, &second.bytes), (files[0].display().to_string(), &first.bytes));
    let whole = std::fs::read(&files[0]).unwrap();
    std::fs::write(&files[0], &whole[..whole.len() / 2]).unwrap();
    assert!(code_for((ARCH, 13_000), None, Some(cache.path())).unwrap().origin.starts_with("NVRTC"));
    assert_eq!(std::fs::read(&files[0]).unwrap(), whole, "the damaged file is replaced");

    let folder = tempfile::tempdir().unwrap();
    let mut made = Vec::new();
    build(&[ARCH], folder.path(), |path| made.push(path.to_owned())).unwrap();
    assert_eq!(made.len(), 2);
    let ready = code_for((ARCH, 13_000), Some(folder.path()), None).unwrap();
    assert_eq!((ready.origin, ready.bytes), (made[0].display().to_string(), first.bytes));
    let why = build(&[Arch::of(999)], folder.path(), |_| ()).unwrap_err().to_string();
    assert!(why.contains("sm_999") && why.contains("sm_87"), "{why}");
}
