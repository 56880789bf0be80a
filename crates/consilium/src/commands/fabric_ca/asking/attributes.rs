//! Attributes and names as a command line has them, and as Go prints them.

use anyhow::{Result, bail};
use consilium_ca::{
    Attribute, Subject,
    client::{AffiliationInfo, AttributeRequest, IdentityInfo},
};

/// `name=value[:ecert]`. fabric-ca: attr.ConvertAttrs
pub(super) fn attributes<'a>(texts: impl Iterator<Item = &'a str>) -> Result<Vec<Attribute>> {
    texts
        .map(|text| {
            let Some((name, value)) = text.split_once('=') else {
                bail!("Attribute '{text}' is missing '=' ; it must be of the form <name>=<value>");
            };
            let (value, ecert) = match value.split(':').collect::<Vec<_>>()[..] {
                [value] => (value, false),
                [value, flag] => match flag.to_lowercase().as_str() {
                    "" => (value, false),
                    "ecert" => (value, true),
                    _ => bail!("Invalid attribute flag: '{flag}'"),
                },
                _ => bail!(
                    "Multiple ':' characters not allowed in attribute specification '{value}'; \
                     The attributes have been discarded!"
                ),
            };
            Ok(Attribute {
                name: name.to_owned(),
                value: value.to_owned(),
                ecert,
            })
        })
        .collect()
}

/// `name[:opt]`
pub(super) fn attribute_requests<'a>(
    texts: impl Iterator<Item = &'a str>,
) -> Result<Vec<AttributeRequest>> {
    texts
        .map(|text| {
            let (name, optional) = match text.split(':').collect::<Vec<_>>()[..] {
                [name] => (name, false),
                [name, "opt"] => (name, true),
                [_, _] => bail!(
                    "Invalid option in attribute request specification at '{text}'; the value \
                     after the colon must be 'opt'"
                ),
                _ => bail!(
                    "Multiple ':' characters not allowed in attribute request specification; \
                     error at '{text}'"
                ),
            };
            Ok(AttributeRequest {
                name: name.to_owned(),
                optional,
            })
        })
        .collect()
}

/// `C=CA`, `O=Org1`
pub(super) fn names<'a>(texts: impl Iterator<Item = &'a str>) -> Result<Subject> {
    let mut subject = Subject::default();
    for text in texts {
        let Some((name, value)) = text.split_once('=') else {
            bail!("CSR name/value '{text}' is missing '=' ; it must be of the form <name>=<value>");
        };
        let values = match name {
            "C" => &mut subject.country,
            "ST" => &mut subject.province,
            "L" => &mut subject.locality,
            "O" => &mut subject.organization,
            "OU" => &mut subject.organizational_units,
            "SerialNumber" => {
                value.clone_into(&mut subject.serial_number);
                continue;
            }
            _ => bail!("Invalid CSR name: '{name}'"),
        };
        values.push(value.to_owned());
    }
    Ok(subject)
}

/// Go's `%+v` of a list of attributes.
pub(super) fn shown(attributes: &[Attribute]) -> String {
    let items: Vec<_> = attributes
        .iter()
        .map(|it| format!("{{Name:{} Value:{} ECert:{}}}", it.name, it.value, it.ecert))
        .collect();
    format!("[{}]", items.join(" "))
}

/// Go's `%+v` of an answer about affiliations.
pub(super) fn shown_affiliation(answer: &AffiliationInfo) -> String {
    format!(
        "&{{AffiliationInfo:{} CAName:{}}}",
        node(answer),
        answer.caname
    )
}

fn node(of: &AffiliationInfo) -> String {
    let affiliations: Vec<_> = of.affiliations.iter().map(node).collect();
    let identities: Vec<_> = of.identities.iter().map(identity).collect();
    format!(
        "{{Name:{} Affiliations:[{}] Identities:[{}]}}",
        of.name,
        affiliations.join(" "),
        identities.join(" ")
    )
}

fn identity(of: &IdentityInfo) -> String {
    format!(
        "{{ID:{} Type:{} Affiliation:{} Attributes:{} MaxEnrollments:{}}}",
        of.id,
        of.kind,
        of.affiliation,
        shown(&of.attrs),
        of.max_enrollments
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_have_a_value_and_perhaps_a_flag() {
        let read = |text: &str| {
            attributes(std::iter::once(text))
                .map(|list| shown(&list))
                .ok()
        };
        for (text, expected) in [
            ("a=b", Some("[{Name:a Value:b ECert:false}]")),
            ("a=b:ecert", Some("[{Name:a Value:b ECert:true}]")),
            ("a=", Some("[{Name:a Value: ECert:false}]")),
            ("a=b:", Some("[{Name:a Value:b ECert:false}]")),
            ("a", None),
            ("a=b:x", None),
            ("a=b:c:d", None),
        ] {
            assert_eq!(read(text).as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn requests_are_optional_where_they_say_so() {
        let read = |text: &str| attribute_requests(std::iter::once(text)).ok();
        let request = |name: &str, optional| {
            Some(vec![AttributeRequest {
                name: name.into(),
                optional,
            }])
        };
        assert_eq!(read("a"), request("a", false));
        assert_eq!(read("a:opt"), request("a", true));
        assert_eq!((read("a:x"), read("a:b:c")), (None, None));
    }

    #[test]
    fn names_are_those_of_a_subject() {
        let subject = names(["C=CA", "O=Org1", "SerialNumber=7"].into_iter()).unwrap();
        assert_eq!(
            (subject.country, subject.organization),
            (vec!["CA".into()], vec!["Org1".into()])
        );
        assert_eq!(subject.serial_number, "7");
        assert!(names(["X=1"].into_iter()).is_err() && names(["O"].into_iter()).is_err());
    }
}
