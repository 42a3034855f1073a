//! The workload that a pod belongs to, by name: what people say where they mean all replicas.
//!
//! A pod names its controller. Between a Deployment and its pods stands a ReplicaSet whose name ends in the
//! template's hash, which the pod carries as a label. Where a snapshot has no owners, the labels that controllers
//! give their pods tell how much of a pod's name is its own.
//!
//! Not here: the objects of controllers, which no snapshot needs to have.

use weir_grammar::tree::Pod;

/// Labels that a Job gives its pods.
const JOB_NAMES: &[&str] = &["batch.kubernetes.io/job-name", "job-name"];
/// The label that a Deployment's pods have.
const TEMPLATE_HASH: &str = "pod-template-hash";
/// The label that pods of a StatefulSet and of a DaemonSet have.
const REVISION_HASH: &str = "controller-revision-hash";

/// The name of the pod's workload; `None` for a pod on its own.
pub fn workload(pod: &Pod) -> Option<&str> {
    let label =
        |key: &str| pod.meta.labels.iter().find(|(known, _)| known == key).map(|(_, value)| value.as_str());
    let less_hash = |name| label(TEMPLATE_HASH).and_then(|hash| less(name, hash));
    if let Some((kind, name)) = &pod.owner {
        return Some(if kind == "ReplicaSet" { less_hash(name).unwrap_or(name) } else { name });
    }
    if let Some(job) = JOB_NAMES.iter().find_map(|key| label(key)).filter(|name| !name.is_empty()) {
        return Some(job);
    }
    // NAME-HASH-xxxxx, or NAME-0 and NAME-xxxxx.
    let (front, _) = pod.meta.name.rsplit_once('-')?;
    less_hash(front).or_else(|| label(REVISION_HASH).map(|_| front))
}

/// `name` without `-hash` at its end.
fn less<'n>(name: &'n str, hash: &str) -> Option<&'n str> {
    name.strip_suffix(hash)?.strip_suffix('-').filter(|rest| !rest.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use weir_grammar::span::{FileId, Span};
    use weir_grammar::tree::Meta;

    fn named(name: &str, labels: &[(&str, &str)], owner: Option<(&str, &str)>) -> Option<String> {
        let labels = labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let span = Span::point(FileId(0), 0);
        let pod = Pod {
            meta: Meta { namespace: Some("shop".to_owned()), name: name.to_owned(), labels, span },
            node: None,
            host_network: false,
            service_account: None,
            addresses: Vec::new(),
            ports: Vec::new(),
            owner: owner.map(|(kind, name)| (kind.to_owned(), name.to_owned())),
            finished: false,
            ready: true,
            ending: false,
        };
        workload(&pod).map(str::to_owned)
    }

    #[test]
    fn owners_and_labels_lead_to_one_name() {
        let hash: &[_] = &[("pod-template-hash", "7f9c")];
        let revision: &[_] = &[("controller-revision-hash", "db-1")];
        for (name, labels, owner, workload) in [
            ("web-7f9c-abcde", hash, Some(("ReplicaSet", "web-7f9c")), Some("web")),
            ("web-7f9c-abcde", hash, None, Some("web")),
            ("web-abcde", &[][..], Some(("ReplicaSet", "web")), Some("web")),
            ("db-0", revision, Some(("StatefulSet", "db")), Some("db")),
            ("db-0", revision, None, Some("db")),
            ("agent-x2x4z", revision, Some(("DaemonSet", "agent")), Some("agent")),
            ("backup-28-x2x4z", &[("job-name", "backup-28")], None, Some("backup-28")),
            ("web-1", &[][..], None, None),
            ("web", hash, None, None),
        ] {
            assert_eq!(named(name, labels, owner).as_deref(), workload, "{name} {owner:?}");
        }
    }
}
