//! An array of labels that is stored only along the axes on which it varies.

/// Labels of all elements of a tensor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Array {
    /// The tensor's dimensions.
    pub dims: Vec<usize>,
    /// On which axes the labels vary; along the others one stands for all.
    pub varies: Vec<bool>,
    /// The labels, row-major over the axes that vary.
    pub data: Vec<i32>,
}

/// Visits all positions of `dims` in row-major order.
fn positions(dims: &[usize], mut visit: impl FnMut(&[usize])) {
    if dims.contains(&0) {
        return;
    }
    let mut at = vec![0; dims.len()];
    loop {
        visit(&at);
        let mut axis = dims.len();
        loop {
            if axis == 0 {
                return;
            }
            axis -= 1;
            at[axis] += 1;
            if at[axis] < dims[axis] {
                break;
            }
            at[axis] = 0;
        }
    }
}

impl Array {
    /// One label for all elements.
    pub fn constant(dims: &[usize], label: i32) -> Array {
        Array { dims: dims.to_vec(), varies: vec![false; dims.len()], data: vec![label] }
    }

    /// Row-major numbers from 0 along the axes `varies`.
    pub fn counting(dims: &[usize], varies: Vec<bool>) -> Array {
        let mut array = Array { dims: dims.to_vec(), varies, data: Vec::new() };
        let count: usize = array.stored().iter().product();
        array.data = (0..i32::try_from(count).unwrap_or(i32::MAX)).collect();
        array
    }

    /// Dimensions of what is stored: 1 where nothing varies.
    fn stored(&self) -> Vec<usize> {
        self.dims.iter().zip(&self.varies).map(|(&dim, &varies)| if varies { dim } else { 1 }).collect()
    }

    /// Distance in `data` of one step along each axis; 0 where nothing varies.
    fn strides(&self) -> Vec<usize> {
        let stored = self.stored();
        let mut strides = vec![0; stored.len()];
        let mut step = 1;
        for axis in (0..stored.len()).rev() {
            if self.varies[axis] {
                strides[axis] = step;
            }
            step *= stored[axis];
        }
        strides
    }

    /// The labels of `dims`, each found by mapping its position to one of `self`'s.
    fn build(
        &self,
        dims: Vec<usize>,
        varies: Vec<bool>,
        mut find: impl FnMut(&[usize], &[usize]) -> i32,
    ) -> Array {
        let mut array = Array { dims, varies, data: Vec::new() };
        let strides = self.strides();
        let mut data = Vec::new();
        positions(&array.stored(), |at| data.push(find(at, &strides)));
        array.data = data;
        array
    }

    /// All labels in row-major order of the whole tensor, axis order `perm`.
    pub fn labels(&self, perm: &[usize]) -> Vec<i32> {
        let whole = Array { varies: vec![true; self.dims.len()], ..self.transpose(perm).spread() };
        whole.data
    }

    /// The same with every axis stored.
    fn spread(&self) -> Array {
        let all = vec![true; self.dims.len()];
        self.build(self.dims.clone(), all, |at, strides| {
            self.data[at.iter().zip(strides).map(|(i, s)| i * s).sum::<usize>()]
        })
    }

    /// Axes in the order `perm`.
    pub fn transpose(&self, perm: &[usize]) -> Array {
        let dims = perm.iter().map(|&axis| self.dims[axis]).collect();
        let varies = perm.iter().map(|&axis| self.varies[axis]).collect();
        self.build(dims, varies, |at, strides| {
            self.data[at.iter().zip(perm).map(|(i, &axis)| i * strides[axis]).sum::<usize>()]
        })
    }

    /// The same elements as `dims`. Axes that are merged or split with others that vary, vary.
    pub fn reshape(&self, dims: &[usize]) -> Option<Array> {
        if self.dims.iter().product::<usize>() != dims.iter().product::<usize>() {
            return None;
        }
        // Groups of old and new axes that hold the same elements between them.
        let mut whole = self.clone();
        let mut varies = vec![false; dims.len()];
        let (mut i, mut j) = (0, 0);
        while i < self.dims.len() || j < dims.len() {
            let (from, to) = (i, j);
            let (mut old, mut new) = (1, 1);
            loop {
                if old <= new && i < self.dims.len() && (old < new || i == from) {
                    old *= self.dims[i];
                    i += 1;
                } else if new < old && j < dims.len() || j == to && j < dims.len() {
                    new *= dims[j];
                    j += 1;
                } else if old == new {
                    break;
                } else {
                    return None;
                }
            }
            let busy = (from..i).any(|axis| self.varies[axis] && self.dims[axis] > 1);
            whole.varies[from..i].fill(busy);
            varies[to..j].fill(busy);
        }
        let data = if whole.varies == self.varies {
            self.data.clone()
        } else {
            let wanted = whole.varies.clone();
            self.build(self.dims.clone(), wanted, |at, strides| {
                self.data[at.iter().zip(strides).map(|(k, s)| k * s).sum::<usize>()]
            })
            .data
        };
        Some(Array { dims: dims.to_vec(), varies, data }.collapsed())
    }

    /// Every `step`-th of `count` elements from `start` along `axis`.
    pub fn slice(&self, axis: usize, start: i64, step: i64, count: usize) -> Array {
        let picks: Vec<usize> =
            (0..count as i64).map(|n| usize::try_from(start + n * step).unwrap_or(0)).collect();
        self.pick(axis, &picks)
    }

