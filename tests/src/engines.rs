//! The engines that must agree on every flow.
//!
//! The specification, its image read in place, the same for each node, and the kernel, which needs root: where it cannot be asked it is
//! left out aloud.

use crate::kernel;
use crate::world::World;
use weir_abi::Image;
use weir_compiler::cluster::Cluster;
use weir_compiler::flow::{Engine, Flow, Side};
use weir_compiler::image::write::ImageBytes;
use weir_compiler::interpret::Interpreter;
use weir_compiler::ir::Direction;
use weir_compiler::reference::Reference;

/// Makes an engine for a world, or tells why it cannot.
pub type MakeEngine = for<'w> fn(&'w World) -> Result<Box<dyn Engine + 'w>, String>;

/// An engine's name, and how one is made.
pub type NamedEngine = (&'static str, MakeEngine);

/// The engines that need no kernel, the specification first.
pub const PURE: &[NamedEngine] =
    &[("reference", reference), ("image", image), ("images of nodes", node_images)];

/// All engines that there can be here, the specification first. Corpus and cases are held against each; laws, which go over many
/// worlds, give the kernel a share.
///
/// # Panics
/// The kernel cannot be asked where it must be, or refuses the programs; see [`kernel::Kernel::open`].
pub fn engines() -> Vec<NamedEngine> {
    PURE.iter().copied().chain(in_kernel()).collect()
}

/// The kernel, where it can be asked.
///
/// # Panics
/// As [`engines`] does.
pub fn in_kernel() -> Option<NamedEngine> {
    kernel::available().then_some(("kernel", kernel::voice))
}

/// The reference evaluator.
///
/// # Errors
/// None.
pub fn reference(world: &World) -> Result<Box<dyn Engine + '_>, String> {
    Ok(Box::new(Reference::new(&world.policies, &world.cluster, world.lock.as_ref())))
}

/// The image of the whole cluster.
///
/// # Errors
/// Why there is no image, or what is wrong with it.
pub fn image(world: &World) -> Result<Box<dyn Engine + '_>, String> {
    Ok(Box::new(interpreter(world, world.image()?)?))
}

/// The image of each node for its own endpoints. Who is on no node is judged by the cluster's.
///
/// # Errors
/// Why there is an image missing, or what is wrong with one.
pub fn node_images(world: &World) -> Result<Box<dyn Engine + '_>, String> {
    let by_node: Result<_, String> =
        world.node_images()?.iter().map(|bytes| interpreter(world, bytes)).collect();
    let elsewhere = interpreter(world, world.image()?)?;
    Ok(Box::new(NodeImages { cluster: &world.cluster, by_node: by_node?, elsewhere }))
}

fn interpreter<'w>(world: &'w World, bytes: &'w ImageBytes) -> Result<Interpreter<'w>, String> {
    let image = Image::open(bytes.as_bytes()).map_err(|error| error.to_string())?;
    Ok(Interpreter::new(image, &world.cluster, world.lock.as_ref()))
}

struct NodeImages<'w> {
    cluster: &'w Cluster,
    by_node: Vec<Interpreter<'w>>,
    elsewhere: Interpreter<'w>,
}

impl Engine for NodeImages<'_> {
    fn side(&self, flow: &Flow, direction: Direction) -> Side {
        let (subject, _) = flow.subject_and_peer(direction);
        let node = self.cluster.home(subject).and_then(|node| self.by_node.get(node));
        node.unwrap_or(&self.elsewhere).side(flow, direction)
    }
}
