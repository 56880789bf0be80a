//! The etcdraft metadata of a configuration: which options and consenters orderers accept, and what
//! a change of the consenter list means for the Raft group (channel-config, section 4.3).

use super::{ChannelConfig, ConfigError};
use crate::duration::{self, Signed};
use bytes::Bytes;
use consilium_msp::{Certificate, CertificateError, TlsUses};
use consilium_proto::etcdraft::{BlockMetadata, ConfigMetadata, Consenter};
use std::collections::BTreeSet;
use std::sync::Arc;

fn refuse<T>(reason: impl std::fmt::Display) -> Result<T, ConfigError> {
    Err(ConfigError::Consenters(reason.to_string()))
}

/// Puts a step's name before the text of what went wrong in it.
fn within<T>(step: &str, result: Result<T, impl std::fmt::Display>) -> Result<T, ConfigError> {
    result.or_else(|error| refuse(format_args!("{step}: {error}")))
}

/// The whole check of the metadata that a new configuration brings: options, consenters, their
/// certificates, one change at a time, no avoidable loss of quorum. Of another consensus type than
/// etcdraft, it looks only at what a channel needs before it can change to it.
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
    within(
        "consensus metadata update for channel config update is invalid",
        check_new_metadata(current, next, ids, active, now),
    )
}