    /// The elements `picks` along `axis`.
    pub fn pick(&self, axis: usize, picks: &[usize]) -> Array {
        let mut dims = self.dims.clone();
        dims[axis] = picks.len();
        let last = self.dims[axis].saturating_sub(1);
        self.build(dims, self.varies.clone(), |at, strides| {
            let index = |(k, (&i, s)): (usize, (&usize, &usize))| {
                s * if k == axis && self.varies[axis] { picks[i].min(last) } else { i }
            };
            self.data[at.iter().zip(strides).enumerate().map(index).sum::<usize>()]
        })
    }

    /// `parts` one after the other along `axis`.
    pub fn concat(axis: usize, parts: &[Array]) -> Option<Array> {
        let first = parts.first()?;
        let rank = first.dims.len();
        let fits = |part: &Array| {
            part.dims.len() == rank && (0..rank).all(|a| a == axis || part.dims[a] == first.dims[a])
        };
        if axis >= rank || !parts.iter().all(fits) {
            return None;
        }
        let mut dims = first.dims.clone();
        dims[axis] = parts.iter().map(|part| part.dims[axis]).sum();
        let varies: Vec<bool> =
            (0..rank).map(|a| a == axis || parts.iter().any(|part| part.varies[a])).collect();
        let strides: Vec<Vec<usize>> = parts.iter().map(Array::strides).collect();
        let mut owner = Vec::new();
        for (n, part) in parts.iter().enumerate() {
            owner.extend((0..part.dims[axis]).map(|i| (n, i)));
        }
        Some(
            first
                .build(dims, varies, |at, _| {
                    let (n, i) = owner[at[axis]];
                    let index = |(a, (&k, s)): (usize, (&usize, &usize))| s * if a == axis { i } else { k };
                    parts[n].data[at.iter().zip(&strides[n]).enumerate().map(index).sum::<usize>()]
                })
                .collapsed(),
        )
    }

    /// As part of `dims` by the broadcasting rules of ONNX.
    pub fn broadcast(&self, dims: &[usize]) -> Option<Array> {
        let lead = dims.len().checked_sub(self.dims.len())?;
        let mut varies = vec![false; lead];
        for (own, &wanted) in self.dims.iter().zip(&dims[lead..]) {
            if *own != wanted && *own != 1 {
                return None;
            }
            varies.push(*own == wanted);
        }
        for (varies, own) in varies[lead..].iter_mut().zip(&self.varies) {
            *varies = *varies && *own;
        }
        // A stored axis of one element that is stretched stores nothing.
        Some(Array { dims: dims.to_vec(), varies, data: self.data.clone() })
    }

    /// The same without storage for axes along which all labels are equal.
    pub fn collapsed(self) -> Array {
        let mut array = self;
        for axis in 0..array.dims.len() {
            if !array.varies[axis] {
                continue;
            }
            let stored = array.stored();
            let inner: usize = stored[axis + 1..].iter().product();
            let len = stored[axis];
            let same = array.data.chunks_exact((inner * len).max(1)).all(|block| {
                let (first, rest) = block.split_at(inner.min(block.len()));
                rest.chunks_exact(inner.max(1)).all(|next| next == first)
            });
            if same && len > 0 {
                array.data = array
                    .data
                    .chunks_exact((inner * len).max(1))
                    .flat_map(|block| block[..inner].to_vec())
                    .collect();
                array.varies[axis] = false;
            }
        }
        array
    }

    /// `axis` made `len` long, if nothing varies along it.
    pub fn stretched(&self, axis: usize, len: usize) -> Option<Array> {
        if *self.varies.get(axis)? {
            return None;
        }
        let mut array = self.clone();
        array.dims[axis] = len;
        Some(array)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(array: &Array) -> Vec<i32> {
        array.labels(&(0..array.dims.len()).collect::<Vec<_>>())
    }

    #[test]
    fn storage_never_shows() {
        // [1, 4, 6]: the middle axis varies.
        let a = Array::counting(&[1, 4, 6], vec![false, true, false]);
        let split = a.reshape(&[1, 2, 2, 3, 2]).unwrap();
        assert_eq!(split.varies, [false, true, true, false, false]);
        assert_eq!(all(&split), all(&a));
        let t = split.transpose(&[0, 3, 1, 4, 2]);
        assert_eq!(t.data, [0, 1, 2, 3]);
        // Merging a varying with a constant axis stores both.
        let merged = a.reshape(&[24]).unwrap();
        assert_eq!(all(&merged), all(&a));
        let back = merged.reshape(&[1, 4, 6]).unwrap();
        assert_eq!(back, a);
        assert!(a.reshape(&[5, 5]).is_none());
        assert_eq!(a.reshape(&[4, 6, 1]).unwrap().data, [0, 1, 2, 3]);
        let ends = Array::concat(1, &[Array::constant(&[1, 1, 6], -1), a.slice(1, 3, -1, 2)]).unwrap();
        assert_eq!((ends.dims.as_slice(), ends.data.as_slice()), (&[1, 3, 6][..], &[-1, 3, 2][..]));
        let wide = Array::counting(&[2, 1], vec![true, false]).broadcast(&[3, 2, 5]).unwrap();
        assert_eq!((wide.varies.as_slice(), wide.data.as_slice()), (&[false, true, false][..], &[0, 1][..]));
        assert_eq!(a.stretched(2, 9).unwrap().dims, [1, 4, 9]);
        assert!(a.stretched(1, 9).is_none());
    }
}
