//! Who may read the file of a private key.

use std::{fs, os::unix::fs::PermissionsExt, path::Path};

/// Bits by which the group or everybody may read or change a file.
const OTHERS: u32 = 0o066;

/// What is wrong with the mode of a key's file; nothing for one that cannot be looked at, as whoever reads
/// it says why.
///
/// Worth a warning and not a refusal: orchestrators hand out keys as files of a group.
pub fn complaint(key: &Path) -> Option<String> {
    let mode = fs::metadata(key).ok()?.permissions().mode() & 0o777;
    (mode & OTHERS != 0).then(|| {
        format!(
            "the private key {} is open to others than its owner (mode {mode:04o}): chmod 600",
            key.display()
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_others_may_read_is_complained_about() {
        let folder = tempfile::tempdir().unwrap();
        let key = folder.path().join("server.key");
        assert_eq!(complaint(&key), None);
        fs::write(&key, "key").unwrap();
        for (mode, is_open) in [(0o600, false), (0o400, false), (0o640, true), (0o644, true)] {
            fs::set_permissions(&key, fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(complaint(&key).is_some(), is_open, "{mode:o}");
        }
        assert!(complaint(&key).unwrap().contains("mode 0644"));
    }
}
