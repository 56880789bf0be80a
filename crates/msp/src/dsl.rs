//! The policy language: `OutOf(2, 'Org1MSP.member', AND('Org2MSP.peer', 'Org3MSP.admin'))`, and the
//! implicit meta form `MAJORITY Endorsement`.
//! source: fabric: common/policydsl/policyparser.go, common/policies/implicitmetaparser.go

use consilium_proto::common::implicit_meta_policy::Rule;
use consilium_proto::common::msp_role::MspRoleType;
use consilium_proto::common::signature_policy::{NOutOf, Type};
use consilium_proto::common::{
    ImplicitMetaPolicy, MspPrincipal, SignaturePolicy, SignaturePolicyEnvelope,
};
use consilium_proto::msp::SerializedIdentity;
use thiserror::Error;
use winnow::ascii::{digit1, multispace0};
use winnow::combinator::{alt, cut_err, delimited, eof, opt, separated, terminated};
use winnow::error::{ContextError, ErrMode};
use winnow::prelude::*;
use winnow::token::take_while;

use crate::certificate::Certificate;
use crate::principal::{Principal, role_principal};

/// Why a text is no policy.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum DslError {
    /// A word that is no gate stands where a gate or a principal has to be.
    #[error("unrecognized token '{0}' in policy string")]
    UnrecognizedToken(String),
    /// The text is not made of gates and principals.
    #[error("invalid policy string '{0}'")]
    Invalid(String),
    /// A quoted text is no `MSP.role`.
    #[error("error parsing principal {0}")]
    Principal(String),
    /// The number of an `OutOf` cannot be.
    #[error("invalid t-out-of-n predicate, t {required}, n {alternatives}")]
    Threshold {
        /// How many are required.
        required: i64,
        /// How many there are.
        alternatives: usize,
    },
    /// An `OutOf` without anything to choose from.
    #[error("expected at least two arguments to NOutOf. Given {0}")]
    TooFewArguments(usize),
    /// An implicit meta policy that is not two words.
    #[error("expected two space separated tokens, but got {0}")]
    ImplicitMetaWords(usize),
    /// An implicit meta rule other than `ANY`, `ALL` and `MAJORITY`.
    #[error("unknown rule type '{0}', expected ALL, ANY, or MAJORITY")]
    ImplicitMetaRule(String),
}

