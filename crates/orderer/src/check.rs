//! Checking messages with this node's clock, key and settings. CPU-heavy: it verifies signatures.

use std::collections::BTreeSet;
use std::time::{SystemTime, UNIX_EPOCH};

use consilium_msp::SigningIdentity;
use consilium_proto::common;
use consilium_protocol::config::ChannelConfig;
use consilium_protocol::envelope::ParsedEnvelope;

use crate::config_update;
use crate::configuration::Configuration;
use crate::filters::{self, Rules};
use crate::refusal::Refusal;
use crate::rt;

/// Applies [`filters`] and [`config_update`].
#[derive(Clone)]
pub(crate) struct Checker {
    pub(crate) signer: SigningIdentity,
    pub(crate) check_expiration: bool,
}

impl Checker {
    fn rules(&self, now: SystemTime) -> Rules {
        let seconds = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let now = i64::try_from(seconds).unwrap_or(i64::MAX);
        Rules {
            check_expiration: self.check_expiration,
            now,
        }
    }

    /// Whether a normal message may be ordered.
    pub(crate) fn check_normal(
        &self,
        config: &ChannelConfig,
        message: &ParsedEnvelope,
    ) -> Result<(), Refusal> {
        filters::check_normal(config, message, &self.rules(rt::system_time()))
    }

    /// The config message that a config update becomes.
    pub(crate) fn make_config(
        &self,
        configuration: &Configuration,
        active: &BTreeSet<u64>,
        submitted: &common::Envelope,
        parsed: &ParsedEnvelope,
    ) -> Result<common::Envelope, Refusal> {
        let now = rt::system_time();
        config_update::process(
            configuration,
            active,
            submitted,
            parsed,
            &*self.signer.current(),
            &self.rules(now),
            now,
        )
    }
}
