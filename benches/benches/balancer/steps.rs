//! What each step of Direct Server Return at XDP takes, by programs that stop after it.

use crate::arrivals::{Arrivals, Kind, Stream};
use crate::network::{self, DEVICE};
use crate::turns::{Contestant, in_turns};
use crate::weir::Weir;
use aya::EbpfLoader;
use aya::programs::{ProgramFd, Xdp};
use weir_benches::figures::Row;
use weir_benches::workload::edge;

#[repr(C, align(8))]
struct Aligned<T: ?Sized>(T);

static STEPS: &Aligned<[u8]> = &Aligned(*include_bytes!(concat!(env!("OUT_DIR"), "/steps.bpf.o")));

const FLOWS: u32 = 1 << 20;

/// Programs in the order of the way, with what the step is.
const ALL: &[(&str, &str)] = &[
    ("step_read", "the packet is read"),
    ("step_image", "the image in force is found"),
    ("step_frontend", "its frontend is found"),
    ("step_backend", "its slot and backend are read"),
    ("step_tick", "the time is asked"),
    ("step_way", "the next hop is found"),
    ("step_count", "it is counted"),
];

/// The steps, of one flow, of many, and of many to one service after another.
pub(crate) fn measure((): &(), tell: &mut dyn FnMut(Row)) {
    let device = network::enter().unwrap();
    let mut arrivals = Arrivals::load(device, DEVICE);
    let weir = Weir::at_the_edge();
    for (flows, what) in [(1, "1 flow"), (FLOWS, "1,048,576 flows")] {
        let stream = Stream::to(Kind::Ack, edge::DIRECT, flows);
        steps(&mut arrivals, &weir, &stream, what, tell);
    }
    drop(weir);
    let weir = Weir::with_many_services();
    steps(
        &mut arrivals,
        &weir,
        &Stream::to_many(Kind::Ack, FLOWS),
        "1,048,576 flows over 3,333 of 10,000 services",
        tell,
    );
}

fn steps(arrivals: &mut Arrivals, weir: &Weir, stream: &Stream, what: &str, tell: &mut dyn FnMut(Row)) {
    let steps = load(weir);
    let whole = weir.fast();
    let contestants: Vec<Contestant<'_>> =
        steps.iter().map(Contestant::passing).chain([Contestant::wrapping(&whole)]).collect();
    let costs = in_turns(arrivals, stream, false, &contestants);
    let mut row = |figure: String, measured: String| {
        tell(Row {
            workload: format!("IPIP DSR step by step, known TCP flows, {what}"),
            figure,
            measured,
            ..Row::default()
        });
    };
    let mut before = 0.0;
    let (done_otherwise, in_order) =
        (costs[ALL.len()], costs[..ALL.len()].iter().chain(&costs[ALL.len() + 1..]));
    let names = ALL.iter().copied().chain([("", "it is wrapped and sent back")]);
    for ((name, step), cost) in names.zip(in_order) {
        row(format!("ns until {step}"), format!("{} ({:+.0})", cost.net, cost.net.least - before));
        before = cost.net.least;
        if name == "step_way" {
            row(
                "the next hop found in the table of all CPUs instead".to_owned(),
                format!("{} ({:+.0})", done_otherwise.net, done_otherwise.net.least - cost.net.least),
            );
        }
    }
}

/// The programs, over the maps of a running balancer: those in order, then the one that does a step otherwise.
fn load(weir: &Weir) -> Vec<ProgramFd> {
    let mask = weir.mask();
    let mut loader = EbpfLoader::new();
    // As the balancer itself was opened.
    loader.override_global("IMAGE_MASK", &mask, true).override_global("TCP_BY_DSR", &1_u8, true);
    for (name, path) in weir.maps() {
        loader.map_pin_path(name, path);
    }
    let mut ebpf = loader.load(&STEPS.0).unwrap();
    let names = ALL.iter().map(|(name, _)| *name).chain(["step_way_table"]);
    let mut load = |name| {
        let program: &mut Xdp = ebpf.program_mut(name).unwrap().try_into().unwrap();
        program.load().unwrap();
        program.fd().unwrap().try_clone().unwrap()
    };
    names.map(&mut load).collect()
}
