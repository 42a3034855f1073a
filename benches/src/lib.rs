//! What it costs: the workloads, generated to the byte from fixed seeds.
//!
//! A workload is a directory of manifests, `policies.yaml` and `cluster.yaml`, as `policyc compile -f … -c …` takes them.
//! No file of a workload is kept in the repository: the generator is the file.
//!
//! Not here: the measuring (`src/bin`, `benches`), the order of a measuring day (`cargo xtask bench`), and anything that ships.

pub mod alone;
pub mod compiled;
pub mod figures;
pub mod maps;
pub mod prefixes;
pub mod random;
pub mod timed;
pub mod tiny_cluster;
pub mod tool;
pub mod workload;
pub mod yaml;
