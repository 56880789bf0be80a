//! Signatures against a second implementation, and the exact bytes that are accepted.

use std::sync::Arc;

use consilium_msp::{Certificate, SignError, SignatureError, Signer, SoftwareSigner};
use consilium_testkit::{Authority, Credential, KeyKind, NodeOu, Organization, Template};
use p256::ecdsa::signature::{Signer as _, Verifier as _};
use p256::ecdsa::{Signature, SigningKey, VerifyingKey};
use p256::pkcs8::DecodePrivateKey as _;
use proptest::prelude::*;

fn credential() -> Credential {
    Organization::new("Org1MSP", "org1.example.com").issue("user", NodeOu::Client)
}

fn signer(credential: &Credential) -> SoftwareSigner {
    SoftwareSigner::from_pem(
        "Org1MSP",
        credential.cert_pem.as_bytes(),
        credential.key_pem.as_bytes(),
    )
    .expect("signer")
}

fn reference_key(credential: &Credential) -> SigningKey {
    SigningKey::from_pkcs8_pem(&credential.key_pem).expect("reference key")
}

/// DER of a signature with S replaced by its complement.
fn high(signature: &Signature) -> Vec<u8> {
    let (r, s) = signature.split_scalars();
    Signature::from_scalars(r.to_bytes(), (-*s).to_bytes())
        .expect("scalars")
        .to_der()
        .as_bytes()
        .to_vec()
}

#[test]
fn both_implementations_accept_each_others_signatures_and_ours_are_low() {
    let credential = credential();
    let (ours, reference) = (signer(&credential), reference_key(&credential));
    let public = VerifyingKey::from(&reference);
    for number in 0u32..200 {
        let message = number.to_be_bytes();
        let der = ours.sign(&message).expect("signature");
        let signature = Signature::from_der(&der).expect("canonical DER");
        assert_eq!(signature.normalize_s(), signature, "low S");
        public
            .verify(&message, &signature)
            .expect("verified by the reference");

        let theirs: Signature = reference.sign(&message);
        let theirs = theirs.normalize_s();
        assert_eq!(
            ours.certificate()
                .verify(&message, theirs.to_der().as_bytes()),
            Ok(())
        );
        assert_eq!(
            ours.certificate().verify(&message, &high(&theirs)),
            Err(SignatureError::HighS)
        );
        assert_eq!(
            ours.certificate()
                .verify(b"another message", theirs.to_der().as_bytes()),
            Err(SignatureError::Invalid)
        );
    }
}

#[test]
fn bytes_after_s_are_ignored_and_integers_must_be_minimal() {
    let credential = credential();
    let signer = signer(&credential);
    let der = signer.sign(b"message").expect("signature").to_vec();
    let verify = |bytes: &[u8]| signer.certificate().verify(b"message", bytes);
    assert_eq!(verify(&der), Ok(()));
    assert_eq!(
        verify(&[&der[..], b"trailing"].concat()),
        Ok(()),
        "after the sequence"
    );
    let mut inside = der.clone();
    inside.extend([0x02, 0x01, 0x05]);
    inside[1] += 3;
    assert_eq!(verify(&inside), Ok(()), "a third element in the sequence");

    let r_length = usize::from(der[3]);
    let mut padded = der.clone();
    padded.insert(4, 0);
    padded[3] += 1;
    padded[1] += 1;
    let mut long_form = vec![0x30, 0x81];
    long_form.extend(&der[1..]);
    let mut negative = der.clone();
    negative[4] = 0x80;
    let mut zero_r = vec![0x30, 0, 0x02, 0x01, 0x00];
    zero_r.extend(&der[4 + r_length..]);
    zero_r[1] = (zero_r.len() - 2) as u8;
    for (what, bytes) in [
        ("empty", vec![]),
        ("half", der[..der.len() / 2].to_vec()),
        (
            "padded integer",
            if der[4] == 0 {
                long_form.clone()
            } else {
                padded
            },
        ),
        ("long length", long_form),
        ("negative", negative),
        ("zero", zero_r),
        ("no sequence", der[2..].to_vec()),
    ] {
        let outcome = verify(&bytes);
        assert!(
            matches!(outcome, Err(SignatureError::Malformed(_))),
            "{what}: {outcome:?}"
        );
    }
}

