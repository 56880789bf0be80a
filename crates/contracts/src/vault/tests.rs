use super::sectors::base32;
use super::*;
use proptest::prelude::*;

const SID: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZ";
const DOCUMENT: &[u8] = b"{\"resourceType\":\"Patient\",\"name\":\"Hermiston71\"}";

fn binding() -> Binding<'static> {
    Binding {
        record_id: "rec-1",
        version: 1,
        sid: SID,
    }
}

#[test]
fn a_sealed_document_opens_and_shows_nothing() {
    let mut keys = KeyRing::new();
    let sealed = keys.seal(0, &binding(), DOCUMENT).unwrap();
    assert_eq!(keys.open(0, &binding(), &sealed).unwrap(), DOCUMENT);
    assert_eq!(sealed.fingerprint.size, sealed.ciphertext.len() as u64);
    assert!(!sealed.ciphertext.windows(11).any(|w| w == b"Hermiston71"));
    assert!(verify(&sealed.ciphertext, &sealed.fingerprint.ct_hash).is_ok());
}

#[test]
fn the_same_document_twice_has_two_fingerprints() {
    let mut keys = KeyRing::new();
    let one = keys.seal(0, &binding(), DOCUMENT).unwrap().fingerprint;
    let two = keys.seal(0, &binding(), DOCUMENT).unwrap().fingerprint;
    assert_ne!(one.ct_hash, two.ct_hash);
    assert_ne!(one.pt_commit, two.pt_commit);
    assert_ne!(one.pt_commit, hash(DOCUMENT));
}

#[test]
fn a_flipped_byte_a_swap_and_a_rollback_are_detected() {
    let mut keys = KeyRing::new();
    let first = keys.seal(0, &binding(), DOCUMENT).unwrap();
    let second_version = Binding {
        version: 2,
        ..binding()
    };
    let second = keys.seal(0, &second_version, b"changed").unwrap();
    let mut flipped = first.clone();
    flipped.ciphertext[20] ^= 1;
    assert_eq!(
        keys.open(0, &binding(), &flipped),
        Err(VaultError::Tampered)
    );
    // Even when somebody also rewrites the fingerprint kept beside it.
    flipped.fingerprint.ct_hash = hash(&flipped.ciphertext);
    assert_eq!(
        keys.open(0, &binding(), &flipped),
        Err(VaultError::Tampered)
    );
    // The old version in place of the new one, and another record's bytes.
    assert_eq!(
        keys.open(0, &second_version, &first),
        Err(VaultError::Tampered)
    );
    let other = Binding {
        record_id: "rec-2",
        ..binding()
    };
    assert_eq!(keys.open(0, &other, &first), Err(VaultError::Tampered));
    assert!(verify(&first.ciphertext, &second.fingerprint.ct_hash).is_err());
    let mut wrong_key = first.clone();
    wrong_key.wrapped_key = second.wrapped_key;
    assert_eq!(
        keys.open(0, &binding(), &wrong_key),
        Err(VaultError::Tampered)
    );
    assert_eq!(
        keys.open(
            0,
            &binding(),
            &Sealed {
                ciphertext: vec![],
                ..first
            }
        ),
        Err(VaultError::Tampered)
    );
}

#[test]
fn shredding_one_patient_leaves_the_others_and_the_proof() {
    let mut keys = KeyRing::new();
    let sealed = keys.seal(0, &binding(), DOCUMENT).unwrap();
    keys.seal(1, &binding(), DOCUMENT).unwrap();
    let other = Binding {
        sid: "BBBBBBBBBBBBBBBBBBBBBBBBBB",
        ..binding()
    };
    let others = keys.seal(0, &other, DOCUMENT).unwrap();
    assert_eq!(keys.shred(SID).len(), 2);
    assert!(!keys.holds(SID, 0));
    assert_eq!(keys.open(0, &binding(), &sealed), Err(VaultError::NoKey));
    assert!(keys.open(0, &other, &others).is_ok());
    assert!(verify(&sealed.ciphertext, &sealed.fingerprint.ct_hash).is_ok());
    // A new key for the same patient does not bring the old documents back.
    keys.seal(0, &binding(), DOCUMENT).unwrap();
    assert_eq!(keys.open(0, &binding(), &sealed), Err(VaultError::Tampered));
}

