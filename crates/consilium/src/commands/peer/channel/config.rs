//! `peer channel signconfigtx` and `update`. fabric: internal/peer/channel/create.go, update.go

use std::{
    path::{Path, PathBuf},
    time::SystemTime,
};

use anyhow::Context;
use bytes::Bytes;
use clap::Args;
use consilium_msp::Signer;
use consilium_proto::common::{ConfigUpdateEnvelope, Envelope, HeaderType};
use consilium_protocol::{
    config::update::{sign, submission},
    envelope::{self, ParseError},
};
use prost::Message;

use crate::commands::{
    golang,
    peer::{Environment, OfChannel, Rest, orderer::OrdererArgs},
};

/// Arguments of `signconfigtx`.
#[derive(Debug, Args)]
pub struct SignArgs {
    /// Configuration transaction file, which is signed in place.
    #[arg(short, long, value_name = "FILE")]
    file: Option<PathBuf>,
    #[command(flatten)]
    _rest: Rest,
}

/// Arguments of `update`.
#[derive(Debug, Args)]
pub struct UpdateArgs {
    #[command(flatten)]
    of: OfChannel,
    /// Configuration transaction file to submit to the orderer.
    #[arg(short, long, value_name = "FILE")]
    file: Option<PathBuf>,
    #[command(flatten)]
    _rest: Rest,
}

/// Adds a signature to the update in a file.
///
/// # Errors
/// It cannot be read or written, or is no update.
pub fn sign_file(signer: &dyn Signer, args: &SignArgs) -> anyhow::Result<()> {
    let file = named(args.file.as_deref())?;
    let signed = signed(&read(file)?, "", signer)?;
    golang::write_file(file, &signed.encode_to_vec())
}

/// Adds a signature to the update in a file and submits it.
///
/// # Errors
/// It cannot be read, is no update, or what the orderer answered.
pub async fn update(
    environment: &Environment,
    signer: &dyn Signer,
    orderer: &OrdererArgs,
    args: &UpdateArgs,
) -> anyhow::Result<()> {
    let channel = args.of.named()?;
    let file = named(args.file.as_deref())?;
    let signed = signed(&read(file)?, channel, signer)?;
    let orderers = orderer.broadcast(environment, channel, None).await;
    let orderers = orderers.context("Error getting broadcast client")?;
    orderers.send(&signed).await?;
    eprintln!("Successfully submitted channel update");
    Ok(())
}

fn named(file: Option<&Path>) -> anyhow::Result<&Path> {
    let file = file.filter(|file| !file.as_os_str().is_empty());
    file.ok_or_else(|| invalid("No configtx file name supplied"))
}

fn read(file: &Path) -> anyhow::Result<Bytes> {
    let content = golang::read_file(file).map_err(|error| {
        anyhow::anyhow!("channel create configuration tx file not found {error}")
    })?;
    Ok(content.into())
}

fn invalid(reason: &str) -> anyhow::Error {
    anyhow::anyhow!("Invalid channel create transaction : {reason}")
}

/// The update in an envelope with one signature more, for `channel` where one is named.
fn signed(content: &Bytes, channel: &str, signer: &dyn Signer) -> anyhow::Result<Envelope> {
    let envelope: Envelope = envelope::decode("Envelope", content)?;
    let update = envelope::parse(&envelope).map_err(|error| {
        invalid(match error {
            ParseError::Unmarshal {
                message: "Payload", ..
            } => "bad payload",
            ParseError::Unmarshal { .. } => "could not unmarshall channel header",
            _ => "bad header",
        })
    })?;
    let header = &update.channel_header;
    if header.r#type != HeaderType::ConfigUpdate as i32 {
        return Err(invalid("bad type"));
    }
    if header.channel_id.is_empty() {
        return Err(invalid("empty channel id"));
    }
    if !channel.is_empty() && header.channel_id != channel {
        let reason = format!("mismatched channel ID {} != {channel}", header.channel_id);
        return Err(invalid(&reason));
    }
    let decoded = envelope::decode("ConfigUpdateEnvelope", &update.data);
    let mut update: ConfigUpdateEnvelope = decoded.map_err(|_| invalid("Bad config update env"))?;
    sign(&mut update, signer)?;
    let now = envelope::timestamp(SystemTime::now());
    Ok(submission(&update, &header.channel_id, now, signer)?)
}

#[cfg(test)]
mod tests {
    use consilium_protocol::envelope::HeaderSpec;
    use consilium_testkit::{NodeOu, Organization};

    use super::*;

    #[test]
    fn every_signature_is_added_and_the_envelope_is_signed_anew() {
        let signer = Organization::new("OrgMSP", "org.example").signer("admin", NodeOu::Admin);
        let mut content = update("health", HeaderType::ConfigUpdate, &*signer);
        for count in 1..3 {
            let again = signed(&content, "health", &*signer).unwrap();
            content = again.encode_to_vec().into();
            let parsed = envelope::parse(&again).unwrap();
            assert_eq!(parsed.channel_header.channel_id, "health");
            let update = ConfigUpdateEnvelope::decode(parsed.data).unwrap();
            assert_eq!(update.signatures.len(), count);
            assert_eq!(update.config_update, "changes");
        }
    }

    #[test]
    fn what_is_no_update_is_refused_in_fabrics_words() {
        let signer = Organization::new("OrgMSP", "org.example").signer("admin", NodeOu::Admin);
        for (content, channel, reason) in [
            (
                Bytes::from_static(b"\xff"),
                "",
                "error unmarshalling Envelope",
            ),
            (
                Bytes::new(),
                "",
                "Invalid channel create transaction : bad header",
            ),
            (
                update("health", HeaderType::Config, &*signer),
                "",
                "Invalid channel create transaction : bad type",
            ),
            (
                update("", HeaderType::ConfigUpdate, &*signer),
                "",
                "Invalid channel create transaction : empty channel id",
            ),
            (
                update("health", HeaderType::ConfigUpdate, &*signer),
                "wealth",
                "Invalid channel create transaction : mismatched channel ID health != wealth",
            ),
        ] {
            let error = signed(&content, channel, &*signer).unwrap_err().to_string();
            assert!(error.starts_with(reason), "{error}");
        }
    }

    fn update(channel: &str, kind: HeaderType, signer: &dyn Signer) -> Bytes {
        let update = ConfigUpdateEnvelope {
            config_update: Bytes::from_static(b"changes"),
            signatures: Vec::new(),
        };
        let now = envelope::timestamp(SystemTime::now());
        let spec = HeaderSpec::new(kind, channel, now);
        let made = envelope::create_signed(spec, update.encode_to_vec().into(), signer);
        made.unwrap().encode_to_vec().into()
    }
}
