//! Looks for identifiers in what every member of the channel sees of a [`TestLedger`]: as they
//! are, encoded, and hashed without a secret. A number of eighteen digits is found from its bare
//! hash in seconds, whatever is put in front of it that everybody can guess.

use aho_corasick::AhoCorasick;
use aws_lc_rs::digest::{
    Algorithm, SHA1_FOR_LEGACY_USE_ONLY, SHA3_256, SHA256, SHA384, SHA512, digest,
};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use bytes::Bytes;

use super::TestLedger;
use super::scan::{Algorithm as Hash, Form, Identifier, Kind, Scanner};

/// What people put in front of an identifier before they hash it: kinds of documents by name and
/// code, and names of fields.
const KINDS: &[&str] = &[
    "01",
    "03",
    "06",
    "07",
    "99",
    "resident-id",
    "passport",
    "national",
    "id",
    "idNo",
    "idno",
    "idType",
    "card",
    "cardNo",
    "cardno",
    "patient",
    "person",
    "proof",
    "holder",
    "sid",
    "cn",
    "CN",
    "156",
    "CHN",
];
/// What stands between the two.
const SEPARATORS: &[&str] = &[
    "", ":", "|", "/", "=", "#", "-", "_", ".", " ", "\u{1f}", "\0",
];
const HASHES: &[(&str, &Algorithm)] = &[
    ("SHA-256", &SHA256),
    ("SHA-1", &SHA1_FOR_LEGACY_USE_ONLY),
    ("SHA-384", &SHA384),
    ("SHA-512", &SHA512),
    ("SHA3-256", &SHA3_256),
];

/// An identifier that was found where it must not be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leak {
    /// The identifier, as it was given.
    pub identifier: String,
    /// In which form, for example `SHA-256 of "01:…" in hexadecimal`.
    pub form: String,
    /// Where, in bytes of [`TestLedger::public`].
    pub offset: usize,
}

impl TestLedger {
    /// Everything that every member of the channel has: what was [published] by transactions,
    /// valid or not, and the keys, values, histories, key policies and events as they are kept.
    ///
    /// [published]: TestLedger::published
    pub fn public(&self) -> Vec<u8> {
        let mut all = self.published.clone();
        let mut add = |bytes: &[u8]| {
            all.extend_from_slice(bytes);
            all.push(b'\n');
        };
        for ((namespace, key), versioned) in &self.state {
            add(namespace.as_bytes());
            add(key.as_bytes());
            add(&versioned.value);
        }
        for ((_, key), entries) in &self.history {
            add(key.as_bytes());
            for entry in entries {
                add(entry.tx_id.as_bytes());
                add(entry.value.as_deref().unwrap_or_default());
            }
        }
        for ((_, key), policy) in &self.policies {
            add(key.as_bytes());
            add(policy);
        }
        for (name, payload) in &self.events {
            add(name.as_bytes());
            add(payload);
        }
        all
    }

    /// The names of the private values that members of a collection have now.
    pub fn private_keys(&self, chaincode: &str, collection: &str) -> Vec<&str> {
        self.private
            .keys()
            .filter(|(namespace, name, _)| namespace == chaincode && name == collection)
            .map(|(_, _, key)| key.as_str())
            .collect()
    }

    /// A private value, as members of its collection have it.
    pub fn private_value(&self, chaincode: &str, collection: &str, key: &str) -> Option<&Bytes> {
        self.private
            .get(&(chaincode.to_owned(), collection.to_owned(), key.to_owned()))
            .map(|versioned| &versioned.value)
    }
}

/// Everything that is found of these identifiers in what a ledger has made public; empty when all
/// is well. Looks for each as [`super::scan`] does, and for hashes of it, bare and behind the prefixes
/// that one would try first, as bytes, in hexadecimal and base64.
///
/// # Panics
/// Without identifiers, and when one has less than four bytes: it would be found by chance.
///
/// ```
/// use consilium_contracts::{Caller, testing::{Proposal, TestLedger, leaks}};
/// let mut ledger = TestLedger::new();
/// let alice = Caller::for_tests("HospitalMSP", "alice", &[]);
/// ledger.submit(Proposal::new("kv", "put", &alice).arg("k").arg("id 11010519491231002x"));
/// let found = leaks(&ledger, &["11010519491231002X"]);
/// assert!(found[0].form.starts_with("as it is"));
/// assert!(leaks(&ledger, &["440524188001010014"]).is_empty());
/// ```
pub fn leaks(ledger: &TestLedger, identifiers: &[&str]) -> Vec<Leak> {
    find(&ledger.public(), identifiers)
}

fn find(public: &[u8], identifiers: &[&str]) -> Vec<Leak> {
    let wanted = identifiers
        .iter()
        .map(|identifier| Identifier::new(Kind::NationalId, *identifier));
    let scanner = match Scanner::new(wanted) {
        Ok(scanner) => scanner,
        // This is for tests: what cannot be looked for must not look like nothing found.
        Err(error) => panic!("{error}"),
    };
    let mut leaks: Vec<Leak> = scanner
        .scan(public)
        .into_iter()
        .filter_map(|finding| {
            Some(Leak {
                identifier: finding.identifier.value,
                form: unhashed(finding.form)?.to_owned(),
                offset: finding.offset,
            })
        })
        .collect();
    let (mut patterns, mut means) = (Vec::new(), Vec::new());
    for identifier in identifiers {
        let mut cases = vec![
            (*identifier).to_owned(),
            identifier.to_uppercase(),
            identifier.to_lowercase(),
        ];
        cases.sort();
        cases.dedup();
        for text in cases {
            for (pattern, form) in forms(&text) {
                patterns.push(pattern);
                means.push(((*identifier).to_owned(), form));
            }
        }
    }
    // Bounded by the identifiers of a test: some thousand patterns each.
    let search = AhoCorasick::new(patterns).expect("patterns of a test fit");
    leaks.extend(search.find_overlapping_iter(public).map(|hit| {
        let (identifier, form) = means[hit.pattern().as_usize()].clone();
        Leak {
            identifier,
            form,
            offset: hit.start(),
        }
    }));
    leaks
}

