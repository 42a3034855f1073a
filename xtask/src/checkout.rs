//! The working copy that a chore runs in: its root, its Cargo metadata, its files, and how to run programs there.
//!
//! Every command line is printed before it runs, so that anyone can repeat a step by hand.
//! Paths are shown relative to the root.

use crate::Failure;
use cargo_metadata::{Metadata, MetadataCommand};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Folders that hold what was built or found, never what was written.
const NOT_SOURCE: &[&str] = &["target", "corpus", "artifacts", "coverage", "node_modules"];

/// The working copy.
pub(crate) struct Checkout {
    root: PathBuf,
    metadata: Metadata,
}

impl Checkout {
    /// The working copy this program was built from.
    pub(crate) fn find() -> Result<Self, Failure> {
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        let root = here.parent().ok_or("xtask has no parent folder")?.to_path_buf();
        let metadata = read_metadata(&root.join("Cargo.toml"))?;
        Ok(Checkout { root, metadata })
    }

    /// Where it stands.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// The workspace and everything it depends on.
    pub(crate) fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// The same for the workspace of its own under `folder`.
    pub(crate) fn metadata_of(&self, folder: &str) -> Result<Metadata, Failure> {
        read_metadata(&self.root.join(folder).join("Cargo.toml"))
    }

    /// Where a release build puts the binary of that name.
    pub(crate) fn release_binary(&self, name: &str) -> PathBuf {
        self.metadata.target_directory.join("release").join(name).into_std_path_buf()
    }

    /// A program to be run at the root.
    pub(crate) fn command(&self, program: impl AsRef<Path>) -> Command {
        let mut command = Command::new(program.as_ref());
        command.current_dir(&self.root);
        command
    }

    /// Cargo with arguments, at the root. Found on PATH, so that `+nightly` and rustup's overrides work.
    pub(crate) fn cargo(&self, arguments: &[&str]) -> Command {
        let mut command = self.command("cargo");
        command.args(arguments);
        command
    }

    /// A path as people write it: relative to the root where it lies inside.
    pub(crate) fn shown(&self, path: &Path) -> String {
        path.strip_prefix(&self.root).unwrap_or(path).display().to_string()
    }

    /// Every file a person wrote, sorted, found by walking: a source archive has no git to ask.
    pub(crate) fn files(&self) -> Result<Vec<PathBuf>, Failure> {
        let mut files = Vec::new();
        let mut folders = vec![self.root.clone()];
        while let Some(folder) = folders.pop() {
            let entries = fs::read_dir(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
            for entry in entries {
                let entry = entry.map_err(|error| format!("{}: {error}", folder.display()))?;
                let name = entry.file_name().to_string_lossy().into_owned();
                let kind =
                    entry.file_type().map_err(|error| format!("{}: {error}", entry.path().display()))?;
                if kind.is_dir() {
                    let hidden = name.starts_with('.') && name != ".cargo" && name != ".ci";
                    if !hidden && !NOT_SOURCE.contains(&name.as_str()) {
                        folders.push(entry.path());
                    }
                } else if kind.is_file() {
                    files.push(entry.path());
                }
            }
        }
        files.sort();
        Ok(files)
    }

    /// The text of a file of the project.
    pub(crate) fn read(&self, path: impl AsRef<Path>) -> Result<String, Failure> {
        let path = self.root.join(path);
        fs::read_to_string(&path).map_err(|error| format!("{}: {error}", self.shown(&path)))
    }
}

/// Runs a command in sight of the person, and tells whether it succeeded.
pub(crate) fn run(command: &mut Command) -> Result<(), Failure> {
    println!("$ {}", line(command));
    let status = command.status().map_err(|error| format!("`{}` did not start: {error}", line(command)))?;
    if status.success() { Ok(()) } else { Err(format!("`{}` failed ({status})", line(command))) }
}

/// Whether a command can be run at all, in silence.
pub(crate) fn works(command: &mut Command) -> bool {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// The first line a command prints, for tables of what a machine is.
pub(crate) fn first_line(command: &mut Command) -> Option<String> {
    let output = command.stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.lines().next().map(str::to_owned).filter(|line| output.status.success() && !line.is_empty())
}

/// The command as typed, with the variables it sets.
pub(crate) fn line(command: &Command) -> String {
    let mut words = Vec::new();
    for (name, value) in command.get_envs() {
        if let Some(value) = value {
            words.push(format!("{}={}", name.to_string_lossy(), quoted(&value.to_string_lossy())));
        }
    }
    words.push(command.get_program().to_string_lossy().into_owned());
    words.extend(command.get_args().map(|word| quoted(&word.to_string_lossy())));
    words.join(" ")
}

/// Removes a file that an earlier run left, so that what is there afterwards is new.
pub(crate) fn forget(file: &Path) -> Result<(), Failure> {
    match fs::remove_file(file) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(format!("{}: {error}", file.display()))
        }
        _ => Ok(()),
    }
}

fn quoted(word: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./=,:@%+".contains(&byte);
    if !word.is_empty() && word.bytes().all(plain) { word.to_owned() } else { format!("'{word}'") }
}

fn read_metadata(manifest: &Path) -> Result<Metadata, Failure> {
    let mut command = MetadataCommand::new();
    command.manifest_path(manifest).verbose(true);
    command.exec().map_err(|error| format!("cargo metadata: {error}"))
}
