//! Who sees the audit entries: all of them the subject and the auditor, single ones the parties.

use serde::{Deserialize, Serialize};

use super::access::load;
use super::consent::voice;
use super::model::Access;
use super::register::MAX_PAGE;
use crate::failure::Failure;
use crate::fields;
use crate::key::composite_key;
use crate::paging::behind;
use crate::request::{Call, Outcome};
use crate::roles::Part;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ReadAccess {
    access_id: String,
}

/// For the requester's organization, the custodian, regulators and the subject; to all others the
/// entry does not exist.
pub(super) fn read(call: &mut Call<'_>) -> Result<Outcome, Failure> {
    let args: ReadAccess = call.args()?;
    let access = load(call, &args.access_id)?;
    let msp = call.msp().to_owned();
    let person = matches!(call.role(), Some("patient" | "guardian"));
    let visible = if person {
        voice(call, &access.sid)?.is_some()
    } else {
        access.org == msp || access.custodian == msp || call.config()?.plays(&msp, Part::Regulator)
    };
    if !visible {
        return Err(Failure::not_found(format!("no access {}", args.access_id)));
    }
    Ok(Outcome::of(&access))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Accounting {
    sid: String,
    #[serde(default)]
    from: Option<i64>,
    #[serde(default)]
    to: Option<i64>,
    #[serde(default)]
    bookmark: Option<String>,
}

#[derive(Serialize)]
struct Accounts {
    entries: Vec<Access>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bookmark: Option<String>,
}

/// Every decision about a subject's documents, oldest first.
pub(super) fn accounting(call: &mut Call<'_>) -> Result<Outcome, Failure> {
    let args: Accounting = call.args()?;
    fields::sid("sid", &args.sid)?;
    if voice(call, &args.sid)?.is_none() {
        call.require(&[Part::Regulator], &["auditor"])?;
    }
    let from = fields::sortable(args.from.unwrap_or(0));
    let to = fields::sortable(args.to.unwrap_or(999_999_999_999));
    let end = composite_key("accessOf", &[&args.sid, &to])?;
    let start = match &args.bookmark {
        Some(bookmark) => {
            let (time, id) = bookmark
                .split_once('~')
                .ok_or_else(|| Failure::malformed("bookmark is what the page before gave"))?;
            behind("accessOf", &[&args.sid, time, id])?
        }
        None => composite_key("accessOf", &[&args.sid, &from])?,
    };
    let found = call.page_between(&start, &end, MAX_PAGE)?;
    let mut entries = Vec::with_capacity(found.entries.len());
    let mut last = None;
    for entry in &found.entries {
        if let [_, time, id] = &entry.attributes[..] {
            entries.push(load(call, id)?);
            last = Some(format!("{time}~{id}"));
        }
    }
    let bookmark = last.filter(|_| found.more);
    Ok(Outcome::of(&Accounts { entries, bookmark }))
}
