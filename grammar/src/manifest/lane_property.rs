//! The lane is invisible: with it and without it, every text gives the same objects and findings.

use super::{with_lane, without_lane};
use crate::Limits;
use crate::span::FileId;
use proptest::prelude::*;
use std::fmt::Write as _;

/// A list of CIDRs in a manifest, with what may be odd about it.
#[derive(Clone, Debug)]
struct List {
    field: &'static str,
    items: Vec<Item>,
    indent: usize,
}

#[derive(Clone, Debug)]
struct Item {
    address: String,
    quote: &'static str,
    except: Vec<String>,
    after: &'static str,
}

fn address() -> impl Strategy<Value = String> {
    prop_oneof![
        20 => any::<[u8; 3]>().prop_map(|[a, b, c]| format!("{a}.{b}.{c}.0/24")),
        3 => any::<[u8; 4]>().prop_map(|[a, b, c, d]| format!("{a}.{b}.{c}.{d}/16")),
        3 => any::<u16>().prop_map(|a| format!("2001:db8:{a:x}::/48")),
        1 => Just("10.0.0.1".to_owned()),
    ]
}

fn item() -> impl Strategy<Value = Item> {
    let quote = prop_oneof![10 => Just("\""), 4 => Just(""), 1 => Just("'")];
    let except = prop_oneof![
        8 => Just(Vec::new()),
        2 => prop::collection::vec(any::<u8>().prop_map(|c| format!("0.0.0.0/{}", 24 + c % 9)), 1..3),
    ];
    (address(), quote, except).prop_map(|(address, quote, except)| Item { address, quote, except, after: "" })
}

fn list() -> impl Strategy<Value = List> {
    let field = prop_oneof![4 => Just("toCIDR"), 4 => Just("toCIDRSet"), 1 => Just("toEntities"), 1 => Just("description: |"), 1 => Just("fromCIDR")];
    let odd = prop_oneof![
        Just(""),
        Just(" # note"),
        Just("\n# note"),
        Just("\n"),
        Just(" "),
        Just("\r"),
        Just("x"),
        Just(": y"),
        Just("\n      more"),
        Just("\n      cidrGroupRef: g"),
        Just("\n---"),
        Just("\n\t"),
        Just("\n      except:\n      - 1.2.3.4/32"),
        Just("\n      except: []"),
    ];
    (
        field,
        prop::collection::vec(item(), 1..24),
        0..3usize,
        prop::collection::vec((any::<prop::sample::Index>(), odd), 0..2),
    )
        .prop_map(|(field, mut items, indent, odds)| {
            for (index, odd) in odds {
                let at = index.index(items.len());
                items[at].after = odd;
            }
            List { field, items, indent }
        })
}

fn manifest(lists: &[List]) -> String {
    let mut text = String::from(
        "apiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\nmetadata: {name: p}\nspec:\n  endpointSelector: {}\n  egress:\n",
    );
    for list in lists {
        let pad = " ".repeat(2 + list.indent);
        let set = list.field == "toCIDRSet";
        let _ = writeln!(text, "  - {}{}", list.field, if list.field.ends_with('|') { "" } else { ":" });
        for item in &list.items {
            let (quote, address) = (item.quote, &item.address);
            // In a set most exceptions lie in the block; 0.0.0.0/n lies in few, so both occur.
            let _ = writeln!(
                text,
                "{pad}  - {}{quote}{address}{quote}{}",
                if set { "cidr: " } else { "" },
                item.after
            );
            if set && !item.except.is_empty() {
                let _ = writeln!(text, "{pad}    except:");
                let inside = address.split_once('/').map_or(address.as_str(), |(net, _)| net);
                for (index, except) in item.except.iter().enumerate() {
                    if index == 0 {
                        let _ = writeln!(
                            text,
                            "{pad}    - {inside}/{}",
                            if inside.contains(':') { 64 } else { 28 }
                        );
                    } else {
                        let _ = writeln!(text, "{pad}    - \"{except}\"");
                    }
                }
            }
        }
    }
    text
}

fn same(text: &str, limits: &Limits) -> bool {
    let Some(fast) = with_lane(FileId(0), text, limits) else { return false };
    let slow = without_lane(FileId(0), text, limits);
    assert_eq!(format!("{:#?}", fast.objects), format!("{:#?}", slow.objects), "{text}");
    assert_eq!(fast.findings.finish(FileId(0), 0), slow.findings.finish(FileId(0), 0), "{text}");
    true
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, ..ProptestConfig::default() })]

    #[test]
    fn lists_read_the_same(lists in prop::collection::vec(list(), 1..4)) {
        same(&manifest(&lists), &Limits::default());
    }

    #[test]
    fn mutated_lists_read_the_same(
        lists in prop::collection::vec(list(), 1..3),
        edits in prop::collection::vec((any::<prop::sample::Index>(), 0..6u8, "[-a-z0-9:.\"'# \\n{}\\[\\]&*!|/]{0,3}"), 1..4),
    ) {
        let mut text = manifest(&lists);
        for (index, kind, insert) in edits {
            let at = index.index(text.len());
            match kind {
                0 => text.insert_str(at, &insert),
                1 => { text.remove(at); }
                2 => text.truncate(at),
                3 => {
                    // A line moves in or out.
                    let line = text[..at].rfind('\n').map_or(0, |end| end + 1);
                    text.insert(line, ' ');
                }
                4 => {
                    let line = text[..at].rfind('\n').map_or(0, |end| end + 1);
                    if text[line..].starts_with(' ') { text.remove(line); }
                }
                _ => {
                    let line = text[..at].rfind('\n').map_or(0, |end| end + 1);
                    text.insert_str(line, &format!("{insert}\n"));
                }
            }
            if text.is_empty() { break; }
        }
        same(&text, &Limits::default());
    }

    #[test]
    fn small_limits_read_the_same(lists in prop::collection::vec(list(), 1..3), values in 0..600usize, depth in 3..12u32, diagnostics in 0..4usize) {
        let limits = Limits { values, depth, diagnostics, ..Limits::default() };
        same(&manifest(&lists), &limits);
    }
}

#[test]
fn the_lane_is_taken_for_plain_lists() {
    let item = |index: usize| Item {
        address: format!("10.0.{index}.0/24"),
        quote: "\"",
        except: Vec::new(),
        after: "",
    };
    for field in ["toCIDR", "toCIDRSet"] {
        let list = List { field, items: (0..100).map(item).collect(), indent: 2 };
        assert!(same(&manifest(&[list.clone(), list]), &Limits::default()), "{field}");
    }
}
