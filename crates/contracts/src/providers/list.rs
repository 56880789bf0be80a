//! Questions about what is registered. All of it is public on the channel.

use serde::{Deserialize, Serialize};

use super::credential::MAX_CREDENTIALS;
use super::life::load;
use super::model::{Credential, Facility, Licence, Org};
use super::organization::MAX_LICENCES;
use crate::failure::Failure;
use crate::fields;
use crate::key::split_composite_key;
use crate::request::{Call, Outcome, decode};
use crate::stub::StubError;

/// Entries that one page answers at most.
pub(super) const MAX_PAGE: usize = 200;

/// Between the attributes of a bookmark; no id has it.
const SEPARATOR: char = '~';

/// The licences of an organization, in any state.
pub(super) fn licences_of(call: &mut Call<'_>, msp: &str) -> Result<Vec<Licence>, Failure> {
    let found = call.stub.range_composite("lic", &[msp], MAX_LICENCES)?;
    found
        .iter()
        .map(|entry| decode("licence", &entry.value))
        .collect()
}

/// The credentials of a practitioner at an organization, in any state.
pub(super) fn credentials_of(
    call: &mut Call<'_>,
    pid: &str,
    msp: &str,
) -> Result<Vec<Credential>, Failure> {
    let index = call
        .stub
        .range_composite("credOf", &[pid, msp], MAX_CREDENTIALS)?;
    let mut credentials = Vec::with_capacity(index.len());
    for entry in index {
        let (_, attributes) = split_composite_key(&entry.key).map_err(StubError::from)?;
        let id = attributes.last().copied().unwrap_or_default();
        credentials.extend(call.load::<Credential>("cred", &[id])?);
    }
    Ok(credentials)
}

/// Whether anybody has applied for a practitioner.
pub(super) fn has_credential(call: &mut Call<'_>, pid: &str) -> Result<bool, Failure> {
    Ok(!call.stub.range_composite("credOf", &[pid], 1)?.is_empty())
}

/// One page of what follows `prefix` in keys of a type: the attributes after it, and the bookmark
/// when there are more.
fn page(
    call: &mut Call<'_>,
    object_type: &str,
    prefix: &[&str],
    bookmark: Option<&str>,
) -> Result<(Vec<Vec<String>>, Option<String>), Failure> {
    let after = bookmark.into_iter().flat_map(|it| it.split(SEPARATOR));
    let found = call.page(object_type, prefix, after, MAX_PAGE)?;
    let rests: Vec<Vec<String>> = found
        .entries
        .into_iter()
        .map(|entry| entry.attributes.into_iter().skip(prefix.len()).collect())
        .collect();
    let bookmark = rests
        .last()
        .filter(|_| found.more)
        .map(|last| last.join(&SEPARATOR.to_string()));
    Ok((rests, bookmark))
}

#[derive(Serialize)]
struct Page<T> {
    entries: Vec<T>,
    /// Give it back to get what follows; absent at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    bookmark: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ByMsp {
    msp: String,
}

#[derive(Serialize)]
struct OrgWithLicences {
    #[serde(flatten)]
    org: Org,
    licences: Vec<Licence>,
}

pub(super) fn read_org(call: &mut Call<'_>) -> Result<Outcome, Failure> {
    let args: ByMsp = call.args()?;
    fields::msp("msp", &args.msp)?;
    let org = load(call, &[&args.msp])?;
    let licences = licences_of(call, &args.msp)?;
    Ok(Outcome::of(&OrgWithLicences { org, licences }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct All {
    #[serde(default)]
    bookmark: Option<String>,
}

pub(super) fn orgs(call: &mut Call<'_>) -> Result<Outcome, Failure> {
    let args: All = call.args()?;
    let (found, bookmark) = page(call, "org", &[], args.bookmark.as_deref())?;
    let entries = found
        .iter()
        .flatten()
        .map(|msp| load::<Org>(call, &[msp]))
        .collect::<Result<_, _>>()?;
    Ok(Outcome::of(&Page { entries, bookmark }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ById {
    id: String,
}

pub(super) fn read_facility(call: &mut Call<'_>) -> Result<Outcome, Failure> {
    let args: ById = call.args()?;
    fields::id("id", &args.id)?;
    Ok(Outcome::of(&load::<Facility>(call, &[&args.id])?))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OfMsp {
    msp: String,
    #[serde(default)]
    bookmark: Option<String>,
}

pub(super) fn facilities(call: &mut Call<'_>) -> Result<Outcome, Failure> {
    let args: OfMsp = call.args()?;
    fields::msp("msp", &args.msp)?;
    let (found, bookmark) = page(call, "facOf", &[&args.msp], args.bookmark.as_deref())?;
    let entries = found
        .iter()
        .flatten()
        .map(|id| load::<Facility>(call, &[id]))
        .collect::<Result<_, _>>()?;
    Ok(Outcome::of(&Page { entries, bookmark }))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ByCredential {
    cred_id: String,
}

pub(super) fn read_credential(call: &mut Call<'_>) -> Result<Outcome, Failure> {
    let args: ByCredential = call.args()?;
    fields::id("credId", &args.cred_id)?;
    Ok(Outcome::of(&load::<Credential>(call, &[&args.cred_id])?))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ListCredentials {
    #[serde(default)]
    org: Option<String>,
    #[serde(default)]
    role: Option<String>,
    #[serde(default)]
    pid: Option<String>,
    #[serde(default)]
    bookmark: Option<String>,
}

/// Of one organization, of one role, or of one practitioner.
pub(super) fn credentials(call: &mut Call<'_>) -> Result<Outcome, Failure> {
    let args: ListCredentials = call.args()?;
    let (index, owner) = match (&args.org, &args.role, &args.pid) {
        (Some(org), None, None) => ("byOrg", org),
        (None, Some(role), None) => ("byRole", role),
        (None, None, Some(pid)) => ("credOf", pid),
        _ => {
            return Err(Failure::malformed(
                "ListCredentials takes one of org, role and pid",
            ));
        }
    };
    fields::code("org, role or pid", owner)?;
    let (found, bookmark) = page(call, index, &[owner], args.bookmark.as_deref())?;
    let entries = found
        .iter()
        .filter_map(|rest| rest.last())
        .map(|id| load::<Credential>(call, &[id]))
        .collect::<Result<_, _>>()?;
    Ok(Outcome::of(&Page { entries, bookmark }))
}