#[test]
fn base32_follows_rfc_4648() {
    for (text, expected) in [
        ("", ""),
        ("f", "MY"),
        ("fo", "MZXQ"),
        ("foo", "MZXW6"),
        ("foob", "MZXW6YQ"),
        ("fooba", "MZXW6YTB"),
        ("foobar", "MZXW6YTBOI"),
    ] {
        assert_eq!(base32(text.as_bytes()), expected);
    }
}

#[test]
fn pseudonyms_of_two_sectors_differ() {
    let care = pseudonym(b"care key", "national", "11010519491231002X");
    assert_eq!(care.len(), 26);
    assert_eq!(
        care,
        pseudonym(b"care key", "national", "11010519491231002X")
    );
    assert_ne!(
        care,
        pseudonym(b"pay key", "national", "11010519491231002X")
    );
    assert_ne!(
        care,
        pseudonym(b"care key", "passport", "11010519491231002X")
    );
}

proptest! {
    #[test]
    fn any_document_opens_to_itself(document in proptest::collection::vec(any::<u8>(), 0..300), epoch: u32) {
        let mut keys = KeyRing::new();
        let sealed = keys.seal(epoch, &binding(), &document).unwrap();
        prop_assert_eq!(keys.open(epoch, &binding(), &sealed).unwrap(), document);
    }

    #[test]
    fn no_changed_byte_passes(document in proptest::collection::vec(any::<u8>(), 0..80), at: usize, bit in 0u8..8) {
        let mut keys = KeyRing::new();
        let mut sealed = keys.seal(0, &binding(), &document).unwrap();
        let at = at % sealed.ciphertext.len();
        sealed.ciphertext[at] ^= 1 << bit;
        prop_assert!(verify(&sealed.ciphertext, &sealed.fingerprint.ct_hash).is_err());
        prop_assert_eq!(keys.open(0, &binding(), &sealed), Err(VaultError::Tampered));
    }
}

#[test]
fn a_vault_hands_a_document_to_one_requester_for_one_decision() {
    let vault: Box<dyn Vault> = Box::new(EmbeddedVault::new());
    let sealed = vault.seal(3, &binding(), DOCUMENT).unwrap();
    let requester = RequesterKey::generate().unwrap();
    let to = Recipient {
        public_key: requester.public(),
        access_id: "access-1",
    };
    let handover = vault
        .rewrap(3, &binding(), &sealed.wrapped_key, &to)
        .unwrap();
    let travelled = Handover::from_bytes(&handover.to_bytes()).unwrap();
    assert_eq!(travelled.fingerprint(), handover.fingerprint());
    assert_eq!(
        requester
            .open("access-1", &travelled, 3, &binding(), &sealed)
            .unwrap(),
        DOCUMENT
    );
    // Another decision, another record, another epoch, another requester.
    let other_record = Binding {
        record_id: "rec-2",
        ..binding()
    };
    let refused = Err(VaultError::Tampered);
    for attempt in [
        requester.open("access-2", &handover, 3, &binding(), &sealed),
        requester.open("access-1", &handover, 3, &other_record, &sealed),
        requester.open("access-1", &handover, 4, &binding(), &sealed),
        RequesterKey::generate()
            .unwrap()
            .open("access-1", &handover, 3, &binding(), &sealed),
    ] {
        assert_eq!(attempt, refused);
    }
    let mut changed = sealed.clone();
    changed.ciphertext[15] ^= 1;
    assert_eq!(
        requester.open("access-1", &handover, 3, &binding(), &changed),
        refused
    );
    assert_eq!(Handover::from_bytes(b"short"), Err(VaultError::Tampered));
}

#[test]
fn a_vault_hands_nothing_over_without_a_key_or_to_a_bad_one() {
    let vault = EmbeddedVault::new();
    let sealed = vault.seal(0, &binding(), DOCUMENT).unwrap();
    let rewrap = |public_key: &[u8]| {
        let to = Recipient {
            public_key,
            access_id: "access-1",
        };
        vault.rewrap(0, &binding(), &sealed.wrapped_key, &to)
    };
    assert_eq!(rewrap(&[1; 31]), Err(VaultError::BadPublicKey));
    // The point of order one: everybody would know the shared secret.
    assert_eq!(rewrap(&[0; 32]), Err(VaultError::BadPublicKey));
    assert!(rewrap(&[9; 32]).is_ok());
    assert!(vault.holds(SID, 0).unwrap());
    assert_eq!(vault.shred(SID).unwrap().len(), 1);
    assert!(!vault.holds(SID, 0).unwrap());
    assert_eq!(rewrap(&[9; 32]), Err(VaultError::NoKey));
    assert_eq!(vault.open(0, &binding(), &sealed), Err(VaultError::NoKey));
    assert_eq!(vault.shred(SID), Ok(vec![]));
}

