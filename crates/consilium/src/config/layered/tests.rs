use std::time::Duration;

use proptest::prelude::*;
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::*;

#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
struct Sample {
    listen_address: String,
    tls: Tls,
    limits: Option<Limits>,
    bootstrap: Vec<String>,
    builders: Vec<Builder>,
    mode: Mode,
    #[serde(deserialize_with = "super::super::duration")]
    pause: Duration,
    #[serde(rename = "passedOver")]
    _passed_over: Option<IgnoredAnyThing>,
}

/// `IgnoredAny` compares by nothing.
#[derive(Debug, Default, Deserialize)]
struct IgnoredAnyThing(#[allow(dead_code, reason = "only read")] IgnoredAny);

impl PartialEq for IgnoredAnyThing {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Tls {
    enabled: bool,
    #[serde(rename = "clientRootCAs")]
    client_root_cas: Vec<String>,
}

#[derive(Debug, PartialEq, Deserialize)]
struct Limits {
    concurrency: u32,
}

#[derive(Debug, PartialEq, Deserialize)]
struct Builder {
    name: String,
}

#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Mode {
    #[default]
    Net,
    Dev,
}

fn read_sample(yaml: &str, variables: &[(&str, &str)]) -> Result<(Sample, Vec<String>), String> {
    let file = super::super::parse(yaml).unwrap();
    let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    let values = variables.iter().map(own).collect();
    let variables = Variables {
        prefix: "CORE",
        values: &values,
    };
    read(file, variables).map_err(|error| error.to_string())
}

fn sample(yaml: &str, variables: &[(&str, &str)]) -> Sample {
    let (sample, unknown) = read_sample(yaml, variables).unwrap();
    assert_eq!(unknown, [""; 0]);
    sample
}

#[test]
fn a_variable_goes_before_the_file_and_the_file_before_the_default() {
    let yaml = "{listenAddress: 'a:1', tls: {enabled: false, clientRootCAs: [x, y]}, mode: net, pause: 1s}";
    let read = sample(
        yaml,
        &[
            ("CORE_TLS_ENABLED", "true"),
            ("CORE_LIMITS_CONCURRENCY", "7"),
            ("CORE_MODE", "dev"),
            ("CORE_PAUSE", "1m30s"),
            ("CORE_BOOTSTRAP", "a:1 b:2"),
            ("ORDERER_LISTENADDRESS", "not ours"),
            ("CORE_LISTEN", "no key of ours"),
        ],
    );
    let expected = Sample {
        listen_address: "a:1".into(),
        tls: Tls {
            enabled: true,
            client_root_cas: vec!["x".into(), "y".into()],
        },
        limits: Some(Limits { concurrency: 7 }),
        bootstrap: vec!["a:1".into(), "b:2".into()],
        mode: Mode::Dev,
        pause: Duration::from_secs(90),
        ..Sample::default()
    };
    assert_eq!(read, expected);
    assert_eq!(sample("{}", &[]), Sample::default());
    let empty = sample(yaml, &[("CORE_LISTENADDRESS", "")]);
    assert_eq!(empty.listen_address, "a:1");
}

#[test]
fn keys_are_the_same_in_upper_and_lower_case_and_scalars_may_be_texts() {
    let yaml = "{LISTENADDRESS: 7051, Tls: {ENABLED: 'true'}, limits: {Concurrency: '12'}}";
    let read = sample(yaml, &[]);
    assert_eq!(read.listen_address, "7051");
    assert!(read.tls.enabled);
    assert_eq!(read.limits, Some(Limits { concurrency: 12 }));
}

#[test]
fn a_key_without_a_value_is_one_that_nobody_sets() {
    let read = sample(
        "{listenAddress: , tls: , limits: , bootstrap: , passedOver: }",
        &[],
    );
    assert_eq!(read, Sample::default());
}

#[test]
fn lists_are_lists_or_texts() {
    for (yaml, variable, expected) in [
        ("{bootstrap: [a, b]}", None, &["a", "b"][..]),
        ("{bootstrap: a b}", None, &["a", "b"]),
        ("{bootstrap: a}", Some("[c, d,e]"), &["c", "d", "e"]),
        ("{}", Some("[]"), &[]),
        ("{}", Some("a,b c"), &["a,b", "c"]),
        ("{}", Some("[a b"), &["[a", "b"]),
    ] {
        let variables: Vec<_> = variable
            .map(|text| ("CORE_BOOTSTRAP", text))
            .into_iter()
            .collect();
        assert_eq!(
            sample(yaml, &variables).bootstrap,
            expected,
            "{yaml} {variable:?}"
        );
    }
}

#[test]
fn a_list_of_keys_with_values_fits_in_a_variable() {
    let yaml = "{builders: [{name: x}]}";
    let names = |variable: &str| {
        let builders = sample(yaml, &[("CORE_BUILDERS", variable)]).builders;
        builders
            .into_iter()
            .map(|builder| builder.name)
            .collect::<Vec<_>>()
    };
    assert_eq!(names("[{name: y}, {name: z}]"), ["y", "z"]);
    assert_eq!(names(r#"[{"name": "y"}]"#), ["y"]);
    assert_eq!(names(""), ["x"]);
    let error = read_sample(yaml, &[("CORE_BUILDERS", "y")]).unwrap_err();
    assert_eq!(
        error,
        "builders[0]: found `\"y\"`, expected keys with values"
    );
}

#[test]
fn keys_that_mean_nothing_are_told_and_passed_over() {
    let yaml = "{tls: {enabled: true, cipher: x}, vm: {endpoint: y}, builders: [{name: n, env: z}], passedOver: {a: b}}";
    let (read, unknown) = read_sample(yaml, &[]).unwrap();
    assert!(read.tls.enabled);
    assert_eq!(unknown, ["builders[0].env", "tls.cipher", "vm"]);
}

#[test]
fn what_is_wrong_is_told_with_its_key() {
    for (yaml, variable, expected) in [
        (
            "{tls: {enabled: maybe}}",
            None,
            "tls.enabled: found `\"maybe\"`, expected true or false",
        ),
        (
            "{}",
            Some(("CORE_LIMITS_CONCURRENCY", "-1")),
            "limits.concurrency: found `\"-1\"`, expected a whole number, not negative",
        ),
        ("{limits: {}}", None, "limits: missing field `concurrency`"),
        (
            "{tls: 5}",
            None,
            "tls: found `5`, expected keys with values",
        ),
        (
            "{listenAddress: {host: a}}",
            None,
            "listenAddress: found `{\"host\":\"a\"}`, expected a text",
        ),
        (
            "{builders: [{name: n}, {}]}",
            None,
            "builders[1]: missing field `name`",
        ),
        (
            "{mode: fast}",
            None,
            "mode: unknown variant `fast`, expected `net` or `dev`",
        ),
        (
            "{bootstrap: 5}",
            None,
            "bootstrap: found `5`, expected a list",
        ),
        ("[]", None, "found `[]`, expected keys with values"),
    ] {
        let variables: Vec<_> = variable.into_iter().collect();
        let error = read_sample(yaml, &variables).expect_err(yaml);
        assert_eq!(error, expected, "{yaml}");
    }
    let error = read_sample("{pause: soon}", &[]).expect_err("no duration");
    assert!(
        error.starts_with("pause: `soon` is not a duration"),
        "{error}"
    );
}

proptest! {
    #[test]
    fn no_file_and_no_variable_makes_it_panic(
        text in "[a-zA-Z:{}\\[\\], 0-9'\n-]{0,60}",
        name in "CORE_[A-Z_]{0,20}",
        value in ".{0,20}",
    ) {
        if let Ok(file) = serde_saphyr::from_str::<Value>(&text) {
            let values = [(name, value)].into_iter().collect();
            let variables = Variables { prefix: "CORE", values: &values };
            let _ = read::<Sample>(file, variables);
        }
    }
}
