//! `consilium channel revoke`: a user's certificates are revoked at the authority, and the channel's
//! configuration takes up the list of what is revoked, in one command.

use std::path::PathBuf;

use anyhow::Context;
use bytes::Bytes;
use clap::Args;
use consilium_ca::{
    client::{CaClient, Enrollment, RevokeRequest},
    folders,
};
use consilium_proto::common;
use der::{DecodePem, Encode};
use x509_cert::{certificate::Rfc5280, crl::CertificateList};

use super::{
    member::Member,
    propose::{self, Way},
};
use crate::network::edit_msp;

/// Arguments of `revoke`.
#[derive(Debug, Args)]
pub struct RevokeArgs {
    /// Enrollment id whose certificates are revoked; it cannot enroll any more either.
    #[arg(required_unless_present = "crl", conflicts_with = "crl")]
    id: Option<String>,
    /// Why, in Fabric CA's words: keycompromise, affiliationchange, superseded, and so on.
    #[arg(long, value_name = "REASON", default_value = "")]
    reason: String,
    /// Address of the authority, https://host:port; by default that of the organization of the local
    /// network.
    #[arg(long, value_name = "URL", requires_all = ["ca_root", "registrar"])]
    ca_url: Option<String>,
    /// PEM file with the root of the authority's TLS certificate.
    #[arg(long, value_name = "FILE")]
    ca_root: Option<PathBuf>,
    /// Name of the authority there.
    #[arg(long, value_name = "NAME", default_value = "")]
    ca_name: String,
    /// MSP folder of who may revoke (hf.Revoker) and ask for the list (hf.GenCRL).
    #[arg(long, value_name = "FOLDER")]
    registrar: Option<PathBuf>,
    /// Take up a list that is at hand (PEM), and ask no authority.
    #[arg(long, value_name = "FILE")]
    crl: Option<PathBuf>,
    #[command(flatten)]
    way: Way,
}

/// Revokes, and brings the list into the channel.
///
/// # Errors
/// The authority refuses, or the update does not come through: then the list is in the message's file.
pub async fn revoke(args: &RevokeArgs) -> anyhow::Result<()> {
    let member = args.way.member.member()?;
    let signer = member.signer();
    let list = match (&args.crl, &args.id) {
        (Some(file), _) => std::fs::read(file)
            .with_context(|| format!("cannot read {}", file.display()))?
            .into(),
        (None, Some(id)) => args.ask(&member, signer.msp_id(), id).await?,
        (None, None) => anyhow::bail!("say whom to revoke, or name a list with --crl"),
    };
    let config = member.config().await?;
    let mut updated = config.config().clone();
    take_up(&mut updated, signer.msp_id(), &list)?;
    if updated == *config.config() {
        println!("the channel has this list already");
        return Ok(());
    }
    propose::submit(&config, &updated, &args.way).await
}

impl RevokeArgs {
    /// Has the authority revoke, and gives its list.
    async fn ask(&self, member: &Member, msp_id: &str, id: &str) -> anyhow::Result<Bytes> {
        let (url, root, registrar) = match (&self.ca_url, &self.ca_root, &self.registrar) {
            (Some(url), Some(root), Some(registrar)) => {
                (url.clone(), root.clone(), registrar.clone())
            }
            _ => {
                let network = member
                    .network
                    .as_ref()
                    .context("name the authority with --ca-url, --ca-root and --registrar")?;
                let organization = network.organization(msp_id)?;
                let registrar = network.user_dir(organization, "registrar").join("msp");
                let root = network.ca_dir(organization).join("ca-cert.pem");
                (organization.ca_url(), root, registrar)
            }
        };
        let root =
            std::fs::read(&root).with_context(|| format!("cannot read {}", root.display()))?;
        let client = CaClient::new(&url, &[root.into()], &self.ca_name)?;
        let (certificate, key) = folders::read_signer_files(&registrar)?;
        let registrar = Enrollment {
            certificate_pem: String::from_utf8(certificate.to_vec())?,
            key_pem: String::from_utf8(key.to_vec())?.into(),
            ca_chain_pem: String::new(),
        };
        let request = RevokeRequest {
            id: id.to_owned(),
            reason: self.reason.clone(),
            gencrl: true,
            ..RevokeRequest::default()
        };
        let list = client.revoke(&registrar, &request).await?.crl_pem;
        println!("{id} is revoked at the authority");
        anyhow::ensure!(
            !list.is_empty(),
            "{id} has no certificate that could be revoked"
        );
        Ok(list.into())
    }
}

