//! The first message of each side on a stream: who I am, and the TLS certificate that I hold on this
//! connection, signed. Pure. fabric: gossip/comm/comm_impl.go authenticateRemotePeer

use std::sync::Arc;

use bytes::Bytes;
use consilium_msp::{Identity, SignError, Signer};
use consilium_proto::gossip::{
    ConnEstablish, Envelope,
    gossip_message::{Content, Tag},
};

use crate::node::RemotePeer;
use crate::wire;

/// Why a stream is closed after its first message.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HandshakeError {
    /// The other side showed no TLS certificate.
    #[error("no TLS certificate")]
    NoCertificate,
    /// The first message is something else.
    #[error("wrong type")]
    WrongType,
    /// The message cannot be read.
    #[error("{0}")]
    Malformed(#[from] wire::WireError),
    /// No PKI-ID.
    #[error("no PKI-ID")]
    NoPkiId,
    /// The PKI-ID is another identity's.
    #[error("identity doesn't match the computed pkiID")]
    PkiId,
    /// No organization that we know vouches for the identity.
    #[error("identity is not valid: {0}")]
    Identity(String),
    /// The message was signed for another connection.
    #[error("expected {expected} in remote hash of TLS cert, but got {got}")]
    Binding {
        /// Hash of the certificate on this connection, hex.
        expected: String,
        /// What the message says, hex.
        got: String,
    },
    /// It is ourselves.
    #[error("connected to myself")]
    Myself,
}

/// Our first message. `certificate_hash` is that of the certificate that we hold on the connection:
/// the client's if we dialled, the server's if we accepted.
///
/// # Errors
/// The signer's.
pub fn introduce(
    signer: &dyn Signer,
    certificate_hash: Option<[u8; 32]>,
) -> Result<Envelope, SignError> {
    let identity = signer.serialized().clone();
    let conn = ConnEstablish {
        pki_id: wire::pki_id(&identity).unwrap_or_default(),
        identity,
        tls_cert_hash: certificate_hash
            .map_or_else(Bytes::new, |hash| Bytes::copy_from_slice(&hash)),
        probe: false,
    };
    wire::signed(
        &wire::message(Tag::Empty, "", 0, Content::Conn(conn)),
        signer,
    )
}

/// Someone who introduced himself.
#[derive(Debug)]
pub struct Introduced {
    /// Who it is.
    pub peer: RemotePeer,
    /// He only wanted to know whether we are here.
    pub is_probe: bool,
}

