//! `cargo xtask kernel [TEST BINARY…]`: tests on the oldest kernel that Weir promises to run on.
//!
//! Debian's Linux 6.1 is booted in an emulated machine, test executables run in it as root, one after the other, and their
//! output is shown as it comes. Without arguments the executable is the loader's. The machine has the executables, their
//! libraries and a handful of programs, and nothing of this checkout: a test that opens files of the repository does not
//! belong here. What cannot be had on this host is told apart from what failed, so that the caller can skip the one aloud.
//! An executable in which no test passed has failed: a run that tests nothing must not look like one that finds nothing.
//!
//! Not here: a machine with more than one kernel, and any network.

mod archive;
mod console;
mod machine;
mod modules;
mod packages;
mod programs;

use crate::checkout::Checkout;
use crate::steps::{Counts, Outcome};
use crate::{Failure, setup};
use archive::Archive;
use cargo_metadata::Message;
use console::Console;
use packages::Distribution;
use std::fmt;
use std::fs;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

/// The kernel's version, as folders and packages name it.
const KERNEL: &str = "6.1";

/// How long the machine may live, from power on to power off: ten times what it takes on a host that does nothing else.
const BOUND: Duration = Duration::from_secs(600);

/// The first root lies in memory, of which it may have half.
const LARGEST_ROOT: usize = 450 << 20;

/// Its file's name begins so, and the number of the process that wrote it follows.
const INITRAMFS: &str = "initramfs-";

/// The package and the test target that run here by default.
const DEFAULT_TEST: (&str, &str) = ("weir-tests", "loader");

/// Why the tests have not all passed.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// The emulator, the kernel or a program is missing on this host, and this is what.
    CannotBeHad(String),
    /// There is nothing to run, or the machine did not come up, or did not come to its end.
    Machine(String),
    /// Executables ended with failures. Those of single tests are counted; a crash counts nothing.
    Tests { counts: Counts, failures: String },
}

impl fmt::Display for Trouble {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Trouble::CannotBeHad(what) => write!(formatter, "Linux {KERNEL} cannot be had here: {what}"),
            Trouble::Machine(what) => write!(formatter, "{what}"),
            Trouble::Tests { failures, .. } => {
                write!(formatter, "tests failed on Linux {KERNEL}: {failures}")
            }
        }
    }
}

impl From<Result<Counts, Trouble>> for Outcome {
    fn from(result: Result<Counts, Trouble>) -> Self {
        match result {
            Ok(counts) => Outcome::Tested(counts),
            Err(trouble @ Trouble::CannotBeHad(_)) => Outcome::Skipped(trouble.to_string()),
            Err(Trouble::Tests { counts, .. }) if counts.failed > 0 => Outcome::Tested(counts),
            Err(trouble) => Outcome::Failed(trouble.to_string()),
        }
    }
}

/// The command.
pub(crate) fn run(checkout: &Checkout, arguments: &[String]) -> Result<(), Failure> {
    let executables = executables(arguments)?;
    let tested = if executables.is_empty() { loader(checkout) } else { tested(checkout, &executables) };
    match tested {
        Ok(counts) => {
            println!("{} passed, {} failed on Linux {KERNEL}", counts.passed, counts.failed);
            Ok(())
        }
        Err(trouble) => Err(trouble.to_string()),
    }
}

/// The test executables that are named on the command line, as paths that mean the same from everywhere.
fn executables(arguments: &[String]) -> Result<Vec<PathBuf>, Failure> {
    // `cargo xtask kernel -- FILE` is how one names files to most programs.
    let named = arguments.strip_prefix(&["--".to_owned()]).unwrap_or(arguments);
    let executable = |argument: &String| {
        if argument.starts_with('-') {
            return Err(format!("`{argument}` is not understood; this command takes test executables"));
        }
        // Cargo starts the chore where the person stands, and other programs run at the root.
        match fs::canonicalize(argument) {
            Ok(path) if path.is_file() => Ok(path),
            Ok(_) => Err(format!("{argument} is no file")),
            Err(error) => Err(format!("{argument}: {error}")),
        }
    };
    named.iter().map(executable).collect()
}

/// Builds the loader's test and runs it on the kernel.
pub(crate) fn loader(checkout: &Checkout) -> Result<Counts, Trouble> {
    let executable = built(checkout, DEFAULT_TEST).map_err(Trouble::Machine)?;
    tested(checkout, &[executable])
}

