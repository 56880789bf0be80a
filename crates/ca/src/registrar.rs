//! Who may register whom: the rules of a registrar's `hf.` attributes, as pure functions
//! (fabric-ca: `lib/attr`, `lib/serverregister.go`).

use crate::store::{Attribute, Identity};

pub(crate) const ROLES: &str = "hf.Registrar.Roles";
pub(crate) const DELEGATE_ROLES: &str = "hf.Registrar.DelegateRoles";
pub(crate) const REGISTRAR_ATTRIBUTES: &str = "hf.Registrar.Attributes";
pub(crate) const REVOKER: &str = "hf.Revoker";
pub(crate) const INTERMEDIATE_CA: &str = "hf.IntermediateCA";
pub(crate) const GEN_CRL: &str = "hf.GenCRL";
pub(crate) const AFFILIATION_MANAGER: &str = "hf.AffiliationMgr";
pub(crate) const ENROLLMENT_ID: &str = "hf.EnrollmentID";
pub(crate) const TYPE: &str = "hf.Type";
pub(crate) const AFFILIATION: &str = "hf.Affiliation";

/// The types that `identity` may register; `None` for one who is no registrar at all.
pub(crate) fn roles(identity: &Identity) -> Option<&str> {
    identity.attribute(ROLES)
}

/// Whether `registrar` may register identities of type `kind`; the reason if not.
pub(crate) fn may_act_on_type(registrar: &Identity, kind: &str) -> Result<(), String> {
    let roles = match registrar.attribute(ROLES) {
        Some(roles) if !roles.is_empty() => roles,
        _ => return Err(format!("'{}' is not a registrar", registrar.id)),
    };
    let kind = if kind.is_empty() { "client" } else { kind };
    if items(roles).any(|role| role == "*" || role.eq_ignore_ascii_case(kind)) {
        return Ok(());
    }
    Err(format!(
        "Registrar does not have authority to act on type '{kind}'"
    ))
}

/// Whether `affiliation` is the registrar's own or below it; the root sees all.
pub(crate) fn may_act_on_affiliation(registrar: &Identity, affiliation: &str) -> bool {
    let own = registrar.affiliation.as_str();
    own.is_empty()
        || affiliation
            .strip_prefix(own)
            .is_some_and(|below| below.is_empty() || below.starts_with('.'))
}

/// Whether `registrar` may give all of `requested` to a new identity, or to `present`, which is
/// changed; the reason if not.
pub(crate) fn may_register_attributes(
    registrar: &Identity,
    requested: &[Attribute],
    present: Option<&Identity>,
) -> Result<(), String> {
    for attribute in requested {
        may_register_attribute(registrar, attribute, requested, present)?;
    }
    Ok(())
}

fn may_register_attribute(
    registrar: &Identity,
    attribute: &Attribute,
    requested: &[Attribute],
    present: Option<&Identity>,
) -> Result<(), String> {
    let allowed = registrar
        .attribute(REGISTRAR_ATTRIBUTES)
        .ok_or_else(|| format!("Failed to get attribute '{REGISTRAR_ATTRIBUTES}'"))?;
    if allowed.is_empty() {
        return Err(format!(
            "Registrar does not have any values for '{REGISTRAR_ATTRIBUTES}' thus can't register \
             any attributes"
        ));
    }
    named_by(allowed, &attribute.name)?;
    let name = attribute.name.as_str();
    match name {
        REVOKER | INTERMEDIATE_CA | GEN_CRL | AFFILIATION_MANAGER => {
            boolean_is_owned(registrar, attribute)
        }
        ROLES | DELEGATE_ROLES => {
            let own = owned(registrar, name)?;
            if attribute.value.is_empty() {
                return Ok(());
            }
            if !items(own).any(|role| role == "*") {
                subset(&attribute.value, own).map_err(|stranger| {
                    format!(
                        "The requested values for attribute '{name}' is a superset of the \
                         caller's attribute value: {stranger}"
                    )
                })?;
            }
            if name == DELEGATE_ROLES {
                let roles = match value_of(requested, ROLES) {
                    "" => present
                        .and_then(|it| it.attribute(ROLES))
                        .unwrap_or_default(),
                    roles => roles,
                };
                if !items(roles).any(|role| role == "*") && subset(&attribute.value, roles).is_err()
                {
                    return Err("The delegateRoles field is a superset of roles".into());
                }
            }
            Ok(())
        }
        REGISTRAR_ATTRIBUTES => {
            let own = owned(registrar, name)?;
            for value in items(&attribute.value) {
                named_by(own, value)?;
                let has = requested.iter().any(|other| other.name == value)
                    || present.is_some_and(|it| it.attribute(value).is_some());
                if value.starts_with("hf.") && !has {
                    return Err(format!(
                        "Requesting value of '{value}' for '{REGISTRAR_ATTRIBUTES}', but the \
                         identity does not have this attribute nor is it being registered with it"
                    ));
                }
            }
            Ok(())
        }
        ENROLLMENT_ID | TYPE | AFFILIATION => {
            Err(format!("Cannot register fixed value attribute '{name}'"))
        }
        _ if name.starts_with("hf.") => Err(format!(
            "Registering attribute '{name}' using a reserved prefix 'hf.', however this not a \
             supported reserved attribute"
        )),
        _ => Ok(()),
    }
}

