//! Where a finding about a package is shown: the line of a manifest or of a lock file.

/// The place of a package in a lock file.
pub(crate) fn in_lock(file: &str, text: &str, name: &str, version: &str) -> String {
    let (wanted_name, wanted_version) = (format!("name = \"{name}\""), format!("version = \"{version}\""));
    let mut lines = text.lines().enumerate().peekable();
    while let Some((index, line)) = lines.next() {
        let version_follows = lines.peek().is_some_and(|(_, next)| *next == wanted_version);
        if line == wanted_name && version_follows {
            return format!("{file}:{}", index + 1);
        }
    }
    file.to_owned()
}

/// The place in a manifest where a dependency is named, the manifest alone if it is not.
pub(crate) fn in_manifest(file: &str, text: &str, dependency: &str) -> String {
    let names_it = |line: &str| {
        let rest = line.trim_start().strip_prefix(dependency);
        rest.is_some_and(|rest| rest.trim_start().starts_with(['=', '.']))
    };
    text.lines().position(names_it).map_or_else(|| file.to_owned(), |index| format!("{file}:{}", index + 1))
}

#[cfg(test)]
mod tests {
    use super::{in_lock, in_manifest};

    #[test]
    fn the_right_one_of_two_versions() {
        let text = "[[package]]\nname = \"a\"\nversion = \"1.0.0\"\n\n[[package]]\nname = \"a\"\nversion = \"2.0.0\"\n";
        assert_eq!(in_lock("Cargo.lock", text, "a", "2.0.0"), "Cargo.lock:6");
        assert_eq!(in_lock("Cargo.lock", text, "b", "2.0.0"), "Cargo.lock");
    }

    #[test]
    fn a_dependency_is_found_by_its_whole_name() {
        let text = "[dependencies]\nclap_complete = \"4\"\nclap.workspace = true\n";
        assert_eq!(in_manifest("Cargo.toml", text, "clap"), "Cargo.toml:3");
    }
}
