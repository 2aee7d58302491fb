//! Texts that are not UTF-8: ONNX wants UTF-8, ONNX Runtime takes any bytes, and exporters have written Latin-1 and
//! GBK. Such texts are read byte by byte as Latin-1, which keeps different names different.

use std::ops::Range;

/// A message, and which of its fields are texts or messages. All other fields stay as they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Model,
    Graph,
    Node,
    Attribute,
    Value,
    Tensor,
    Sparse,
    Type,
    TensorType,
    ElementType,
    MapType,
    OpaqueType,
    Shape,
    Dimension,
    OperatorSet,
    Entry,
    Annotation,
    Training,
    Function,
    Devices,
    NodeDevices,
    Sharding,
    ShardedDim,
    SimpleShardedDim,
}

impl Kind {
    /// Numbers of the fields that are texts.
    const fn texts(self) -> &'static [u64] {
        match self {
            Kind::Model => &[2, 3, 4, 6],
            Kind::Graph => &[2, 10],
            Kind::Node => &[1, 2, 3, 4, 6, 7, 8],
            Kind::Attribute => &[1, 13, 21],
            Kind::Value | Kind::Devices => &[1, 3],
            Kind::Tensor => &[8, 12],
            Kind::Type => &[6],
            Kind::OpaqueType | Kind::Entry => &[1, 2],
            Kind::Dimension => &[2, 3],
            Kind::OperatorSet | Kind::Annotation | Kind::NodeDevices | Kind::Sharding => &[1],
            Kind::Function => &[1, 4, 5, 6, 8, 10, 13],
            Kind::SimpleShardedDim => &[2],
            Kind::Sparse
            | Kind::TensorType
            | Kind::ElementType
            | Kind::MapType
            | Kind::Shape
            | Kind::Training
            | Kind::ShardedDim => &[],
        }
    }

    /// Numbers of the fields that are messages with texts in them.
    const fn messages(self) -> &'static [(u64, Kind)] {
        match self {
            Kind::Model => &[
                (7, Kind::Graph),
                (8, Kind::OperatorSet),
                (14, Kind::Entry),
                (20, Kind::Training),
                (25, Kind::Function),
                (26, Kind::Devices),
            ],
            Kind::Graph => &[
                (1, Kind::Node),
                (5, Kind::Tensor),
                (11, Kind::Value),
                (12, Kind::Value),
                (13, Kind::Value),
                (14, Kind::Annotation),
                (15, Kind::Sparse),
                (16, Kind::Entry),
            ],
            Kind::Node => &[(5, Kind::Attribute), (9, Kind::Entry), (10, Kind::NodeDevices)],
            Kind::Attribute => &[
                (5, Kind::Tensor),
                (6, Kind::Graph),
                (10, Kind::Tensor),
                (11, Kind::Graph),
                (14, Kind::Type),
                (15, Kind::Type),
                (22, Kind::Sparse),
                (23, Kind::Sparse),
            ],
            Kind::Value => &[(2, Kind::Type), (4, Kind::Entry)],
            Kind::Tensor => &[(13, Kind::Entry), (16, Kind::Entry)],
            Kind::Sparse => &[(1, Kind::Tensor), (2, Kind::Tensor)],
            Kind::Type => &[
                (1, Kind::TensorType),
                (4, Kind::ElementType),
                (5, Kind::MapType),
                (7, Kind::OpaqueType),
                (8, Kind::TensorType),
                (9, Kind::ElementType),
            ],
            Kind::TensorType => &[(2, Kind::Shape)],
            Kind::ElementType => &[(1, Kind::Type)],
            Kind::MapType => &[(2, Kind::Type)],
            Kind::Shape => &[(1, Kind::Dimension)],
            Kind::Annotation => &[(2, Kind::Entry)],
            Kind::Training => &[(1, Kind::Graph), (2, Kind::Graph), (3, Kind::Entry), (4, Kind::Entry)],
            Kind::Function => &[
                (7, Kind::Node),
                (9, Kind::OperatorSet),
                (11, Kind::Attribute),
                (12, Kind::Value),
                (14, Kind::Entry),
            ],
            Kind::NodeDevices => &[(2, Kind::Sharding)],
            Kind::Sharding => &[(4, Kind::ShardedDim)],
            Kind::ShardedDim => &[(2, Kind::SimpleShardedDim)],
            Kind::OpaqueType
            | Kind::Dimension
            | Kind::OperatorSet
            | Kind::Entry
            | Kind::Devices
            | Kind::SimpleShardedDim => &[],
        }
    }
}

