//! ISO base media files (MP4, MOV): whole if the samples that their index describes lie inside them.

use std::fs::File;
use std::ops::Range;

use super::{Ending, read_at, read_up_to};

/// An index that is larger than this is no camera's, and is not read.
const LARGEST_INDEX: u64 = 1 << 28;
/// The boxes that only these files begin with; others may stand before them.
const KNOWN: [&[u8; 4]; 14] = [
    b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"pnot", b"moof", b"styp", b"sidx", b"mfra",
    b"uuid", b"emsg", b"prft",
];
/// How many boxes may come before the first of those.
const PATIENCE: usize = 8;

/// A box at the top of the file: its kind, and the bytes of its body as its size says.
struct TopBox {
    kind: [u8; 4],
    start: u64,
    body: u64,
    end: u64,
}

/// Looks at the boxes (ISO/IEC 14496-12, 4.2); `None` if it is no such file. Boxes of any name may stand
/// anywhere, and anything behind the last one: recorders put previews, positions and padding there.
pub(super) fn look(file: &mut File, len: u64) -> std::io::Result<Option<Ending>> {
    let (mut position, mut seen, mut known) = (0, 0, false);
    let (mut index, mut index_cut, mut data, mut last_fragment) = (None, false, false, None);
    while let Some(found) = top_box(file, position, len)? {
        seen += 1;
        known |= KNOWN.contains(&&found.kind);
        if !known && seen >= PATIENCE {
            return Ok(None);
        }
        data |= &found.kind == b"mdat";
        match &found.kind {
            b"moov" if found.end <= len => index = Some(found.body..found.end),
            b"moov" => index_cut = true,
            b"moof" => last_fragment = Some(found.start..found.end),
            _ => {}
        }
        if found.end >= len {
            break;
        }
        position = found.end;
    }
    if !known {
        return Ok(None);
    }
    let Some(index) = index else {
        let why = if index_cut {
            "its index (moov) is cut off"
        } else if last_fragment.is_some() {
            "it is a fragment of a stream without its head (moov); put the initialisation segment before it"
        } else if data {
            "its index (moov) is missing: the recorder was cut off before it wrote it; \
             a tool such as untrunc can repair it with a sound recording of the same camera"
        } else {
            "its index (moov) is missing, and it holds no video data (mdat) either"
        };
        return Ok(Some(Ending::NoIndex(why.into())));
    };
    if index.end - index.start > LARGEST_INDEX {
        return Ok(Some(Ending::Unknown));
    }
    let moov = read_up_to(file, index.start, index.end - index.start)?;
    let mut needed = samples_end(&moov);
    if let Some(fragment) = last_fragment {
        if fragment.end > len {
            return Ok(Some(Ending::Cut("the file ends within the head of a fragment (moof)".into())));
        }
        if fragment.end - fragment.start <= LARGEST_INDEX {
            let moof = read_up_to(file, fragment.start, fragment.end - fragment.start)?;
            needed = needed.max(fragment_end(&moov, &moof, fragment.start));
        }
    }
    Ok(Some(match needed {
        Some(needed) if needed > len => {
            Ending::Cut(format!("the file has {len} bytes of the {needed} that its index describes"))
        }
        _ => Ending::Whole,
    }))
}

/// The box at `position`; `None` where there is none: too few bytes, a size that is none, a kind that is no
/// name.
fn top_box(file: &mut File, position: u64, len: u64) -> std::io::Result<Option<TopBox>> {
    let mut head = [0; 16];
    let had = read_at(file, position, &mut head)?;
    let [a, b, c, d, k0, k1, k2, k3, long @ ..] = head;
    let kind = [k0, k1, k2, k3];
    // Printable, or the copyright sign that QuickTime's own names begin with.
    if had < 8 || !kind.iter().all(|byte| matches!(byte, 0x20..0x7F | 0xA9)) {
        return Ok(None);
    }
    let (head, size) = match u64::from(u32::from_be_bytes([a, b, c, d])) {
        0 => (8, len - position),
        1 if had == 16 => (16, u64::from_be_bytes(long)),
        size => (8, size),
    };
    let body = position + head;
    Ok((size >= head).then(|| TopBox { kind, start: position, body, end: position.saturating_add(size) }))
}