/// What the grammar recognizes; meaning is checked afterwards.
enum Expression<'a> {
    Quoted(&'a str),
    Number(&'a str),
    Gate(&'a str, Vec<Expression<'a>>),
    Word(&'a str),
}

/// Parses a signature policy. Principals are listed one for each occurrence, in the order in which
/// Fabric evaluates the text: those of gates in a gate before the gate's own.
///
/// # Errors
/// [`DslError`] with Fabric's texts.
pub fn parse(text: &str) -> Result<SignaturePolicyEnvelope, DslError> {
    let invalid = || DslError::Invalid(text.to_owned());
    let mut input = text;
    let expression = terminated(expression(MAX_DEPTH), eof)
        .parse_next(&mut input)
        .map_err(|_| invalid())?;
    let mut identities = Vec::new();
    let rule = match &expression {
        Expression::Gate(..) => rule(&expression, &mut identities)?,
        Expression::Word(word) => return Err(DslError::UnrecognizedToken((*word).to_owned())),
        Expression::Quoted(_) | Expression::Number(_) => return Err(invalid()),
    };
    Ok(SignaturePolicyEnvelope {
        version: 0,
        rule: Some(rule),
        identities,
    })
}

/// Parses an implicit meta policy: a rule and a policy name with one space between.
///
/// # Errors
/// [`DslError`] with Fabric's texts.
pub fn parse_implicit_meta(text: &str) -> Result<ImplicitMetaPolicy, DslError> {
    let words: Vec<&str> = text.split(' ').collect();
    let [rule, sub_policy] = words[..] else {
        return Err(DslError::ImplicitMetaWords(words.len()));
    };
    let rule = match rule {
        "ALL" => Rule::All,
        "ANY" => Rule::Any,
        "MAJORITY" => Rule::Majority,
        other => return Err(DslError::ImplicitMetaRule(other.to_owned())),
    };
    Ok(ImplicitMetaPolicy {
        sub_policy: sub_policy.to_owned(),
        rule: rule.into(),
    })
}

/// A signature policy in the words of the language. What the language has no words for, such as an
/// organizational unit or one certificate, is told in round brackets, which [`parse`] refuses.
pub fn describe(policy: &SignaturePolicyEnvelope) -> String {
    describe_rule(policy.rule.as_ref(), &policy.identities)
}

/// Messages that nest deeper than a hundred do not decode, so this ends.
fn describe_rule(rule: Option<&SignaturePolicy>, identities: &[MspPrincipal]) -> String {
    match rule.and_then(|rule| rule.r#type.as_ref()) {
        None => "(nothing)".to_owned(),
        Some(Type::SignedBy(index)) => usize::try_from(*index)
            .ok()
            .and_then(|index| identities.get(index))
            .map_or_else(|| "(nobody)".to_owned(), describe_principal),
        Some(Type::NOutOf(gate)) => {
            let inner: Vec<String> = gate
                .rules
                .iter()
                .map(|rule| describe_rule(Some(rule), identities))
                .collect();
            let inner = inner.join(", ");
            match usize::try_from(gate.n) {
                Ok(1) => format!("OR({inner})"),
                Ok(n) if n == gate.rules.len() => format!("AND({inner})"),
                _ => format!("OutOf({}, {inner})", gate.n),
            }
        }
    }
}

fn describe_principal(principal: &MspPrincipal) -> String {
    let Ok(principal) = Principal::decode(principal) else {
        return "(unreadable principal)".to_owned();
    };
    describe_decoded(&principal)
}

fn describe_decoded(principal: &Principal) -> String {
    match principal {
        Principal::Role { msp_id, role } => match MspRoleType::try_from(*role) {
            Ok(role) => format!("'{msp_id}.{}'", role.as_str_name().to_ascii_lowercase()),
            Err(_) => format!("(role {role} of {msp_id})"),
        },
        Principal::Unit(unit) => format!(
            "(unit {} of {} under {})",
            unit.organizational_unit_identifier,
            unit.msp_identifier,
            hex::encode(&unit.certifiers_identifier)
        ),
        Principal::Identity(identity) => {
            match consilium_proto::decode::<SerializedIdentity>(identity) {
                Ok(identity) => {
                    let name = Certificate::from_pem(&identity.id_bytes).map_or_else(
                        |_| "unreadable certificate".to_owned(),
                        |certificate| certificate.describe(),
                    );
                    format!("({} of {})", name, identity.mspid)
                }
                Err(_) => "(unreadable identity)".to_owned(),
            }
        }
        Principal::Anonymous(_) => "(anonymity)".to_owned(),
        Principal::Combined(all) => {
            let all: Vec<String> = all.iter().map(describe_decoded).collect();
            format!("(one who is {})", all.join(" and "))
        }
    }
}

/// An implicit meta policy in two words, as [`parse_implicit_meta`] reads it.
pub fn describe_implicit_meta(policy: &ImplicitMetaPolicy) -> String {
    let rule = Rule::try_from(policy.rule).map_or_else(
        |_| format!("RULE{}", policy.rule),
        |rule| rule.as_str_name().to_owned(),
    );
    format!("{rule} {}", policy.sub_policy)
}

/// Deepest nesting of gates, so that hostile texts do not exhaust the stack; far above what a message
/// that nests can be decoded with.
const MAX_DEPTH: usize = 64;

fn expression<'a>(
    depth: usize,
) -> impl FnMut(&mut &'a str) -> Result<Expression<'a>, ErrMode<ContextError>> {
    move |input| {
        if depth == 0 {
            return Err(ErrMode::Cut(ContextError::new()));
        }
        delimited(
            multispace0,
            alt((quoted('\''), quoted('"'), number, gate_or_word(depth))),
            multispace0,
        )
        .parse_next(input)
    }
}

fn quoted<'a>(
    quote: char,
) -> impl FnMut(&mut &'a str) -> Result<Expression<'a>, ErrMode<ContextError>> {
    move |input| {
        delimited(
            quote,
            take_while(0.., move |character| character != quote),
            cut_err(quote),
        )
        .map(Expression::Quoted)
        .parse_next(input)
    }
}

fn number<'a>(input: &mut &'a str) -> Result<Expression<'a>, ErrMode<ContextError>> {
    (opt("-"), digit1)
        .take()
        .map(Expression::Number)
        .parse_next(input)
}