fn check_new_metadata(
    current: &ChannelConfig,
    next: &ChannelConfig,
    ids: &BlockMetadata,
    active: &BTreeSet<u64>,
    now: i64,
) -> Result<MembershipChange, ConfigError> {
    if next.consensus().r#type != "etcdraft" {
        check_other_type(next)?;
        return Ok(MembershipChange {
            change: Change::None,
            ids: ids.clone(),
        });
    }
    let metadata = within(
        "failed to unmarshal new etcdraft metadata configuration",
        next.raft_metadata(),
    )?;
    let authorities = within(
        "failed to create x509 verify options from old and new orderer config",
        TlsAuthorities::of_orderers(next),
    )?;
    within(
        "invalid new config metadata",
        check_metadata(&metadata, &authorities),
    )?;
    let old = current.raft_metadata()?;
    let change = membership_change(ids, &old.consenters, &metadata.consenters)?;
    for added in metadata
        .consenters
        .iter()
        .filter(|new| !is_listed(&old.consenters, new))
    {
        within(
            &format!(
                "consenter {}:{} has invalid certificates",
                added.host, added.port
            ),
            authorities.check_consenter(added, Some(now)),
        )?;
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

/// Whether a channel has what it needs to change to this type of consensus. Whether it may change at
/// all is for [`super::check_maintenance`] to say.
fn check_other_type(next: &ChannelConfig) -> Result<(), ConfigError> {
    let kind = &next.consensus().r#type;
    if kind != "BFT" {
        return refuse(format_args!(
            "illegal consensus type detected during consensus metadata validation: {kind}"
        ));
    }
    match next
        .orderer_orgs()
        .iter()
        .find(|org| org.endpoints.is_empty())
    {
        Some(org) => refuse(format_args!(
            "illegal orderer config detected during consensus metadata validation: endpoints of org {} are missing",
            org.group
        )),
        None => Ok(()),
    }
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
                "failed to parse TickInterval ({}) to time duration: {}",
                options.tick_interval,
                duration::fault(&options.tick_interval)
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
    for consenter in &metadata.consenters {
        within(
            &format!(
                "consenter {}:{} has invalid certificate",
                consenter.host, consenter.port
            ),
            authorities.check_consenter(consenter, None),
        )?;
    }
    let mut seen = BTreeSet::new();
    for consenter in &metadata.consenters {
        let (server, client) = (&consenter.server_tls_cert, &consenter.client_tls_cert);
        if seen.contains(server) || seen.contains(client) {
            return refuse(format_args!(
                "duplicate consenter: server cert: {}, client cert: {}",
                String::from_utf8_lossy(server),
                String::from_utf8_lossy(client)
            ));
        }
        seen.extend([server, client]);
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
            let certificate = within("parsing tls root certs", Certificate::from_pem(&pem))?;
            authorities.push(certificate);
        }
        Ok(Self(authorities))
    }

    /// Checks both certificates of a consenter: PEM, issued under one of the roots by a path that
    /// allows TLS, and not expired at `now` if that is given
    /// (fabric: orderer/consensus/etcdraft/util.go validateConsenterTLSCerts).
    pub fn check_consenter(
        &self,
        consenter: &Consenter,
        now: Option<i64>,
    ) -> Result<(), ConfigError> {
        let read = |kind: &str, pem: &Bytes| {
            let Consenter { host, port, .. } = consenter;
            let certificate = Certificate::from_pem(pem).or_else(|error| match error {
                CertificateError::NoPem => refuse(format_args!(
                    "no PEM data found in cert[{}]",
                    spaced_hex(pem)
                )),
                other => refuse(other),
            });
            within(
                &format!("parsing tls {kind} cert of {host}:{port}"),
                certificate,
            )
        };
        let client = read("client", &consenter.client_tls_cert)?;
        let server = read("server", &consenter.server_tls_cert)?;
        for (kind, certificate) in [("client", client), ("server", server)] {
            let paths = self.paths(&certificate, 0);
            let problem = if paths.is_empty() {
                "x509: certificate signed by unknown authority"
            } else if !paths.iter().any(|uses| uses.server || uses.client) {
                "x509: certificate specifies an incompatible key usage"
            } else if now
                .is_some_and(|now| now > certificate.not_after() || now < certificate.not_before())
            {
                "x509: certificate has expired or is not yet valid"
            } else {
                continue;
            };
            return refuse(format_args!(
                "verifying tls {kind} cert with serial number {}: {problem}",
                decimal(certificate.serial())
            ));
        }
        Ok(())
    }

    /// For each path from the certificate to a self-signed authority, what its certificates allow
    /// together. Fabric wants one of the two ends of TLS, either of them.
    fn paths(&self, certificate: &Certificate, length: usize) -> Vec<TlsUses> {
        if length >= MAX_PATH {
            return Vec::new();
        }
        let own = certificate.tls_uses();
        let issuers = self.0.iter().filter(|authority| {
            authority.is_ca()
                && certificate.issuer_der() == authority.subject_der()
                && certificate.is_signed_by(authority)
        });
        let above = issuers.flat_map(|authority| {
            if authority.subject_der() == authority.issuer_der() {
                vec![authority.tls_uses()]
            } else {
                self.paths(authority, length + 1)
            }
        });
        above.map(|uses| own.and(uses)).collect()
    }
}

/// Bytes in hexadecimal with spaces between them.
fn spaced_hex(bytes: &[u8]) -> String {
    let pairs: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    pairs.join(" ")
}

/// A big-endian number in decimal.
fn decimal(number: &[u8]) -> String {
    // Decimal digits, the lowest first.
    let mut digits = vec![0_u16];
    for byte in number {
        let mut carry = u16::from(*byte);
        for digit in &mut digits {
            let value = *digit * 256 + carry;
            *digit = value % 10;
            carry = value / 10;
        }
        while carry > 0 {
            digits.push(carry % 10);
            carry /= 10;
        }
    }
    digits.iter().rev().map(ToString::to_string).collect()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn serial_numbers_are_printed_in_decimal() {
        let cases: [(&[u8], &str); 5] = [
            (&[], "0"),
            (&[7], "7"),
            (&[1, 0], "256"),
            (&[0xff; 8], "18446744073709551615"),
            (&[0xff; 16], "340282366920938463463374607431768211455"),
        ];
        for (bytes, expected) in cases {
            assert_eq!(decimal(bytes), expected);
        }
    }
}
