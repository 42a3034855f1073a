//! What is kept on disk, so that a start can enforce before any source answers: the last good image, the numbers of
//! identities, and who is who.
//!
//! ```text
//! image.weir        the image            identities.json   the numbers, as `policyc --identities` keeps them
//! state.json        roster, registrations, and which image they are for
//! services.weir     the service image    services-next.weir   the one that is about to come into force
//! ```
//!
//! A service image is kept before it comes into force, for the next one is compiled after it: whichever of the two is in force when a process
//! dies, it is here.
//! Each file is replaced in one step. One that cannot be read, damaged or another version's, is told and counts as missing; what it held comes back with the
//! source. One daemon at a time has the folder.

use crate::registrations::Registrations;
use crate::roster::Roster;
use crate::snapshot::chain;
use serde::{Deserialize, Serialize};
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use weir_abi::Image;
use weir_abi::layout::MAX_IMAGE_BYTES;
use weir_abi::services::ServiceImage;
use weir_abi::services::layout::MAX_SERVICE_BYTES;
use weir_compiler::identity::IdentityLock;
use weir_project::{ProjectError, replace};

const VERSION: u32 = 2;
const IMAGE: &str = "image.weir";
const IDENTITIES: &str = "identities.json";
const STATE: &str = "state.json";
const SERVICES: &str = "services.weir";
const NEXT_SERVICES: &str = "services-next.weir";
const LOCK: &str = "lock";
/// Names of files that are being written begin with this; see [`replace`].
const TEMPORARY: &[u8] = b".weir-";
/// Bytes of a JSON file that are read, at most.
const MAX_JSON: u64 = 256 << 20;

/// The folder, held by this process.
#[derive(Debug)]
pub struct Store {
    folder: PathBuf,
    _lock: File,
}

/// Why the folder cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// It cannot be made or opened.
    #[error("cannot use {}: {source}", .path.display())]
    Folder {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Another daemon has it.
    #[error("{} is in use by another policyd", .path.display())]
    InUse {
        /// Which.
        path: PathBuf,
    },
    /// A file cannot be replaced.
    #[error(transparent)]
    Replace(#[from] ProjectError),
    /// The file's content cannot be written as JSON.
    #[error("cannot write the state as JSON: {0}")]
    Json(#[from] serde_json::Error),
}

/// What was kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stored {
    /// The last good image, checked.
    pub image: Option<Arc<[u8]>>,
    /// Who is who.
    pub roster: Option<Roster>,
    /// Which interface a pod has.
    pub registrations: Registrations,
}

/// `state.json`.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct State {
    version: u32,
    /// The image that the roster is of, by its checksum.
    image: Option<u64>,
    roster: Option<Roster>,
    registrations: Registrations,
}

