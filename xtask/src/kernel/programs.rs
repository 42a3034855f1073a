//! What a program needs around it: the libraries and the interpreter that its file asks for.
//!
//! `ldd` is asked, which runs the program's own interpreter: only for programs that are about to be run anyway.

use crate::checkout::Checkout;
use std::path::Path;

/// The absolute paths of everything the program is linked with; none for a static one.
pub(super) fn libraries(checkout: &Checkout, program: &Path) -> Result<Vec<String>, String> {
    let output = checkout.command("ldd").arg(program).env("LC_ALL", "C").output();
    let output = output.map_err(|error| format!("ldd: {error}"))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
    if [&text, &complaint].iter().any(|text| text.contains("not a dynamic executable")) {
        return Ok(Vec::new());
    }
    if !output.status.success() {
        return Err(format!("ldd {}: {}", program.display(), complaint.trim()));
    }
    named(&text).map_err(|library| format!("{} needs {library}, which is not there", program.display()))
}

/// The paths in what `ldd` prints, or the library it did not find.
fn named(text: &str) -> Result<Vec<String>, String> {
    let mut paths = Vec::new();
    for line in text.lines() {
        let (name, place) = line.trim().split_once(" => ").unwrap_or(("", line.trim()));
        if place.starts_with("not found") {
            return Err(name.to_owned());
        }
        // The interpreter stands without an arrow; what the kernel itself provides has no path.
        let path = place.split(" (").next().unwrap_or(place);
        if path.starts_with('/') {
            paths.push(path.to_owned());
        }
    }
    Ok(paths)
}

#[cfg(test)]
mod tests {
    use super::named;

    #[test]
    fn libraries_and_interpreter_are_found() {
        let text = "\tlinux-vdso.so.1 (0x00007ffd)\n\tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x00007f1)\n\
                    \t/lib64/ld-linux-x86-64.so.2 (0x00007f2)\n";
        assert_eq!(named(text).unwrap(), ["/lib/x86_64-linux-gnu/libc.so.6", "/lib64/ld-linux-x86-64.so.2"]);
        assert_eq!(named("\tstatically linked\n").unwrap(), Vec::<String>::new());
    }

    #[test]
    fn a_missing_library_is_named() {
        assert_eq!(named("\tlibbpf.so.1 => not found\n"), Err("libbpf.so.1".to_owned()));
    }
}
