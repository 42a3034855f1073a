//! The third voice of the list of engines: `weir_runtime::voice`, over datapaths that a thread keeps for one world after the other.
//!
//! A flow that the kernel does not answer ends the test. Not here: how flows become packets.

use super::{Kernel, small, unused_pin_root};
use crate::world::World;
use std::cell::RefCell;
use std::rc::Rc;
use weir_compiler::flow::{Engine, Flow, Side};
use weir_compiler::image::write::ImageBytes;
use weir_compiler::ir::Direction;
use weir_runtime::voice::{Stands, Tally, Voice};

thread_local! {
    static STANDS: Rc<RefCell<Stands>> = Rc::new(RefCell::new(Stands::new(small(unused_pin_root()))));
}

/// What this thread has asked the kernel so far.
pub fn tally() -> Tally {
    STANDS.with(|stands| stands.borrow().tally())
}

/// Whether this process can ask the kernel; otherwise that is said aloud.
///
/// # Panics
/// As [`Kernel::open`] does.
pub fn available() -> bool {
    Kernel::open().is_some()
}

/// The kernel, for a world.
///
/// # Errors
/// Why there is an image missing, or what is wrong with one.
pub fn voice(world: &World) -> Result<Box<dyn Engine + '_>, String> {
    let images = world.node_images()?.iter().chain([world.image()?]).map(ImageBytes::as_bytes);
    let voice = STANDS.with(|stands| Voice::new(stands, &world.cluster, world.lock.as_ref(), images));
    Ok(Box::new(Certain(voice.map_err(|error| error.to_string())?)))
}

/// The voice, which must answer.
struct Certain<'w>(Voice<'w>);

impl Engine for Certain<'_> {
    #[expect(clippy::panic, reason = "a test in which the kernel does not answer has failed")]
    fn side(&self, flow: &Flow, direction: Direction) -> Side {
        let side = self.0.side(flow, direction);
        if let Some(failure) = self.0.failure() {
            panic!("{failure}");
        }
        side
    }
}
