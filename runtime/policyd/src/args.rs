//! What may be typed: the one table behind parsing and `--help`.
//!
//! Not here: what the words do (`commands`), what a configuration file may say (`config`).

use clap::{Args, Parser, Subcommand, ValueEnum};
use std::path::PathBuf;
use weir_runtime::source::Source;

/// Where a daemon listens unless told otherwise.
pub(crate) const SOCKET: &str = "/run/weir/policyd.sock";
/// Where a daemon keeps what a restart needs.
pub(crate) const STATE: &str = "/var/lib/weir";
/// Where programs and maps have their names.
pub(crate) const PINS: &str = "/sys/fs/bpf/weir";

/// Enforces network policy on this node, and tells what it does.
#[derive(Debug, Parser)]
#[command(name = "policyd", version, arg_required_else_help = true, after_help = EXIT_CODES)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

const EXIT_CODES: &str = "\
Results go to stdout, findings and the log to stderr.
Exit codes: 0 fine, 1 something is wrong with what was read or is in force, 2 the work could not be done.";

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Enforce the policies of a source, and follow its changes; ending it leaves enforcement in place
    Run(RunArgs),
    /// Tell what is in force, and what is wrong
    Status(StatusArgs),
    /// Print drops and connections as they happen, with the policy, rule and line that decided
    Monitor(MonitorArgs),
    /// Tell for each flow what the kernel's programs do with its first packet
    Verdict(VerdictArgs),
    /// Take everything out of the kernel: from then on nothing is enforced or balanced
    Cleanup(CleanupArgs),
}

#[derive(Args, Debug)]
#[command(after_long_help = CONFIG)]
pub(crate) struct RunArgs {
    /// Settings in YAML; what is given on the command line goes first
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,

    /// Where policies and the cluster come from: dir:PATH, a folder of manifests
    #[arg(long, value_name = "SOURCE")]
    pub(crate) source: Option<Source>,

    /// This node's name in the cluster; else NODE_NAME, else the host's name
    #[arg(long, value_name = "NODE", env = "NODE_NAME")]
    pub(crate) node: Option<String>,

    /// Where to listen for the other commands
    #[arg(long, value_name = "PATH")]
    pub(crate) socket: Option<PathBuf>,

    /// Where to keep what a restart needs
    #[arg(long, value_name = "DIR")]
    pub(crate) state: Option<PathBuf>,

    /// Where programs and maps get their names, in a BPF file system
    #[arg(long, value_name = "DIR")]
    pub(crate) pins: Option<PathBuf>,
}

/// What `policyd run --help` says of the file.
pub(crate) const CONFIG: &str = "\
A configuration file, with what holds where nothing is said:
  source: dir:PATH                 # must be said, here or on the command line
  node: NAME                       # the host's name
  socket: /run/weir/policyd.sock
  state: /var/lib/weir
  pins: /sys/fs/bpf/weir
  events:
    aggregation: flags             # none: every packet; interval: one in 5 s; flags: and SYN, FIN, RST
    dropsPerSecond: 256            # told per CPU; all are counted
  balancing:
    enabled: true                  # services reach their backends through this node
    mode: snat                     # from whom: the node; dsr: the client; hybrid: dsr for TCP alone
    dispatch: ipip                 # under dsr, a header around the packet; option: in it
    noBackend: reject              # a service that nobody serves is answered; drop: it is not
    devices:
      names: []                    # those with the node's InternalIP or a default route; without a
                                   # cluster, those with an address
      mode: auto                   # xdp where the driver has it, else tc
    sockets:
      enabled: true                # sockets of this node are balanced where they connect
      cgroup: PATH                 # the root of cgroup2
    ports: {first: 61000, last: 65535}  # of this node, that snat takes
    healthChecks: {address: any}   # where healthCheckNodePorts listen
    idleSeconds: 21600             # a connection that is idle for longer may move
  maps:                            # of a datapath that is made anew
    conntrackV4: 262144
    conntrackV6: 131072
    addresses: 1048576             # of each family
    interfaces: 4096               # pods on this node
    translations: 524288           # of balancing; a flow has two
    flows: 262144                  # on record while backends change
    nextHops: 65536                # backends and gateways
    socketServices: 262144         # sockets that were given a backend

