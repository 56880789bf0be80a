//! Identities, certificates, revocation lists and MSP definitions.

use bytes::Bytes;
use consilium_msp::{Certificate, Msp, MspVersion, check_well_formed};
use consilium_proto::common::MspPrincipal;
use consilium_proto::msp::{FabricMspConfig, SerializedIdentity};

use crate::agree::decoded;
use crate::input::Input;
use crate::world;

/// The first byte says what follows: an identity, a certificate, a principal, an MSP's definition,
/// a revocation list for the first of the recorded MSPs, a signature.
pub(crate) fn run(data: &[u8]) -> bool {
    let mut input = Input::new(data);
    let kind = input.byte();
    let bytes = Bytes::copy_from_slice(input.rest());
    match kind % 6 {
        0 => identity(&bytes),
        1 => certificate(&bytes),
        2 => principal(&bytes),
        3 => decoded(&bytes).is_some_and(|config| definition(&config)),
        4 => {
            let mut config = first().config().clone();
            config.revocation_list.push(bytes);
            definition(&config)
        }
        _ => signature(&bytes),
    }
}

fn first() -> &'static Msp {
    world::config()
        .msps()
        .msps()
        .next()
        .expect("a channel has MSPs")
}

fn identity(bytes: &Bytes) -> bool {
    let Some(serialized) = decoded::<SerializedIdentity>(bytes) else {
        return false;
    };
    let formed = check_well_formed(&serialized.id_bytes);
    let msps = world::config().msps();
    let Ok(identity) = msps.deserialize(bytes) else {
        return false;
    };
    assert_eq!(identity.msp_id(), serialized.mspid);
    assert_eq!(identity.serialized(), bytes, "it is kept as it came");
    let valid = msps.validate(&identity).is_ok();
    let again = msps.deserialize(bytes).expect("it was read before");
    assert_eq!(msps.validate(&again).is_ok(), valid, "one verdict");
    if valid && formed.is_ok() {
        let role = consilium_proto::common::msp_role::MspRoleType::Member;
        let member = consilium_msp::role_principal(identity.msp_id(), role);
        assert!(msps.satisfies(&identity, &member).is_ok(), "a member");
    }
    valid
}

fn certificate(bytes: &Bytes) -> bool {
    let _ = Certificate::all_from_pem(bytes);
    let found = Certificate::from_der(bytes).or_else(|_| Certificate::from_pem(bytes));
    let Ok(found) = found else {
        return false;
    };
    let again = Certificate::from_pem(found.pem().as_bytes());
    let again = again.expect("its own PEM reads back");
    assert_eq!(again.der(), found.der());
    assert_eq!(again.digest(), found.digest());
    let _ = (found.is_ca(), found.curve(), found.serial_hex());
    let _ = (found.dns_names(), found.ip_addresses());
    let _ = found.is_signed_by(&found);
    true
}

fn principal(bytes: &Bytes) -> bool {
    let Some(principal) = decoded::<MspPrincipal>(bytes) else {
        return false;
    };
    let msps = world::config().msps();
    let mut is_held = false;
    for msp in msps.msps() {
        for admin in msp.admins() {
            if let Ok(identity) = msp.identity_of(admin.pem().as_bytes()) {
                is_held |= msps.satisfies(&identity, &principal).is_ok();
            }
        }
    }
    is_held
}

fn definition(config: &FabricMspConfig) -> bool {
    let mut is_taken = false;
    for version in [MspVersion::V1_0, MspVersion::V1_4_3] {
        if let Ok(msp) = Msp::new(config, version) {
            is_taken = true;
            assert_eq!(msp.id(), config.name);
            for authority in msp.authorities() {
                let _ = msp.identity_of(authority.pem().as_bytes());
            }
        }
    }
    is_taken
}

/// No bytes are the signature of what nobody signed. Whether they look like one.
fn signature(bytes: &Bytes) -> bool {
    for authority in first().authorities() {
        let verified = authority.verify(b"nobody signed this", bytes);
        assert!(verified.is_err(), "a forged signature");
    }
    // A sequence of two numbers.
    bytes.first() == Some(&0x30)
}
