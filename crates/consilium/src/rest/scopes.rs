//! Which scopes a member may have: those it wants, within what its certificate's `hc.scope` allows.

use consilium_fhir::Scope;

/// The wanted scopes (separated by spaces) that are within the bound (the same form), in the order
/// in which they were wanted. Without a bound, all of them. What is no scope on resources is left
/// away, so that nobody takes `openid` for granted.
pub fn granted(wanted: &str, bound: Option<&str>) -> String {
    let allowed: Option<Vec<&str>> = bound.map(|bound| bound.split_ascii_whitespace().collect());
    let kept: Vec<_> = wanted
        .split_ascii_whitespace()
        .filter(|scope| scope.parse::<Scope>().is_ok())
        .filter(|scope| {
            allowed
                .as_ref()
                .is_none_or(|allowed| allowed.iter().any(|outer| is_within(scope, outer)))
        })
        .collect();
    kept.join(" ")
}

/// Whether a scope permits nothing that the other does not.
fn is_within(inner: &str, outer: &str) -> bool {
    let (Some(inner), Some(outer)) = (parts(inner), parts(outer)) else {
        return false;
    };
    inner.0 == outer.0
        && (outer.1 == "*" || inner.1 == outer.1)
        && inner.2.chars().all(|action| outer.2.contains(action))
}

/// Context, type and actions in the letters of SMART 2.
fn parts(scope: &str) -> Option<(&str, &str, &str)> {
    let (context, rest) = scope.split_once('/')?;
    let (kind, actions) = rest.split_once('.')?;
    let actions = match actions {
        "read" => "rs",
        "write" => "cud",
        "*" => "cruds",
        other => other,
    };
    Some((context, kind, actions))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wanted_stays_within_the_certificates_bound() {
        let all = Some("user/*.cruds");
        for (wanted, bound, kept) in [
            ("user/Observation.rs openid", None, "user/Observation.rs"),
            ("user/Observation.rs", all, "user/Observation.rs"),
            ("system/Observation.rs", all, ""),
            (
                "user/Observation.read",
                Some("user/Observation.rs"),
                "user/Observation.read",
            ),
            ("user/Observation.cruds", Some("user/Observation.rs"), ""),
            ("user/*.rs", Some("user/Observation.rs"), ""),
            (
                "user/Claim.c user/Device.r",
                Some("user/Device.* patient/*.r"),
                "user/Device.r",
            ),
            ("", None, ""),
            ("user/*.rs", Some(""), ""),
        ] {
            assert_eq!(granted(wanted, bound), kept, "{wanted} within {bound:?}");
        }
    }
}