/// Checks the other side's first message. `certificate_hash` is that of the certificate that it
/// proved to hold on this connection; `judge` says whether an identity is valid in an organization
/// that we know.
///
/// # Errors
/// [`HandshakeError`]: the stream has to be closed.
pub fn check(
    envelope: &Envelope,
    certificate_hash: Option<[u8; 32]>,
    own_pki_id: &[u8],
    judge: impl FnOnce(&Bytes) -> Result<Arc<Identity>, String>,
) -> Result<Introduced, HandshakeError> {
    let expected = certificate_hash.ok_or(HandshakeError::NoCertificate)?;
    if envelope.payload.len() > wire::SMALL {
        return Err(wire::WireError::TooLarge(envelope.payload.len()).into());
    }
    let message = wire::open(envelope)?;
    let Some(Content::Conn(conn)) = message.content else {
        return Err(HandshakeError::WrongType);
    };
    if conn.pki_id.is_empty() {
        return Err(HandshakeError::NoPkiId);
    }
    if wire::pki_id(&conn.identity).as_ref() != Some(&conn.pki_id) {
        return Err(HandshakeError::PkiId);
    }
    if conn.pki_id == own_pki_id {
        return Err(HandshakeError::Myself);
    }
    let identity = judge(&conn.identity).map_err(HandshakeError::Identity)?;
    if conn.tls_cert_hash != expected[..] {
        let hex = |bytes: &[u8]| {
            bytes
                .iter()
                .take(32)
                .map(|byte| format!("{byte:02x}"))
                .collect()
        };
        return Err(HandshakeError::Binding {
            expected: hex(&expected),
            got: hex(&conn.tls_cert_hash),
        });
    }
    wire::verify(envelope, &identity)?;
    Ok(Introduced {
        is_probe: conn.probe,
        peer: RemotePeer {
            // A copy: what stays must not hold the whole message.
            pki_id: Bytes::copy_from_slice(&conn.pki_id),
            identity,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use consilium_proto::gossip::MembershipRequest;
    use consilium_testkit::{NodeOu, Organization};

    const CERTIFICATE: [u8; 32] = [7; 32];

    fn judge(organization: &Organization) -> impl Fn(&Bytes) -> Result<Arc<Identity>, String> {
        let msp = organization.msp();
        move |serialized| {
            let identity = msp
                .deserialize(serialized)
                .map_err(|error| error.to_string())?;
            msp.validate(&identity).map_err(|error| error.to_string())?;
            Ok(Arc::new(identity))
        }
    }

    #[test]
    fn only_a_valid_identity_bound_to_this_connection_is_let_in() {
        let organization = Organization::new("Org1MSP", "org1.example.com");
        let stranger = Organization::new("Org1MSP", "org1.example.com");
        let signer = organization.signer("peer0", NodeOu::Peer);
        let other = organization.signer("peer1", NodeOu::Peer);
        let me = wire::pki_id(signer.serialized()).unwrap();
        let good = introduce(signer.as_ref(), Some(CERTIFICATE)).unwrap();
        let check = |envelope: &Envelope, hash| {
            super::check(envelope, hash, b"somebody else", judge(&organization))
        };
        let introduced = check(&good, Some(CERTIFICATE)).unwrap();
        assert_eq!(introduced.peer.pki_id, me);
        assert_eq!(introduced.peer.identity.serialized(), signer.serialized());
        assert!(!introduced.is_probe);

        assert_eq!(
            check(&good, None).unwrap_err(),
            HandshakeError::NoCertificate
        );
        assert!(matches!(
            check(&good, Some([8; 32])),
            Err(HandshakeError::Binding { .. })
        ));
        assert_eq!(
            super::check(&good, Some(CERTIFICATE), &me, judge(&organization)).unwrap_err(),
            HandshakeError::Myself
        );
        assert!(matches!(
            super::check(&good, Some(CERTIFICATE), b"", judge(&stranger)),
            Err(HandshakeError::Identity(_))
        ));
        let mut huge = good.clone();
        huge.payload = vec![0; wire::SMALL + 1].into();
        assert_eq!(
            check(&huge, Some(CERTIFICATE)).unwrap_err(),
            HandshakeError::Malformed(wire::WireError::TooLarge(wire::SMALL + 1))
        );
        // Signed by somebody else.
        let mut forged = good.clone();
        forged.signature = other.sign(&forged.payload).unwrap();
        assert!(matches!(
            check(&forged, Some(CERTIFICATE)),
            Err(HandshakeError::Malformed(_))
        ));
        // Somebody else's name.
        let conn = ConnEstablish {
            pki_id: wire::pki_id(other.serialized()).unwrap(),
            identity: signer.serialized().clone(),
            tls_cert_hash: Bytes::copy_from_slice(&CERTIFICATE),
            probe: false,
        };
        let envelope = |conn| {
            let message = wire::message(Tag::Empty, "", 0, Content::Conn(conn));
            wire::signed(&message, signer.as_ref()).unwrap()
        };
        assert_eq!(
            check(&envelope(conn.clone()), Some(CERTIFICATE)).unwrap_err(),
            HandshakeError::PkiId
        );
        let nameless = ConnEstablish {
            pki_id: Bytes::new(),
            ..conn
        };
        assert_eq!(
            check(&envelope(nameless), Some(CERTIFICATE)).unwrap_err(),
            HandshakeError::NoPkiId
        );
        let request = wire::message(
            Tag::Empty,
            "",
            0,
            Content::MemReq(MembershipRequest::default()),
        );
        assert_eq!(
            check(&wire::unsigned(&request), Some(CERTIFICATE)).unwrap_err(),
            HandshakeError::WrongType
        );
    }
}
