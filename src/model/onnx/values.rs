//! Reading ONNX messages: attributes by name, the numbers of a constant wherever they are stored.

use std::collections::HashSet;

use half::f16;

use super::{AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto, data_type};

impl ModelProto {
    /// The version of the standard operators; 0 if it names none.
    pub fn opset(&self) -> i64 {
        let standard = self.opset_import.iter().find(|set| ["", "ai.onnx"].contains(&set.domain()));
        standard.map_or(0, |set| set.version())
    }
}

impl NodeProto {
    /// The attribute `name`.
    pub fn attr(&self, name: &str) -> Option<&AttributeProto> {
        self.attribute.iter().find(|attribute| attribute.name() == name)
    }

    /// The number of the attribute `name`.
    pub fn int(&self, name: &str) -> Option<i64> {
        self.attr(name)?.i
    }

    /// The numbers of the attribute `name`; empty if there is none.
    pub fn ints(&self, name: &str) -> &[i64] {
        self.attr(name).map_or(&[], |attribute| &attribute.ints)
    }

    /// The text of the attribute `name`.
    pub fn text(&self, name: &str) -> Option<String> {
        Some(String::from_utf8_lossy(self.attr(name)?.s.as_deref()?).into_owned())
    }

    /// The input number `n`, if it is given.
    pub fn arg(&self, n: usize) -> Option<&str> {
        self.input.get(n).map(String::as_str).filter(|name| !name.is_empty())
    }

    /// The output number `n`; empty if it is not given.
    pub fn out(&self, n: usize) -> &str {
        self.output.get(n).map_or("", String::as_str)
    }

    /// The graphs inside (branches, loop bodies).
    pub fn bodies(&self) -> impl Iterator<Item = &GraphProto> {
        self.attribute.iter().flat_map(|attribute| attribute.g.iter().chain(&attribute.graphs))
    }

    /// The same, to be changed.
    pub fn bodies_mut(&mut self) -> impl Iterator<Item = &mut GraphProto> {
        self.attribute.iter_mut().flat_map(|attribute| attribute.g.iter_mut().chain(&mut attribute.graphs))
    }

    /// Every tensor of the graph around that this node reads: inputs, and what its inner graphs read without having
    /// it themselves.
    pub fn reads(&self) -> Vec<&str> {
        let mut names: Vec<&str> =
            self.input.iter().map(String::as_str).filter(|name| !name.is_empty()).collect();
        for body in self.bodies() {
            let own: HashSet<&str> = body.own_names().collect();
            let outputs = body.output.iter().map(|value| value.name());
            let inner = outputs.chain(body.node.iter().flat_map(NodeProto::reads));
            names.extend(inner.filter(|name| !own.contains(name)));
        }
        names
    }
}

impl TensorProto {
    /// Number of elements.
    pub fn elements(&self) -> usize {
        let dims = self.dims.iter().map(|&dim| usize::try_from(dim).unwrap_or(0));
        dims.fold(1, usize::saturating_mul)
    }

    /// Bits of one number; `None` for texts and formats that are not known here.
    pub fn bits(&self) -> Option<u64> {
        Some(match self.data_type() {
            // Numbers of ONNX's `TensorProto.DataType` stand for formats that nothing else here asks about.
            data_type::DOUBLE | data_type::INT64 | 13 | 14 => 64,
            data_type::FLOAT | data_type::INT32 | 12 => 32,
            data_type::FLOAT16 | data_type::BFLOAT16 | 4 | 5 => 16,
            data_type::UINT8 | data_type::INT8 | data_type::BOOL | 17..=20 | 24 => 8,
            15 => 128,
            21..=23 => 4,
            25 | 26 => 2,
            _ => return None,
        })
    }

    /// True for 16-, 32- and 64-bit floats.
    pub fn is_float(&self) -> bool {
        [data_type::FLOAT, data_type::FLOAT16, data_type::DOUBLE, data_type::BFLOAT16]
            .contains(&self.data_type())
    }

    /// The whole numbers that it holds (32 and 64 bits, truth values).
    pub fn whole_numbers(&self) -> Option<Vec<i64>> {
        let raw = self.raw_data.as_deref().filter(|raw| !raw.is_empty());
        Some(match (self.data_type(), raw) {
            (data_type::INT64, Some(raw)) => {
                raw.as_chunks().0.iter().map(|b| i64::from_le_bytes(*b)).collect()
            }
            (data_type::INT64, None) => self.int64_data.clone(),
            (data_type::INT32, Some(raw)) => {
                raw.as_chunks().0.iter().map(|b| i64::from(i32::from_le_bytes(*b))).collect()
            }
            (data_type::BOOL, Some(raw)) => raw.iter().map(|b| i64::from(*b)).collect(),
            (data_type::INT32 | data_type::BOOL, None) => {
                self.int32_data.iter().map(|n| i64::from(*n)).collect()
            }
            _ => return None,
        })
    }

    /// The numbers that it holds, if they are 16- or 32-bit floats.
    pub fn floats(&self) -> Option<Vec<f32>> {
        let raw = self.raw_data.as_deref().filter(|raw| !raw.is_empty());
        Some(match (self.data_type(), raw) {
            (data_type::FLOAT, Some(raw)) => {
                raw.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect()
            }
            (data_type::FLOAT, None) => self.float_data.clone(),
            (data_type::FLOAT16, Some(raw)) => {
                raw.as_chunks().0.iter().map(|b| f16::from_le_bytes(*b).to_f32()).collect()
            }
            _ => return None,
        })
    }

    /// The elements `picks` along `axis`, for formats whose elements are whole bytes and stored raw (or
    /// 32-bit floats stored otherwise).
    pub fn picked(&self, axis: usize, picks: &[usize]) -> Option<TensorProto> {
        let raw: Vec<u8> = match &self.raw_data {
            Some(raw) if !raw.is_empty() => raw.clone(),
            _ => self.floats()?.iter().flat_map(|value| value.to_le_bytes()).collect(),
        };
        let dims: Vec<usize> = self.dims.iter().map(|&dim| usize::try_from(dim).unwrap_or(0)).collect();
        let count = *dims.get(axis)?;
        let size = raw.len().checked_div(self.elements())?;
        let inner = dims[axis + 1..].iter().product::<usize>() * size;
        if inner == 0 || raw.len() != self.elements() * size || picks.iter().any(|&pick| pick >= count) {
            return None;
        }
        let mut data = Vec::with_capacity(raw.len() / count * picks.len());
        for block in raw.chunks_exact(count * inner) {
            for &pick in picks {
                data.extend_from_slice(&block[pick * inner..(pick + 1) * inner]);
            }
        }
        let mut dims = self.dims.clone();
        dims[axis] = picks.len() as i64;
        Some(TensorProto {
            name: self.name.clone(),
            dims,
            data_type: self.data_type,
            raw_data: Some(data),
            ..Default::default()
        })
    }
}
