//! Which of a policy's four sections a rule stands in; what it may say depends on it.

/// A section of a Cilium policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Section {
    /// `ingress` or `ingressDeny`.
    pub(crate) ingress: bool,
    /// `ingressDeny` or `egressDeny`.
    pub(crate) deny: bool,
    /// The policy is for nodes (`nodeSelector`).
    pub(crate) nodes: bool,
    /// The policy says that it isolates this direction.
    pub(crate) isolates: bool,
}

impl Section {
    /// The section's field.
    pub(crate) fn field(self) -> &'static str {
        match (self.ingress, self.deny) {
            (true, false) => "ingress",
            (true, true) => "ingressDeny",
            (false, false) => "egress",
            (false, true) => "egressDeny",
        }
    }
}
