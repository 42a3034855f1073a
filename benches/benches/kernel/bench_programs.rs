//! The benchmark's own programs in the kernel, over the maps of a datapath: loaded, fed, run, and their answers read.

use crate::laboratory::Bed;
use aya::maps::{Array, Map, MapData};
use aya::programs::{SchedClassifier, TestRun, TestRunOptions};
use aya::{Ebpf, EbpfLoader};
use std::collections::BTreeMap;
use weir_abi::Identity;
use weir_benches::figures::{Figure, ROUNDS, Samples};
use weir_benches::workload::dealt::Query;

#[repr(C, align(8))]
struct Aligned<T: ?Sized>(T);

static DECISION: &Aligned<[u8]> = &Aligned(*include_bytes!(concat!(env!("OUT_DIR"), "/decision.bpf.o")));

/// Queries that one run of a program answers.
pub(crate) const BATCH: usize = 8;
/// Batches there is room for.
pub(crate) const BATCHES: usize = 1 << 17;
/// Runs in one sample: every batch has its turn equally often.
const RUNS: usize = BATCHES;
const PACKET: [u8; 64] = [0; 64];
const TCP: u8 = 6;

/// The programs.
pub(crate) struct BenchPrograms {
    pub(crate) ebpf: Ebpf,
    batches: usize,
}

impl BenchPrograms {
    /// Loads them for the image class that is in force in `bed`. They will take the first `batches` in turn, a power of two.
    pub(crate) fn load(bed: &Bed, class: usize, batches: usize, prefixes: usize) -> Self {
        let mask = u32::try_from(class - 1).unwrap();
        let batch_mask = u32::try_from(batches - 1).unwrap();
        let folder = bed.state();
        let mut loader = EbpfLoader::new();
        loader
            .override_global("IMAGE_MASK", &mask, true)
            .override_global("BATCH_MASK", &batch_mask, true)
            .map_max_entries("ipcache", u32::try_from(prefixes).unwrap().max(512_000))
            .map_pin_path("images", folder.join(format!("images-{class}")));
        let pins: Vec<String> = std::fs::read_dir(&folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| !name.starts_with("images-"))
            .collect();
        for name in &pins {
            loader.map_pin_path(name, folder.join(name));
        }
        let mut ebpf = loader.load(&DECISION.0).unwrap();
        for (_, program) in ebpf.programs_mut() {
            let program: &mut SchedClassifier = program.try_into().unwrap();
            program.load().unwrap();
        }
        BenchPrograms { ebpf, batches }
    }

    /// Writes the queries, all of one pod.
    pub(crate) fn ask(&mut self, pod: Identity, queries: &[Query]) {
        write_queries(&mut self.ebpf, pod, queries);
    }

    fn map(&mut self, name: &str) -> &mut Map {
        self.ebpf.map_mut(name).unwrap()
    }

    fn progress(&mut self) -> Array<&mut MapData, [u64; 2]> {
        Array::try_from(self.map("progress")).unwrap()
    }

    /// Runs a program so often, from the first batch on; nanoseconds of one run, and the sum of its answers.
    fn run(&mut self, name: &str, runs: usize) -> (f64, u64) {
        self.progress().set(0, [0, 0], 0).unwrap();
        let program: &SchedClassifier = self.ebpf.program(name).unwrap().try_into().unwrap();
        let options = TestRunOptions {
            data_in: Some(&PACKET),
            repeat: u32::try_from(runs).unwrap(),
            ..TestRunOptions::default()
        };
        let result = program.test_run(options).unwrap();
        let [sum, _] = self.progress().get(&0, 0).unwrap();
        (result.duration.as_nanos() as f64, sum)
    }

    /// The answers of a program to all queries, untimed.
    pub(crate) fn answers(&mut self, name: &str) -> Vec<u64> {
        let batches = u32::try_from(self.batches).unwrap();
        self.run(&format!("{name}_told"), self.batches);
        let map: Array<_, [u64; BATCH]> = Array::try_from(self.map("answers")).unwrap();
        (0..batches).flat_map(|at| map.get(&at, 0).unwrap()).collect()
    }

    /// What one answer of each program costs above one query that is only read, in nanoseconds. All programs have their turn in every
    /// round. Each timed run's answers must add up to those that the program tells.
    pub(crate) fn in_turns(&mut self, names: &[&'static str]) -> Costs {
        let sums: Vec<u64> = names
            .iter()
            .map(|name| self.answers(name).iter().fold(0, |sum: u64, answer| sum.wrapping_add(*answer)))
            .collect();
        let mut samples: BTreeMap<&str, Samples> = BTreeMap::new();
        for _ in 0..ROUNDS {
            for floor in ["nothing", "read_only"] {
                samples.entry(floor).or_default().take(self.run(floor, RUNS).0);
            }
            for (name, sum) in names.iter().zip(&sums) {
                // Once for the caches, which hold what the program before has left.
                self.run(name, RUNS);
                let (ns, told) = self.run(name, RUNS);
                assert_eq!(
                    told,
                    sum.wrapping_mul((RUNS / self.batches) as u64),
                    "{name} answers otherwise when timed"
                );
                samples.entry(name).or_default().take(ns);
            }
        }
        let floor = samples["read_only"].figure();
        Costs {
            nothing: samples["nothing"].figure(),
            read_only: floor,
            each: names.iter().map(|name| (*name, samples[name].figure().above(floor, BATCH))).collect(),
        }
    }
}

/// Nanoseconds.
pub(crate) struct Costs {
    /// A run of an empty program.
    pub(crate) nothing: Figure,
    /// A run that only reads a batch.
    pub(crate) read_only: Figure,
    each: BTreeMap<&'static str, Figure>,
}

impl Costs {
    /// One answer of a program.
    pub(crate) fn of(&self, name: &str) -> Figure {
        self.each[name]
    }

    /// The floors, for the table.
    pub(crate) fn floors(&self) -> String {
        format!("empty program {}, {BATCH} queries only read {}", self.nothing, self.read_only)
    }
}

/// Writes queries, all of one pod, to where `queries.h` has them.
pub(crate) fn write_queries(ebpf: &mut Ebpf, pod: Identity, queries: &[Query]) {
    let mut map: Array<_, [u32; 3 * BATCH]> = Array::try_from(ebpf.map_mut("batches").unwrap()).unwrap();
    for (at, batch) in queries.chunks_exact(BATCH).enumerate() {
        let mut words = [0; 3 * BATCH];
        for (to, query) in words.chunks_exact_mut(3).zip(batch) {
            let [low, high] = query.port.to_ne_bytes();
            to[0] = u32::from_ne_bytes(query.address.octets());
            to[1] = pod.0;
            to[2] = u32::from_ne_bytes([low, high, TCP, 0]);
        }
        map.set(u32::try_from(at).unwrap(), words, 0).unwrap();
    }
}
