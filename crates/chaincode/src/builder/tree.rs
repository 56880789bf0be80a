//! What a builder may leave on the peer's disk: so much, and nothing that points elsewhere.

use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};

/// How much the files of a build may be, and how many.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pub(super) bytes: u64,
    pub(super) entries: u64,
}

/// Enough for the dependencies of a large contract, not for a disk.
pub(super) const LIMITS: Limits = Limits {
    bytes: 2 << 30,
    entries: 300_000,
};

/// What is wrong with what a builder left.
#[derive(Debug, thiserror::Error)]
pub(super) enum TreeError {
    #[error("it has left more than {0} bytes")]
    TooLarge(u64),
    #[error("it has left more than {0} files and folders")]
    TooMany(u64),
    #[error("refusing absolute symlink {link} -> {target}")]
    AbsoluteLink { link: PathBuf, target: PathBuf },
    #[error("refusing symlink {link} -> {target} pointing outside of its folder")]
    OutwardLink { link: PathBuf, target: PathBuf },
    #[error("refusing {0}, which is neither a file nor a folder")]
    Special(PathBuf),
    #[error("{path}: {cause}")]
    Read { path: PathBuf, cause: io::Error },
}

/// Checks a finished tree. fabric: core/container/externalbuilder/copy.go
pub(super) fn check(root: &Path, limits: Limits) -> Result<(), TreeError> {
    let real_root = fs::canonicalize(root).map_err(|cause| TreeError::Read {
        path: root.to_owned(),
        cause,
    })?;
    walk(root, limits, Unreadable::Wrong, |path, kind| {
        if kind.is_dir() || kind.is_file() {
            return Ok(());
        }
        let shown = || path.strip_prefix(root).unwrap_or(path).to_owned();
        if !kind.is_symlink() {
            return Err(TreeError::Special(shown()));
        }
        let target = fs::read_link(path).map_err(|cause| TreeError::Read {
            path: path.to_owned(),
            cause,
        })?;
        let link = shown();
        if target.is_absolute() {
            return Err(TreeError::AbsoluteLink { link, target });
        }
        // By its words, and by where it leads over other links.
        let leads_out = fs::canonicalize(path).is_ok_and(|real| !real.starts_with(&real_root));
        if leads_out || !points_inside(&link, &target) {
            return Err(TreeError::OutwardLink { link, target });
        }
        Ok(())
    })
}

/// Checks the size of a tree that somebody may be writing.
pub(super) fn check_size(root: &Path, limits: Limits) -> Result<(), TreeError> {
    walk(root, limits, Unreadable::PassedOver, |_, _| Ok(()))
}

/// What it means that something in a tree cannot be read.
#[derive(Clone, Copy)]
enum Unreadable {
    Wrong,
    /// While somebody writes, things may be gone by the time that they are looked at.
    PassedOver,
}

impl Unreadable {
    /// What was read in a folder; `None` to go on without.
    fn or<T>(self, folder: &Path, read: io::Result<T>) -> Result<Option<T>, TreeError> {
        match (read, self) {
            (Ok(read), _) => Ok(Some(read)),
            (Err(_), Self::PassedOver) => Ok(None),
            (Err(cause), Self::Wrong) => Err(TreeError::Read {
                path: folder.to_owned(),
                cause,
            }),
        }
    }
}

fn walk(
    root: &Path,
    limits: Limits,
    unreadable: Unreadable,
    mut see: impl FnMut(&Path, fs::FileType) -> Result<(), TreeError>,
) -> Result<(), TreeError> {
    let (mut bytes, mut entries) = (0_u64, 0_u64);
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        let Some(listed) = unreadable.or(&folder, fs::read_dir(&folder))? else {
            continue;
        };
        for entry in listed {
            // Of the link itself, not of what it points to.
            let seen = entry.and_then(|entry| Ok((entry.metadata()?, entry.path())));
            let Some((about, path)) = unreadable.or(&folder, seen)? else {
                continue;
            };
            entries += 1;
            if about.is_file() {
                bytes = bytes.saturating_add(about.len());
            }
            if entries > limits.entries {
                return Err(TreeError::TooMany(limits.entries));
            }
            if bytes > limits.bytes {
                return Err(TreeError::TooLarge(limits.bytes));
            }
            see(&path, about.file_type())?;
            if about.is_dir() {
                folders.push(path);
            }
        }
    }
    Ok(())
}

