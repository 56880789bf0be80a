//! Codes of services and diagnoses: what one may look like, and whether a published list has it.
//!
//! No code table is part of the contract. Whether a code is well formed is a rule of syntax; whether
//! it *exists* is decided by the edition that a regulator has published for the day: on the ledger
//! stands the root of a hash tree over all its codes, and a claim brings the path from each code to
//! that root. `I109` is well formed ICD-10-CM and on no list, so no path leads from it to any root.

use serde::{Deserialize, Serialize};

use super::model::{Edition, Editions, in_force};
use crate::failure::Failure;
use crate::fields;
use crate::merkle::{self, Hash};
use crate::request::{Call, Outcome};
use crate::roles::Part;

/// Editions of one code system.
const MAX_EDITIONS: usize = 200;
/// More than any code system needs: a tree of 2³² codes.
const MAX_PATH: usize = 32;

/// The path from a code to the root of the list that has it (RFC 9162 §2.1.3).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Membership {
    /// The code's place in the sorted list, from 0.
    pub index: u32,
    /// The hashes beside the path, from the leaf up, SHA-256 in lower-case hexadecimal.
    pub path: Vec<String>,
}

/// One edition of a code system: for the regulator who publishes its root, and for the provider who
/// proves that codes are on it.
///
/// ```
/// use consilium_contracts::costs::CodeList;
///
/// let list = CodeList::new(["I10", "I11.0", "I11.9"]);
/// assert!(list.prove("I110").is_some());
/// assert!(list.prove("I109").is_none());
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CodeList {
    codes: Vec<String>,
    /// From the leaves to the root, which stands alone.
    levels: Vec<Vec<Hash>>,
}

impl CodeList {
    /// A list of these codes, in any order; dots do not matter and duplicates fall away.
    pub fn new(codes: impl IntoIterator<Item = impl AsRef<str>>) -> Self {
        let mut codes: Vec<String> = codes
            .into_iter()
            .map(|code| normal(code.as_ref()))
            .collect();
        codes.sort();
        codes.dedup();
        let leaves: Vec<_> = codes.iter().map(|code| leaf(code)).collect();
        let mut levels = vec![leaves];
        while let Some(last) = levels.last().filter(|last| last.len() > 1) {
            let next = last
                .chunks(2)
                .map(|pair| match pair {
                    [left, right] => merkle::node_hash(left, right),
                    // The last of an odd number goes up as it is.
                    _ => pair[0],
                })
                .collect();
            levels.push(next);
        }
        CodeList { codes, levels }
    }

    /// How many codes it has.
    pub fn count(&self) -> usize {
        self.codes.len()
    }

    /// The root in lower-case hexadecimal: what `PublishCodes` takes. Of no codes it is the hash of
    /// nothing.
    pub fn root(&self) -> String {
        let root = self.levels.last().and_then(|level| level.first());
        hex::encode(root.copied().unwrap_or_else(|| merkle::root(&[])))
    }

    /// The proof that a code is on the list, `None` when it is not.
    pub fn prove(&self, code: &str) -> Option<Membership> {
        let index = self.codes.binary_search(&normal(code)).ok()?;
        let mut place = index;
        let mut path = Vec::new();
        for level in &self.levels {
            if let Some(beside) = level.get(place ^ 1) {
                path.push(hex::encode(beside));
            }
            place /= 2;
        }
        let index = u32::try_from(index).ok()?;
        Some(Membership { index, path })
    }
}

/// A code without the dot that print adds.
pub(super) fn normal(code: &str) -> String {
    code.chars().filter(|c| *c != '.').collect()
}

/// Whether a path leads from a code to the root of an edition (RFC 9162 §2.1.3.2).
pub(super) fn is_member(edition: &Edition, code: &str, proof: &Membership) -> bool {
    if proof.index >= edition.count || proof.path.len() > MAX_PATH {
        return false;
    }
    let read = |text: &String| {
        let mut hash = Hash::default();
        hex::decode_to_slice(text, &mut hash).map(|()| hash)
    };
    let Ok(root) = read(&edition.root) else {
        return false;
    };
    let Ok(path) = proof.path.iter().map(read).collect::<Result<Vec<_>, _>>() else {
        return false;
    };
    let (index, count) = (proof.index.into(), edition.count.into());
    merkle::verify(&leaf(code), index, count, &path, &root)
}

fn leaf(code: &str) -> Hash {
    merkle::leaf_hash(normal(code).as_bytes())
}

