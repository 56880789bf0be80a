//! The devices story: certification, custody, implants in real procedures, recall.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::ensure;
use consilium_contracts::vault;
use serde_json::{Value, json};

use super::stage::Stage;

/// A GTIN-14 of GS1's demonstration range, check digit 3.
const DI: &str = "09506000117843";
const LOT: &str = "20118000";
/// Units of the lot; the first [`SHIPPED`] go to the hospital.
const UNITS: usize = 33;
const SHIPPED: usize = 12;

fn unit(number: usize) -> Value {
    json!({"di": DI, "lot": LOT, "serial": format!("SN{number:04}")})
}

/// What is printed on a unit: (01) device, (17) expiry, (10) lot, (21) serial.
fn carrier(number: usize) -> String {
    format!("(01){DI}(17)301130(10){LOT}(21)SN{number:04}")
}

/// A model from registration to recall. `procedures` are the FHIR ids of procedures with the
/// patient's pseudonym, which the first units are used in.
///
/// # Errors
/// Any step with another outcome than the story's.
pub async fn story(stage: &mut Stage, procedures: &[(String, String)]) -> anyhow::Result<()> {
    let product = |di: &str| {
        json!({"product": {
            "di": di, "name": "Humeral nail", "model": "HN-8",
            "label": {"lot": true, "serial": true, "expires": true},
        }})
    };
    stage
        .is_refused(
            "maker/regulatory",
            "registers a model with a mistyped UDI",
            ("devices", "RegisterProduct", product("09506000117844")),
            "BAD_CHECK_DIGIT",
        )
        .await?;
    stage
        .does(
            "maker/regulatory",
            "registers a humeral nail",
            "devices",
            "RegisterProduct",
            product(DI),
        )
        .await?;
    stage
        .is_refused(
            "maker/shipping",
            "makes units before certification",
            (
                "devices",
                "RegisterLot",
                json!({"di": DI, "lot": LOT, "exp": "2030-11-30", "qty": UNITS}),
            ),
            "NOT_CERTIFIED",
        )
        .await?;
    stage
        .does(
            "maker/regulatory",
            "submits the certification file",
            "devices",
            "SubmitCertification",
            json!({"di": DI, "certNo": "CE-2026-0417", "type": "CE", "docHashes": [vault::hash(b"technical file")]}),
        )
        .await?;
    let valid_to = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs() + 5 * 365 * 24 * 3600;
    let certify = json!({"di": DI, "certNo": "CE-2026-0417", "validTo": valid_to});
    stage
        .is_refused(
            "maker/regulatory",
            "certifies its own model",
            ("devices", "Certify", certify.clone()),
            "WRONG_ORG",
        )
        .await?;
    stage
        .does(
            "regulator/certifier",
            "certifies it for five years",
            "devices",
            "Certify",
            certify,
        )
        .await?;
    stage
        .does(
            "maker/shipping",
            "registers the lot",
            "devices",
            "RegisterLot",
            json!({"di": DI, "lot": LOT, "exp": "2030-11-30", "qty": UNITS}),
        )
        .await?;
    let serials: Vec<_> = (1..=UNITS).map(|number| format!("SN{number:04}")).collect();
    stage
        .does(
            "maker/shipping",
            &format!("registers {UNITS} units by UDI"),
            "devices",
            "RegisterUnits",
            json!({"di": DI, "lot": LOT, "serials": serials}),
        )
        .await?;
    let shipped: Vec<_> = (1..=SHIPPED).map(unit).collect();
    stage
        .does(
            "maker/shipping",
            &format!("ships {SHIPPED} units to the hospital"),
            "devices",
            "Ship",
            json!({"units": shipped, "to": "HospitalMSP"}),
        )
        .await?;
    let scans: Vec<_> = (1..=SHIPPED).map(carrier).collect();
    stage
        .does(
            "hospital/supply",
            "scans and receives them",
            "devices",
            "Receive",
            json!({"units": shipped, "scans": scans}),
        )
        .await?;
    let mut implanted = Vec::new();
    for (number, (procedure, sid)) in (1..).zip(procedures) {
        let salt: [u8; 32] = rand::random();
        let commit = vault::implant_commitment(&salt, sid, procedure, "2026-06-30");
        stage
            .does(
                "hospital/physician",
                &format!(
                    "implants unit {number} in a procedure; the patient is a salted commitment"
                ),
                "devices",
                "Implant",
                json!({
                    "unit": unit(number), "procedureRef": format!("Procedure/{procedure}"),
                    "patientCommit": commit,
                }),
            )
            .await?;
        implanted.push(number);
    }
    stage
        .is_refused(
            "hospital/physician",
            "uses the first unit a second time",
            (
                "devices",
                "Implant",
                json!({
                    "unit": unit(1), "procedureRef": "Procedure/another",
                    "patientCommit": vault::hash(b"another"),
                }),
            ),
            "ALREADY_USED",
        )
        .await?;
    stage
        .is_decided(
            "hospital/supply",
            "scans a counterfeit with an unknown serial",
            (
                "devices",
                "ScanUdi",
                json!({
                    "carrier": format!("(01){DI}(17)301130(10){LOT}(21)SN9999"),
                    "place": "Location/store",
                }),
            ),
            "UNKNOWN_SERIAL",
        )
        .await?;

    stage
        .does(
            "regulator/recall",
            "recalls the lot, class II",
            "devices",
            "OpenRecall",
            json!({"no": "Z-1004-04", "class": "II", "di": DI, "scope": {"lots": [LOT]}}),
        )
        .await?;
    let affected = stage
        .reads(
            "regulator/recall",
            "devices",
            "Affected",
            json!({"no": "Z-1004-04"}),
        )
        .await?;
    let text = affected.to_string();
    let found = serials
        .iter()
        .filter(|serial| text.contains(*serial))
        .count();
    ensure!(
        found == UNITS,
        "the recall found {found} units of {UNITS}: {text}"
    );
    stage.tell(
        "regulator/recall",
        "asks which units and holders are affected",
        &format!("{found} units at the hospital and the maker"),
    );
    stage
        .is_refused(
            "regulator/recall",
            "closes the recall too early",
            ("devices", "CloseRecall", json!({"no": "Z-1004-04"})),
            "OPEN_HITS",
        )
        .await?;
    for number in 1..=UNITS {
        let (who, action) = if implanted.contains(&number) {
            ("hospital/physician", "PatientNotified")
        } else if number <= SHIPPED {
            ("hospital/supply", "Quarantined")
        } else {
            ("maker/vigilance", "Quarantined")
        };
        stage
            .acknowledges(
                who,
                json!({"no": "Z-1004-04", "unit": unit(number), "action": action}),
            )
            .await?;
    }
    stage.tell(
        "hospital and maker",
        "notify patients and quarantine the rest",
        &format!("{UNITS} units acknowledged"),
    );
    stage
        .does(
            "regulator/recall",
            "closes the recall",
            "devices",
            "CloseRecall",
            json!({"no": "Z-1004-04"}),
        )
        .await?;
    let trace = stage
        .reads(
            "hospital/physician",
            "devices",
            "TraceUnit",
            json!({"unit": unit(1)}),
        )
        .await?;
    let changes = trace["history"].as_array().map_or(0, Vec::len);
    ensure!(changes >= 4, "the trace of unit 1 is too short: {trace}");
    stage.tell(
        "hospital/physician",
        "traces unit 1 from maker to procedure",
        &format!("{changes} changes in one query"),
    );
    Ok(())
}
