//! Who may read a channel, asked again whenever the channel's configuration changes.
//!
//! fabric: common/deliver/acl.go

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use consilium_msp::{Certificate, SignedData};
use consilium_proto::msp::SerializedIdentity;

use crate::engine::PolicyChooser;
use crate::source::BlockSource;

/// The right of one request's signer to read on.
pub(crate) struct Access {
    expires: Option<SystemTime>,
    checked_under: Option<u64>,
}

impl Access {
    /// Reads when the signer's certificate ends. A creator that cannot be read has no end; it
    /// fails the policy anyway.
    pub(crate) fn new(signed: &SignedData, check_expiration: bool) -> Self {
        let expires = check_expiration.then(|| not_after(signed)).flatten();
        Self {
            expires,
            checked_under: None,
        }
    }

    /// When the signer's certificate ends, if that is known and matters.
    pub(crate) fn expires(&self) -> Option<SystemTime> {
        self.expires
    }

    /// Whether the policy was checked under the configuration in force.
    pub(crate) fn is_current(&self, source: &dyn BlockSource) -> bool {
        self.checked_under
            .is_some_and(|checked| checked >= source.config().sequence())
    }

    /// Checks expiry always, the policy when the configuration is new to this stream.
    pub(crate) fn check(
        &mut self,
        source: &dyn BlockSource,
        signed: &SignedData,
        policy: &PolicyChooser,
        now: SystemTime,
    ) -> Result<(), String> {
        if let Some(expires) = self.expires
            && let Ok(since) = now.duration_since(expires)
            && !since.is_zero()
        {
            return Err(format!("deliver client identity expired {since:?} before"));
        }
        if self.is_current(source) {
            return Ok(());
        }
        let config = source.config();
        let sequence = config.sequence();
        let path = policy(&config);
        config
            .policies()
            .policy(&path)
            .evaluate(std::slice::from_ref(signed))
            .map_err(|error| error.to_string())?;
        self.checked_under = Some(sequence);
        Ok(())
    }
}

fn not_after(signed: &SignedData) -> Option<SystemTime> {
    let identity = consilium_proto::decode::<SerializedIdentity>(&signed.identity).ok()?;
    let certificate = Certificate::from_pem(&identity.id_bytes).ok()?;
    let distance = Duration::from_secs(certificate.not_after().unsigned_abs());
    // A time that the clock cannot show is no end.
    if certificate.not_after() < 0 {
        UNIX_EPOCH.checked_sub(distance)
    } else {
        UNIX_EPOCH.checked_add(distance)
    }
}