/// Whether a code has the form that its system gives codes. Systems that are not named here have
/// codes of 1 to 64 letters, digits and `-._:/#`.
///
/// - `ICD-10-CM`: a letter, a digit, a digit or `A` or `B`, then up to four letters and digits (ICD-10-CM
///   Official Guidelines, section I.A.2), with or without a dot after the third.
/// - `ICD-10-CN`: a letter, two digits, then digits, and `x` for what China's clinical edition
///   extends, with or without a dot, and the dagger or asterisk.
/// - `HCPCS`: five characters: level I four digits and a digit or one of `AFMTU`, level II a letter
///   and four digits.
pub(super) fn is_well_formed(system: &str, code: &str) -> bool {
    match system {
        "ICD-10-CM" => {
            let (category, rest) = match code.split_once('.') {
                Some((category, rest)) if category.len() == 3 && !rest.is_empty() => {
                    (category, rest)
                }
                Some(_) => return false,
                None if code.is_char_boundary(3) && code.len() >= 3 => code.split_at(3),
                None => return false,
            };
            is_category(category, b"AB")
                && rest.len() <= 4
                && rest
                    .bytes()
                    .all(|b| b.is_ascii_uppercase() || b.is_ascii_digit())
        }
        "ICD-10-CN" => {
            let code = code.strip_suffix(['+', '*']).unwrap_or(code);
            let Some((category, rest)) = code.split_at_checked(3) else {
                return false;
            };
            is_category(category, b"")
                && rest.len() <= 9
                && !rest.ends_with('.')
                && rest.matches('.').count() <= 1
                && rest
                    .bytes()
                    .all(|b| b.is_ascii_digit() || b"x.".contains(&b))
        }
        "HCPCS" => match code.as_bytes() {
            [first, middle @ .., last] if code.len() == 5 => {
                let level_two = first.is_ascii_uppercase() && last.is_ascii_digit();
                let level_one =
                    first.is_ascii_digit() && (last.is_ascii_digit() || b"AFMTU".contains(last));
                (level_one || level_two) && middle.iter().all(u8::is_ascii_digit)
            }
            _ => false,
        },
        _ => fields::code("code", code).is_ok(),
    }
}

/// A letter, a digit, and a digit or one of these.
fn is_category(text: &str, thirds: &[u8]) -> bool {
    matches!(text.as_bytes(), [a, b, c]
        if a.is_ascii_uppercase() && b.is_ascii_digit()
            && (c.is_ascii_digit() || thirds.contains(c)))
}

