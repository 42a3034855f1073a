//! What may be typed: the one table behind parsing, `--help`, man pages and completions.
//!
//! Not here: what the words do (`commands`).

use clap::{Args, Parser, Subcommand, ValueEnum};
use std::path::PathBuf;
use weir_compiler::flow::protocol_named;
use weir_compiler::ir::protocol;
use weir_grammar::diagnostic::Code;

/// Checks, compiles and explains Kubernetes network policy, without a cluster.
#[derive(Debug, Parser)]
#[command(name = "policyc", version, arg_required_else_help = true, after_help = EXIT_CODES)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,

    /// When to colour; NO_COLOR is honoured
    #[arg(long, global = true, value_enum, value_name = "WHEN", default_value_t = Color::Auto, display_order = 900)]
    pub(crate) color: Color,
}

const EXIT_CODES: &str = "\
Results go to stdout, findings and progress to stderr.
Exit codes: 0 fine, 1 findings, 2 the work could not be done.";

/// When to colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Color {
    /// On a terminal
    Auto,
    /// Also into files and pipes
    Always,
    /// Never
    Never,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Validate policies: every problem in one run, with its place and what to write instead
    Check(CheckArgs),
    /// Compile policies and a cluster into one image
    Compile(CompileArgs),
    /// Check an image and tell what is in it
    Inspect(InspectArgs),
    /// Tell for each flow whether it passes, and which rule decided
    Verdict(VerdictArgs),
    /// Tell exactly what changes from one policy set to another: who may reach whom, and by which rule
    Diff(DiffArgs),
    /// Tell why a connection passes or not, the rule with file and line; or what a finding's code means
    Explain(ExplainArgs),
    /// Hold what is expected of policies against them: who gets another verdict, and which rule decides
    Test(TestArgs),
    /// Tell which recorded Hubble flows would break or open under these policies
    Replay(ReplayArgs),
    /// Draw who may talk to whom, as these policies have it
    Graph(GraphArgs),
    /// Tell what each frontend of each service does on each node
    Services(ServicesArgs),
    /// Write policies in the other way: as YAML manifests, or in the policy language
    Convert(ConvertArgs),
    /// Lay out files of the policy language as all of them are, in place
    Fmt(FmtArgs),
    /// Print a completion script for a shell
    Completions(CompletionsArgs),
    /// Print the man page, or write those of all commands into a folder
    Man(ManArgs),
}

/// Policies and the cluster they are for.
#[derive(Args, Debug)]
pub(crate) struct WorldArgs {
    /// Policies: a file, a folder (all *.yaml, *.yml, *.json, *.policy below it), or - for stdin; may be repeated
    #[arg(short = 'f', long = "policies", value_name = "PATH", required = true)]
    pub(crate) policies: Vec<PathBuf>,

    /// The cluster, as `kubectl get ns,no,po,svc,endpointslices,secrets -A -o yaml` tells it; a file, a
    /// folder, or - for stdin; may be repeated. Policies in it count too
    #[arg(short = 'c', long = "cluster", value_name = "PATH", required = true)]
    pub(crate) cluster: Vec<PathBuf>,
}

#[derive(Args, Debug)]
#[command(after_long_help = CHECK_FORMATS)]
pub(crate) struct CheckArgs {
    /// Policies: a file, a folder (all *.yaml, *.yml, *.json, *.policy below it), or - for stdin; may be repeated
    #[arg(short = 'f', long = "policies", value_name = "PATH", required = true)]
    pub(crate) policies: Vec<PathBuf>,

    /// The cluster as plain manifests; without it, what needs a cluster is not checked; may be repeated
    #[arg(short = 'c', long = "cluster", value_name = "PATH")]
    pub(crate) cluster: Vec<PathBuf>,

    /// How to tell what was found
    #[arg(short = 'o', long, value_enum, default_value_t = CheckFormat::Text)]
    pub(crate) format: CheckFormat,

    /// From which severity on findings are a failure
    #[arg(long, value_enum, value_name = "SEVERITY", default_value_t = FailOn::Error)]
    pub(crate) fail_on: FailOn,

