//! Configurations, changes and agreements as text.

use std::fmt::Write;

use consilium_protocol::config::{
    ChannelConfig,
    consent::{Consent, Signature, Wanted},
    settings::{Difference, Setting},
};

/// Which configuration of which channel.
pub fn title(config: &ChannelConfig) -> String {
    format!(
        "channel {}, configuration {}",
        config.channel_id(),
        config.sequence()
    )
}

/// Settings whose names begin with `begin`, one a line, an empty line between sections; lists go over
/// several lines.
pub fn settings(settings: &[Setting], begin: &str) -> String {
    let mut text = String::new();
    let mut section = None;
    for setting in settings
        .iter()
        .filter(|setting| setting.name.starts_with(begin))
    {
        let own = section_of(setting);
        if section.is_some_and(|last| last != own) {
            text.push('\n');
        }
        section = Some(own);
        match &setting.values[..] {
            [] => line(&mut text, &format!("{} = (empty)", setting.name)),
            [value] => line(&mut text, &format!("{} = {value}", setting.name)),
            values => {
                line(&mut text, &setting.name);
                for value in values {
                    line(&mut text, &format!("    {value}"));
                }
            }
        }
    }
    text
}

/// The path of the group that holds a setting.
fn section_of(setting: &Setting) -> &str {
    let path = setting.item.split_once('/').map_or("", |(_, path)| path);
    match setting.item.starts_with("[Group]") {
        true => path,
        false => path.rsplit_once('/').map_or(path, |(group, _)| group),
    }
}

fn line(text: &mut String, line: &str) {
    text.push_str(line);
    text.push('\n');
}

/// What is different, by name, what goes behind `-`, what comes behind `+`.
pub fn differences(differences: &[Difference]) -> String {
    let mut text = String::new();
    for difference in differences {
        line(&mut text, &difference.name);
        for value in &difference.removed {
            line(&mut text, &format!("  - {value}"));
        }
        for value in &difference.added {
            line(&mut text, &format!("  + {value}"));
        }
    }
    if text.is_empty() {
        text.push_str("no difference\n");
    }
    text
}

/// Who has signed, what has to be satisfied, whose signatures are missing.
pub fn status(signatures: &[Signature], consents: &[Consent]) -> String {
    let mut text = String::new();
    line(&mut text, "signatures:");
    if signatures.is_empty() {
        line(&mut text, "  none yet");
    }
    for signature in signatures {
        let who = format!("  {} ({})", signature.msp_id, signature.name);
        match &signature.fault {
            None => line(&mut text, &who),
            Some(fault) => line(&mut text, &format!("{who}: does not count, {fault}")),
        }
    }
    for consent in consents {
        let policy = &consent.policy;
        let _ = write!(text, "\n{} = {}", policy.path, policy.rule);
        line(
            &mut text,
            if policy.satisfied {
                ": satisfied"
            } else {
                ": not satisfied"
            },
        );
        for item in &consent.items {
            line(&mut text, &format!("  protects {}", collapse(item)));
        }
        if !policy.satisfied {
            missing(&mut text, policy, 1);
        }
    }
    text
}

