//! Which kernel modules must be loaded, and in which order.
//!
//! The package carries no `modules.dep`: `depmod` writes that while a kernel is installed, and this one is not. The same
//! arrows stand in the modules themselves, in the line `depends=` of their description, so they are read there.
//! Dependencies come before what needs them; what is built into the kernel needs no loading.
//! Not here: modules in compressed form, which Debian 12 does not ship.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// What the datapath and its tests need beyond the kernel itself.
pub(super) const NEEDED: &[&str] = &["veth", "dummy", "bridge", "sch_ingress", "cls_bpf"];

/// The files to load for `NEEDED`, in order, out of the folder of one kernel's modules.
pub(super) fn to_load(folder: &Path) -> Result<Vec<PathBuf>, String> {
    let read = |name: &str| {
        let path = folder.join(name);
        fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))
    };
    let (built_in, loadable) = (listed(&read("modules.builtin")?), listed(&read("modules.order")?));
    let depends_on = |path: &str| {
        let path = folder.join(path);
        let module = fs::read(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        dependencies(&module).ok_or_else(|| format!("{} does not say what it depends on", path.display()))
    };
    let order = in_order(NEEDED, &built_in, &loadable, depends_on)?;
    Ok(order.iter().map(|path| folder.join(path)).collect())
}

/// Modules by name, out of a list of paths.
fn listed(text: &str) -> BTreeMap<String, String> {
    let paths = text.lines().map(str::trim).filter(|line| !line.is_empty());
    paths.filter_map(|path| Some((name_of(path)?, path.to_owned()))).collect()
}

/// The name under which the kernel knows the module of a path; files are written with `-` or `_` alike.
fn name_of(path: &str) -> Option<String> {
    let file = path.rsplit('/').next()?;
    Some(file.strip_suffix(".ko")?.replace('-', "_"))
}

/// The names in a module's line `depends=`; nothing if there is no such line.
fn dependencies(module: &[u8]) -> Option<Vec<String>> {
    const KEY: &[u8] = b"\0depends=";
    let start = module.windows(KEY.len()).position(|window| window == KEY)? + KEY.len();
    let names = module.get(start..)?.split(|byte| *byte == 0).next()?;
    let names = String::from_utf8_lossy(names);
    Some(names.split(',').filter(|name| !name.is_empty()).map(|name| name.replace('-', "_")).collect())
}

/// The paths of `needed` and all it depends on, each once, dependencies first.
fn in_order(
    needed: &[&str],
    built_in: &BTreeMap<String, String>,
    loadable: &BTreeMap<String, String>,
    depends_on: impl Fn(&str) -> Result<Vec<String>, String>,
) -> Result<Vec<String>, String> {
    let mut order: Vec<String> = Vec::new();
    // A module is seen twice: first its dependencies are put on top of it, then it is taken.
    let mut waiting: Vec<(String, bool)> =
        needed.iter().rev().map(|name| ((*name).to_owned(), false)).collect();
    while let Some((name, opened)) = waiting.pop() {
        if built_in.contains_key(&name) {
            continue;
        }
        let path = loadable.get(&name).ok_or_else(|| format!("the kernel has no module `{name}`"))?;
        if order.contains(path) {
            continue;
        }
        if opened {
            order.push(path.clone());
            continue;
        }
        waiting.push((name, true));
        let below = depends_on(path)?;
        // Modules that need each other cannot be loaded by anyone, but must not keep us here for ever.
        if let Some(circle) = below.iter().find(|below| waiting.contains(&((*below).clone(), true))) {
            return Err(format!("the module `{circle}` depends on itself"));
        }
        waiting.extend(below.into_iter().rev().map(|name| (name, false)));
    }
    Ok(order)
}

#[cfg(test)]
mod tests {
    use super::{dependencies, in_order, listed};

    const ORDER: &str = "kernel/net/802/stp.ko\nkernel/net/llc/llc.ko\nkernel/net/bridge/bridge.ko\n\
                         kernel/net/bridge/br-netfilter.ko\nkernel/drivers/net/veth.ko\n";

    fn arrows(path: &str) -> Result<Vec<String>, String> {
        let names: &[&str] = match path.rsplit('/').next() {
            Some("bridge.ko") => &["llc", "stp"],
            Some("br-netfilter.ko") => &["bridge"],
            Some("stp.ko") => &["llc"],
            _ => &[],
        };
        Ok(names.iter().map(|name| (*name).to_owned()).collect())
    }

    #[test]
    fn dependencies_come_first_and_once() {
        let order =
            in_order(&["br_netfilter", "veth", "bridge"], &listed(""), &listed(ORDER), arrows).unwrap();
        let expected = [
            "kernel/net/llc/llc.ko",
            "kernel/net/802/stp.ko",
            "kernel/net/bridge/bridge.ko",
            "kernel/net/bridge/br-netfilter.ko",
            "kernel/drivers/net/veth.ko",
        ];
        assert_eq!(order, expected);
    }

    #[test]
    fn what_is_built_in_is_not_loaded() {
        let built_in = listed("kernel/drivers/net/veth.ko\nkernel/net/llc/llc.ko\n");
        let order = in_order(&["veth", "bridge"], &built_in, &listed(ORDER), arrows).unwrap();
        assert_eq!(order, ["kernel/net/802/stp.ko", "kernel/net/bridge/bridge.ko"]);
    }

    #[test]
    fn a_module_that_is_nowhere_is_named() {
        let failure = in_order(&["cls_bpf"], &listed(""), &listed(ORDER), arrows).unwrap_err();
        assert!(failure.contains("`cls_bpf`"), "{failure}");
    }

    #[test]
    fn a_circle_is_refused() {
        let round = |path: &str| Ok(vec![if path.ends_with("llc.ko") { "stp" } else { "llc" }.to_owned()]);
        assert!(in_order(&["stp"], &listed(""), &listed(ORDER), round).is_err());
    }

    #[test]
    fn a_module_says_itself_what_it_depends_on() {
        let module = |line: &str| [b"\x7fELF\0license=GPL\0", line.as_bytes(), b"\0retpoline=Y\0"].concat();
        assert_eq!(dependencies(&module("depends=llc,ebtable-nat")).unwrap(), ["llc", "ebtable_nat"]);
        assert_eq!(dependencies(&module("depends=")).unwrap(), Vec::<String>::new());
        assert_eq!(dependencies(&module("name=x")), None);
    }
}