/// Whether a code may be used on a date: well formed, and on the edition in force where its system
/// has one.
pub(super) fn is_known(
    editions: Option<&Editions>,
    (system, code): (&str, &str),
    proof: Option<&Membership>,
    date: jiff::civil::Date,
) -> bool {
    if !is_well_formed(system, code) {
        return false;
    }
    let edition = editions.and_then(|all| in_force(&all.editions, |edition| edition.from, date));
    match (edition, proof) {
        (None, _) => true,
        (Some(edition), Some(proof)) => is_member(edition, code, proof),
        (Some(_), None) => false,
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PublishCodes {
    system: String,
    version: String,
    from: jiff::civil::Date,
    root: String,
    count: u32,
}

/// Names the edition of a code system that counts from a day on.
pub(super) fn publish(call: &mut Call<'_>) -> Result<Outcome, Failure> {
    call.require(&[Part::Regulator], &["certifier"])?;
    let args: PublishCodes = call.args()?;
    fields::code("system", &args.system)?;
    fields::code("version", &args.version)?;
    fields::hash("root", &args.root)?;
    if args.count == 0 {
        return Err(Failure::malformed("a code list has at least one code"));
    }
    let mut all: Editions = call.load("codes", &[&args.system])?.unwrap_or_default();
    if all.editions.iter().any(|one| one.version == args.version) {
        return Err(Failure::conflict(
            "DUPLICATE",
            format!("{} {} is published", args.system, args.version),
        ));
    }
    if let Some(last) = all.editions.last()
        && args.from <= last.from
    {
        return Err(Failure::rule(
            "BACKDATED",
            format!(
                "the edition {} is in force from {}, a later one has to begin after that day",
                last.version, last.from
            ),
        ));
    }
    fields::count("editions", all.editions.len() + 1, MAX_EDITIONS)?;
    all.editions.push(Edition {
        version: args.version.clone(),
        from: args.from,
        root: args.root,
        count: args.count,
    });
    call.store("codes", &[&args.system], &all)?;
    Ok(Outcome::changed(&args.system, "InForce").event(
        call,
        "CodesPublished",
        &args.system,
        "InForce",
        &args.version,
    ))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn edition(list: &CodeList) -> Edition {
        Edition {
            version: "2026".to_owned(),
            from: jiff::civil::date(2025, 10, 1),
            root: list.root(),
            count: list.count() as u32,
        }
    }

    #[test]
    fn codes_have_the_form_of_their_system() {
        for (system, code, fits) in [
            ("ICD-10-CM", "I10", true),
            ("ICD-10-CM", "I109", true), // the list decides
            ("ICD-10-CM", "E11.65", true),
            ("ICD-10-CM", "S72141A", true),
            ("ICD-10-CM", "T36.0X1A", true),
            ("ICD-10-CM", "C7A.00", true),
            ("ICD-10-CM", "M1A00X0", true),
            ("ICD-10-CM", "I1", false),
            ("ICD-10-CM", "I10.", false),
            ("ICD-10-CM", "I1.09", false),
            ("ICD-10-CM", "i10", false),
            ("ICD-10-CM", "I10 9", false),
            ("ICD-10-CM", "99213", false),
            ("ICD-10-CM", "S72141AB", false),
            ("ICD-10-CM", "C7C", false),
            ("ICD-10-CM", "高血压", false),
            ("ICD-10-CN", "I10.x00x002", true),
            ("ICD-10-CN", "E11.900x001", true),
            ("ICD-10-CN", "A17.000+", true),
            ("ICD-10-CN", "I10.", false),
            ("ICD-10-CN", "I1A", false),
            ("ICD-10-CN", "é1", false),
            ("HCPCS", "H0003", true),
            ("HCPCS", "99213", true),
            ("HCPCS", "0001U", true),
            ("HCPCS", "0001B", false),
            ("HCPCS", "H003", false),
            ("HCPCS", "H000A", false),
            ("SNOMED", "185349003", true),
            ("SNOMED", "a b", false),
        ] {
            assert_eq!(is_well_formed(system, code), fits, "{system} {code}");
        }
    }

    #[test]
    fn a_code_is_known_when_the_edition_of_the_day_has_it() {
        let list = CodeList::new(["I10", "I11.0", "I11.9", "E11.65", "I50.20"]);
        let all = Editions {
            editions: vec![edition(&list)],
        };
        let day = jiff::civil::date(2026, 1, 1);
        let before = jiff::civil::date(2025, 9, 30);
        let proof = list.prove("I10");
        let known = |code, proof: Option<&Membership>, day| {
            is_known(Some(&all), ("ICD-10-CM", code), proof, day)
        };
        assert!(known("I10", proof.as_ref(), day));
        assert!(known("I11.0", list.prove("I110").as_ref(), day));
        assert!(known("E1165", list.prove("E11.65").as_ref(), day));
        assert!(!known("I10", None, day));
        assert!(!known("I109", proof.as_ref(), day));
        assert!(known("I109", None, before));
        assert!(is_known(None, ("ICD-10-CM", "I109"), None, day));
        assert!(!is_known(None, ("ICD-10-CM", "1109"), None, day));
        // An empty list, and a path that leads past the root.
        assert_eq!(CodeList::new([""; 0]).prove("I10"), None);
        let mut long = list.prove("I10").unwrap();
        long.path.push("0".repeat(64));
        assert!(!known("I10", Some(&long), day));
        let mut wrong = list.prove("I10").unwrap();
        wrong.index = 99;
        assert!(!known("I10", Some(&wrong), day));
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]
        #[test]
        fn each_code_of_a_list_is_proved_and_no_other(codes in proptest::collection::btree_set("[A-Z][0-9]{2,4}", 1..40), other in "[A-Z][0-9]{2,5}", at in any::<prop::sample::Index>()) {
            let list = CodeList::new(&codes);
            let edition = edition(&list);
            for code in &codes {
                let proof = list.prove(code).unwrap();
                prop_assert!(is_member(&edition, code, &proof));
                if !codes.contains(&other) {
                    prop_assert!(!is_member(&edition, &other, &proof));
                }
                let mut damaged = proof.clone();
                if !damaged.path.is_empty() {
                    let place = at.index(damaged.path.len());
                    damaged.path[place] = "0".repeat(64);
                    prop_assert!(!is_member(&edition, code, &damaged));
                }
            }
            prop_assert_eq!(list.prove(&other).is_some(), codes.contains(&other));
        }
    }
}
