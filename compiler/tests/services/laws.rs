//! What holds of any services: the image chooses whom the specification allows, each of them, on every node the same, and the same bytes.

use crate::random::{facts, objects, question, text};
use crate::world::{self, World, chosen};
use proptest::prelude::*;
use proptest::sample::select;
use weir_abi::services::{BackendState, Choice, Question, Scope, ServiceImage};
use weir_compiler::services::{KEEP_ALL, Previous};

proptest! {
    #![proptest_config(ProptestConfig { cases: 160, ..ProptestConfig::default() })]

    #[test]
    fn the_image_chooses_whom_the_specification_allows(
        objects in objects(),
        questions in prop::collection::vec(question(), 12),
        node in select(vec!["n1", "n2", "n3", "-"]),
        facts in facts(),
    ) {
        let mut world = World::read(&text(&objects));
        facts.iter().for_each(|fact| world.learn(fact));
        let node = world.node(node);
        let image = world.image(node);
        let image = ServiceImage::open(image.as_bytes()).unwrap();
        for asked in questions {
            let question = world::question(&asked);
            let (chosen, eligible) = (chosen(&image, &question, 500), world.eligible(node, &question));
            let keeps = image.ask(&question).frontend.is_some_and(|frontend| frontend.affinity().is_some());
            if let (true, Ok(chosen), Ok(eligible)) = (keeps, &chosen, &eligible) {
                // Few clients are few choices.
                prop_assert!(chosen.is_subset(eligible), "{asked}");
            } else {
                prop_assert_eq!(chosen, eligible, "{}", asked);
            }
        }
    }

    /// A failed check never opens what was refused, and leaves nobody only where this node's backends alone may serve.
    #[test]
    fn health_checks_open_nothing_and_leave_somebody(
        objects in objects(),
        questions in prop::collection::vec(question(), 12),
        node in select(vec!["n1", "-"]),
        facts in facts(),
    ) {
        let mut world = World::read(&text(&objects));
        let node = world.node(node);
        facts.iter().filter(|fact| fact.starts_with("own ")).for_each(|fact| world.learn(fact));
        let before: Vec<_> =
            questions.iter().map(|asked| world.eligible(node, &world::question(asked))).collect();
        facts.iter().filter(|fact| fact.starts_with("unfit ")).for_each(|fact| world.learn(fact));
        for (asked, before) in questions.iter().zip(before) {
            let after = world.eligible(node, &world::question(asked));
            match (before, after) {
                (Ok(_), Ok(after)) => prop_assert!(!after.is_empty(), "{asked}"),
                (Ok(_), Err(choice)) => prop_assert_eq!(choice, Choice::NoLocalBackend, "{}", asked),
                (before, after) => prop_assert_eq!(before, after, "{}", asked),
            }
        }
    }

    /// A flow may be with a backend that has no slots: it ends, is not ready or fails its checks. Who looks for it looks through a table's backends.
    #[test]
    fn tables_number_backends_without_slots_too(former in objects(), objects in objects(), facts in facts()) {
        let (former, mut world) = (World::read(&text(&former)).image(None), World::read(&text(&objects)));
        facts.iter().for_each(|fact| world.learn(fact));
        let previous = Previous { image: ServiceImage::open(former.as_bytes()).unwrap(), keeps: KEEP_ALL };
        for previous in [None, Some(previous)] {
            let image = world.compiled(None, previous).bytes;
            let image = ServiceImage::open(image.as_bytes()).unwrap();
            for frontend in image.frontends() {
                let listed = frontend.backends().filter(|one| one.state != BackendState::Leaving).count();
                for (_, table) in [Scope::External, Scope::Internal].into_iter().filter_map(|scope| frontend.table(scope)) {
                    prop_assert!(table.backends() as usize >= listed, "{} of {listed}", table.backends());
                }
            }
        }
    }

    #[test]
    fn the_order_of_objects_is_nothing(
        (objects, shuffled) in objects().prop_flat_map(|objects| (Just(objects.clone()), Just(objects).prop_shuffle())),
    ) {
        let image = |objects: &[String]| {
            let world = World::read(&text(objects));
            let image = world.image(Some(0));
            let image = ServiceImage::open(image.as_bytes()).unwrap();
            // Places in the file differ, and they alone.
            let header = image.header();
            image.bytes()[size_of_val(header)..header.kernel_bytes as usize].to_vec()
        };
        prop_assert_eq!(image(&objects), image(&shuffled));
    }

    #[test]
    fn nodes_agree_where_no_node_matters(objects in objects(), asked in question(), port in 1024u16..60000) {
        let plain: Vec<String> = objects
            .iter()
            .map(|object| object.replace("Local", "Cluster").replace("forZones", "none").replace("forNodes", "neither"))
            .collect();
        let world = World::read(&text(&plain));
        let question = Question { client_port: port, ..world::question(&asked) };
        let mut answers = Vec::new();
        for node in [Some(0), Some(1), Some(2)] {
            let image = world.image(node);
            let image = ServiceImage::open(image.as_bytes()).unwrap();
            // A node's own ports are its own.
            let answer = image.ask(&question);
            let is_own = answer.frontend.is_none_or(|frontend| frontend.address().is_unspecified());
            answers.extend((!is_own).then(|| answer.backend.map(|backend| (backend.address, backend.port))));
        }
        prop_assert!(answers.windows(2).all(|pair| pair[0] == pair[1]), "{answers:?}");
    }

    #[test]
    fn affinity_is_the_clients(objects in objects(), asked in question(), ports in (1024u16..60000, 1024u16..60000)) {
        let world = World::read(&text(&objects));
        let image = world.image(Some(0));
        let image = ServiceImage::open(image.as_bytes()).unwrap();
        let question = world::question(&asked);
        let of = |client_port| {
            let answer = image.ask(&Question { client_port, ..question });
            let keeps = answer.frontend.is_some_and(|frontend| frontend.affinity().is_some());
            keeps.then_some(answer.backend)
        };
        prop_assert_eq!(of(ports.0), of(ports.1));
    }
}