fn gate_or_word<'a>(
    depth: usize,
) -> impl FnMut(&mut &'a str) -> Result<Expression<'a>, ErrMode<ContextError>> {
    move |input| {
        let word = take_while(1.., |character: char| {
            character.is_alphanumeric() || "._-".contains(character)
        })
        .parse_next(input)?;
        multispace0.parse_next(input)?;
        if !input.starts_with('(') {
            return Ok(Expression::Word(word));
        }
        delimited(
            '(',
            separated(0.., expression(depth - 1), ','),
            (multispace0, cut_err(')')),
        )
        .map(|arguments| Expression::Gate(word, arguments))
        .parse_next(input)
    }
}

fn rule(
    expression: &Expression<'_>,
    identities: &mut Vec<MspPrincipal>,
) -> Result<SignaturePolicy, DslError> {
    match expression {
        Expression::Quoted(text) => {
            let index = i32::try_from(identities.len()).unwrap_or(i32::MAX);
            identities.push(principal(text)?);
            Ok(SignaturePolicy {
                r#type: Some(Type::SignedBy(index)),
            })
        }
        Expression::Number(digits) => Err(DslError::Principal((*digits).to_owned())),
        Expression::Word(word) => Err(DslError::UnrecognizedToken((*word).to_owned())),
        Expression::Gate(name, arguments) => {
            let (required, alternatives) = match *name {
                "AND" | "And" | "and" => (arguments.len() as i64, &arguments[..]),
                "OR" | "Or" | "or" => (1, &arguments[..]),
                "OUTOF" | "OutOf" | "outof" => outof_arguments(arguments)?,
                other => return Err(DslError::UnrecognizedToken(other.to_owned())),
            };
            if alternatives.is_empty() {
                return Err(DslError::TooFewArguments(
                    arguments.len() + usize::from(required == 1),
                ));
            }
            let threshold = DslError::Threshold {
                required,
                alternatives: alternatives.len(),
            };
            // One more than there are is allowed, and never satisfied.
            let n = i32::try_from(required).map_err(|_| threshold.clone())?;
            if n < 0 || required > alternatives.len() as i64 + 1 {
                return Err(threshold);
            }
            // Gates in a gate are evaluated before it, and so list their principals before its own.
            let mut rules = vec![SignaturePolicy::default(); alternatives.len()];
            for gates in [true, false] {
                for (place, argument) in rules.iter_mut().zip(alternatives) {
                    if matches!(argument, Expression::Gate(..)) == gates {
                        *place = rule(argument, identities)?;
                    }
                }
            }
            Ok(SignaturePolicy {
                r#type: Some(Type::NOutOf(NOutOf { n, rules })),
            })
        }
    }
}

fn outof_arguments<'a, 'b>(
    arguments: &'b [Expression<'a>],
) -> Result<(i64, &'b [Expression<'a>]), DslError> {
    let (required, alternatives) = match arguments {
        [] | [_] => return Err(DslError::TooFewArguments(arguments.len())),
        [first, rest @ ..] => (first, rest),
    };
    match required {
        Expression::Number(digits) | Expression::Quoted(digits) => digits
            .parse()
            .map(|required| (required, alternatives))
            .map_err(|_| DslError::Principal((*digits).to_owned())),
        Expression::Word(word) | Expression::Gate(word, _) => {
            Err(DslError::UnrecognizedToken((*word).to_owned()))
        }
    }
}

/// `MSP.role`; the last dot separates.
fn principal(text: &str) -> Result<MspPrincipal, DslError> {
    let unreadable = || DslError::Principal(text.to_owned());
    let (msp_id, role) = text.rsplit_once('.').ok_or_else(unreadable)?;
    let role = match role {
        "admin" => MspRoleType::Admin,
        "member" => MspRoleType::Member,
        "client" => MspRoleType::Client,
        "peer" => MspRoleType::Peer,
        "orderer" => MspRoleType::Orderer,
        _ => return Err(unreadable()),
    };
    let legal =
        |character: char| character.is_ascii_alphanumeric() || character == '.' || character == '-';
    if msp_id.is_empty() || !msp_id.chars().all(legal) {
        return Err(unreadable());
    }
    Ok(role_principal(msp_id, role))
}
