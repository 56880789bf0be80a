//! Settings of one of the programs: its home, its configuration file, variables and flags.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use anyhow::Context;
use clap::ArgMatches;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{
    Program,
    flags::{self, Flag, Kind},
    log,
};
use crate::config;

/// Where a program's configuration is, and what goes before it.
pub(super) struct Settings {
    program: Program,
    /// Its file, whether it is there or not.
    pub file: PathBuf,
    /// Variables of the environment, and flags under the names of variables.
    variables: BTreeMap<String, String>,
}

impl Settings {
    /// From the command line and the environment.
    pub fn new(program: Program, matches: &ArgMatches, flags: &[Flag]) -> anyhow::Result<Self> {
        let mut variables: BTreeMap<String, String> = std::env::vars_os()
            // What is no text is no setting.
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        let name =
            |key: &str| format!("{}_{}", program.prefix(), key.replace('.', "_")).to_uppercase();
        for flag in flags.iter().filter(|flag| flag.kind == Kind::List) {
            if let Some(value) = variables.get_mut(&name(flag.key)) {
                *value = flags::json_list(std::iter::once(value.as_str()));
            }
        }
        for (key, value) in flags::given(matches, flags) {
            variables.insert(name(&key), value);
        }
        let text = |name: &str| {
            let given = matches.try_get_one::<String>(name).ok().flatten();
            given.filter(|text| !text.is_empty()).cloned()
        };
        let file = file_of(program, text("config"), text("home"), &variables)?;
        Ok(Self {
            program,
            file,
            variables,
        })
    }

    /// The folder of the file, which relative paths are in.
    pub fn home(&self) -> &Path {
        self.file.parent().unwrap_or(Path::new("/"))
    }

    /// What a variable or a flag says for a key.
    pub fn variable(&self, key: &str) -> Option<&str> {
        let name = format!("{}_{}", self.program.prefix(), key.replace('.', "_")).to_uppercase();
        let value = self.variables.get(&name)?;
        Some(value.as_str()).filter(|value| !value.is_empty())
    }

    /// The file's content; nothing if there is no file.
    pub fn content(&self) -> anyhow::Result<Value> {
        if !self.file.is_file() {
            return Ok(Value::Object(serde_json::Map::new()));
        }
        let content: Value = config::read(&self.file)
            .with_context(|| format!("Failed to read config file at '{}'", self.file.display()))?;
        Ok(match content {
            Value::Null => Value::Object(serde_json::Map::new()),
            other => other,
        })
    }

    /// Reads `content` with variables and flags before it; also the keys that have no meaning in
    /// `T`.
    pub fn read<T: DeserializeOwned>(&self, content: Value) -> anyhow::Result<(T, Vec<String>)> {
        self.read_beside(content, &Value::Null)
    }

    /// As [`read`](Self::read), but the keys of `own` stand whatever variables say.
    pub fn read_beside<T: DeserializeOwned>(
        &self,
        content: Value,
        own: &Value,
    ) -> anyhow::Result<(T, Vec<String>)> {
        let mut variables = self.variables.clone();
        for key in leaves(own) {
            let name = format!("{}_{}", self.program.prefix(), key.replace('.', "_"));
            variables.remove(&name.to_uppercase());
        }
        config::read_content(self.program.prefix(), content, &variables)
            .with_context(|| format!("Incorrect format in file '{}'", self.file.display()))
    }
}

/// The names of all keys that have values of their own, in full.
fn leaves(value: &Value) -> Vec<String> {
    let Value::Object(members) = value else {
        return Vec::new();
    };
    let mut keys = Vec::new();
    for (name, inner) in members {
        match inner {
            Value::Object(_) => {
                keys.extend(leaves(inner).iter().map(|below| format!("{name}.{below}")));
            }
            Value::Null => {}
            _ => keys.push(name.clone()),
        }
    }
    keys
}

