//! The table of diagnostic codes. A code, once released, never changes its meaning.
//!
//! Each has a page, `docs/codes/CODE.md`, which `policyc explain CODE` prints: what is wrong, why it is bad, an example,
//! and what to write instead. What is said there is not said again here.
//!
//! E1xx text, YAML and the policy language, E2xx shape of objects, E3xx meaning of one policy, E4xx meaning of the
//! whole set, E5xx limits of the image, W6xx surprises, 7xx expectations.

use super::Severity;

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $text:literal, $title:literal;)*) => {
        /// A stable diagnostic code.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Code { $($(#[$doc])* #[doc = concat!("`", $text, "`: ", $title, ".")] $name,)* }

        impl Code {
            /// Every code, in order.
            pub const ALL: &[Code] = &[$(Code::$name,)*];

            /// The code as printed, such as `E103`.
            pub const fn as_str(self) -> &'static str { match self { $(Code::$name => $text,)* } }

            /// A short title for lists of rules (SARIF, documentation).
            pub const fn title(self) -> &'static str { match self { $(Code::$name => $title,)* } }

            /// Its page, in Markdown.
            pub const fn page(self) -> &'static str {
                match self { $(Code::$name => include_str!(concat!("../../../docs/codes/", $text, ".md")),)* }
            }
        }
    };
}

codes! {
    NotUtf8 = "E101", "the file is not UTF-8 text";
    Syntax = "E102", "the file is not well-formed YAML";
    TooDeep = "E103", "values are nested too deeply";
    TooLarge = "E104", "the input exceeds a size limit";
    AliasExpansion = "E105", "aliases expand to too many values";
    ForeignTag = "E106", "a tag has no place in a manifest";
    DuplicateKey = "E107", "a key is given twice";
    KeyNotText = "E108", "a mapping key is not text";
    MoreErrors = "E109", "more errors than are shown";
    PolicySyntax = "E110", "not well-formed policy language";
    UnknownWord = "E111", "no statement begins so";
    SetName = "E112", "no such set, or no name for one";
    Misplaced = "E113", "not possible in this kind of policy";
    Include = "E114", "a file that is included cannot be read";

    NotAnObject = "E201", "the document is not a Kubernetes object";
    ApiVersion = "E202", "the kind does not exist in this API version";
    UnsupportedKind = "E203", "a kind of policy that Weir does not enforce";
    UnknownField = "E204", "the field does not exist here";
    MissingField = "E205", "a required field is missing";
    WrongType = "E206", "the value has the wrong type";
    ObjectName = "E207", "the name of the object is not valid";
    DuplicateObject = "E208", "an object is defined twice";
    UnsupportedField = "E209", "a field that Weir does not implement";
    RemovedField = "E210", "a field that the API has removed";
    NamespaceScope = "E211", "the object's namespace does not fit its scope";

    SelectorChoice = "E301", "a rule needs exactly one of endpointSelector and nodeSelector";
    EmptyRule = "E302", "a policy has no rules at all";
    LabelKey = "E303", "not a valid label key";
    LabelValue = "E304", "not a valid label value";
    SelectorOperator = "E305", "not a label-selector operator";
    SelectorValues = "E306", "the operator's values do not fit";
    PeerMix = "E307", "one rule mixes kinds of peers";
    Cidr = "E308", "not a CIDR";
    CidrExcept = "E309", "an exception lies outside its block";
    CidrSource = "E310", "a CIDR entry needs exactly one source";
    Entity = "E311", "no such entity";
    Port = "E312", "not a port";
    PortRange = "E313", "not a port range";
    Protocol = "E314", "no such transport protocol";
    TooMany = "E315", "a list is longer than the API allows";
    L7Protocol = "E316", "the request rules do not fit the port's protocol";
    L7Mix = "E317", "one port list has two kinds of request rules";
    L7Port = "E318", "request rules need a definite port";
    L7Place = "E319", "request rules have no place here";
    Regex = "E320", "not a regular expression";
    Header = "E321", "not a header match";
    Fqdn = "E322", "not a DNS name or pattern";
    FqdnChoice = "E323", "exactly one of matchName and matchPattern";
    Icmp = "E324", "not an ICMP type";
    IcmpAndPorts = "E325", "icmps and toPorts exclude each other";
    PeerChoice = "E326", "a peer needs ipBlock or selectors, not both";
    PolicyType = "E327", "no such policy type";
    HostPolicy = "E328", "not possible in a policy for nodes";
    ServiceReference = "E329", "not a reference to a service";
    LogValue = "E330", "not a log value";
    Tls = "E331", "not a TLS context";
    Authentication = "E332", "no such authentication mode";
    Expectation = "E333", "not an expectation";
    ServiceField = "E334", "a field of a service has no such value";

    L7Conflict = "E401", "HTTP and DNS rules meet on one peer and port";
    UnknownGroup = "E402", "no such CIDR group";
    LockFile = "E403", "the lock file does not fit";
    UnknownNode = "E404", "no such node in the cluster";
    AddressClash = "E405", "two objects claim one address";

    ImageTooLarge = "E501", "the image would exceed its size limit";
    TooManyClasses = "E502", "the policies tell apart too many peers or ports";
    TooManyIdentities = "E503", "the cluster has more identities than the image can number";
    TooManyBackends = "E504", "a service has more backends than a table can hold";

    SelectsNothing = "W601", "the policy selects no endpoint";
    NeverMatches = "W602", "the rule can never match";
    IsolatesAll = "W603", "an empty rule isolates";
    EmptyPeers = "W604", "an empty peer list allows nobody";
    CidrCoversPods = "W605", "a CIDR covers addresses of pods or nodes";
    Shadowed = "W606", "the rule is shadowed";
    FqdnWithoutDns = "W607", "toFQDNs without a DNS rule";
    CiliumDiffers = "W608", "Cilium decides otherwise here";
    SkippedKind = "W609", "an object that is not policy was skipped";
    HostBits = "W610", "a CIDR has host bits set";
    NamespaceOverridden = "W611", "a namespace in the subject selector is overridden";
    UnknownService = "W612", "no such service in the cluster";
    EmptyInput = "W613", "the input holds no policy";
    NoDefaultDeny = "W614", "request rules only watch without default deny";
    UnknownSecret = "W615", "no such secret in the cluster";
    EndPortIgnored = "W616", "an endPort has no effect";
    MoreWarnings = "W617", "more warnings than are shown";
    MapOverflow = "W618", "a policy map of Cilium would overflow";
    IsolatesNothing = "W619", "isolation without a rule";
    ServiceAnnotation = "W620", "an annotation of a service has no effect";
    FrontendClash = "W621", "two services claim one address and port";
    TargetPortName = "W622", "no pod has the port that a service leads to";
    NobodyBehind = "W623", "nobody is behind a service";
    AddressOnlyAsked = "W624", "an address is asked for, and not given";
    SctpPortChanges = "W625", "SCTP would have to be given another port";

    ExpectationFails = "E701", "an expectation does not hold";
    ExpectationOfNobody = "E702", "an expectation is about nobody";
    NoExpectations = "E703", "nothing is expected";
    Unexercised = "W704", "a rule that no expectation exercises";
}

