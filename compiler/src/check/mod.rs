//! Surprises: what is legal, and probably not what was meant.
//!
//! Here are the warnings that need the cluster or several policies; those that one object shows by
//! itself are found when it is read, and those about services when they are balanced. One file per code; what the warning is, why it surprises, and what to
//! write instead is on the code's page, in `docs/codes`.
//!
//! A warning that is wrong costs more than one that is missing: where a check cannot be sure, or
//! would take too long, it says nothing. What a check asks of the cluster it asks only if the cluster
//! has such objects: without pods no selector is called empty, without secrets no secret is missed.
//!
//! Not here: errors, the severity that a run fails on, the order of files.

mod cidr_covers_pods;
mod cilium_differs;
mod fqdn_without_dns;
mod implication;
mod map_overflow;
mod near_miss;
mod never_matches;
mod no_default_deny;
mod reach;
mod selects_nothing;
mod shadowed;
mod unknown_secret;
mod view;

use crate::cluster::Cluster;
use crate::compile::selected_keys;
use crate::identity::{Identities, IdentityLock};
use crate::ir::PolicySet;
use crate::policy_map::Forecast;
use crate::services::Model;
use view::View;
use weir_grammar::diagnostic::Diagnostic;
use weir_grammar::put_into_words;
use weir_grammar::source::Sources;

/// Everything surprising about a policy set, in the order of the text. `cluster` is the one that the
/// set was translated for; it may be empty. `sources` hold the text that spans point into.
pub fn surprises(set: &PolicySet, cluster: &Cluster, sources: &Sources) -> Vec<Diagnostic> {
    // More identities than an image can number are an error elsewhere; here it is as if there were no
    // pods at all.
    let identities = Identities::number(cluster, &selected_keys(set), &mut IdentityLock::default(), None)
        .unwrap_or_default();
    let view = View::new(set, cluster, sources, &identities);
    let mut found = Vec::new();
    selects_nothing::check(&view, &mut found);
    never_matches::check(&view, &mut found);
    cidr_covers_pods::check(&view, &mut found);
    shadowed::check(&view, &mut found);
    fqdn_without_dns::check(&view, &mut found);
    cilium_differs::check(&view, &mut found);
    no_default_deny::check(&view, &mut found);
    unknown_secret::check(&view, &mut found);
    found.extend(Model::new(cluster).findings);
    found.sort_by(|a, b| (a.span, a.code, &a.message).cmp(&(b.span, b.code, &b.message)));
    found.dedup();
    put_into_words(sources, &mut found);
    found
}

/// Policy maps of Cilium that would overflow, by the rules to blame. Of no interest to those whose policies Cilium does not enforce, so it
/// is asked for by itself.
pub fn overflows(
    set: &PolicySet,
    cluster: &Cluster,
    sources: &Sources,
    forecast: &Forecast,
) -> Vec<Diagnostic> {
    let identities = Identities::default();
    let view = View::new(set, cluster, sources, &identities);
    let mut found = Vec::new();
    map_overflow::check(&view, &forecast.maps, &mut found);
    put_into_words(sources, &mut found);
    found
}

#[cfg(test)]
mod case;