fn boolean_is_owned(registrar: &Identity, attribute: &Attribute) -> Result<(), String> {
    let name = attribute.name.as_str();
    let own = owned(registrar, name)?;
    match boolean(own) {
        Some(true) if attribute.value.is_empty() || boolean(&attribute.value).is_some() => Ok(()),
        Some(true) => Err(format!(
            "Failed to get boolean value of '{}'",
            attribute.value
        )),
        Some(false) => Err(format!(
            "Caller has a value of 'false' for boolean attribute '{name}', can't perform any \
             actions on this attribute"
        )),
        None => Err(format!("Failed to get boolean value of '{own}'")),
    }
}

fn owned<'a>(registrar: &'a Identity, name: &str) -> Result<&'a str, String> {
    registrar.attribute(name).ok_or_else(|| {
        format!("Attribute '{name}' requires ownership but the caller does not own this attribute")
    })
}

/// Whether the list `allowed` names `attribute`, exactly or by a prefix that ends in `*`.
fn named_by(allowed: &str, attribute: &str) -> Result<(), String> {
    let fits = |entry: &str| match entry.strip_suffix('*') {
        Some(prefix) => attribute.starts_with(prefix.trim_end_matches('*')),
        None => attribute == entry,
    };
    if items(allowed).any(fits) {
        return Ok(());
    }
    Err(format!(
        "Attribute is not part of caller's '{allowed}' attribute list"
    ))
}

fn value_of<'a>(attributes: &'a [Attribute], name: &str) -> &'a str {
    let found = attributes.iter().find(|attribute| attribute.name == name);
    found.map_or("", |attribute| attribute.value.as_str())
}

/// The first item of `small` that `big` lacks, as an error.
fn subset(small: &str, big: &str) -> Result<(), String> {
    match items(small).find(|item| !items(big).any(|other| other.eq_ignore_ascii_case(item))) {
        Some(stranger) => Err(format!("'{stranger}' is not a member of '{big}'")),
        None => Ok(()),
    }
}

fn items(list: &str) -> impl Iterator<Item = &str> {
    list.split(',')
        .map(str::trim)
        .filter(|item| !item.is_empty())
}

/// The spellings that Go's `strconv.ParseBool` knows.
pub(crate) fn boolean(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Some(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Some(false),
        _ => None,
    }
}

