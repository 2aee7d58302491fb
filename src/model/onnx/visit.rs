//! Every tensor with numbers of its own, wherever a message holds it.

use super::{AttributeProto, GraphProto, ModelProto, NodeProto, SparseTensorProto, TensorProto};

/// What is done to each tensor.
type Visit<'a, E> = dyn FnMut(&mut TensorProto) -> Result<(), E> + 'a;

impl ModelProto {
    /// Calls `visit` for every constant that is run: initialisers first, then what stands in nodes, in the bodies of
    /// nodes and in functions.
    ///
    /// # Errors
    /// The first that `visit` gives.
    pub fn each_tensor<E>(&mut self, visit: &mut Visit<'_, E>) -> Result<(), E> {
        if let Some(graph) = &mut self.graph {
            of_graph(graph, visit)?;
        }
        for function in &mut self.functions {
            of_nodes(&mut function.node, visit)?;
            of_attributes(&mut function.attribute_proto, visit)?;
        }
        Ok(())
    }
}

fn of_graph<E>(graph: &mut GraphProto, visit: &mut Visit<'_, E>) -> Result<(), E> {
    graph.initializer.iter_mut().try_for_each(&mut *visit)?;
    graph.sparse_initializer.iter_mut().try_for_each(|sparse| of_sparse(sparse, visit))?;
    of_nodes(&mut graph.node, visit)
}

fn of_nodes<E>(nodes: &mut [NodeProto], visit: &mut Visit<'_, E>) -> Result<(), E> {
    nodes.iter_mut().try_for_each(|one| of_attributes(&mut one.attribute, visit))
}

fn of_attributes<E>(attributes: &mut [AttributeProto], visit: &mut Visit<'_, E>) -> Result<(), E> {
    for one in attributes {
        one.t.iter_mut().chain(&mut one.tensors).try_for_each(&mut *visit)?;
        let mut sparse = one.sparse_tensor.iter_mut().chain(&mut one.sparse_tensors);
        sparse.try_for_each(|sparse| of_sparse(sparse, visit))?;
        one.g.iter_mut().chain(&mut one.graphs).try_for_each(|body| of_graph(body, visit))?;
    }
    Ok(())
}

fn of_sparse<E>(sparse: &mut SparseTensorProto, visit: &mut Visit<'_, E>) -> Result<(), E> {
    sparse.values.iter_mut().chain(&mut sparse.indices).try_for_each(visit)
}