    /// Also forecast what the policies cost: the image by part, and Cilium's policy maps by endpoint; as text or JSON
    #[arg(long, requires = "cluster")]
    pub(crate) cost: bool,
}

const CHECK_FORMATS: &str = "\
Formats:
  text    for people, on stderr
  json    an array on stdout; each finding is
            {\"code\": \"E308\", \"severity\": \"error\"|\"warning\", \"message\", \"file\", \"line\", \"column\",
             \"end_line\", \"end_column\", \"label\", \"help\": string|null, \"object\": string|null,
             \"related\": [{\"file\", \"line\", \"column\", \"end_line\", \"end_column\", \"label\"}]}
          lines and columns count from 1, columns in characters; the end is one past the last character
          with --cost an object, {\"findings\": that array, \"cost\": null beside errors, else
            {\"image\": {\"bytes\", \"kernel_bytes\", \"sections\": {name: bytes}},
             \"policies\": [{\"kind\", \"policy\", \"file\", \"line\", \"prefixes\", \"rules\", \"port_ranges\"}],
             \"cilium\": {\"map_size\", \"more\", \"maps\": [{\"endpoint\", \"endpoints\", \"entries\", \"ingress\", \"egress\", \"exact\",
               \"rules\": [{\"direction\", \"kind\", \"policy\", \"rule\", \"file\", \"line\", \"entries\"}]}]}}}
          the costliest first in every list; docs/guide/cost.md tells what is counted
  sarif   SARIF 2.1.0 on stdout, for code scanning
  junit   JUnit XML on stdout, for test reports
  github  workflow commands on stdout, shown as annotations of a pull request

Files and folders may hold policies and cluster objects mixed.
Exit codes: 0 fine, 1 findings, 2 the work could not be done.";

/// How `check` tells what it found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum CheckFormat {
    /// For people
    Text,
    /// An array of findings
    Json,
    /// SARIF 2.1.0
    Sarif,
    /// JUnit XML
    Junit,
    /// GitHub workflow commands
    Github,
}

/// From which severity on findings are a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum FailOn {
    /// Errors only
    Error,
    /// Warnings too
    Warning,
}

/// For people, or for programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people
    Text,
    /// One JSON object
    Json,
}

#[derive(Args, Debug)]
pub(crate) struct CompileArgs {
    #[command(flatten)]
    pub(crate) world: WorldArgs,

    #[command(flatten)]
    pub(crate) locks: LockArgs,

    /// Only the policy of this node's endpoints
    #[arg(long, value_name = "NODE")]
    pub(crate) node: Option<String>,

    /// Where to write the image; it is replaced in one step
    #[arg(long, value_name = "FILE")]
    pub(crate) output: PathBuf,

    /// Also write the service image of the same node here
    #[arg(long, value_name = "FILE")]
    pub(crate) services: Option<PathBuf>,

    /// How to tell what the image holds
    #[arg(short = 'o', long, value_enum, default_value_t = Format::Text)]
    pub(crate) format: Format,
}

/// What is kept from run to run.
#[derive(Args, Debug)]
pub(crate) struct LockArgs {
    /// Identity numbers, kept from compile to compile; `compile` makes a file that is not there yet
    #[arg(long, value_name = "LOCK")]
    pub(crate) identities: Option<PathBuf>,

    /// Addresses of DNS names: {"version": 1, "names": {"api.example.com": ["192.0.2.1"]}}
    #[arg(long, value_name = "LOCK")]
    pub(crate) fqdn: Option<PathBuf>,
}

#[derive(Args, Debug)]
pub(crate) struct InspectArgs {
    /// The image
    #[arg(value_name = "FILE")]
    pub(crate) image: PathBuf,

    /// How to tell what is in it
    #[arg(short = 'o', long, value_enum, default_value_t = Format::Text)]
    pub(crate) format: Format,
}

