//! Our protocol buffers compared with Fabric's own: every field and method, and the bytes of messages.
//!
//! The recordings lie beside this file; tests/golden/record_protos.py makes them from the package that
//! the Fabric project publishes.

mod types;

use std::collections::BTreeSet;

use consilium_proto::FILE_DESCRIPTOR_SET;
use prost::Message as _;
use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{DescriptorProto, EnumDescriptorProto, FieldDescriptorProto, FileDescriptorSet};

const SCHEMA: &str = include_str!("schema.txt");
const MESSAGES: &str = include_str!("messages.txt");

fn recorded(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter(|line| !line.starts_with('#'))
}

/// Our schema in the form of the recording.
fn schema() -> BTreeSet<String> {
    let set = FileDescriptorSet::decode(FILE_DESCRIPTOR_SET).expect("our own descriptors");
    let mut lines = BTreeSet::new();
    for file in &set.file {
        for message in &file.message_type {
            message_lines(file.package(), message, &mut lines);
        }
        for kind in &file.enum_type {
            enum_lines(file.package(), kind, &mut lines);
        }
        for service in &file.service {
            for method in &service.method {
                let stream = |streams| if streams { "stream " } else { "" };
                lines.insert(format!(
                    "method {}.{} {} ({}{}) ({}{})",
                    file.package(),
                    service.name(),
                    method.name(),
                    stream(method.client_streaming()),
                    absolute(method.input_type()),
                    stream(method.server_streaming()),
                    absolute(method.output_type()),
                ));
            }
        }
    }
    lines
}

fn absolute(type_name: &str) -> &str {
    type_name.trim_start_matches('.')
}

fn message_lines(scope: &str, message: &DescriptorProto, lines: &mut BTreeSet<String>) {
    let name = format!("{scope}.{}", message.name());
    lines.insert(format!("message {name}"));
    for field in &message.field {
        let oneof = field
            .oneof_index
            .and_then(|index| message.oneof_decl.get(usize::try_from(index).ok()?))
            .map_or_else(String::new, |oneof| format!(" oneof {}", oneof.name()));
        let kind = kind(message, field);
        lines.insert(format!(
            "field {name} {} {} {kind}{oneof}",
            field.number(),
            field.name()
        ));
    }
    for nested in message
        .nested_type
        .iter()
        .filter(|nested| !is_map_entry(nested))
    {
        message_lines(&name, nested, lines);
    }
    for kind in &message.enum_type {
        enum_lines(&name, kind, lines);
    }
}

fn enum_lines(scope: &str, kind: &EnumDescriptorProto, lines: &mut BTreeSet<String>) {
    for value in &kind.value {
        lines.insert(format!(
            "value {scope}.{} {} {}",
            kind.name(),
            value.number(),
            value.name()
        ));
    }
}

fn is_map_entry(message: &DescriptorProto) -> bool {
    message
        .options
        .as_ref()
        .is_some_and(|options| options.map_entry())
}

fn kind(message: &DescriptorProto, field: &FieldDescriptorProto) -> String {
    let name = match field.r#type() {
        Type::Message | Type::Enum => absolute(field.type_name()).to_owned(),
        scalar => scalar
            .as_str_name()
            .trim_start_matches("TYPE_")
            .to_lowercase(),
    };
    let last = name.rsplit('.').next().unwrap_or_default();
    let entry = message
        .nested_type
        .iter()
        .find(|nested| is_map_entry(nested) && nested.name() == last);
    match entry {
        Some(entry) => format!(
            "map<{},{}>",
            kind(entry, &entry.field[0]),
            kind(entry, &entry.field[1])
        ),
        None if field.label() == Label::Repeated => format!("repeated {name}"),
        None => name,
    }
}

#[test]
fn every_message_field_enum_and_method_of_fabric_is_ours() {
    let ours = schema();
    let missing: Vec<&str> = recorded(SCHEMA)
        .filter(|line| !ours.contains(*line))
        .collect();
    assert!(
        missing.is_empty(),
        "{} lines are missing:\n{}",
        missing.len(),
        missing.join("\n")
    );
}

#[test]
fn what_fabric_defines_has_no_additions_of_ours() {
    let theirs: BTreeSet<&str> = recorded(SCHEMA).collect();
    let subject = |line: &str| line.split(' ').nth(1).unwrap_or_default().to_owned();
    let known: BTreeSet<String> = theirs.iter().map(|line| subject(line)).collect();
    let extra: Vec<String> = schema()
        .into_iter()
        .filter(|line| !theirs.contains(line.as_str()) && known.contains(&subject(line)))
        .collect();
    assert!(
        extra.is_empty(),
        "{} lines are ours alone:\n{}",
        extra.len(),
        extra.join("\n")
    );
}

/// Messages with maps to messages that may be empty. Our encoder leaves an empty value out of a map's
/// entry and Fabric's writes it; both are legal and read alike.
const MAPS_TO_EMPTY_VALUES: &[&str] = &["common.Capabilities"];

#[test]
fn recorded_messages_are_read_and_encoded_to_the_same_bytes() {
    let mut compared = 0;
    let mut different = Vec::new();
    for line in recorded(MESSAGES) {
        let mut words = line.split(' ');
        let (name, variant) = (
            words.next().expect("a name"),
            words.next().expect("a variant"),
        );
        let bytes = unhex(words.next().unwrap_or_default());
        let reencode = |bytes: &[u8]| {
            types::reencode(name, bytes)
                .unwrap_or_else(|| panic!("{name} is not among our types"))
                .unwrap_or_else(|error| panic!("{name} {variant}: {error}"))
        };
        let encoded = reencode(&bytes);
        assert_eq!(reencode(&encoded), encoded, "{name} {variant} is stable");
        if encoded != bytes && !MAPS_TO_EMPTY_VALUES.contains(&name) {
            different.push(format!("{name} {variant}"));
        }
        compared += 1;
    }
    assert!(different.is_empty(), "{}", different.join("\n"));
    assert!(compared > 300, "{compared} messages compared");
}

#[test]
fn cut_messages_are_errors_or_messages_but_never_panics() {
    for line in recorded(MESSAGES) {
        let mut words = line.split(' ');
        let name = words.next().expect("a name");
        let bytes = unhex(words.nth(1).unwrap_or_default());
        for end in (0..bytes.len()).step_by(7) {
            let _ = types::reencode(name, &bytes[..end]);
        }
    }
}

fn unhex(text: &str) -> Vec<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16).expect("a hexadecimal digit") as u8;
    text.as_bytes()
        .chunks_exact(2)
        .map(|pair| digit(pair[0]) << 4 | digit(pair[1]))
        .collect()
}
