//! Since when slots are unsettled: a flow that says nothing is on no record, and is to find its backend all the same when it speaks again.
//!
//! So a slot settles no sooner than a flow may be idle after it became unsettled, which is as long as its record lives
//! (`bpf/services/options.h`). That is known by frontend and scope, because tables have other
//! numbers in every image; a frontend is as young as its youngest slot. What an earlier daemon left is as young as this one.
//!
//! Not here: flows on record (`weir_compiler::services::Kept`).

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::time::Duration;
use tokio::time::Instant;
use weir_abi::services::{Frontend, Scope, ServiceImage, SlotTable};
use weir_compiler::ir::protocol;

/// How long a flow of datagrams may be idle,
const DATAGRAMS: Duration = Duration::from_secs(65);
/// and one of SCTP.
const SCTP: Duration = Duration::from_secs(226);

type Key = (IpAddr, u16, u8, Scope);

/// Since when, for whatever is not settled.
#[derive(Clone, Debug, Default)]
pub(super) struct Ages {
    since: HashMap<Key, Instant>,
    /// Whether slots became unsettled with the image.
    pub(super) has_grown: bool,
}

const SCOPES: [Scope; 2] = [Scope::External, Scope::Internal];

/// How long a flow at a frontend may be idle, if one of TCP may be so long.
fn idle(frontend: &Frontend<'_>, tcp: Duration) -> Duration {
    let idle = match (frontend.affinity(), frontend.protocol()) {
        (Some(seconds), _) => Duration::from_secs(u64::from(seconds)),
        (None, protocol::TCP) => tcp,
        (None, protocol::SCTP) => SCTP,
        (None, _) => DATAGRAMS,
    };
    idle.min(tcp)
}

fn key(frontend: &Frontend<'_>, scope: Scope) -> Key {
    (frontend.address(), frontend.port(), frontend.protocol(), scope)
}

impl Ages {
    /// Those of the next image, which comes after another one now.
    pub(super) fn after(
        &self,
        last: Option<&ServiceImage<'_>>,
        next: &ServiceImage<'_>,
        now: Instant,
    ) -> Ages {
        let (mut since, mut has_grown) = (HashMap::new(), false);
        let mut grown: HashMap<(u32, Option<u32>), bool> = HashMap::new();
        for frontend in next.frontends() {
            for scope in SCOPES {
                let Some((number, table)) =
                    frontend.table(scope).filter(|(_, table)| table.previous_len() > 0)
                else {
                    continue;
                };
                let before = last
                    .and_then(|last| last.find(frontend.address(), frontend.port(), frontend.protocol()))
                    .and_then(|frontend| frontend.table(scope));
                let pair = (number, before.map(|(number, _)| number));
                let is_grown = *grown
                    .entry(pair)
                    .or_insert_with(|| before.is_none_or(|(_, before)| has_more_unsettled(&before, &table)));
                has_grown |= is_grown;
                let key = key(&frontend, scope);
                let known = self.since.get(&key).copied().filter(|_| !is_grown);
                since.insert(key, known.unwrap_or(now));
            }
        }
        Ages { since, has_grown }
    }

    /// The tables that may not settle yet, if a flow of TCP may be idle for so long.
    pub(super) fn young(&self, image: &ServiceImage<'_>, tcp: Duration, now: Instant) -> HashSet<u32> {
        let is_young = |frontend: &Frontend<'_>, scope| {
            let since = self.since.get(&key(frontend, scope));
            since.is_none_or(|since| now.duration_since(*since) < idle(frontend, tcp))
        };
        let tables = image.frontends().flat_map(|frontend| {
            SCOPES.map(|scope| {
                let (number, table) = frontend.table(scope)?;
                (table.previous_len() > 0 && is_young(&frontend, scope)).then_some(number)
            })
        });
        tables.flatten().collect()
    }
}

fn has_more_unsettled(before: &SlotTable<'_>, after: &SlotTable<'_>) -> bool {
    before.len() != after.len()
        || before.slots().zip(after.slots()).any(|((_, before), (_, after))| after && !before)
}