#[derive(Args, Debug)]
#[command(after_long_help = FLOWS)]
pub(crate) struct VerdictArgs {
    /// Policies: a file, a folder (all *.yaml, *.yml, *.json, *.policy below it), or - for stdin; may be repeated
    #[arg(short = 'f', long = "policies", value_name = "PATH", required_unless_present = "image")]
    pub(crate) policies: Vec<PathBuf>,

    /// An image in place of policies
    #[arg(long, value_name = "FILE", conflicts_with_all = ["policies", "engine", "node", "identities"])]
    pub(crate) image: Option<PathBuf>,

    /// The cluster as plain manifests; may be repeated
    #[arg(short = 'c', long = "cluster", value_name = "PATH", required = true)]
    pub(crate) cluster: Vec<PathBuf>,

    /// Flows, one JSON object a line; - for stdin
    #[arg(long, value_name = "FLOWS")]
    pub(crate) flows: PathBuf,

    /// Who answers: the compiled image, or the slow evaluator that specifies the answer
    #[arg(long, value_enum, default_value_t = EngineName::Image)]
    pub(crate) engine: EngineName,

    /// Answer as this node's image does
    #[arg(long, value_name = "NODE")]
    pub(crate) node: Option<String>,

    #[command(flatten)]
    pub(crate) locks: LockArgs,

    /// One JSON object a line is the only format
    #[arg(short = 'o', long, value_enum, default_value_t = VerdictFormat::Json)]
    pub(crate) format: VerdictFormat,
}

const FLOWS: &str = "\
A flow is one line:
  {\"id\": \"f1\", \"src\": \"shop/web\", \"dst\": \"203.0.113.9\", \"proto\": \"TCP\", \"dport\": 443, \"direction\": \"both\"}
src, dst   namespace/pod, or an address
proto      TCP, UDP, SCTP; or ICMP, ICMPv6 with \"icmp_type\" in place of \"dport\"
direction  ingress (only the destination's policy), egress (only the source's), both
http       {\"method\", \"path\", \"host\", \"headers\"}; dns {\"query\"}; fqdn [names of the destination's address]

The answer is one line per flow, in order: id, verdict (allow, deny, redirect-allow, redirect-deny),
by (the rules that decided, with file and line) and reason.";

#[derive(Args, Debug)]
#[command(after_long_help = RECORDED)]
pub(crate) struct ReplayArgs {
    #[command(flatten)]
    pub(crate) world: WorldArgs,

    /// What `hubble observe -o jsonpb` wrote; - for stdin
    #[arg(long, value_name = "FLOWS")]
    pub(crate) flows: PathBuf,

    #[command(flatten)]
    pub(crate) locks: LockArgs,

    /// How to tell what changes
    #[arg(short = 'o', long, value_enum, default_value_t = ReplayFormat::Text)]
    pub(crate) format: ReplayFormat,
}

const RECORDED: &str = "\
A flow that was forwarded and would be denied breaks; one that policy dropped and would pass opens.
Replies, drops for other reasons and what is no flow are counted and left out. A recorded pod that is
gone is judged as a pod of its namespace with the same labels. Exit code 1 if anything changes.";

#[derive(Args, Debug)]
#[command(after_long_help = TESTED)]
pub(crate) struct TestArgs {
    /// Exit with 0 where nothing is expected
    #[arg(long)]
    pub(crate) allow_none: bool,

    /// Policies and expectations: files and folders (all *.yaml, *.yml, *.json, *.policy below them), or - for stdin
    #[arg(value_name = "PATH", required = true)]
    pub(crate) paths: Vec<PathBuf>,

    /// The cluster as plain manifests, where it does not stand beside the policies; may be repeated
    #[arg(short = 'c', long = "cluster", value_name = "PATH")]
    pub(crate) cluster: Vec<PathBuf>,

    /// Also tell which rules no expectation exercises
    #[arg(long)]
    pub(crate) coverage: bool,

    /// A rule that no expectation exercises is a failure
    #[arg(long)]
    pub(crate) fail_uncovered: bool,

    #[command(flatten)]
    pub(crate) locks: LockArgs,

    /// How to tell what became of the expectations
    #[arg(short = 'o', long, value_enum, default_value_t = TestFormat::Text)]
    pub(crate) format: TestFormat,
}

const TESTED: &str = "\
Expectations stand in a `.policy` file, a line each,
  expect {
      shop/frontend -> shop/web tcp/8080 GET /api/v1/x  allow
      world         -> shop/web tcp/8080                deny
  }
or in an object of apiVersion weir.dev/v1 and kind Expectations. One about many (pods, a block, `world`, ports)
holds only if every one of them gets the verdict. See docs/guide/testing.md.

Formats:
  text    failures and a summary on stdout
  json    one object on stdout: held, failed, and for each expectation file, line, text, outcome
          (holds, fails, nobody, too-many) and, if it fails, the connection and the rules that decided
  junit   JUnit XML on stdout, a case for each expectation
  github  workflow commands on stdout: at the expectation, and at the rule that decided

Exit codes: 0 all hold, 1 some do not or nothing is expected, 2 the work could not be done.";

/// How the outcome of expectations is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum TestFormat {
    /// For people
    Text,
    /// One JSON object
    Json,
    /// JUnit XML
    Junit,
    /// GitHub workflow commands
    Github,
}

#[derive(Args, Debug)]
#[command(after_help = SERVED)]
pub(crate) struct ServicesArgs {
    /// The cluster as plain manifests; a file, a folder, or - for stdin; may be repeated
    #[arg(short = 'c', long = "cluster", value_name = "PATH", required = true)]
    pub(crate) cluster: Vec<PathBuf>,

    /// Only what this node does
    #[arg(long, value_name = "NODE")]
    pub(crate) node: Option<String>,

    /// How to tell it
    #[arg(short = 'o', long, value_enum, default_value_t = Format::Text)]
    pub(crate) format: Format,
}

const SERVED: &str = "\
Of each address and port: from where it is reached, on which nodes, and which backends serve it there, or why nobody
does. Nodes on which it does the same are together.";

/// How changes are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ReplayFormat {
    /// A line for each pair, the most frequent first
    Text,
    /// One object on stdout
    Json,
}

