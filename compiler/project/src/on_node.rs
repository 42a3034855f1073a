//! An engine asked on behalf of one node.
//!
//! Each node decides for its own endpoints; for those elsewhere their own node does. The same labels
//! may stand for pods on several nodes, so an image alone cannot tell.
//!
//! Not here: how an engine decides.

use crate::error::ProjectError;
use weir_abi::{Image, Reason};
use weir_compiler::cluster::{Cluster, Party};
use weir_compiler::flow::{Engine, Flow, Side};
use weir_compiler::fqdn::FqdnLock;
use weir_compiler::interpret::Interpreter;
use weir_compiler::ir::Direction;

/// An engine that says of endpoints on other nodes that those decide.
#[derive(Debug)]
pub struct OnNode<'c, E> {
    engine: E,
    cluster: &'c Cluster,
    node: Option<usize>,
}

impl<'c, E> OnNode<'c, E> {
    /// Asks `engine` on behalf of a node, by place in the cluster; without one, for the whole cluster.
    pub fn new(engine: E, cluster: &'c Cluster, node: Option<usize>) -> Self {
        OnNode { engine, cluster, node }
    }
}

impl<'c> OnNode<'c, Interpreter<'c>> {
    /// Asks an image on behalf of the node that it is for.
    ///
    /// # Errors
    /// [`ProjectError::ForeignImage`]: the cluster does not have that node.
    pub fn of_image(
        image: Image<'c>,
        cluster: &'c Cluster,
        fqdn: Option<&'c FqdnLock>,
    ) -> Result<Self, ProjectError> {
        let interpreter = Interpreter::new(image, cluster, fqdn);
        let node = match interpreter.node() {
            Some(name) => match cluster.node_named(name) {
                Some(place) => Some(place),
                None => return Err(ProjectError::ForeignImage { node: name.to_owned() }),
            },
            None => None,
        };
        Ok(OnNode::new(interpreter, cluster, node))
    }
}

impl<E: Engine> Engine for OnNode<'_, E> {
    fn side(&self, flow: &Flow, direction: Direction) -> Side {
        let (subject, _) = flow.subject_and_peer(direction);
        let is_elsewhere = self.node.is_some() && self.cluster.home(subject) != self.node;
        if is_elsewhere && !matches!(subject, Party::Outside(_)) {
            return Side { reason: Reason::EnforcedElsewhere, ..Side::NO_POLICY };
        }
        self.engine.side(flow, direction)
    }
}
