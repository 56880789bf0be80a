//! The answers, entry point by entry point.

use crate::table::{Attack, Cell, Entry};

use Cell::{Elsewhere, Here, Senseless};

/// The row of an entry point.
pub fn of(entry: Entry) -> Vec<(Attack, Cell)> {
    use Attack::*;
    match entry {
        Entry::Endorser => vec![
            (NoCertificate, Here("?")),
            (OtherOrganization, Here("?")),
            (Expired, Here("?")),
            (Revoked, Here("?")),
            (SelfSigned, Here("?")),
            (WrongUsage, Here("?")),
            (WrongHost, Here("?")),
            (ReplayedToken, Here("?")),
            (TamperedToken, Here("?")),
            (WrongAffiliation, Here("?")),
            (Escalation, Here("?")),
            (PathTraversal, Here("?")),
            (OversizeBody, Here("?")),
            (SlowBody, Here("?")),
            (ManyConnections, Here("?")),
        ],
        Entry::Gateway => vec![
            (NoCertificate, Here("?")),
            (OtherOrganization, Here("?")),
            (Expired, Here("?")),
            (Revoked, Here("?")),
            (SelfSigned, Here("?")),
            (WrongUsage, Here("?")),
            (WrongHost, Here("?")),
            (ReplayedToken, Here("?")),
            (TamperedToken, Here("?")),
            (WrongAffiliation, Here("?")),
            (Escalation, Here("?")),
            (PathTraversal, Here("?")),
            (OversizeBody, Here("?")),
            (SlowBody, Here("?")),
            (ManyConnections, Here("?")),
        ],
        Entry::Deliver => vec![
            (NoCertificate, Here("?")),
            (OtherOrganization, Here("?")),
            (Expired, Here("?")),
            (Revoked, Here("?")),
            (SelfSigned, Here("?")),
            (WrongUsage, Here("?")),
            (WrongHost, Here("?")),
            (ReplayedToken, Here("?")),
            (TamperedToken, Here("?")),
            (WrongAffiliation, Here("?")),
            (
                Escalation,
                Senseless(
                    "every member of the channel may read its blocks; nothing more is to be had",
                ),
            ),
            (PathTraversal, Here("?")),
            (OversizeBody, Here("?")),
            (SlowBody, Here("?")),
            (ManyConnections, Here("?")),
        ],
        Entry::Discovery => vec![
            (NoCertificate, Here("?")),
            (OtherOrganization, Here("?")),
            (Expired, Here("?")),
            (Revoked, Here("?")),
            (SelfSigned, Here("?")),
            (WrongUsage, Here("?")),
            (WrongHost, Here("?")),
            (ReplayedToken, Here("?")),
            (TamperedToken, Here("?")),
            (WrongAffiliation, Here("?")),
            (Escalation, Here("?")),
            (PathTraversal, Here("?")),
            (OversizeBody, Here("?")),
            (SlowBody, Here("?")),
            (ManyConnections, Here("?")),
        ],
        Entry::Gossip => vec![
            (NoCertificate, Here("?")),
            (OtherOrganization, Here("?")),
            (Expired, Here("?")),
            (Revoked, Here("?")),
            (SelfSigned, Here("?")),
            (WrongUsage, Here("?")),
            (WrongHost, Here("?")),
            (ReplayedToken, Here("?")),
            (TamperedToken, Here("?")),
            (WrongAffiliation, Here("?")),
            (
                Escalation,
                Senseless(
                    "every member of a channel's organizations may gossip, as in Fabric; nothing more is to be had",
                ),
            ),
            (
                PathTraversal,
                Senseless(
                    "channels are known by a hash of their name: a name that does not exist is nobody's",
                ),
            ),
            (OversizeBody, Here("?")),
            (SlowBody, Here("?")),
            (ManyConnections, Here("?")),
        ],
        Entry::Broadcast => vec![
            (NoCertificate, Here("?")),
            (OtherOrganization, Here("?")),
            (Expired, Here("?")),
            (Revoked, Here("?")),
            (SelfSigned, Here("?")),
            (WrongUsage, Here("?")),
            (WrongHost, Here("?")),
            (
                ReplayedToken,
                Senseless(
                    "an envelope may come twice: it is ordered twice, and the peers mark the second `DUPLICATE_TXID`",
                ),
            ),
            (TamperedToken, Here("?")),
            (WrongAffiliation, Here("?")),
            (Escalation, Here("?")),
            (PathTraversal, Here("?")),
            (OversizeBody, Here("?")),
            (SlowBody, Here("?")),
            (ManyConnections, Here("?")),
        ],
        Entry::Cluster => vec![
            (NoCertificate, Here("?")),
            (OtherOrganization, Here("?")),
            (Expired, Here("?")),
            (
                Revoked,
                Senseless(
                    "revocation lists are of identities that sign; whoever must not come in any more loses its root or, as an orderer, its place among the consenters",
                ),
            ),
            (SelfSigned, Here("?")),
            (WrongUsage, Here("?")),
            (WrongHost, Here("?")),
            (
                ReplayedToken,
                Senseless(
                    "callers are known by their TLS certificate alone: there is no token, and none to replay or change",
                ),
            ),
            (
                TamperedToken,
                Senseless(
                    "callers are known by their TLS certificate alone: there is no token, and none to replay or change",
                ),
            ),
            (
                WrongAffiliation,
                Senseless("nothing is signed here: units of identities mean nothing"),
            ),
            (Escalation, Here("?")),
            (PathTraversal, Here("?")),
            (OversizeBody, Here("?")),
            (SlowBody, Here("?")),
            (ManyConnections, Here("?")),
        ],
        Entry::Participation => vec![
            (NoCertificate, Here("?")),
            (OtherOrganization, Here("?")),
            (Expired, Here("?")),
            (
                Revoked,
                Senseless(
                    "revocation lists are of identities that sign; whoever must not come in any more loses its root or, as an orderer, its place among the consenters",
                ),
            ),
            (SelfSigned, Here("?")),
            (WrongUsage, Here("?")),
            (WrongHost, Here("?")),
            (
                ReplayedToken,
                Senseless(
                    "callers are known by their TLS certificate alone: there is no token, and none to replay or change",
                ),
            ),
            (
                TamperedToken,
                Senseless(
                    "callers are known by their TLS certificate alone: there is no token, and none to replay or change",
                ),
            ),
            (
                WrongAffiliation,
                Senseless("nothing is signed here: units of identities mean nothing"),
            ),
            (Escalation, Here("?")),
            (PathTraversal, Here("?")),
            (OversizeBody, Here("?")),
            (SlowBody, Here("?")),
            (ManyConnections, Here("?")),
        ],
        Entry::Operations => vec![
            (NoCertificate, Here("?")),
            (OtherOrganization, Here("?")),
            (Expired, Here("?")),
            (
                Revoked,
                Senseless(
                    "revocation lists are of identities that sign; whoever must not come in any more loses its root or, as an orderer, its place among the consenters",
                ),
            ),
            (SelfSigned, Here("?")),
            (WrongUsage, Here("?")),
            (WrongHost, Here("?")),
            (
                ReplayedToken,
                Senseless(
                    "callers are known by their TLS certificate alone: there is no token, and none to replay or change",
                ),
            ),
            (
                TamperedToken,
                Senseless(
                    "callers are known by their TLS certificate alone: there is no token, and none to replay or change",
                ),
            ),
            (
                WrongAffiliation,
                Senseless("nothing is signed here: units of identities mean nothing"),
            ),
            (Escalation, Here("?")),
            (PathTraversal, Here("?")),
            (OversizeBody, Here("?")),
            (SlowBody, Here("?")),
            (ManyConnections, Here("?")),
        ],
        Entry::Ca => vec![
            (NoCertificate, Here("?")),
            (OtherOrganization, Here("?")),
            (
                Expired,
                Elsewhere(
                    "401",
                    "crates/ca/src/tests/refusals.rs::an_expired_certificate_proves_nothing",
                ),
            ),
            (
                Revoked,
                Elsewhere(
                    "401",
                    "crates/ca/src/tests/refusals.rs::tokens_that_prove_nothing",
                ),
            ),
            (SelfSigned, Here("?")),
            (
                WrongUsage,
                Senseless(
                    "whose certificate signed a token is looked up in the authority's register; its usage does not matter",
                ),
            ),
            (WrongHost, Here("?")),
            (ReplayedToken, Here("?")),
            (TamperedToken, Here("?")),
            (
                WrongAffiliation,
                Elsewhere(
                    "403",
                    "crates/ca/src/tests/refusals.rs::registrations_that_must_not_happen",
                ),
            ),
            (
                Escalation,
                Elsewhere(
                    "403",
                    "crates/ca/src/registrar.rs::attributes_are_given_only_by_those_who_may",
                ),
            ),
            (PathTraversal, Here("?")),
            (OversizeBody, Here("?")),
            (SlowBody, Here("?")),
            (ManyConnections, Here("?")),
        ],
        Entry::Chaincode => vec![
            (NoCertificate, Here("?")),
            (OtherOrganization, Here("?")),
            (Expired, Here("?")),
            (
                Revoked,
                Senseless(
                    "revocation lists are of identities that sign; whoever must not come in any more loses its root or, as an orderer, its place among the consenters",
                ),
            ),
            (SelfSigned, Here("?")),
            (WrongUsage, Here("?")),
            (WrongHost, Here("?")),
            (
                ReplayedToken,
                Senseless(
                    "callers are known by their TLS certificate alone: there is no token, and none to replay or change",
                ),
            ),
            (
                TamperedToken,
                Senseless(
                    "callers are known by their TLS certificate alone: there is no token, and none to replay or change",
                ),
            ),
            (
                WrongAffiliation,
                Senseless("nothing is signed here: units of identities mean nothing"),
            ),
            (
                Escalation,
                Senseless(
                    "a chaincode may be what its certificate was made for, see `another organization's`",
                ),
            ),
            (
                PathTraversal,
                Elsewhere(
                    "the stream ends: nobody registers under another name than its certificate was made for",
                    "crates/chaincode/tests/builders/running.rs::nobody_registers_as_another_chaincode_or_twice",
                ),
            ),
            (
                OversizeBody,
                Elsewhere(
                    "as at the other gRPC listeners: `ResourceExhausted`",
                    "crates/transport/tests/limits.rs::messages_that_are_too_large_are_refused_before_they_arrive",
                ),
            ),
            (
                SlowBody,
                Elsewhere(
                    "as at the other gRPC listeners: `DeadlineExceeded`",
                    "crates/transport/tests/limits.rs::requests_that_stop_arriving_are_refused_but_streams_may_be_silent",
                ),
            ),
            (ManyConnections, Here("?")),
        ],
        Entry::Package => vec![
            (
                NoCertificate,
                Senseless("packages come to the Endorser, which see"),
            ),
            (OtherOrganization, Here("?")),
            (Expired, Here("?")),
            (Revoked, Here("?")),
            (SelfSigned, Here("?")),
            (WrongUsage, Here("?")),
            (
                WrongHost,
                Senseless("packages come to the Endorser, which see"),
            ),
            (
                ReplayedToken,
                Senseless("packages come to the Endorser, which see"),
            ),
            (TamperedToken, Here("?")),
            (WrongAffiliation, Here("?")),
            (Escalation, Here("?")),
            (PathTraversal, Here("?")),
            (
                OversizeBody,
                Senseless("packages come to the Endorser, which see"),
            ),
            (
                SlowBody,
                Senseless("packages come to the Endorser, which see"),
            ),
            (
                ManyConnections,
                Senseless("packages come to the Endorser, which see"),
            ),
        ],
    }
}
