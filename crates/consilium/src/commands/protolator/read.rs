//! A message out of JSON.

use prost_reflect::{
    DeserializeOptions, DynamicMessage, FieldDescriptor, Kind, MapKey, MessageDescriptor, Value,
};
use serde_json::{Map, Value as Json};
use std::collections::HashMap;

use super::carriers::{Form, Role, content, form, role_of};
use super::{message_type, wire};

/// The message of a type that a document shows.
pub fn message(
    tree: Json,
    descriptor: &MessageDescriptor,
    role: &Role,
    depth: usize,
) -> Result<DynamicMessage, String> {
    let read = of(tree, descriptor, role, depth);
    read.map_err(|error| format!("{}: {error}", descriptor.full_name()))
}

fn of(
    tree: Json,
    descriptor: &MessageDescriptor,
    role: &Role,
    depth: usize,
) -> Result<DynamicMessage, String> {
    let Some(depth) = depth.checked_sub(1) else {
        return Err("messages lie too deep in each other".to_owned());
    };
    let Json::Object(mut object) = tree else {
        return Err(format!("expected an object, found {}", kind_of(&tree)));
    };
    let mut special: Vec<(Form, FieldDescriptor, Json)> = Vec::new();
    for field in descriptor.fields() {
        let form = form(role, &field);
        if form != Form::Plain
            && let Some(value) = object.remove(field.name())
        {
            special.push((form, field, value));
        }
    }
    let options = DeserializeOptions::new().deny_unknown_fields(true);
    let mut message = DynamicMessage::deserialize_with_options(
        descriptor.clone(),
        Json::Object(object),
        &options,
    )
    .map_err(|error| format!("proto: {error}"))?;
    // What says what others are comes before them.
    special.sort_by_key(|(form, ..)| *form);
    for (_, field, value) in special {
        let name = field.name().to_owned();
        let read = value_of(&message, role, &field, value, depth);
        let read = read.map_err(|error| format!("field {name}: {error}"))?;
        if let Some(read) = read {
            message.set_field(&field, read);
        }
    }
    Ok(message)
}

fn value_of(
    message: &DynamicMessage,
    role: &Role,
    field: &FieldDescriptor,
    value: Json,
    depth: usize,
) -> Result<Option<Value>, String> {
    let one =
        |value: Json, key: &str, kind: &Kind| single(message, role, field, value, key, kind, depth);
    if field.is_list() {
        let Json::Array(items) = value else {
            return Err(format!("expected a list, found {}", kind_of(&value)));
        };
        let kind = field.kind();
        let items = items.into_iter().enumerate().map(|(index, item)| {
            let read = one(item, "", &kind);
            read.map_err(|error| format!("at index {index}: {error}"))
        });
        return Ok(Some(Value::List(items.collect::<Result<_, _>>()?)));
    }
    if field.is_map() {
        let entries: Map<String, Json> = match value {
            Json::Object(entries) => entries,
            other => return Err(format!("expected an object, found {}", kind_of(&other))),
        };
        let kind = match field.kind() {
            Kind::Message(entry) => entry.map_entry_value_field().kind(),
            kind => kind,
        };
        let entries = entries.into_iter().map(|(key, item)| {
            let read =
                one(item, &key, &kind).map_err(|error| format!("with key {key}: {error}"))?;
            Ok::<_, String>((MapKey::String(key), read))
        });
        let entries = entries.collect::<Result<HashMap<_, _>, _>>()?;
        return Ok(Some(Value::Map(entries)));
    }
    if value.is_null() {
        return Ok(None);
    }
    one(value, "", &field.kind()).map(Some)
}

/// One message, as itself or as the bytes that hold it.
fn single(
    holder: &DynamicMessage,
    role: &Role,
    field: &FieldDescriptor,
    value: Json,
    key: &str,
    kind: &Kind,
    depth: usize,
) -> Result<Value, String> {
    match kind {
        Kind::Message(inner) => {
            let role = role_of(role, field, key)?;
            message(value, inner, &role, depth).map(Value::Message)
        }
        _ => {
            let name = content(holder, role, field, key)?;
            let inner = message_type(name).map_err(|error| error.to_string())?;
            let inner = message(value, &inner, &Role::Plain, depth)?;
            Ok(Value::Bytes(wire::encode(&inner).into()))
        }
    }
}

fn kind_of(value: &Json) -> &'static str {
    match value {
        Json::Null => "null",
        Json::Bool(_) => "a truth value",
        Json::Number(_) => "a number",
        Json::String(_) => "a text",
        Json::Array(_) => "a list",
        Json::Object(_) => "an object",
    }
}