/// Copies into `own` what it lacks and `other` has. fabric-ca: util.CopyMissingValues
pub(super) fn fill(own: &mut Value, other: &Value) {
    match (own, other) {
        (Value::Object(own), Value::Object(other)) => {
            for (name, theirs) in other {
                let present = own
                    .keys()
                    .find(|key| key.eq_ignore_ascii_case(name))
                    .cloned();
                match present.and_then(|key| own.get_mut(&key)) {
                    Some(mine) => fill(mine, theirs),
                    None => {
                        own.insert(name.clone(), theirs.clone());
                    }
                }
            }
        }
        (own @ Value::Null, other) => *own = other.clone(),
        _ => {}
    }
}

/// fabric-ca: util.ValidateAndReturnAbsConf, util.GetDefaultConfigFile
fn file_of(
    program: Program,
    config: Option<String>,
    home: Option<String>,
    variables: &BTreeMap<String, String>,
) -> anyhow::Result<PathBuf> {
    let absolute = |path: PathBuf| {
        std::path::absolute(&path).with_context(|| format!("cannot use {}", path.display()))
    };
    if let Some(config) = config {
        if home.is_some() {
            log::write(
                log::Level::Warning,
                "Using both --config and --home CLI flags; --config will take precedence",
            );
        }
        return absolute(config.into());
    }
    let variable = |name: &str| {
        variables
            .get(name)
            .filter(|value| !value.is_empty())
            .cloned()
    };
    let own = format!("{}_HOME", program.prefix());
    let home = home
        .or_else(|| variable(&own))
        .or_else(|| variable("FABRIC_CA_HOME"))
        .or_else(|| variable("CA_CFG_PATH"));
    let home = match (home, program) {
        (Some(home), _) => PathBuf::from(home),
        (None, Program::Server) => PathBuf::from("."),
        (None, Program::Client) => {
            PathBuf::from(variable("HOME").unwrap_or_default()).join(".fabric-ca-client")
        }
    };
    absolute(home.join(format!("{}-config.yaml", program.name())))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_home_is_a_flag_or_a_variable_or_the_programs_own() {
        let variables = |list: &[(&str, &str)]| -> BTreeMap<String, String> {
            list.iter()
                .map(|(name, value)| ((*name).into(), (*value).into()))
                .collect()
        };
        let client = Program::Client;
        for (flags, set, expected) in [
            (
                (None, Some("/a")),
                &[("FABRIC_CA_CLIENT_HOME", "/b")][..],
                "/a",
            ),
            (
                (None, None),
                &[("FABRIC_CA_CLIENT_HOME", "/b"), ("FABRIC_CA_HOME", "/c")],
                "/b",
            ),
            ((None, None), &[("CA_CFG_PATH", "/d")], "/d"),
            (
                (None, None),
                &[("HOME", "/home/a")],
                "/home/a/.fabric-ca-client",
            ),
        ] {
            let (config, home): (Option<&str>, Option<&str>) = flags;
            let file = file_of(
                client,
                config.map(String::from),
                home.map(String::from),
                &variables(set),
            );
            let expected = Path::new(expected).join("fabric-ca-client-config.yaml");
            assert_eq!(file.unwrap(), expected);
        }
        let file = file_of(
            client,
            Some("/x/y.yaml".into()),
            Some("/a".into()),
            &BTreeMap::new(),
        );
        assert_eq!(file.unwrap(), Path::new("/x/y.yaml"));
    }

    #[test]
    fn what_a_file_lacks_is_taken_from_the_other() {
        let mut own = json!({"ca": {"Name": "ca1"}, "db": null, "csr": {"hosts": ["a"]}});
        let other = json!({"ca": {"name": "ca", "keyfile": "k"}, "db": {"type": "sqlite3"},
                           "csr": {"hosts": ["b"], "cn": "x"}});
        fill(&mut own, &other);
        let expected = json!({"ca": {"Name": "ca1", "keyfile": "k"}, "db": {"type": "sqlite3"},
                              "csr": {"hosts": ["a"], "cn": "x"}});
        assert_eq!(own, expected);
        assert_eq!(
            leaves(&own),
            ["ca.Name", "ca.keyfile", "csr.cn", "csr.hosts", "db.type"]
        );
    }
}
