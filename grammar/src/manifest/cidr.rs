//! Prefixes: one, a list, a list with exceptions and groups.
//!
//! Lists of prefixes are the one place where the lane's runs are put in; see [`crate::yaml::lane`].

use super::context::Context;
use super::decode::Shape;
use super::selector::{Keys, selector};
use super::{hint, metadata, names};
use crate::diagnostic::{Code, Diagnostic};
use crate::span::{Span, Spanned};
use crate::tree::{CidrBlock, CidrSet, GroupBlock, GroupSource, PlacedCidr};
use crate::yaml::lane::RunItems;
use crate::yaml::{Content, Value, parse_prefix};

/// Whether an address without a length is a prefix of one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bare {
    /// `toCIDR` and `fromCIDR`.
    Allowed,
    /// Everywhere else.
    Refused,
}

const ENTRY: Shape = Shape {
    what: "an entry of a CIDR set",
    fields: &["cidr", "except", "cidrGroupRef", "cidrGroupSelector"],
    elsewhere: &[],
};

/// Reads one prefix.
pub(crate) fn prefix(cx: &mut Context<'_>, value: Value<'_>, name: &str, bare: Bare) -> Option<PlacedCidr> {
    let text = cx.text(value, name)?;
    prefix_in(cx, text, bare)
}

/// The same with spaces around it, which the API takes in `loadBalancerSourceRanges` alone.
pub(crate) fn padded_prefix(cx: &mut Context<'_>, value: Value<'_>, name: &str) -> Option<PlacedCidr> {
    let text = cx.text(value, name)?;
    prefix_in(cx, Spanned { value: text.value.trim(), span: text.span }, Bare::Refused)
}

fn prefix_in(cx: &mut Context<'_>, text: Spanned<&str>, bare: Bare) -> Option<PlacedCidr> {
    let Some(parsed) = parse_prefix(text.value) else {
        cx.report(bad_prefix(text, bare));
        return None;
    };
    if parsed.bare && bare == Bare::Refused {
        let length = if parsed.net.addr().is_ipv4() { 32 } else { 128 };
        cx.report(
            Diagnostic::new(Code::Cidr, text.span, format!("`{}` has no prefix length", text.value))
                .labelled("an address, not a CIDR")
                .help(format!("write {}/{length} for this one address", text.value)),
        );
        return None;
    }
    if parsed.host_bits {
        cx.report(host_bits(text, parsed.net));
    }
    Some(PlacedCidr { net: parsed.net, at: text.span.start })
}

/// Reads a list of prefixes: `externalCIDRs`, `except`.
pub(crate) fn prefixes(
    cx: &mut Context<'_>,
    value: Value<'_>,
    name: &str,
    bare: Bare,
) -> Option<Vec<PlacedCidr>> {
    // A block is larger than a prefix, so this reuses the memory of the list.
    let blocks = list(cx, value, name, bare)?;
    Some(blocks.into_iter().map(|block| block.cidr).collect())
}

/// Reads `fromCIDR` or `toCIDR`.
pub(crate) fn plain_set(cx: &mut Context<'_>, value: Value<'_>, name: &str) -> Option<CidrSet> {
    let blocks = list(cx, value, name, Bare::Allowed)?;
    Some(CidrSet { blocks, ..CidrSet::empty(value.span()) })
}

/// A list of prefixes, as blocks without exceptions.
fn list(cx: &mut Context<'_>, value: Value<'_>, name: &str, bare: Bare) -> Option<Vec<CidrBlock>> {
    let Some(items) = value.items() else {
        cx.wrong_type(value, &format!("`{name}`"), "a list");
        return None;
    };
    let mut list = Vec::new();
    for item in items {
        if let Content::Run(run) = item.content() {
            match cx.take_run(*run) {
                Some(RunItems::Plain { blocks, host_bits, bare: any_bare })
                    if !any_bare || bare == Bare::Allowed =>
                {
                    // The first prefix of the run is the last one of the list.
                    list.pop();
                    if list.is_empty() {
                        list = blocks;
                    } else {
                        list.extend(blocks);
                    }
                    warn_host_bits(cx, &host_bits, value.span());
                }
                _ => cx.run_misplaced = true,
            }
        } else if item.is_null() {
            cx.wrong_type(item, &format!("an item of `{name}`"), "a CIDR");
        } else if let Some(cidr) = prefix(cx, item, name, bare) {
            list.push(CidrBlock { cidr, except: (0, 0) });
        }
    }
    Some(list)
}

