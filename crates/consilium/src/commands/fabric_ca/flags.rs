//! Flags that set keys: `--tls.certfiles a.pem,b.pem` for `tls.certfiles`. fabric-ca: util/flag.go

use std::collections::BTreeMap;

use clap::{Arg, ArgAction, ArgMatches, Command, parser::ValueSource};

/// What a flag takes, as its help says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    Number,
    Truth,
    /// Separated by commas, or given several times.
    List,
    Duration,
}

/// A flag that sets the key of its name.
#[derive(Debug, Clone, Copy)]
pub(super) struct Flag {
    /// The key.
    pub key: &'static str,
    pub short: Option<char>,
    pub kind: Kind,
    pub help: &'static str,
}

/// A flag without a short form.
pub(super) const fn flag(key: &'static str, kind: Kind, help: &'static str) -> Flag {
    Flag {
        key,
        short: None,
        kind,
        help,
    }
}

/// A flag with a short form.
pub(super) const fn short(key: &'static str, short: char, kind: Kind, help: &'static str) -> Flag {
    Flag {
        key,
        short: Some(short),
        kind,
        help,
    }
}

impl Flag {
    fn arg(&self) -> Arg {
        let arg = Arg::new(self.key).long(self.key).help(self.help);
        let arg = match self.short {
            Some(short) => arg.short(short),
            None => arg,
        };
        match self.kind {
            Kind::Text | Kind::Duration => arg.value_name("string"),
            Kind::Number => arg
                .value_name("int")
                .allow_negative_numbers(true)
                .value_parser(clap::value_parser!(i64)),
            Kind::Truth => arg
                .num_args(0..=1)
                .require_equals(true)
                .default_missing_value("true")
                .hide_possible_values(true)
                .value_name("true|false")
                .value_parser(clap::value_parser!(bool)),
            Kind::List => arg.value_name("strings").action(ArgAction::Append),
        }
    }
}

/// A command with these flags; below it, too, where they are global.
pub(super) fn with_flags(command: Command, flags: &[Flag], global: bool) -> Command {
    let args = flags.iter().map(|flag| flag.arg().global(global));
    command.args(args)
}

/// The flags that were given, by key. Lists are JSON.
pub(super) fn given(matches: &ArgMatches, flags: &[Flag]) -> BTreeMap<String, String> {
    let mut given = BTreeMap::new();
    for flag in flags {
        let known = matches.try_contains_id(flag.key).unwrap_or_default();
        if !known || matches.value_source(flag.key) != Some(ValueSource::CommandLine) {
            continue;
        }
        let value = match flag.kind {
            Kind::Text | Kind::Duration => matches.get_one::<String>(flag.key).cloned(),
            Kind::Number => matches.get_one::<i64>(flag.key).map(ToString::to_string),
            Kind::Truth => matches.get_one::<bool>(flag.key).map(ToString::to_string),
            Kind::List => matches
                .get_many::<String>(flag.key)
                .map(|values| json_list(values.map(String::as_str))),
        };
        if let Some(value) = value {
            given.insert(flag.key.to_owned(), value);
        }
    }
    given
}

/// The values of a list that came as texts with commas, in brackets or not. fabric-ca:
/// util.NormalizeStringSlice
pub(super) fn split_list(text: &str) -> impl Iterator<Item = &str> {
    let inner = text
        .strip_prefix('[')
        .and_then(|text| text.strip_suffix(']'))
        .unwrap_or(text);
    let items = inner.split(',').map(str::trim);
    items.filter(|item| !item.is_empty())
}

/// All of `texts` as one list in JSON.
pub(super) fn json_list<'a>(texts: impl Iterator<Item = &'a str>) -> String {
    let items: Vec<&str> = texts.flat_map(split_list).collect();
    serde_json::Value::from(items).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_flags_that_were_given_are_told_and_lists_are_split_at_commas() {
        let flags = [
            flag("tls.certfiles", Kind::List, "roots"),
            flag("tls.enabled", Kind::Truth, "whether"),
            short("port", 'p', Kind::Number, "where"),
            flag("ca.name", Kind::Text, "who"),
        ];
        let command = with_flags(Command::new("x"), &flags, true).subcommand(Command::new("start"));
        let line = "x start --tls.certfiles a,[b,c] --tls.certfiles d --tls.enabled -p -7";
        let matches = command.try_get_matches_from(line.split(' ')).unwrap();
        let (_, below) = matches.subcommand().unwrap();
        let given = given(below, &flags);
        let expected = [
            ("port", "-7"),
            ("tls.certfiles", r#"["a","[b","c]","d"]"#),
            ("tls.enabled", "true"),
        ];
        let expected = expected.map(|(key, value)| (key.to_owned(), value.to_owned()));
        assert_eq!(given.into_iter().collect::<Vec<_>>(), expected);
        assert_eq!(split_list("[a, b]").collect::<Vec<_>>(), ["a", "b"]);
    }
}
