//! One model in the many forms that exporters and converters give it, each the same function.

use farout::model::onnx::{
    AttributeProto, FunctionProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, SparseTensorProto,
    StringStringEntryProto, TensorProto, ValueInfoProto, attribute_type, data_type, float_tensor, node,
};

/// Stands for bytes that are no UTF-8 in the messages below.
pub const MARK: &str = "\u{7f}\u{7f}\u{7f}\u{7f}";

fn rename(graph: &mut GraphProto, from: &str, to: &str) {
    let values = graph.input.iter_mut().chain(&mut graph.output).filter_map(|value| value.name.as_mut());
    let wired = graph.node.iter_mut().flat_map(|one| one.input.iter_mut().chain(&mut one.output));
    let constants = graph.initializer.iter_mut().filter_map(|tensor| tensor.name.as_mut());
    for name in values.chain(wired).chain(constants).filter(|name| *name == from) {
        to.clone_into(name);
    }
}

/// The nodes stand in the wrong order.
pub fn reversed(model: &mut ModelProto) {
    model.graph.as_mut().unwrap().node.reverse();
}

/// Constants become nodes, which an IR version of long ago lists among the inputs where they do not.
pub fn constants_as_nodes(model: &mut ModelProto) {
    model.ir_version = Some(3);
    let graph = model.graph.as_mut().unwrap();
    let (whole, floats): (Vec<_>, Vec<_>) = std::mem::take(&mut graph.initializer)
        .into_iter()
        .partition(|tensor| tensor.data_type() == data_type::INT64);
    for tensor in &whole {
        let dims = tensor.dims.iter().map(|&dim| farout::model::onnx::Dimension {
            value: Some(farout::model::onnx::DimensionValue::DimValue(dim)),
            denotation: None,
        });
        let value = farout::model::onnx::tensor_value(tensor.name(), data_type::INT64, Some(dims.collect()));
        graph.input.push(value);
    }
    graph.initializer = whole;
    let constant = |tensor: TensorProto| {
        let name = tensor.name().to_owned();
        let kind = Some(attribute_type::TENSOR);
        let value = AttributeProto {
            name: Some("value".into()),
            t: Some(tensor),
            r#type: kind,
            ..Default::default()
        };
        node("Constant", &[], &name, vec![value])
    };
    graph.node.splice(0..0, floats.into_iter().map(constant));
}

/// The image, a constant and results inside are called as a prepared file calls its own, nodes likewise.
pub fn clashing(model: &mut ModelProto) {
    let graph = model.graph.as_mut().unwrap();
    let (input, constant) = (graph.input[0].name().to_owned(), graph.initializer[0].name().to_owned());
    let inner: Vec<String> = graph.node.iter().skip(2).map(|one| one.out(0).to_owned()).collect();
    rename(graph, &input, "features");
    rename(graph, &constant, "farout/features_shape");
    let names = ["logits", "farout_features", "farout_shape_0", "farout/features_0", "image"];
    for (from, to) in inner.iter().zip(names) {
        rename(graph, from, to);
    }
    let names = ["features_cast", "farout/features_out_reshape", "farout_shape_0_shape"];
    for (one, name) in graph.node.iter_mut().zip(names) {
        one.name = Some(name.into());
    }
}

/// A node in both branches of an `If`, under the names that all these branches share.
fn in_branches(one: &NodeProto) -> NodeProto {
    let branch = |name: &str| {
        let inner = NodeProto { output: vec!["inner".into()], name: Some("same".into()), ..one.clone() };
        let output = ValueInfoProto { name: Some("out".into()), ..Default::default() };
        AttributeProto {
            name: Some(name.into()),
            g: Some(GraphProto {
                name: Some(name.into()),
                node: vec![inner, node("Identity", &["inner"], "out", vec![])],
                output: vec![output],
                ..Default::default()
            }),
            r#type: Some(5),
            ..Default::default()
        }
    };
    node("If", &["yes"], one.out(0), vec![branch("then_branch"), branch("else_branch")])
}