/// Reads `fromCIDRSet` or `toCIDRSet`.
pub(crate) fn set(cx: &mut Context<'_>, value: Value<'_>, name: &str) -> Option<CidrSet> {
    let Some(items) = value.items() else {
        cx.wrong_type(value, &format!("`{name}`"), "a list");
        return None;
    };
    let mut set = CidrSet::empty(value.span());
    for item in items {
        if let Content::Run(run) = item.content() {
            match cx.take_run(*run) {
                Some(RunItems::Blocks { blocks, excepts, host_bits }) => {
                    splice(&mut set, blocks, excepts);
                    warn_host_bits(cx, &host_bits, value.span());
                }
                _ => cx.run_misplaced = true,
            }
        } else if item.is_null() {
            cx.wrong_type(item, &format!("an item of `{name}`"), "an object");
        } else {
            entry(cx, item, &mut set);
        }
    }
    Some(set)
}

/// Puts a run behind the entries so far, of which the last is the run's first.
fn splice(set: &mut CidrSet, mut blocks: Vec<CidrBlock>, mut excepts: Vec<PlacedCidr>) {
    if let Some(first) = set.blocks.pop() {
        set.excepts.truncate(first.except.0 as usize);
    }
    if set.blocks.is_empty() {
        (set.blocks, set.excepts) = (blocks, excepts);
        return;
    }
    let shift = u32::try_from(set.excepts.len()).unwrap_or(u32::MAX);
    for block in &mut blocks {
        block.except = (block.except.0 + shift, block.except.1 + shift);
    }
    set.blocks.append(&mut blocks);
    set.excepts.append(&mut excepts);
}

/// Reads one entry of a set into it.
pub(crate) fn entry(cx: &mut Context<'_>, value: Value<'_>, set: &mut CidrSet) {
    let (mut cidr, mut except, mut group) = (None, None, None);
    let mut sources: Vec<(&str, Span)> = Vec::new();
    let is_object = cx.fields(value, &ENTRY, |cx, field, value, key| {
        if field != "except" {
            sources.push((field_name(field), key));
        }
        match field {
            "cidr" => cidr = prefix(cx, value, "cidr", Bare::Refused).map(|cidr| (cidr, value.span())),
            "except" => except = prefixes(cx, value, "except", Bare::Refused),
            "cidrGroupRef" => group = group_name(cx, value).map(GroupSource::Name),
            _ => group = selector(cx, value, Keys::Groups).map(GroupSource::Selector),
        }
    });
    if !is_object {
        return;
    }
    if let [(first, first_at), (second, second_at), ..] = sources[..] {
        cx.report(
            Diagnostic::new(
                Code::CidrSource,
                second_at,
                format!("`{first}` and `{second}` exclude each other"),
            )
            .labelled("a second source")
            .also(first_at, "the first one")
            .help("write two entries"),
        );
        return;
    }
    if sources.is_empty() {
        cx.report(
            Diagnostic::new(Code::CidrSource, value.head(), "the entry names neither a CIDR nor a group")
                .labelled("no addresses here")
                .help("add `cidr`, `cidrGroupRef` or `cidrGroupSelector`"),
        );
        return;
    }
    let except = except.unwrap_or_default();
    if let Some((cidr, cidr_at)) = cidr {
        for outside in except.iter().filter(|except| !cidr.net.contains(&except.net)) {
            let at = written_span(cx, outside.at, cidr_at);
            cx.report(outside_block(cx, at, outside, cidr, cidr_at));
        }
        let from = u32::try_from(set.excepts.len()).unwrap_or(u32::MAX);
        set.excepts.extend(except);
        let to = u32::try_from(set.excepts.len()).unwrap_or(u32::MAX);
        set.blocks.push(CidrBlock { cidr, except: (from, to) });
    } else if let Some(source) = group {
        set.groups.push(GroupBlock { source, except });
    }
}

fn field_name(field: &str) -> &'static str {
    ENTRY.fields.iter().find(|known| **known == field).copied().unwrap_or("cidr")
}

