//! Layouts: both sides of the contract have the same, and none changes without its version.
//!
//! The C side is asked through BTF: of the programs, and of an object that has the compiler lay out every record and number. What is on
//! record in `bpf/abi/layouts` is the C side's, so it holds for what runs in the kernel.
//!
//! Not here: what a layout means (`bpf/abi`).

#![expect(clippy::unwrap_used, clippy::panic, reason = "an object that cannot be read has no layout")]

use std::collections::BTreeSet;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use weir_abi::layout;
use weir_abi::services::SERVICE_VERSION;
use weir_abi::services::layout::{FLOW_SEED, HASH_FACTOR, SERVICE_NUMBERS, SERVICE_SHAPES};
use weir_abi::services::live::{BALANCE_NUMBERS, BALANCE_SHAPES, BALANCE_VERSION};
use weir_abi::shape::{Numbers, Shape};
use weir_abi::state::{self, CONNTRACK_VERSION, STATE_VERSION};
use weir_abi::{ABI_VERSION, Identity};
use weir_object::{LAYOUTS, POLICY};
use weir_tests::btf::{Btf, Member, Record};

/// Set to put a new version's layout on record.
const WRITE: &str = "WEIR_WRITE_LAYOUTS";

/// `ConntrackKeyV4` as `conntrack_key_v4`.
fn snake(name: &str) -> String {
    let mut text = String::new();
    for letter in name.chars() {
        if letter.is_ascii_uppercase() && !text.is_empty() {
            text.push('_');
        }
        text.push(letter.to_ascii_lowercase());
    }
    text
}

fn shapes() -> impl Iterator<Item = &'static Shape> {
    layout::SHAPES.iter().chain(SERVICE_SHAPES).chain(state::SHAPES).chain(BALANCE_SHAPES)
}

fn in_rust(shape: &Shape) -> Record {
    let member = |field: &weir_abi::shape::Field| Member {
        name: field.name.to_owned(),
        offset: field.offset,
        size: field.size,
    };
    Record { size: shape.size, members: shape.fields.iter().map(member).collect() }
}

#[test]
fn every_record_is_laid_out_in_c_as_in_rust() {
    let all = Btf::of_object(LAYOUTS).unwrap();
    for shape in shapes() {
        assert_eq!(all.record(&snake(shape.name)).as_ref(), Some(&in_rust(shape)), "{}", shape.name);
    }
    // Of the programs' own types those that they hand to maps and functions are there.
    let programs = Btf::of_object(POLICY).unwrap();
    let found: BTreeSet<&str> = shapes()
        .filter_map(|shape| {
            let record = programs.record(&snake(shape.name))?;
            assert_eq!(record, in_rust(shape), "{} in the programs", shape.name);
            Some(shape.name)
        })
        .collect();
    for shape in state::SHAPES {
        // An event is written where the ring buffer has room, which no declaration names.
        assert!(found.contains(shape.name) || shape.name == "EventRecord", "{} is in no map", shape.name);
    }
    println!("{} records, {} of them in the programs' own BTF", shapes().count(), found.len());
}

#[test]
fn every_number_is_the_same_in_c_as_in_rust() {
    let all = Btf::of_object(LAYOUTS).unwrap();
    let programs = Btf::of_object(POLICY).unwrap();
    let mut count = 0;
    for numbers in layout::NUMBERS.iter().chain(SERVICE_NUMBERS).chain(state::NUMBERS).chain(BALANCE_NUMBERS)
    {
        let name = |variant: &str| format!("{}_{}", snake(numbers.name), snake(variant)).to_uppercase();
        let expected: Vec<(String, u64)> =
            numbers.variants.iter().map(|(variant, number)| (name(variant), *number)).collect();
        count += expected.len();
        assert_eq!(all.numbers(&snake(numbers.name)).as_ref(), Some(&expected), "{}", numbers.name);
        if let Some(told) = programs.numbers(&snake(numbers.name)) {
            assert_eq!(told, expected, "{} in the programs", numbers.name);
        }
    }
    println!("{count} numbers");
    let of_state = all.numbers("of_state").unwrap();
    let expected = |name: &str| match name {
        "TOLD_SLOTS" => u64::from(state::SLOTS),
        "TOLD_MARK_QUESTION" => u64::from(state::MARK_QUESTION),
        "TOLD_COUNTERS" => u64::from(state::COUNTERS),
        _ => 0,
    };
    for name in ["TOLD_SLOTS", "TOLD_MARK_QUESTION", "TOLD_COUNTERS"] {
        assert!(of_state.contains(&(name.to_owned(), expected(name))), "{name}: {of_state:?}");
    }
    let of_services = all.numbers("of_services").unwrap();
    for (name, value) in [("HASH_FACTOR", HASH_FACTOR), ("FLOW_SEED", FLOW_SEED)] {
        for (half, value) in [("LOW", value & 0xFFFF_FFFF), ("HIGH", value >> 32)] {
            let told = format!("TOLD_{name}_{half}");
            assert!(of_services.contains(&(told, value)), "{name}: {of_services:?}");
        }
    }
    let identities = all.numbers("identities").unwrap();
    assert!(identities.contains(&("TOLD_IDENTITY_END_POD".to_owned(), u64::from(Identity::END_POD))));
}

