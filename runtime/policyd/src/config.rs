//! What a configuration file may say, and what holds where it and the command line say nothing.
//!
//! An unknown field is refused by name: a setting that does nothing would be believed.

mod balancing;

use crate::args::{PINS, RunArgs, SOCKET, STATE};
use anyhow::{Context, bail};
use balancing::Balancing;
pub(crate) use balancing::{overlapping_ports, root_of_cgroups};
use serde::Deserialize;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use weir_abi::state::Aggregation;
use weir_runtime::balancer::BalancerOptions;
use weir_runtime::datapath::Options;
use weir_runtime::source::Source;

/// Bytes of a configuration file, at most.
const LARGEST: u64 = 1 << 20;

/// The file.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct Config {
    source: Option<String>,
    node: Option<String>,
    socket: Option<PathBuf>,
    state: Option<PathBuf>,
    pins: Option<PathBuf>,
    events: Events,
    balancing: Balancing,
    maps: Maps,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct Events {
    aggregation: Option<String>,
    drops_per_second: Option<u32>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct Maps {
    conntrack_v4: Option<u32>,
    conntrack_v6: Option<u32>,
    addresses: Option<u32>,
    interfaces: Option<u32>,
    translations: Option<u32>,
    flows: Option<u32>,
    next_hops: Option<u32>,
    socket_services: Option<u32>,
}

/// What a daemon runs with.
#[derive(Debug)]
pub(crate) struct Configured {
    pub(crate) source: Source,
    pub(crate) node: String,
    pub(crate) state: PathBuf,
    pub(crate) socket: PathBuf,
    pub(crate) options: Options,
    /// `None`: services are not balanced.
    pub(crate) balancing: Option<ConfiguredBalancing>,
}

/// How services are balanced.
#[derive(Debug)]
pub(crate) struct ConfiguredBalancing {
    pub(crate) settings: weir_runtime::balancing::Settings,
    pub(crate) options: BalancerOptions,
}

/// Joins the command line, the file and what holds otherwise.
pub(crate) fn configured(args: &RunArgs) -> anyhow::Result<Configured> {
    let config = match &args.config {
        Some(path) => read(path)?,
        None => Config::default(),
    };
    let source = match (&args.source, &config.source) {
        (Some(source), _) => source.clone(),
        (None, Some(text)) => text.parse::<Source>().context("source")?,
        (None, None) => bail!("there is no source: say `--source dir:PATH`"),
    };
    let node = match args.node.clone().or(config.node) {
        Some(node) => node,
        None => host_name().context("this host has no name; say `--node NAME`")?,
    };
    let path = |given: &Option<PathBuf>, written: Option<PathBuf>, otherwise: &str| {
        given.clone().or(written).unwrap_or_else(|| PathBuf::from(otherwise))
    };
    let pin_root = path(&args.pins, config.pins, PINS);
    let balancing = config.balancing.configured(&pin_root, &config.maps)?;
    let usual = Options::default();
    let options = Options {
        pin_root,
        aggregation: match config.events.aggregation {
            Some(name) => named("events.aggregation", &name, Aggregation::ALL, Aggregation::as_str)?,
            None => usual.aggregation,
        },
        drops_per_second: config.events.drops_per_second.unwrap_or(usual.drops_per_second),
        conntrack_v4: size("conntrackV4", config.maps.conntrack_v4, usual.conntrack_v4)?,
        conntrack_v6: size("conntrackV6", config.maps.conntrack_v6, usual.conntrack_v6)?,
        addresses: size("addresses", config.maps.addresses, usual.addresses)?,
        interfaces: size("interfaces", config.maps.interfaces, usual.interfaces)?,
    };
    let (state, socket) = (path(&args.state, config.state, STATE), path(&args.socket, config.socket, SOCKET));
    Ok(Configured { source, node, state, socket, options, balancing })
}

fn read(path: &Path) -> anyhow::Result<Config> {
    let told = || format!("cannot read {}", path.display());
    let mut text = String::new();
    File::open(path).with_context(told)?.take(LARGEST + 1).read_to_string(&mut text).with_context(told)?;
    if text.len() as u64 > LARGEST {
        bail!("{} is larger than {LARGEST} bytes", path.display());
    }
    serde_saphyr::from_str(&text).with_context(|| path.display().to_string())
}

fn host_name() -> anyhow::Result<String> {
    let name = nix::unistd::gethostname()?;
    name.into_string().map_err(|name| anyhow::anyhow!("{} is not UTF-8", name.display()))
}

/// A value that is written by name.
fn named<T: Copy>(field: &str, name: &str, all: &[T], as_str: fn(T) -> &'static str) -> anyhow::Result<T> {
    let names = || all.iter().map(|&one| as_str(one)).collect::<Vec<_>>().join(", ");
    let known = all.iter().copied().find(|&one| as_str(one) == name);
    known.with_context(|| format!("{field} is `{name}`; it may be one of {}", names()))
}

/// Maps that hold nothing would deny everything, and the kernel's own limit is no good place to learn of a slip.
fn size(name: &str, given: Option<u32>, usual: u32) -> anyhow::Result<u32> {
    const MOST: u32 = 1 << 26;
    match given {
        None => Ok(usual),
        Some(entries) if (1..=MOST).contains(&entries) => Ok(entries),
        Some(entries) => bail!("maps.{name} is {entries}; it may be 1 to {MOST}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(config: Option<PathBuf>) -> RunArgs {
        let source = Some(Source::Directory("/policies".into()));
        RunArgs { config, source, node: Some("n1".to_owned()), socket: None, state: None, pins: None }
    }

    fn with(text: &str) -> anyhow::Result<Configured> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("policyd.yaml");
        std::fs::write(&path, text)?;
        configured(&args(Some(path)))
    }

    #[test]
    fn the_command_line_goes_before_the_file_and_that_before_the_rest() {
        let text = "source: dir:/elsewhere\nnode: n2\nsocket: /run/a.sock\nevents: {aggregation: none}\n";
        let Configured { source, node, socket, state, options, .. } = with(text).unwrap();
        assert_eq!((node.as_str(), source.to_string().as_str()), ("n1", "dir:/policies"));
        assert_eq!(socket, Path::new("/run/a.sock"));
        assert_eq!(state, Path::new(STATE));
        assert_eq!((options.aggregation, options.conntrack_v4), (Aggregation::None, 1 << 18));
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (text, told) in [
            ("sourcee: dir:/x", "sourcee"),
            ("events: {aggregation: all}", "none, interval, flags"),
            ("maps: {addresses: 0}", "maps.addresses is 0"),
            ("maps: {addresses: -1}", "policyd.yaml"),
            ("- 1", "policyd.yaml"),
            ("balancing: {mode: nat}", "balancing.mode is `nat`; it may be one of snat, dsr, hybrid"),
            ("balancing: {dispatch: vxlan}", "ipip, option"),
            ("balancing: {noBackend: refuse}", "reject, drop"),
            ("balancing: {devices: {mode: generic}}", "balancing.devices.mode is `generic`"),
            ("balancing: {devices: {name: eth0}}", "name"),
            ("balancing: {ports: {first: 0}}", "balancing.ports are 0 to 65535"),
            ("balancing: {ports: {first: 62000, last: 61999}}", "balancing.ports are 62000 to 61999"),
            ("balancing: {healthChecks: {address: node}}", "balancing.healthChecks.address is `node`"),
            ("balancing: {idleSeconds: 0}", "balancing.idleSeconds is 0"),
            ("maps: {translations: 0}", "maps.translations is 0"),
        ] {
            let failure = format!("{:#}", with(text).unwrap_err());
            assert!(failure.contains(told), "{text}: {failure}");
        }
        let missing = configured(&args(Some("/nowhere/policyd.yaml".into())));
        assert!(missing.unwrap_err().to_string().contains("/nowhere/policyd.yaml"));
    }

    /// What `--help` says holds where nothing is said is what holds.
    #[test]
    fn the_help_is_true() {
        let help = crate::args::CONFIG;
        let text: String =
            help.lines().filter_map(|line| line.strip_prefix("  ")).map(|line| format!("{line}\n")).collect();
        let told = with(&text.replace("cgroup: PATH", "cgroup: null")).unwrap();
        let usual = with("").unwrap();
        assert_eq!(format!("{told:?}"), format!("{usual:?}"));
        assert!(told.balancing.is_some());
    }

    #[test]
    fn a_daemon_without_a_source_is_told_how_to_say_one() {
        let failure = configured(&RunArgs { source: None, ..args(None) }).unwrap_err();
        assert!(failure.to_string().contains("--source dir:PATH"));
    }
}
