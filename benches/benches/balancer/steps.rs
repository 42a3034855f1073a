//! What each step of Direct Server Return at XDP takes, by programs that stop after it.

use crate::arrivals::{Arrivals, Kind, PASS, Stream};
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

/// The steps, of one flow and of many.
pub(crate) fn measure((): &(), tell: &mut dyn FnMut(Row)) {
    let device = network::enter().unwrap();
    let mut arrivals = Arrivals::load(device, DEVICE);
    let weir = Weir::at_the_edge();
    let mut loader = EbpfLoader::new();
    let mask = weir.mask();
    loader.override_global("IMAGE_MASK", &mask, true);
    for (name, path) in weir.maps() {
        loader.map_pin_path(name, path);
    }
    let mut ebpf = loader.load(&STEPS.0).unwrap();
    let names = ALL.iter().map(|(name, _)| *name).chain(["step_way_array"]);
    let programs: Vec<ProgramFd> = names
        .map(|name| {
            let program: &mut Xdp = ebpf.program_mut(name).unwrap().try_into().unwrap();
            program.load().unwrap();
            program.fd().unwrap().try_clone().unwrap()
        })
        .collect();
    let whole = weir.fast();
    for (flows, what) in [(1, "1 flow"), (1 << 20, "1,048,576 flows")] {
        let stream = Stream::to(Kind::Ack, edge::DIRECT, flows);
        let mut contestants: Vec<Contestant<'_>> = programs
            .iter()
            .map(|program| Contestant { program, way: "to_rewrite", verdict: PASS })
            .collect();
        contestants.push(Contestant::wrapping(&whole));
        let costs = in_turns(&mut arrivals, &stream, false, &contestants);
        let mut row = |figure: String, measured: String| {
            tell(Row {
                workload: format!("IPIP DSR step by step, known TCP flows, {what}"),
                figure,
                measured,
                ..Row::default()
            });
        };
        let mut before = 0.0;
        for ((name, step), cost) in ALL.iter().zip(&costs) {
            row(format!("ns until {step}"), format!("{} (+ {:.0})", cost.net, cost.net.least - before));
            before = cost.net.least;
            if *name == "step_way" {
                let other = &costs[ALL.len()];
                row(
                    "the next hop found in a cache line of the CPU's own instead".to_owned(),
                    format!("{} ({:+.0})", other.net, other.net.least - cost.net.least),
                );
            }
        }
        let last = costs[ALL.len() + 1];
        row("ns until it is wrapped".to_owned(), format!("{} (+ {:.0})", last.net, last.net.least - before));
    }
}
