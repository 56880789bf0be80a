//! Folders for what is needed for a while only.

use std::fs::{File, TryLockError};
use std::path::Path;

use anyhow::Context;
use tempfile::{Builder, TempDir};

const PREFIX: &str = "verifying-";
/// Held while a folder is made or left ones are removed. Itself it stays.
const TURN: &str = "verifying.lock";
/// In each folder; held as long as its command runs, and given up by the system however that ends.
/// A process id would say nothing: it comes again, in containers at once.
const IN_USE: &str = "in-use";

/// An empty folder beside a peer's data, removed in the end.
#[derive(Debug)]
pub(super) struct Scratch {
    folder: TempDir,
    _lock: File,
}

impl Scratch {
    /// Makes one in the folder `data`, and removes those that killed commands left.
    pub(super) fn new(data: &Path) -> anyhow::Result<Self> {
        Self::make(data).with_context(|| format!("cannot make a folder in {}", data.display()))
    }

    fn make(data: &Path) -> std::io::Result<Self> {
        let turn = open(&data.join(TURN))?;
        turn.lock()?;
        for entry in std::fs::read_dir(data)? {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default();
            let is_one = name.to_string_lossy().starts_with(PREFIX) && path.is_dir();
            if is_one && !is_in_use(&path)? {
                std::fs::remove_dir_all(&path)?;
            }
        }
        let folder = Builder::new().prefix(PREFIX).tempdir_in(data)?;
        let lock = open(&folder.path().join(IN_USE))?;
        lock.lock()?;
        Ok(Self {
            folder,
            _lock: lock,
        })
    }

    pub(super) fn path(&self) -> &Path {
        self.folder.path()
    }
}

fn open(path: &Path) -> std::io::Result<File> {
    let mut options = File::options();
    options.create(true).truncate(false).write(true).open(path)
}

fn is_in_use(folder: &Path) -> std::io::Result<bool> {
    match open(&folder.join(IN_USE))?.try_lock() {
        Ok(()) => Ok(false),
        Err(TryLockError::WouldBlock) => Ok(true),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_uses_is_removed_and_what_somebody_uses_stays() {
        let data = tempfile::tempdir().unwrap();
        std::fs::write(data.path().join("verifying-notes"), "mine").unwrap();
        let other = Scratch::new(data.path()).unwrap();
        std::fs::write(other.path().join("state"), "half").unwrap();
        // Left by a killed process, one of the same id, too.
        let stale = data.path().join(format!("{PREFIX}{}", std::process::id()));
        std::fs::create_dir(&stale).unwrap();
        std::fs::write(stale.join("state"), "old").unwrap();
        std::fs::write(stale.join(IN_USE), "").unwrap();
        let scratch = Scratch::new(data.path()).unwrap();
        assert!(!stale.exists());
        assert!(other.path().join("state").exists());
        let names: Vec<_> = std::fs::read_dir(scratch.path()).unwrap().collect();
        assert_eq!(names.len(), 1, "{names:?}");
        let path = scratch.path().to_owned();
        drop(scratch);
        assert!(!path.exists());
        assert!(data.path().join("verifying-notes").exists());
    }
}
