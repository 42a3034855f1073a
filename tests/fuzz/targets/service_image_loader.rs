//! Any bytes as a service image: a bad one is refused whole, and whatever is opened answers every question without a panic.
#![no_main]

mod sealing;

use libfuzzer_sys::fuzz_target;
use std::hint::black_box;
use std::net::IpAddr;
use weir_abi::services::layout::ServiceHeader;
use weir_abi::services::{Choice, Question, Scope, ServiceImage};

fuzz_target!(|data: &[u8]| {
    sealing::both(data, size_of::<ServiceHeader>(), |bytes| {
        if let Ok(image) = ServiceImage::open(bytes) {
            ask(&image, data);
        }
    });
});

/// Every frontend from both sides, and addresses made of the input's own bytes.
fn ask(image: &ServiceImage<'_>, data: &[u8]) {
    let wide = |at: usize| data.iter().skip(at).take(16).fold(0_u128, |word, byte| (word << 8) | u128::from(*byte));
    let clients = [IpAddr::V4(0xC000_0201.into()), IpAddr::V6(wide(0).into()), IpAddr::V6(wide(300).into())];
    let mut addresses = vec![(IpAddr::V6(wide(64).into()), 80, 6)];
    for frontend in image.frontends().take(200) {
        addresses.push((frontend.address(), frontend.port(), frontend.protocol()));
        let is_whole = frontend.port() == 0;
        // What stands in an image is found in it, and has a name: the check at opening promised so.
        assert!(image.find(frontend.address(), frontend.port(), frontend.protocol()).is_some());
        assert_eq!(frontend.of().is_some(), !is_whole);
        black_box(frontend.backends().take(50).count());
    }
    for (address, port, protocol) in addresses {
        for (client, scope) in clients.iter().flat_map(|&client| [(client, Scope::External), (client, Scope::Internal)]) {
            let answer = image.ask(&Question { address, port, protocol, scope, client, client_port: 1 });
            assert_eq!(answer.backend.is_some(), answer.choice == Choice::Backend);
        }
    }
    let tables = (0..image.table_count().min(50)).filter_map(|number| image.table(u32::try_from(number).ok()?));
    black_box(tables.map(|table| (0..table.len().min(500)).filter_map(|slot| table.slot(slot)).count()).sum::<usize>());
    black_box((image.services().take(50).count(), image.facts().count(), image.node(0)));
}