/// Names the kind and the path of an item with one blank between.
fn collapse(item: &str) -> String {
    item.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn missing(text: &mut String, wanted: &Wanted, depth: usize) {
    let indent = "  ".repeat(depth);
    if wanted.parts.is_empty() {
        line(
            text,
            &format!("{indent}needs a signature by {}", wanted.rule),
        );
        return;
    }
    let satisfied = wanted.parts.iter().filter(|part| part.satisfied).count();
    line(
        text,
        &format!(
            "{indent}needs {} of these, has {satisfied}:",
            wanted.required
        ),
    );
    for part in &wanted.parts {
        let state = if part.satisfied {
            "satisfied"
        } else {
            "missing"
        };
        line(
            text,
            &format!("{indent}  {state}: {} = {}", part.path, part.rule),
        );
        if !part.satisfied && !part.parts.is_empty() {
            missing(text, part, depth + 2);
        }
    }
}

/// In one sentence, what is still to be done; `None` if nothing.
pub fn remaining(consents: &[Consent]) -> Option<String> {
    let mut sentences: Vec<String> = Vec::new();
    for consent in consents.iter().filter(|consent| !consent.policy.satisfied) {
        let mut names: Vec<&str> = Vec::new();
        for wanted in consent.policy.missing() {
            let name = organization(wanted);
            if !names.contains(&name) {
                names.push(name);
            }
        }
        let count = needed(&consent.policy);
        let sentence = match names.len() {
            1 => format!("{} has to sign", names[0]),
            all if all <= count => format!("{} have to sign", names.join(" and ")),
            _ => format!("{count} of {} have to sign", names.join(", ")),
        };
        if !sentences.contains(&sentence) {
            sentences.push(sentence);
        }
    }
    (!sentences.is_empty()).then(|| sentences.join("; "))
}

/// How many more organizations have to sign, at least. One that is in several sections counts once:
/// of sections that have to be satisfied, the one that needs most decides.
fn needed(wanted: &Wanted) -> usize {
    if wanted.satisfied {
        return 0;
    }
    if wanted.parts.is_empty() {
        return 1;
    }
    let mut parts: Vec<usize> = wanted.parts.iter().map(needed).collect();
    parts.sort_unstable();
    let taken = parts.iter().take(wanted.required);
    match wanted.parts.iter().all(|part| part.parts.is_empty()) {
        true => taken.sum(),
        false => taken.max().copied().unwrap_or_default(),
    }
}

/// The group whose policy it is: of organizations, their name.
fn organization(wanted: &Wanted) -> &str {
    let group = wanted.path.rsplit_once('/').map_or("", |(group, _)| group);
    group.rsplit_once('/').map_or(group, |(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(path: &str, satisfied: bool, required: usize, parts: Vec<Wanted>) -> Wanted {
        Wanted {
            path: path.into(),
            rule: "RULE".into(),
            satisfied,
            required,
            parts,
        }
    }

    fn organizations(satisfied: &[(&str, bool)], required: usize) -> Consent {
        let parts: Vec<Wanted> = satisfied
            .iter()
            .map(|(name, is)| {
                wanted(
                    &format!("/Channel/Application/{name}/Admins"),
                    *is,
                    0,
                    vec![],
                )
            })
            .collect();
        let enough = parts.iter().filter(|part| part.satisfied).count() >= required;
        Consent {
            policy: wanted("/Channel/Application/Admins", enough, required, parts),
            items: vec!["[Value]  /Channel/Application/ACLs".into()],
        }
    }

    #[test]
    fn what_remains_is_told_in_a_sentence() {
        for (signed, required, sentence) in [
            (&[("A", true), ("B", true), ("C", false)][..], 2, None),
            (&[("A", true), ("B", false)], 2, Some("B has to sign")),
            (
                &[("A", false), ("B", false)],
                2,
                Some("A and B have to sign"),
            ),
            (
                &[("A", true), ("B", false), ("C", false)],
                2,
                Some("1 of B, C have to sign"),
            ),
        ] {
            let consent = organizations(signed, required);
            assert_eq!(remaining(&[consent]).as_deref(), sentence, "{signed:?}");
        }
    }

    #[test]
    fn an_organization_in_two_sections_signs_once() {
        let section = |name: &str| {
            let parts = ["A", "B", "C"].map(|member| {
                wanted(
                    &format!("/Channel/{name}/{member}/Admins"),
                    false,
                    0,
                    vec![],
                )
            });
            wanted(&format!("/Channel/{name}/Admins"), false, 2, parts.into())
        };
        let sections = vec![section("Application"), section("Orderer")];
        let consent = Consent {
            policy: wanted("/Channel/Admins", false, 2, sections),
            items: Vec::new(),
        };
        let sentence = remaining(&[consent.clone(), consent]);
        assert_eq!(sentence.as_deref(), Some("2 of A, B, C have to sign"));
    }

    #[test]
    fn a_status_names_signers_items_and_the_missing() {
        let signature = |msp_id: &str, fault: Option<&str>| Signature {
            msp_id: msp_id.into(),
            name: "admin".into(),
            fault: fault.map(str::to_owned),
        };
        let shown = status(
            &[signature("A", None), signature("X", Some("unknown"))],
            &[organizations(&[("A", true), ("B", false)], 2)],
        );
        assert_eq!(
            shown,
            "\
signatures:
  A (admin)
  X (admin): does not count, unknown

/Channel/Application/Admins = RULE: not satisfied
  protects [Value] /Channel/Application/ACLs
  needs 2 of these, has 1:
    satisfied: /Channel/Application/A/Admins = RULE
    missing: /Channel/Application/B/Admins = RULE
"
        );
    }

    #[test]
    fn settings_are_lines_with_lists_below_their_name() {
        let setting = |item: &str, name: &str, values: &[&str]| Setting {
            name: name.into(),
            values: values.iter().map(|value| (*value).to_owned()).collect(),
            item: item.into(),
        };
        let all = [
            setting(
                "[Value]  /Channel/Capabilities",
                "channel.capabilities",
                &["V3_0"],
            ),
            setting("[Group]  /Channel/Orderer", "orderer.mod-policy", &["X"]),
            setting(
                "[Value]  /Channel/Orderer/Orderers",
                "orderer.list",
                &["a", "b"],
            ),
            setting(
                "[Value]  /Channel/Orderer/KafkaBrokers",
                "orderer.none",
                &[],
            ),
        ];
        assert_eq!(
            settings(&all, ""),
            "channel.capabilities = V3_0\n\norderer.mod-policy = X\norderer.list\n    a\n    b\norderer.none = (empty)\n"
        );
        assert_eq!(settings(&all, "orderer.m"), "orderer.mod-policy = X\n");
    }
}