/// As deep as prost follows messages within messages.
const DEEPEST: usize = 100;

/// The model in `bytes` with every text in UTF-8. `None` if all texts are so already, or if the bytes are no
/// whole message.
pub fn in_utf8(bytes: &[u8]) -> Option<Vec<u8>> {
    mended(bytes, Kind::Model, 0).ok().flatten()
}

/// The bytes in which a text that [`in_utf8`] read as Latin-1 stood in the file; `None` if it cannot be one.
pub fn as_latin1(text: &str) -> Option<Vec<u8>> {
    let bytes: Option<Vec<u8>> = text.chars().map(|c| u8::try_from(u32::from(c)).ok()).collect();
    bytes.filter(|bytes| std::str::from_utf8(bytes).is_err())
}

/// The bytes are no message.
struct Broken;

/// What has to be written instead of `bytes`, if anything.
fn mended(bytes: &[u8], kind: Kind, depth: usize) -> Result<Option<Vec<u8>>, Broken> {
    if depth > DEEPEST {
        return Err(Broken);
    }
    let mut out: Option<Vec<u8>> = None;
    let (mut at, mut copied) = (0, 0);
    while at < bytes.len() {
        let field = Field::at(bytes, at).ok_or(Broken)?;
        at = field.content.end;
        let inside = bytes.get(field.content.clone()).ok_or(Broken)?;
        let inner = kind.messages().iter().find(|(number, _)| *number == field.number);
        let instead = match inner {
            _ if !field.has_length => None,
            Some(&(_, inner)) => mended(inside, inner, depth + 1)?,
            None if kind.texts().contains(&field.number) && std::str::from_utf8(inside).is_err() => {
                Some(inside.iter().map(|&byte| char::from(byte)).collect::<String>().into_bytes())
            }
            None => None,
        };
        if let Some(instead) = instead {
            let out = out.get_or_insert_default();
            out.extend_from_slice(bytes.get(copied..field.length_at).ok_or(Broken)?);
            prost::encoding::encode_varint(instead.len() as u64, out);
            out.extend_from_slice(&instead);
            copied = field.content.end;
        }
    }
    if let Some(out) = &mut out {
        out.extend_from_slice(bytes.get(copied..).ok_or(Broken)?);
    }
    Ok(out)
}

/// One field as it lies in a message: its key, its length if it has one, its content.
struct Field {
    number: u64,
    has_length: bool,
    length_at: usize,
    content: Range<usize>,
}

impl Field {
    fn at(bytes: &[u8], at: usize) -> Option<Field> {
        let (key, after_key) = varint(bytes, at)?;
        let (number, has_length) = (key >> 3, key & 7 == 2);
        let content = match key & 7 {
            0 => after_key..varint(bytes, after_key)?.1,
            1 => after_key..after_key + 8,
            2 => {
                let (length, start) = varint(bytes, after_key)?;
                start..start.checked_add(usize::try_from(length).ok()?)?
            }
            5 => after_key..after_key + 4,
            _ => return None,
        };
        Some(Field { number, has_length, length_at: after_key, content })
    }
}

