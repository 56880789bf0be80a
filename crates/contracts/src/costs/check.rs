//! What becomes of a claim when it comes in: a function of what was found about it.

use super::model::ClaimState;
use super::private::When;

/// Whether a billing id and control number were seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Control {
    #[default]
    New,
    /// With a claim of the same member.
    Seen,
    /// With a claim of another member.
    OtherMember,
}

/// What was found about one line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct LineFacts {
    pub when: When,
    /// Within the coverage that the payer confirmed.
    pub covered: bool,
    /// Its charge is on another live claim, or twice on this one.
    pub billed: bool,
    /// The same patient, day and code are on another live claim or line, and no modifier says that
    /// the service was repeated.
    pub suspect: bool,
}

/// What was found about a claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Facts {
    pub codes_known: bool,
    pub total_fits: bool,
    pub control: Control,
    pub lines: Vec<LineFacts>,
}

/// The state of the new claim and every verdict on it, the weightiest first.
pub(super) fn judge(facts: &Facts) -> (ClaimState, Vec<&'static str>) {
    let any = |test: &dyn Fn(&LineFacts) -> bool| facts.lines.iter().any(test);
    let refusals = [
        ("CODE", !facts.codes_known),
        ("TOTAL", !facts.total_fits),
        ("COVERAGE", any(&|line| !line.covered)),
        ("DUPLICATE", facts.control != Control::New),
        (
            "CONTROL_NUMBER_REUSED",
            facts.control == Control::OtherMember,
        ),
        ("DOUBLE_BILLED", any(&|line| line.billed)),
        ("AFTER_DEATH", any(&|line| line.when == When::AfterDeath)),
        ("OUTSIDE_STAY", any(&|line| line.when == When::OutsideStay)),
    ];
    let suspicions = [("SUSPECT_DUPLICATE", any(&|line| line.suspect))];
    let state = if refusals.iter().any(|(_, found)| *found) {
        ClaimState::Rejected
    } else if suspicions.iter().any(|(_, found)| *found) {
        ClaimState::Pended
    } else {
        ClaimState::Submitted
    };
    let codes = refusals
        .into_iter()
        .chain(suspicions)
        .filter_map(|(code, found)| found.then_some(code))
        .collect();
    (state, codes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_finding_has_its_verdict() {
        let line = LineFacts {
            when: When::InStay,
            covered: true,
            billed: false,
            suspect: false,
        };
        let good = Facts {
            codes_known: true,
            total_fits: true,
            control: Control::New,
            lines: vec![line, line],
        };
        let with = |second: LineFacts| Facts {
            lines: vec![line, second],
            ..good.clone()
        };
        use ClaimState::{Pended, Rejected, Submitted};
        let cases: Vec<(Facts, ClaimState, &[&str])> = vec![
            (good.clone(), Submitted, &[]),
            (
                Facts {
                    codes_known: false,
                    ..good.clone()
                },
                Rejected,
                &["CODE"],
            ),
            (
                Facts {
                    total_fits: false,
                    ..good.clone()
                },
                Rejected,
                &["TOTAL"],
            ),
            (
                Facts {
                    control: Control::Seen,
                    ..good.clone()
                },
                Rejected,
                &["DUPLICATE"],
            ),
            (
                Facts {
                    control: Control::OtherMember,
                    ..good.clone()
                },
                Rejected,
                &["DUPLICATE", "CONTROL_NUMBER_REUSED"],
            ),
            (
                with(LineFacts {
                    covered: false,
                    ..line
                }),
                Rejected,
                &["COVERAGE"],
            ),
            (
                with(LineFacts {
                    billed: true,
                    suspect: true,
                    ..line
                }),
                Rejected,
                &["DOUBLE_BILLED", "SUSPECT_DUPLICATE"],
            ),
            (
                with(LineFacts {
                    when: When::AfterDeath,
                    ..line
                }),
                Rejected,
                &["AFTER_DEATH"],
            ),
            (
                with(LineFacts {
                    when: When::OutsideStay,
                    ..line
                }),
                Rejected,
                &["OUTSIDE_STAY"],
            ),
            (
                with(LineFacts {
                    suspect: true,
                    ..line
                }),
                Pended,
                &["SUSPECT_DUPLICATE"],
            ),
        ];
        for (facts, state, codes) in cases {
            assert_eq!(judge(&facts), (state, codes.to_vec()), "{facts:?}");
        }
    }
}
