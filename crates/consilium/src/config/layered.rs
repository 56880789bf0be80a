//! A node's settings out of a file and the environment, as Fabric's nodes read them: upper and lower
//! case are the same in keys, a variable such as `CORE_PEER_GOSSIP_BOOTSTRAP` goes before the key
//! `peer.gossip.bootstrap`, and a scalar may be written as text. fabric: core/peer/config.go,
//! common/viperutil/config_util.go
//!
//! [`read`] fills any struct that derives `Deserialize`: which keys there are is taken from its fields.
//! Keys that no field has are passed over and told.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;

use serde::de::value::StringDeserializer;
use serde::de::{
    self, DeserializeOwned, DeserializeSeed, Deserializer, IntoDeserializer, MapAccess, SeqAccess,
    Visitor,
};
use serde_json::{Map, Value};

/// What is wrong, and at which key.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct SettingError {
    key: Option<String>,
    message: String,
}

impl fmt::Display for SettingError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.key.as_deref() {
            None | Some("") => out.write_str(&self.message),
            Some(key) => write!(out, "{key}: {}", self.message),
        }
    }
}

impl std::error::Error for SettingError {}

impl de::Error for SettingError {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self {
            key: None,
            message: message.to_string(),
        }
    }
}

/// Variables of the environment, and which of them a node reads.
#[derive(Clone, Copy)]
pub(crate) struct Variables<'a> {
    /// `CORE` or `ORDERER`.
    pub(crate) prefix: &'static str,
    /// All of them.
    pub(crate) values: &'a BTreeMap<String, String>,
}

impl Variables<'_> {
    fn name(&self, key: &str) -> String {
        format!("{}_{}", self.prefix, key.replace('.', "_")).to_ascii_uppercase()
    }

    /// The value for a key. An empty one counts as none, as in Fabric.
    fn of(&self, key: &str) -> Option<&str> {
        let value = self.values.get(&self.name(key))?;
        Some(value.as_str()).filter(|value| !value.is_empty())
    }

    /// Whether there is one for something below a key.
    fn below(&self, key: &str) -> bool {
        let begin = format!("{}_", self.name(key));
        let mut after = self.values.range(begin.clone()..);
        after
            .next()
            .is_some_and(|(name, _)| name.starts_with(&begin))
    }
}

/// Settings, and the keys in `file` that mean nothing here.
///
/// # Errors
/// Which key is wrong or missing, and what was expected.
pub(crate) fn read<T: DeserializeOwned>(
    file: Value,
    variables: Variables<'_>,
) -> Result<(T, Vec<String>), SettingError> {
    let unknown = RefCell::default();
    let root = Setting {
        key: String::new(),
        value: file,
        variables,
        unknown: &unknown,
    };
    let settings = T::deserialize(root)?;
    let mut unknown = unknown.into_inner();
    unknown.sort();
    Ok((settings, unknown))
}

/// What one key has.
struct Setting<'a> {
    /// Its name from the root on; empty for the root.
    key: String,
    value: Value,
    variables: Variables<'a>,
    unknown: &'a RefCell<Vec<String>>,
}

impl<'a> Setting<'a> {
    fn inner(&self, name: &str, value: Value) -> Setting<'a> {
        let key = match self.key.as_str() {
            "" => name.to_owned(),
            key => format!("{key}.{name}"),
        };
        Setting {
            key,
            value,
            variables: self.variables,
            unknown: self.unknown,
        }
    }

    /// The value, which a variable replaces as a whole.
    fn resolved(self) -> Value {
        match self.variables.of(&self.key) {
            Some(text) if !self.key.is_empty() => Value::String(text.to_owned()),
            _ => self.value,
        }
    }

    /// The fields of a struct that somebody sets.
    fn fields(
        self,
        fields: &'static [&'static str],
    ) -> Result<Vec<(&'static str, Setting<'a>)>, SettingError> {
        let mut entries = match self.value {
            Value::Object(ref entries) => entries.clone(),
            Value::Null => Map::new(),
            ref other => return Err(unexpected(other, "keys with values")),
        };
        let mut found = Vec::new();
        for &field in fields {
            let given: Vec<_> = entries
                .keys()
                .filter(|name| name.eq_ignore_ascii_case(field))
                .cloned()
                .collect();
            let value = given.iter().filter_map(|name| entries.remove(name)).last();
            let setting = self.inner(field, value.unwrap_or(Value::Null));
            let variables = setting.variables;
            // A key without a value is one that nobody sets.
            if !setting.value.is_null()
                || variables.of(&setting.key).is_some()
                || variables.below(&setting.key)
            {
                found.push((field, setting));
            }
        }
        let unknown = entries.keys().map(|name| self.inner(name, Value::Null).key);
        self.unknown.borrow_mut().extend(unknown);
        Ok(found)
    }
}

fn unexpected(found: &Value, expected: &str) -> SettingError {
    de::Error::custom(format!("found `{found}`, expected {expected}"))
}

/// A text, or what stands in its place as another scalar.
fn text(value: Value) -> Result<String, SettingError> {
    match value {
        Value::String(text) => Ok(text),
        Value::Null => Ok(String::new()),
        Value::Bool(_) | Value::Number(_) => Ok(value.to_string()),
        other => Err(unexpected(&other, "a text")),
    }
}

/// Elements of a list in a text: a list as in YAML, `[a, b]`, or what is between blanks.
fn elements(text: &str) -> Vec<Value> {
    if text.trim_start().starts_with('[')
        && let Ok(Value::Array(list)) = super::parse(text)
    {
        return list;
    }
    let words = text.split_whitespace();
    words.map(|word| Value::String(word.to_owned())).collect()
}

