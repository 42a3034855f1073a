//! A directory, watched for change.

use super::debounce::settle;
use notify::event::{AccessKind, AccessMode, ModifyKind};
use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use std::{fs, io};
use tokio::sync::mpsc::{self, Receiver, Sender};
use tokio::time::{Instant, timeout, timeout_at};
use tracing::warn;

/// How often every file is looked at while the kernel tells of changes,
const SLOW_LOOK: Duration = Duration::from_secs(30);
/// and while it cannot.
const FAST_LOOK: Duration = Duration::from_secs(2);
/// How long is waited for whoever writes a manifest to close it: half a policy may allow what the whole one denies.
const LONGEST_WRITE: Duration = Duration::from_secs(10);

/// Watches a directory.
#[derive(Debug)]
pub struct DirectoryWatch {
    path: PathBuf,
    tell: Sender<()>,
    changes: Receiver<()>,
    watcher: Option<RecommendedWatcher>,
    unfinished: Unfinished,
    /// What the directory looked like when it was last said to have changed.
    look: u64,
    /// Whether it was said that the kernel does not tell of changes.
    is_warned: bool,
}

impl DirectoryWatch {
    /// Begins to watch.
    pub(super) fn new(path: &Path) -> Self {
        // One change that waits is enough, for whoever hears of it looks at everything.
        let (tell, changes) = mpsc::channel(1);
        let path = path.to_owned();
        let unfinished = Unfinished::default();
        let mut watch =
            DirectoryWatch { path, tell, changes, watcher: None, unfinished, look: 0, is_warned: false };
        watch.watch();
        watch.look = look(&watch.path);
        watch
    }

    /// Returns when something changed and it has been quiet since.
    pub async fn changed(&mut self) {
        loop {
            let patience = if self.watcher.is_some() { SLOW_LOOK } else { FAST_LOOK };
            if timeout(patience, self.changes.recv()).await.is_ok() {
                self.settle_and_finish().await;
                break;
            }
            if self.is_another().await {
                break;
            }
            if self.watcher.is_none() {
                self.watch();
            }
        }
        // What is new below the directory, or behind another link, is watched from now on.
        self.watch();
        self.is_another().await;
    }

    /// Returns when it has been quiet for a while and nobody is writing a manifest any more.
    async fn settle_and_finish(&mut self) {
        let latest = Instant::now() + LONGEST_WRITE;
        while settle(&mut self.changes).await && self.unfinished.some().is_some() {
            if timeout_at(latest, self.changes.recv()).await.is_err() {
                if let Some(path) = self.unfinished.forget() {
                    warn!(path = %path.display(), "a manifest is still being written after 10 s; reading it as it is");
                }
                return;
            }
        }
    }

    /// Whether the directory looks otherwise than before.
    async fn is_another(&mut self) -> bool {
        let path = self.path.clone();
        let now = tokio::task::spawn_blocking(move || look(&path)).await.unwrap_or(self.look);
        std::mem::replace(&mut self.look, now) != now
    }

    /// Watches everything below the directory, and the directory's own name.
    fn watch(&mut self) {
        match watcher(&self.path, &self.tell, &self.unfinished) {
            Ok(watcher) => self.watcher = Some(watcher),
            Err(error) => {
                self.watcher = None;
                // A directory that is not there is told by whoever reads it.
                if self.path.is_dir() && !std::mem::replace(&mut self.is_warned, true) {
                    warn!(path = %self.path.display(), %error, "cannot watch the directory; looking at it every 2 s");
                }
            }
        }
    }
}

/// Manifests that were written to and not closed since.
#[derive(Clone, Debug, Default)]
struct Unfinished(Arc<Mutex<HashSet<PathBuf>>>);

impl Unfinished {
    /// More than these at once are not told apart from finished ones.
    const MOST: usize = 1024;

    fn take_note(&self, event: &notify::Event) {
        let mut unfinished = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for path in &event.paths {
            match event.kind {
                EventKind::Modify(ModifyKind::Data(_))
                    if is_awaited(path) && unfinished.len() < Self::MOST =>
                {
                    unfinished.insert(path.clone());
                }
                EventKind::Access(AccessKind::Close(AccessMode::Write))
                | EventKind::Modify(ModifyKind::Name(_))
                | EventKind::Remove(_) => _ = unfinished.remove(path),
                _ => {}
            }
        }
    }

    fn some(&self) -> Option<PathBuf> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).iter().next().cloned()
    }

    /// Takes all for finished; one of them.
    fn forget(&self) -> Option<PathBuf> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).drain().next()
    }
}

/// Whether the source reads a file of that name. Editors keep others open for hours.
fn is_awaited(path: &Path) -> bool {
    let is_hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
    !is_hidden && weir_project::is_manifest(path)
}

fn watcher(path: &Path, tell: &Sender<()>, unfinished: &Unfinished) -> notify::Result<RecommendedWatcher> {
    let (tell, own, unfinished) = (tell.clone(), path.to_owned(), unfinished.clone());
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        if let Ok(event) = &event {
            unfinished.take_note(event);
        }
        // An error may hide a change.
        if event.is_err() || event.is_ok_and(|event| matters(&event, &own)) {
            _ = tell.try_send(());
        }
    })?;
    watcher.watch(path, RecursiveMode::Recursive)?;
    if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        watcher.watch(parent, RecursiveMode::NonRecursive)?;
    }
    Ok(watcher)
}

/// Whether an event is a change of the directory or below it. That files are read, by us, is none.
fn matters(event: &notify::Event, own: &Path) -> bool {
    let is_change = match event.kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write)) => true,
        EventKind::Access(_) => false,
        _ => true,
    };
    // Links are followed, so what lies elsewhere may be below it too; only neighbours are known not to be.
    let is_neighbour = |path: &PathBuf| path.parent() == own.parent() && path != own;
    is_change && (event.paths.is_empty() || !event.paths.iter().all(is_neighbour))
}

/// A number that is another when any file is.
fn look(path: &Path) -> u64 {
    let mut look = Look::default();
    // What cannot be read looks like nothing; reading says why.
    _ = look.folder(path);
    look.sum
}

#[derive(Default)]
struct Look {
    sum: u64,
    seen: HashSet<(u64, u64)>,
}

impl Look {
    fn folder(&mut self, folder: &Path) -> io::Result<()> {
        let meta = fs::metadata(folder)?;
        if !self.seen.insert((meta.dev(), meta.ino())) {
            return Ok(());
        }
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            if entry.file_name().as_encoded_bytes().starts_with(b".") {
                continue;
            }
            let path = entry.path();
            match fs::metadata(&path) {
                Ok(meta) if meta.is_dir() => _ = self.folder(&path),
                Ok(meta) => self.file(&path, &meta),
                Err(_) => {}
            }
        }
        Ok(())
    }

    /// Files are added up, so their order does not matter.
    fn file(&mut self, path: &Path, meta: &fs::Metadata) {
        let mut hasher = DefaultHasher::new();
        let changed = (meta.mtime(), meta.mtime_nsec(), meta.ctime(), meta.ctime_nsec());
        (path, meta.dev(), meta.ino(), meta.len(), changed).hash(&mut hasher);
        self.sum = self.sum.wrapping_add(hasher.finish());
    }
}

#[cfg(test)]
mod tests;
