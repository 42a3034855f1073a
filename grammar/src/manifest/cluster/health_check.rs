//! How a service asks for its backends' health to be checked: annotations `service.cilium.io/health-check-…`.
//!
//! `probe-interval` switches checks on; every other has a default. What cannot be is a warning, and the default stands. Durations are written as
//! Go writes them: `500ms`, `1.5s`, `1m30s`.
//!
//! Not here: other annotations (`annotations`), and the checks.

use super::super::context::Context;
use super::super::hint;
use super::annotations::{alone, each, idle, unknown, useless};
use crate::tree::{HealthCheck, HttpCheck, Protocol, ServicePort};
use crate::yaml::Value;
use std::time::Duration;

/// What the names of all begin with, behind the prefix.
const OF_CHECKS: &str = "health-check-";
const INTERVAL: &str = "health-check-probe-interval";
const TIMEOUT: &str = "health-check-probe-timeout";
const HEALTHY: &str = "health-check-threshold-healthy";
const UNHEALTHY: &str = "health-check-threshold-unhealthy";
const QUARANTINE: &str = "health-check-quarantine-timeout";
const PATH: &str = "health-check-http-path";
const METHOD: &str = "health-check-http-method";
const HOST: &str = "health-check-http-host";
const ALL: &[&str] = &[INTERVAL, TIMEOUT, HEALTHY, UNHEALTHY, QUARANTINE, PATH, METHOD, HOST];

/// The shortest and the longest of each, and what they are if left out. A timeout is the interval then, up to a second.
const INTERVALS: [Duration; 2] = [Duration::from_millis(100), Duration::from_secs(3600)];
const TIMEOUTS: [Duration; 2] = [Duration::from_millis(10), Duration::from_secs(60)];
const QUARANTINES: [Duration; 2] = [Duration::ZERO, Duration::from_secs(86_400)];
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(1);
const DEFAULT_HEALTHY: u16 = 2;
const DEFAULT_UNHEALTHY: u16 = 3;
const MOST_IN_A_ROW: u16 = 100;
/// Bytes of a path.
const PATH_BYTES: usize = 1024;

/// Reads a service's health check.
pub(super) fn of_service(
    cx: &mut Context<'_>,
    service: Value<'_>,
    ports: &[ServicePort],
) -> Option<HealthCheck> {
    let mut written: Vec<(&str, Value<'_>)> = Vec::new();
    each(cx, service, |cx, name, value| {
        if ALL.contains(&name) {
            written.push((name, value));
        } else if name.starts_with(OF_CHECKS) {
            unknown(cx, name, value, hint::nearest(name, ALL));
        }
    });
    let find = |wanted: &str| written.iter().find(|(name, _)| *name == wanted).map(|(_, value)| *value);
    let Some(switch) = find(INTERVAL) else {
        for (name, value) in written {
            alone(cx, name, value, INTERVAL);
        }
        return None;
    };
    let interval = duration(cx, INTERVAL, switch, INTERVALS);
    let mut given = |name, range| find(name).and_then(|value| duration(cx, name, value, range));
    let (timeout, quarantine) = (given(TIMEOUT, TIMEOUTS), given(QUARANTINE, QUARANTINES));
    let mut in_a_row = |name| find(name).and_then(|value| count(cx, name, value));
    let (healthy, unhealthy) = (in_a_row(HEALTHY), in_a_row(UNHEALTHY));
    let http = http(cx, &written);
    if !ports.is_empty() && ports.iter().all(|port| port.protocol != Protocol::Tcp) {
        let message = "the service has no TCP port, and no other is checked".to_owned();
        idle(cx, switch, message, None);
        return None;
    }
    let interval = interval?;
    Some(HealthCheck {
        interval,
        timeout: timeout.unwrap_or(interval.min(DEFAULT_TIMEOUT)),
        healthy: healthy.unwrap_or(DEFAULT_HEALTHY),
        unhealthy: unhealthy.unwrap_or(DEFAULT_UNHEALTHY),
        quarantine: quarantine.unwrap_or_default(),
        http,
    })
}

fn http(cx: &mut Context<'_>, written: &[(&str, Value<'_>)]) -> Option<HttpCheck> {
    let find = |wanted: &str| written.iter().find(|(name, _)| *name == wanted).map(|(_, value)| *value);
    let Some(value) = find(PATH) else {
        for name in [METHOD, HOST] {
            if let Some(value) = find(name) {
                alone(cx, name, value, PATH);
            }
        }
        return None;
    };
    let is_visible = |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic());
    let is_path = |text: &&str| text.starts_with('/') && text.len() <= PATH_BYTES && is_visible(text);
    let path = value.raw().filter(is_path);
    if path.is_none() {
        useless(cx, PATH, value, "a path begins with `/` and has no spaces; it may have a query");
    }
    let is_head = find(METHOD).is_some_and(|value| {
        let is_head = value.raw() == Some("HEAD");
        if !is_head && value.raw() != Some("GET") {
            useless(cx, METHOD, value, "the values are `GET` and `HEAD`");
        }
        is_head
    });
    let host = find(HOST).and_then(|value| {
        let is_host = |text: &&str| {
            let is_of_host = |byte: u8| byte.is_ascii_alphanumeric() || b".-_:[]".contains(&byte);
            (1..=255).contains(&text.len()) && text.bytes().all(is_of_host)
        };
        let host = value.raw().filter(is_host);
        if host.is_none() {
            useless(cx, HOST, value, "write a name or an address, and a port behind `:` if it must be");
        }
        host
    });
    // A check that cannot be asked would fail everywhere; connecting is left.
    Some(HttpCheck { path: path?.to_owned(), is_head, host: host.map(str::to_owned) })
}