#[derive(Args, Debug)]
#[command(after_long_help = GRAPH)]
pub(crate) struct GraphArgs {
    #[command(flatten)]
    pub(crate) world: WorldArgs,

    /// How to draw it, on stdout
    #[arg(short = 'o', long, value_enum, default_value_t = GraphFormat::Svg)]
    pub(crate) format: GraphFormat,

    /// Only the workloads of this namespace, and whom rules let them talk to; may be repeated
    #[arg(short = 'n', long = "namespace", value_name = "NS")]
    pub(crate) namespaces: Vec<String>,

    /// Only this workload, and whom rules let it talk to
    #[arg(long, value_name = "NS/WORKLOAD", value_parser = parse_workload)]
    pub(crate) focus: Option<(String, String)>,

    /// Also mark what deny rules deny
    #[arg(long)]
    pub(crate) denied: bool,

    #[command(flatten)]
    pub(crate) locks: LockArgs,
}

const GRAPH: &str = "\
svg  a table: connections go from the row's workload to the column's, on the ports of the key
dot  a graph for Graphviz: namespaces are boxes, an edge of all of a box's workloads is drawn from or to the box
Both tell the same: what passes the policies of both sides. The pods of one workload that are treated
alike are one. A workload is open in a direction if what no rule names passes; between two that are open
everything passes, which the table shades and the graph leaves out. Titles of cells and edges name the rules.
At most 200 workloads are drawn; --namespace and --focus choose among more.";

/// How a graph is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum GraphFormat {
    /// A picture that needs nothing else
    Svg,
    /// For Graphviz
    Dot,
}

/// Who answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum EngineName {
    /// The compiled image
    Image,
    /// The reference evaluator
    Reference,
}

/// How verdicts are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum VerdictFormat {
    /// One JSON object a line
    Json,
}

