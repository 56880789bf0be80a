//! Organizational units: roles and certification paths.

use consilium_msp::{Msp, MspVersion, NodeRole};
use consilium_proto::msp::{FabricNodeOUs, FabricOuIdentifier};
use consilium_testkit::{Authority, Credential, Organization, Template};

use crate::{msp, pem, plain_config, refused, verdict};

fn with_units(organization: &Organization, units: &[&str]) -> Credential {
    organization
        .ca()
        .issue(&Template::new("user").with_units(units))
}

#[test]
fn node_units_must_name_exactly_one_role() {
    let organization = Organization::new("Org1MSP", "org1.example.com");
    let msp = msp(&organization.msp_config());
    for (units, role) in [
        (&["client"][..], NodeRole::Client),
        (&["peer"], NodeRole::Peer),
        (&["admin"], NodeRole::Admin),
        (&["orderer"], NodeRole::Orderer),
        (&["department1", "client", "org1"], NodeRole::Client),
    ] {
        let credential = with_units(&organization, units);
        let identity = msp
            .identity_of(credential.cert_pem.as_bytes())
            .expect("identity");
        assert_eq!(msp.validate(&identity), Ok(()), "{units:?}");
        assert_eq!(msp.role(&identity), Some(role), "{units:?}");
        assert_eq!(identity.certificate().subject_ous(), units);
    }
    for (units, text) in [
        (
            &[][..],
            "does not have an OU that resolves to client, peer, orderer, or admin role. OUs: []",
        ),
        (&["department1"], "does not have an OU that resolves to"),
        (
            &["client", "peer"],
            "not a combination of them. OUs: [client(",
        ),
        (&["client", "client"], "not a combination of them"),
    ] {
        refused(verdict(&msp, &with_units(&organization, units)), text);
    }
}

#[test]
fn units_may_be_bound_to_a_certification_path() {
    let root = Authority::root("root");
    let left = root.intermediate(&Template::authority("left"));
    let right = root.intermediate(&Template::authority("right"));
    let unit = |name: &str, certificate: &str| FabricOuIdentifier {
        certificate: pem(certificate),
        organizational_unit_identifier: name.into(),
    };
    let client =
        |authority: &Authority| authority.issue(&Template::new("user").with_units(&["client"]));

    let mut config = plain_config(
        &[root.cert_pem()],
        &[left.cert_pem(), right.cert_pem()],
        &client(&left),
    );
    config.fabric_node_ous = Some(FabricNodeOUs {
        enable: true,
        client_ou_identifier: Some(unit("client", left.cert_pem())),
        ..FabricNodeOUs::default()
    });
    let bound = msp(&config);
    assert_eq!(verdict(&bound, &client(&left)), Ok(()));
    refused(
        verdict(&bound, &client(&right)),
        "certifiersIdentifier does not match: [client(",
    );

    config.fabric_node_ous = None;
    config.organizational_unit_identifiers = vec![unit("client", left.cert_pem())];
    let listed = msp(&config);
    assert_eq!(verdict(&listed, &client(&left)), Ok(()));
    refused(
        verdict(&listed, &client(&right)),
        "none of the identity's organizational units [client(",
    );
    refused(
        verdict(&listed, &left.issue(&Template::new("user"))),
        "does not contain an Organizational Unit (OU)",
    );

    config.organizational_unit_identifiers =
        vec![unit("client", Authority::root("foreign").cert_pem())];
    refused(
        Msp::new(&config, MspVersion::V3_0).map(|_| ()),
        "not in root or intermediate certs.",
    );
    config.organizational_unit_identifiers = vec![unit("client", "")];
    refused(
        Msp::new(&config, MspVersion::V3_0).map(|_| ()),
        "failed getting certificate for [client]",
    );
}
