//! What a scanned carrier is worth: the first verdict of an ordered list that applies.
//!
//! Counterfeits are mostly well-formed copies: the state of the unit says more than the digits.

use jiff::civil::Date;
use serde::Deserialize;

use super::model::{
    Lot, Product, ProductState, Step, Suspicion, Unit, UnitId, UnitState, after, no_lot,
};
use super::recall::open_recalls;
use crate::failure::Failure;
use crate::fields::{self, date_of};
use crate::request::{Call, Outcome};
use crate::udi::{self, CarrierError, Udi};

/// The verdicts in the order in which they are tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Malformed,
    BadCheckDigit,
    UnknownDi,
    NotCertified,
    MissingPi,
    UnknownLot,
    UnknownSerial,
    DateMismatch,
    Recalled,
    Expired,
    AlreadyUsed,
    WrongHolder,
    Ok,
}

impl Verdict {
    pub fn code(self) -> &'static str {
        match self {
            Verdict::Malformed => "MALFORMED",
            Verdict::BadCheckDigit => "BAD_CHECK_DIGIT",
            Verdict::UnknownDi => "UNKNOWN_DI",
            Verdict::NotCertified => "NOT_CERTIFIED",
            Verdict::MissingPi => "MISSING_PI",
            Verdict::UnknownLot => "UNKNOWN_LOT",
            Verdict::UnknownSerial => "UNKNOWN_SERIAL",
            Verdict::DateMismatch => "DATE_MISMATCH",
            Verdict::Recalled => "RECALLED",
            Verdict::Expired => "EXPIRED",
            Verdict::AlreadyUsed => "ALREADY_USED",
            Verdict::WrongHolder => "WRONG_HOLDER",
            Verdict::Ok => "OK",
        }
    }
}

/// What the ledger knows about a carrier.
#[derive(Default)]
pub(crate) struct Known {
    pub product: Option<Product>,
    pub lot: Option<Lot>,
    pub unit: Option<Unit>,
    pub recalled: bool,
}

/// Judges a well-formed carrier. Pure.
pub(crate) fn judge(udi: &Udi, known: &Known, org: &str, today: Date) -> Verdict {
    let Some(product) = &known.product else {
        return Verdict::UnknownDi;
    };
    if product.state != ProductState::Certified {
        return Verdict::NotCertified;
    }
    let label = product.label;
    let missing = (label.lot && udi.lot.is_none())
        || (label.serial && udi.serial.is_none())
        || (label.made && udi.made.is_none())
        || (label.expires && udi.expires.is_none());
    if missing {
        return Verdict::MissingPi;
    }
    let Some(lot) = &known.lot else {
        return Verdict::UnknownLot;
    };
    if udi.serial.is_some() && known.unit.is_none() {
        return Verdict::UnknownSerial;
    }
    let differs = |printed: Option<Date>, registered: Option<Date>| {
        printed.is_some() && printed != registered
    };
    if differs(udi.made, lot.made) || differs(udi.expires, lot.expires) {
        return Verdict::DateMismatch;
    }
    if known.recalled {
        return Verdict::Recalled;
    }
    if lot.expires.is_some_and(|last_day| today > last_day) {
        return Verdict::Expired;
    }
    if let Some(unit) = &known.unit {
        if unit.used || unit.state.is_used() {
            return Verdict::AlreadyUsed;
        }
        let expected = match unit.state {
            UnitState::InTransit => unit.to.as_deref() == Some(org) || unit.holder == org,
            _ => unit.holder == org,
        };
        if !expected {
            return Verdict::WrongHolder;
        }
    }
    Verdict::Ok
}

/// A carrier with what was found out about it.
pub(super) struct Scanned {
    pub verdict: Verdict,
    pub udi: Option<Udi>,
    pub unit: Option<Unit>,
}