/// How the scanner found an identifier itself. Hashes are guessed here with all their prefixes.
fn unhashed(form: Form) -> Option<&'static str> {
    match form {
        Form::Plain => Some("as it is"),
        Form::Utf16 => Some("the text in UTF-16"),
        Form::Hex => Some("the text in hexadecimal"),
        Form::Base64 => Some("the text in base64"),
        Form::Hashed(Hash::Md5, _) => Some("MD5 of the text"),
        Form::Hashed(Hash::Sha256 | Hash::Sha1, _) => None,
    }
}

/// Its hashes, bare and behind prefixes.
fn forms(text: &str) -> Vec<(Vec<u8>, String)> {
    let mut forms = Vec::new();
    let mut hashed = vec![
        text.to_owned(),
        format!("\"{text}\""),
        format!("{text}\n"),
        format!("0x{text}"),
    ];
    for kind in KINDS {
        for separator in SEPARATORS {
            hashed.push(format!("{kind}{separator}{text}"));
        }
        // The name of a private key, of which blocks have the hash.
        hashed.push(format!("\0{kind}\0{text}\0"));
    }
    for value in hashed {
        let shown = value.replace(text, "…");
        for (name, algorithm) in HASHES {
            let hash = digest(algorithm, value.as_bytes());
            let what = format!("{name} of {shown:?}");
            forms.push((hash.as_ref().to_vec(), format!("{what} as bytes")));
            forms.extend(written(hash.as_ref(), &what));
        }
    }
    forms
}

/// Bytes as text: hexadecimal in both cases, base64 and base64url without what padding changes.
fn written(bytes: &[u8], what: &str) -> Vec<(Vec<u8>, String)> {
    let standard = STANDARD.encode(bytes);
    [
        (hex::encode(bytes), "hexadecimal"),
        (hex::encode_upper(bytes), "hexadecimal"),
        (standard.trim_end_matches('=').to_owned(), "base64"),
        (URL_SAFE_NO_PAD.encode(bytes), "base64url"),
    ]
    .map(|(text, writing)| (text.into_bytes(), format!("{what} in {writing}")))
    .to_vec()
}

#[cfg(test)]
mod tests {
    use sha2::{Digest, Sha256};

    use super::*;
    use crate::Caller;
    use crate::testing::Proposal;

    const ID: &str = "11010519491231002X";

    fn hash(text: &str) -> Vec<u8> {
        Sha256::digest(text).to_vec()
    }

    #[test]
    fn every_form_is_found_and_named() {
        for (bytes, form) in [
            (ID.as_bytes().to_vec(), "as it is"),
            (ID.to_lowercase().into_bytes(), "as it is"),
            (hex::encode(ID).into_bytes(), "the text in hexadecimal"),
            (STANDARD.encode(ID).into_bytes(), "the text in base64"),
            (hash(ID), "SHA-256 of \"…\" as bytes"),
            (
                hex::encode(hash(ID)).into_bytes(),
                "SHA-256 of \"…\" in hexadecimal",
            ),
            (
                hex::encode_upper(hash(&format!("01{ID}"))).into_bytes(),
                "SHA-256 of \"01…\" in hexadecimal",
            ),
            (
                STANDARD
                    .encode(hash(&format!("resident-id\u{1f}{ID}")))
                    .into_bytes(),
                "SHA-256 of \"resident-id\\u{1f}…\" in base64",
            ),
            (
                hash(&format!("\0holder\0{ID}\0")),
                "SHA-256 of \"\\0holder\\0…\\0\" as bytes",
            ),
        ] {
            let mut public = b"before ".to_vec();
            public.extend(bytes);
            public.extend(b" after");
            let found = find(&public, &["440524188001010014", ID]);
            assert!(
                found
                    .iter()
                    .any(|leak| leak.form == form && leak.offset == 7),
                "{form}: {found:?}"
            );
            assert!(found.iter().all(|leak| leak.identifier == ID));
        }
    }

    #[test]
    fn salted_and_keyed_hashes_are_not_leaks() {
        let salted = hash(&format!("5f1c9a0e7b2d4c6e8f0a1b2c3d4e5f60{ID}"));
        let keyed = crate::vault::pseudonym(b"key", "01", ID);
        let public = [
            &salted[..],
            keyed.as_bytes(),
            hex::encode(&salted).as_bytes(),
        ]
        .concat();
        assert_eq!(find(&public, &[ID]), []);
    }

    /// Arguments of transactions that became invalid are in blocks too; private keys are hashed.
    #[test]
    fn a_ledger_is_searched_wherever_members_look() {
        let alice = Caller::for_tests("HospitalMSP", "alice", &[]);
        let kv = |function| Proposal::new("kv", function, &alice);
        for (proposal, form) in [
            (kv("put").arg(ID).arg("v"), "as it is"),
            (kv("put").arg("k").arg(ID), "as it is"),
            (kv("event").arg("name").arg(ID), "as it is"),
            (
                kv("putPrivate").arg("c").arg("k").transient("value", ID),
                "SHA-256 of \"…\" as bytes",
            ),
        ] {
            let mut ledger = TestLedger::new();
            assert_eq!(ledger.submit(proposal).status, 200);
            let found = leaks(&ledger, &[ID]);
            assert!(
                found.iter().any(|leak| leak.form == form),
                "{form}: {found:?}"
            );
        }
    }
}
