//! The life of a node's own certificates: they are taken up when their files change, watched for their
//! end, and renewed at the authority that issued them.
//!
//! [`Keeper`] is what a node hands its certificates to. `expiry` decides what is worth a warning,
//! `permissions` who may read a key, `renewal` asks the authority.

mod expiry;
mod inventory;
mod keeper;
mod pair;
mod permissions;
mod renewal;
mod signing;

use std::{
    fmt,
    time::{SystemTime, UNIX_EPOCH},
};

pub use expiry::{describe_metrics, until};
pub use inventory::Inventory;
pub use keeper::{Keeper, NotYet};
pub use pair::Pair as TlsPair;
pub use renewal::Renewer;
pub use signing::SigningSource;

/// What a certificate of a node is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Purpose {
    /// It signs in the node's name.
    Enrollment,
    /// The main listener shows it.
    Server,
    /// It is shown to the other orderers.
    Cluster,
    /// The channel participation listener shows it.
    Admin,
    /// The operations listener shows it.
    Operations,
    /// A user shows it.
    Client,
}

impl Purpose {
    /// Short name, as a label of metrics.
    pub fn label(self) -> &'static str {
        match self {
            Self::Enrollment => "enrollment",
            Self::Server => "server",
            Self::Cluster => "cluster",
            Self::Admin => "admin",
            Self::Operations => "operations",
            Self::Client => "client",
        }
    }
}

impl fmt::Display for Purpose {
    // Fabric's words where it has some. fabric: common/crypto/expiration.go
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Enrollment => "enrollment certificate",
            Self::Server => "server TLS certificate",
            Self::Cluster => "cluster client TLS certificate",
            Self::Admin => "admin TLS certificate",
            Self::Operations => "operations TLS certificate",
            Self::Client => "client TLS certificate",
        })
    }
}

/// Unix seconds.
pub fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| {
        i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
    })
}