fn duration(
    cx: &mut Context<'_>,
    name: &str,
    value: Value<'_>,
    [least, most]: [Duration; 2],
) -> Option<Duration> {
    let found = value.raw().and_then(parse).filter(|found| (least..=most).contains(found));
    if found.is_none() {
        useless(cx, name, value, &format!("a time from {least:?} to {most:?}, such as `1s` or `1m30s`"));
    }
    found
}

fn count(cx: &mut Context<'_>, name: &str, value: Value<'_>) -> Option<u16> {
    let found =
        value.raw().and_then(|text| text.parse().ok()).filter(|found| (1..=MOST_IN_A_ROW).contains(found));
    if found.is_none() {
        useless(cx, name, value, &format!("a number from 1 to {MOST_IN_A_ROW}"));
    }
    found
}

/// A duration as Go writes it: numbers with units, one after the other.
fn parse(text: &str) -> Option<Duration> {
    let mut rest = text;
    let mut total = Duration::ZERO;
    if rest == "0" {
        return Some(total);
    }
    loop {
        let end = rest.find(|letter: char| !letter.is_ascii_digit() && letter != '.')?;
        let (number, behind) = rest.split_at(end);
        let end =
            behind.find(|letter: char| letter.is_ascii_digit() || letter == '.').unwrap_or(behind.len());
        let (unit, behind) = behind.split_at(end);
        total = total.checked_add(of_unit(number, unit)?)?;
        if behind.is_empty() {
            return Some(total);
        }
        rest = behind;
    }
}

fn of_unit(number: &str, unit: &str) -> Option<Duration> {
    let nanoseconds: u64 = match unit {
        "h" => 3_600_000_000_000,
        "m" => 60_000_000_000,
        "s" => 1_000_000_000,
        "ms" => 1_000_000,
        "us" => 1000,
        "ns" => 1,
        _ => return None,
    };
    let (whole, part) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() && part.is_empty() || part.len() > 9 {
        return None;
    }
    let digits = |text: &str| if text.is_empty() { Some(0) } else { text.parse::<u64>().ok() };
    let whole = digits(whole)?.checked_mul(nanoseconds)?;
    let scale = 10_u128.pow(u32::try_from(part.len()).ok()?);
    let part = u128::from(digits(part)?) * u128::from(nanoseconds) / scale;
    whole.checked_add(u64::try_from(part).ok()?).map(Duration::from_nanos)
}

#[cfg(test)]
mod tests {
    use super::parse;
    use std::time::Duration;

    #[test]
    fn durations_are_written_as_go_writes_them() {
        for (text, milliseconds) in
            [("1s", 1000), ("500ms", 500), ("1.5s", 1500), ("1m30s", 90_000), (".5h", 1_800_000), ("0", 0)]
        {
            assert_eq!(parse(text), Some(Duration::from_millis(milliseconds)), "{text}");
        }
        for text in [
            "",
            "1",
            "s",
            "1 s",
            "-1s",
            "1d",
            "1s2",
            ".s",
            "1..5s",
            "99999999999999999999s",
            "9999999h9999999h",
            "1\u{b5}s",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