impl Code {
    /// The severity that belongs to the code: its first letter.
    pub const fn severity(self) -> Severity {
        if self.as_str().as_bytes()[0] == b'W' { Severity::Warning } else { Severity::Error }
    }

    /// The code that is printed so, in letters of any size.
    pub fn named(text: &str) -> Option<Code> {
        Code::ALL.iter().copied().find(|code| code.as_str().eq_ignore_ascii_case(text))
    }

    /// What its page says before the example: what is wrong, and why it is bad.
    pub fn description(self) -> &'static str {
        let text = self.page().split_once("\n\n").map_or("", |(_, text)| text);
        text.split("\n## ").next().unwrap_or("").trim()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A page has its code and title as its heading, a description, an example, and what to write instead.
    #[test]
    fn every_page_has_its_parts() {
        for &code in Code::ALL {
            let heading = format!("# {} {}\n\n", code.as_str(), code.title());
            assert!(code.page().starts_with(&heading), "{heading}");
            let parts: Vec<&str> = code.page().lines().filter(|line| line.starts_with("## ")).collect();
            assert_eq!(parts, ["## Example", "## Instead"], "{heading}");
            assert!(code.description().len() > 40, "{heading}");
            assert!(code.page().lines().all(|line| line.trim_end() == line), "{heading}");
            assert_eq!(Code::named(&code.as_str().to_lowercase()), Some(code));
        }
        assert_eq!(Code::named("E999"), None);
    }
}
