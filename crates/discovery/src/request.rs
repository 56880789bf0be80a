//! What a request has to be before anybody works on it. Pure. `fabric: discovery/service.go`

use consilium_msp::Certificate;
use consilium_proto::{
    common::{SignaturePolicy, SignaturePolicyEnvelope, signature_policy::Type},
    discovery::{ChaincodeQuery, Request, SignedRequest, query::Query as Kind},
    protos::ChaincodeInterest,
};
use consilium_protocol::hash::sha256;

/// Queries of one request. Fabric has no limit; its own clients send a handful.
const QUERIES: usize = 256;
/// Chaincode calls, collections and key policies in all queries of a request.
const PARTS: usize = 1024;
/// Rules of one key policy, so that finding what satisfies it takes bounded work.
const RULES: usize = 64;
/// Longest text of an interest in an error.
const SHOWN: usize = 512;

/// Why a request is not worked on, in Fabric's words but for the limits.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Malformed {
    #[error("failed parsing request: {0}")]
    Unreadable(String),
    #[error("access denied, no authentication info in request")]
    NoAuthentication,
    #[error("access denied, client identity wasn't supplied")]
    NoIdentity,
    #[error("client didn't send a TLS certificate")]
    NoCertificate,
    #[error("client claimed TLS hash doesn't match computed TLS hash from gRPC stream")]
    OtherCertificate,
    #[error("the request asks for too much: {0}")]
    TooLarge(String),
}

/// Reads a request. With TLS it has to name the `certificate` (DER) that its connection was made with,
/// so that nobody else can send it.
///
/// Fabric has this check and never makes it: `NewService` drops the setting that turns it on. So its own
/// `discover` tool could come to name the hash of the PEM text, which counts as well here, and clients
/// without a certificate are answered if they claim none.
pub(crate) fn open(
    signed: &SignedRequest,
    tls: bool,
    certificate: Option<&[u8]>,
) -> Result<Request, Malformed> {
    let request: Request = consilium_proto::decode(&signed.payload)
        .map_err(|error| Malformed::Unreadable(error.to_string()))?;
    let authentication = request
        .authentication
        .as_ref()
        .ok_or(Malformed::NoAuthentication)?;
    if authentication.client_identity.is_empty() {
        return Err(Malformed::NoIdentity);
    }
    if tls {
        bound(&authentication.client_tls_cert_hash, certificate)?;
    }
    limit(&request)?;
    Ok(request)
}

/// Whether a claimed hash is that of the certificate; without one nothing may be claimed.
fn bound(claimed: &[u8], certificate: Option<&[u8]>) -> Result<(), Malformed> {
    match certificate {
        // The SDK for Go hashes nothing where it has no certificate.
        None if claimed.is_empty() || claimed == sha256(b"") => Ok(()),
        None => Err(Malformed::NoCertificate),
        Some(der) if claimed == sha256(der) => Ok(()),
        Some(der) => match Certificate::from_der(der) {
            Ok(parsed) if claimed == sha256(parsed.pem().as_bytes()) => Ok(()),
            _ => Err(Malformed::OtherCertificate),
        },
    }
}

fn limit(request: &Request) -> Result<(), Malformed> {
    let too_large = |what: String| Err(Malformed::TooLarge(what));
    if request.queries.len() > QUERIES {
        let count = request.queries.len();
        return too_large(format!("{count} queries, at most {QUERIES} are answered"));
    }
    let interests = request.queries.iter().flat_map(|query| match &query.query {
        Some(Kind::CcQuery(query)) => query.interests.iter().collect(),
        Some(Kind::PeerQuery(query)) => Vec::from_iter(&query.filter),
        _ => Vec::new(),
    });
    let mut parts = 0;
    for interest in interests {
        parts += 1;
        for call in &interest.chaincodes {
            parts += 1 + call.collection_names.len() + call.key_policies.len();
            if call.key_policies.iter().any(|policy| rules(policy) > RULES) {
                return too_large(format!("a key policy has more than {RULES} rules"));
            }
        }
    }
    if parts > PARTS {
        return too_large(format!(
            "{parts} interests, chaincode calls, collections and key policies, at most {PARTS} are looked at"
        ));
    }
    Ok(())
}

/// Number of rules of a policy; decoding bounds their depth.
fn rules(policy: &SignaturePolicyEnvelope) -> usize {
    fn count(rule: &SignaturePolicy) -> usize {
        match &rule.r#type {
            Some(Type::NOutOf(inner)) => 1 + inner.rules.iter().map(count).sum::<usize>(),
            _ => 1,
        }
    }
    policy.rule.as_ref().map_or(0, count)
}

