//! placeholder
use crate::{Limits, Reading};
pub(crate) fn read(_reading: &mut Reading, _name: &str, _bytes: Vec<u8>, _limits: &Limits) {}
