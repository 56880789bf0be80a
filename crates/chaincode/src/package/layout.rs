//! Laying a package out on disk, as external builders expect it.

use super::Package;
use super::archive::{self, ArchiveError, Limits};
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Folders that the files of an archive may be spread over.
const MAX_FOLDERS: usize = 20_000;

impl Package {
    /// Writes `metadata.json` into one folder and the files of the code archive into another. Names
    /// that lead out of the folder, and anything but files and folders, are refused before they are
    /// made. fabric: core/container/externalbuilder/tar.go
    ///
    /// # Errors
    /// What the archive does wrong, or the disk.
    pub(crate) fn lay_out(&self, metadata: &Path, source: &Path) -> Result<(), String> {
        let described = metadata.join("metadata.json");
        fs::write(&described, &self.metadata_json)
            .map_err(|error| format!("could not write metadata file: {error}"))?;
        let mut folders = MAX_FOLDERS;
        archive::read(&self.code, Limits::SOURCE, |name, content| {
            let failed = |cause: io::Error| ArchiveError::Content {
                name: name.to_owned(),
                cause,
            };
            let path = source.join(name);
            if let Some(folder) = path.parent() {
                make_folders(folder, &mut folders).map_err(failed)?;
            }
            // Who builds has to be able to read it, whatever the archive says.
            let mode = content.permissions() | 0o600;
            let mut options = OpenOptions::new();
            options.write(true).create(true).truncate(true).mode(mode);
            let mut file = options.open(&path).map_err(failed)?;
            content.copy_to(&mut file)?;
            file.flush().map_err(failed)
        })
        .map_err(|error| format!("could not untar source package: {error}"))
    }
}

/// Makes a folder and those above it, as far as they are missing and `left` lasts.
fn make_folders(folder: &Path, left: &mut usize) -> io::Result<()> {
    let mut made = fs::create_dir(folder);
    if let (Err(error), Some(above)) = (&made, folder.parent())
        && error.kind() == io::ErrorKind::NotFound
    {
        make_folders(above, left)?;
        made = fs::create_dir(folder);
    }
    match made {
        Ok(()) => {
            let fewer = left.checked_sub(1);
            *left = fewer
                .ok_or_else(|| io::Error::other(format!("more than {MAX_FOLDERS} folders")))?;
            Ok(())
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && folder.is_dir() => Ok(()),
        failed => failed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::package::{PackageMetadata, archive, package_id};
    use flate2::{Compression, write::GzEncoder};
    use std::os::unix::fs::PermissionsExt;

    /// A package whose code archive has these entries: name as it is on the tape, type, mode, content.
    fn package(entries: &[(&str, tar::EntryType, u32, &str)]) -> Package {
        let mut tape = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
        for (name, kind, mode, content) in entries {
            let mut header = tar::Header::new_gnu();
            // Written as it is: the library would not write a name that leads out of the archive.
            header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
            header.set_entry_type(*kind);
            header.set_mode(*mode);
            header.set_size(content.len() as u64);
            header.set_cksum();
            tape.append(&header, content.as_bytes()).unwrap();
        }
        let code = tape.into_inner().unwrap().finish().unwrap();
        let metadata = serde_json::to_vec(&PackageMetadata {
            path: String::new(),
            kind: "golang".to_owned(),
            label: "label".to_owned(),
        })
        .unwrap();
        let files: [(&str, &[u8]); 2] = [("metadata.json", &metadata), ("code.tar.gz", &code)];
        let file = archive::write(&files).unwrap();
        let package = Package::parse(&file).unwrap();
        assert_eq!(package.id, package_id("label", &file));
        package
    }

    #[test]
    fn a_package_is_laid_out_with_its_folders_and_permissions() {
        let folder = tempfile::tempdir().unwrap();
        let (metadata, source) = (folder.path().join("metadata"), folder.path().join("src"));
        fs::create_dir(&metadata).unwrap();
        fs::create_dir(&source).unwrap();
        let file = tar::EntryType::Regular;
        package(&[
            ("src/go.mod", file, 0o644, "module notes\n"),
            ("./src/deep/er/main.go", file, 0o100_644, "package main\n"),
            ("bin/tool", file, 0o6755, "#!/bin/sh\n"),
            ("src/go.mod", file, 0o644, "again"),
        ])
        .lay_out(&metadata, &source)
        .unwrap();
        let read = |name: &str| fs::read_to_string(source.join(name)).unwrap();
        assert_eq!(read("src/go.mod"), "again");
        assert_eq!(read("src/deep/er/main.go"), "package main\n");
        let tool = fs::metadata(source.join("bin/tool")).unwrap();
        // The set-user-ID bits are not for others to give.
        assert_eq!(tool.permissions().mode() & 0o7111, 0o111);
        let described = fs::read_to_string(metadata.join("metadata.json")).unwrap();
        assert!(described.contains("\"golang\""), "{described}");
    }

    #[test]
    fn nothing_is_written_outside_of_the_folder() {
        let outside = tempfile::tempdir().unwrap();
        for (name, kind) in [
            ("../out", tar::EntryType::Regular),
            ("a/../../out", tar::EntryType::Regular),
            ("/tmp/out", tar::EntryType::Regular),
            ("link", tar::EntryType::Symlink),
            ("link", tar::EntryType::Link),
            ("pipe", tar::EntryType::Fifo),
            ("device", tar::EntryType::Char),
        ] {
            let folder = outside.path().join("folder");
            fs::create_dir_all(&folder).unwrap();
            let refused = package(&[(name, kind, 0o644, "")])
                .lay_out(&folder, &folder)
                .unwrap_err();
            assert!(refused.starts_with("could not untar"), "{refused}");
            let left: Vec<_> = fs::read_dir(&folder).unwrap().collect();
            assert_eq!(left.len(), 1, "{name}: only metadata.json");
            assert!(!outside.path().join("out").exists());
            fs::remove_dir_all(&folder).unwrap();
        }
    }

    #[test]
    fn a_few_files_do_not_make_folders_without_end() {
        let folder = tempfile::tempdir().unwrap();
        let (metadata, source) = (folder.path().join("metadata"), folder.path().join("src"));
        fs::create_dir(&metadata).unwrap();
        fs::create_dir(&source).unwrap();
        let deep = "d/".repeat(40);
        let names: Vec<_> = (0..600).map(|number| format!("{number}/{deep}x")).collect();
        let file = tar::EntryType::Regular;
        let entries: Vec<_> = names
            .iter()
            .map(|name| (name.as_str(), file, 0o644, ""))
            .collect();
        let refused = package(&entries).lay_out(&metadata, &source).unwrap_err();
        assert!(refused.ends_with("more than 20000 folders"), "{refused}");
        package(&entries[..400])
            .lay_out(&metadata, &source)
            .unwrap();
    }
}