#[test]
fn what_is_shredded_is_what_was_fingerprinted() {
    let mut keys = KeyRing::new();
    keys.seal(0, &binding(), DOCUMENT).unwrap();
    keys.seal(7, &binding(), DOCUMENT).unwrap();
    let expected: Vec<_> = [0, 7]
        .map(|epoch| keys.fingerprint(SID, epoch).unwrap())
        .into();
    assert_ne!(expected[0], expected[1]);
    assert_eq!(keys.shred(SID), expected);
    assert_eq!(keys.fingerprint(SID, 0), None);
}

#[test]
fn a_kept_ring_opens_under_its_master_key_only() {
    let master = [7; KEY_LEN];
    let vault = EmbeddedVault::new();
    let sealed = vault.seal(2, &binding(), DOCUMENT).unwrap();
    let kept = vault.export(&master).unwrap();
    let again = EmbeddedVault::import(&master, &kept).unwrap();
    assert_eq!(again.open(2, &binding(), &sealed).unwrap(), DOCUMENT);
    assert!(EmbeddedVault::import(&[8; KEY_LEN], &kept).is_err());
    for at in 0..kept.len() {
        let mut changed = kept.clone();
        changed[at] ^= 1;
        assert!(KeyRing::import(&master, &changed).is_err());
    }
    assert!(KeyRing::import(&master, b"").is_err());
    assert!(!kept.windows(SID.len()).any(|w| w == SID.as_bytes()));
}

#[test]
fn sectors_and_epochs_give_pseudonyms_that_cannot_be_joined() {
    let mut keys = SectorKeys::new();
    let sectors = ["care", "pay", "device", "research:p1", "research:p2"]
        .map(|text| text.parse::<Sector>().unwrap());
    let mut seen = std::collections::BTreeSet::new();
    for sector in &sectors {
        for epoch in 1..=2 {
            let (opened, print) = keys.open(sector).unwrap();
            assert_eq!(opened, epoch);
            assert_eq!(keys.fingerprint(sector, epoch), Some(print));
            let sid = keys
                .pseudonym(sector, epoch, "national", "11010519491231002X")
                .unwrap();
            assert_eq!(sid.len(), 26);
            assert!(seen.insert(sid));
        }
    }
    assert_eq!(seen.len(), 10);
    // The link of one epoch is cut, the others stay, and its number is not used again.
    let care = &sectors[0];
    let print = keys.fingerprint(care, 2);
    assert_eq!(keys.destroy(care, 2), print);
    assert_eq!(keys.destroy(care, 2), None);
    assert_eq!(
        keys.pseudonym(care, 2, "national", "11010519491231002X"),
        Err(VaultError::NoKey)
    );
    assert!(
        keys.pseudonym(care, 1, "national", "11010519491231002X")
            .is_ok()
    );
    assert_eq!(keys.open(care).unwrap().0, 3);
}

#[test]
fn two_that_share_a_key_share_its_pseudonyms_and_its_fingerprint() {
    let (mut one, mut two) = (SectorKeys::new(), SectorKeys::new());
    let key = zeroize::Zeroizing::new([5; KEY_LEN]);
    one.insert(&Sector::Care, 4, key.clone());
    two.insert(&Sector::Care, 4, key);
    assert_eq!(
        one.pseudonym(&Sector::Care, 4, "MR", "1").unwrap(),
        two.pseudonym(&Sector::Care, 4, "MR", "1").unwrap()
    );
    assert_eq!(
        one.fingerprint(&Sector::Care, 4),
        two.fingerprint(&Sector::Care, 4)
    );
    assert_eq!(one.open(&Sector::Care).unwrap().0, 5);
}

#[test]
fn sectors_are_read_and_written_alike() {
    for text in ["care", "pay", "device", "research:flu.2026-a"] {
        assert_eq!(text.parse::<Sector>().unwrap().to_string(), text);
    }
    for text in [
        "",
        "Care",
        "research",
        "research:",
        "research:a b",
        "billing",
    ] {
        assert_eq!(text.parse::<Sector>(), Err(SectorError), "{text}");
    }
}