/// Puts a list into an organization's MSP. Former lists of the same authority go: a list names everything
/// that its authority has revoked.
fn take_up(config: &mut common::Config, msp_id: &str, list: &Bytes) -> anyhow::Result<()> {
    let issuer = issuer(list).context("the list of revoked certificates cannot be read")?;
    let root = config.channel_group.as_mut();
    edit_msp(
        root.context("the configuration is empty")?,
        msp_id,
        |definition| {
            definition
                .revocation_list
                .retain(|known| self::issuer(known).ok().as_ref() != Some(&issuer));
            definition.revocation_list.push(list.clone());
        },
    )
}

/// Who signed a list: the name, and the identifier of the key.
fn issuer(list: &[u8]) -> anyhow::Result<(Vec<u8>, Option<Vec<u8>>)> {
    const AUTHORITY_KEY_ID: der::asn1::ObjectIdentifier =
        der::asn1::ObjectIdentifier::new_unwrap("2.5.29.35");
    let list = CertificateList::<Rfc5280>::from_pem(list)?.tbs_cert_list;
    let key_id = list.crl_extensions.iter().flatten();
    let key_id = { key_id }
        .find(|extension| extension.extn_id == AUTHORITY_KEY_ID)
        .map(|extension| extension.extn_value.as_bytes().to_vec());
    Ok((list.issuer.to_der()?, key_id))
}

#[cfg(test)]
mod tests {
    use consilium_proto::msp as msp_proto;
    use consilium_testkit::Authority;
    use prost::Message;

    use super::*;

    fn list_of(authority: &Authority, serial: u8) -> Bytes {
        let der = authority.revocation_list(&[&[serial]], true);
        let label = "X509 CRL";
        let pem = der::pem::encode_string(label, der::pem::LineEnding::LF, &der);
        pem.unwrap().into()
    }

    #[test]
    fn a_list_replaces_the_former_one_of_its_authority_only() {
        let [one, other] = ["one", "other"].map(Authority::root);
        let others = list_of(&other, 2);
        let msp = msp_proto::FabricMspConfig {
            name: "Org1MSP".into(),
            revocation_list: vec![list_of(&one, 1), others.clone()],
            ..Default::default()
        };
        let wrapped = msp_proto::MspConfig {
            r#type: 0,
            config: msp.encode_to_vec().into(),
        };
        let value = common::ConfigValue {
            value: wrapped.encode_to_vec().into(),
            ..Default::default()
        };
        let group = common::ConfigGroup {
            values: [("MSP".to_owned(), value)].into(),
            ..Default::default()
        };
        let section = common::ConfigGroup {
            groups: [("Org1".to_owned(), group)].into(),
            ..Default::default()
        };
        let root = common::ConfigGroup {
            groups: [("Application".to_owned(), section)].into(),
            ..Default::default()
        };
        let mut config = common::Config {
            sequence: 1,
            channel_group: Some(root),
        };
        let newer = list_of(&one, 3);
        take_up(&mut config, "Org1MSP", &newer).unwrap();
        let root = config.channel_group.as_ref().unwrap();
        let value = &root.groups["Application"].groups["Org1"].values["MSP"].value;
        let wrapped = msp_proto::MspConfig::decode(&**value).unwrap();
        let msp = msp_proto::FabricMspConfig::decode(&*wrapped.config).unwrap();
        assert_eq!(msp.revocation_list, [others, newer]);

        let before = config.clone();
        assert!(take_up(&mut config, "Org1MSP", &Bytes::from_static(b"none")).is_err());
        assert!(take_up(&mut config, "Org2MSP", &list_of(&one, 3)).is_err());
        assert_eq!(config, before);
    }
}
