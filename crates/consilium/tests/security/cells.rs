//! The answers, entry point by entry point.

use crate::table::{Attack, Cell, Entry};

use Cell::{Elsewhere, Here, Senseless};

/// The row of an entry point.
pub fn of(entry: Entry) -> Vec<(Attack, Cell)> {
    use Attack::*;
    match entry {
        Entry::Endorser => vec![
            (NoCertificate, Here("TLS alert certificate_required")),
            (
                OtherOrganization,
                Here(
                    "TLS alert unknown_ca; signed: Unknown: error validating proposal: access denied: channel [health] creator org unknown, creator is malformed",
                ),
            ),
            (
                Expired,
                Here(
                    "TLS alert certificate_expired; signed: Unknown: proposal client identity expired",
                ),
            ),
            (
                Revoked,
                Here(
                    "signed: Unknown: error validating proposal: access denied: channel [health] creator org [HospitalMSP]",
                ),
            ),
            (
                SelfSigned,
                Here(
                    "TLS alert unknown_ca; signed: Unknown: error validating proposal: access denied: channel [health] creator org unknown, creator is malformed",
                ),
            ),
            (
                WrongUsage,
                Here(
                    "TLS alert unsupported_certificate; signed: Unknown: error validating proposal: access denied: channel [health] creator org unknown, creator is malformed",
                ),
            ),
            (
                WrongHost,
                Here("the caller refuses: NotValidForNameContext"),
            ),
            (
                ReplayedToken,
                Here("an hour old: Unknown: request unauthorized due to incorrect"),
            ),
            (
                TamperedToken,
                Here(
                    "signed: Unknown: error validating proposal: access denied: channel [health] creator org [HospitalMSP]",
                ),
            ),
            (
                WrongAffiliation,
                Here(
                    "signed: Unknown: error validating proposal: access denied: channel [health] creator org [HospitalMSP]",
                ),
            ),
            (
                Escalation,
                Here(
                    "500 access denied for [JoinBySnapshotStatus]: Failed verifying that proposal's creator satisfies local MSP principal during channelless check policy with policy [Admins]: [The identity is not an admin under this MSP [Hos",
                ),
            ),
            (PathTraversal, Here("500 channel '../../outside' not found")),
            (
                OversizeBody,
                Here("ResourceExhausted: message of 104857601 bytes, limit is 104857600"),
            ),
            (
                SlowBody,
                Here("DeadlineExceeded: the request stopped arriving"),
            ),
            (
                ManyConnections,
                Here("no more are kept than one address may have; others are served"),
            ),
        ],
        Entry::Gateway => vec![
            (NoCertificate, Here("TLS alert certificate_required")),
            (
                OtherOrganization,
                Here(
                    "TLS alert unknown_ca; signed: FailedPrecondition: evaluate call to endorser returned error: error validating proposal: access denied: channel [health] creator org unknown, creator is malformed",
                ),
            ),
            (
                Expired,
                Here(
                    "TLS alert certificate_expired; signed: Unavailable: failed to evaluate transaction, see attached details for more info",
                ),
            ),
            (
                Revoked,
                Here(
                    "signed: FailedPrecondition: evaluate call to endorser returned error: error validating proposal: access denied: channel [health] creator org [HospitalMSP]",
                ),
            ),
            (
                SelfSigned,
                Here(
                    "TLS alert unknown_ca; signed: FailedPrecondition: evaluate call to endorser returned error: error validating proposal: access denied: channel [health] creator org unknown, creator is malformed",
                ),
            ),
            (
                WrongUsage,
                Here(
                    "TLS alert unsupported_certificate; signed: FailedPrecondition: evaluate call to endorser returned error: error validating proposal: access denied: channel [health] creator org unknown, creator is malformed",
                ),
            ),
            (
                WrongHost,
                Here("the caller refuses: NotValidForNameContext"),
            ),
            (
                ReplayedToken,
                Here(
                    "an hour old: Unavailable: failed to evaluate transaction, see attached details for more info",
                ),
            ),
            (
                TamperedToken,
                Here(
                    "signed: FailedPrecondition: evaluate call to endorser returned error: error validating proposal: access denied: channel [health] creator org [HospitalMSP]",
                ),
            ),
            (
                WrongAffiliation,
                Here(
                    "signed: FailedPrecondition: evaluate call to endorser returned error: error validating proposal: access denied: channel [health] creator org [HospitalMSP]",
                ),
            ),
            (
                Escalation,
                Here(
                    "Unknown: evaluate call to endorser returned error: chaincode response 500, access denied for [JoinBySnapshotStatus]: Failed verifying that proposal's creator satisfies local MSP principal during channelless check policy ",
                ),
            ),
            (
                PathTraversal,
                Here(
                    "Unavailable: failed to get config for channel [../../outside]: channel not found",
                ),
            ),
            (
                OversizeBody,
                Here("ResourceExhausted: message of 104857601 bytes, limit is 104857600"),
            ),
            (
                SlowBody,
                Here("DeadlineExceeded: the request stopped arriving"),
            ),
            (
                ManyConnections,
                Senseless("the listener is that of `endorser/ten thousand connections`"),
            ),
        ],
        Entry::Deliver => vec![
            (NoCertificate, Here("TLS alert certificate_required")),
            (
                OtherOrganization,
                Here("TLS alert unknown_ca; signed: FORBIDDEN"),
            ),
            (
                Expired,
                Here("TLS alert certificate_expired; signed: FORBIDDEN"),
            ),
            (Revoked, Here("signed: FORBIDDEN")),
            (SelfSigned, Here("TLS alert unknown_ca; signed: FORBIDDEN")),
            (
                WrongUsage,
                Here("TLS alert unsupported_certificate; signed: FORBIDDEN"),
            ),
            (
                WrongHost,
                Here("the caller refuses: NotValidForNameContext"),
            ),
            (
                ReplayedToken,
                Here("an hour old: BAD_REQUEST; of another connection: BAD_REQUEST"),
            ),
            (TamperedToken, Here("signed: FORBIDDEN")),
            (WrongAffiliation, Here("signed: FORBIDDEN")),
            (
                Escalation,
                Senseless(
                    "every member of the channel may read its blocks; nothing more is to be had",
                ),
            ),
            (PathTraversal, Here("NOT_FOUND")),
            (
                OversizeBody,
                Here("ResourceExhausted: message of 104857601 bytes, limit is 104857600"),
            ),
            (
                SlowBody,
                Here("DeadlineExceeded: the request stopped arriving"),
            ),
            (
                ManyConnections,
                Senseless("the listener is that of `endorser/ten thousand connections`"),
            ),
        ],
        Entry::Discovery => vec![
            (NoCertificate, Here("TLS alert certificate_required")),
            (
                OtherOrganization,
                Here("TLS alert unknown_ca; signed: access denied"),
            ),
            (Expired, Here("TLS alert certificate_expired; signed: OK")),
            (Revoked, Here("signed: access denied")),
            (
                SelfSigned,
                Here("TLS alert unknown_ca; signed: access denied"),
            ),
            (
                WrongUsage,
                Here("TLS alert unsupported_certificate; signed: access denied"),
            ),
            (
                WrongHost,
                Here("the caller refuses: NotValidForNameContext"),
            ),
            (
                ReplayedToken,
                Here(
                    "of another connection: Unknown: client claimed TLS hash doesn't match computed TLS hash from gRPC stream",
                ),
            ),
            (TamperedToken, Here("signed: access denied")),
            (WrongAffiliation, Here("signed: access denied")),
            (Escalation, Here("access denied")),
            (PathTraversal, Here("access denied")),
            (
                OversizeBody,
                Here("ResourceExhausted: message of 104857601 bytes, limit is 104857600"),
            ),
            (
                SlowBody,
                Here("DeadlineExceeded: the request stopped arriving"),
            ),
            (
                ManyConnections,
                Senseless("the listener is that of `endorser/ten thousand connections`"),
            ),
        ],
        Entry::Gossip => vec![
            (NoCertificate, Here("TLS alert certificate_required")),
            (
                OtherOrganization,
                Here("TLS alert unknown_ca; signed: closed"),
            ),
            (
                Expired,
                Here("TLS alert certificate_expired; signed: closed"),
            ),
            (Revoked, Here("signed: closed")),
            (SelfSigned, Here("TLS alert unknown_ca; signed: closed")),
            (
                WrongUsage,
                Here("TLS alert unsupported_certificate; signed: closed"),
            ),
            (
                WrongHost,
                Here("the caller refuses: NotValidForNameContext"),
            ),
            (ReplayedToken, Here("of another connection: closed")),
            (TamperedToken, Here("signed: closed")),
            (WrongAffiliation, Here("signed: closed")),
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
            (OversizeBody, Here("the stream ends")),
            (SlowBody, Here("the stream ends")),
            (
                ManyConnections,
                Senseless("the listener is that of `endorser/ten thousand connections`"),
            ),
        ],
        Entry::Broadcast => vec![
            (NoCertificate, Here("TLS alert certificate_required")),
            (
                OtherOrganization,
                Here(
                    "TLS alert unknown_ca; signed: FORBIDDEN: implicit policy evaluation failed - 0 sub-policies were satisfied, but this policy requires 1 of the 'Writers' sub-policies to be satisfied: permission denied",
                ),
            ),
            (
                Expired,
                Here(
                    "TLS alert certificate_expired; signed: BAD_REQUEST: broadcast client identity expired",
                ),
            ),
            (
                Revoked,
                Here(
                    "signed: FORBIDDEN: implicit policy evaluation failed - 0 sub-policies were satisfied, but this policy requires 1 of the 'Writers' sub-policies to be satisfied: permission denied",
                ),
            ),
            (
                SelfSigned,
                Here(
                    "TLS alert unknown_ca; signed: FORBIDDEN: implicit policy evaluation failed - 0 sub-policies were satisfied, but this policy requires 1 of the 'Writers' sub-policies to be satisfied: permission denied",
                ),
            ),
            (
                WrongUsage,
                Here(
                    "TLS alert unsupported_certificate; signed: FORBIDDEN: implicit policy evaluation failed - 0 sub-policies were satisfied, but this policy requires 1 of the 'Writers' sub-policies to be satisfied: permission denied",
                ),
            ),
            (
                WrongHost,
                Here("the caller refuses: NotValidForNameContext"),
            ),
            (
                ReplayedToken,
                Senseless(
                    "an envelope may come twice: it is ordered twice, and the peers mark the second `DUPLICATE_TXID`",
                ),
            ),
            (
                TamperedToken,
                Here(
                    "signed: FORBIDDEN: implicit policy evaluation failed - 0 sub-policies were satisfied, but this policy requires 1 of the 'Writers' sub-policies to be satisfied: permission denied",
                ),
            ),
            (
                WrongAffiliation,
                Here(
                    "signed: FORBIDDEN: implicit policy evaluation failed - 0 sub-policies were satisfied, but this policy requires 1 of the 'Writers' sub-policies to be satisfied: permission denied",
                ),
            ),
            (
                Escalation,
                Elsewhere(
                    "BAD_REQUEST: a config update needs the signatures that its modification policies ask for, whatever certificates say",
                    "crates/orderer/tests/broadcast.rs::config_updates_without_the_right_signature_or_of_two_consenters_at_once_are_refused",
                ),
            ),
            (PathTraversal, Here("BAD_REQUEST: channel does not exist")),
            (
                OversizeBody,
                Here("ResourceExhausted: message of 104857601 bytes, limit is 104857600"),
            ),
            (
                SlowBody,
                Here("DeadlineExceeded: the request stopped arriving"),
            ),
            (
                ManyConnections,
                Here("no more are kept than one address may have; others are served"),
            ),
        ],
        Entry::Cluster => vec![
            (NoCertificate, Here("TLS alert certificate_required")),
            (OtherOrganization, Here("TLS alert unknown_ca")),
            (Expired, Here("TLS alert certificate_expired")),
            (
                Revoked,
                Senseless(
                    "revocation lists are of identities that sign; whoever must not come in any more loses its root or, as an orderer, its place among the consenters",
                ),
            ),
            (SelfSigned, Here("TLS alert unknown_ca")),
            (WrongUsage, Here("TLS alert unsupported_certificate")),
            (
                WrongHost,
                Here("the caller refuses: NotValidForNameContext"),
            ),
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
                Here("PermissionDenied: not a consenter of the channel"),
            ),
            (
                PathTraversal,
                Here("PermissionDenied: not a consenter of the channel"),
            ),
            (
                OversizeBody,
                Here("ResourceExhausted: message of 104857601 bytes, limit is 104857600"),
            ),
            (
                SlowBody,
                Here("DeadlineExceeded: the request stopped arriving"),
            ),
            (
                ManyConnections,
                Senseless("the listener is that of `broadcast/ten thousand connections`"),
            ),
        ],
        Entry::Participation => vec![
            (NoCertificate, Here("TLS alert certificate_required")),
            (OtherOrganization, Here("TLS alert unknown_ca")),
            (Expired, Here("TLS alert certificate_expired")),
            (
                Revoked,
                Senseless(
                    "revocation lists are of identities that sign; whoever must not come in any more loses its root or, as an orderer, its place among the consenters",
                ),
            ),
            (SelfSigned, Here("TLS alert unknown_ca")),
            (WrongUsage, Here("TLS alert unsupported_certificate")),
            (
                WrongHost,
                Here("the caller refuses: NotValidForNameContext"),
            ),
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
            (Escalation, Here("TLS alert unknown_ca")),
            (
                PathTraversal,
                Here(
                    "400 {\"error\":\"invalid channel ID: '../../outside' contains illegal characters\"}; 404",
                ),
            ),
            (OversizeBody, Here("413")),
            (
                SlowBody,
                Here(
                    "400 {\"error\":\"cannot read form from request body: Failed to buffer the request body: the request's body stopped arriving\"}",
                ),
            ),
            (
                ManyConnections,
                Here("no more are kept than one address may have; others are served"),
            ),
        ],
        Entry::Operations => vec![
            (
                NoCertificate,
                Here(
                    "GET /metrics: 401, GET /logspec: 401, PUT /logspec: 401, GET /chaincodes: 401, GET /channels/health/state: 401, GET /healthz: 200",
                ),
            ),
            (OtherOrganization, Here("TLS alert unknown_ca")),
            (Expired, Here("TLS alert certificate_expired")),
            (
                Revoked,
                Senseless(
                    "revocation lists are of identities that sign; whoever must not come in any more loses its root or, as an orderer, its place among the consenters",
                ),
            ),
            (SelfSigned, Here("TLS alert unknown_ca")),
            (WrongUsage, Here("TLS alert unsupported_certificate")),
            (
                WrongHost,
                Here("the caller refuses: NotValidForNameContext"),
            ),
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
            (Escalation, Here("TLS alert unknown_ca")),
            (PathTraversal, Here("404; 404 channel does not exist")),
            (OversizeBody, Here("413")),
            (
                SlowBody,
                Here("400 Failed to buffer the request body: the request's body stopped arriving"),
            ),
            (
                ManyConnections,
                Here("no more are kept than one address may have; others are served"),
            ),
        ],
        Entry::Ca => vec![
            (NoCertificate, Here("401 code 2: No authorization header")),
            (
                OtherOrganization,
                Here("401 code 20: Authentication failure"),
            ),
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
            (SelfSigned, Here("401 code 20: Authentication failure")),
            (
                WrongUsage,
                Senseless(
                    "whose certificate signed a token is looked up in the authority's register; its usage does not matter",
                ),
            ),
            (
                WrongHost,
                Here("the caller refuses: NotValidForNameContext"),
            ),
            (ReplayedToken, Here("401 code 20: Authentication failure")),
            (TamperedToken, Here("401 code 20: Authentication failure")),
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
            (PathTraversal, Here("404; 404")),
            (OversizeBody, Here("413")),
            (SlowBody, Here("408")),
            (
                ManyConnections,
                Here("no more are kept than one address may have; others are served"),
            ),
        ],
        Entry::Chaincode => vec![
            (NoCertificate, Here("TLS alert certificate_required")),
            (OtherOrganization, Here("TLS alert unknown_ca")),
            (Expired, Here("TLS alert certificate_expired")),
            (
                Revoked,
                Senseless(
                    "revocation lists are of identities that sign; whoever must not come in any more loses its root or, as an orderer, its place among the consenters",
                ),
            ),
            (SelfSigned, Here("TLS alert unknown_ca")),
            (WrongUsage, Here("TLS alert unsupported_certificate")),
            (
                WrongHost,
                Senseless(
                    "its certificate names the address that the peer gives to the chaincodes that it starts; nobody else has its root",
                ),
            ),
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
            (
                ManyConnections,
                Here("no more are kept than one address may have; others are served"),
            ),
        ],
        Entry::Package => vec![
            (
                NoCertificate,
                Senseless("packages come to the Endorser, which see"),
            ),
            (
                OtherOrganization,
                Here(
                    "TLS alert unknown_ca; signed: Proposal failed: Unknown error validating proposal: access denied: channel [] creator org unknown, creator is malformed",
                ),
            ),
            (
                Expired,
                Here(
                    "TLS alert certificate_expired; signed: Proposal failed: Unknown proposal client identity expired",
                ),
            ),
            (
                Revoked,
                Here(
                    "signed: Proposal failed: Unknown error validating proposal: access denied: channel [] creator org [HospitalMSP]",
                ),
            ),
            (
                SelfSigned,
                Here(
                    "TLS alert unknown_ca; signed: Proposal failed: Unknown error validating proposal: access denied: channel [] creator org unknown, creator is malformed",
                ),
            ),
            (
                WrongUsage,
                Here(
                    "TLS alert unsupported_certificate; signed: Proposal failed: Unknown error validating proposal: access denied: channel [] creator org unknown, creator is malformed",
                ),
            ),
            (
                WrongHost,
                Senseless("packages come to the Endorser, which see"),
            ),
            (
                ReplayedToken,
                Senseless("packages come to the Endorser, which see"),
            ),
            (
                TamperedToken,
                Here(
                    "signed: Proposal failed: Unknown error validating proposal: access denied: channel [] creator org [HospitalMSP]",
                ),
            ),
            (
                WrongAffiliation,
                Here(
                    "signed: Proposal failed: Unknown error validating proposal: access denied: channel [] creator org [HospitalMSP]",
                ),
            ),
            (
                Escalation,
                Here(
                    "the peer refused the proposal: 500 Failed to authorize invocation due to failed ACL check: Failed verifying that proposal's creator satisfies local MSP principal during channelless check policy with policy [Admins]: [The",
                ),
            ),
            (
                PathTraversal,
                Here(
                    "the peer refused the proposal: 500 failed to invoke backing implementation of 'InstallChaincode': could not parse as a chaincode install package: invalid label '../label'. Label must be non-empty, can only consist of alp; the peer refused the proposal: 500 failed to invoke backing implementation of 'InstallChaincode': could not parse as a chaincode install package: tar entry ../code.tar.gz does not name a file inside the archive",
                ),
            ),
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