/// Records, enums and bounds, one line each.
fn described<'a>(
    shapes: impl IntoIterator<Item = &'a Shape>,
    enums: &[Numbers],
    constants: &[&str],
) -> String {
    let btf = Btf::of_object(LAYOUTS).unwrap();
    let mut text = String::new();
    for shape in shapes {
        let record = btf.record(&snake(shape.name)).unwrap();
        _ = writeln!(text, "record {} {}", snake(shape.name), record.size);
        for (member, field) in record.members.iter().zip(shape.fields) {
            _ = writeln!(text, "  {} +{} {} {}", member.offset, member.size, member.name, field.kind);
        }
    }
    for numbers in enums {
        _ = writeln!(text, "enum {}", snake(numbers.name));
        for (name, number) in btf.numbers(&snake(numbers.name)).unwrap() {
            _ = writeln!(text, "  {number} {name}");
        }
    }
    for (name, number) in constants.iter().flat_map(|name| btf.numbers(name).unwrap()) {
        _ = writeln!(text, "constant {} {number}", name.trim_start_matches("TOLD_"));
    }
    text
}

/// What a program keeps to itself while a packet passes.
const SCRATCH: &[&str] = &["passages"];

/// The maps that a daemon finds where another left them.
fn maps() -> String {
    let mut text = String::new();
    let all = Btf::of_object(POLICY).unwrap().maps();
    for map in all.iter().filter(|map| !SCRATCH.contains(&map.name.as_str())) {
        _ = writeln!(
            text,
            "map {} type {} key {} value {} flags {}",
            map.name, map.kind, map.key, map.value, map.flags
        );
    }
    text
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../bpf/abi/layouts")
}

/// Holds a layout against the one on record for its version.
fn assert_on_record(name: &str, version: u32, constant: &str, now: &str) {
    let file = format!("{name}-v{version}.txt");
    let path = folder().join(&file);
    let write = format!("{WRITE}=1 cargo test -p weir-tests --test layouts");
    match fs::read_to_string(&path) {
        Ok(on_record) => {
            let differs = on_record.lines().zip(now.lines()).find(|(before, now)| before != now);
            assert!(
                on_record == now,
                "the layout is not that of version {version} any more: bpf/abi/layouts/{file} has\n  {}\nwhere there is now\n  {}\n\
                 Whoever reads by version {version} would misread it. Take the next number in {constant}, remove {file}, and put the new \
                 layout on record with\n  {write}",
                differs.map_or("another number of lines", |(before, _)| before),
                differs.map_or("another number of lines", |(_, now)| now),
            );
        }
        // Never over a layout that is on record: that is what the version is for.
        Err(_) if std::env::var_os(WRITE).is_some() => fs::write(&path, now).unwrap(),
        Err(error) => panic!(
            "bpf/abi/layouts/{file}: {error}. Put the layout of version {version} on record with\n  {write}"
        ),
    }
}

#[test]
fn no_layout_changes_without_its_version() {
    let image = described(layout::SHAPES, layout::NUMBERS, &["of_image", "identities"]);
    assert_on_record("image", ABI_VERSION, "`ABI_VERSION` of bpf/abi/src/lib.rs", &image);
    let services = described(SERVICE_SHAPES, SERVICE_NUMBERS, &["of_services"]);
    assert_on_record(
        "services",
        SERVICE_VERSION,
        "`SERVICE_VERSION` of bpf/abi/src/services/mod.rs",
        &services,
    );
    let balance = described(BALANCE_SHAPES, BALANCE_NUMBERS, &["of_balance"]);
    assert_on_record(
        "balance",
        BALANCE_VERSION,
        "`BALANCE_VERSION` of bpf/abi/src/services/live.rs",
        &balance,
    );
    let (connections, state): (Vec<&Shape>, Vec<&Shape>) =
        state::SHAPES.iter().partition(|shape| shape.name.starts_with("Conntrack"));
    let state = described(state, state::NUMBERS, &["of_state"]) + &maps();
    assert_on_record("state", STATE_VERSION, "`STATE_VERSION` of bpf/abi/src/state.rs", &state);
    let connections = described(connections, &[], &["of_connections"]);
    assert_on_record(
        "conntrack",
        CONNTRACK_VERSION,
        "`CONNTRACK_VERSION` of bpf/abi/src/state.rs",
        &connections,
    );
    let kept: BTreeSet<String> = fs::read_dir(folder())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.ends_with(".txt"))
        .collect();
    let present = [
        format!("image-v{ABI_VERSION}.txt"),
        format!("services-v{SERVICE_VERSION}.txt"),
        format!("balance-v{BALANCE_VERSION}.txt"),
        format!("state-v{STATE_VERSION}.txt"),
        format!("conntrack-v{CONNTRACK_VERSION}.txt"),
    ];
    assert_eq!(kept, present.into(), "only the present versions are on record; readers refuse all others");
}
