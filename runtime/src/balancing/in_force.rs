//! The image in force, as far as the daemon knows it: its bytes, what is in it, since when its slots are unsettled.
//!
//! Not here: how it came into force ([`super::bring`]).

use super::ages::Ages;
use super::health::{HealthCheck, checks};
use crate::status::ServiceContents;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::SystemTime;
use tokio::time::Instant;
use weir_abi::services::ServiceImage;

/// An image in force.
#[derive(Clone, Debug)]
pub(super) struct InForce {
    pub(super) checksum: u64,
    /// `None`: only the kernel has it.
    pub(super) image: Option<Arc<[u8]>>,
    /// When this daemon put it in force.
    pub(super) since: Option<SystemTime>,
    /// It is of an earlier run, and no source has said so yet.
    pub(super) is_restored: bool,
    pub(super) contents: Option<ServiceContents>,
    pub(super) checks: Vec<HealthCheck>,
    pub(super) ages: Ages,
}

impl InForce {
    /// What is told of an image that is in force; what was unsettled counts from now.
    pub(super) fn of(image: &Arc<[u8]>, opened: &ServiceImage<'_>) -> InForce {
        InForce {
            checksum: opened.header().checksum,
            image: Some(Arc::clone(image)),
            since: None,
            is_restored: false,
            contents: Some(contents(opened)),
            checks: checks(opened),
            ages: Ages::default().after(None, opened, Instant::now()),
        }
    }

    /// One of which nothing but its checksum is left.
    pub(super) fn lost(checksum: u64) -> InForce {
        InForce {
            checksum,
            image: None,
            since: None,
            is_restored: true,
            contents: None,
            checks: Vec::new(),
            ages: Ages::default(),
        }
    }

    pub(super) fn has_unsettled(&self) -> bool {
        self.contents.is_some_and(|contents| contents.unsettled > 0)
    }
}

fn contents(image: &ServiceImage<'_>) -> ServiceContents {
    let mut backends = BTreeSet::new();
    for frontend in image.frontends() {
        backends.extend(frontend.backends().map(|backend| backend.number));
    }
    let tables = (0..).map_while(|number| image.table(number));
    let (slots, unsettled) = tables.fold((0, 0), |(slots, unsettled), table| {
        let marked = if table.previous_len() == 0 { 0 } else { table.slots().filter(|slot| slot.1).count() };
        (slots + table.slots().count(), unsettled + marked)
    });
    ServiceContents {
        services: image.services().len(),
        frontends: image.frontends().filter(|frontend| frontend.port() > 0).count(),
        backends: backends.len(),
        slots,
        unsettled,
        bytes: image.bytes().len(),
    }
}
