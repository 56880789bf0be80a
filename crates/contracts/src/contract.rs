//! A contract and its answer.

use bytes::Bytes;

use crate::stub::Stub;

/// A contract's answer, field for field `protos.Response`.
///
/// Status below 400 is endorsed; 400 and above is returned to the client as it is and nothing is
/// ordered.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Response {
    /// 200 for success, otherwise an HTTP-like status.
    pub status: i32,
    /// `CODE: sentence` for failures, else empty.
    pub message: String,
    /// The result, JSON in the health contracts.
    pub payload: Bytes,
}

impl Response {
    /// Status 200 with this payload.
    pub fn success(payload: impl Into<Bytes>) -> Self {
        Response {
            status: 200,
            message: String::new(),
            payload: payload.into(),
        }
    }

    /// A failure with its status and message.
    pub fn error(status: i32, message: impl Into<String>) -> Self {
        Response {
            status,
            message: message.into(),
            payload: Bytes::new(),
        }
    }

    /// Whether an endorser signs this answer.
    pub fn is_endorsable(&self) -> bool {
        self.status < 400
    }
}

/// An index that a contract declares, as a file of `META-INF/statedb/couchdb` would.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IndexDeclaration {
    /// The collection that it is for, `None` for public state.
    pub collection: Option<&'static str>,
    /// The file's name; among indexes of one name the last file's counts.
    pub file: &'static str,
    /// The definition: `{"index":{"fields":[…]},"ddoc":"…","name":"…","type":"json"}`.
    pub definition: &'static str,
}

/// A private data collection that a contract writes to, besides the implicit ones.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CollectionDeclaration {
    /// Its name.
    pub name: String,
    /// MSP ids whose peers hold it; only their clients read and write it.
    pub members: Vec<String>,
    /// Who endorses what is written to it, as `AND('AMSP.peer','BMSP.peer')`; `None` for the
    /// contract's own policy.
    pub endorsement: Option<String>,
    /// Whether callers of other organizations may write to it.
    pub open_for_writing: bool,
}

/// What a contract should be deployed with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deployment {
    /// The endorsement policy, as `OutOf(2,'AMSP.peer','BMSP.peer')`.
    pub policy: String,
    /// The collections.
    pub collections: Vec<CollectionDeclaration>,
}

/// The policy that `count` peers endorse, of different organizations among those `wanted` that
/// are there. `None` when there are fewer.
pub(crate) fn out_of(count: usize, wanted: &[&str], organizations: &[String]) -> Option<String> {
    let peers: Vec<_> = wanted
        .iter()
        .filter(|msp| organizations.iter().any(|there| there == *msp))
        .map(|msp| format!("'{msp}.peer'"))
        .collect();
    (peers.len() >= count).then(|| format!("OutOf({count},{})", peers.join(",")))
}

/// A contract that runs inside the peer.
///
/// It must be a function of the stub alone: no clock, no randomness, no IO, no state of its own,
/// and no panic on any input.
pub trait Contract: Send + Sync {
    /// The name that chaincode packages refer to, for example `records`.
    fn name(&self) -> &'static str;
    /// The indexes that its JSON queries want; every peer that runs it keeps them up.
    fn indexes(&self) -> Vec<IndexDeclaration> {
        Vec::new()
    }
    /// Policy and collections for a channel of these organizations (MSP ids). `None` when one
    /// that it cannot do without is not among them, and for contracts that leave it to whoever
    /// deploys them.
    fn deployment(&self, _organizations: &[String]) -> Option<Deployment> {
        None
    }
    /// Handles a transaction sent with `is_init`. Succeeds without doing anything unless
    /// overridden.
    fn init(&self, _stub: &mut dyn Stub) -> Response {
        Response::success(Bytes::new())
    }
    /// Handles any other transaction.
    fn invoke(&self, stub: &mut dyn Stub) -> Response;
}
