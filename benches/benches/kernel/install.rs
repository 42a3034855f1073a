//! A new list of prefixes in force: an image from its compiled bytes on, beside the other ways to tell a kernel so many prefixes.

use crate::expanded;
use crate::firewall;
use crate::laboratory::Laboratory;
use aya::maps::lpm_trie::LpmTrie;
use std::time::Instant;
use weir_benches::compiled::{image_of, parsed};
use weir_benches::figures::{Figure, Row, Samples};
use weir_benches::prefixes::Prefix;
use weir_benches::tiny_cluster;
use weir_benches::workload::dealt::Dealt;

const PREFIXES: usize = 1_000_000;
/// Times that a new image is put in force; two images take turns.
const INSTALLATIONS: usize = 9;
/// Times that the slow ways are gone.
const FILLS: usize = 3;

/// Every way.
pub(crate) fn measure(laboratory: &Laboratory, tell: &mut dyn FnMut(Row)) {
    let images = [1000, 1001].map(|rules| {
        let dealt = Dealt::new(PREFIXES, rules);
        image_of(parsed(dealt.policies(), tiny_cluster::yaml()), None).0
    });
    let mut bed = laboratory.bed().unwrap();
    let first = bed.datapath.install_image(images[1].bytes.as_bytes(), &[]).unwrap();
    let (mut in_force, mut settled, mut after_rest) =
        (Samples::default(), Samples::default(), Samples::default());
    for (turn, image) in images.iter().cycle().take(2 * INSTALLATIONS).enumerate() {
        let rested = turn % 2 == 1;
        if rested {
            bed.datapath.let_go_of_old_image().unwrap();
        }
        let installed = bed.datapath.install_image(image.bytes.as_bytes(), &[]).unwrap();
        assert!(!installed.grown && bed.datapath.image_in_force() == Some(installed.checksum));
        let samples = if rested { &mut after_rest } else { &mut in_force };
        samples.take(installed.in_force.as_secs_f64() * 1e3);
        settled.take(installed.settled.as_secs_f64() * 1e3);
    }
    let prefixes: Vec<Prefix> = Dealt::new(PREFIXES, 1000).prefixes().map(|(prefix, _)| prefix).collect();
    let trie = fill_trie(laboratory, &prefixes);
    let (in_force, after_rest) = (in_force.figure(), after_rest.figure());
    let row = |figure: String, compared: String, measured: String, goal: &'static str| Row {
        workload: "1,000,000 new prefixes".to_owned(),
        figure,
        compared,
        measured,
        goal: goal.into(),
    };
    // The daemon gives the old image's memory back half a minute after a swap, so most changes of policy find it gone.
    tell(row(
        format!("ms until in force, image of {:.1} MB", first.bytes as f64 / 1e6),
        format!("LPM trie filled one by one: {trie}"),
        format!("{after_rest}, **{} ×**", after_rest.times(trie)),
        "≥ 100 × faster",
    ));
    tell(row(
        "ms, soon after another, in memory that the old image still has".to_owned(),
        format!("LPM trie: {trie}"),
        format!("{in_force}, {} ×", in_force.times(trie)),
        "",
    ));
    tell(row(
        "ms until no packet uses the old one".to_owned(),
        String::new(),
        settled.figure().to_string(),
        "",
    ));
    let grown = format!("{:.0}", first.in_force.as_secs_f64() * 1e3);
    tell(row(
        "ms, the first time: programs loaded for the larger class".to_owned(),
        String::new(),
        grown,
        "",
    ));
    for other in firewall::ALL {
        let mut samples = Samples::default();
        let mut told = String::new();
        for _ in 0..FILLS {
            let loaded = other.fill(&prefixes);
            other.clear();
            match loaded {
                Ok(took) => samples.take(took.as_secs_f64() * 1e3),
                Err(why) => told = format!("not measured: {why}"),
            }
        }
        let figure = samples.figure();
        if told.is_empty() {
            told = format!("{figure}, {} × ours", after_rest.times(figure));
        }
        tell(row(format!("ms, {}", other.load), told, String::new(), ""));
    }
}

/// Milliseconds for an empty trie to hold all prefixes.
fn fill_trie(laboratory: &Laboratory, prefixes: &[Prefix]) -> Figure {
    let entries: Vec<_> = prefixes.iter().map(|prefix| expanded::ipcache_entry(*prefix, 1)).collect();
    let mut samples = Samples::default();
    for _ in 0..FILLS {
        let mut programs = laboratory.tries(entries.len());
        let mut trie: LpmTrie<_, [u8; 20], [u8; 24]> =
            LpmTrie::try_from(programs.map_mut("ipcache").unwrap()).unwrap();
        let began = Instant::now();
        for (key, value) in &entries {
            trie.insert(key, value, 0).unwrap();
        }
        samples.take(began.elapsed().as_secs_f64() * 1e3);
    }
    samples.figure()
}
