//! As whom this peer takes part, which changes when its certificate is renewed.

use std::sync::Arc;

use bytes::Bytes;
use consilium_msp::{Signer, SigningIdentity};

use crate::{node::Gossip, wire};

/// Earlier names of its own that a peer still knows: others tell of them until they expire there.
const FORMER: usize = 8;

/// A signer with the PKI-ID that follows from its certificate.
#[derive(Clone)]
pub(crate) struct OwnIdentity {
    pub(crate) signer: Arc<dyn Signer>,
    pub(crate) pki_id: Bytes,
    former: Vec<Bytes>,
}

impl OwnIdentity {
    pub(crate) fn new(identity: &SigningIdentity) -> Self {
        let signer = identity.current();
        Self {
            pki_id: wire::pki_id(signer.serialized()).unwrap_or_default(),
            signer,
            former: Vec::new(),
        }
    }

    /// Whether it is, or was, this peer's own.
    pub(crate) fn is_own(&self, pki_id: &[u8]) -> bool {
        self.pki_id == pki_id || self.former.iter().any(|former| former == pki_id)
    }

    /// What follows when `identity` has another signer by now.
    fn next(&self, identity: &SigningIdentity) -> Option<Self> {
        let mut next = Self::new(identity);
        if next.pki_id == self.pki_id {
            return None;
        }
        next.former.push(self.pki_id.clone());
        let earlier = self.former.iter().filter(|former| **former != next.pki_id);
        next.former.extend(earlier.take(FORMER - 1).cloned());
        Some(next)
    }
}

impl Gossip {
    /// This peer's identity in gossip.
    pub(crate) fn own_identity(&self) -> OwnIdentity {
        self.identity.read().clone()
    }

    /// Takes up a renewed certificate: what was signed before is forgotten, and all streams end, as
    /// their other ends know this peer by its former name. Streams are soon open again.
    ///
    /// Done by itself at the pace of alive messages; whoever replaces the signer may hurry it.
    pub fn renew_identity(&self) {
        let next = {
            let mut identity = self.identity.write();
            let Some(next) = identity.next(&self.options.signer) else {
                return;
            };
            *identity = next.clone();
            next
        };
        *self.own.lock() = Default::default();
        for blocks in self.channels.lock().values() {
            blocks.rename(&next.pki_id);
        }
        self.connections.close_all();
        tracing::info!(
            certificate = next.signer.certificate().subject_cn(),
            "gossip goes on with a new certificate"
        );
    }
}

#[cfg(test)]
mod tests {
    use consilium_testkit::{NodeOu, Organization};

    use super::*;

    #[test]
    fn a_peer_knows_its_former_names_as_its_own() {
        let organization = Organization::new("Org1MSP", "org1.example.com");
        let signers = ["a", "b", "c"].map(|name| organization.signer(name, NodeOu::Peer));
        let identity = SigningIdentity::from(signers[0].clone());
        let first = OwnIdentity::new(&identity);
        assert!(first.next(&identity).is_none());

        identity.replace(signers[1].clone()).unwrap();
        let second = first.next(&identity).unwrap();
        assert!(second.is_own(&first.pki_id) && second.is_own(&second.pki_id));

        identity.replace(signers[0].clone()).unwrap();
        let back = second.next(&identity).unwrap();
        assert_eq!(back.pki_id, first.pki_id);
        assert_eq!(back.former, [second.pki_id]);

        let stranger = wire::pki_id(signers[2].serialized()).unwrap();
        assert!(!back.is_own(&stranger));
    }
}
