//! Load balancing: what Kubernetes says a service does, by case and by law.
//!
//! Of every question the specification and the image are asked, and both must say the same.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot read its inputs has failed")]

mod cases;
mod corruption;
mod kept;
mod laws;
mod limits;
mod random;
mod sequences;
mod world;
