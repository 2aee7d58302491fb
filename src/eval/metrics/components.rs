//! 8-connected components of a mask: which pixel belongs to which, and how large they are.

use crate::region::{Rect, Region};

/// Components, numbered from 1 by their first pixel; 0 is outside.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Components {
    /// The component of each pixel, row by row.
    pub of_pixel: Vec<u32>,
    /// Pixels of each component; that of 0 is 0.
    pub areas: Vec<u64>,
}

impl Components {
    /// The components of `mask`, `width` pixels wide.
    pub fn of(mask: &[bool], width: usize) -> Components {
        let mut of_pixel = vec![0_u32; mask.len()];
        // Provisional labels; each points to one that is not higher.
        let mut parents = vec![0_u32];
        for (i, _) in mask.iter().enumerate().filter(|(_, inside)| **inside) {
            let (x, above) = (i % width, i.checked_sub(width));
            let mut label = if x > 0 { of_pixel[i - 1] } else { 0 };
            let first = above.map_or(0, |at| at - usize::from(x > 0));
            let last = above.map_or(0, |at| at + usize::from(x + 1 < width) + 1);
            for &other in &of_pixel[first..last] {
                label = match (label, other) {
                    (label, 0) => label,
                    (0, other) => other,
                    (label, other) if label == other => label,
                    (label, other) => unite(&mut parents, label, other),
                };
            }
            if label == 0 {
                label = parents.len() as u32;
                parents.push(label);
            }
            of_pixel[i] = label;
        }
        Components::numbered(of_pixel, &parents)
    }

    /// Gives the joined labels numbers without gaps.
    fn numbered(mut of_pixel: Vec<u32>, parents: &[u32]) -> Components {
        let mut numbers = vec![0_u32; parents.len()];
        let mut count = 0;
        for (label, parent) in parents.iter().enumerate().skip(1) {
            let parent = *parent as usize;
            numbers[label] = if parent == label {
                count += 1;
                count
            } else {
                numbers[parent]
            };
        }
        let mut areas = vec![0; count as usize + 1];
        for label in of_pixel.iter_mut().filter(|label| **label > 0) {
            *label = numbers[*label as usize];
            areas[*label as usize] += 1;
        }
        Components { of_pixel, areas }
    }

    /// Removes components for which `keep` (of number and area) is false; gives their pixels to `removed`.
    pub fn retain(&mut self, keep: impl Fn(usize, u64) -> bool, mut removed: impl FnMut(usize)) {
        let mut numbers = vec![0_u32; self.areas.len()];
        let mut areas = vec![0];
        for (number, area) in self.areas.iter().enumerate().skip(1) {
            if keep(number, *area) {
                numbers[number] = areas.len() as u32;
                areas.push(*area);
            }
        }
        for (pixel, label) in self.of_pixel.iter_mut().enumerate().filter(|(_, label)| **label > 0) {
            *label = numbers[*label as usize];
            if *label == 0 {
                removed(pixel);
            }
        }
        self.areas = areas;
    }

    /// Adds the components of `others`, of the same picture, with these numbers. Pixels that belong to one already stay its.
    pub fn add(&mut self, others: &Components, numbers: impl Iterator<Item = usize>) {
        let mut new = vec![0_u32; others.areas.len()];
        for number in numbers {
            new[number] = self.areas.len() as u32;
            self.areas.push(0);
        }
        for (own, other) in self.of_pixel.iter_mut().zip(&others.of_pixel) {
            if *own == 0 && new[*other as usize] > 0 {
                *own = new[*other as usize];
                self.areas[*own as usize] += 1;
            }
        }
    }

    /// Each component with its box, its area and its highest score, the first being that of number 1.
    pub fn regions(&self, scores: &[f32], width: usize) -> Vec<Region> {
        let none = ((u32::MAX, u32::MAX), (0, 0), f32::NEG_INFINITY);
        let mut known = vec![none; self.len()];
        for (at, number) in self.of_pixel.iter().enumerate().filter(|(_, number)| **number > 0) {
            let (x, y) = ((at % width) as u32, (at / width) as u32);
            let (first, end, peak) = &mut known[*number as usize - 1];
            *first = (first.0.min(x), first.1.min(y));
            *end = (end.0.max(x + 1), end.1.max(y + 1));
            *peak = peak.max(scores.get(at).copied().unwrap_or(f32::NEG_INFINITY));
        }
        let region =
            |((left, top), (right, bottom), peak): ((u32, u32), (u32, u32), f32), area: &u64| Region {
                rect: Rect { x: left, y: top, width: right - left, height: bottom - top },
                area: u32::try_from(*area).unwrap_or(u32::MAX),
                peak,
            };
        known.into_iter().zip(self.areas.iter().skip(1)).map(|(known, area)| region(known, area)).collect()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.areas.len().saturating_sub(1)
    }

