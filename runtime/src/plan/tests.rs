//! Laws of plans, over random states: few addresses, identities and interfaces, so that they meet often.

use super::*;
use proptest::collection::{btree_map, btree_set};
use proptest::prelude::*;
use std::net::Ipv4Addr;

fn address(number: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(10, 0, 0, number))
}

fn endpoints() -> impl Strategy<Value = Endpoint> {
    (256..260u32, proptest::option::of(1..4u8)).prop_map(|(identity, v4)| Endpoint {
        identity: Identity(identity),
        v4: v4.map(|number| Ipv4Addr::new(10, 0, 0, number)),
        v6: None,
    })
}

/// States as they can be; programs stand where no endpoint is too.
fn states() -> impl Strategy<Value = State> {
    let addresses = btree_map((0..6u8).prop_map(address), (256..260u32).prop_map(Identity), 0..6);
    let interfaces = btree_map(1..6u32, endpoints(), 0..5);
    let image = proptest::option::of(1..3u64);
    (image, addresses, interfaces, btree_set(1..6u32, 0..5))
        .prop_map(|(image, addresses, endpoints, attached)| State { image, addresses, endpoints, attached })
}

/// The identities that an image knows: image 1 some, image 2 some others.
fn knows(image: Option<u64>, identity: Identity) -> bool {
    match image {
        Some(1) => identity.0 <= 257,
        Some(_) => identity.0 >= 257,
        None => false,
    }
}

proptest! {
    #[test]
    fn the_steps_lead_to_what_is_wanted(installed in states(), wanted in states()) {
        let mut state = installed.clone();
        for step in plan(&installed, &wanted) {
            state.take(&step, wanted.image);
        }
        // The kernel gives no image up.
        let image = wanted.image.or(installed.image);
        prop_assert_eq!(state, State { image, ..wanted });
    }

    #[test]
    fn nothing_is_done_where_all_is_as_wanted(state in states()) {
        prop_assert_eq!(plan(&state, &state), vec![]);
    }

    #[test]
    fn an_address_leads_to_a_new_identity_only_under_the_image_that_knows_it(
        installed in states(),
        mut wanted in states(),
    ) {
        // What is wanted is what its image knows.
        wanted.addresses.retain(|_, identity| knows(wanted.image, *identity));
        let mut state = installed.clone();
        for step in plan(&installed, &wanted) {
            state.take(&step, wanted.image);
            for (address, &identity) in &state.addresses {
                let was_there = installed.addresses.get(address) == Some(&identity);
                prop_assert!(was_there || knows(state.image, identity), "{address} after {step:?}");
            }
        }
    }

    #[test]
    fn who_stays_is_known_to_the_image_in_force_after_every_step(
        mut installed in states(),
        mut wanted in states(),
    ) {
        let (before, after) = (installed.image, wanted.image);
        prop_assume!(before.is_some() && after.is_some());
        installed.addresses.retain(|_, identity| knows(before, *identity));
        wanted.addresses.retain(|_, identity| knows(after, *identity));
        installed.addresses.retain(|address, _| wanted.addresses.contains_key(address));
        let mut state = installed.clone();
        for step in plan(&installed, &wanted) {
            state.take(&step, wanted.image);
            for (address, &identity) in &state.addresses {
                prop_assert!(knows(state.image, identity), "{address} after {step:?}");
            }
        }
    }

    #[test]
    fn a_pods_interface_has_its_endpoint_before_the_programs(installed in states(), wanted in states()) {
        let mut state = installed.clone();
        for step in plan(&installed, &wanted) {
            if let Step::Attach(interface) = step {
                let endpoint = wanted.endpoints.get(&interface);
                prop_assert!(endpoint.is_none() || state.endpoints.get(&interface) == endpoint);
            }
            state.take(&step, wanted.image);
        }
    }

    #[test]
    fn an_interface_that_stays_is_never_left(installed in states(), wanted in states()) {
        for step in plan(&installed, &wanted) {
            if let Step::Detach(interface) = step {
                prop_assert!(!wanted.attached.contains(&interface));
            }
            if let Step::Attach(interface) = step {
                prop_assert!(!installed.attached.contains(&interface));
            }
        }
    }

    #[test]
    fn connections_are_judged_again_after_the_last_change_of_hands(installed in states(), wanted in states()) {
        let steps = plan(&installed, &wanted);
        let changes = |step: &Step| {
            matches!(step, Step::SetAddress(..) | Step::RemoveAddress(_) | Step::SetEndpoint(..))
        };
        let last = steps.iter().rposition(changes);
        let again = steps.iter().rposition(|step| *step == Step::JudgeAgain);
        prop_assert!(last.is_none() || again > last, "{steps:?}");
    }

    #[test]
    fn a_pod_that_changed_is_said(installed in states(), wanted in states()) {
        let steps = plan(&installed, &wanted);
        for (&interface, &endpoint) in &wanted.endpoints {
            let is_new = installed.endpoints.get(&interface) != Some(&endpoint);
            let is_renamed = |step: &Step| {
                matches!(step, Step::InstallImage(renaming)
                    if renaming.endpoints.get(&interface) == Some(&endpoint.identity))
            };
            let is_said = steps.contains(&Step::SetEndpoint(interface, endpoint));
            prop_assert_eq!(is_new, is_said || steps.iter().any(is_renamed));
        }
    }

    #[test]
    fn what_goes_away_goes_last(installed in states(), wanted in states()) {
        let steps = plan(&installed, &wanted);
        let goes = |step: &Step| {
            matches!(step, Step::Detach(_) | Step::RemoveEndpoint(_) | Step::RemoveAddress(_))
        };
        let first = steps.iter().position(goes).unwrap_or(steps.len());
        let after = &steps[first..];
        prop_assert!(after.iter().all(|step| goes(step) || *step == Step::JudgeAgain), "{steps:?}");
    }

    #[test]
    fn a_plan_cut_short_is_finished_by_the_next(installed in states(), wanted in states(), cut in 0..20usize) {
        let mut state = installed.clone();
        for step in plan(&installed, &wanted).iter().take(cut) {
            state.take(step, wanted.image);
        }
        for step in plan(&state.clone(), &wanted) {
            state.take(&step, wanted.image);
        }
        let image = wanted.image.or(installed.image);
        prop_assert_eq!(state, State { image, ..wanted });
    }
}

#[test]
fn programs_that_stand_without_an_endpoint_get_one_or_go() {
    let endpoint = Endpoint { identity: Identity(256), v4: None, v6: None };
    let broken = State { attached: [1, 2, 3].into(), ..State::default() };
    let wanted = State { endpoints: [(1, endpoint)].into(), attached: [1, 3].into(), ..State::default() };
    assert_eq!(plan(&broken, &wanted), [Step::SetEndpoint(1, endpoint), Step::JudgeAgain, Step::Detach(2)]);
}
