//! Which codes an episode is charged for, under keyed hashes: what makes packages, their parts and
//! repetitions exclude one another.

use super::charge::{MAX_CHARGES, is_repeat, seq_text};
use super::pair::Pepper;
use super::private::ChargeLine;
use crate::failure::Failure;
use crate::key::composite_key;
use crate::request::Call;

/// The keyed hashes that stand for a code in an episode, and for it on a day. They are of one
/// episode, so that equal codes of two episodes look different.
struct Places {
    code: String,
    day: String,
}

fn places(pepper: &Pepper, epi: &str, line: &ChargeLine) -> Places {
    Places {
        code: code_tag(pepper, epi, &line.system, &line.code),
        day: pepper.tag(
            "day",
            &[epi, &line.system, &line.code, &line.date.to_string()],
        ),
    }
}

fn code_tag(pepper: &Pepper, epi: &str, system: &str, code: &str) -> String {
    pepper.tag("code", &[epi, system, code])
}

/// Whether another charge of the episode excludes this one: a package with its parts on either
/// side (`UNBUNDLED`), or the same code on the same day without a modifier for repetition
/// (`DOUBLE_CHARGE`).
pub(super) fn conflict(
    call: &mut Call<'_>,
    pepper: &Pepper,
    epi: &str,
    line: &ChargeLine,
    parts: &[String],
) -> Result<Option<&'static str>, Failure> {
    let here = places(pepper, epi, line);
    if !call
        .stub
        .range_composite("part", &[&here.code], 1)?
        .is_empty()
    {
        return Ok(Some("UNBUNDLED"));
    }
    for part in parts {
        let tag = code_tag(pepper, epi, &line.system, part);
        if !call.stub.range_composite("code", &[&tag], 1)?.is_empty() {
            return Ok(Some("UNBUNDLED"));
        }
    }
    if is_repeat(&line.modifiers) {
        return Ok(None);
    }
    let same = call
        .stub
        .range_composite("code", &[&here.code], MAX_CHARGES as usize)?;
    let twice = same
        .iter()
        .any(|entry| entry.value.as_ref() == here.day.as_bytes());
    Ok(twice.then_some("DOUBLE_CHARGE"))
}

/// Notes that a charge is there.
pub(super) fn occupy(
    call: &mut Call<'_>,
    pepper: &Pepper,
    epi: &str,
    seq: u32,
    line: &ChargeLine,
    parts: &[String],
) -> Result<(), Failure> {
    let here = places(pepper, epi, line);
    let key = composite_key("code", &[&here.code, &seq_text(seq)])?;
    call.stub.put_state(&key, here.day.as_bytes())?;
    for part in parts {
        let tag = code_tag(pepper, epi, &line.system, part);
        call.index("part", &[&tag, &seq_text(seq)])?;
    }
    Ok(())
}

/// Undoes [`occupy`].
pub(super) fn vacate(
    call: &mut Call<'_>,
    pepper: &Pepper,
    epi: &str,
    seq: u32,
    line: &ChargeLine,
    parts: &[String],
) -> Result<(), Failure> {
    let here = places(pepper, epi, line);
    call.unindex("code", &[&here.code, &seq_text(seq)])?;
    for part in parts {
        let tag = code_tag(pepper, epi, &line.system, part);
        call.unindex("part", &[&tag, &seq_text(seq)])?;
    }
    Ok(())
}
