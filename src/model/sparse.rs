//! Constants that store only what is not zero, made whole: ONNX Runtime does the same when it reads them, and all
//! that is asked of a graph here asks for whole ones.

use super::onnx::{GraphProto, SparseTensorProto, TensorProto, data_type};

/// More bytes than an ONNX file can hold.
const LARGEST: usize = (1 << 31) - 1;

/// Makes every sparse constant of the graph a whole one. What is not understood stays, for ONNX Runtime to judge.
pub fn make_whole(graph: &mut GraphProto) {
    let mut left = Vec::new();
    for sparse in std::mem::take(&mut graph.sparse_initializer) {
        match whole(&sparse) {
            Some(tensor) => graph.initializer.push(tensor),
            None => left.push(sparse),
        }
    }
    graph.sparse_initializer = left;
    for body in graph.node.iter_mut().flat_map(|one| one.bodies_mut()) {
        make_whole(body);
    }
}

fn whole(sparse: &SparseTensorProto) -> Option<TensorProto> {
    let values = sparse.values.as_ref()?;
    let raw: Vec<u8> = match &values.raw_data {
        Some(raw) if !raw.is_empty() => raw.clone(),
        _ if values.data_type() == data_type::INT64 => {
            values.int64_data.iter().flat_map(|value| value.to_le_bytes()).collect()
        }
        _ => values.float_data.iter().flat_map(|value| value.to_le_bytes()).collect(),
    };
    let size = usize::try_from(values.bits()?).ok().filter(|bits| bits.is_multiple_of(8))? / 8;
    let tensor = TensorProto {
        name: values.name.clone(),
        dims: sparse.dims.clone(),
        data_type: values.data_type,
        ..Default::default()
    };
    let bytes = tensor.elements().checked_mul(size).filter(|bytes| *bytes <= LARGEST)?;
    let places = places(sparse)?;
    if raw.len() != places.len() * size {
        return None;
    }
    let mut data = vec![0; bytes];
    for (value, place) in raw.chunks_exact(size).zip(places) {
        data.get_mut(place * size..(place + 1) * size)?.copy_from_slice(value);
    }
    Some(TensorProto { raw_data: Some(data), ..tensor })
}

/// Where each value stands among all elements, row by row: the file says so, or it gives its index on each axis.
fn places(sparse: &SparseTensorProto) -> Option<Vec<usize>> {
    let indices = sparse.indices.as_ref()?;
    let numbers: Option<Vec<usize>> =
        indices.whole_numbers()?.into_iter().map(|number| usize::try_from(number).ok()).collect();
    let dims: Option<Vec<usize>> = sparse.dims.iter().map(|&dim| usize::try_from(dim).ok()).collect();
    let (numbers, dims) = (numbers?, dims?);
    let all = dims.iter().copied().fold(1, usize::saturating_mul);
    let inside = |place: &usize| *place < all;
    if indices.dims.len() < 2 {
        return numbers.iter().all(inside).then_some(numbers);
    }
    let one = |index: &[usize]| {
        let axes = index.iter().zip(&dims);
        axes.fold(Some(0_usize), |place, (&at, &dim)| {
            place?.checked_mul(dim)?.checked_add(Some(at).filter(|at| *at < dim)?)
        })
    };
    (!dims.is_empty()).then(|| numbers.chunks_exact(dims.len()).map(one).collect())?
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::onnx::{float_tensor, int_tensor};

    #[test]
    fn values_stand_where_the_file_says() {
        let made = |dims: Vec<i64>, indices: TensorProto| {
            let values = float_tensor("w", vec![2], &[5.0, 7.0]);
            let sparse = SparseTensorProto { values: Some(values), indices: Some(indices), dims };
            let mut graph = GraphProto { sparse_initializer: vec![sparse], ..Default::default() };
            make_whole(&mut graph);
            assert_eq!(graph.initializer.len() + graph.sparse_initializer.len(), 1);
            graph.initializer.pop()
        };
        let by_axis = |numbers: &[i64]| TensorProto { dims: vec![2, 2], ..int_tensor("", numbers) };
        for tensor in [
            made(vec![2, 3], int_tensor("", &[1, 5])).unwrap(),
            made(vec![2, 3], by_axis(&[0, 1, 1, 2])).unwrap(),
        ] {
            assert_eq!((tensor.name(), &tensor.dims[..]), ("w", &[2, 3][..]));
            assert_eq!(tensor.floats().unwrap(), [0.0, 5.0, 0.0, 0.0, 0.0, 7.0]);
        }
        assert_eq!(made(vec![2, 3], int_tensor("", &[1, 6])), None);
        assert_eq!(made(vec![2, 3], int_tensor("", &[-1, 5])), None);
        assert_eq!(made(vec![2, 3], by_axis(&[0, 1, 2, 0])), None);
        assert_eq!(made(vec![2, 3], int_tensor("", &[1])), None);
        assert_eq!(made(vec![i64::MAX, i64::MAX], int_tensor("", &[1, 5])), None);
        assert_eq!(made(vec![i64::MAX, i64::MAX, 0], by_axis(&[7, 7, 7, 7])), None);
    }
}
