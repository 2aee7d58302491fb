//! The input that takes the picture in a file of anywhere: which it is, how its axes lie, and what has to stand
//! before it so that it can be fed `[1, 3, height, width]`.

use super::config::{InputSize, Layout};
use super::graph::{self, Declared};
use super::onnx::{GraphProto, ValueInfoProto, int_tensor, ints, node};
use super::{rewrite, scope};

/// The input of a file that takes the picture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PictureInput {
    /// Its name.
    pub name: String,
    /// Order of its axes.
    pub layout: Layout,
    /// False if it has no batch axis: `[3, height, width]` or `[height, width, 3]`.
    pub batch: bool,
    /// What it declares about its sides.
    pub declared: Declared,
    /// True if the file leaves it open which axis is that of the channels.
    pub open: bool,
}

/// Axis of the channels of a picture with so many axes.
fn channel_axis(layout: Layout, rank: usize) -> usize {
    match layout {
        Layout::Nchw => rank - 3,
        Layout::Nhwc => rank - 1,
    }
}

fn row_axis(layout: Layout, batch: bool) -> usize {
    match (layout, batch) {
        (Layout::Nchw, true) => 2,
        (Layout::Nchw, false) | (Layout::Nhwc, true) => 1,
        (Layout::Nhwc, false) => 0,
    }
}

/// The orders that the axes of `value` may have: none if it is no picture.
fn layouts(value: &ValueInfoProto) -> Vec<Layout> {
    let dims = graph::dims(value);
    if !matches!(dims.len(), 3 | 4) {
        return Vec::new();
    }
    let both = [Layout::Nchw, Layout::Nhwc];
    let channels = |layout: &Layout| graph::number(dims.get(channel_axis(*layout, dims.len())));
    let those = |wanted: Option<usize>| -> Vec<Layout> {
        both.into_iter().filter(|layout| channels(layout) == wanted).collect()
    };
    let told = those(Some(3));
    if told.is_empty() { those(None) } else { told }
}

impl PictureInput {
    /// The input of `graph` that takes the picture. `asked` is heard where the graph does not say how its axes lie.
    ///
    /// # Errors
    /// If none or several look like a picture, or it is a batch of several.
    pub fn find(graph: &GraphProto, asked: Option<Layout>) -> Result<PictureInput, String> {
        let real = graph.input.iter().filter(|value| !graph::is_initializer(graph, value.name()));
        let inputs: Vec<&ValueInfoProto> = real.collect();
        let of_rank = |rank: usize| -> Vec<(&ValueInfoProto, Layout)> {
            let wanted = inputs.iter().filter(|value| graph::dims(value).len() == rank);
            wanted
                .filter_map(|value| {
                    let possible = layouts(value);
                    let asked = asked.filter(|layout| possible.contains(layout));
                    Some((*value, asked.or(possible.first().copied())?))
                })
                .collect()
        };
        let (with_batch, without) = (of_rank(4), of_rank(3));
        let images = if with_batch.is_empty() { without } else { with_batch };
        let [(value, layout)] = images[..] else {
            let listed = inputs.iter().map(|value| graph::describe(value)).collect::<Vec<_>>().join("; ");
            return Err(format!(
                "one picture [1, 3, height, width] (or channels last, or without the batch) is needed, it has: {listed}"
            ));
        };
        let dims = graph::dims(value);
        let batch = dims.len() == 4;
        if batch && graph::number(dims.first()).is_some_and(|many| many != 1) {
            return Err(graph::several_images(value));
        }
        let declared = graph::declared_sides(value, row_axis(layout, batch))?;
        let open = layouts(value).len() > 1;
        Ok(PictureInput { name: value.name().to_owned(), layout, batch, declared, open })
    }

    /// The axis of its rows as the file declares it; that of its columns is the next one.
    pub fn rows(&self) -> usize {
        row_axis(self.layout, self.batch)
    }

