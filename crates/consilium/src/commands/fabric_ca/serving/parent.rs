//! Enrolling an authority at the one above it. fabric-ca: lib/ca.go

use anyhow::{Context, Result, bail, ensure};
use consilium_ca::{CaOptions, client::EnrollRequest, folders};
use consilium_msp::Certificate;

use super::configuration::AuthorityConfiguration;
use crate::commands::fabric_ca::asking::{Address, connect, told};

/// Gets the certificate of an authority that has a parent, unless it is there.
pub(super) async fn enroll(authority: &AuthorityConfiguration, options: &CaOptions) -> Result<()> {
    let intermediate = &authority.keys.intermediate;
    let url = &intermediate.parentserver.url;
    let certificate_file = options.home.join(&options.certificate_file);
    if url.is_empty() || certificate_file.is_file() {
        return Ok(());
    }
    let common_name = &authority.keys.csr.cn;
    ensure!(
        common_name.is_empty(),
        "CN '{common_name}' cannot be specified for an intermediate CA. Remove CN from CSR section \
         for enrollment of intermediate CA to be successful"
    );
    let address = Address::parse(url)?;
    let Some((id, secret)) = address.user.filter(|(id, _)| !id.is_empty()) else {
        bail!(
            "The URL of the fabric CA server is missing the enrollment ID and secret; expecting \
             '{}'",
            address
                .url
                .replacen("://", "://<enrollmentID>:<secret>@", 1)
        );
    };
    let ca_name = &intermediate.parentserver.caname;
    let client = connect(&address.url, &options.home, &intermediate.tls, ca_name)?;
    let profile = match intermediate.enrollment.profile.as_str() {
        "" => "ca",
        profile => profile,
    };
    let request = EnrollRequest {
        id,
        secret,
        profile: profile.to_owned(),
        key: options.root.key,
        subject: Some(options.root.subject.clone()),
        authority: Some(authority.keys.csr.ca.pathlength.unwrap_or(0)),
        ..EnrollRequest::default()
    };
    let enrolled = client.enroll(&request).await.map_err(told);
    let enrolled = enrolled.with_context(|| format!("cannot enrol at {}", address.url))?;
    let certificate = Certificate::from_pem(enrolled.certificate_pem.as_bytes())?;
    ensure!(
        certificate.is_ca(),
        "the parent at {} gave a certificate that is not one of an authority; ask it for the \
         profile ca",
        address.url
    );
    let chain = match std::env::var("CA_CHAIN_PARENT_FIRST").as_deref() {
        Ok("1" | "t" | "T" | "true" | "TRUE" | "True") => {
            format!("{}{}", enrolled.ca_chain_pem, enrolled.certificate_pem)
        }
        _ => format!("{}{}", enrolled.certificate_pem, enrolled.ca_chain_pem),
    };
    // The key first, and last the certificate: with it the authority is complete.
    folders::write_key(&options.home.join("msp"), &enrolled.key_pem)?;
    folders::write_public(&options.home.join(&options.chain_file), chain.as_bytes())?;
    folders::write_public(&certificate_file, enrolled.certificate_pem.as_bytes())?;
    tracing::info!(
        parent = address.url,
        "the authority is enrolled at its parent"
    );
    Ok(())
}
