//! Images of services, and the next one after a change of one EndpointSlice: time, bytes, and what the change leaves as it was.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};
use weir_abi::checksum;
use weir_abi::services::{Frontend, Scope, ServiceImage};
use weir_benches::compiled::Balanced;
use weir_benches::figures::{Row, Samples};
use weir_benches::timed::timed;
use weir_benches::workload::{Workload, services};
use weir_compiler::services::{Compiled, KEEP_ALL, Previous};
use weir_grammar::tree::EndpointSlice;

/// Images that are made of one input.
const ROUNDS: usize = 5;
/// The slice that changes.
const SLICE: usize = 17;
/// Nobody has it yet.
const NEWCOMER: Ipv4Addr = Ipv4Addr::new(10, 255, 0, 1);

/// What happens to it.
const CHANGES: [Change; 2] = [("one endpoint goes", remove), ("one endpoint comes", add)];

/// What it is called, and what it does.
type Change = (&'static str, fn(&mut EndpointSlice));

fn remove(slice: &mut EndpointSlice) {
    slice.endpoints.pop();
}

fn add(slice: &mut EndpointSlice) {
    let mut another = slice.endpoints[0].clone();
    another.addresses = vec![NEWCOMER.into()];
    slice.endpoints.push(another);
}

/// Every workload.
pub(crate) fn measure((): &(), tell: &mut dyn FnMut(Row)) {
    services::ALL.iter().for_each(|workload| of(workload, tell));
}

fn of(workload: &Workload, tell: &mut dyn FnMut(Row)) {
    let mut balanced = Balanced::read((workload.cluster)());
    let mut row = |figure: &str, measured: String| {
        tell(Row {
            workload: workload.what.to_owned(),
            figure: figure.to_owned(),
            measured,
            ..Row::default()
        });
    };
    let (first, took) = repeated(&balanced, None);
    let before = ServiceImage::open(first.bytes.as_bytes()).unwrap();
    row("trees to the image of one node, ms and CPU ms", took);
    let mut checked = Samples::default();
    (0..ROUNDS)
        .for_each(|_| checked.take(timed(|| ServiceImage::open(first.bytes.as_bytes()).is_ok()).1.wall));
    row("the check of every byte of it, ms", checked.figure().to_string());
    let contents = first.contents;
    let kernel = f64::from(before.header().kernel_bytes) / 1e6;
    row(
        "the image, MB that the kernel reads",
        format!(
            "**{kernel:.1}** of {:.1}; {} frontends, {} slots in {} tables",
            first.bytes.as_bytes().len() as f64 / 1e6,
            contents.frontends,
            contents.slots,
            contents.tables
        ),
    );
    for (what, change) in CHANGES {
        let slice = balanced.cluster.slices[SLICE].clone();
        change(&mut balanced.cluster.slices[SLICE]);
        let previous = Previous { image: before, keeps: KEEP_ALL };
        let (next, took) = repeated(&balanced, Some(previous));
        let after = ServiceImage::open(next.bytes.as_bytes()).unwrap();
        let (unchanged, others) = unchanged(&before, &after, slice.service.as_deref().unwrap());
        assert_eq!(unchanged, others, "{what}: tables of other services are what they were");
        row(&format!("{what} in one slice: trees and the image in force to the next, ms and CPU ms"), took);
        let own = next.contents.unsettled;
        row(
            &format!("{what} in one slice: unsettled slots"),
            format!("**{own}** of {}; tables of {others} other frontends unchanged", next.contents.slots),
        );
        balanced.cluster.slices[SLICE] = slice;
    }
}

/// An image made several times, and what that took.
fn repeated(balanced: &Balanced, previous: Option<Previous<'_>>) -> (Compiled, String) {
    let (mut wall, mut cpu) = (Samples::default(), Samples::default());
    let mut compiled = None;
    for _ in 0..ROUNDS {
        let (made, took) = timed(|| balanced.compiled(previous));
        wall.take(took.wall);
        cpu.take(took.cpu);
        compiled = Some(made);
    }
    (compiled.unwrap(), format!("**{}**, CPU {}", wall.figure(), cpu.figure()))
}

/// How many frontends of other services have the very slots that they had, of how many.
fn unchanged(before: &ServiceImage<'_>, after: &ServiceImage<'_>, service: &str) -> (usize, usize) {
    let [before, after] = [before, after].map(|image| slots(image, service));
    let same = after.iter().filter(|(key, slots)| before.get(*key) == Some(*slots)).count();
    (same, after.len().max(before.len()))
}

/// The slots of both scopes, as a checksum, of every frontend but those of one service.
fn slots(image: &ServiceImage<'_>, but: &str) -> HashMap<(IpAddr, u16, u8), [u64; 2]> {
    let frontends = image.frontends();
    let others = frontends.filter(|frontend| frontend.of().is_some_and(|of| of.service.name != but));
    let key = |frontend: &Frontend<'_>| (frontend.address(), frontend.port(), frontend.protocol());
    let slots = |frontend: &Frontend<'_>, scope| {
        let table = frontend.table(scope).map(|(_, table)| table);
        table.map_or(0, |table| checksum(table.bytes()) ^ u64::from(table.previous_len()))
    };
    others.map(|one| (key(&one), [slots(&one, Scope::External), slots(&one, Scope::Internal)])).collect()
}