/// Numbers come as such or as text.
macro_rules! scalars {
    ($($method:ident $visit:ident $type:ty, $expected:literal;)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, SettingError> {
            let value = self.resolved();
            let shown = text(value.clone()).map_err(|_| unexpected(&value, $expected))?;
            match shown.trim().parse::<$type>() {
                Ok(parsed) => visitor.$visit(parsed),
                Err(_) => Err(unexpected(&value, $expected)),
            }
        }
    )*};
}

impl<'de> Deserializer<'de> for Setting<'_> {
    type Error = SettingError;

    scalars! {
        deserialize_i8 visit_i8 i8, "a small whole number";
        deserialize_i16 visit_i16 i16, "a whole number";
        deserialize_i32 visit_i32 i32, "a whole number";
        deserialize_i64 visit_i64 i64, "a whole number";
        deserialize_u8 visit_u8 u8, "a whole number from 0 to 255";
        deserialize_u16 visit_u16 u16, "a whole number from 0 to 65535";
        deserialize_u32 visit_u32 u32, "a whole number, not negative";
        deserialize_u64 visit_u64 u64, "a whole number, not negative";
        deserialize_f32 visit_f32 f32, "a number";
        deserialize_f64 visit_f64 f64, "a number";
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, SettingError> {
        let value = self.resolved();
        // Go's strconv.ParseBool, by which Fabric reads them.
        match text(value.clone()).unwrap_or_default().trim() {
            "1" | "t" | "T" | "true" | "TRUE" | "True" => visitor.visit_bool(true),
            "0" | "f" | "F" | "false" | "FALSE" | "False" => visitor.visit_bool(false),
            _ => Err(unexpected(&value, "true or false")),
        }
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, SettingError> {
        visitor.visit_string(text(self.resolved())?)
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, SettingError> {
        self.deserialize_str(visitor)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, SettingError> {
        let key = self.key.clone();
        let fields = self.fields(fields).map_err(|error| error.at(&key))?;
        visitor
            .visit_map(Named {
                left: fields.into_iter(),
                next: None,
            })
            .map_err(|error| error.at(&key))
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, SettingError> {
        // A key that nobody sets does not come here: see `fields`.
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, SettingError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, SettingError> {
        let (variables, unknown, key) = (self.variables, self.unknown, self.key.clone());
        let values = match self.resolved() {
            Value::Array(values) => values,
            Value::String(text) => elements(&text),
            other => return Err(unexpected(&other, "a list")),
        };
        visitor.visit_seq(Elements {
            key,
            left: values.into_iter(),
            index: 0,
            variables,
            unknown,
        })
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, SettingError> {
        let entries = match &self.value {
            Value::Object(entries) => entries.clone(),
            Value::Null => Map::new(),
            other => return Err(unexpected(other, "keys with values")),
        };
        // A key without a value is one that nobody sets.
        let entries: Vec<_> = entries
            .into_iter()
            .filter(|(_, value)| !value.is_null())
            .map(|(name, value)| (name.clone(), self.inner(&name, value)))
            .collect();
        visitor.visit_map(Named {
            left: entries.into_iter(),
            next: None,
        })
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, SettingError> {
        let name: StringDeserializer<SettingError> = text(self.resolved())?.into_deserializer();
        visitor.visit_enum(name)
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(
        self,
        visitor: V,
    ) -> Result<V::Value, SettingError> {
        visitor.visit_unit()
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, SettingError> {
        let any = self.resolved();
        any.deserialize_any(visitor).map_err(de::Error::custom)
    }

    serde::forward_to_deserialize_any! {
        i128 u128 char bytes byte_buf unit unit_struct tuple tuple_struct identifier
    }
}

impl SettingError {
    /// The innermost key is the one that is told.
    fn at(self, key: &str) -> Self {
        Self {
            key: self.key.or_else(|| Some(key.to_owned())),
            ..self
        }
    }
}

/// Settings under their names: a struct's fields, or a map's entries, whose keys are the file's.
struct Named<'a, N> {
    left: std::vec::IntoIter<(N, Setting<'a>)>,
    next: Option<Setting<'a>>,
}

impl<'de, N: IntoDeserializer<'de, SettingError>> MapAccess<'de> for Named<'_, N> {
    type Error = SettingError;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, SettingError> {
        let Some((name, setting)) = self.left.next() else {
            return Ok(None);
        };
        self.next = Some(setting);
        seed.deserialize(name.into_deserializer()).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(
        &mut self,
        seed: V,
    ) -> Result<V::Value, SettingError> {
        let no_key = || de::Error::custom("a value without a key");
        let setting = self.next.take().ok_or_else(no_key)?;
        let key = setting.key.clone();
        seed.deserialize(setting).map_err(|error| error.at(&key))
    }
}

struct Elements<'a> {
    key: String,
    left: std::vec::IntoIter<Value>,
    index: usize,
    variables: Variables<'a>,
    unknown: &'a RefCell<Vec<String>>,
}

impl<'de> SeqAccess<'de> for Elements<'_> {
    type Error = SettingError;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, SettingError> {
        let Some(value) = self.left.next() else {
            return Ok(None);
        };
        // No variable has such a name: elements cannot be set one by one.
        let key = format!("{}[{}]", self.key, self.index);
        self.index += 1;
        let setting = Setting {
            key: key.clone(),
            value,
            variables: self.variables,
            unknown: self.unknown,
        };
        let element = seed.deserialize(setting);
        element.map(Some).map_err(|error| error.at(&key))
    }
}

#[cfg(test)]
mod tests;