#[derive(Args, Debug)]
#[command(after_help = EXPLAIN_EXAMPLES, override_usage = EXPLAIN_USAGE)]
pub(crate) struct ExplainArgs {
    /// A finding's code: what it means, an example, and what to write instead
    #[arg(value_name = "CODE", value_parser = parse_code, conflicts_with_all = ["list", "ConnectionArgs"])]
    pub(crate) code: Option<Code>,

    /// Every code with its title
    #[arg(long, conflicts_with = "ConnectionArgs")]
    pub(crate) list: bool,

    #[command(flatten)]
    pub(crate) connection: Option<ConnectionArgs>,
}

fn parse_code(text: &str) -> Result<Code, String> {
    let unknown = || "there is no such code; `policyc explain --list` tells all of them".to_owned();
    Code::named(text).ok_or_else(unknown)
}

/// A connection, and the world that it is in.
#[derive(Args, Debug)]
pub(crate) struct ConnectionArgs {
    /// Policies: a file, a folder (all *.yaml, *.yml, *.json, *.policy below it), or - for stdin; may be repeated
    #[arg(short = 'f', long = "policies", value_name = "PATH", required = false, required_unless_present_any = ["code", "list"])]
    pub(crate) policies: Vec<PathBuf>,

    /// The cluster, as for `compile`; may be repeated
    #[arg(short = 'c', long = "cluster", value_name = "PATH", required = false, required_unless_present_any = ["code", "list"])]
    pub(crate) cluster: Vec<PathBuf>,

    /// Who opens the connection: namespace/pod, a node's name, or an address
    #[arg(long, value_name = "PARTY", required = false, required_unless_present_any = ["code", "list"])]
    pub(crate) from: String,

    /// To whom
    #[arg(long, value_name = "PARTY", required = false, required_unless_present_any = ["code", "list"])]
    pub(crate) to: String,

    /// Destination port after service translation: 443/tcp, 53/udp, icmp/8 (the type), icmpv6/128
    #[arg(long, value_name = "PORT", value_parser = ConnectionPort::parse, required = false, required_unless_present_any = ["code", "list"])]
    pub(crate) port: ConnectionPort,

    /// Whose policies count
    #[arg(long, value_enum, default_value_t = Sides::Both)]
    pub(crate) direction: Sides,

    /// An HTTP request sent over it: 'GET /path'
    #[arg(long, value_name = "REQUEST", conflicts_with = "dns")]
    pub(crate) http: Option<String>,

    /// The request's host
    #[arg(long, value_name = "HOST", requires = "http")]
    pub(crate) host: Option<String>,

    /// A header of the request, 'Name: value'; may be repeated
    #[arg(long = "header", value_name = "HEADER", requires = "http", value_parser = parse_header)]
    pub(crate) headers: Vec<(String, String)>,

    /// A DNS query sent over it
    #[arg(long, value_name = "NAME")]
    pub(crate) dns: Option<String>,

    /// A name under which the source learnt the destination's address; may be repeated
    #[arg(long = "fqdn", value_name = "NAME")]
    pub(crate) names: Vec<String>,

    /// Addresses of DNS names, as for `compile --fqdn`
    #[arg(long, value_name = "LOCK")]
    pub(crate) fqdn_lock: Option<PathBuf>,

    /// How to tell it
    #[arg(short = 'o', long, value_enum, default_value_t = Format::Text)]
    pub(crate) format: Format,
}

const EXPLAIN_USAGE: &str = "\
policyc explain -f PATH -c PATH --from PARTY --to PARTY --port PORT [OPTIONS]
       policyc explain CODE
       policyc explain --list";

const EXPLAIN_EXAMPLES: &str = "\
Examples:
  policyc explain E312
  policyc explain -f policies -c cluster.yaml --from shop/web --to shop/db --port 5432/tcp
  policyc explain -f policies -c cluster.yaml --from shop/web --to shop/api --port 80/tcp --http 'GET /v1'
  policyc explain -f policies -c cluster.yaml --from shop/api --to 192.0.2.7 --port 443/tcp --fqdn api.example.com";

