//! The engines that must agree on every flow.

use crate::world::World;
use weir_compiler::flow::Engine;
use weir_compiler::reference::Reference;

/// Makes an engine for a world.
pub type MakeEngine = for<'w> fn(&'w World) -> Box<dyn Engine + 'w>;

/// All engines by name, the specification first. Corpus, cases and laws are held against each.
pub const ENGINES: &[(&str, MakeEngine)] = &[("reference", reference)];

/// The reference evaluator.
pub fn reference(world: &World) -> Box<dyn Engine + '_> {
    Box::new(Reference::new(&world.policies, &world.cluster, world.lock.as_ref()))
}
