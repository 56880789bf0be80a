//! MSPs, identities in them, and principals.

use crate::verdict;
use bytes::Bytes;
use consilium_msp::{Msp, MspVersion, role_principal};
use consilium_proto::common::msp_principal::Classification;
use consilium_proto::common::msp_role::MspRoleType;
use consilium_proto::common::{
    CombinedPrincipal, MspIdentityAnonymity, MspPrincipal, OrganizationUnit,
};
use consilium_proto::msp::{
    FabricCryptoConfig, FabricMspConfig, FabricNodeOUs, FabricOuIdentifier, MspConfig,
    SerializedIdentity,
};
use consilium_testkit::{
    Authority, CLIENT_AUTH, Credential, DIGITAL_SIGNATURE, KEY_CERT_SIGN, KeyKind, SERVER_AUTH,
    Template,
};
use prost::Message;
use serde_json::{Value, json};

const VERSIONS: [MspVersion; 5] = [
    MspVersion::V1_0,
    MspVersion::V1_1,
    MspVersion::V1_3,
    MspVersion::V1_4_3,
    MspVersion::V3_0,
];

fn pem(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

fn unit(name: &str, certificate: &str) -> Option<FabricOuIdentifier> {
    Some(FabricOuIdentifier {
        certificate: pem(certificate),
        organizational_unit_identifier: name.into(),
    })
}

fn node_units(certificate: &str) -> Option<FabricNodeOUs> {
    Some(FabricNodeOUs {
        enable: true,
        client_ou_identifier: unit("client", certificate),
        peer_ou_identifier: unit("peer", certificate),
        admin_ou_identifier: unit("admin", certificate),
        orderer_ou_identifier: unit("orderer", certificate),
    })
}

/// A root, an intermediate and a second intermediate; most cases change one thing about them.
struct Tree {
    root: Authority,
    left: Authority,
    right: Authority,
    foreign: Authority,
}

impl Tree {
    fn new() -> Self {
        let root = Authority::root("root");
        Self {
            left: root.intermediate(&Template::authority("left")),
            right: root.intermediate(&Template::authority("right")),
            root,
            foreign: Authority::root("foreign"),
        }
    }

    fn flat(&self, admin: &Credential) -> FabricMspConfig {
        FabricMspConfig {
            name: "Org1MSP".into(),
            root_certs: vec![pem(self.root.cert_pem())],
            admins: vec![pem(&admin.cert_pem)],
            ..FabricMspConfig::default()
        }
    }

    fn deep(&self, admin: &Credential) -> FabricMspConfig {
        FabricMspConfig {
            intermediate_certs: vec![pem(self.left.cert_pem()), pem(self.right.cert_pem())],
            ..self.flat(admin)
        }
    }
}

fn member(units: &[&str]) -> Template {
    Template::new("some one").with_units(units)
}

/// Which versions set such a configuration up.
#[derive(Clone, Copy)]
enum Sets {
    Always,
    Never,
    From(MspVersion),
    /// Node units were read from 1.1 on, and both of their kinds demanded before 1.4.3.
    NotBetween,
    Before(MspVersion),
}

impl Sets {
    fn up(self, version: MspVersion) -> bool {
        match self {
            Sets::Always => true,
            Sets::Never => false,
            Sets::From(first) => version >= first,
            Sets::NotBetween => version == MspVersion::V1_0 || version >= MspVersion::V1_4_3,
            Sets::Before(first) => version < first,
        }
    }
}

pub fn cases() -> Vec<Value> {
    let tree = Tree::new();
    let identities = identities(&tree);
    let mut cases = Vec::new();
    for (name, sets, config) in configurations(&tree) {
        for version in VERSIONS {
            cases.push(case(name, sets.up(version), &config, version, &identities));
        }
    }
    cases.push(json!({
        "kind": "msp", "name": "Idemix is refused by us alone", "ours_alone": true, "accepted": false,
        "version": 4,
        "config": hex::encode(MspConfig { r#type: 1, config: Bytes::new() }.encode_to_vec()),
        "verdict": verdict(&Msp::from_config(
            &MspConfig { r#type: 1, config: Bytes::new() },
            MspVersion::V3_0,
        )),
        "identities": [],
    }));
    cases
}

fn case(
    name: &str,
    sets_up: bool,
    config: &FabricMspConfig,
    version: MspVersion,
    identities: &[(&'static str, Bytes)],
) -> Value {
    let name = format!("{name}, {version:?}");
    let msp = Msp::new(config, version);
    let judged: Vec<Value> = match &msp {
        Err(_) => Vec::new(),
        Ok(msp) => identities
            .iter()
            .map(|(who, identity)| judge(msp, who, identity))
            .collect(),
    };
    let message = MspConfig {
        r#type: 0,
        config: config.encode_to_vec().into(),
    };
    json!({
        "kind": "msp",
        "name": name,
        "accepted": sets_up,
        "version": VERSIONS.iter().position(|known| *known == version),
        "config": hex::encode(message.encode_to_vec()),
        "verdict": verdict(&msp),
        "identities": judged,
    })
}

fn judge(msp: &Msp, who: &str, identity: &Bytes) -> Value {
    let deserialized = msp.deserialize(identity);
    let valid = deserialized
        .as_ref()
        .map_err(Clone::clone)
        .and_then(|identity| msp.validate(identity));
    let principals: Vec<Value> = match &deserialized {
        Err(_) => Vec::new(),
        Ok(one) => principals(identity, msp.certifiers_of(one))
            .into_iter()
            .map(|(name, principal)| {
                json!({
                    "name": name,
                    "principal": hex::encode(principal.encode_to_vec()),
                    "verdict": verdict(&msp.satisfies(one, &principal)),
                })
            })
            .collect(),
    };
    json!({
        "name": who,
        "identity": hex::encode(identity),
        "readable": verdict(&deserialized),
        "verdict": verdict(&valid),
        "principals": principals,
    })
}

fn principals(identity: &Bytes, certifiers: Option<Vec<u8>>) -> Vec<(&'static str, MspPrincipal)> {
    let classified = |kind: Classification, bytes: Vec<u8>| MspPrincipal {
        principal_classification: kind.into(),
        principal: bytes.into(),
    };
    let of_unit = |msp: &str, certifiers: Vec<u8>| {
        let unit = OrganizationUnit {
            msp_identifier: msp.into(),
            organizational_unit_identifier: "client".into(),
            certifiers_identifier: certifiers.into(),
        };
        classified(Classification::OrganizationUnit, unit.encode_to_vec())
    };
    let combined = |principals: Vec<MspPrincipal>| {
        let combined = CombinedPrincipal { principals };
        classified(Classification::Combined, combined.encode_to_vec())
    };
    let role = |role| role_principal("Org1MSP", role);
    let anonymity = |kind| {
        let anonymity = MspIdentityAnonymity {
            anonymity_type: kind,
        };
        classified(Classification::Anonymity, anonymity.encode_to_vec())
    };
    vec![
        ("member", role(MspRoleType::Member)),
        ("admin", role(MspRoleType::Admin)),
        ("client", role(MspRoleType::Client)),
        ("peer", role(MspRoleType::Peer)),
        ("orderer", role(MspRoleType::Orderer)),
        (
            "member of another",
            role_principal("Org2MSP", MspRoleType::Member),
        ),
        (
            "a unit",
            of_unit("Org1MSP", certifiers.clone().unwrap_or_default()),
        ),
        ("a unit under another path", of_unit("Org1MSP", vec![1; 32])),
        (
            "a unit of another",
            of_unit("Org2MSP", certifiers.unwrap_or_default()),
        ),
        (
            "itself",
            classified(Classification::Identity, identity.to_vec()),
        ),
        (
            "no identity",
            classified(Classification::Identity, b"x".to_vec()),
        ),
        ("nominal", anonymity(0)),
        ("anonymous", anonymity(1)),
        (
            "a client and a member",
            combined(vec![
                role(MspRoleType::Client),
                combined(vec![role(MspRoleType::Member)]),
            ]),
        ),
        ("nobody combined", combined(Vec::new())),
        (
            "a classification that nobody knows",
            MspPrincipal {
                principal_classification: 9,
                principal: Bytes::new(),
            },
        ),
    ]
}

/// Identities that are shown to every MSP that sets up.
fn identities(tree: &Tree) -> Vec<(&'static str, Bytes)> {
    let serialized = |msp: &str, text: &str| -> Bytes {
        let identity = SerializedIdentity {
            mspid: msp.into(),
            id_bytes: pem(text),
        };
        identity.encode_to_vec().into()
    };
    let own = |text: &str| serialized("Org1MSP", text);
    let client = member(&["client"]);
    let day = 86_400;
    let template = |change: &dyn Fn(&mut Template)| {
        let mut template = client.clone();
        change(&mut template);
        template
    };
    let expired = template(&|t| t.not_after = t.not_before + 10);
    let future = template(&|t| t.not_before += 30 * day);
    let ancient = template(&|t| t.not_before -= 3650 * day);
    let revoked = template(&|t| t.serial = Some(vec![0x77]));
    let no_usage = template(&|t| t.key_usage = None);
    let client_auth = template(&|t| t.extended_key_usages = vec![CLIENT_AUTH]);
    let both_auth = template(&|t| t.extended_key_usages = vec![CLIENT_AUTH, SERVER_AUTH]);
    let critical = template(&|t| t.extensions = vec![("1.2.3.4", true, vec![5, 0])]);
    let optional = template(&|t| t.extensions = vec![("1.2.3.4", false, vec![5, 0])]);
    let mut all = vec![
        ("no certificate", own("nothing")),
        ("not an identity", Bytes::from_static(b"\xff\xff")),
        (
            "of another MSP",
            serialized("Org2MSP", &tree.root.issue(&client).cert_pem),
        ),
        ("an authority", own(tree.root.cert_pem())),
        ("an intermediate authority", own(tree.left.cert_pem())),
        (
            "a foreign client",
            own(&tree.foreign.issue(&client).cert_pem),
        ),
        ("a foreign authority", own(tree.foreign.cert_pem())),
        (
            "an expired client",
            own(&tree.left.issue(&expired).cert_pem),
        ),
        (
            "a client of the future",
            own(&tree.left.issue(&future).cert_pem),
        ),
        (
            "a client older than its issuer",
            own(&tree.left.issue(&ancient).cert_pem),
        ),
        (
            "a revoked client of the root",
            own(&tree.root.issue(&revoked).cert_pem),
        ),
        (
            "a revoked client of the left",
            own(&tree.left.issue(&revoked).cert_pem),
        ),
        (
            "a client without key usage",
            own(&tree.root.issue(&no_usage).cert_pem),
        ),
        (
            "a client for TLS clients",
            own(&tree.root.issue(&client_auth).cert_pem),
        ),
        (
            "a client for TLS servers, too",
            own(&tree.root.issue(&both_auth).cert_pem),
        ),
        (
            "a client with an unknown critical extension",
            own(&tree.root.issue(&critical).cert_pem),
        ),
        (
            "a client with an unknown extension",
            own(&tree.root.issue(&optional).cert_pem),
        ),
    ];
    for (name, units) in [
        ("without units", &[][..]),
        ("client", &["client"]),
        ("peer", &["peer"]),
        ("admin", &["admin"]),
        ("orderer", &["orderer"]),
        ("client and peer", &["client", "peer"]),
        ("client twice", &["client", "client"]),
        ("department and client", &["department", "client"]),
        ("department", &["department"]),
    ] {
        all.push((name, own(&tree.root.issue(&member(units)).cert_pem)));
        all.push((name, own(&tree.left.issue(&member(units)).cert_pem)));
    }
    all.push((
        "a client of the right",
        own(&tree.right.issue(&client).cert_pem),
    ));
    for kind in [KeyKind::P384, KeyKind::P521, KeyKind::Ed25519, KeyKind::Rsa] {
        let keyed = template(&|t| t.key_kind = kind);
        all.push((
            "a client with another kind of key",
            own(&tree.root.issue(&keyed).cert_pem),
        ));
    }
    // Half of all signatures have a high S: among these some do.
    for _ in 0..4 {
        all.push((
            "a client as it happens",
            own(&tree.left.issue(&client).cert_pem),
        ));
    }
    all
}

type Row = (&'static str, Sets, FabricMspConfig);

fn configurations(tree: &Tree) -> Vec<Row> {
    let plain_admin = tree.root.issue(&member(&[]));
    let root_client = tree.root.issue(&member(&["client"]));
    let root_admin = tree.root.issue(&member(&["admin"]));
    let root_peer = tree.root.issue(&member(&["peer"]));
    let left_client = tree.left.issue(&member(&["client"]));
    let foreign = tree.foreign.issue(&member(&["client"]));
    let revoked_admin = tree.root.issue(&Template {
        serial: Some(vec![0x77]),
        ..member(&["client"])
    });
    let flat = tree.flat(&root_client);
    let deep = tree.deep(&left_client);
    let with = |config: &FabricMspConfig, change: &dyn Fn(&mut FabricMspConfig)| {
        let mut config = config.clone();
        change(&mut config);
        config
    };
    let root_pem = tree.root.cert_pem();
    let left_pem = tree.left.cert_pem();
    let unlisted = FabricNodeOUs {
        enable: false,
        ..FabricNodeOUs::default()
    };
    use MspVersion::{V1_1, V1_4_3};
    let mut rows: Vec<Row> = vec![
        ("a root", Sets::Always, flat.clone()),
        ("a root and intermediates", Sets::Always, deep.clone()),
        (
            "no root",
            Sets::Never,
            with(&flat, &|c| c.root_certs.clear()),
        ),
        (
            "a root that is no certificate",
            Sets::Never,
            with(&flat, &|c| c.root_certs = vec![pem("x")]),
        ),
        (
            "a root that is no authority",
            Sets::Never,
            with(&flat, &|c| c.root_certs = vec![pem(&root_client.cert_pem)]),
        ),
        (
            "the root twice",
            Sets::Always,
            with(&flat, &|c| c.root_certs.push(pem(root_pem))),
        ),
        (
            "an intermediate without its root",
            Sets::Never,
            with(&flat, &|c| {
                c.intermediate_certs = vec![pem(tree
                    .foreign
                    .intermediate(&Template::authority("x"))
                    .cert_pem())]
            }),
        ),
        (
            "the root among the intermediates",
            Sets::Always,
            with(&flat, &|c| c.intermediate_certs = vec![pem(root_pem)]),
        ),
        (
            "an empty name",
            Sets::Always,
            with(&flat, &|c| c.name.clear()),
        ),
        (
            "no administrator",
            Sets::Before(V1_4_3),
            with(&flat, &|c| c.admins.clear()),
        ),
        (
            "an administrator without units",
            Sets::Always,
            with(&flat, &|c| c.admins = vec![pem(&plain_admin.cert_pem)]),
        ),
        (
            "a foreign administrator",
            Sets::Never,
            with(&flat, &|c| c.admins = vec![pem(&foreign.cert_pem)]),
        ),
        (
            "an administrator that is no certificate",
            Sets::Never,
            with(&flat, &|c| c.admins = vec![pem("x")]),
        ),
        (
            "an authority as administrator",
            Sets::Never,
            with(&flat, &|c| c.admins = vec![pem(root_pem)]),
        ),
        (
            "an administrator under the root of a tree",
            Sets::Never,
            with(&deep, &|c| c.admins = vec![pem(&root_client.cert_pem)]),
        ),
        (
            "SHA3 for signatures",
            Sets::Always,
            with(&flat, &|c| c.crypto_config = crypto("SHA3", "SHA256")),
        ),
        (
            "nobody's hash for signatures",
            Sets::Always,
            with(&flat, &|c| c.crypto_config = crypto("MD5", "SHA256")),
        ),
        (
            "SHA384 for identifiers",
            Sets::Always,
            with(&flat, &|c| c.crypto_config = crypto("SHA2", "SHA384")),
        ),
        (
            "SHA3_256 for identifiers",
            Sets::Always,
            with(&flat, &|c| c.crypto_config = crypto("SHA2", "SHA3_256")),
        ),
        (
            "nobody's hash for identifiers",
            Sets::Never,
            with(&flat, &|c| c.crypto_config = crypto("SHA2", "MD5")),
        ),
        (
            "defaults for hashes",
            Sets::Always,
            with(&flat, &|c| c.crypto_config = crypto("", "")),
        ),
        (
            "TLS roots",
            Sets::Always,
            with(&flat, &|c| {
                c.tls_root_certs = vec![pem(tree.foreign.cert_pem())]
            }),
        ),
        (
            "a TLS root that is no authority",
            Sets::Never,
            with(&flat, &|c| {
                c.tls_root_certs = vec![pem(&root_client.cert_pem)]
            }),
        ),
        (
            "a TLS intermediate",
            Sets::Always,
            with(&flat, &|c| {
                c.tls_root_certs = vec![pem(root_pem)];
                c.tls_intermediate_certs = vec![pem(left_pem)];
            }),
        ),
        (
            "a TLS intermediate without its root",
            Sets::Never,
            with(&flat, &|c| c.tls_intermediate_certs = vec![pem(left_pem)]),
        ),
        (
            "a listed unit",
            Sets::Always,
            with(&flat, &|c| {
                c.organizational_unit_identifiers = unit("client", root_pem).into_iter().collect()
            }),
        ),
        (
            "a listed unit of a department",
            Sets::Never,
            with(&flat, &|c| {
                c.organizational_unit_identifiers =
                    unit("department", root_pem).into_iter().collect()
            }),
        ),
        (
            "a listed unit of a foreign authority",
            Sets::Never,
            with(&flat, &|c| {
                c.organizational_unit_identifiers = unit("client", tree.foreign.cert_pem())
                    .into_iter()
                    .collect()
            }),
        ),
        (
            "a listed unit without authority",
            Sets::Never,
            with(&flat, &|c| {
                c.organizational_unit_identifiers = unit("client", "").into_iter().collect()
            }),
        ),
        (
            "a listed unit under the left",
            Sets::Always,
            with(&deep, &|c| {
                c.organizational_unit_identifiers = unit("client", left_pem).into_iter().collect()
            }),
        ),
        (
            "a unit listed twice",
            Sets::Always,
            with(&flat, &|c| {
                c.organizational_unit_identifiers =
                    [unit("client", root_pem), unit("client", root_pem)]
                        .into_iter()
                        .flatten()
                        .collect()
            }),
        ),
        (
            "node units",
            Sets::Always,
            with(&flat, &|c| c.fabric_node_ous = node_units("")),
        ),
        (
            "node units under the root",
            Sets::Always,
            with(&flat, &|c| c.fabric_node_ous = node_units(root_pem)),
        ),
        (
            "node units under the left",
            Sets::Always,
            with(&deep, &|c| c.fabric_node_ous = node_units(left_pem)),
        ),
        (
            "node units under a foreign authority",
            Sets::Before(V1_1),
            with(&flat, &|c| {
                c.fabric_node_ous = node_units(tree.foreign.cert_pem())
            }),
        ),
        (
            "node units and a listed department",
            Sets::Before(V1_1),
            with(&flat, &|c| {
                c.admins = vec![pem(&tree.root.issue(&member(&["department"])).cert_pem)];
                c.organizational_unit_identifiers =
                    unit("department", root_pem).into_iter().collect();
                c.fabric_node_ous = node_units("");
            }),
        ),
        (
            "node units and a listed department for clients",
            Sets::Always,
            with(&flat, &|c| {
                c.admins = vec![pem(&tree
                    .root
                    .issue(&member(&["department", "client"]))
                    .cert_pem)];
                c.organizational_unit_identifiers =
                    unit("department", root_pem).into_iter().collect();
                c.fabric_node_ous = node_units("");
            }),
        ),
        (
            "node units that are off",
            Sets::Always,
            with(&flat, &|c| {
                c.fabric_node_ous = node_units("");
                if let Some(units) = &mut c.fabric_node_ous {
                    units.enable = false;
                }
            }),
        ),
        (
            "node units that are off and empty",
            Sets::NotBetween,
            with(&flat, &|c| c.fabric_node_ous = Some(unlisted.clone())),
        ),
        (
            "node units that are on and empty",
            Sets::NotBetween,
            with(&flat, &|c| {
                c.fabric_node_ous = Some(FabricNodeOUs {
                    enable: true,
                    ..unlisted.clone()
                })
            }),
        ),
        (
            "node units without clients",
            Sets::NotBetween,
            with(&flat, &|c| {
                c.admins = vec![pem(&root_admin.cert_pem)];
                c.fabric_node_ous = node_units("");
                if let Some(units) = &mut c.fabric_node_ous {
                    units.client_ou_identifier = None;
                }
            }),
        ),
        (
            "node units without administrators",
            Sets::Always,
            with(&flat, &|c| {
                c.fabric_node_ous = node_units("");
                if let Some(units) = &mut c.fabric_node_ous {
                    units.admin_ou_identifier = None;
                }
            }),
        ),
        (
            "node units and no administrator",
            Sets::Always,
            with(&flat, &|c| {
                c.admins.clear();
                c.fabric_node_ous = node_units("");
            }),
        ),
        (
            "node units without administrators, and none",
            Sets::Before(V1_4_3),
            with(&flat, &|c| {
                c.admins.clear();
                c.fabric_node_ous = node_units("");
                if let Some(units) = &mut c.fabric_node_ous {
                    units.admin_ou_identifier = None;
                }
            }),
        ),
        (
            "clients and peers of one name",
            Sets::Always,
            with(&deep, &|c| {
                c.fabric_node_ous = node_units("");
                if let Some(units) = &mut c.fabric_node_ous {
                    units.client_ou_identifier = unit("client", left_pem);
                    units.peer_ou_identifier = unit("client", tree.right.cert_pem());
                }
            }),
        ),
        (
            "node units, an administrator of that unit",
            Sets::NotBetween,
            with(&flat, &|c| {
                c.admins = vec![pem(&root_admin.cert_pem)];
                c.fabric_node_ous = node_units("");
            }),
        ),
        (
            "node units, a peer as administrator",
            Sets::Before(V1_1),
            with(&flat, &|c| {
                c.admins = vec![pem(&root_peer.cert_pem)];
                c.fabric_node_ous = node_units("");
            }),
        ),
        (
            "node units, a client and peer as administrator",
            Sets::NotBetween,
            with(&flat, &|c| {
                c.admins = vec![pem(&tree.root.issue(&member(&["client", "peer"])).cert_pem)];
                c.fabric_node_ous = node_units("");
            }),
        ),
        (
            "node units, an administrator under the root of a tree",
            Sets::Never,
            with(&deep, &|c| {
                c.admins = vec![pem(&root_client.cert_pem)];
                c.fabric_node_ous = node_units("");
            }),
        ),
        (
            "a list that revokes clients of the root",
            Sets::Always,
            with(&flat, &|c| {
                c.revocation_list = vec![tree.root.revocation_list(&[&[0x77]], true).into()]
            }),
        ),
        (
            "a list that revokes clients of the left",
            Sets::Always,
            with(&deep, &|c| {
                c.revocation_list = vec![tree.left.revocation_list(&[&[0x77]], true).into()]
            }),
        ),
        (
            "a list that revokes the administrator",
            Sets::Never,
            with(&flat, &|c| {
                c.admins = vec![pem(&revoked_admin.cert_pem)];
                c.revocation_list = vec![tree.root.revocation_list(&[&[0x77]], true).into()];
            }),
        ),
        (
            "a list that revokes the administrator, node units",
            Sets::From(V1_4_3),
            with(&flat, &|c| {
                c.admins = vec![pem(&revoked_admin.cert_pem)];
                c.revocation_list = vec![tree.root.revocation_list(&[&[0x77]], true).into()];
                c.fabric_node_ous = node_units("");
            }),
        ),
        (
            "a forged list",
            Sets::Always,
            with(&flat, &|c| {
                c.revocation_list = vec![tree.root.forged_revocation_list(&[&[0x77]]).into()]
            }),
        ),
        (
            "a foreign list",
            Sets::Always,
            with(&flat, &|c| {
                c.revocation_list = vec![tree.foreign.revocation_list(&[&[0x77]], true).into()]
            }),
        ),
        (
            "a list that does not say whose it is",
            Sets::Never,
            with(&flat, &|c| {
                c.revocation_list = vec![tree.root.revocation_list(&[&[0x77]], false).into()]
            }),
        ),
        (
            "no list",
            Sets::Never,
            with(&flat, &|c| c.revocation_list = vec![pem("x")]),
        ),
    ];
    rows.extend(authorities());
    rows
}

fn crypto(family: &str, identifier: &str) -> Option<FabricCryptoConfig> {
    Some(FabricCryptoConfig {
        signature_hash_family: family.into(),
        identity_identifier_hash_function: identifier.into(),
    })
}

/// Trees of their own, with something particular about an authority.
fn authorities() -> Vec<Row> {
    let own = |root: &Template, low: Option<&Template>, user: &Template| {
        let root = Authority::root_from(root);
        let (lowest, intermediates) = match low {
            Some(template) => {
                let low = root.intermediate(template);
                let text = pem(low.cert_pem());
                (Some(low), vec![text])
            }
            None => (None, Vec::new()),
        };
        let admin = lowest.as_ref().unwrap_or(&root).issue(user);
        FabricMspConfig {
            name: "Org1MSP".into(),
            root_certs: vec![pem(root.cert_pem())],
            intermediate_certs: intermediates,
            admins: vec![pem(&admin.cert_pem)],
            ..FabricMspConfig::default()
        }
    };
    let root = Template::authority("root");
    let low = Template::authority("low");
    let user = member(&["client"]);
    let named = |name: &str, host: Option<&str>| Template {
        hosts: host.into_iter().map(str::to_owned).collect(),
        ..Template::new(name)
    };
    // Permitted: names under example.com.
    let constraint = [
        &[0x30, 0x11, 0xa0, 0x0f, 0x30, 0x0d, 0x82, 0x0b][..],
        b"example.com",
    ]
    .concat();
    let constrained = Template {
        extensions: vec![("2.5.29.30", true, constraint)],
        ..low.clone()
    };
    let cut = |length| Template {
        authority: Some(Some(length)),
        ..root.clone()
    };
    let low_with = |change: &dyn Fn(&mut Template)| {
        let mut template = low.clone();
        change(&mut template);
        template
    };
    let root_with = |change: &dyn Fn(&mut Template)| {
        let mut template = root.clone();
        change(&mut template);
        template
    };
    vec![
        (
            "paths of length 0, none below",
            Sets::Always,
            own(&cut(0), None, &user),
        ),
        (
            "paths of length 0, one below",
            Sets::Never,
            own(&cut(0), Some(&low), &user),
        ),
        (
            "paths of length 1",
            Sets::Always,
            own(&cut(1), Some(&low), &user),
        ),
        (
            "an intermediate that may not sign certificates",
            Sets::Never,
            own(
                &root,
                Some(&low_with(&|t| t.key_usage = Some(DIGITAL_SIGNATURE))),
                &user,
            ),
        ),
        (
            "an intermediate that may sign certificates only",
            Sets::Always,
            own(
                &root,
                Some(&low_with(&|t| t.key_usage = Some(KEY_CERT_SIGN))),
                &user,
            ),
        ),
        (
            "an intermediate without key usage",
            Sets::Always,
            own(&root, Some(&low_with(&|t| t.key_usage = None)), &user),
        ),
        (
            "a root that may not sign certificates",
            Sets::Never,
            own(
                &root_with(&|t| t.key_usage = Some(DIGITAL_SIGNATURE)),
                None,
                &user,
            ),
        ),
        (
            "an intermediate for TLS clients",
            Sets::Never,
            own(
                &root,
                Some(&low_with(&|t| t.extended_key_usages = vec![CLIENT_AUTH])),
                &user,
            ),
        ),
        (
            "an intermediate without key identifier",
            Sets::Never,
            own(
                &root,
                Some(&low_with(&|t| t.has_subject_key_id = false)),
                &user,
            ),
        ),
        (
            "a root without key identifier",
            Sets::Never,
            own(&root_with(&|t| t.has_subject_key_id = false), None, &user),
        ),
        (
            "an intermediate that is no authority",
            Sets::Never,
            own(&root, Some(&low_with(&|t| t.authority = None)), &user),
        ),
        (
            "a root with an unknown critical extension",
            Sets::Never,
            own(
                &root_with(&|t| t.extensions = vec![("1.2.3.4", true, vec![5, 0])]),
                None,
                &user,
            ),
        ),
        (
            "an expired root",
            Sets::Never,
            own(
                &root_with(&|t| t.not_after = t.not_before + 10),
                None,
                &user,
            ),
        ),
        (
            "an Ed25519 root",
            Sets::Always,
            own(&root_with(&|t| t.key_kind = KeyKind::Ed25519), None, &user),
        ),
        (
            "an RSA root",
            Sets::Always,
            own(&root_with(&|t| t.key_kind = KeyKind::Rsa), None, &user),
        ),
        (
            "a P-384 root with an intermediate",
            Sets::Always,
            own(
                &root_with(&|t| t.key_kind = KeyKind::P384),
                Some(&low),
                &user,
            ),
        ),
        (
            "an Ed25519 administrator",
            Sets::From(MspVersion::V3_0),
            own(
                &root,
                None,
                &Template {
                    key_kind: KeyKind::Ed25519,
                    ..user.clone()
                },
            ),
        ),
        (
            "names that are permitted",
            Sets::Always,
            own(
                &root,
                Some(&constrained),
                &named("some one", Some("peer.example.com")),
            ),
        ),
        (
            "names that are not permitted",
            Sets::Never,
            own(
                &root,
                Some(&constrained),
                &named("some one", Some("peer.example.org")),
            ),
        ),
        (
            "no names where some are permitted",
            Sets::Always,
            own(&root, Some(&constrained), &named("some one", None)),
        ),
        (
            "a host's common name where some are permitted",
            Sets::Never,
            own(&root, Some(&constrained), &named("user", None)),
        ),
        (
            "a host's common name and a permitted name",
            Sets::Always,
            own(
                &root,
                Some(&constrained),
                &named("user", Some("peer.example.com")),
            ),
        ),
    ]
}