/// Whose policies count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Sides {
    /// The source's, then the destination's
    Both,
    /// The destination's
    Ingress,
    /// The source's
    Egress,
}

/// An IP protocol and a port of it; for ICMP the type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ConnectionPort {
    /// IP protocol.
    pub(crate) protocol: u8,
    /// Port or type.
    pub(crate) number: u16,
}

impl ConnectionPort {
    /// `443/tcp`, `tcp/443`, `443` (TCP), `icmp/8`.
    fn parse(text: &str) -> Result<Self, String> {
        let (first, second) = text.split_once('/').unwrap_or((text, "tcp"));
        let (number, name) = if first.starts_with(|digit: char| digit.is_ascii_digit()) {
            (first, second)
        } else {
            (second, first)
        };
        let protocol = protocol_named(name)
            .ok_or_else(|| format!("`{name}` is not a protocol: tcp, udp, sctp, icmp or icmpv6"))?;
        let number: u16 =
            number.parse().map_err(|_| format!("`{number}` is not a number from 0 to 65535"))?;
        if matches!(protocol, protocol::ICMP | protocol::ICMPV6) && number > 255 {
            return Err(format!("`{number}` is not an ICMP type, a number from 0 to 255"));
        }
        Ok(ConnectionPort { protocol, number })
    }
}

fn parse_workload(text: &str) -> Result<(String, String), String> {
    let (namespace, name) = text.split_once('/').ok_or("a workload is `namespace/name`")?;
    Ok((namespace.to_owned(), name.to_owned()))
}

fn parse_header(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once(':').ok_or("a header is `Name: value`")?;
    Ok((name.trim().to_owned(), value.trim().to_owned()))
}

#[derive(Args, Debug)]
#[command(after_long_help = DIFF_NOTES)]
pub(crate) struct DiffArgs {
    /// Policies before: a file, a folder, - for stdin, or git:REVISION:PATH, such as git:main:policies/; may be
    /// repeated
    #[arg(long, value_name = "PATH", required = true)]
    pub(crate) from: Vec<PathBuf>,

    /// Policies after; may be repeated
    #[arg(long, value_name = "PATH", required = true)]
    pub(crate) to: Vec<PathBuf>,

    /// The cluster as plain manifests; may be repeated. Policies and CIDR groups in it count on both sides
    #[arg(short = 'c', long = "cluster", value_name = "PATH", required = true)]
    pub(crate) cluster: Vec<PathBuf>,

    #[command(flatten)]
    pub(crate) locks: LockArgs,

    /// Which differences make the exit code 1
    #[arg(long, value_enum, default_value_t = FailOnChange::Any)]
    pub(crate) fail_on: FailOnChange,

    /// Exit with 0 though there are differences
    #[arg(long, conflicts_with = "fail_on")]
    pub(crate) exit_zero: bool,

    /// How to tell what changes
    #[arg(short = 'o', long, value_enum, default_value_t = DiffFormat::Text)]
    pub(crate) format: DiffFormat,
}

/// Which differences fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum FailOnChange {
    /// All of them
    Any,
    /// What lets anything pass that did not
    Opened,
}

/// How differences are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum DiffFormat {
    /// For people
    Text,
    /// One JSON object
    Json,
    /// Annotations for a pull request, each at the rule that decides
    Github,
}

const DIFF_NOTES: &str = "\
Every verdict is compared: each pod and node, in each direction, towards every pod, node, entity
and address, on every port and ICMP type, with and without the DNS names that rules select; for
connections that are redirected, the request rules by content. Which rule decides is told, and
makes no difference by itself. Each direction is compared by itself; where the policies of the
other end deny all of it, that is told.

Of --from and --to, policies and CIDR groups count; whatever else is there is left out. A revision
is read by git, and the work tree is not touched; PATH is from the top of the repository, or
begins with ./

JSON: docs/schemas/diff.schema.json
Exit codes: 0 no difference, 1 differences or findings, 2 the work could not be done.";

