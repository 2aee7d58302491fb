//! JPEGs cut out of a stream of bytes, by their own marks (ITU-T T.81, annex B), whatever lies between them.

use memchr::memchr;

/// A picture of more bytes is none.
const LARGEST: usize = 1 << 26;

/// So many bytes without a picture are kept, for those who want to pass them on as they are.
const LARGEST_GAP: usize = 1 << 23;

/// Bytes in, whole pictures out.
#[derive(Default)]
pub(super) struct Jpegs {
    bytes: Vec<u8>,
    /// Where a picture begins in `bytes`, and how far it was walked through.
    picture: Option<(usize, Walk)>,
    /// Up to here there is none.
    searched: usize,
    /// So many of the first bytes are no longer needed.
    done: usize,
    /// Pictures that broke off.
    broken: u64,
}

#[derive(Clone, Copy)]
struct Walk {
    at: usize,
    /// Within entropy-coded data, where no lengths tell what follows.
    coded: bool,
}

enum Step {
    Marker,
    Coded,
    More,
    End,
    Broken,
}

impl Jpegs {
    /// Takes what came.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        // Here, and not after each picture: one push may bring many.
        self.bytes.drain(..self.done);
        self.searched -= self.done;
        self.picture = self.picture.map(|(start, walk)| (start - self.done, walk));
        self.done = 0;
        self.bytes.extend_from_slice(bytes);
    }

    /// The next whole picture.
    pub(super) fn next(&mut self) -> Option<Vec<u8>> {
        loop {
            let (start, mut walk) = match self.picture {
                Some(picture) => picture,
                None => (self.find()?, Walk { at: 2, coded: false }),
            };
            self.picture = Some((start, walk));
            let bytes = &self.bytes[start..];
            loop {
                match step(bytes, &mut walk) {
                    Step::Marker => walk.coded = false,
                    Step::Coded => walk.coded = true,
                    Step::More if bytes.len() < LARGEST => {
                        self.picture = Some((start, walk));
                        return None;
                    }
                    Step::End => {
                        let picture = bytes[..walk.at].to_vec();
                        self.forget(start + walk.at);
                        return Some(picture);
                    }
                    Step::More | Step::Broken => {
                        self.broken += 1;
                        tracing::debug!(bytes = walk.at, broken = self.broken, "a picture broke off");
                        // Another may begin right where this one breaks off.
                        self.forget(start + walk.at.clamp(2, bytes.len()));
                        break;
                    }
                }
            }
        }
    }

    /// How many pictures broke off.
    pub(super) fn broken(&self) -> u64 {
        self.broken
    }

    /// All bytes that were not given out.
    pub(super) fn give_up(&mut self) -> Vec<u8> {
        let mut all = std::mem::take(self);
        all.bytes.split_off(all.done)
    }

    fn find(&mut self) -> Option<usize> {
        match begin(&self.bytes[self.searched..]) {
            Ok(start) => return Some(self.searched + start),
            Err(until) => self.searched += until,
        }
        // What holds no picture is not kept for ever.
        if self.searched - self.done > LARGEST_GAP {
            self.forget(self.searched);
        }
        None
    }

    fn forget(&mut self, until: usize) {
        (self.picture, self.searched, self.done) = (None, until, until);
    }
}

/// The first picture in some bytes.
pub(super) enum Found {
    /// From `start` on, up to its end or to where it breaks off.
    Picture { start: usize, len: usize },
    /// Its end is not among them.
    Begun { start: usize },
    /// None begins before `until`.
    Nothing { until: usize },
}

/// Looks for a picture.
pub(super) fn first_picture(bytes: &[u8]) -> Found {
    let start = match begin(bytes) {
        Ok(start) => start,
        Err(until) => return Found::Nothing { until },
    };
    let (bytes, mut walk) = (&bytes[start..], Walk { at: 2, coded: false });
    loop {
        match step(bytes, &mut walk) {
            Step::Marker => walk.coded = false,
            Step::Coded => walk.coded = true,
            Step::More if bytes.len() < LARGEST => return Found::Begun { start },
            Step::End | Step::More | Step::Broken => {
                return Found::Picture { start, len: walk.at.clamp(2, bytes.len()) };
            }
        }
    }
}

/// Where a picture begins; else up to where none does.
fn begin(bytes: &[u8]) -> Result<usize, usize> {
    let mut searched = 0;
    while let Some(found) = memchr(0xFF, &bytes[searched..]) {
        let at = searched + found;
        match bytes[at..] {
            [_, 0xD8, 0xFF, ..] => return Ok(at),
            [_] | [_, 0xD8] => return Err(at),
            _ => searched = at + 1,
        }
    }
    Err(bytes.len())
}

