//! What a configuration file may say of balancing.
//!
//! Not here: whether the kernel can do it.

use super::{ConfiguredBalancing, Maps, named, size};
use anyhow::bail;
use serde::Deserialize;
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;
use weir_runtime::balancer::{BalancerOptions, DeviceMode, Dispatch, Mode, NoBackend};
use weir_runtime::balancing::Settings;

/// Where the kernel tells what is mounted.
const MOUNTS: &str = "/proc/self/mounts";
/// Where it tells which ports its own sockets take.
const LOCAL_PORTS: &str = "/proc/sys/net/ipv4/ip_local_port_range";

/// `balancing`.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct Balancing {
    enabled: Option<bool>,
    mode: Option<String>,
    dispatch: Option<String>,
    no_backend: Option<String>,
    devices: Devices,
    sockets: Sockets,
    ports: Ports,
    health_checks: HealthChecks,
    idle_seconds: Option<u64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct Devices {
    names: Vec<String>,
    mode: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct Sockets {
    enabled: Option<bool>,
    cgroup: Option<PathBuf>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct Ports {
    first: Option<u16>,
    last: Option<u16>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct HealthChecks {
    address: Option<String>,
}

/// What is named, or what holds otherwise.
fn one_of<T: Copy>(
    field: &str,
    given: Option<&String>,
    usual: T,
    all: &[T],
    as_str: fn(T) -> &'static str,
) -> anyhow::Result<T> {
    given.map_or(Ok(usual), |name| named(field, name, all, as_str))
}

impl Balancing {
    /// Joins what is said with what holds otherwise; `None` if nothing is to be balanced.
    pub(super) fn configured(
        self,
        pin_root: &Path,
        maps: &Maps,
    ) -> anyhow::Result<Option<ConfiguredBalancing>> {
        let usual = BalancerOptions::default();
        let (first, last) = (self.ports.first, self.ports.last);
        let ports = first.unwrap_or(*usual.ports.start())..=last.unwrap_or(*usual.ports.end());
        if ports.is_empty() || *ports.start() == 0 {
            bail!("balancing.ports are {} to {}; say `first` and `last`, from 1", ports.start(), ports.end());
        }
        let health_checks = match self.health_checks.address.as_deref() {
            None | Some("any") => None,
            Some(text) => match text.parse::<IpAddr>() {
                Ok(address) => Some(address),
                Err(_) => bail!("balancing.healthChecks.address is `{text}`; it may be `any`, or an address"),
            },
        };
        let usual_settings = Settings::default();
        let idle = match self.idle_seconds {
            None => usual_settings.idle,
            Some(0) => bail!("balancing.idleSeconds is 0; established connections would move at once"),
            Some(seconds) => Duration::from_secs(seconds),
        };
        let has_sockets = self.sockets.enabled.unwrap_or(true);
        let options = BalancerOptions {
            pin_root: pin_root.to_owned(),
            mode: one_of("balancing.mode", self.mode.as_ref(), usual.mode, Mode::ALL, Mode::as_str)?,
            dispatch: one_of(
                "balancing.dispatch",
                self.dispatch.as_ref(),
                usual.dispatch,
                Dispatch::ALL,
                Dispatch::as_str,
            )?,
            no_backend: one_of(
                "balancing.noBackend",
                self.no_backend.as_ref(),
                usual.no_backend,
                NoBackend::ALL,
                NoBackend::as_str,
            )?,
            device_mode: one_of(
                "balancing.devices.mode",
                self.devices.mode.as_ref(),
                usual.device_mode,
                DeviceMode::ALL,
                DeviceMode::as_str,
            )?,
            cgroup: self.sockets.cgroup.filter(|_| has_sockets),
            ports,
            translations: size("translations", maps.translations, usual.translations)?,
            flows: size("flows", maps.flows, usual.flows)?,
            next_hops: size("nextHops", maps.next_hops, usual.next_hops)?,
            socket_services: size("socketServices", maps.socket_services, usual.socket_services)?,
        };
        let settings = Settings {
            devices: self.devices.names.into_iter().collect(),
            sockets: has_sockets,
            health_checks,
            idle,
        };
        Ok(self.enabled.unwrap_or(true).then_some(ConfiguredBalancing { settings, options }))
    }
}

/// The root of the second version of cgroups, where it is mounted here.
pub(crate) fn root_of_cgroups() -> Option<PathBuf> {
    std::fs::read_to_string(MOUNTS).ok().and_then(|mounts| cgroup2(&mounts))
}

fn cgroup2(mounts: &str) -> Option<PathBuf> {
    let mut places = mounts.lines().filter_map(|line| {
        let mut words = line.split(' ').skip(1);
        let (place, kind) = (words.next()?, words.next()?);
        (kind == "cgroup2").then_some(place)
    });
    // What is mounted last covers what was there.
    places.next_back().map(|place| PathBuf::from(unescaped(place)))
}

/// A path of the kernel's list, in which spaces and the like are `\040`.
fn unescaped(path: &str) -> String {
    [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")]
        .iter()
        .fold(path.to_owned(), |path, (written, meant)| path.replace(written, meant))
}

/// The node's own ports, where source NAT would take some of them.
pub(crate) fn overlapping_ports(ports: &RangeInclusive<u16>) -> Option<RangeInclusive<u16>> {
    std::fs::read_to_string(LOCAL_PORTS).ok().and_then(|local| overlap(&local, ports))
}

fn overlap(local: &str, ports: &RangeInclusive<u16>) -> Option<RangeInclusive<u16>> {
    let mut ends = local.split_whitespace().map(str::parse::<u16>);
    let (first, last) = (ends.next()?.ok()?, ends.next()?.ok()?);
    (first <= *ports.end() && *ports.start() <= last).then_some(first..=last)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn configured(text: &str) -> Option<ConfiguredBalancing> {
        let balancing: Balancing = serde_saphyr::from_str(text).unwrap();
        balancing.configured(Path::new("/pins"), &Maps::default()).unwrap()
    }

    #[test]
    fn what_is_not_said_is_as_usual() {
        let ConfiguredBalancing { settings, options } = configured("{}").unwrap();
        assert_eq!(settings, Settings::default());
        assert_eq!(options, BalancerOptions { pin_root: "/pins".into(), ..BalancerOptions::default() });
        assert!(configured("{enabled: false}").is_none());
    }

    #[test]
    fn everything_can_be_said() {
        let text = "
            mode: hybrid
            dispatch: option
            noBackend: drop
            devices: {names: [eth0, wan], mode: tc}
            sockets: {enabled: true, cgroup: /sys/fs/cgroup/unified}
            ports: {first: 62000, last: 62999}
            healthChecks: {address: 10.0.0.1}
            idleSeconds: 900
        ";
        let ConfiguredBalancing { settings, options } = configured(text).unwrap();
        assert_eq!(
            settings,
            Settings {
                devices: ["eth0".to_owned(), "wan".to_owned()].into(),
                sockets: true,
                health_checks: "10.0.0.1".parse().ok(),
                idle: Duration::from_secs(900),
            }
        );
        assert_eq!((options.mode, options.dispatch), (Mode::Hybrid, Dispatch::Option));
        assert_eq!((options.no_backend, options.device_mode), (NoBackend::Drop, DeviceMode::Tc));
        assert_eq!(options.cgroup, Some("/sys/fs/cgroup/unified".into()));
        assert_eq!(options.ports, 62000..=62999);
        let without = configured("{sockets: {enabled: false, cgroup: /sys/fs/cgroup}}").unwrap();
        assert_eq!((without.settings.sockets, without.options.cgroup), (false, None));
        assert_eq!(configured("{healthChecks: {address: any}}").unwrap().settings.health_checks, None);
    }

    #[test]
    fn cgroups_are_found_where_they_are_mounted() {
        let mounts = "proc /proc proc rw 0 0\ncgroup /sys/fs/cgroup cgroup rw 0 0\n\
                      cgroup2 /sys/fs/cgroup/my\\040own cgroup2 rw,nosuid 0 0\n";
        assert_eq!(cgroup2(mounts), Some("/sys/fs/cgroup/my own".into()));
        assert_eq!(cgroup2("proc /proc proc rw 0 0\n\n"), None);
    }

    #[test]
    fn ports_of_the_nodes_own_sockets_are_no_good_for_others() {
        assert_eq!(overlap("32768\t60999\n", &(61000..=65535)), None);
        assert_eq!(overlap("32768\t61000\n", &(61000..=65535)), Some(32768..=61000));
        assert_eq!(overlap("1024\t65535\n", &(61000..=61001)), Some(1024..=65535));
        assert_eq!(overlap("", &(61000..=65535)), None);
    }
}