The log's level is set by RUST_LOG, for example RUST_LOG=debug.";

#[derive(Args, Debug)]
pub(crate) struct SocketArg {
    /// Where the daemon listens
    #[arg(long, value_name = "PATH", default_value = SOCKET)]
    pub(crate) socket: PathBuf,
}

#[derive(Args, Debug)]
pub(crate) struct StatusArgs {
    #[command(flatten)]
    pub(crate) socket: SocketArg,

    /// Also packets by rule
    #[arg(long)]
    pub(crate) rules: bool,

    /// How to tell it
    #[arg(short = 'o', long, value_enum, default_value_t = Format::Text)]
    pub(crate) format: Format,
}

#[derive(Args, Debug)]
pub(crate) struct MonitorArgs {
    #[command(flatten)]
    pub(crate) socket: SocketArg,

    /// Drops alone
    #[arg(long)]
    pub(crate) drops: bool,

    /// Only what concerns this pod (namespace/pod) or node
    #[arg(long, value_name = "NAME")]
    pub(crate) of: Option<String>,

    /// Begin with so many of the newest events
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) last: usize,

    /// End after so many events
    #[arg(long, value_name = "N")]
    pub(crate) count: Option<u64>,

    /// How to tell them; json is one object a line
    #[arg(short = 'o', long, value_enum, default_value_t = Format::Text)]
    pub(crate) format: Format,
}

#[derive(Args, Debug)]
#[command(after_long_help = VERDICT)]
pub(crate) struct VerdictArgs {
    /// Flows, one JSON object a line as for `policyc verdict`; - for stdin
    #[arg(long, value_name = "FLOWS")]
    pub(crate) flows: PathBuf,

    /// Policies in place of those in force: a file, a folder, or - for stdin; may be repeated
    #[arg(short = 'f', long = "policies", value_name = "PATH", requires = "cluster")]
    pub(crate) policies: Vec<PathBuf>,

    /// The cluster as plain manifests; may be repeated. Policies in it count too
    #[arg(short = 'c', long = "cluster", value_name = "PATH")]
    pub(crate) cluster: Vec<PathBuf>,

    /// Answer as this node does
    #[arg(long, value_name = "NODE", requires = "cluster")]
    pub(crate) node: Option<String>,

    /// Addresses of DNS names, as for `policyc compile --fqdn`
    #[arg(long, value_name = "LOCK", requires = "cluster")]
    pub(crate) fqdn: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) socket: SocketArg,

    /// One JSON object a line is the only format
    #[arg(short = 'o', long, value_enum, default_value_t = VerdictFormat::Json)]
    pub(crate) format: VerdictFormat,
}

const VERDICT: &str = "\
Each side of a flow is a real packet through the programs, which leaves no trace.
Without -f and -c the daemon is asked, about the programs that it attached and the image in force.
With them the same programs are loaded beside it, attached nowhere, with an image of these policies; no daemon is needed.";

/// How verdicts are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum VerdictFormat {
    /// One JSON object a line
    Json,
}

#[derive(Args, Debug)]
pub(crate) struct CleanupArgs {
    #[command(flatten)]
    pub(crate) socket: SocketArg,

    /// Where programs and maps have their names
    #[arg(long, value_name = "DIR", default_value = PINS)]
    pub(crate) pins: PathBuf,

    /// Also forget what is kept for a restart
    #[arg(long)]
    pub(crate) all: bool,

    /// Where that is kept
    #[arg(long, value_name = "DIR", default_value = STATE)]
    pub(crate) state: PathBuf,
}

/// For people, or for programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people
    Text,
    /// JSON
    Json,
}

#[cfg(test)]
mod tests {
    use super::Cli;
    use clap::CommandFactory;

    #[test]
    fn the_table_is_sound() {
        Cli::command().debug_assert();
    }
}
