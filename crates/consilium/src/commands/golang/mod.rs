//! Texts as Go's standard library and protobuf write them, for commands whose output scripts know
//! from Fabric's.

pub mod flags;
mod json;
pub mod kingpin;
mod text;
mod version;

pub use json::{compact, indent, indented, json, json_indented, name_of};
pub use text::text;
pub use version::version;

use std::{io, path::Path, sync::LazyLock};

use consilium_proto::FILE_DESCRIPTOR_SET;
use prost_reflect::{DescriptorPool, DynamicMessage, FieldDescriptor, MessageDescriptor};

static SCHEMA: LazyLock<DescriptorPool> = LazyLock::new(|| {
    DescriptorPool::decode(FILE_DESCRIPTOR_SET)
        // The build compiled them; a test decodes them.
        .expect("our own descriptors")
});

/// The type of a message by its full name, such as `common.Config`.
pub fn message_type(name: &str) -> Option<MessageDescriptor> {
    SCHEMA.get_message_by_name(name)
}

/// A message as one of its schema's; the type by its full name.
fn dynamic(name: &str, encoded: &[u8]) -> anyhow::Result<DynamicMessage> {
    let descriptor = message_type(name)
        .ok_or_else(|| anyhow::anyhow!("there is no message of the type {name}"))?;
    Ok(DynamicMessage::decode(descriptor, encoded)?)
}

/// The fields of a message in the order of their declaration.
fn declared(message: &MessageDescriptor) -> Vec<FieldDescriptor> {
    let numbers = message.descriptor_proto().field.iter();
    let numbers = numbers.filter_map(|field| u32::try_from(field.number()).ok());
    numbers
        .filter_map(|number| message.get_field(number))
        .collect()
}

/// Numbers as Go prints a slice: `[1000 5000]`.
pub fn list<T: ToString>(items: &[T]) -> String {
    let items: Vec<String> = items.iter().map(T::to_string).collect();
    format!("[{}]", items.join(" "))
}

/// Why a file could not be read or written: `open x: no such file or directory`.
pub fn file_error(doing: &str, path: &Path, error: &io::Error) -> String {
    let reason = match error.kind() {
        io::ErrorKind::NotFound => "no such file or directory".to_owned(),
        io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        io::ErrorKind::IsADirectory => "is a directory".to_owned(),
        io::ErrorKind::NotADirectory => "not a directory".to_owned(),
        io::ErrorKind::AlreadyExists => "file exists".to_owned(),
        _ => error.to_string(),
    };
    format!("{doing} {}: {reason}", path.display())
}

/// The content of a file.
///
/// # Errors
/// In Go's words.
pub fn read_file(path: &Path) -> anyhow::Result<Vec<u8>> {
    std::fs::read(path).map_err(|error| {
        let doing = match error.kind() {
            io::ErrorKind::IsADirectory => "read",
            _ => "open",
        };
        anyhow::anyhow!(file_error(doing, path, &error))
    })
}

/// Writes a file.
///
/// # Errors
/// In Go's words.
pub fn write_file(path: &Path, content: &[u8]) -> anyhow::Result<()> {
    std::fs::write(path, content).map_err(|error| anyhow::anyhow!(file_error("open", path, &error)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_read_as_go_prints_them() {
        assert_eq!(list::<u64>(&[]), "[]");
        assert_eq!(list(&[1000, 5000]), "[1000 5000]");
        assert_eq!(list(&["extra", "more"]), "[extra more]");
    }

    #[test]
    fn files_fail_in_gos_words() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        let error = read_file(&path.join("absent")).unwrap_err();
        let expected = format!("open {}/absent: no such file or directory", path.display());
        assert_eq!(error.to_string(), expected);
        let error = read_file(path).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("read {}: is a directory", path.display())
        );
        let error = write_file(&path.join("absent/file"), b"").unwrap_err();
        assert!(error.to_string().starts_with("open "), "{error}");
    }

    #[test]
    fn an_unknown_type_is_named() {
        let error = dynamic("protos.Nothing", &[]).unwrap_err();
        assert!(error.to_string().contains("protos.Nothing"));
    }
}