/// Runs the test executables on the kernel, one after the other.
fn tested(checkout: &Checkout, executables: &[PathBuf]) -> Result<Counts, Trouble> {
    if std::env::consts::ARCH != "x86_64" {
        // The machine runs what was built for this one.
        let what = format!("the kernel is for x86_64, this machine is {}", std::env::consts::ARCH);
        return Err(Trouble::CannotBeHad(what));
    }
    let emulator = setup::emulator(checkout).map_err(Trouble::CannotBeHad)?;
    let tools = setup::network_tools(checkout).map_err(Trouble::CannotBeHad)?;
    let folder = checkout.metadata().target_directory.join(format!("kernel-{KERNEL}")).into_std_path_buf();
    let distribution = Distribution::fetch(checkout, &folder).map_err(Trouble::CannotBeHad)?;
    let root = root(checkout, &distribution, &tools, executables).map_err(Trouble::Machine)?;
    forget_the_dead(&folder);
    // Named after the process, so that two runs do not boot each other's tests.
    let initramfs = folder.join(format!("{INITRAMFS}{}.cpio", std::process::id()));
    let told = |error: std::io::Error| Trouble::Machine(format!("{}: {error}", initramfs.display()));
    fs::write(&initramfs, root).map_err(told)?;
    let start = Instant::now();
    let console = machine::start(checkout, &emulator, &distribution.kernel, &initramfs, BOUND);
    fs::remove_file(&initramfs).map_err(told)?;
    let console = console?;
    let release = console.release.as_deref().unwrap_or(KERNEL);
    println!("Linux {release}: {:.1} s from power on to power off", start.elapsed().as_secs_f64());
    judged(&console, executables.len())
}

