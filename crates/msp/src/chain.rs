//! Certification paths by the rules of Go's x509 package, which fix what Fabric accepts.
//!
//! Time is an input: an MSP asks for the moment one second after the certificate's own NotBefore, so
//! neither the present time nor the leaf's expiry matters (go: crypto/x509 verify.go; fabric:
//! msp/mspimplvalidate.go getValidityOptsForCert).

use std::sync::Arc;

use crate::certificate::{Certificate, Constraints, Names};
use crate::error::MspError;

/// Signature checks spent on one path search, as in Go: bounds work on hostile sets of authorities.
const SIGNATURE_CHECKS: usize = 100;

/// Trusted roots and the intermediates that may stand between a certificate and a root.
#[derive(Debug, Clone, Default)]
pub(crate) struct Authorities {
    roots: Vec<Arc<Certificate>>,
    intermediates: Vec<Arc<Certificate>>,
}

/// A path: the certificate itself, then its issuers up to a root.
pub(crate) type Chain = Vec<Arc<Certificate>>;

impl Authorities {
    pub fn new(roots: &[Arc<Certificate>], intermediates: &[Arc<Certificate>]) -> Self {
        Authorities {
            roots: distinct(roots),
            intermediates: distinct(intermediates),
        }
    }

    /// The only path from `certificate` to a root.
    ///
    /// # Errors
    /// [`MspError::NoChain`] with the reason when there is none, [`MspError::SeveralChains`].
    pub fn unique_chain(&self, certificate: &Arc<Certificate>) -> Result<Chain, MspError> {
        let mut search = Search {
            authorities: self,
            at: certificate.not_before() + 1,
            checks: 0,
            found: Vec::new(),
            hint: None,
        };
        check(certificate, Position::Leaf, &[], search.at).map_err(MspError::NoChain)?;
        if self.roots.contains(certificate) {
            search.found.push(vec![certificate.clone()]);
        } else {
            search.extend(&mut vec![certificate.clone()])?;
        }
        let built = search.found.len();
        search.found.retain(|chain| allows_server_auth(chain));
        match search.found.len() {
            1 if has_unconstrained_name(&search.found[0]) => Err(MspError::NoChain(
                "x509: issuer has name constraints but leaf doesn't have a SAN extension".into(),
            )),
            1 => Ok(search.found.remove(0)),
            0 if built > 0 => Err(MspError::NoChain(
                "x509: certificate specifies an incompatible key usage".into(),
            )),
            0 => Err(MspError::NoChain(search.hint.unwrap_or_else(|| {
                "x509: certificate signed by unknown authority".into()
            }))),
            several => Err(MspError::SeveralChains(several)),
        }
    }
}

fn distinct(certificates: &[Arc<Certificate>]) -> Vec<Arc<Certificate>> {
    let mut kept: Vec<Arc<Certificate>> = Vec::new();
    for certificate in certificates {
        if !kept.contains(certificate) {
            kept.push(certificate.clone());
        }
    }
    kept
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Position {
    Leaf,
    Intermediate,
    Root,
}

struct Search<'a> {
    authorities: &'a Authorities,
    at: i64,
    checks: usize,
    found: Vec<Chain>,
    /// Why the last candidate was refused, to explain that nothing was found.
    hint: Option<String>,
}

impl Search<'_> {
    /// Collects all paths that continue `path`.
    fn extend(&mut self, path: &mut Chain) -> Result<(), MspError> {
        let authorities = self.authorities;
        let candidates = authorities
            .roots
            .iter()
            .map(|root| (root, Position::Root))
            .chain(
                authorities
                    .intermediates
                    .iter()
                    .map(|issuer| (issuer, Position::Intermediate)),
            );
        for (candidate, position) in candidates {
            // The path is never empty: it starts with the certificate in question.
            let Some(child) = path.last().cloned() else {
                return Ok(());
            };
            if child.issuer_der() != candidate.subject_der() || already_in(path, candidate) {
                continue;
            }
            self.checks += 1;
            if self.checks > SIGNATURE_CHECKS {
                return Err(MspError::NoChain(
                    "x509: signature check attempts limit reached while verifying certificate chain".into(),
                ));
            }
            if !child.is_signed_by(candidate) {
                self.hint = Some(format!(
                    "x509: certificate signed by unknown authority (candidate authority certificate \"{}\")",
                    candidate.subject_cn()
                ));
                continue;
            }
            if let Err(reason) = check(candidate, position, path, self.at) {
                self.hint = Some(reason);
                continue;
            }
            path.push(candidate.clone());
            let outcome = if position == Position::Root {
                self.found.push(path.clone());
                Ok(())
            } else {
                self.extend(path)
            };
            path.pop();
            outcome?;
        }
        Ok(())
    }
}

/// A certificate of the same subject, key and alternative names must not be in a path twice.
fn already_in(path: &[Arc<Certificate>], candidate: &Certificate) -> bool {
    path.iter().any(|certificate| {
        certificate.subject_der() == candidate.subject_der()
            && certificate.public_key() == candidate.public_key()
            && certificate.alternative_names() == candidate.alternative_names()
    })
}

