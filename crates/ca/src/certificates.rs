//! Listing the certificates that were issued (fabric-ca: `lib/servercertificates.go`).

use std::sync::Arc;

use crate::authority::now;
use crate::ca::Ca;
use crate::error::{Refusal, code};
use crate::identities::boolean;
use crate::listing::{Listing, Rows};
use crate::registrar;
use crate::server::{Call, Granted};
use crate::store::{CertificateFilter, Identity, Times};

const DAY: i64 = 24 * 3600;

impl Ca {
    /// `GET /certificates`; Fabric CA knows `DELETE`, and does nothing with it.
    pub(crate) fn certificates(
        self: &Arc<Self>,
        caller: &Identity,
        call: &Call,
    ) -> Result<Granted, Refusal> {
        let revoker = || {
            caller
                .attribute(registrar::REVOKER)
                .and_then(registrar::boolean)
        };
        if registrar::roles(caller).is_none() && revoker() != Some(true) {
            return Err(Refusal::authorization(
                code::AUTHORIZATION_FAILURE,
                "Caller does not posses either hf.Registrar.Roles or hf.Revoker attribute",
            ));
        }
        if call.method != "GET" {
            let message = "DELETE Not Implemented";
            return Err(Refusal::new(500, code::UNKNOWN, message));
        }
        let mut filter = filter(call, now()).map_err(|reason| {
            let message = format!("Invalid Request: {reason}");
            Refusal::new(400, code::GETTING_CERTIFICATES, message)
        })?;
        filter.affiliation.clone_from(&caller.affiliation);
        Listing::begin(self, Rows::Certificates(filter), call.query("ca"))
    }
}

/// What the query asks for at the time `now`; the reason if it is not understood.
fn filter(call: &Call, now: i64) -> Result<CertificateFilter, String> {
    let time = |name: &str, shown: &str| {
        let text = call.query(name);
        if text.is_empty() {
            return Ok(None);
        }
        moment(text, now)
            .map(Some)
            .map_err(|reason| format!("Invalid '{shown}' value: {reason}"))
    };
    let revoked = Times {
        from: time("revoked_start", "revoked_begin")?,
        to: time("revoked_end", "revoked_end")?,
    };
    let mut expired = Times {
        from: time("expired_start", "expired_begin")?,
        to: time("expired_end", "expired_end")?,
    };
    let flag = |name: &str| boolean(call, name).map_err(|refusal| refusal.local.1);
    let (not_revoked, not_expired) = (flag("notrevoked")?, flag("notexpired")?);
    let clash = |what: &str, name: &str| {
        Err(format!(
            "Can't specify {what} time filter and the '{name}' filter"
        ))
    };
    if not_expired && expired != Times::default() {
        return clash("expiration", "notexpired");
    }
    if not_revoked && revoked != Times::default() {
        return clash("revocation", "notrevoked");
    }
    if not_expired {
        expired.from = Some(now);
    }
    let number = |name: &str| {
        call.query(name)
            .to_lowercase()
            .trim_start_matches('0')
            .to_owned()
    };
    Ok(CertificateFilter {
        affiliation: String::new(),
        id: call.query("id").to_owned(),
        serial: number("serial"),
        authority_key_id: number("aki"),
        expired,
        revoked,
        not_revoked,
    })
}

/// A moment in Unix seconds: a date, a date with a time (RFC 3339), or a span from `now`, for
/// instance `-30d` or `+2h30m`; the reason if it is none of these.
fn moment(text: &str, now: i64) -> Result<i64, String> {
    if text.starts_with(['+', '-']) {
        let text = text.to_lowercase();
        if text.ends_with('y') {
            return Err(format!(
                "Invalid time format, year (y) is not supported, please check: {text}"
            ));
        }
        return Ok(now.saturating_add(span(&text)?));
    }
    let complete = match text.contains('T') {
        true => text.to_owned(),
        false => format!("{text}T00:00:00Z"),
    };
    let parsed: Result<jiff::Timestamp, _> = complete.parse();
    parsed
        .map(|moment| moment.as_second())
        .map_err(|error| format!("Failed to parse time based on RFC3339: {error}"))
}