/// Each product stands in the branches of an `If`.
pub fn branches(model: &mut ModelProto) {
    let graph = model.graph.as_mut().unwrap();
    let products = graph.node.iter_mut().filter(|one| one.op_type() == "MatMul");
    products.for_each(|one| *one = in_branches(one));
    graph.initializer.push(TensorProto {
        name: Some("yes".into()),
        data_type: Some(data_type::BOOL),
        raw_data: Some(vec![1]),
        ..Default::default()
    });
}

/// Each product becomes the call of one function, whose nodes have names.
pub fn functions(model: &mut ModelProto) {
    let own = |version: i64| OperatorSetIdProto { domain: Some("own".into()), version: Some(version) };
    let named = |one: NodeProto, name: &str| NodeProto { name: Some(name.into()), ..one };
    model.functions.push(FunctionProto {
        name: Some("product".into()),
        domain: Some("own".into()),
        input: vec!["a".into(), "b".into()],
        output: vec!["c".into()],
        node: vec![
            named(node("Identity", &["made"], "c", vec![]), "last"),
            named(node("MatMul", &["a", "b"], "made", vec![]), "first"),
        ],
        opset_import: vec![OperatorSetIdProto { domain: None, version: Some(model.opset()) }],
        ..Default::default()
    });
    // ONNX Runtime wants the nodes of a function in order.
    model.functions[0].node.reverse();
    model.opset_import.push(own(1));
    for one in &mut model.graph.as_mut().unwrap().node {
        if one.op_type() == "MatMul" {
            *one = NodeProto { op_type: Some("product".into()), domain: Some("own".into()), ..one.clone() };
        }
    }
}

/// Texts that are no UTF-8: of the model, of its graph and of its nodes.
pub fn latin1(model: &mut ModelProto) {
    model.doc_string = Some(format!("Stra{MARK}e"));
    let entry = (Some("autor".to_owned()), Some(format!("M{MARK}ller")));
    model.metadata_props.push(StringStringEntryProto { key: entry.0, value: entry.1 });
    let graph = model.graph.as_mut().unwrap();
    let inner = graph.node[3].out(0).to_owned();
    rename(graph, &inner, &format!("gr{MARK}n"));
    graph.node[5].name = Some(format!("kn{MARK}ten"));
}

/// Every result is copied before it is read, once by a Dropout that drops nothing.
pub fn copied(model: &mut ModelProto) {
    let graph = model.graph.as_mut().unwrap();
    for (n, mut one) in std::mem::take(&mut graph.node).into_iter().enumerate() {
        let single = one.output.len() == 1 && one.op_type() != "Constant";
        let copy = single.then(|| {
            let name = one.out(0).to_owned();
            let before = format!("{name}/before");
            one.output[0].clone_from(&before);
            node(
                if n % 5 == 2 && one.op_type() == "MatMul" { "Dropout" } else { "Identity" },
                &[&before],
                &name,
                vec![],
            )
        });
        graph.node.push(one);
        graph.node.extend(copy);
    }
}

/// Biases and gains store what is not zero.
pub fn sparse(model: &mut ModelProto) {
    let graph = model.graph.as_mut().unwrap();
    for tensor in std::mem::take(&mut graph.initializer) {
        let Some(numbers) = tensor.floats().filter(|_| tensor.dims.len() == 1) else {
            graph.initializer.push(tensor);
            continue;
        };
        let places: Vec<usize> = (0..numbers.len()).filter(|&n| numbers[n] != 0.0).collect();
        let values: Vec<f32> = places.iter().map(|&n| numbers[n]).collect();
        let places: Vec<i64> = places.iter().map(|&n| n as i64).collect();
        graph.sparse_initializer.push(SparseTensorProto {
            values: Some(float_tensor(tensor.name(), vec![values.len() as i64], &values)),
            indices: Some(farout::model::onnx::int_tensor("", &places)),
            dims: tensor.dims.clone(),
        });
    }
    assert!(!graph.sparse_initializer.is_empty());
}

/// A version of the format that ONNX Runtime 1.23 does not take.
pub fn of_a_newer_format(model: &mut ModelProto) {
    model.ir_version = Some(14);
}
