//! Which workload a pod is of, told by its labels and its name.
//!
//! What made a pod is written in `ownerReferences`, which a snapshot of policy's world does not keep. But whoever makes pods
//! also labels them and ends their names in a way of its own: that end is taken off where the label proves it.
//!
//! Not here: what the pods may do.

use weir_grammar::tree::Pod;

/// Labels that a Job gives its pods.
const JOB_NAMES: &[&str] = &["batch.kubernetes.io/job-name", "job-name"];
/// How long a generated end of a name is.
const GENERATED: usize = 5;

/// The name of a pod's workload; the pod's own if nothing made it.
pub(super) fn name(pod: &Pod) -> &str {
    let own = pod.meta.name.as_str();
    let label = |key: &str| {
        let found = pod.meta.labels.iter().find(|(known, _)| known == key);
        found.map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
    };
    if let Some(job) = JOB_NAMES.iter().find_map(|key| label(key)) {
        return job;
    }
    let generated = own.rsplit_once('-').filter(|(_, end)| end.len() == GENERATED).map(|(start, _)| start);
    let of_deployment = || generated?.strip_suffix(label("pod-template-hash")?)?.strip_suffix('-');
    let ordinal = || {
        let (start, end) = own.rsplit_once('-')?;
        let is_named = label("statefulset.kubernetes.io/pod-name") == Some(own);
        (is_named || label("apps.kubernetes.io/pod-index") == Some(end)).then_some(start)
    };
    let of_daemon_set = || label("controller-revision-hash").and(generated);
    let found = of_deployment().or_else(ordinal).or_else(of_daemon_set);
    found.filter(|name| !name.is_empty()).unwrap_or(own)
}

#[cfg(test)]
mod tests {
    use weir_grammar::tree::Object;
    use weir_grammar::{Limits, Reading};

    #[test]
    fn an_end_is_taken_off_where_a_label_proves_it() {
        let told = |name: &str, labels: &str| {
            let text = format!(
                "{{apiVersion: v1, kind: Pod, metadata: {{name: {name}, namespace: a, labels: {{{labels}}}}}}}"
            );
            let mut reading = Reading::default();
            weir_grammar::read(&mut reading, "pod.yaml", text.into_bytes(), &Limits::default());
            match reading.objects.as_slice() {
                [Object::Pod(pod)] => super::name(pod).to_owned(),
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(told("web-5d9f7c6b5-x2x4z", "pod-template-hash: 5d9f7c6b5"), "web");
        assert_eq!(told("web-5d9f7c6b5-x2x4z", "app: web"), "web-5d9f7c6b5-x2x4z", "nothing proves it");
        assert_eq!(told("db-0", "statefulset.kubernetes.io/pod-name: db-0"), "db");
        assert_eq!(told("db-11", "apps.kubernetes.io/pod-index: \"11\""), "db");
        assert_eq!(told("agent-x2x4z", "controller-revision-hash: 5d9f7c6b5"), "agent");
        assert_eq!(told("backup-28-x2x4z", "job-name: backup-28"), "backup-28");
    }
}