/// Whether a relative link at `link`, a path in a tree, points into the tree.
fn points_inside(link: &Path, target: &Path) -> bool {
    let mut depth = link.components().count().saturating_sub(1);
    for part in target.components() {
        match part {
            Component::ParentDir if depth == 0 => return false,
            Component::ParentDir => depth -= 1,
            Component::Normal(_) => depth += 1,
            Component::CurDir => {}
            Component::RootDir | Component::Prefix(_) => return false,
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn links_may_point_to_what_lies_in_the_same_tree() {
        for (link, target, inside) in [
            ("a", "b", true),
            ("node_modules/.bin/x", "../x/cli.js", true),
            ("a/b/c", "../../d", true),
            ("a/b/c", "../../../d", false),
            ("a", "..", false),
            ("a", ".", true),
            ("a/b", "..", true),
            ("a/b", "../c/../../d", false),
            ("a", "/etc/passwd", false),
        ] {
            assert_eq!(
                points_inside(Path::new(link), Path::new(target)),
                inside,
                "{link} -> {target}"
            );
        }
    }

    #[test]
    fn a_size_is_found_out_though_things_vanish_meanwhile() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        for number in 0..10 {
            fs::create_dir(root.join(format!("gone-{number}"))).unwrap();
            let kept = root.join(format!("kept-{number}"));
            fs::create_dir(&kept).unwrap();
            fs::write(kept.join("file"), [0; 10]).unwrap();
        }
        let limits = Limits {
            bytes: 99,
            entries: 1000,
        };
        // Half of the folders are not there any more when it is their turn.
        let vanish = |_: &Path, _: fs::FileType| {
            for number in 0..10 {
                let _ = fs::remove_dir(root.join(format!("gone-{number}")));
            }
            Ok(())
        };
        let seen = walk(root, limits, Unreadable::PassedOver, vanish);
        assert!(matches!(seen, Err(TreeError::TooLarge(99))), "{seen:?}");
    }

    #[test]
    fn what_a_builder_leaves_is_bounded_and_points_nowhere_else() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        fs::create_dir(root.join("sub")).unwrap();
        fs::write(root.join("sub/file"), [0; 100]).unwrap();
        symlink("sub/file", root.join("link")).unwrap();
        let fits = Limits {
            bytes: 100,
            entries: 3,
        };
        check(root, fits).unwrap();
        check_size(root, fits).unwrap();
        let large = Limits { bytes: 99, ..fits };
        let many = Limits { entries: 2, ..fits };
        for tight in [large, many] {
            assert!(check(root, tight).is_err());
            assert!(check_size(root, tight).is_err());
        }
        symlink("/etc/passwd", root.join("absolute")).unwrap();
        let said = check(root, LIMITS).unwrap_err().to_string();
        assert_eq!(said, "refusing absolute symlink absolute -> /etc/passwd");
        fs::remove_file(root.join("absolute")).unwrap();
        symlink("../out", root.join("outward")).unwrap();
        let said = check(root, LIMITS).unwrap_err().to_string();
        assert!(said.contains("pointing outside"), "{said}");
        fs::remove_file(root.join("outward")).unwrap();
        symlink(".", root.join("here")).unwrap();
        symlink("here/..", root.join("over")).unwrap();
        let said = check(root, LIMITS).unwrap_err().to_string();
        assert!(said.contains("over -> here/.. pointing outside"), "{said}");
        fs::remove_file(root.join("over")).unwrap();
        let socket = std::os::unix::net::UnixListener::bind(root.join("socket")).unwrap();
        let said = check(root, LIMITS).unwrap_err().to_string();
        assert!(said.contains("neither a file nor a folder"), "{said}");
        drop(socket);
    }
}
