//! The two lists of deny.toml that are checked without cargo-deny.
//!
//! This reads the shape that file is written in, one entry per line, and fails loudly on any other, so that a list is never
//! silently empty. It is no TOML parser.

use crate::Failure;
use cargo_metadata::semver::{Version, VersionReq};

/// What deny.toml says.
#[derive(Debug)]
pub(crate) struct DenyFile {
    /// Licences anyone may bring in, as SPDX identifiers, with their exception where one is named.
    pub(crate) licences: Vec<String>,
    /// Crates nobody may bring in.
    pub(crate) banned: Vec<Banned>,
}

/// One line of `[bans] deny`.
#[derive(Debug)]
pub(crate) struct Banned {
    /// The crate.
    pub(crate) name: String,
    /// Which of its versions.
    pub(crate) versions: VersionReq,
    /// Packages that may depend on it all the same.
    pub(crate) wrappers: Vec<String>,
    /// Why.
    pub(crate) reason: String,
}

impl Banned {
    /// Whether this package is the one meant.
    pub(crate) fn matches(&self, name: &str, version: &Version) -> bool {
        self.name == name && self.versions.matches(version)
    }
}

impl DenyFile {
    /// Reads the file's text.
    pub(crate) fn parse(text: &str) -> Result<Self, Failure> {
        let licences = entries(text, "licenses", "allow")?;
        let licences = licences.iter().flat_map(|entry| strings(entry)).collect::<Vec<_>>();
        let banned =
            entries(text, "bans", "deny")?.iter().map(|entry| banned(entry)).collect::<Result<_, _>>()?;
        Ok(DenyFile { licences, banned })
    }
}

/// The lines of the list `key` in `[section]`.
fn entries(text: &str, section: &str, key: &str) -> Result<Vec<String>, Failure> {
    let mut lines = text.lines().map(str::trim).skip_while(|line| *line != format!("[{section}]")).skip(1);
    let start = format!("{key} = [");
    let found = lines.by_ref().take_while(|line| !line.starts_with('[')).any(|line| line == start);
    let entries: Vec<String> = lines
        .take_while(|line| *line != "]")
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(str::to_owned)
        .collect();
    if found && !entries.is_empty() {
        Ok(entries)
    } else {
        Err(format!("deny.toml: [{section}] has no list `{start}` with one entry per line"))
    }
}

fn banned(entry: &str) -> Result<Banned, Failure> {
    let unreadable = |what: &str| format!("deny.toml: {what} in `{entry}`");
    let spec = strings(field(entry, "crate").ok_or_else(|| unreadable("no `crate`"))?);
    let spec = spec.first().ok_or_else(|| unreadable("no name"))?.clone();
    // cargo-deny writes a range after a colon and one version after an at sign.
    let (name, versions) = match (spec.split_once(':'), spec.split_once('@')) {
        (Some((name, range)), _) => (name, range.to_owned()),
        (None, Some((name, version))) => (name, format!("={version}")),
        (None, None) => (spec.as_str(), "*".to_owned()),
    };
    let versions = VersionReq::parse(&versions).map_err(|error| unreadable(&error.to_string()))?;
    let reason = field(entry, "reason").map(strings).and_then(|found| found.first().cloned());
    let wrappers = field(entry, "wrappers").and_then(|rest| rest.split(']').next());
    Ok(Banned {
        name: name.to_owned(),
        versions,
        wrappers: wrappers.map(strings).unwrap_or_default(),
        reason: reason.ok_or_else(|| unreadable("no `reason`"))?,
    })
}

/// What follows `key =` in an inline table.
fn field<'a>(entry: &'a str, key: &str) -> Option<&'a str> {
    let rest = entry.split_once(&format!("{key} ="))?.1;
    Some(rest.trim_start())
}

/// Every quoted string.
fn strings(text: &str) -> Vec<String> {
    text.split('"').skip(1).step_by(2).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::DenyFile;
    use cargo_metadata::semver::Version;

    const TEXT: &str = r#"
[licenses]
version = 2
allow = [
    "MIT", # a note
    # a note
    "Apache-2.0 WITH LLVM-exception",
]

[bans]
wildcards = "deny"
deny = [
    { crate = "old", wrappers = ["one", "two"], reason = "archived, and slow" },
    { crate = "h2:<0.4.16", reason = "a hole" },
    { crate = "exact@1.0.0", reason = "a hole" },
]
"#;

    #[test]
    fn both_lists_are_read() {
        let file = DenyFile::parse(TEXT).unwrap();
        assert_eq!(file.licences, ["MIT", "Apache-2.0 WITH LLVM-exception"]);
        assert_eq!(file.banned[0].wrappers, ["one", "two"]);
        assert_eq!(file.banned[0].reason, "archived, and slow");
        assert!(file.banned[1].matches("h2", &Version::new(0, 4, 15)));
        assert!(!file.banned[1].matches("h2", &Version::new(0, 4, 16)));
        assert!(file.banned[2].matches("exact", &Version::new(1, 0, 0)));
        assert!(!file.banned[2].matches("exact", &Version::new(1, 0, 1)));
    }

    #[test]
    fn a_list_that_cannot_be_found_is_an_error() {
        assert!(DenyFile::parse("[licenses]\nallow = [\"MIT\"]\n").is_err());
        assert!(DenyFile::parse(&TEXT.replace("[bans]", "[ban]")).is_err());
        assert!(DenyFile::parse(&TEXT.replace(", reason = \"archived, and slow\"", "")).is_err());
    }

    #[test]
    fn the_projects_own_file_is_readable() {
        let file = DenyFile::parse(include_str!("../../../deny.toml")).unwrap();
        assert!(file.licences.len() > 10);
        assert!(file.banned.iter().any(|banned| banned.name == "serde_yaml" && !banned.wrappers.is_empty()));
    }
}
