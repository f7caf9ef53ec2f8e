//! Tests of the graph as a whole.

mod cases;
mod hostile;
mod members;
mod order;

use crate::{Graph, Told, Update};

/// What a graph of node `here` tells when it is flushed.
fn flush(graph: &mut Graph, told: &mut Told) {
    graph.flush(&mut |output| {
        told.apply(output).unwrap();
        told.check_references().unwrap();
    });
}

/// What a fresh graph of node `here` tells of a cluster.
fn fresh(updates: impl IntoIterator<Item = Update>) -> (Graph, Told) {
    let (mut graph, mut told) = (Graph::new("here"), Told::default());
    updates.into_iter().for_each(|update| graph.on(update));
    flush(&mut graph, &mut told);
    (graph, told)
}