/// A service of so many backends.
fn large(backends: std::ops::Range<u32>) -> String {
    let endpoints: Vec<String> =
        backends.map(|number| format!("10.2.{}.{}", number / 200, 1 + number % 200)).collect();
    let lines = [
        "service web {clusterIP: 10.96.0.1, ports: [{port: 80}]}".to_owned(),
        format!("slice web [{{port: 8080}}] {}", endpoints.join(" ")),
    ];
    let lines: Vec<String> =
        lines.iter().enumerate().map(|(number, line)| crate::cases::manifest(line, number)).collect();
    text(&lines)
}

#[test]
fn one_backend_of_fifty_more_moves_a_fiftieth_of_flows() {
    let (before, after) = (World::read(&large(0..50)).image(None), World::read(&large(0..51)).image(None));
    let [before, after] = [&before, &after].map(|image| ServiceImage::open(image.as_bytes()).unwrap());
    let asked = world::question("in 10.1.0.9 > 10.96.0.1:80/tcp");
    let (mut moved, mut to_new) = (0, 0);
    for client_port in 1000..21_000 {
        let question = Question { client_port, ..asked };
        let [old, new] = [&before, &after].map(|image| image.ask(&question).backend.unwrap().address);
        if new == "10.2.0.51".parse::<std::net::IpAddr>().unwrap() {
            to_new += 1;
        } else {
            moved += usize::from(old != new);
        }
    }
    // Its share is 392 of 20,000; of the others' no more than one in a hundred moves.
    assert!((300..500).contains(&to_new) && moved < 200, "{to_new} to the new one, {moved} moved");
}

#[test]
fn shares_of_flows_are_as_the_weights() {
    let lines = [
        "service web {clusterIP: 10.96.0.1, ports: [{port: 80}]}",
        "slice web [{port: 8080}] 10.1.1.1 10.1.1.2 | weight \"1\"",
        "slice web [{port: 8080}] 10.1.1.3 | weight \"6\"",
    ];
    let lines: Vec<String> =
        lines.iter().enumerate().map(|(number, line)| crate::cases::manifest(line, number)).collect();
    let image = World::read(&text(&lines)).image(None);
    let image = ServiceImage::open(image.as_bytes()).unwrap();
    let asked = world::question("in 10.1.0.9 > 10.96.0.1:80/tcp");
    assert_eq!(asked.scope, Scope::Internal);
    let heavy = (0..16_000u16).filter(|client_port| {
        let answer = image.ask(&Question { client_port: *client_port, ..asked });
        answer.backend.unwrap().weight == 6
    });
    let heavy = heavy.count();
    assert!((11_700..12_300).contains(&heavy), "{heavy} of 16,000, of which three quarters are due");
}
