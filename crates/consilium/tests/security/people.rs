//! Who calls: the members of the consortium, and those who are none or are none any more.

use std::sync::Arc;

use consilium_msp::{Certificate, SoftwareSigner};
use consilium_testkit::{Authority, Credential, Key, KeyKind, NodeOu, Organization, Template};

/// All certificates of the suite.
pub struct People {
    /// Runs the orderer.
    pub ordering: Organization,
    /// Runs the peer.
    pub hospital: Organization,
    /// Is in no channel.
    pub stranger: Organization,
    /// Issued the certificates of those who may look at operations and administer the orderer.
    pub operators: Authority,
    /// A client of the hospital that its revocation list names.
    pub revoked: Credential,
}

/// A TLS certificate that somebody tries to come in with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shown {
    /// None.
    Nothing,
    /// One that is trusted.
    Good,
    /// From the authority of an organization that is not trusted.
    OtherOrganization,
    /// From the right authority, but over.
    Expired,
    /// Signed by itself.
    SelfSigned,
    /// From the right authority, for servers only.
    ForServers,
}

impl People {
    pub fn new() -> Self {
        let hospital = Organization::new("HospitalMSP", "hospital.example.com");
        Self {
            ordering: Organization::new("OrderingMSP", "ordering.example.com"),
            stranger: Organization::new("StrangerMSP", "stranger.example.com"),
            operators: Authority::root("operators"),
            revoked: hospital.issue("revoked", NodeOu::Client),
            hospital,
        }
    }

    /// The revocation list of the hospital.
    pub fn revocations(&self) -> Vec<u8> {
        let certificate = Certificate::from_pem(self.revoked.cert_pem.as_bytes()).expect("issued");
        self.hospital
            .ca()
            .revocation_list(&[certificate.serial()], true)
    }

    /// What is shown to a listener that trusts `authority`.
    pub fn tls(&self, authority: &Authority, shown: Shown) -> Option<Credential> {
        let good = template("caller", &[CLIENT_AUTH]);
        match shown {
            Shown::Nothing => None,
            Shown::Good => Some(authority.issue(&good)),
            Shown::OtherOrganization => Some(self.stranger.tls_ca().issue(&good)),
            Shown::Expired => Some(authority.issue(&over(good))),
            Shown::SelfSigned => Some(self_signed(&good)),
            Shown::ForServers => Some(authority.issue(&template("caller", &[SERVER_AUTH]))),
        }
    }

    /// A member of the hospital.
    pub fn client(&self) -> Arc<SoftwareSigner> {
        self.hospital.signer("client", NodeOu::Client)
    }

    /// An administrator of the hospital.
    pub fn admin(&self) -> Arc<SoftwareSigner> {
        self.hospital.signer("admin", NodeOu::Admin)
    }

    /// A member of the hospital whose certificate is over.
    pub fn expired(&self) -> Arc<SoftwareSigner> {
        let template = Template::new("former").with_units(&["client"]);
        self.hospital
            .signer_of(&self.hospital.ca().issue(&over(template)))
    }

    /// Somebody who says that he is of the hospital, and nobody else does.
    pub fn pretender(&self) -> Arc<SoftwareSigner> {
        let template = Template::new("pretender").with_units(&["admin"]);
        self.hospital.signer_of(&self_signed(&template))
    }

    /// The hospital's TLS certificate for clients, used to sign transactions.
    pub fn tls_as_identity(&self) -> Arc<SoftwareSigner> {
        self.hospital.signer_of(&self.hospital.tls(&[]))
    }
}

use consilium_testkit::{CLIENT_AUTH, SERVER_AUTH};

fn template(name: &str, usages: &[&'static str]) -> Template {
    Template {
        extended_key_usages: usages.to_vec(),
        hosts: vec!["localhost".to_owned()],
        ..Template::new(name)
    }
}

/// The same, a day long until an hour ago.
fn over(template: Template) -> Template {
    let now = template.not_before;
    Template {
        not_before: now - 86_400,
        not_after: now - 3_600,
        ..template
    }
}

/// A certificate that its own key signed.
pub fn self_signed(template: &Template) -> Credential {
    let own = Template {
        authority: None,
        ..template.clone()
    };
    let key = Key::generate(KeyKind::P256);
    let issuer = Authority::root_from(&Template::authority(&template.common_name));
    // An authority of the same name and no other: nobody trusts it.
    Credential {
        cert_pem: issuer.certify(&own, &key),
        key_pem: key.pem(),
    }
}