#[test]
fn every_kind_of_identity_key_signs_what_its_certificate_verifies() {
    let root = Authority::root("ca");
    for key_kind in [
        KeyKind::P256,
        KeyKind::P384,
        KeyKind::P521,
        KeyKind::Ed25519,
    ] {
        let signer = signer(&root.issue(&Template {
            key_kind,
            ..Template::new("user")
        }));
        for number in 0..40u8 {
            let signature = signer.sign(&[number]).expect("signature");
            assert_eq!(
                signer.certificate().verify(&[number], &signature),
                Ok(()),
                "{key_kind:?}"
            );
            assert!(
                signer
                    .certificate()
                    .verify(&[number, 1], &signature)
                    .is_err(),
                "{key_kind:?}"
            );
        }
    }
}

#[test]
fn a_key_must_be_readable_and_that_of_the_certificate() {
    let (first, second) = (credential(), credential());
    let read = |cert: &str, key: &str| {
        SoftwareSigner::from_pem("Org1MSP", cert.as_bytes(), key.as_bytes()).map(|_| ())
    };
    assert_eq!(read(&first.cert_pem, &first.key_pem), Ok(()));
    let sec1 = sec1_pem(&first);
    assert_eq!(read(&first.cert_pem, &sec1), Ok(()), "SEC1");
    assert_eq!(
        read(&first.cert_pem, &second.key_pem),
        Err(SignError::KeyMismatch("user".into()))
    );
    for key in ["", "junk", first.cert_pem.as_str()] {
        assert!(
            matches!(read(&first.cert_pem, key), Err(SignError::Key(_))),
            "{key:?}"
        );
    }
    assert!(matches!(
        read("junk", &first.key_pem),
        Err(SignError::Certificate(_))
    ));
    let rsa = Authority::root("ca").issue(&Template {
        key_kind: KeyKind::Rsa,
        ..Template::new("user")
    });
    assert_eq!(
        read(&rsa.cert_pem, &rsa.key_pem),
        Err(SignError::Key("RSA is not supported".into()))
    );
}

/// The key in the older form, with the block of curve parameters that OpenSSL puts before it.
fn sec1_pem(credential: &Credential) -> String {
    let key = p256::SecretKey::from_pkcs8_pem(&credential.key_pem).expect("key");
    let text = key.to_sec1_pem(Default::default()).expect("SEC1");
    format!(
        "-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n{}",
        text.as_str()
    )
}

#[test]
fn certificates_whose_own_signature_is_high_become_equal_to_their_low_form() {
    // About half of the test authority's signatures are high, since it does not normalize.
    let organization = Organization::new("Org1MSP", "org1.example.com");
    let msp = organization.msp();
    let mut changed = 0;
    for _ in 0..24 {
        let original = Certificate::from_pem(
            organization
                .issue("user", NodeOu::Client)
                .cert_pem
                .as_bytes(),
        )
        .expect("read");
        let identity = msp
            .identity_of(original.pem().as_bytes())
            .expect("identity");
        let sanitized: &Arc<Certificate> = identity.certificate();
        changed += usize::from(*sanitized != original);
        assert_eq!(msp.validate(&identity), Ok(()));
        let again = msp
            .identity_of(sanitized.pem().as_bytes())
            .expect("identity");
        assert_eq!(again.certificate(), sanitized, "stable");
        assert_eq!(sanitized.serial_hex(), original.serial_hex());
    }
    assert!(changed > 0, "none of 24 signatures was high");
}

proptest! {
    #[test]
    fn reading_arbitrary_certificates_never_panics(flips in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4), cut in any::<prop::sample::Index>()) {
        thread_local! {
            static DER: Vec<u8> = Certificate::from_pem(credential().cert_pem.as_bytes()).expect("read").der().to_vec();
        }
        let mut der = DER.with(Clone::clone);
        for (index, byte) in flips {
            let at = index.index(der.len());
            der[at] ^= byte;
        }
        if let Ok(certificate) = Certificate::from_der(&der) {
            let _ = certificate.verify(b"message", b"signature");
            let _ = (certificate.pem(), certificate.subject_cn().len());
        }
        let end = cut.index(der.len());
        let _ = Certificate::from_der(&der[..end]);
    }
}