impl Store {
    /// Takes hold of a folder, which is made if it is not there.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn open(folder: &Path) -> Result<Store, StoreError> {
        let fail = |source| StoreError::Folder { path: folder.to_owned(), source };
        DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(fail)?;
        let mut options = OpenOptions::new();
        options.create(true).truncate(false).write(true).mode(0o600);
        let lock = options.open(folder.join(LOCK)).map_err(fail)?;
        match lock.try_lock() {
            Ok(()) => {
                let store = Store { folder: folder.to_owned(), _lock: lock };
                store.sweep();
                Ok(store)
            }
            Err(TryLockError::WouldBlock) => Err(StoreError::InUse { path: folder.to_owned() }),
            Err(TryLockError::Error(source)) => Err(fail(source)),
        }
    }

    /// Removes what a process that died while it wrote has left.
    fn sweep(&self) {
        let entries = fs::read_dir(&self.folder).into_iter().flatten().flatten();
        for entry in entries.filter(|entry| entry.file_name().as_encoded_bytes().starts_with(TEMPORARY)) {
            // It takes room and does no harm.
            _ = fs::remove_file(entry.path());
        }
    }

    /// Where the numbers of identities are kept.
    pub fn identities(&self) -> PathBuf {
        self.folder.join(IDENTITIES)
    }

    /// Reads what was kept, and says what is wrong with it.
    pub fn load(&self) -> (Stored, Vec<String>) {
        let mut stored = Stored::default();
        let mut findings = Vec::new();
        let most = u64::try_from(MAX_IMAGE_BYTES).unwrap_or(u64::MAX);
        match self.read(IMAGE, most) {
            Ok(Some(bytes)) => match Image::open(&bytes) {
                Ok(_) => stored.image = Some(bytes.into()),
                Err(error) => findings.push(self.left_out(IMAGE, &error)),
            },
            Ok(None) => {}
            Err(error) => findings.push(self.left_out(IMAGE, &error)),
        }
        let image = stored.image.as_ref().and_then(|image| Image::open(image).ok());
        let image = image.map(|image| image.header().checksum);
        match self.read(STATE, MAX_JSON).map(|bytes| bytes.as_deref().map(parse)) {
            Ok(Some(Ok(state))) => {
                // Who is who under another image, between whose writing and this a process died, says nothing of this one.
                stored.roster = state.roster.filter(|_| image.is_none() || state.image == image);
                stored.registrations = state.registrations;
            }
            Ok(Some(Err(error))) => findings.push(self.left_out(STATE, &error)),
            Ok(None) => {}
            Err(error) => findings.push(self.left_out(STATE, &error)),
        }
        findings.extend(self.check_identities());
        (stored, findings)
    }

    /// Numbers that cannot be read would refuse every image from now on; they are set aside, and given anew.
    fn check_identities(&self) -> Option<String> {
        let told = match self.read(IDENTITIES, MAX_JSON) {
            Ok(None) => return None,
            Ok(Some(bytes)) => match std::str::from_utf8(&bytes) {
                Ok(text) => match IdentityLock::parse(text) {
                    Ok(_) => return None,
                    Err(error) => self.left_out(IDENTITIES, &error),
                },
                Err(error) => self.left_out(IDENTITIES, &error),
            },
            Err(error) => self.left_out(IDENTITIES, &error),
        };
        let aside = self.folder.join(format!("{IDENTITIES}.damaged"));
        Some(match fs::rename(self.identities(), &aside) {
            Ok(()) => format!("{told}; set aside as {}", aside.display()),
            Err(error) => format!("{told}; cannot set it aside: {error}"),
        })
    }

    /// Keeps an image that came into force.
    ///
    /// # Errors
    /// [`StoreError::Replace`]; the old file is as it was.
    pub fn keep_image(&self, image: &[u8]) -> Result<(), StoreError> {
        Ok(replace(&self.folder.join(IMAGE), image)?)
    }

    /// Keeps who is who under an image.
    ///
    /// # Errors
    /// [`StoreError`]; the old file is as it was.
    pub fn keep_state(
        &self,
        image: Option<u64>,
        roster: Option<&Roster>,
        registrations: &Registrations,
    ) -> Result<(), StoreError> {
        let (roster, registrations) = (roster.cloned(), registrations.clone());
        let state = State { version: VERSION, image, roster, registrations };
        Ok(replace(&self.folder.join(STATE), &serde_json::to_vec(&state)?)?)
    }

    /// The service images that may be in force, checked, the likelier first; and what is wrong with others.
    pub fn load_services(&self) -> (Vec<Arc<[u8]>>, Vec<String>) {
        let (mut images, mut findings) = (Vec::new(), Vec::new());
        let most = u64::try_from(MAX_SERVICE_BYTES).unwrap_or(u64::MAX);
        for name in [SERVICES, NEXT_SERVICES] {
            match self.read(name, most) {
                Ok(Some(bytes)) => {
                    let bytes: Arc<[u8]> = bytes.into();
                    match ServiceImage::open(&bytes) {
                        Ok(_) => images.push(bytes),
                        Err(error) => findings.push(self.left_out(name, &error)),
                    }
                }
                Ok(None) => {}
                Err(error) => findings.push(self.left_out(name, &error)),
            }
        }
        (images, findings)
    }

    /// Keeps a service image that is about to come into force, beside the one that is.
    ///
    /// # Errors
    /// [`StoreError::Replace`]; the old file is as it was.
    pub fn keep_next_services(&self, image: &[u8]) -> Result<(), StoreError> {
        Ok(replace(&self.folder.join(NEXT_SERVICES), image)?)
    }

    /// The service image that was kept last is in force.
    ///
    /// # Errors
    /// [`StoreError::Folder`]; both files are as they were.
    pub fn services_in_force(&self) -> Result<(), StoreError> {
        let path = self.folder.join(SERVICES);
        fs::rename(self.folder.join(NEXT_SERVICES), &path)
            .map_err(|source| StoreError::Folder { path, source })
    }

    /// No service image is in force.
    ///
    /// # Errors
    /// [`StoreError::Folder`].
    pub fn forget_services(&self) -> Result<(), StoreError> {
        self.remove_files(&[NEXT_SERVICES, SERVICES])
    }

    fn remove_files(&self, names: &[&str]) -> Result<(), StoreError> {
        for name in names {
            let path = self.folder.join(name);
            match fs::remove_file(&path) {
                Err(source) if source.kind() != io::ErrorKind::NotFound => {
                    return Err(StoreError::Folder { path, source });
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// A file of the folder, at most so many bytes; `None` if it is not there.
    fn read(&self, name: &str, most: u64) -> io::Result<Option<Vec<u8>>> {
        let file = match File::open(self.folder.join(name)) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        if !file.metadata()?.is_file() {
            return Err(io::Error::other("it is no file"));
        }
        let mut bytes = Vec::new();
        file.take(most.saturating_add(1)).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > most {
            return Err(io::Error::from(io::ErrorKind::FileTooLarge));
        }
        Ok(Some(bytes))
    }

    fn left_out(&self, name: &str, error: &dyn std::error::Error) -> String {
        format!("{} is left out until the source answers: {}", self.folder.join(name).display(), chain(error))
    }

    /// Removes everything that a daemon keeps in a folder; what others put there stays.
    ///
    /// # Errors
    /// [`StoreError`]; [`StoreError::InUse`] while a daemon has it.
    pub fn remove(folder: &Path) -> Result<(), StoreError> {
        if !folder.exists() {
            return Ok(());
        }
        let store = Store::open(folder)?;
        let aside = format!("{IDENTITIES}.damaged");
        store.remove_files(&[IMAGE, IDENTITIES, aside.as_str(), STATE, NEXT_SERVICES, SERVICES, LOCK])?;
        match fs::remove_dir(folder) {
            Err(source) if source.kind() != io::ErrorKind::DirectoryNotEmpty => {
                Err(StoreError::Folder { path: folder.to_owned(), source })
            }
            _ => Ok(()),
        }
    }
}

fn parse(bytes: &[u8]) -> Result<State, serde_json::Error> {
    use serde::de::Error;
    let state: State = serde_json::from_slice(bytes)?;
    match state.version {
        VERSION => Ok(state),
        other => Err(serde_json::Error::custom(format!("version {other}, this program writes {VERSION}"))),
    }
}

#[cfg(test)]
mod tests;