    /// True without any.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

fn root(parents: &mut [u32], mut label: u32) -> u32 {
    while parents[label as usize] != label {
        let next = parents[label as usize];
        parents[label as usize] = parents[next as usize];
        label = next;
    }
    label
}

fn unite(parents: &mut [u32], a: u32, b: u32) -> u32 {
    let (a, b) = (root(parents, a), root(parents, b));
    let (low, high) = (a.min(b), a.max(b));
    parents[high as usize] = low;
    low
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grid::PixelScores;
    use crate::pool::Pooled;
    use crate::random::Random;
    use crate::score::Regions;

    /// Components by flooding, number by number.
    fn flooded(mask: &[bool], width: usize) -> Components {
        let mut found = Components { of_pixel: vec![0; mask.len()], areas: vec![0] };
        for (start, inside) in mask.iter().enumerate() {
            if !inside || found.of_pixel[start] > 0 {
                continue;
            }
            let number = found.areas.len() as u32;
            found.areas.push(0);
            let mut open = vec![start];
            found.of_pixel[start] = number;
            while let Some(at) = open.pop() {
                found.areas[number as usize] += 1;
                let (x, y) = ((at % width) as i64, (at / width) as i64);
                for (dx, dy) in [(-1, -1), (0, -1), (1, -1), (-1, 0), (1, 0), (-1, 1), (0, 1), (1, 1)] {
                    let (x, y) = (x + dx, y + dy);
                    let inside = x >= 0 && y >= 0 && x < width as i64 && y < (mask.len() / width) as i64;
                    let at = (y * width as i64 + x) as usize;
                    if inside && mask[at] && found.of_pixel[at] == 0 {
                        found.of_pixel[at] = number;
                        open.push(at);
                    }
                }
            }
        }
        found
    }

    #[test]
    fn components_are_those_of_a_flood() {
        Random::for_many(300, |random| {
            let (width, height, density) = (1 + random.below(24), 1 + random.below(24), 1 + random.below(9));
            let mask: Vec<bool> = (0..width * height).map(|_| random.below(10) < density).collect();
            let mut got = Components::of(&mask, width);
            let want = flooded(&mask, width);
            assert_eq!(got, want);
            // The daemon's are the same.
            let scores: Vec<f32> =
                mask.iter().map(|inside| if *inside { 1.0 + random.below(9) as f32 } else { 0.0 }).collect();
            let regions = got.regions(&scores, width);
            let mut daemons = Vec::new();
            let pixels = PixelScores { width, height, data: Pooled::unpooled(scores) };
            Regions::new(0.5, 0).step(&pixels, &[], &mut daemons);
            assert_eq!(regions, daemons);
            let mut removed = 0;
            got.retain(|_, area| area >= 3, |_| removed += 1);
            assert!(got.areas.iter().skip(1).eq(want.areas.iter().filter(|area| **area >= 3)));
            assert_eq!(removed, want.areas.iter().filter(|area| **area < 3).sum::<u64>());
            assert_eq!(got.of_pixel.iter().filter(|l| **l > 0).count() as u64, got.areas.iter().sum::<u64>());
        });
    }

    #[test]
    fn added_components_leave_the_others_as_they_are() {
        let mask = |inside: &[usize]| (0..12).map(|i| inside.contains(&i)).collect::<Vec<_>>();
        let mut own = Components::of(&mask(&[1]), 6);
        let others = Components::of(&mask(&[0, 1, 2, 4, 5]), 6);
        own.add(&others, [2].into_iter());
        assert_eq!(own.of_pixel, [0, 1, 0, 0, 2, 2, 0, 0, 0, 0, 0, 0]);
        assert_eq!(own.areas, [0, 1, 2]);
        own.add(&others, [1].into_iter());
        assert_eq!(own.of_pixel[..3], [3, 1, 3]);
        assert_eq!(own.areas, [0, 1, 2, 2]);
    }
}
