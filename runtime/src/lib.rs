//! Who keeps it true: what stands between an image and the kernel that enforces it.
//!
//! Here today: the datapath as values (load, attach, put an image in force, ask). Not here yet: where policies and pods come from,
//! and the daemon that watches them.

pub mod datapath;