fn group_name(cx: &mut Context<'_>, value: Value<'_>) -> Option<Spanned<String>> {
    let name = cx.string(value, "cidrGroupRef")?;
    if let Err(fault) = names::subdomain(&name.value) {
        cx.report(metadata::bad_name("name of the CIDR group", &name, fault));
        return None;
    }
    Some(name)
}

/// The place of the prefix that is written at `at`, in the file of `near`.
pub(crate) fn written_span(cx: &Context<'_>, at: u32, near: Span) -> Span {
    Span { file: near.file, start: at, end: written_end(cx, at) }
}

/// Where the text of a prefix ends that begins at `at`.
fn written_end(cx: &Context<'_>, at: u32) -> u32 {
    let text = cx.text.get(at as usize..).unwrap_or("");
    let inner = text.strip_prefix(['"', '\'']).unwrap_or(text);
    let length =
        inner.find(|c: char| !(c.is_ascii_hexdigit() || matches!(c, ':' | '.' | '/'))).unwrap_or(inner.len());
    let quotes = 2 * (text.len() - inner.len());
    at + u32::try_from(length + quotes).unwrap_or(0)
}

fn outside_block(
    cx: &Context<'_>,
    at: Span,
    except: &PlacedCidr,
    cidr: PlacedCidr,
    cidr_at: Span,
) -> Diagnostic {
    let shown = cx.text.get(at.start as usize..at.end as usize).unwrap_or("").trim_matches(['"', '\'']);
    let net = cidr.net;
    let help = if except.net.addr().is_ipv4() == net.addr().is_ipv4() {
        "an exception takes addresses out of its own block; remove it or widen the block"
    } else {
        "the exception is of the other address family; give it to a block of its own family"
    };
    Diagnostic::new(Code::CidrExcept, at, format!("the exception `{shown}` lies outside its block `{net}`"))
        .labelled("not within the block")
        .also(cidr_at, "the block")
        .help(help)
}

fn bad_prefix(text: Spanned<&str>, bare: Bare) -> Diagnostic {
    let shown = hint::short(text.value);
    let (address, length) = match text.value.split_once('/') {
        Some((address, length)) => (address, Some(length)),
        None => (text.value, None),
    };
    let most = if address.contains(':') { 128 } else { 32 };
    let valid_address = parse_prefix(address).is_some_and(|parsed| parsed.bare);
    let leading_zero = !address.contains(':')
        && address.split('.').any(|octet| {
            octet.len() > 1 && octet.starts_with('0') && octet.bytes().all(|b| b.is_ascii_digit())
        });
    let help = match length {
        Some(length) if valid_address && length.contains('.') => {
            "write the mask as a number of bits: /24".to_owned()
        }
        Some(_) if valid_address => {
            format!("a prefix length is a number from 0 to {most}, without leading zeros")
        }
        _ if leading_zero => {
            "write octets without leading zeros; some readers take them for octal".to_owned()
        }
        _ if address.contains('%') => "a CIDR has no zone".to_owned(),
        _ if bare == Bare::Allowed => "write 192.0.2.0/24, 2001:db8::/32, or a single address".to_owned(),
        _ => "write 192.0.2.0/24 or 2001:db8::/32".to_owned(),
    };
    Diagnostic::new(Code::Cidr, text.span, format!("`{shown}` is not a CIDR"))
        .labelled("not an address block")
        .help(help)
}

fn host_bits(text: Spanned<&str>, net: ipnet::IpNet) -> Diagnostic {
    Diagnostic::new(
        Code::HostBits,
        text.span,
        format!("`{}` has bits set beyond its prefix length", text.value),
    )
    .labelled(format!("means {net}"))
    .help(format!("write {net}"))
}

/// The warnings that a run's prefixes would have caused one by one.
fn warn_host_bits(cx: &mut Context<'_>, places: &[u32], list: Span) {
    for (index, &at) in places.iter().enumerate() {
        if cx.findings.is_full_of_warnings() {
            cx.findings.count_warnings(places.len() - index);
            return;
        }
        let span = written_span(cx, at, list);
        let shown =
            cx.text.get(at as usize..span.end as usize).unwrap_or("").trim_matches(['"', '\'']).to_owned();
        if let Some(parsed) = parse_prefix(&shown) {
            cx.report(host_bits(Spanned::new(&shown, span), parsed.net));
        }
    }
}
