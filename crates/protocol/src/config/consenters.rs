//! The etcdraft metadata of a configuration: which options and consenters orderers accept, and what
//! a change of the consenter list means for the Raft group (channel-config, section 4.3).

use super::{ChannelConfig, ConfigError};
use crate::duration::{self, Signed};
use consilium_msp::Certificate;
use consilium_proto::etcdraft::{BlockMetadata, ConfigMetadata, Consenter};
use std::collections::BTreeSet;
use std::sync::Arc;

const PREFIX: &str = "consensus metadata update for channel config update is invalid: ";

fn refuse<T>(reason: impl std::fmt::Display) -> Result<T, ConfigError> {
    Err(ConfigError::Consenters(format!("{PREFIX}{reason}")))
}

/// The whole check of the metadata that a new configuration brings: options, consenters, their
/// certificates, one change at a time, no avoidable loss of quorum.
///
/// `ids` is the consenter metadata of the newest block, `active` the ids of the nodes that answer,
/// `now` the time in Unix seconds for the expiry of added certificates.
pub fn check_update(
    current: &ChannelConfig,
    next: &ChannelConfig,
    ids: &BlockMetadata,
    active: &BTreeSet<u64>,
    now: i64,
) -> Result<MembershipChange, ConfigError> {
    let metadata = next.raft_metadata().or_else(refuse)?;
    let authorities = TlsAuthorities::of_orderers(next)?;
    check_metadata(&metadata, &authorities)?;
    let old = current.raft_metadata().or_else(refuse)?;
    let change = membership_change(ids, &old.consenters, &metadata.consenters)?;
    for added in metadata
        .consenters
        .iter()
        .filter(|new| !is_listed(&old.consenters, new))
    {
        authorities.check_consenter(added, Some(now))?;
    }
    if change.loses_quorum(active) {
        return refuse(format_args!(
            "{} out of {} nodes are alive, configuration will result in quorum loss",
            active.len(),
            ids.consenter_ids.len()
        ));
    }
    Ok(change)
}

/// Checks options and consenters on their own. Expiry of certificates is ignored here.
pub fn check_metadata(
    metadata: &ConfigMetadata,
    authorities: &TlsAuthorities,
) -> Result<(), ConfigError> {
    let Some(options) = &metadata.options else {
        return refuse("nil Raft config metadata options");
    };
    let (heartbeat, election, inflight) = (
        options.heartbeat_tick,
        options.election_tick,
        options.max_inflight_blocks,
    );
    if heartbeat == 0 || election == 0 || inflight == 0 {
        return refuse(format_args!(
            "none of HeartbeatTick ({heartbeat}), ElectionTick ({election}) and MaxInflightBlocks ({inflight}) can be zero"
        ));
    }
    if election <= heartbeat {
        return refuse(format_args!(
            "ElectionTick ({election}) must be greater than HeartbeatTick ({heartbeat})"
        ));
    }
    match duration::parse(&options.tick_interval) {
        None => {
            return refuse(format_args!(
                "failed to parse TickInterval ({}) to time duration: time: invalid duration {:?}",
                options.tick_interval, options.tick_interval
            ));
        }
        Some(Signed::Forward(interval)) if interval.is_zero() => {
            return refuse("TickInterval cannot be zero");
        }
        Some(Signed::Backward(_)) => return refuse("TickInterval cannot be negative"),
        Some(_) => {}
    }
    if metadata.consenters.is_empty() {
        return refuse("empty consenter set");
    }
    let mut seen = BTreeSet::new();
    for consenter in &metadata.consenters {
        authorities.check_consenter(consenter, None)?;
        if !seen.insert((&consenter.client_tls_cert, &consenter.server_tls_cert)) {
            return refuse(format_args!(
                "duplicate consenter: {}:{}",
                consenter.host, consenter.port
            ));
        }
    }
    Ok(())
}

/// TLS certificate authorities that consenters' certificates may come from.
#[derive(Debug, Clone, Default)]
pub struct TlsAuthorities(Vec<Arc<Certificate>>);

/// Longest path from a TLS certificate to a root that is searched for.
const MAX_PATH: usize = 8;

impl TlsAuthorities {
    /// Those of a configuration's orderer organizations.
    pub fn of_orderers(config: &ChannelConfig) -> Result<Self, ConfigError> {
        let mut authorities = Vec::new();
        for pem in config.orderer_tls_roots() {
            authorities.push(Certificate::from_pem(&pem).or_else(refuse)?);
        }
        Ok(Self(authorities))
    }

