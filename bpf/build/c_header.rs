//! The C form of `weir_abi`: every record, number and bound that both sides share, printed from the one definition.

use std::fmt::Write;
use weir_abi::services::{layout as services, live};
use weir_abi::shape::{Field, Numbers, Shape};
use weir_abi::{Identity, layout, state};

/// Bounds and bits, by the name that both sides use.
macro_rules! constants {
    ($module:ident :: { $($name:ident),* $(,)? }) => {
        &[$((stringify!($name), $module::$name as u64),)*]
    };
}

const OF_IMAGE: &[(&str, u64)] = constants! {
    layout::{
        SECTIONS, PEER_PAGE, PORT_PAGE, V6_BLOCK, V6_HALF_VALUES, V6_WORD_VALUES, INDIRECT, V4_BYTE_CLASSES, V4_HALF_CLASSES, V4_WIDE, V4_BYTE_BLOCK,
        V4_HALF_BLOCK, V4_LANES, V4_GROUP, V4_SPREAD, NO_RULE,
    }
};

const OF_STATE: &[(&str, u64)] = constants! {
    state::{
        SLOTS, RECORD_ROOM, BLOCKS, COUNTED_RULES, COUNTED_SETS, SLOT_COUNTERS, LEARNED_CLASSES, REASON_COUNTERS, COUNTERS,
        CURRENT_SLOT, PREVIOUS_HOLDS,
        MARK_MASK, MARK_JUDGED, MARK_SLOT, MARK_PROXY, MARK_SHIFT, MARK_QUESTION,
    }
};

const OF_CONNECTIONS: &[(&str, u64)] = constants! {
    state::{ TICK_SHIFT, OPENED_INWARD, ANSWERED, POD_FINISHED, PEER_FINISHED, CLOSED, POD_ASKS, ON_LINK }
};

const OF_SERVICES: &[(&str, u64)] = constants! {
    services::{
        SERVICE_SECTIONS, HASH_FACTOR, FLOW_SEED, BYTE_SLOTS, HALF_SLOTS, WORD_SLOTS, NO_RECORD, FORWARD_DSR, FORWARD_SNAT,
        CHOOSE_AT_RANDOM, EXTERNAL_LOCAL, INTERNAL_LOCAL, EXTERNAL_CHOICE_SHIFT, INTERNAL_CHOICE_SHIFT, EXTERNAL_WIDTH_SHIFT,
        INTERNAL_WIDTH_SHIFT, BACKEND_LOCAL, SOURCES_DENIED,
    }
};

const OF_BALANCE: &[(&str, u64)] = constants! {
    live::{
        CLIENT_FINISHED, BACKEND_FINISHED, FLOW_CLOSED, FLOW_ANSWERED, OF_REPLIES, HAIRPIN, BALANCE_COUNTERS,
    }
};

/// All records and all enums, of the images and of the state.
fn records() -> impl Iterator<Item = &'static Shape> {
    layout::SHAPES.iter().chain(services::SERVICE_SHAPES).chain(state::SHAPES).chain(live::BALANCE_SHAPES)
}

fn enums() -> impl Iterator<Item = &'static Numbers> {
    layout::NUMBERS.iter().chain(services::SERVICE_NUMBERS).chain(state::NUMBERS).chain(live::BALANCE_NUMBERS)
}

/// The node's own identity number, and the ranges of numbers.
const IDENTITIES: &[(&str, u64)] = &[
    ("IDENTITY_HOST", Identity::HOST.0 as u64),
    ("IDENTITY_ENTITIES", Identity::ENTITIES as u64),
    ("IDENTITY_FIRST_POD", Identity::FIRST_POD as u64),
    ("IDENTITY_END_POD", Identity::END_POD as u64),
    ("IDENTITY_FIRST_NODE", Identity::FIRST_NODE as u64),
    ("IDENTITY_FIRST_HOST", Identity::FIRST_HOST as u64),
    ("IDENTITY_NODES", Identity::NODES as u64),
];

/// The header.
pub(crate) fn text() -> String {
    let mut text = String::from(
        "/* Made from bpf/abi by bpf/build/c_header.rs. Change it there. */\n#pragma once\n\n#include <linux/bpf.h>\n#include <linux/types.h>\n",
    );
    let mut line = |told: String| _ = writeln!(text, "{told}");
    line(String::new());
    let constants = [IDENTITIES, OF_IMAGE, OF_SERVICES, OF_STATE, OF_CONNECTIONS, OF_BALANCE];
    for (name, value) in constants.into_iter().flatten() {
        line(format!("#define {name} {value}u"));
    }
    for numbers in enums() {
        line(format!("\nenum {} {{", snake(numbers.name)));
        for (variant, number) in numbers.variants {
            let name = format!("{}_{}", snake(numbers.name), snake(variant)).to_uppercase();
            line(format!("\t{name} = {number},"));
        }
        line("};".to_owned());
    }
    let shapes: Vec<&Shape> = records().collect();
    for shape in &shapes {
        line(format!("\nstruct {} {{", snake(shape.name)));
        for field in shape.fields {
            line(format!("\t{};", declaration(field, &shapes)));
        }
        line("};".to_owned());
        line(format!("_Static_assert(sizeof(struct {}) == {}, \"size\");", snake(shape.name), shape.size));
    }
    text
}

/// A file of no program, which has the compiler lay out every record of the header and tell every number.
pub(crate) fn layouts() -> String {
    let mut text = String::from(
        "/* Made by bpf/build/c_header.rs: what the compiler makes of abi.h, for BTF. */\n#include \"abi.h\"\n",
    );
    let mut line = |told: String| _ = writeln!(text, "{told}");
    for shape in records() {
        line(format!("struct {0} the_{0};", snake(shape.name)));
    }
    for numbers in enums() {
        line(format!("enum {0} the_{0};", snake(numbers.name)));
    }
    for (name, constants) in [
        ("identities", IDENTITIES),
        ("of_image", OF_IMAGE),
        ("of_services", OF_SERVICES),
        ("of_state", OF_STATE),
        ("of_connections", OF_CONNECTIONS),
        ("of_balance", OF_BALANCE),
    ] {
        let told: Vec<String> = constants.iter().map(|&(constant, value)| told(constant, value)).collect();
        line(format!("enum {name} {{ {} }} the_{name};", told.join(", ")));
    }
    text
}

/// A constant as numbers of an enum, which older compilers cut to 32 bits.
fn told(constant: &str, value: u64) -> String {
    if value <= u64::from(u32::MAX) {
        format!("TOLD_{constant} = {constant}")
    } else {
        format!("TOLD_{constant}_LOW = {constant} & 0xFFFFFFFFu, TOLD_{constant}_HIGH = {constant} >> 32")
    }
}

fn declaration(field: &Field, shapes: &[&Shape]) -> String {
    let array = field.kind.strip_prefix('[').and_then(|kind| kind.split_once(';'));
    let element = array.map_or(field.kind, |(element, _)| element.trim());
    let (kind, size) = match element {
        "u8" => ("__u8".to_owned(), 1),
        "u16" => ("__u16".to_owned(), 2),
        "u32" => ("__u32".to_owned(), 4),
        "u64" => ("__u64".to_owned(), 8),
        record => {
            let size =
                shapes.iter().find(|shape| shape.name == record).map_or(field.size, |shape| shape.size);
            (format!("struct {}", snake(record)), size)
        }
    };
    match array {
        Some(_) => format!("{kind} {}[{}]", field.name, field.size / size),
        None => format!("{kind} {}", field.name),
    }
}

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
