//! The ways in which people and programs write the same identifier.

use std::collections::BTreeSet;

use super::{Identifier, Kind, MIN_VALUE_BYTES};

/// The spellings of an identifier, none shorter than what is worth looking for.
pub(super) fn of(identifier: &Identifier) -> BTreeSet<String> {
    let value = identifier.value.trim();
    let mut spellings = BTreeSet::from([value.to_owned()]);
    match identifier.kind {
        Kind::Name => {
            if let Some((given, family)) = value.rsplit_once(' ') {
                spellings.insert(format!("{family} {given}"));
                spellings.insert(format!("{family}, {given}"));
                spellings.insert(format!("{family},{given}"));
                // As HL7 v2 separates the components of a name.
                spellings.insert(format!("{family}^{given}"));
                spellings.insert(format!("{given}{family}"));
                spellings.insert(format!("{family}{given}"));
            }
        }
        Kind::NationalId | Kind::Mrn | Kind::Telecom => {
            // E-mail addresses have letters that must stay.
            let bare: String = value
                .chars()
                .filter(|c| c.is_alphanumeric() || "@._+".contains(*c))
                .collect();
            let digits: String = value.chars().filter(char::is_ascii_digit).collect();
            let compact: String = value.chars().filter(|c| c.is_alphanumeric()).collect();
            spellings.extend([bare, compact]);
            if identifier.kind == Kind::Telecom && !value.contains('@') {
                spellings.insert(digits);
            }
        }
        Kind::BirthDate => {
            if let [year, month, day] = value.split('-').collect::<Vec<_>>()[..] {
                spellings.extend([
                    format!("{year}{month}{day}"),
                    format!("{year}/{month}/{day}"),
                    format!("{year}.{month}.{day}"),
                    format!("{day}.{month}.{year}"),
                    format!("{day}/{month}/{year}"),
                    format!("{month}/{day}/{year}"),
                    format!("{day}-{month}-{year}"),
                    format!("{year}年{month}月{day}日"),
                ]);
            }
        }
        Kind::Address => {
            spellings.insert(value.replace(", ", ","));
            spellings.insert(value.split_whitespace().collect::<Vec<_>>().join(" "));
        }
    }
    let mut all = BTreeSet::new();
    for spelling in spellings {
        // Hashes and letters beyond ASCII need each case by itself.
        all.insert(spelling.to_lowercase());
        all.insert(spelling.to_uppercase());
        all.insert(spelling);
    }
    all.retain(|spelling| spelling.len() >= MIN_VALUE_BYTES);
    all
}
