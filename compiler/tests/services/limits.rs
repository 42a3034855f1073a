//! No limit is silent: what does not fit is refused by the name of the service; what two claim is told.

use crate::cases::manifest;
use crate::random::text;
use crate::world::World;
use weir_abi::services::layout::MAX_TABLE_BACKENDS;
use weir_abi::services::{Question, Scope, ServiceImage};
use weir_compiler::services::{Input, ServicesError, compile, compile_within};

fn world(lines: &[&str]) -> World {
    let lines: Vec<String> = lines.iter().enumerate().map(|(number, line)| manifest(line, number)).collect();
    World::read(&text(&lines))
}

const WEB: &[&str] = &[
    "service api {clusterIP: 10.96.0.2, ports: [{port: 80}]}",
    "slice api [{port: 8080}] 10.1.2.1",
    "service web {clusterIP: 10.96.0.1, ports: [{port: 80}]}",
    "slice web [{port: 8080}] 10.1.1.1 10.1.1.2 10.1.1.3",
];

/// So many backends for the service `web`.
fn grown(count: usize) -> World {
    let mut world = world(WEB);
    for slice in world.cluster.slices.iter_mut().filter(|slice| slice.service.as_deref() == Some("web")) {
        let model = slice.endpoints[0].clone();
        slice.endpoints = (0..u32::try_from(count).unwrap())
            .map(|number| {
                let mut endpoint = model.clone();
                endpoint.addresses = vec![std::net::Ipv4Addr::from(0x0B00_0000 + number).into()];
                endpoint
            })
            .collect();
    }
    world
}

#[test]
fn an_image_that_is_too_large_names_the_largest_service() {
    let world = world(WEB);
    let input = Input::new(&world.cluster, &world.sources);
    let error = compile_within(&input, 700).unwrap_err();
    assert!(matches!(&error, ServicesError::TooLarge { service, .. } if service == "shop/web"), "{error}");
}

#[test]
fn more_backends_than_16_bits_number() {
    let world = grown(70_000);
    let image = world.image(None);
    let image = ServiceImage::open(image.as_bytes()).unwrap();
    let question = crate::world::question("in 10.1.0.9 > 10.96.0.1:80/tcp");
    let served = |client_port| {
        let answer = image.ask(&Question { client_port, ..question });
        answer.backend.map(|backend| backend.address)
    };
    assert_eq!(question.scope, Scope::Internal);
    let different: std::collections::BTreeSet<_> = (0..2000).map(served).collect();
    assert!(different.len() > 1900 && !different.contains(&None), "{}", different.len());
}

#[test]
fn more_backends_than_any_table_has_room_for() {
    let world = grown(MAX_TABLE_BACKENDS as usize + 1);
    let input = Input::new(&world.cluster, &world.sources);
    let error = compile(&input).unwrap_err();
    assert_eq!(error.to_string(), "a table holds at most 128089 backends, service shop/web has 128090");
}

#[test]
fn who_loses_an_address_is_told() {
    let world = world(&[
        "service api {clusterIP: 10.96.0.2, externalIPs: [198.51.100.7, 10.1.0.9], ports: [{port: 80}]}",
        "service web {type: NodePort, clusterIP: 10.96.0.1, externalIPs: [198.51.100.7, 10.96.0.2], ports: [{port: 80, nodePort: 30080}, {name: b, port: 80}]}",
    ]);
    let told: Vec<String> =
        world.compiled(None, None).findings.iter().map(|found| found.message.clone()).collect();
    assert_eq!(
        told,
        [
            "10.1.0.9 port 80 of shop/api is the address of pod shop/client",
            "198.51.100.7 port 80 of shop/web is that of shop/api already",
            "10.96.0.2 port 80 of shop/web is that of shop/api already",
            "10.96.0.1 port 80 of shop/web is that of another of its ports already",
            "198.51.100.7 port 80 of shop/web is that of shop/api already",
            "10.96.0.2 port 80 of shop/web is that of shop/api already",
        ]
    );
}