/// The boxes inside `body`: kind and place of their bodies. Ends at the first that is none.
fn children(data: &[u8], body: Range<usize>) -> impl Iterator<Item = ([u8; 4], Range<usize>)> {
    let mut position = body.start;
    std::iter::from_fn(move || {
        let size = u32_at(data, position)? as usize;
        let kind: [u8; 4] = data.get(position + 4..position + 8)?.try_into().ok()?;
        let (head, size) = match size {
            0 => (8, body.end.checked_sub(position)?),
            1 => (16, usize::try_from(u64_at(data, position + 8)?).ok()?),
            size => (8, size),
        };
        let end = position.checked_add(size).filter(|end| *end <= body.end && size >= head)?;
        let inside = position + head..end;
        position = end;
        Some((kind, inside))
    })
}

/// The first box of these kinds, one inside the other.
fn inside(data: &[u8], body: Range<usize>, kinds: &[&[u8; 4]]) -> Option<Range<usize>> {
    kinds.iter().try_fold(body, |body, kind| {
        children(data, body).find(|(found, _)| found == *kind).map(|(_, body)| body)
    })
}

/// Where the last sample of picture or sound ends by the sample tables of a `moov` (8.6, 8.7), whose body
/// `moov` is; `None` if they describe none.
fn samples_end(moov: &[u8]) -> Option<u64> {
    children(moov, 0..moov.len())
        .filter(|(kind, _)| kind == b"trak")
        .filter_map(|(_, track)| track_end(moov, track))
        .max()
}

fn track_end(moov: &[u8], track: Range<usize>) -> Option<u64> {
    let media = inside(moov, track, &[b"mdia"])?;
    let handler = inside(moov, media.clone(), &[b"hdlr"])?;
    // Notes of the recorder may be missing; the video is whole without them.
    if !matches!(moov.get(handler.start + 8..handler.start + 12)?, b"vide" | b"soun") {
        return None;
    }
    let information = inside(moov, media, &[b"minf"])?;
    // Samples in other files say nothing of this one: an entry of the references without the flag 1.
    if let Some(references) = inside(moov, information.clone(), &[b"dinf", b"dref"]) {
        let entries = references.start + 8..references.end;
        if children(moov, entries)
            .any(|(_, entry)| u32_at(moov, entry.start).is_some_and(|flags| flags & 1 == 0))
        {
            return None;
        }
    }
    let table = inside(moov, information, &[b"stbl"])?;
    let one = |kind: &[u8; 4]| inside(moov, table.clone(), &[kind]).map(|body| body.start);
    let (offsets, wide) = match (one(b"stco"), one(b"co64")) {
        (Some(at), _) => (at, false),
        (None, at) => (at?, true),
    };
    let chunks = u32_at(moov, offsets + 4)? as usize;
    let runs = one(b"stsc")?;
    let run_count = u32_at(moov, runs + 4)? as usize;
    let sizes = Sizes::at(moov, one(b"stsz"), one(b"stz2"))?;
    let (mut end, mut sample, mut run, mut per_chunk) = (None, 0_usize, 0_usize, 0_usize);
    for chunk in 0..chunks {
        // The next run of chunks (first chunk, samples per chunk, description) begins.
        while run < run_count && u32_at(moov, runs + 8 + 12 * run)? as usize <= chunk + 1 {
            per_chunk = u32_at(moov, runs + 12 + 12 * run)? as usize;
            run += 1;
        }
        let offset = match wide {
            true => u64_at(moov, offsets + 8 + 8 * chunk)?,
            false => u64::from(u32_at(moov, offsets + 8 + 4 * chunk)?),
        };
        let mut bytes = 0_u64;
        for number in sample..sample.saturating_add(per_chunk).min(sizes.count) {
            bytes = bytes.saturating_add(sizes.of(moov, number)?);
        }
        sample = sample.saturating_add(per_chunk);
        if bytes > 0 {
            end = end.max(Some(offset.saturating_add(bytes)));
        }
    }
    end
}

/// The sizes of a track's samples: `stsz`, or the compact `stz2`.
struct Sizes {
    /// Of all samples, or 0.
    fixed: u32,
    count: usize,
    /// Where the list begins, and the bits of an entry.
    list: usize,
    bits: usize,
}

