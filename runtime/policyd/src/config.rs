//! What a configuration file may say, and what holds where it and the command line say nothing.
//!
//! An unknown field is refused by name: a setting that does nothing would be believed.

use crate::args::{PINS, RunArgs, SOCKET, STATE};
use anyhow::{Context, bail};
use serde::Deserialize;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use weir_abi::state::Aggregation;
use weir_runtime::daemon::Settings;
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
}

/// What a daemon runs with.
#[derive(Debug)]
pub(crate) struct Configured {
    pub(crate) settings: Settings,
    pub(crate) options: Options,
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
    let settings = Settings {
        source,
        node,
        state: path(&args.state, config.state, STATE),
        socket: path(&args.socket, config.socket, SOCKET),
    };
    let usual = Options::default();
    let options = Options {
        pin_root: path(&args.pins, config.pins, PINS),
        aggregation: match config.events.aggregation {
            Some(name) => aggregation(&name)?,
            None => usual.aggregation,
        },
        drops_per_second: config.events.drops_per_second.unwrap_or(usual.drops_per_second),
        conntrack_v4: size("conntrackV4", config.maps.conntrack_v4, usual.conntrack_v4)?,
        conntrack_v6: size("conntrackV6", config.maps.conntrack_v6, usual.conntrack_v6)?,
        addresses: size("addresses", config.maps.addresses, usual.addresses)?,
        interfaces: size("interfaces", config.maps.interfaces, usual.interfaces)?,
    };
    Ok(Configured { settings, options })
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

fn aggregation(name: &str) -> anyhow::Result<Aggregation> {
    let known = Aggregation::ALL.iter().copied();
    let names = || Aggregation::ALL.iter().map(|level| level.as_str()).collect::<Vec<_>>().join(", ");
    known
        .clone()
        .find(|level| level.as_str() == name)
        .with_context(|| format!("events.aggregation is `{name}`; it may be one of {}", names()))
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
        let Configured { settings, options } = with(text).unwrap();
        assert_eq!((settings.node.as_str(), settings.source.to_string().as_str()), ("n1", "dir:/policies"));
        assert_eq!(settings.socket, Path::new("/run/a.sock"));
        assert_eq!(settings.state, Path::new(STATE));
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
        ] {
            let failure = format!("{:#}", with(text).unwrap_err());
            assert!(failure.contains(told), "{text}: {failure}");
        }
        let missing = configured(&args(Some("/nowhere/policyd.yaml".into())));
        assert!(missing.unwrap_err().to_string().contains("/nowhere/policyd.yaml"));
    }

    #[test]
    fn a_daemon_without_a_source_is_told_how_to_say_one() {
        let failure = configured(&RunArgs { source: None, ..args(None) }).unwrap_err();
        assert!(failure.to_string().contains("--source dir:PATH"));
    }
}