/// Seconds of a signed span of time: days, or else Go's durations.
fn span(text: &str) -> Result<i64, String> {
    let failed = || format!("Failed to parse duration: time: invalid duration \"{text}\"");
    let (sign, digits) = match text.split_at_checked(1) {
        Some(("-", rest)) => (-1, rest),
        Some((_, rest)) => (1, rest),
        None => return Err(failed()),
    };
    if let Some(days) = digits.strip_suffix('d') {
        let days: i64 = days.parse().map_err(|_| {
            format!(
                "Invalid time format, integer values required for duration, please check: {text}"
            )
        })?;
        return days
            .checked_mul(DAY)
            .map(|seconds| sign * seconds)
            .ok_or_else(failed);
    }
    let mut rest = digits;
    let mut seconds = 0.0;
    while !rest.is_empty() {
        let end = rest
            .find(|letter: char| !letter.is_ascii_digit() && letter != '.')
            .ok_or_else(failed)?;
        let (number, after) = rest.split_at(end);
        let number: f64 = number.parse().map_err(|_| failed())?;
        let unit_end = after
            .find(|letter: char| letter.is_ascii_digit() || letter == '.')
            .unwrap_or(after.len());
        let (unit, after) = after.split_at(unit_end);
        seconds += number
            * match unit {
                "h" => 3600.0,
                "m" => 60.0,
                "s" => 1.0,
                "ms" => 1e-3,
                "us" | "µs" | "μs" => 1e-6,
                "ns" => 1e-9,
                _ => return Err(failed()),
            };
        rest = after;
    }
    // `as` saturates; text of no digits at all is not a span.
    #[allow(clippy::cast_possible_truncation)]
    let whole = seconds as i64;
    if digits.is_empty() {
        return Err(failed());
    }
    Ok(sign * whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_dates_times_or_spans_from_now() {
        let now = 1_000_000;
        let cases = [
            ("2018-01-01", Some(1_514_764_800)),
            ("2018-01-01T01:30:00Z", Some(1_514_770_200)),
            ("2018-01-01T01:30:00+01:00", Some(1_514_766_600)),
            ("+1d", Some(now + 86_400)),
            ("-30D", Some(now - 30 * 86_400)),
            ("+2h30m", Some(now + 9_000)),
            ("-1.5h", Some(now - 5_400)),
            ("+10s", Some(now + 10)),
            ("+1y", None),
            ("+1xd", None),
            ("+", None),
            ("-h", None),
            ("+5", None),
            ("yesterday", None),
            ("2018-13-01", None),
        ];
        for (text, expected) in cases {
            assert_eq!(moment(text, now).ok(), expected, "{text}");
        }
    }

    #[test]
    fn filters_that_contradict_each_other_are_refused() {
        let call = |pairs: &[(&str, &str)]| Call {
            query: pairs
                .iter()
                .map(|(name, value)| ((*name).into(), (*value).into()))
                .collect(),
            ..Call::default()
        };
        for pairs in [
            [("notexpired", "true"), ("expired_start", "+1d")],
            [("notrevoked", "true"), ("revoked_end", "+1d")],
            [("notrevoked", "perhaps"), ("id", "a")],
            [("revoked_start", "x"), ("id", "a")],
        ] {
            assert!(filter(&call(&pairs), 0).is_err(), "{pairs:?}");
        }
        let asked = filter(
            &call(&[("serial", "00AB"), ("aki", "0c"), ("notexpired", "true")]),
            7,
        )
        .unwrap();
        assert_eq!(
            (asked.serial.as_str(), asked.authority_key_id.as_str()),
            ("ab", "c")
        );
        assert_eq!(asked.expired.from, Some(7));
    }
}