impl Sizes {
    fn at(moov: &[u8], stsz: Option<usize>, stz2: Option<usize>) -> Option<Sizes> {
        let (start, bits, fixed) = match (stsz, stz2) {
            (Some(start), _) => (start, 32, u32_at(moov, start + 4)?),
            (None, start) => (start?, usize::from(*moov.get(start? + 7)?), 0),
        };
        let count = u32_at(moov, start + 8)? as usize;
        Some(Sizes { fixed, count, list: start + 12, bits })
    }

    fn of(&self, moov: &[u8], sample: usize) -> Option<u64> {
        if self.fixed != 0 {
            return Some(self.fixed.into());
        }
        match self.bits {
            32 => u32_at(moov, self.list + 4 * sample).map(u64::from),
            16 => Some(u64::from(u16::from_be_bytes(
                moov.get(self.list + 2 * sample..)?.get(..2)?.try_into().ok()?,
            ))),
            8 => moov.get(self.list + sample).map(|size| u64::from(*size)),
            4 => moov.get(self.list + sample / 2).map(|two| u64::from(two >> (4 * (1 - sample % 2)) & 15)),
            _ => None,
        }
    }
}

/// Where the last sample of a fragment ends (8.8): `moof` is the whole box, `start` its place in the file.
fn fragment_end(moov: &[u8], moof: &[u8], start: u64) -> Option<u64> {
    let (mut end, mut follows) = (None, start);
    let fragments = children(moof, 8..moof.len()).filter(|(kind, _)| kind == b"traf");
    for (number, (_, traf)) in fragments.enumerate() {
        let head = inside(moof, traf.clone(), &[b"tfhd"])?.start;
        let (flags, track) = (u32_at(moof, head)? & 0xFF_FFFF, u32_at(moof, head + 4)?);
        let mut field = head + 8;
        let mut optional = |flag: u32, bytes: usize| {
            let at = (flags & flag != 0).then_some(field);
            field += if at.is_some() { bytes } else { 0 };
            at
        };
        let (base, _, _) = (optional(0x01, 8), optional(0x02, 4), optional(0x08, 4));
        let size = match optional(0x10, 4) {
            Some(at) => u64::from(u32_at(moof, at)?),
            None => default_size(moov, track).unwrap_or(0),
        };
        // Without a base of its own, the first track counts from the fragment, others from where the one
        // before ended, unless the flag says: all from the fragment.
        let base = match base {
            Some(at) => u64_at(moof, at)?,
            None if number == 0 || flags & 0x02_0000 != 0 => start,
            None => follows,
        };
        let mut next = base;
        for (_, run) in children(moof, traf).filter(|(kind, _)| kind == b"trun") {
            let (flags, count) =
                (u32_at(moof, run.start)? & 0xFF_FFFF, u32_at(moof, run.start + 4)? as usize);
            let mut list = run.start + 8;
            if flags & 0x01 != 0 {
                let offset = u32_at(moof, list)?.cast_signed();
                next = base.saturating_add_signed(offset.into());
                list += 4;
            }
            list += if flags & 0x04 != 0 { 4 } else { 0 };
            let entry = 4 * (flags & 0xF00).count_ones() as usize;
            let before = if flags & 0x100 != 0 { 4 } else { 0 };
            next = match flags & 0x200 != 0 {
                true => (0..count).try_fold(next, |sum, n| {
                    Some(sum.saturating_add(u32_at(moof, list + n * entry + before)?.into()))
                })?,
                false => next.saturating_add(size.saturating_mul(count as u64)),
            };
            end = end.max(Some(next));
        }
        follows = next;
    }
    end
}

/// The size that samples of `track` have by default in fragments (`trex`).
fn default_size(moov: &[u8], track: u32) -> Option<u64> {
    let extends = inside(moov, 0..moov.len(), &[b"mvex"])?;
    let mut all = children(moov, extends).filter(|(kind, _)| kind == b"trex").map(|(_, body)| body.start);
    let body = all.find(|body| u32_at(moov, body + 4) == Some(track))?;
    u32_at(moov, body + 16).map(u64::from)
}

fn u32_at(data: &[u8], at: usize) -> Option<u32> {
    data.get(at..)?.first_chunk().map(|bytes| u32::from_be_bytes(*bytes))
}

fn u64_at(data: &[u8], at: usize) -> Option<u64> {
    data.get(at..)?.first_chunk().map(|bytes| u64::from_be_bytes(*bytes))
}
