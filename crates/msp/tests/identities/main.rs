//! What makes an identity valid, as a table of certificates with one property each.

mod authorities;
mod caching;
mod leaves;
mod setup;
mod units;

use bytes::Bytes;
use consilium_msp::{Msp, MspError, MspVersion};
use consilium_proto::msp::FabricMspConfig;
use consilium_testkit::Credential;

pub(crate) fn pem(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

/// A configuration without node units; `admin` must be a valid identity.
pub(crate) fn plain_config(
    roots: &[&str],
    intermediates: &[&str],
    admin: &Credential,
) -> FabricMspConfig {
    FabricMspConfig {
        name: "Org1MSP".into(),
        root_certs: roots.iter().map(|text| pem(text)).collect(),
        intermediate_certs: intermediates.iter().map(|text| pem(text)).collect(),
        admins: vec![pem(&admin.cert_pem)],
        ..FabricMspConfig::default()
    }
}

pub(crate) fn msp(config: &FabricMspConfig) -> Msp {
    Msp::new(config, MspVersion::V3_0).expect("an acceptable configuration")
}

/// The verdict on a certificate, deserialization included.
pub(crate) fn verdict(msp: &Msp, credential: &Credential) -> Result<(), MspError> {
    msp.validate(&msp.identity_of(credential.cert_pem.as_bytes())?)
}

#[track_caller]
pub(crate) fn refused(outcome: Result<(), MspError>, text: &str) {
    let error = outcome.expect_err(text).to_string();
    assert!(error.contains(text), "{error:?} does not say {text:?}");
}
