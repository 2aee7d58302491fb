//! Files of each container, made box by box: whole, cut off, and with what recorders leave in and behind them.

use super::*;

fn boxed(kind: &[u8; 4], body: &[u8]) -> Vec<u8> {
    [&(body.len() as u32 + 8).to_be_bytes()[..], kind, body].concat()
}

fn words(list: &[u32]) -> Vec<u8> {
    list.iter().flat_map(|word| word.to_be_bytes()).collect()
}

/// A `moov` with one track of this kind, two samples in each of two chunks.
fn moov(handler: &[u8; 4], offsets: [u32; 2], sizes: [u32; 4]) -> Vec<u8> {
    let stco = boxed(b"stco", &words(&[0, 2, offsets[0], offsets[1]]));
    let stsz = boxed(b"stsz", &words(&[0, 0, 4, sizes[0], sizes[1], sizes[2], sizes[3]]));
    let stsc = boxed(b"stsc", &words(&[0, 1, 1, 2, 1]));
    let table = boxed(b"stbl", &[stsc, stsz, stco].concat());
    let handler = boxed(b"hdlr", &[&[0; 8][..], handler, &[0; 12]].concat());
    let media = boxed(b"mdia", &[handler, boxed(b"minf", &table)].concat());
    boxed(b"moov", &[boxed(b"mvhd", &[0; 4]), boxed(b"trak", &media)].concat())
}

/// A fragment of three samples of `size` bytes whose data begins right behind it.
fn moof(size: u32) -> Vec<u8> {
    let of = |offset: u32| {
        let head = boxed(b"tfhd", &words(&[0x02_0010, 1, size]));
        let run = boxed(b"trun", &words(&[0x01, 3, offset]));
        boxed(b"moof", &[boxed(b"mfhd", &[0; 8]), boxed(b"traf", &[head, run].concat())].concat())
    };
    of(of(0).len() as u32 + 8)
}

fn verdict(bytes: &[u8]) -> String {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), bytes).unwrap();
    format!("{:?}", look(file.path()).unwrap())
}

#[test]
fn the_index_of_an_mp4_decides() {
    let ftyp = boxed(b"ftyp", b"isom");
    let data = |count: usize| boxed(b"mdat", &vec![7; count]);
    let tail = moov(b"vide", [20, 30], [5, 5, 5, 5]);
    let whole = [&ftyp[..], &data(20), &tail].concat();
    let (short, long) = (moov(b"vide", [20, 30], [5, 5, 5, 900]), moov(b"meta", [20, 9999], [5; 4]));
    let behind = |more: &[u8]| [&whole[..], more].concat();
    // The index comes first; its samples lie behind it.
    let head = moov(b"vide", [0, 0], [0; 4]).len() as u32 + 12 + 8;
    let first = [&ftyp[..], &moov(b"vide", [head, head + 10], [5; 4]), &data(20)].concat();
    let vendor = boxed(b"thum", &[1; 30]);
    let in_between = {
        let at = 12 + vendor.len() as u32 + 8;
        [&ftyp[..], &vendor, &data(20), &moov(b"vide", [at, at + 10], [5; 4])].concat()
    };
    let fragments = [&ftyp[..], &boxed(b"moov", &[]), &moof(10), &data(30), &moof(10), &data(30)].concat();
    for (name, bytes, want) in [
        ("whole", whole.clone(), "Whole"),
        ("index first", first.clone(), "Whole"),
        ("index first, cut", first[..first.len() - 1].to_vec(), "Cut"),
        ("samples beyond the end", [&ftyp[..], &data(20), &short].concat(), "Cut"),
        ("notes beyond the end", [&ftyp[..], &data(20), &long].concat(), "Whole"),
        ("vendor's box before the index", in_between, "Whole"),
        ("vendor's box first", [&boxed(b"frea", &[0; 9])[..], &whole].concat(), "Whole"),
        ("vendor's box at the end", behind(&boxed(b"gps0", &[9; 40])), "Whole"),
        ("vendor's box at the end, cut", behind(&boxed(b"GPS ", &[9; 40])[..20]), "Whole"),
        ("two zeros", behind(&[0; 2]), "Whole"),
        ("four zeros", behind(&[0; 4]), "Whole"),
        ("many zeros", behind(&[0; 4096]), "Whole"),
        ("text", behind(b"recorded by X, 2024-01-01"), "Whole"),
        ("no index", [&ftyp[..], &data(20)].concat(), "NoIndex(\"its index (moov) is missing: the recorder"),
        ("open data, no index", [&ftyp[..], &[0, 0, 0, 0], b"mdat", &[7; 20]].concat(), "NoIndex"),
        ("index cut", whole[..whole.len() - 1].to_vec(), "NoIndex(\"its index (moov) is cut off"),
        ("no data", ftyp.clone(), "NoIndex(\"its index (moov) is missing, and it holds no"),
        (
            "segment alone",
            [&boxed(b"styp", b"msdh")[..], &moof(10), &data(30)].concat(),
            "NoIndex(\"it is a fragment",
        ),
        ("fragments", fragments.clone(), "Whole"),
        ("fragments and junk", [&fragments[..], b"junk"].concat(), "Whole"),
        ("last data cut", fragments[..fragments.len() - 1].to_vec(), "Cut"),
        ("last data missing", fragments[..fragments.len() - 38].to_vec(), "Cut"),
        ("last fragment's head cut", fragments[..fragments.len() - 50].to_vec(), "Cut"),
        ("one fragment less", fragments[..fragments.len() - 38 - moof(10).len()].to_vec(), "Whole"),
        ("text alone", b"only text".to_vec(), "Unknown"),
        ("many printable words", b"\0\0\0\x08abcd".repeat(40), "Unknown"),
    ] {
        let got = verdict(&bytes);
        assert!(got.starts_with(want), "{name}: {got}");
    }
}

