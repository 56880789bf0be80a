//! Who acts, the marks that make an organization endorse, and lists that are read page by page.

use serde::Serialize;

use crate::failure::Failure;
use crate::purge::own_collection;
use crate::request::{Call, to_json};

/// Entries of a page.
pub(super) const MAX_PAGE: usize = 200;

/// The caller's pseudonym (`hc.pid`).
///
/// # Errors
/// 403 `NO_PID`: where one decides about another, both have to be known.
pub(super) fn pid(call: &Call<'_>) -> Result<String, Failure> {
    call.stub
        .creator()
        .attribute("hc.pid")
        .map(str::to_owned)
        .ok_or_else(|| {
            Failure::forbidden(
                "NO_PID",
                format!("{} needs a certificate with hc.pid", call.function()),
            )
        })
}

/// Refuses callers of another organization than the one that this is about.
pub(super) fn need_org(call: &Call<'_>, code: &'static str, org: &str) -> Result<(), Failure> {
    if call.msp() == org {
        return Ok(());
    }
    Err(Failure::forbidden(
        code,
        format!(
            "{} is for {org}, the caller is {}",
            call.function(),
            call.msp()
        ),
    ))
}

/// Refuses a second thing under the same id with 409 `DUPLICATE`.
pub(super) fn unused(call: &mut Call<'_>, object_type: &str, id: &str) -> Result<(), Failure> {
    if call.exists(object_type, &[id])? {
        return Err(Failure::conflict(
            "DUPLICATE",
            format!("{object_type} {id} exists"),
        ));
    }
    Ok(())
}

/// The number after this one.
///
/// # Errors
/// 422 `COUNT_LIMIT`.
pub(super) fn next(count: u32) -> Result<u32, Failure> {
    count
        .checked_add(1)
        .ok_or_else(|| Failure::rule("COUNT_LIMIT", format!("{count} is the largest count")))
}

#[derive(Serialize)]
struct Mark<'a> {
    by: &'a str,
    tx: &'a str,
}

/// Leaves a mark in the implicit collections of organizations, so that their peers have to
/// endorse: what binds them cannot be forged without them. The mark says who called, and holds
/// nothing secret.
pub(super) fn mark(call: &mut Call<'_>, msps: &[&str], key: &str) -> Result<(), Failure> {
    let value = to_json(&Mark {
        by: call.msp(),
        tx: call.stub.tx_id(),
    });
    for msp in msps {
        call.stub.put_private(&own_collection(msp), key, &value)?;
    }
    Ok(())
}

/// The last attributes of a page of keys, and the bookmark when there are more.
pub(super) fn ids(
    call: &mut Call<'_>,
    object_type: &str,
    owner: &[&str],
    bookmark: Option<&str>,
) -> Result<(Vec<String>, Option<String>), Failure> {
    Ok(call.page(object_type, owner, bookmark, MAX_PAGE)?.ids())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counting_ends_with_an_error() {
        assert_eq!(next(u32::MAX - 1).unwrap(), u32::MAX);
        assert_eq!(next(u32::MAX).unwrap_err().code, "COUNT_LIMIT");
    }
}
