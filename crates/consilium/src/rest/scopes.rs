//! Which scopes a member may have: those it wants, within what its certificate's `hc.scope` allows.

use consilium_fhir::Scope;

/// The wanted scopes (separated by spaces) that are within the bound (the same form), in the order
/// in which they were wanted. Without a bound, all of them. What is no scope on resources is left
/// away, so that nobody takes `openid` for granted.
pub fn granted(wanted: &str, bound: Option<&str>) -> String {
    let allowed: Option<Vec<Scope>> =
        bound.map(|bound| scopes(bound).map(|(_, outer)| outer).collect());
    let kept: Vec<_> = scopes(wanted)
        .filter(|(_, scope)| {
            allowed
                .as_ref()
                .is_none_or(|allowed| allowed.iter().any(|outer| scope.is_within(outer)))
        })
        .map(|(text, _)| text)
        .collect();
    kept.join(" ")
}

fn scopes(text: &str) -> impl Iterator<Item = (&str, Scope)> {
    text.split_ascii_whitespace()
        .filter_map(|scope| Some((scope, scope.parse().ok()?)))
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