/// How often a new identity may enrol, from what was asked for and the authority's limit
/// (-1: no limit); the reason if neither fits.
pub(crate) fn max_enrollments(requested: i64, limit: i64) -> Result<i64, String> {
    match (requested, limit) {
        (..-1, _) => Err(format!(
            "Max enrollment in registration request may not be less than -1, but was {requested}"
        )),
        (_, 0) => Err("Registration is disabled".into()),
        (0, _) => Ok(limit),
        (_, ..0) => Ok(requested),
        (-1, _) => Err("Registration for infinite enrollments is not allowed".into()),
        _ if requested > limit => Err(format!(
            "Requested enrollments ({requested}) exceeds maximum allowable enrollments ({limit})"
        )),
        _ => Ok(requested),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attributes(list: &[(&str, &str)]) -> Vec<Attribute> {
        Identity::with_attributes("", "", list).attributes
    }

    #[test]
    fn roles_decide_which_types_a_registrar_may_register() {
        let cases = [
            (Some("*"), "orderer", true),
            (Some("peer,Client"), "client", true),
            (Some("peer, client"), "client", true),
            (Some("peer"), "client", false),
            (Some("client"), "", true),
            (Some(""), "client", false),
            (None, "client", false),
        ];
        for (roles, kind, expected) in cases {
            let own: Vec<_> = roles.map(|roles| (ROLES, roles)).into_iter().collect();
            let registrar = Identity::with_attributes("r", "", &own);
            assert_eq!(
                may_act_on_type(&registrar, kind).is_ok(),
                expected,
                "{roles:?} {kind}"
            );
        }
    }

    #[test]
    fn a_registrar_sees_its_own_affiliation_and_those_below() {
        let cases = [
            ("", "", true),
            ("", "org1.department1", true),
            ("org1", "org1", true),
            ("org1", "org1.department1", true),
            ("org1", "org10", false),
            ("org1", "org2", false),
            ("org1", "", false),
            ("org1.department1", "org1", false),
        ];
        for (own, asked, expected) in cases {
            let registrar = Identity::with_attributes("r", own, &[]);
            assert_eq!(
                may_act_on_affiliation(&registrar, asked),
                expected,
                "{own:?} {asked:?}"
            );
        }
    }

    #[test]
    fn attributes_are_given_only_by_those_who_may() {
        let all = [
            (ROLES, "peer,client"),
            (DELEGATE_ROLES, "peer"),
            (REGISTRAR_ATTRIBUTES, "*"),
            (REVOKER, "true"),
            (GEN_CRL, "false"),
        ];
        let some = [
            (REGISTRAR_ATTRIBUTES, "color, size.*, hf.Revoker"),
            (REVOKER, "true"),
        ];
        type List<'a> = &'a [(&'a str, &'a str)];
        let cases: [(List<'_>, List<'_>, bool); 22] = [
            (&all, &[], true),
            (&[], &[], true),
            (&[], &[("color", "blue")], false),
            (&[(REGISTRAR_ATTRIBUTES, "")], &[("color", "blue")], false),
            (&all, &[("color", "blue")], true),
            (&some, &[("color", "blue")], true),
            (&some, &[("size.x", "1")], true),
            (&some, &[("weight", "1")], false),
            (&all, &[(REVOKER, "true")], true),
            (&all, &[(REVOKER, "")], true),
            (&all, &[(REVOKER, "perhaps")], false),
            (&all, &[(GEN_CRL, "true")], false),
            (&all, &[(INTERMEDIATE_CA, "true")], false),
            (&all, &[(ROLES, "Peer")], true),
            (&all, &[(ROLES, "peer,orderer")], false),
            (
                &all,
                &[(ROLES, "peer,client"), (DELEGATE_ROLES, "peer")],
                true,
            ),
            (&all, &[(DELEGATE_ROLES, "peer")], false),
            (&all, &[(ENROLLMENT_ID, "someone")], false),
            (&all, &[("hf.Unknown", "x")], false),
            (&all, &[(REGISTRAR_ATTRIBUTES, "color")], true),
            (&all, &[(REGISTRAR_ATTRIBUTES, "hf.Revoker")], false),
            (
                &all,
                &[(REGISTRAR_ATTRIBUTES, "hf.Revoker"), (REVOKER, "true")],
                true,
            ),
        ];
        for (own, requested, expected) in cases {
            let registrar = Identity::with_attributes("r", "", own);
            let verdict = may_register_attributes(&registrar, &attributes(requested), None);
            assert_eq!(
                verdict.is_ok(),
                expected,
                "{own:?} {requested:?} {verdict:?}"
            );
        }
    }

    #[test]
    fn enrolments_are_limited_by_the_authority() {
        let cases = [
            (0, -1, Ok(-1)),
            (5, -1, Ok(5)),
            (-1, -1, Ok(-1)),
            (-2, -1, Err(())),
            (0, 3, Ok(3)),
            (3, 3, Ok(3)),
            (4, 3, Err(())),
            (-1, 3, Err(())),
            (1, 0, Err(())),
            (0, 0, Err(())),
        ];
        for (requested, limit, expected) in cases {
            let verdict = max_enrollments(requested, limit).map_err(drop);
            assert_eq!(verdict, expected, "{requested} {limit}");
        }
    }
}