/// The number in base 128 that begins at `at`, and where the bytes after it begin.
fn varint(bytes: &[u8], at: usize) -> Option<(u64, usize)> {
    let mut number = 0;
    for (n, &byte) in bytes.get(at..)?.iter().take(10).enumerate() {
        number |= u64::from(byte & 0x7f) << (7 * n);
        if byte & 0x80 == 0 {
            return Some((number, at + n + 1));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use prost::Message;

    use super::*;
    use crate::model::onnx::{
        AttributeProto, GraphProto, ModelProto, NodeProto, StringStringEntryProto, TensorProto, node,
    };

    /// Stands for the byte 0xE9 in the messages below.
    const MARK: &str = "\u{7f}";

    /// A message whose marks are made bytes that are no UTF-8.
    fn bytes(model: &ModelProto) -> Vec<u8> {
        model.encode_to_vec().into_iter().map(|byte| if byte == 0x7f { 0xe9 } else { byte }).collect()
    }

    fn model(mark: &str) -> ModelProto {
        let text = |begin: &str| Some(format!("{begin}{mark}"));
        let inner = node("Relu", &[&format!("x{mark}")], "inner", vec![]);
        let body = GraphProto { node: vec![inner], ..Default::default() };
        let branch = AttributeProto { name: text("then"), g: Some(body), ..Default::default() };
        let weights =
            TensorProto { name: text("w"), raw_data: Some(vec![0xe9, 0xff, 7]), ..Default::default() };
        let graph = GraphProto {
            name: text("g"),
            node: vec![
                NodeProto { doc_string: text("Gr\u{f6}\u{df}e, "), ..node("If", &["x"], "y", vec![branch]) },
                node("Add", &[&format!("w{mark}"), "y"], &format!("z{mark}"), vec![]),
            ],
            initializer: vec![weights],
            ..Default::default()
        };
        let entry = StringStringEntryProto { key: text("k"), value: text("v") };
        ModelProto {
            producer_name: text("p"),
            graph: Some(graph),
            metadata_props: vec![entry],
            ..Default::default()
        }
    }

    #[test]
    fn any_text_may_be_latin1_and_names_stay_what_they_are() {
        let broken = bytes(&model(MARK));
        assert!(ModelProto::decode(&broken[..]).is_err());
        let read = ModelProto::decode(&in_utf8(&broken).unwrap()[..]).unwrap();
        let mut want = model("\u{e9}");
        // A text of which one byte is no UTF-8 is Latin-1 as a whole.
        let told = &mut want.graph.as_mut().unwrap().node[0].doc_string;
        *told = Some("Gr\u{c3}\u{b6}\u{c3}\u{9f}e, \u{e9}".to_owned());
        assert_eq!(read, want);
        assert_eq!(in_utf8(&want.encode_to_vec()), None, "nothing to mend");
        assert_eq!(as_latin1("w\u{e9}"), Some(vec![b'w', 0xe9]));
        assert_eq!((as_latin1("w"), as_latin1("w\u{20ac}")), (None, None));
    }

    #[test]
    fn what_is_no_message_is_left_alone() {
        let broken = bytes(&model(MARK));
        for cut in 0..broken.len() {
            // Without a panic; what is cut behind a field may still be a message.
            let _ = in_utf8(&broken[..cut]);
        }
        assert_eq!(in_utf8(&broken[..broken.len() - 1]), None);
    }

    /// The tables above are those of the messages that prost knows.
    #[test]
    fn every_text_of_every_message_is_known() {
        let kinds = [
            (Kind::Model, "ModelProto"),
            (Kind::Graph, "GraphProto"),
            (Kind::Node, "NodeProto"),
            (Kind::Attribute, "AttributeProto"),
            (Kind::Value, "ValueInfoProto"),
            (Kind::Tensor, "TensorProto"),
            (Kind::Sparse, "SparseTensorProto"),
            (Kind::Type, "TypeProto"),
            (Kind::OpaqueType, "Opaque"),
            (Kind::Shape, "TensorShapeProto"),
            (Kind::OperatorSet, "OperatorSetIdProto"),
            (Kind::Entry, "StringStringEntryProto"),
            (Kind::Annotation, "TensorAnnotation"),
            (Kind::Training, "TrainingInfoProto"),
            (Kind::Function, "FunctionProto"),
            (Kind::Devices, "DeviceConfigurationProto"),
            (Kind::NodeDevices, "NodeDeviceConfigurationProto"),
            (Kind::Sharding, "ShardingSpecProto"),
        ];
        let source = include_str!("proto.rs");
        for (kind, name) in kinds {
            let (_, from) = source.split_once(&format!("pub struct {name} {{")).unwrap();
            let (fields, _) = from.split_once('}').unwrap();
            let texts = fields.split("#[prost(string,").skip(1).map(|rest| {
                let (_, tag) = rest.split_once("tag = \"").unwrap();
                tag.split('"').next().unwrap().parse::<u64>().unwrap()
            });
            let mut texts: Vec<u64> = texts.collect();
            texts.sort_unstable();
            assert_eq!(texts, kind.texts(), "{name}");
        }
    }
}
