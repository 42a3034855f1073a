//! Service images put in force: how long until packets meet them, until nothing uses the old one any more, and what the kernel holds.

use crate::network;
use crate::weir::Weir;
use weir_abi::services::ServiceImage;
use weir_benches::compiled::Balanced;
use weir_benches::figures::{Row, Samples};
use weir_benches::workload::services;
use weir_compiler::services::{KEEP_ALL, Previous};

/// Times that an image is put in force.
const INSTALLATIONS: usize = 9;
/// The slice that changes from one image to the next.
const SLICE: usize = 17;

/// Every workload.
pub(crate) fn measure((): &(), tell: &mut dyn FnMut(Row)) {
    for workload in &services::ALL {
        network::enter().unwrap();
        let mut balanced = Balanced::read((workload.cluster)());
        let first = balanced.compiled_for(services::EDGE.0, None);
        balanced.cluster.slices[SLICE].endpoints.pop();
        let before = ServiceImage::open(first.bytes.as_bytes()).unwrap();
        let next = balanced.compiled_for(services::EDGE.0, Some(Previous { image: before, keeps: KEEP_ALL }));
        let (mut weir, started) = Weir::started(first.clone());
        let (mut in_force, mut settled) = (Samples::default(), Samples::default());
        for turn in 0..INSTALLATIONS {
            let image = if turn % 2 == 0 { &next } else { &first };
            let installed = weir.install(image.clone());
            in_force.take(installed.in_force.as_secs_f64() * 1e3);
            settled.take(installed.settled.as_secs_f64() * 1e3);
        }
        let row = |figure: &str, measured: String| Row {
            workload: workload.what.to_owned(),
            figure: figure.to_owned(),
            measured,
            ..Row::default()
        };
        let megabytes = |bytes: usize| bytes as f64 / 1e6;
        let [values, rest] = weir.held();
        tell(row("ms until the next image is in force", format!("**{}**", in_force.figure())));
        tell(row("ms until no packet uses the old one", settled.figure().to_string()));
        tell(row(
            "ms the first time: programs loaded for the larger class",
            format!("{:.0}", started.in_force.as_secs_f64() * 1e3),
        ));
        tell(row(
            "MB the kernel holds: both images, right after a swap; all other maps",
            format!(
                "**{:.1}** for {:.1} in a class of {:.1}; {:.1}",
                megabytes(values),
                megabytes(started.bytes),
                megabytes(started.class),
                megabytes(rest)
            ),
        ));
    }
}
