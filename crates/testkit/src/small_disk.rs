//! A file system that can be filled without harm.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A small file system in memory, mounted on a folder; unmounted when it is dropped.
pub struct SmallDisk {
    path: PathBuf,
}

impl SmallDisk {
    /// Mounts one of so many bytes on `path`, which is made. `None` where mounting is not allowed.
    ///
    /// # Panics
    /// When the folder cannot be made.
    pub fn mount(path: &Path, bytes: u64) -> Option<Self> {
        fs::create_dir_all(path).expect("a folder");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={bytes}"), "tmpfs"])
            .arg(path)
            .status();
        mounted
            .is_ok_and(|status| status.success())
            .then(|| SmallDisk {
                path: path.to_owned(),
            })
    }

    /// Where it is mounted.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn filler(&self) -> PathBuf {
        self.path.join("filler")
    }

    /// Fills all but two MiB.
    ///
    /// # Panics
    /// When less is free already.
    pub fn fill(&self) {
        const STEP: usize = 128 << 10;
        let mut file = File::create(self.filler()).expect("a file");
        let mut length = 0;
        while file.write_all(&[0; STEP]).is_ok() {
            length += STEP as u64;
        }
        let length = length.checked_sub(2 << 20).expect("two MiB");
        file.set_len(length).expect("a shorter file");
    }

    /// Gives the room back that [`fill`](Self::fill) took.
    ///
    /// # Panics
    /// When it was not filled.
    pub fn free(&self) {
        fs::remove_file(self.filler()).expect("a filler");
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: files of a node that is being stopped may be open a moment longer.
        let _ = Command::new("umount").arg("-l").arg(&self.path).status();
    }
}