    /// Checks both certificates of a consenter: PEM, issued under one of the roots, and not expired
    /// at `now` if that is given.
    pub fn check_consenter(
        &self,
        consenter: &Consenter,
        now: Option<i64>,
    ) -> Result<(), ConfigError> {
        let at = format!(
            "consenter {}:{} has invalid certificates",
            consenter.host, consenter.port
        );
        for (kind, pem) in [
            ("server", &consenter.server_tls_cert),
            ("client", &consenter.client_tls_cert),
        ] {
            let certificate = Certificate::from_pem(pem).or_else(|error| {
                refuse(format_args!(
                    "{at}: parsing tls {kind} cert of {}:{}: {error}",
                    consenter.host, consenter.port
                ))
            })?;
            let problem = if !self.issued(&certificate, 0) {
                "x509: certificate signed by unknown authority"
            } else if now
                .is_some_and(|now| now > certificate.not_after() || now < certificate.not_before())
            {
                "x509: certificate has expired or is not yet valid"
            } else {
                continue;
            };
            return refuse(format_args!(
                "{at}: verifying tls {kind} cert with serial number {}: {problem}",
                certificate.serial_hex()
            ));
        }
        Ok(())
    }

    /// Whether a path leads from the certificate to a self-signed authority.
    fn issued(&self, certificate: &Certificate, length: usize) -> bool {
        length < MAX_PATH
            && self.0.iter().any(|authority| {
                authority.is_ca()
                    && certificate.issuer_der() == authority.subject_der()
                    && certificate.is_signed_by(authority)
                    && (authority.subject_der() == authority.issuer_der()
                        || self.issued(authority, length + 1))
            })
    }
}

/// What a new consenter list does to the Raft group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// The same nodes (their addresses may differ).
    None,
    /// A node joins under a new id.
    Add(u64),
    /// A node leaves.
    Remove(u64),
    /// A node changes its certificate and keeps its id.
    Rotate(u64),
}

/// A change of membership, with the ids that result.
#[derive(Debug, Clone, PartialEq)]
pub struct MembershipChange {
    /// What changes.
    pub change: Change,
    /// Consenter ids in the order of the new list, and the next free id. `raft_index` is as it was.
    pub ids: BlockMetadata,
}

impl MembershipChange {
    /// Whether the change takes away a quorum that starting more nodes first would keep. Where a
    /// group of one or two nodes grows, no number of nodes helps, and it is let through.
    pub fn loses_quorum(&self, active: &BTreeSet<u64>) -> bool {
        let size = self.ids.consenter_ids.len();
        let quorum = size / 2 + 1;
        let alive_without = |id: u64| active.len() - usize::from(active.contains(&id));
        match self.change {
            Change::None => false,
            Change::Add(_) => size > 2 && active.len() < quorum,
            Change::Rotate(id) => size > 2 && alive_without(id) < quorum,
            Change::Remove(id) => alive_without(id) < quorum,
        }
    }
}

fn is_listed(consenters: &[Consenter], consenter: &Consenter) -> bool {
    consenters
        .iter()
        .any(|listed| listed.client_tls_cert == consenter.client_tls_cert)
}

/// Compares two consenter lists; consenters are told apart by their client TLS certificates. `ids`
/// holds the ids of the old list in its order.
pub fn membership_change(
    ids: &BlockMetadata,
    old: &[Consenter],
    new: &[Consenter],
) -> Result<MembershipChange, ConfigError> {
    let id_of = |consenter: &Consenter| {
        let at = old
            .iter()
            .position(|listed| listed.client_tls_cert == consenter.client_tls_cert)?;
        ids.consenter_ids.get(at).copied()
    };
    let mut next = BlockMetadata {
        consenter_ids: Vec::with_capacity(new.len()),
        ..ids.clone()
    };
    let mut added = Vec::new();
    for (index, consenter) in new.iter().enumerate() {
        match id_of(consenter) {
            Some(id) => next.consenter_ids.push(id),
            None => {
                added.push(index);
                next.consenter_ids.push(0);
            }
        }
    }
    let removed: Vec<u64> = old
        .iter()
        .filter(|consenter| !is_listed(new, consenter))
        .filter_map(id_of)
        .collect();
    let change = match (&added[..], &removed[..]) {
        ([], []) => Change::None,
        ([index], [id]) => {
            next.consenter_ids[*index] = *id;
            Change::Rotate(*id)
        }
        ([index], []) => {
            let id = next.next_consenter_id;
            next.consenter_ids[*index] = id;
            next.next_consenter_id = id.saturating_add(1);
            Change::Add(id)
        }
        ([], [id]) => Change::Remove(*id),
        _ => {
            return refuse(format_args!(
                "update of more than one consenter at a time is not supported, requested changes: add {} node(s), remove {} node(s)",
                added.len(),
                removed.len()
            ));
        }
    };
    Ok(MembershipChange { change, ids: next })
}

/// The consenter metadata that a channel starts with: ids 1 to n in the order of the list.
pub fn first_ids(consenters: usize) -> BlockMetadata {
    let count = consenters as u64;
    BlockMetadata {
        consenter_ids: (1..=count).collect(),
        next_consenter_id: count + 1,
        raft_index: 0,
    }
}

/// Whether a node with this TLS certificate is the consenter: by public key, so that a renewed
/// certificate over the same key still counts.
pub fn is_consenter(consenter: &Consenter, certificate: &Certificate) -> bool {
    [&consenter.server_tls_cert, &consenter.client_tls_cert]
        .into_iter()
        .filter_map(|pem| Certificate::from_pem(pem).ok())
        .any(|listed| listed.same_public_key(certificate))
}