#[test]
fn other_containers_end_where_they_say() {
    let ebml = [0x1A, 0x45, 0xDF, 0xA3, 0x81, 0x00];
    let mkv = |size: u8, body: &[u8]| [&ebml[..], &[0x18, 0x53, 0x80, 0x67, size], body].concat();
    let cluster = [0x1F, 0x43, 0xB6, 0x75, 0x84, 1, 2, 3, 4];
    let live = |more: &[u8]| mkv(0xFF, &[&cluster[..], more].concat());
    let chunk = |name: &[u8; 4], body: &[u8]| [&name[..], &(body.len() as u32).to_le_bytes(), body].concat();
    let list =
        [&b"AVI LIST\xff\xff\xff\xffmovi"[..], &chunk(b"00dc", &[1; 6]), &chunk(b"00dc", &[2; 4])].concat();
    let avi = |size: u32, list: &[u8]| [&b"RIFF"[..], &size.to_le_bytes(), list].concat();
    let true_size = list.len() as u32;
    let mut ts = vec![0; 188 * 4];
    (0..4).for_each(|n| ts[n * 188] = 0x47);
    let tag = [&[9, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0][..], &[1; 5], &16_u32.to_be_bytes()].concat();
    let flv = [&b"FLV\x01\x01\0\0\0\x09\0\0\0\0"[..], &tag, &tag].concat();
    for (name, bytes, want) in [
        ("mkv", mkv(0x84, &[0; 4]), "Whole"),
        ("mkv and junk", mkv(0x84, &[0; 9]), "Whole"),
        ("mkv cut", mkv(0x85, &[0; 4]), "Cut"),
        ("live mkv", live(&[]), "Whole"),
        ("live mkv and zeros", live(&[0; 7]), "Whole"),
        ("live mkv cut", live(&cluster[..7]), "Cut"),
        ("avi", avi(true_size, &list), "Whole"),
        ("avi and junk", avi(true_size, &[&list[..], b"junk at the end"].concat()), "Whole"),
        ("avi of a size never written", avi(u32::MAX, &list), "Whole"),
        ("avi of size 0", avi(0, &list), "Whole"),
        ("avi of size 0, cut", avi(0, &list[..list.len() - 1]), "Cut"),
        ("avi of no size, cut", avi(u32::MAX, &list[..list.len() - 1]), "Cut"),
        ("avi cut", avi(true_size, &list[..list.len() - 1]), "Cut"),
        ("avi cut between frames", avi(true_size, &list[..list.len() - 12]), "Cut"),
        ("second list cut", [avi(true_size, &list), avi(99, b"AVIX")].concat(), "Cut"),
        ("ts", ts.clone(), "Whole"),
        ("ts cut", ts[..700].to_vec(), "Cut"),
        ("ts and text", [&ts[..], b"text"].concat(), "Whole"),
        ("flv", flv.clone(), "Unknown"),
        ("flv cut", flv[..flv.len() - 5].to_vec(), "Cut"),
    ] {
        let got = verdict(&bytes);
        assert!(got.starts_with(want), "{name}: {got}");
    }
}
