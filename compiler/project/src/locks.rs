//! What is kept from run to run: the numbers of identities, and the addresses of DNS names.
//!
//! A lock that does not fit is a finding, and is never written over.
//!
//! Not here: what is in a lock (weir-compiler).

use crate::error::ProjectError;
use crate::inputs;
use crate::project::Project;
use crate::refusal;
use crate::replace::replace;
use std::path::{Path, PathBuf};
use weir_compiler::fqdn::FqdnLock;
use weir_compiler::identity::IdentityLock;
use weir_grammar::span::FileId;

/// The numbers of identities, and the file that keeps them.
#[derive(Debug, Default)]
pub struct IdentityFile {
    /// The numbers. Compiling adds to them.
    pub lock: IdentityLock,
    /// Where they are kept, if anywhere.
    path: Option<PathBuf>,
    /// The file among the sources of the project that read it.
    file: Option<FileId>,
    /// What is on disk.
    kept: Option<IdentityLock>,
}

impl IdentityFile {
    /// The file among the sources of the project that read it; `None` if there is none yet.
    pub fn file(&self) -> Option<FileId> {
        self.file
    }

    /// Keeps the numbers, if they are others than on disk; tells whether anything was written. To be
    /// called before an image with these numbers takes its place: a number that is kept but unused does
    /// no harm, the reverse would.
    ///
    /// # Errors
    /// [`ProjectError::Unwritable`].
    pub fn save(&mut self) -> Result<bool, ProjectError> {
        let Some(path) = &self.path else { return Ok(false) };
        if self.kept.as_ref() == Some(&self.lock) {
            return Ok(false);
        }
        replace(path, self.lock.to_json().as_bytes())?;
        self.kept = Some(self.lock.clone());
        Ok(true)
    }
}

impl Project {
    /// Reads the file of identity numbers. One that is not there yet holds none; without a path,
    /// numbers are kept nowhere.
    ///
    /// # Errors
    /// [`ProjectError::Unreadable`]. What is wrong inside the file is a finding.
    pub fn identity_file(&mut self, path: Option<&Path>) -> Result<IdentityFile, ProjectError> {
        let Some(path) = path else { return Ok(IdentityFile::default()) };
        let is_there =
            path.try_exists().map_err(|error| ProjectError::unreadable(inputs::name(path), error))?;
        if !is_there {
            return Ok(IdentityFile { path: Some(path.to_owned()), ..IdentityFile::default() });
        }
        let file = match inputs::read_text(path, &mut self.sources)? {
            Ok(file) => file,
            Err(finding) => {
                self.add([*finding]);
                return Ok(IdentityFile::default());
            }
        };
        match IdentityLock::parse(self.sources.text(file)) {
            Ok(lock) => Ok(IdentityFile {
                kept: Some(lock.clone()),
                lock,
                path: Some(path.to_owned()),
                file: Some(file),
            }),
            Err(error) => {
                let finding = refusal::identity_lock(error, &self.sources, Some(file));
                self.add([finding]);
                Ok(IdentityFile::default())
            }
        }
    }

    /// Reads the lock of DNS names.
    ///
    /// # Errors
    /// [`ProjectError::Unreadable`]. What is wrong inside the file is a finding.
    pub fn fqdn_lock(&mut self, path: Option<&Path>) -> Result<Option<FqdnLock>, ProjectError> {
        let Some(path) = path else { return Ok(None) };
        let read = inputs::read_text(path, &mut self.sources)?;
        match read.and_then(|file| FqdnLock::parse(file, self.sources.text(file))) {
            Ok(lock) => Ok(Some(lock)),
            Err(finding) => {
                self.add([*finding]);
                Ok(None)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::shop::Shop;
    use std::fs;

    #[test]
    fn numbers_are_kept_and_written_only_when_they_change() {
        let shop = Shop::new();
        let mut project = shop.project();
        let path = shop.path("ids.json");
        let mut identities = project.identity_file(Some(&path)).unwrap();
        assert!(identities.file().is_none());
        project.compile(None, &mut identities.lock, None, &mut |_| ()).unwrap();
        assert_eq!((identities.save().unwrap(), identities.save().unwrap()), (true, false));

        let mut again = project.identity_file(Some(&path)).unwrap();
        assert!(again.file().is_some());
        project.compile(None, &mut again.lock, None, &mut |_| ()).unwrap();
        assert_eq!(again.lock, identities.lock);
        assert!(!again.save().unwrap());
    }

    #[test]
    fn a_lock_that_does_not_fit_is_a_finding_and_stays_as_it_is() {
        let shop = Shop::new();
        for bytes in [b"{\"version\": 1,\n \"pods\": }".as_slice(), b"\xff"] {
            shop.file("ids.json", bytes);
            let mut project = shop.project();
            let mut identities = project.identity_file(Some(&shop.path("ids.json"))).unwrap();
            assert!(project.has_errors());
            project.compile(None, &mut identities.lock, None, &mut |_| ()).unwrap();
            assert!(!identities.save().unwrap());
            assert_eq!(fs::read(shop.path("ids.json")).unwrap(), bytes);
        }
    }

    #[test]
    fn names_that_are_not_there_are_a_failure() {
        let shop = Shop::new();
        let failed = shop.project().fqdn_lock(Some(&shop.path("names.json"))).unwrap_err();
        assert!(failed.to_string().starts_with("cannot read "), "{failed}");
    }
}