#[derive(Args, Debug)]
#[command(after_help = CONVERT_KEEPS)]
pub(crate) struct ConvertArgs {
    /// Policies: a file, a folder (all *.yaml, *.yml, *.json, *.policy below it), or - for stdin (YAML); may be
    /// repeated
    #[arg(short = 'f', long = "policies", value_name = "PATH", required = true)]
    pub(crate) policies: Vec<PathBuf>,

    /// In which way to write them, on stdout
    #[arg(long, value_enum, value_name = "WAY")]
    pub(crate) to: Way,
}

const CONVERT_KEEPS: &str = "\
The result means exactly what the input does: it is read again and compared before it is printed.
Not kept: comments, the names of sets, annotations, and how values were laid out.
Objects that are no policy and no CIDR group are left out, and counted on stderr.";

/// The ways to write a policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Way {
    /// Kubernetes manifests
    Yaml,
    /// The policy language
    Policy,
}

#[derive(Args, Debug)]
#[command(after_help = FMT_KEEPS)]
pub(crate) struct FmtArgs {
    /// A .policy file, a folder (all *.policy below it), or - for stdin, laid out on stdout; may be repeated
    #[arg(value_name = "PATH", required = true)]
    pub(crate) paths: Vec<PathBuf>,

    /// Write nothing; list the files that would change, and exit with 1 if there are any
    #[arg(long)]
    pub(crate) check: bool,

    /// The same, and show what would change
    #[arg(long)]
    pub(crate) diff: bool,
}

const FMT_KEEPS: &str = "\
Every comment is kept, and nothing that is said changes: the result is read again and compared
before it is written. Files are replaced in one step. One that is not well-formed is told and
left alone; links in folders are passed over.";

#[derive(Args, Debug)]
pub(crate) struct CompletionsArgs {
    /// The shell
    #[arg(value_enum, value_name = "SHELL")]
    pub(crate) shell: clap_complete::Shell,
}

#[derive(Args, Debug)]
pub(crate) struct ManArgs {
    /// Write the pages of all commands here
    #[arg(value_name = "DIR")]
    pub(crate) folder: Option<PathBuf>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_table_is_sound() {
        Cli::command().debug_assert();
    }

    /// A connection needs all of its arguments; a code needs none of them and takes none.
    #[test]
    fn a_connection_or_a_code_is_explained() {
        let parse =
            |words: &str| Cli::try_parse_from(words.split(' ')).map(|_| ()).map_err(|told| told.kind());
        let connection = "policyc explain -f p -c c --from a --to b --port 80";
        for right in [connection, "policyc explain e312 --color never", "policyc explain --list"] {
            assert_eq!(parse(right), Ok(()), "{right}");
        }
        let missing = Err(clap::error::ErrorKind::MissingRequiredArgument);
        assert_eq!(parse("policyc explain"), missing);
        for argument in ["-f p ", "-c c ", "--from a ", "--to b ", "--port 80"] {
            assert_eq!(parse(connection.replace(argument, "").trim()), missing, "{argument}");
        }
        for wrong in ["E312 -f p", "E312 --port 80", "E312 --list", "--list --to b", "E312 --http /"] {
            let conflict = parse(&format!("policyc explain {wrong}"));
            assert_eq!(conflict, Err(clap::error::ErrorKind::ArgumentConflict), "{wrong}");
        }
        assert_eq!(parse("policyc explain E999"), Err(clap::error::ErrorKind::ValueValidation));
    }

    #[test]
    fn ports_are_read_either_way_round() {
        let port = |text| ConnectionPort::parse(text).map(|port| (port.protocol, port.number));
        assert_eq!(port("443/tcp"), Ok((6, 443)));
        assert_eq!(port("UDP/53"), Ok((17, 53)));
        assert_eq!(port("80"), Ok((6, 80)));
        assert_eq!(port("icmp/8"), Ok((1, 8)));
        assert_eq!(port("128/icmpv6"), Ok((58, 128)));
        for wrong in ["", "http", "443/xyz", "65536/tcp", "icmp/256", "tcp/", "/", "icmp"] {
            assert!(port(wrong).is_err(), "{wrong}");
        }
    }
}
