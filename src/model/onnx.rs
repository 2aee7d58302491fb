//! The ONNX file format: every message of the public `onnx.proto`, as generated from it.
//!
//! prost forgets fields that it does not know, so a file only survives decode and encode because all fields are here; for
//! a release of ONNX that adds one, tools/onnx-types writes the types anew. Names and numbers are those of
//! <https://github.com/onnx/onnx/blob/main/onnx/onnx.proto>, where each field is explained.

mod make;
#[rustfmt::skip]
#[allow(missing_docs, unreachable_pub, clippy::all, clippy::pedantic, reason = "generated")]
mod proto;
mod text;
mod values;
mod visit;

pub use make::*;
pub use proto::tensor_shape_proto::Dimension;
pub use proto::tensor_shape_proto::dimension::Value as DimensionValue;
pub use proto::*;
pub use text::{as_latin1, in_utf8};

/// `TensorProto.DataLocation.EXTERNAL`: the numbers lie in another file.
pub const EXTERNAL: i32 = tensor_proto::DataLocation::External as i32;

/// `TensorProto.DataType`: the number formats that are told apart here.
#[allow(missing_docs, reason = "the names are ONNX's own and explained there")]
pub mod data_type {
    use super::tensor_proto::DataType;

    pub const FLOAT: i32 = DataType::Float as i32;
    pub const UINT8: i32 = DataType::Uint8 as i32;
    pub const INT8: i32 = DataType::Int8 as i32;
    pub const INT32: i32 = DataType::Int32 as i32;
    pub const INT64: i32 = DataType::Int64 as i32;
    pub const BOOL: i32 = DataType::Bool as i32;
    pub const FLOAT16: i32 = DataType::Float16 as i32;
    pub const DOUBLE: i32 = DataType::Double as i32;
    pub const BFLOAT16: i32 = DataType::Bfloat16 as i32;
}

/// `AttributeProto.AttributeType`: the kinds that are written here.
#[allow(missing_docs, reason = "the names are ONNX's own and explained there")]
pub mod attribute_type {
    use super::attribute_proto::AttributeType;

    pub const FLOAT: i32 = AttributeType::Float as i32;
    pub const INT: i32 = AttributeType::Int as i32;
    pub const STRING: i32 = AttributeType::String as i32;
    pub const TENSOR: i32 = AttributeType::Tensor as i32;
    pub const INTS: i32 = AttributeType::Ints as i32;
}