    /// The same input under another name, if its own is one of `names`: a prepared file has outputs of these names.
    pub fn apart_from(self, graph: &mut GraphProto, names: &[&str]) -> PictureInput {
        if !names.contains(&self.name.as_str()) {
            return self;
        }
        let name = rewrite::fresh(graph, "image");
        scope::rename(graph, &scope::Renamed::from([(self.name, name.clone())]));
        PictureInput { name, ..self }
    }

    /// Lets everything that reads the input read a turned copy of it, made of `[1, 3, height, width]`.
    pub fn turn(&self, graph: &mut GraphProto, size: InputSize) {
        let mut steps = Vec::new();
        let mut at = self.name.clone();
        if self.layout == Layout::Nhwc {
            let to = rewrite::fresh(graph, "farout_channels_last");
            steps.push(node("Transpose", &[&at], &to, vec![ints("perm", vec![0, 2, 3, 1])]));
            at = to;
        }
        if !self.batch {
            let (to, shape) =
                (rewrite::fresh(graph, "farout_alone"), rewrite::fresh(graph, "farout_alone_shape"));
            let (height, width) = (size.height as i64, size.width as i64);
            let dims = match self.layout {
                Layout::Nchw => [3, height, width],
                Layout::Nhwc => [height, width, 3],
            };
            graph.initializer.push(int_tensor(&shape, &dims));
            steps.push(node("Reshape", &[&at, &shape], &to, Vec::new()));
            at = to;
        }
        if !steps.is_empty() {
            rewrite::rename_uses(graph, &self.name, &at);
            graph.node.splice(0..0, steps);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::onnx::{Dimension, DimensionValue, data_type, tensor_value};

    /// A graph with one input; 0 is a free side.
    fn graph(sides: &[i64]) -> GraphProto {
        let side = |&side: &i64| match side {
            0 => DimensionValue::DimParam("free".into()),
            side => DimensionValue::DimValue(side),
        };
        let dims = sides.iter().map(|one| Dimension { value: Some(side(one)), denotation: None }).collect();
        GraphProto { input: vec![tensor_value("x", data_type::FLOAT, Some(dims))], ..Default::default() }
    }

    #[test]
    fn axes_are_told_apart_by_what_is_declared_and_then_by_what_is_asked() {
        use Layout::{Nchw, Nhwc};
        for (sides, asked, want) in [
            (&[1, 3, 32, 48][..], None, (Nchw, true)),
            (&[1, 32, 48, 3], None, (Nhwc, true)),
            (&[0, 0, 0, 3], None, (Nhwc, true)),
            (&[0, 3, 0, 0], Some(Nhwc), (Nchw, true)),
            (&[1, 3, 32, 48], Some(Nhwc), (Nchw, true)),
            (&[0, 0, 0, 0], None, (Nchw, true)),
            (&[0, 0, 0, 0], Some(Nhwc), (Nhwc, true)),
            (&[3, 32, 48], None, (Nchw, false)),
            (&[32, 48, 3], None, (Nhwc, false)),
        ] {
            let found = PictureInput::find(&graph(sides), asked).unwrap();
            assert_eq!((found.layout, found.batch), want, "{sides:?} {asked:?}");
        }
        for (sides, word) in
            [(&[4, 3, 32, 48][..], "any size"), (&[1, 1, 32, 48], "one picture"), (&[1, 77], "one picture")]
        {
            let why = PictureInput::find(&graph(sides), None).unwrap_err();
            assert!(why.contains(word), "{sides:?}: {why}");
        }
    }

    #[test]
    fn an_input_called_like_an_output_to_be_gets_another_name() {
        let mut one = graph(&[1, 3, 32, 48]);
        one.node = vec![node("Relu", &["x"], "image", vec![])];
        let found = PictureInput::find(&one, None).unwrap();
        assert_eq!(found.clone().apart_from(&mut one, &["features"]).name, "x");
        let found = found.apart_from(&mut one, &["features", "x"]);
        assert_eq!(
            (found.name.as_str(), one.input[0].name(), one.node[0].arg(0)),
            ("image_", "image_", Some("image_"))
        );
        assert_eq!(one.node[0].out(0), "image");
    }
}