/// Removes first roots of runs that were killed: they are large.
fn forget_the_dead(folder: &Path) {
    let process = |name: &str| name.strip_prefix(INITRAMFS)?.strip_suffix(".cpio")?.parse::<u32>().ok();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let process = entry.file_name().to_str().and_then(process);
        if process.is_some_and(|process| !Path::new(&format!("/proc/{process}")).exists()) {
            // Another run may have been faster.
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// What follows from a machine that came to its end.
fn judged(console: &Console, executables: usize) -> Result<Counts, Trouble> {
    let (counts, failures) = (console.counts(), console.failures());
    if !failures.is_empty() || counts.failed > 0 {
        return Err(Trouble::Tests { counts, failures });
    }
    if console.exits.len() != executables {
        let ran = console.exits.len();
        return Err(Trouble::Machine(format!("{ran} of {executables} test executables have run")));
    }
    Ok(counts)
}

/// The first root: programs, modules, tests, what they are linked with, and the script that runs it all.
fn root(
    checkout: &Checkout,
    distribution: &Distribution,
    tools: &[PathBuf],
    executables: &[PathBuf],
) -> Result<Vec<u8>, Failure> {
    let mut archive = Archive::default();
    for folder in ["/proc", "/sys", "/dev", "/tmp", "/run"] {
        archive.folder(folder);
    }
    // The kernel opens this one for the first program, before anything is mounted.
    archive.device("/dev/console", (5, 1));
    archive.file("/init", include_bytes!("init.sh"));
    archive.file("/bin/busybox", &content(&distribution.busybox)?);
    // Numbers keep the order, and equal names apart.
    for (number, module) in modules::to_load(&distribution.modules)?.iter().enumerate() {
        archive.file(&format!("/modules/{number:02}-{}", name(module)), &content(module)?);
    }
    let tools = tools.iter().map(|tool| (tool, format!("/programs/{}", name(tool))));
    let tests = executables.iter().enumerate();
    let tests = tests.map(|(number, test)| (test, format!("/tests/{number:02}-{}", name(test))));
    for (program, place) in tools.chain(tests) {
        archive.file(&place, &content(program)?);
        for library in programs::libraries(checkout, program)? {
            archive.file(&library, &content(Path::new(&library))?);
        }
        if archive.size() > LARGEST_ROOT {
            return Err(format!(
                "the test executables are larger than the machine can hold ({LARGEST_ROOT} bytes)"
            ));
        }
    }
    Ok(archive.finish())
}

fn content(path: &Path) -> Result<Vec<u8>, Failure> {
    fs::read(path).map_err(|error| format!("{}: {error}", path.display()))
}

fn name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// Builds one test target and tells where Cargo put it.
fn built(checkout: &Checkout, (package, target): (&str, &str)) -> Result<PathBuf, Failure> {
    // Diagnostics go to the screen as always, and only the rest is for us.
    let format = "--message-format=json-render-diagnostics";
    let mut command = checkout.cargo(&["test", "--no-run", format, "-p", package, "--test", target]);
    println!("$ {}", crate::checkout::line(&command));
    let told = |error: std::io::Error| format!("cargo test --no-run: {error}");
    let mut child = command.stdout(Stdio::piped()).spawn().map_err(told)?;
    let mut executable = None;
    if let Some(stdout) = child.stdout.take() {
        for message in Message::parse_stream(BufReader::new(stdout)) {
            if let Message::CompilerArtifact(artifact) = message.map_err(told)?
                && artifact.target.name == target
                && artifact.target.is_test()
            {
                executable = artifact.executable;
            }
        }
    }
    let status = child.wait().map_err(told)?;
    if !status.success() {
        return Err(format!("the test `{target}` of {package} cannot be built ({status})"));
    }
    let executable = executable
        .ok_or_else(|| format!("Cargo names no executable for the test `{target}` of {package}"))?;
    Ok(executable.into_std_path_buf())
}

#[cfg(test)]
mod tests {
    use super::{Console, Trouble, executables, judged};
    use crate::steps::{Counts, Outcome};

    const PASSED: &str =
        "test result: ok. 2 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.02s\n";

    fn said(text: &str) -> Console {
        let mut console = Console::default();
        console.take(text.as_bytes());
        console
    }

    #[test]
    fn only_what_cannot_be_had_is_a_skip() {
        let outcome = |trouble| Outcome::from(Err::<Counts, Trouble>(trouble));
        let failed = Counts { passed: 2, failed: 1 };
        let tests = |counts| Trouble::Tests { counts, failures: String::new() };
        assert!(
            matches!(outcome(Trouble::CannotBeHad("qemu".into())), Outcome::Skipped(why) if why.contains("qemu"))
        );
        assert!(matches!(outcome(Trouble::Machine("panic".into())), Outcome::Failed(_)));
        assert!(matches!(outcome(tests(failed)), Outcome::Tested(counts) if counts == failed));
        // A crash leaves no sum, and must not pass for want of one.
        assert!(matches!(outcome(tests(Counts::default())), Outcome::Failed(_)));
    }

    #[test]
    fn one_executable_that_fails_or_did_not_run_fails_the_whole() {
        let (a, b) = (format!("{PASSED}WEIR-EXIT 0 a\n"), format!("{PASSED}WEIR-EXIT 0 b\n"));
        let both = judged(&said(&format!("{a}{b}")), 2).unwrap();
        assert_eq!(both, Counts { passed: 4, failed: 0 });
        let crashed = judged(&said(&format!("{a}WEIR-EXIT 139 b\n")), 2);
        assert!(matches!(crashed, Err(Trouble::Tests { .. })));
        assert!(matches!(judged(&said(&a), 2), Err(Trouble::Machine(_))));
    }

    #[test]
    fn an_executable_in_which_nothing_passed_fails_the_whole() {
        let nothing = PASSED.replace("2 passed", "0 passed");
        for b in ["WEIR-EXIT 0 b\n".to_owned(), format!("{nothing}WEIR-EXIT 0 b\n")] {
            let trouble = judged(&said(&format!("{PASSED}WEIR-EXIT 0 a\n{b}")), 2).unwrap_err();
            assert!(trouble.to_string().contains("b passed no test"), "{trouble}");
            assert!(matches!(Outcome::from(Err::<Counts, Trouble>(trouble)), Outcome::Failed(_)));
        }
    }

    #[test]
    fn executables_are_files_and_flags_are_refused() {
        let named = |arguments: &[&str]| {
            let arguments: Vec<String> = arguments.iter().map(|argument| (*argument).to_owned()).collect();
            executables(&arguments)
        };
        assert_eq!(named(&[]), Ok(Vec::new()));
        assert_eq!(named(&["--"]), Ok(Vec::new()));
        let found = named(&["--", "src/../Cargo.toml"]).unwrap();
        assert!(found[0].is_absolute() && found[0].ends_with("xtask/Cargo.toml"), "{found:?}");
        assert!(named(&["--smp"]).unwrap_err().contains("`--smp` is not understood"));
        assert!(named(&["src"]).unwrap_err().contains("no file"));
        assert!(named(&["nowhere"]).is_err());
    }
}