/// Checks a chaincode query as Fabric does.
///
/// # Errors
/// Fabric's text.
pub(crate) fn check(query: &ChaincodeQuery) -> Result<(), &'static str> {
    if query.interests.is_empty() {
        return Err("chaincode query must have at least one chaincode interest");
    }
    for interest in &query.interests {
        if interest.chaincodes.is_empty() {
            return Err("chaincode interest must contain at least one chaincode");
        }
        if interest.chaincodes.iter().any(|call| call.name.is_empty()) {
            return Err("chaincode name in interest cannot be empty");
        }
    }
    Ok(())
}

/// An interest as Go prints it, for errors; key policies are not shown, and long ones are cut.
pub(crate) fn go_text(interest: &ChaincodeInterest) -> String {
    let calls = interest.chaincodes.iter().map(|call| {
        let mut fields = Vec::new();
        if !call.name.is_empty() {
            fields.push(format!("name:{:?}", call.name));
        }
        let collections = call.collection_names.iter();
        fields.extend(collections.map(|name| format!("collection_names:{name:?}")));
        let flag = |name: &str, set: bool| set.then(|| format!("{name}:true"));
        fields.extend(flag("no_private_reads", call.no_private_reads));
        fields.extend(flag("no_public_writes", call.no_public_writes));
        fields.extend(
            call.key_policies
                .iter()
                .map(|_| "key_policies:{…}".to_owned()),
        );
        fields.extend(flag(
            "disregard_namespace_policy",
            call.disregard_namespace_policy,
        ));
        format!("chaincodes:{{{}}}", fields.join(" "))
    });
    let mut text = String::new();
    for call in calls {
        if !text.is_empty() {
            text.push(' ');
        }
        text.push_str(&call);
        if let Some((end, _)) = text.char_indices().nth(SHOWN) {
            text.truncate(end);
            text.push('…');
            break;
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use consilium_proto::{
        common::signature_policy::NOutOf,
        discovery::{AuthInfo, PeerMembershipQuery, Query},
        protos::ChaincodeCall,
    };
    use consilium_testkit::Authority;
    use prost::Message;

    const CERTIFICATE: &[u8] = b"no certificate, but that is not looked at";

    fn claiming(hash: &[u8]) -> Request {
        Request {
            authentication: Some(AuthInfo {
                client_identity: Bytes::from_static(b"somebody"),
                client_tls_cert_hash: Bytes::copy_from_slice(hash),
            }),
            queries: Vec::new(),
        }
    }

    fn request() -> Request {
        claiming(&sha256(CERTIFICATE))
    }

    fn signed(request: &Request) -> SignedRequest {
        SignedRequest {
            payload: request.encode_to_vec().into(),
            signature: Bytes::new(),
        }
    }

    #[test]
    fn requests_are_bound_to_their_connection() {
        let text = Authority::root("ca").cert_pem().to_owned();
        let der = Certificate::from_pem(text.as_bytes()).unwrap();
        let der = der.der();
        let of_der = sha256(der).to_vec();
        let of_pem = sha256(text.as_bytes()).to_vec();
        let of_nothing = sha256(b"").to_vec();
        let of_other = sha256(b"other").to_vec();
        let (none, some) = (None, Some(der));
        let mismatch = || Err(Malformed::OtherCertificate);
        for (claimed, certificate, expected) in [
            (&of_der[..], some, Ok(())),
            (&of_pem, some, Ok(())),
            (&of_other, some, mismatch()),
            (&of_nothing, some, mismatch()),
            (&[], some, mismatch()),
            (&of_der[..31], some, mismatch()),
            (&[], none, Ok(())),
            (&of_nothing, none, Ok(())),
            (&of_der, none, Err(Malformed::NoCertificate)),
            (&of_other, none, Err(Malformed::NoCertificate)),
        ] {
            let request = signed(&claiming(claimed));
            let opened = open(&request, true, certificate).map(|_| ());
            assert_eq!(opened, expected, "{claimed:?} {certificate:?}");
            assert!(open(&request, false, certificate).is_ok());
        }
        let unreadable = signed(&claiming(&of_other));
        let opened = open(&unreadable, true, Some(CERTIFICATE)).map(|_| ());
        assert_eq!(opened, mismatch());
    }

    #[test]
    fn requests_say_who_asks() {
        let mut nobody = request();
        nobody.authentication = None;
        let mut nameless = request();
        if let Some(nameless) = &mut nameless.authentication {
            nameless.client_identity = Bytes::new();
        }
        for tls in [true, false] {
            let opened =
                |request: &SignedRequest| open(request, tls, Some(CERTIFICATE)).map(|_| ());
            assert_eq!(opened(&signed(&nobody)), Err(Malformed::NoAuthentication));
            assert_eq!(
                opened(&SignedRequest::default()),
                Err(Malformed::NoAuthentication)
            );
            assert_eq!(opened(&signed(&nameless)), Err(Malformed::NoIdentity));
            let garbage = SignedRequest {
                payload: Bytes::from_static(b"\xff\xff"),
                signature: Bytes::new(),
            };
            let error = opened(&garbage).unwrap_err().to_string();
            assert!(error.starts_with("failed parsing request: "), "{error}");
        }
    }

    fn asks(interests: Vec<ChaincodeInterest>) -> Query {
        Query {
            channel: "c".to_owned(),
            query: Some(Kind::CcQuery(ChaincodeQuery { interests })),
        }
    }

    fn calls(count: usize, call: ChaincodeCall) -> ChaincodeInterest {
        ChaincodeInterest {
            chaincodes: vec![call; count],
        }
    }

    /// A policy of so many rules.
    fn policy(count: usize) -> SignaturePolicyEnvelope {
        let leaf = SignaturePolicy {
            r#type: Some(Type::SignedBy(0)),
        };
        SignaturePolicyEnvelope {
            rule: Some(SignaturePolicy {
                r#type: Some(Type::NOutOf(NOutOf {
                    n: 1,
                    rules: vec![leaf; count - 1],
                })),
            }),
            ..Default::default()
        }
    }

    #[test]
    fn nobody_asks_for_too_much() {
        let query = |n| vec![asks(vec![calls(1, ChaincodeCall::default())]); n];
        let key_policies = |count, rules| ChaincodeCall {
            key_policies: vec![policy(rules); count],
            ..Default::default()
        };
        let collections = ChaincodeCall {
            collection_names: vec![String::new(); PARTS],
            ..Default::default()
        };
        let filter = Query {
            channel: "c".to_owned(),
            query: Some(Kind::PeerQuery(PeerMembershipQuery {
                filter: Some(calls(PARTS, ChaincodeCall::default())),
            })),
        };
        for (queries, accepted) in [
            (query(QUERIES), true),
            (query(QUERIES + 1), false),
            (
                vec![asks(vec![calls(PARTS - 1, ChaincodeCall::default())])],
                true,
            ),
            (
                vec![asks(vec![calls(PARTS, ChaincodeCall::default())])],
                false,
            ),
            (vec![asks(vec![calls(1, collections)])], false),
            (vec![asks(vec![calls(1, key_policies(1, RULES))])], true),
            (
                vec![asks(vec![calls(1, key_policies(1, RULES + 1))])],
                false,
            ),
            (vec![asks(vec![calls(1, key_policies(PARTS - 2, 2))])], true),
            (
                vec![asks(vec![calls(1, key_policies(PARTS - 1, 2))])],
                false,
            ),
            (vec![filter], false),
        ] {
            let count = queries.len();
            let request = Request {
                queries,
                ..request()
            };
            let opened = open(&signed(&request), true, Some(CERTIFICATE));
            match opened {
                Ok(_) => assert!(accepted, "{count}"),
                Err(Malformed::TooLarge(_)) => assert!(!accepted, "{count}"),
                Err(other) => panic!("{other}"),
            }
        }
    }

    #[test]
    fn chaincode_queries_name_chaincodes() {
        let named = |name: &str| ChaincodeCall {
            name: name.to_owned(),
            ..Default::default()
        };
        for (interests, expected) in [
            (vec![calls(1, named("kv"))], Ok(())),
            (
                vec![],
                Err("chaincode query must have at least one chaincode interest"),
            ),
            (
                vec![calls(1, named("kv")), calls(0, named("kv"))],
                Err("chaincode interest must contain at least one chaincode"),
            ),
            (
                vec![calls(2, named(""))],
                Err("chaincode name in interest cannot be empty"),
            ),
        ] {
            assert_eq!(check(&ChaincodeQuery { interests }), expected);
        }
    }

    #[test]
    fn interests_are_shown_as_go_prints_them() {
        let call = ChaincodeCall {
            name: "kv".to_owned(),
            collection_names: vec!["a".to_owned(), "b".to_owned()],
            no_private_reads: true,
            disregard_namespace_policy: true,
            ..Default::default()
        };
        let plain = ChaincodeCall {
            name: "a\"b".to_owned(),
            ..Default::default()
        };
        let interest = ChaincodeInterest {
            chaincodes: vec![call, plain],
        };
        assert_eq!(
            go_text(&interest),
            r#"chaincodes:{name:"kv" collection_names:"a" collection_names:"b" no_private_reads:true disregard_namespace_policy:true} chaincodes:{name:"a\"b"}"#
        );
        let long = ChaincodeCall {
            name: "ü".repeat(10 * SHOWN),
            ..Default::default()
        };
        assert_eq!(go_text(&calls(3, long)).chars().count(), SHOWN + 1);
    }
}
