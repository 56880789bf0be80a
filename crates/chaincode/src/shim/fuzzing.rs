//! What a chaincode may send during a call, without the connection.

use std::sync::Arc;

use consilium_ledger::{LedgerError, SimulationResults, Simulator};
use consilium_proto::protos::chaincode_message::Type;
use consilium_proto::protos::{ChaincodeMessage, SignedProposal};
use consilium_protocol::proposal::ParsedProposal;

use super::requests::{answer, is_ledger_request};
use super::stream::check_registration;
use super::{Exchange, Limits};
use crate::outcome::Outcome;
use crate::session::Session;
use crate::support::PeerSupport;

/// Whether a first message registers the chaincode `ccid`.
///
/// # Errors
/// Why it is not accepted.
pub fn registration(ccid: &str, first: &ChaincodeMessage) -> Result<(), String> {
    check_registration(ccid, first)
}

/// One call of a chaincode, which asks for things until its final word.
pub struct Call {
    exchange: Arc<Exchange>,
    limits: Limits,
}

impl Call {
    /// A call of `chaincode` for a proposal.
    pub fn new(
        chaincode: &str,
        channel: &str,
        proposal: (Arc<ParsedProposal>, Arc<SignedProposal>),
        support: Arc<dyn PeerSupport>,
        simulator: Simulator,
    ) -> Self {
        let (parsed, signed) = proposal;
        let session = Session::new(channel, parsed, signed, support, Some(simulator));
        let (exchange, _) = Exchange::new(Arc::new(session), chaincode, false);
        let limits = Limits {
            total_query: 1000,
            history: true,
            write_batch: Some(1000),
            multiple_keys: Some(1000),
        };
        Self { exchange, limits }
    }

    /// Takes a message as a stream does, calls of other chaincodes aside. Whether the chaincode got
    /// what it asked for, or was understood.
    pub fn take(&self, message: ChaincodeMessage) -> bool {
        let kind = message.r#type();
        if is_ledger_request(kind) {
            return answer(&self.exchange, &self.limits, kind, message.payload).is_ok();
        }
        match kind {
            Type::Completed | Type::Error => {
                Outcome::from_message(message, &self.exchange.chaincode).is_ok()
            }
            _ => false,
        }
    }

    /// Ends the call with what it read and wrote.
    ///
    /// # Errors
    /// Those of the simulation.
    pub fn finish(self) -> Result<Option<SimulationResults>, LedgerError> {
        self.exchange
            .session
            .close()
            .map(Simulator::finish)
            .transpose()
    }
}
