//! A message as JSON.

use base64::{Engine, prelude::BASE64_STANDARD};
use prost_reflect::{DynamicMessage, EnumDescriptor, FieldDescriptor, Kind, ReflectMessage, Value};
use serde_json::{Map, Value as Json};

use super::carriers::{Form, Role, content, form, role_of};
use super::{decode, golang, message_type};

/// A message with what its byte fields hold.
pub fn tree(message: &DynamicMessage, role: &Role, depth: usize) -> Result<Json, String> {
    let shown = fields(message, |field| shown(message, role, field, depth));
    shown.map_err(|error| format!("{}: {error}", message.descriptor().full_name()))
}

/// All fields that are not variants of a choice, and the variants that were chosen.
fn fields(
    message: &DynamicMessage,
    show: impl Fn(&FieldDescriptor) -> Result<Json, String>,
) -> Result<Json, String> {
    let mut object = Map::new();
    for field in message.descriptor().fields() {
        if field.containing_oneof().is_none() || message.has_field(&field) {
            object.insert(field.name().to_owned(), show(&field)?);
        }
    }
    Ok(Json::Object(object))
}

fn shown(
    message: &DynamicMessage,
    role: &Role,
    field: &FieldDescriptor,
    depth: usize,
) -> Result<Json, String> {
    let form = form(role, field);
    if form == Form::Plain {
        return plain_field(message, field);
    }
    let Some(depth) = depth.checked_sub(1) else {
        return Err("messages lie too deep in each other".to_owned());
    };
    let single = !field.is_list() && !field.is_map();
    if single && !message.has_field(field) {
        return Ok(Json::Null);
    }
    let show = |value: &Value, key: &str| match value {
        Value::Message(inner) => tree(inner, &role_of(role, field, key)?, depth),
        Value::Bytes(bytes) => {
            let name = content(message, role, field, key)?;
            let inner = message_type(name).and_then(|found| decode(found, bytes));
            tree(
                &inner.map_err(|error| error.to_string())?,
                &Role::Plain,
                depth,
            )
        }
        other => Ok(plain(other, &field.kind())),
    };
    let located = |error: String| match single {
        true => format!("error in PopulateTo for field {}: {error}", field.name()),
        false => error,
    };
    match &*message.get_field(field) {
        Value::List(items) => {
            let shown = items.iter().enumerate().map(|(index, item)| {
                let at = |error| {
                    let name = field.name();
                    format!("error in PopulateTo for slice field {name} at index {index}: {error}")
                };
                show(item, "").map_err(at)
            });
            Ok(Json::Array(shown.collect::<Result<_, _>>()?))
        }
        Value::Map(entries) => {
            let shown = entries.iter().map(|(key, item)| {
                let key = golang::name_of(key);
                let at = |error| {
                    let name = field.name();
                    format!("error in PopulateTo for map field {name} and key {key}: {error}")
                };
                let shown = show(item, &key).map_err(at)?;
                Ok::<_, String>((key, shown))
            });
            Ok(Json::Object(shown.collect::<Result<_, _>>()?))
        }
        value => show(value, "").map_err(located),
    }
}

/// A field as protobuf's own JSON has it.
fn plain_field(message: &DynamicMessage, field: &FieldDescriptor) -> Result<Json, String> {
    let is_message = matches!(field.kind(), Kind::Message(_));
    if is_message && !field.is_list() && !field.is_map() && !message.has_field(field) {
        return Ok(Json::Null);
    }
    let value = message.get_field(field);
    if let Value::Message(inner) = &*value
        && inner.descriptor().full_name() == "google.protobuf.Timestamp"
    {
        return timestamp(inner);
    }
    Ok(plain(&value, &field.kind()))
}

fn plain(value: &Value, kind: &Kind) -> Json {
    match value {
        Value::Bool(value) => Json::Bool(*value),
        Value::I32(value) => (*value).into(),
        Value::U32(value) => (*value).into(),
        // Numbers of 64 bits do not fit those of JavaScript.
        Value::I64(value) => Json::String(value.to_string()),
        Value::U64(value) => Json::String(value.to_string()),
        Value::F32(value) => (*value).into(),
        Value::F64(value) => (*value).into(),
        Value::String(value) => Json::String(value.clone()),
        Value::Bytes(value) => Json::String(BASE64_STANDARD.encode(value)),
        Value::EnumNumber(number) => enumerated(kind.as_enum(), *number),
        // The closure does not fail.
        Value::Message(inner) => {
            fields(inner, |field| plain_field(inner, field)).unwrap_or_default()
        }
        Value::List(items) => items.iter().map(|item| plain(item, kind)).collect(),
        Value::Map(entries) => {
            let kind = match kind {
                Kind::Message(entry) => entry.map_entry_value_field().kind(),
                other => other.clone(),
            };
            let shown = entries
                .iter()
                .map(|(key, item)| (golang::name_of(key), plain(item, &kind)));
            Json::Object(shown.collect())
        }
    }
}

fn enumerated(known: Option<&EnumDescriptor>, number: i32) -> Json {
    let known = known.and_then(|known| known.get_value(number));
    known.map_or_else(
        || number.into(),
        |known| Json::String(known.name().to_owned()),
    )
}

fn timestamp(message: &DynamicMessage) -> Result<Json, String> {
    let time: prost_types::Timestamp = message
        .transcode_to()
        .map_err(|error| format!("timestamp: {error}"))?;
    // From the year 1 to the year 9999, as JSON has them.
    let is_valid = (-62_135_596_800..=253_402_300_799).contains(&time.seconds)
        && (0..=999_999_999).contains(&time.nanos);
    if !is_valid {
        return Err(format!(
            "google.protobuf.Timestamp: seconds out of range {}",
            time.seconds
        ));
    }
    Ok(Json::String(time.to_string()))
}
