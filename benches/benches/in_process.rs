//! What needs a clock inside the process: one verdict, aggregation, and compiling what is already parsed.
//!
//! `cargo bench -p weir-benches` prints divan's table; `cargo xtask bench` takes the fastest of each into the
//! table of results. Reading and generating are never inside the clock.

#![expect(clippy::unwrap_used, reason = "a benchmark whose workload does not compile has nothing to measure")]

use divan::Bencher;
use ipnet::IpNet;
use std::hint::black_box;
use std::net::IpAddr;
use weir_abi::MappedImage;
use weir_abi::services::{Question, Scope};
use weir_benches::compiled::{self, Balanced, image_of};
use weir_benches::random::Random;
use weir_benches::workload::{Workload, disjoint, many_pods, million, services, thousand_rules};
use weir_compiler::classes::aggregate::aggregate;
use weir_compiler::ir::protocol;
use weir_grammar::Reading;

fn main() {
    divan::main();
}

/// 1,000,000 CIDRs that do not overlap, parsed already, to the fewest prefixes.
#[divan::bench(sample_count = 15, sample_size = 1)]
fn aggregate_million(bencher: Bencher<'_, '_>) {
    let list: Vec<IpNet> =
        disjoint::prefixes().into_iter().map(|prefix| prefix.to_string().parse().unwrap()).collect();
    bencher.bench_local(|| aggregate(black_box(&list).iter().copied()));
}

/// 1,000 egress CIDR+port rules, trees to image.
#[divan::bench(sample_count = 50, sample_size = 1)]
fn compile_thousand_rules(bencher: Bencher<'_, '_>) {
    bencher.with_inputs(|| parsed(&thousand_rules::WORKLOAD)).bench_local_values(|read| image_of(read, None));
}

/// 10,000 pods and 1,000 policies, trees to the image of one node of 250 pods.
#[divan::bench(sample_count = 7, sample_size = 1)]
fn compile_node_of_many(bencher: Bencher<'_, '_>) {
    bencher
        .with_inputs(|| parsed(&many_pods::WORKLOAD))
        .bench_local_values(|read| image_of(read, Some("node-0")));
}

/// A million IPv4 addresses within a million prefixes, each to the verdict on TCP 443.
#[divan::bench(sample_count = 15, sample_size = 1)]
fn verdict_of_million_ipv4(bencher: Bencher<'_, '_>) {
    let (image, mut addresses) = million_addresses();
    let count = addresses.len();
    addresses.retain(IpAddr::is_ipv4);
    addresses.extend_from_within(..count - addresses.len());
    bench_verdicts(bencher, &image, &addresses);
}

/// The same with the tenth of them that is IPv6.
#[divan::bench(sample_count = 15, sample_size = 1)]
fn verdict_of_million_mixed(bencher: Bencher<'_, '_>) {
    let (image, addresses) = million_addresses();
    bench_verdicts(bencher, &image, &addresses);
}

/// The mixed addresses, each to its class alone.
#[divan::bench(sample_count = 15, sample_size = 1)]
fn class_of_million_mixed(bencher: Bencher<'_, '_>) {
    let (image, addresses) = million_addresses();
    let image = image.image().unwrap();
    bencher.bench_local(|| {
        for &address in &addresses {
            black_box(image.address_class(address));
        }
    });
}

/// The check of every byte that an image passes before it is used.
#[divan::bench(sample_count = 15, sample_size = 1)]
fn check_of_million(bencher: Bencher<'_, '_>) {
    let (image, _) = million_addresses();
    bencher.bench_local(|| black_box(image.image().is_ok()));
}

/// A million packets to 10,000 services, each to its backend.
#[divan::bench(sample_count = 15, sample_size = 1)]
fn backends_of_million_packets(bencher: Bencher<'_, '_>) {
    let image = Balanced::read(services::ten_thousand()).compiled(None).bytes;
    let image = MappedImage::copy(image.as_bytes()).unwrap();
    let image = image.service_image().unwrap();
    let mut random = Random::new(11);
    let questions: Vec<Question> = (0..1_000_000_u32)
        .map(|number| Question {
            address: services::address(random.below(services::SERVICES)).into(),
            port: 80,
            protocol: protocol::TCP,
            scope: Scope::Internal,
            client: IpAddr::V4((0x0A00_0000 + number / 7).into()),
            client_port: (number % 50_000) as u16,
        })
        .collect();
    bencher.bench_local(|| {
        for question in &questions {
            black_box(image.ask(question));
        }
    });
}

fn bench_verdicts(bencher: Bencher<'_, '_>, image: &MappedImage, addresses: &[IpAddr]) {
    let image = image.image().unwrap();
    let (_, subject) = compiled::subject(&image).unwrap();
    bencher.bench_local(|| {
        for &address in addresses {
            let peer = image.address_class(address);
            let port = image.port_class(protocol::TCP, black_box(443));
            black_box(image.judge(subject.egress, peer, port));
        }
    });
}

fn parsed(workload: &Workload) -> Reading {
    compiled::parsed((workload.policies)(), (workload.cluster)())
}

fn million_addresses() -> (MappedImage, Vec<IpAddr>) {
    let (compiled, _) = image_of(parsed(&million::WORKLOAD), None);
    let mut random = Random::new(7);
    let mut addresses: Vec<IpAddr> =
        million::prefixes().into_iter().map(|prefix| prefix.address_within(&mut random)).collect();
    random.shuffle(&mut addresses);
    (MappedImage::copy(compiled.bytes.as_bytes()).unwrap(), addresses)
}