/// Goes over one marker with its segment, or to the end of coded data.
fn step(bytes: &[u8], walk: &mut Walk) -> Step {
    if walk.coded {
        while let Some(found) = memchr(0xFF, &bytes[walk.at.min(bytes.len())..]) {
            walk.at += found;
            match bytes.get(walk.at + 1) {
                None => return Step::More,
                // A stuffed byte, a restart, fill.
                Some(0x00 | 0xD0..=0xD7) => walk.at += 2,
                Some(0xFF) => walk.at += 1,
                Some(_) => return Step::Marker,
            }
        }
        walk.at = bytes.len();
        return Step::More;
    }
    match bytes.get(walk.at..) {
        None | Some([] | [0xFF]) => Step::More,
        Some([0xFF, 0xFF, ..]) => {
            walk.at += 1;
            Step::Marker
        }
        Some([0xFF, 0xD9, ..]) => {
            walk.at += 2;
            Step::End
        }
        Some([0xFF, 0x01 | 0xD0..=0xD7, ..]) => {
            walk.at += 2;
            Step::Marker
        }
        // No more is a marker of T.81 than another picture's begin is one of this.
        Some([0xFF, 0x00 | 0x02..=0xBF | 0xD8, ..]) => Step::Broken,
        Some([0xFF, _] | [0xFF, _, _]) => Step::More,
        Some(&[0xFF, marker, high, low, ..]) => {
            let length = usize::from(u16::from_be_bytes([high, low]));
            if length < 2 {
                return Step::Broken;
            }
            walk.at += 2 + length;
            if marker == 0xDA { Step::Coded } else { Step::Marker }
        }
        Some(_) => Step::Broken,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picture(side: usize) -> Vec<u8> {
        let pixels: Vec<u8> = (0..side * side * 3).map(|i| (i * i % 251) as u8).collect();
        crate::jpeg::encode(&pixels, side, side, 90).unwrap()
    }

    fn cut(stream: &[u8], step: usize) -> Vec<Vec<u8>> {
        let mut jpegs = Jpegs::default();
        let mut found = Vec::new();
        for piece in stream.chunks(step) {
            jpegs.push(piece);
            found.extend(std::iter::from_fn(|| jpegs.next()));
        }
        found
    }

    #[test]
    fn pictures_are_cut_out_wherever_the_pieces_end() {
        let pictures = [picture(16), picture(40), picture(9)];
        let mut stream = b"preamble \xff\xd8 and \xff".to_vec();
        for one in &pictures {
            stream.extend(b"\r\nno dashes\ncontent-type:image/jpeg\r\n\r\n");
            stream.extend(one);
        }
        for step in [1, 2, 3, 7, 100, 1 << 20] {
            assert_eq!(cut(&stream, step), pictures, "pieces of {step}");
        }
    }

    #[test]
    fn a_picture_that_breaks_off_costs_no_other() {
        let whole = picture(40);
        let coded = whole.windows(2).position(|pair| pair == [0xFF, 0xDA]).unwrap();
        let coded = coded + 2 + usize::from(u16::from_be_bytes([whole[coded + 2], whole[coded + 3]]));
        for cut_at in 3..whole.len() - 1 {
            let stream =
                [&whole[..cut_at], b"\r\n--frame\r\n\r\n", &whole[..], b"\r\n--frame\r\n\r\n", &whole[..]]
                    .concat();
            for step in [512, 1 << 20] {
                let mut jpegs = Jpegs::default();
                let mut found = Vec::new();
                for piece in stream.chunks(step) {
                    jpegs.push(piece);
                    found.extend(std::iter::from_fn(|| jpegs.next()));
                }
                if cut_at >= coded {
                    assert!(
                        found == [&whole[..]; 2] && jpegs.broken() == 1,
                        "cut at {cut_at}: {}",
                        found.len()
                    );
                } else {
                    // Cut within a segment, its length reaches into the next picture.
                    assert!(
                        found.len() <= 2 && found.last() == Some(&whole),
                        "cut at {cut_at}: {}",
                        found.len()
                    );
                }
            }
        }
    }

    /// Of 16 MB that come at once, moving the rest for each picture would be 200 GB.
    #[test]
    fn many_pictures_at_once_take_no_longer() {
        let one = picture(8);
        let count = (16 << 20) / one.len();
        let start = std::time::Instant::now();
        assert_eq!(cut(&one.repeat(count), usize::MAX).len(), count);
        assert!(start.elapsed().as_secs() < 5, "{:?}", start.elapsed());
    }

    #[test]
    fn anything_is_no_trouble() {
        let mut noise = 1_u32;
        let bytes: Vec<u8> = (0..200_000)
            .map(|_| {
                noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                if noise >> 31 == 0 { 0xFF } else { (noise >> 23) as u8 }
            })
            .collect();
        cut(&bytes, 777);
    }

    #[test]
    fn what_holds_no_picture_is_not_kept() {
        let mut jpegs = Jpegs::default();
        for byte in [7, 0xFF] {
            for _ in 0..200 {
                jpegs.push(&[byte; 100_000]);
                assert_eq!(jpegs.next(), None);
            }
            assert!(jpegs.bytes.len() <= LARGEST_GAP + 100_000, "{} bytes", jpegs.bytes.len());
        }
        jpegs.push(&picture(16));
        assert_eq!(jpegs.next(), Some(picture(16)));
    }
}