/// Whether `certificate` may stand at `position` above `below`.
fn check(
    certificate: &Certificate,
    position: Position,
    below: &[Arc<Certificate>],
    at: i64,
) -> Result<(), String> {
    if certificate.has_unhandled_critical_extension() {
        return Err("x509: unhandled critical extension".into());
    }
    if at < certificate.not_before() || at > certificate.not_after() {
        return Err("x509: certificate has expired or is not yet valid".into());
    }
    if position != Position::Leaf
        && let Some(constraints) = certificate.constraints()
    {
        for names in below
            .iter()
            .filter_map(|certificate| certificate.alternative_names())
        {
            check_names(names, constraints)?;
        }
    }
    if position == Position::Intermediate && !certificate.is_ca() {
        return Err("x509: certificate is not authorized to sign other certificates".into());
    }
    // The first certificate below is the one in question, which does not count.
    if let Some(limit) = certificate.path_length()
        && below.len().saturating_sub(1) > limit as usize
    {
        return Err("x509: too many intermediates for path length constraint".into());
    }
    Ok(())
}

/// Extended key usages nest: without a request Go asks for server authentication along the whole path.
fn allows_server_auth(chain: &[Arc<Certificate>]) -> bool {
    chain
        .iter()
        .filter_map(|certificate| certificate.extended_key_usage())
        .all(|usage| usage.allows_server_auth)
}

/// Whether an issuer constrains names and the certificate has none but a host's as its common name,
/// which escapes the constraint (fabric: msp/mspimpl.go verifyLegacyNameConstraints).
fn has_unconstrained_name(chain: &[Arc<Certificate>]) -> bool {
    chain.split_first().is_some_and(|(leaf, issuers)| {
        leaf.alternative_names().is_none()
            && is_host_name(leaf.subject_cn())
            && issuers.iter().any(|issuer| issuer.constraints().is_some())
    })
}

/// Letters, digits, `-` (not first), `_` and `:` between single dots; the first label may be `*`.
fn is_host_name(name: &str) -> bool {
    let name = name.strip_suffix('.').unwrap_or(name);
    name.split('.').enumerate().all(|(index, label)| {
        let legal = |(at, byte): (usize, u8)| {
            byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b':') || (byte == b'-' && at != 0)
        };
        (index == 0 && label == "*") || (!label.is_empty() && label.bytes().enumerate().all(legal))
    })
}

fn check_names(names: &Names, constraints: &Constraints) -> Result<(), String> {
    check_kind(
        &names.dns,
        &constraints.permitted.dns,
        &constraints.excluded.dns,
        |name, rule| domain_matches(name, rule),
    )?;
    check_kind(
        &names.emails,
        &constraints.permitted.emails,
        &constraints.excluded.emails,
        |name, rule| email_matches(name, rule),
    )?;
    check_kind(
        &names.uris,
        &constraints.permitted.uris,
        &constraints.excluded.uris,
        |name, rule| domain_matches(uri_host(name), rule),
    )?;
    check_kind(
        &names.addresses,
        &constraints.permitted.addresses,
        &constraints.excluded.addresses,
        |address, rule| address_matches(address, rule),
    )
}

fn check_kind<T: std::fmt::Debug>(
    names: &[T],
    permitted: &[T],
    excluded: &[T],
    matches: impl Fn(&T, &T) -> bool,
) -> Result<(), String> {
    for name in names {
        if excluded.iter().any(|rule| matches(name, rule)) {
            return Err(format!("x509: {name:?} is excluded by a name constraint"));
        }
        if !permitted.is_empty() && !permitted.iter().any(|rule| matches(name, rule)) {
            return Err(format!("x509: {name:?} is not permitted by any constraint"));
        }
    }
    Ok(())
}

/// A rule `example.com` holds for itself and what is below it; `.example.com` for what is below it.
fn domain_matches(name: &str, rule: &str) -> bool {
    let (name, rule) = (name.to_ascii_lowercase(), rule.to_ascii_lowercase());
    match rule.strip_prefix('.') {
        _ if rule.is_empty() => true,
        Some(parent) => name
            .strip_suffix(parent)
            .is_some_and(|head| head.len() > 1 && head.ends_with('.')),
        None => name
            .strip_suffix(rule.as_str())
            .is_some_and(|head| head.is_empty() || head.ends_with('.')),
    }
}

fn email_matches(name: &str, rule: &str) -> bool {
    match rule.contains('@') {
        true => name == rule,
        false => name
            .rsplit_once('@')
            .is_some_and(|(_, domain)| match rule.starts_with('.') {
                true => domain_matches(domain, rule),
                false => domain.eq_ignore_ascii_case(rule),
            }),
    }
}

fn uri_host(uri: &str) -> &str {
    let authority = uri.split_once("://").map_or("", |(_, rest)| rest);
    let authority = authority.split(['/', '?', '#']).next().unwrap_or_default();
    let host = authority
        .rsplit_once('@')
        .map_or(authority, |(_, host)| host);
    host.split(':').next().unwrap_or_default()
}

fn address_matches(address: &[u8], rule: &[u8]) -> bool {
    let (network, mask) = rule.split_at(rule.len() / 2);
    address.len() == network.len()
        && address
            .iter()
            .zip(network)
            .zip(mask)
            .all(|((byte, network), mask)| byte & mask == network & mask)
}