/// Reads a carrier and everything that the verdict depends on.
pub(super) fn scan(call: &mut Call<'_>, carrier: &str) -> Result<Scanned, Failure> {
    let today = date_of(call.now);
    let udi = match udi::parse(carrier, today.year()) {
        Ok(udi) => udi,
        Err(error) => {
            let verdict = match error {
                CarrierError::Malformed(_) => Verdict::Malformed,
                CarrierError::CheckDigit(_) => Verdict::BadCheckDigit,
            };
            return Ok(Scanned {
                verdict,
                udi: None,
                unit: None,
            });
        }
    };
    let lot_name = udi.lot.clone().unwrap_or_else(no_lot);
    let mut known = Known {
        product: call.load("prod", &[&udi.di])?,
        ..Known::default()
    };
    if known.product.is_some() {
        known.lot = call.load("lot", &[&udi.di, &lot_name])?;
    }
    if known.lot.is_some() {
        if let Some(serial) = &udi.serial {
            known.unit = call.load("unit", &[&udi.di, &lot_name, serial])?;
        }
        known.recalled = open_recalls(call, &udi.di)?
            .iter()
            .any(|recall| recall.scope.covers(&lot_name, udi.serial.as_deref()));
    }
    let verdict = judge(&udi, &known, call.msp(), today);
    Ok(Scanned {
        verdict,
        udi: Some(udi),
        unit: known.unit,
    })
}

/// Leaves evidence of a scan that was not OK. `nth` tells apart several of one transaction.
pub(super) fn note(
    call: &mut Call<'_>,
    scanned: &Scanned,
    place: Option<&str>,
    nth: usize,
) -> Result<(), Failure> {
    let (di, lot, serial) = match &scanned.udi {
        Some(udi) => (udi.di.as_str(), udi.lot.clone(), udi.serial.clone()),
        None => ("unknown", None, None),
    };
    let suspicion = Suspicion {
        code: scanned.verdict.code().to_owned(),
        org: call.msp().to_owned(),
        place: place.map(str::to_owned),
        lot,
        serial,
        at: call.now,
    };
    let tx_id = call.stub.tx_id().to_owned();
    let nth = format!("{nth:03}");
    call.store("susp", &[di, &tx_id, &nth], &suspicion)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ScanUdi {
    carrier: String,
    place: String,
}

pub(super) fn scan_udi(call: &mut Call<'_>) -> Result<Outcome, Failure> {
    let args: ScanUdi = call.args()?;
    fields::code("place", &args.place)?;
    let scanned = scan(call, &args.carrier)?;
    let code = scanned.verdict.code();
    if scanned.verdict != Verdict::Ok {
        note(call, &scanned, Some(&args.place), 0)?;
    }
    let mut state = "Scanned";
    let mut holder = String::new();
    if let Some(unit) = &scanned.unit {
        state = unit.state.name();
        holder.clone_from(&unit.holder);
        let suspect = !matches!(scanned.verdict, Verdict::Ok | Verdict::WrongHolder);
        // Another's scan never writes the unit's key: its holder gets the event.
        if suspect && unit.holder == call.msp() && after(Step::Quarantine, unit.state).is_some() {
            let mut unit = unit.clone();
            unit.step(Step::Quarantine, call.now)?;
            unit.note = Some(code.to_owned());
            call.store("unit", &unit.id.key(), &unit)?;
            state = unit.state.name();
        }
    }
    let id = match &scanned.udi {
        Some(udi) => UnitId {
            di: udi.di.clone(),
            lot: udi.lot.clone().unwrap_or_else(no_lot),
            serial: udi.serial.clone().unwrap_or_else(no_lot),
        }
        .to_string(),
        None => "unknown".to_owned(),
    };
    let decision = if scanned.verdict == Verdict::Ok {
        "Accepted"
    } else {
        "Suspicious"
    };
    Ok(Outcome::verdict(&id, state, decision, code).event(call, "UdiScanned", &id, code, &holder))
}
