//! Manifests in the JSON of the EPA's e-Manifest system, as far as this contract has use for them.
//!
//! Fields as in the JSON schema of e-Manifest's web services. Contact data of people is not read:
//! it has no place on a ledger. Nothing here touches one.

use serde::Deserialize;
use serde_json::Number;

/// Containers of one line at most, so that a document of a few bytes does not make
/// [`Waste::grams_each`] fill the memory.
pub const MAX_CONTAINERS: u32 = 100_000;

/// A manifest of e-Manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shipment {
    /// Its manifest tracking number, when it has one already.
    pub no: Option<String>,
    /// `Scheduled`, `InTransit`, `ReadyForSignature`, `Signed`, `Corrected`, ….
    pub status: String,
    /// The producer's EPA site id.
    pub generator: String,
    /// The carriers' EPA site ids, in their order.
    pub transporters: Vec<String>,
    /// The designated facility's EPA site id.
    pub facility: String,
    /// What is carried.
    pub wastes: Vec<Waste>,
    /// What was refused, if anything was.
    pub rejection: Option<Rejection>,
}

/// One line of a manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waste {
    /// Its number, from 1.
    pub line: u32,
    /// How many containers there are.
    pub containers: u32,
    /// What they are: `BA` bags, `DM` drums, ….
    pub container: String,
    /// The mass of all containers in grams; `None` where a volume is given.
    pub grams: Option<u64>,
    /// The waste code for [`crate::waste`]: the first federal code, `PCB` when there is none and
    /// the line is of polychlorinated biphenyls, else `None`.
    pub code: Option<String>,
    /// The management method, `H040` for incineration.
    pub method: Option<String>,
}

impl Waste {
    /// The mass in each container, in grams; what does not divide goes to the first ones, so that
    /// the sum is that of the line. `None` without mass or containers.
    pub fn grams_each(&self) -> Option<Vec<u64>> {
        let total = self.grams?;
        let count = u64::from(self.containers);
        let (each, rest) = (total.checked_div(count)?, total % count.max(1));
        Some((0..count).map(|n| each + u64::from(n < rest)).collect())
    }
}

/// What a facility refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejection {
    /// `FullReject` or `PartialReject`.
    pub kind: String,
    /// The manifests that the refused wastes went on with.
    pub new_numbers: Vec<String>,
}

/// Why a document is not read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EpaError {
    /// It is not JSON, or a field that has to be there is not.
    #[error("not a manifest of e-Manifest: {0}")]
    Malformed(String),
    /// A quantity is negative, has more than six decimals, or is beyond all measure.
    #[error("line {line} has a quantity of {quantity}, which is none")]
    Quantity {
        /// The line's number.
        line: u32,
        /// As written.
        quantity: String,
    },
    /// More containers than any load has.
    #[error("line {line} has {found} containers, at most {MAX_CONTAINERS} are read")]
    Containers {
        /// The line's number.
        line: u32,
        /// As written.
        found: u32,
    },
    /// A unit of measurement that e-Manifest does not have.
    #[error("line {line} is measured in '{unit}', e-Manifest has G K L M N P T Y")]
    Unit {
        /// The line's number.
        line: u32,
        /// As written.
        unit: String,
    },
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    #[serde(default)]
    manifest_tracking_number: Option<String>,
    status: String,
    generator: Site,
    transporters: Vec<Transporter>,
    designated_facility: Site,
    wastes: Vec<Line>,
    #[serde(default)]
    rejection_info: Option<RejectionInfo>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Site {
    epa_site_id: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Transporter {
    epa_site_id: String,
    order: u32,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Line {
    line_number: u32,
    quantity: Quantity,
    #[serde(default)]
    hazardous_waste: Option<Hazardous>,
    #[serde(default)]
    pcb: bool,
    #[serde(default)]
    management_method: Option<Code>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Quantity {
    container_number: u32,
    container_type: Code,
    quantity: Number,
    unit_of_measurement: Code,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Hazardous {
    #[serde(default)]
    federal_waste_codes: Vec<Code>,
}

#[derive(Deserialize)]
struct Code {
    code: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RejectionInfo {
    rejection_type: String,
    #[serde(default)]
    new_manifest_tracking_numbers: Vec<String>,
}

/// Reads a manifest.
///
/// # Errors
/// [`EpaError`] says what is wrong and in which line.
pub fn read(json: &[u8]) -> Result<Shipment, EpaError> {
    let mut document: Document =
        serde_json::from_slice(json).map_err(|error| EpaError::Malformed(error.to_string()))?;
    document.transporters.sort_by_key(|carrier| carrier.order);
    Ok(Shipment {
        no: document.manifest_tracking_number,
        status: document.status,
        generator: document.generator.epa_site_id,
        transporters: document
            .transporters
            .into_iter()
            .map(|carrier| carrier.epa_site_id)
            .collect(),
        facility: document.designated_facility.epa_site_id,
        wastes: document
            .wastes
            .into_iter()
            .map(waste)
            .collect::<Result<_, _>>()?,
        rejection: document.rejection_info.map(|info| Rejection {
            kind: info.rejection_type,
            new_numbers: info.new_manifest_tracking_numbers,
        }),
    })
}

fn waste(line: Line) -> Result<Waste, EpaError> {
    let quantity = line.quantity;
    if quantity.container_number > MAX_CONTAINERS {
        return Err(EpaError::Containers {
            line: line.line_number,
            found: quantity.container_number,
        });
    }
    let unit = quantity.unit_of_measurement.code;
    let grams = match unit.as_str() {
        // Gallons, litres, cubic metres and cubic yards.
        "G" | "L" | "N" | "Y" => None,
        unit => {
            let each = micrograms_per(unit).ok_or_else(|| EpaError::Unit {
                line: line.line_number,
                unit: unit.to_owned(),
            })?;
            let grams = grams(&quantity.quantity, each).ok_or_else(|| EpaError::Quantity {
                line: line.line_number,
                quantity: quantity.quantity.to_string(),
            })?;
            Some(grams)
        }
    };
    let federal = line
        .hazardous_waste
        .and_then(|hazardous| hazardous.federal_waste_codes.into_iter().next());
    Ok(Waste {
        line: line.line_number,
        containers: quantity.container_number,
        container: quantity.container_type.code,
        grams,
        code: federal
            .map(|code| code.code)
            .or_else(|| line.pcb.then(|| "PCB".to_owned())),
        method: line.management_method.map(|method| method.code),
    })
}

/// Micrograms in a unit of mass.
fn micrograms_per(unit: &str) -> Option<u128> {
    match unit {
        "K" => Some(1_000_000_000),
        "M" => Some(1_000_000_000_000),
        // The avoirdupois pound and the short ton of 2000 of them, exactly.
        "P" => Some(453_592_370),
        "T" => Some(907_184_740_000),
        _ => None,
    }
}

/// A decimal quantity times micrograms, in grams, rounded half up.
fn grams(quantity: &Number, micrograms: u128) -> Option<u64> {
    const DECIMALS: u32 = 6;
    let text = quantity.to_string();
    let (whole, decimals) = text.split_once('.').unwrap_or((&text, ""));
    if decimals.len() > DECIMALS as usize || decimals.bytes().any(|b| !b.is_ascii_digit()) {
        return None;
    }
    let millionths: u128 = format!("{whole}{decimals:0<6}").parse().ok()?;
    let total = millionths.checked_mul(micrograms)?;
    let divisor = 10u128.pow(2 * DECIMALS);
    u64::try_from(total.checked_add(divisor / 2)? / divisor).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const FULL: &[u8] = include_bytes!("tests/data/full-electronic.json");
    const PARTIAL: &[u8] = include_bytes!("tests/data/partial-reject.json");

    #[test]
    fn the_published_examples_are_read() {
        let shipment = read(FULL).unwrap();
        assert_eq!(shipment.no, None);
        assert_eq!(shipment.status, "Scheduled");
        assert_eq!(shipment.generator, "VATEST000004");
        assert_eq!(
            shipment.transporters,
            ["VATEST000001", "VATEST000002", "VATEST000001"]
        );
        assert_eq!(shipment.facility, "VAD000532119");
        assert_eq!(shipment.wastes[0].grams, None, "gallons are no mass");
        assert_eq!(shipment.wastes[0].code.as_deref(), Some("D001"));
        let bags = &shipment.wastes[1];
        assert_eq!(
            (bags.containers, bags.container.as_str(), bags.grams),
            (12, "BA", Some(432_000))
        );
        assert_eq!(bags.code.as_deref(), Some("PCB"));
        assert_eq!(bags.method.as_deref(), Some("H040"));
        assert_eq!(bags.grams_each().unwrap(), vec![36_000; 12]);

        let shipment = read(PARTIAL).unwrap();
        assert_eq!(
            shipment.rejection,
            Some(Rejection {
                kind: "PartialReject".into(),
                new_numbers: vec!["123456789JJK".into(), "234567890JJK".into()],
            })
        );
        assert_eq!(shipment.wastes[0].containers, 20);
    }

    fn document(containers: u32, quantity: &str, unit: &str) -> String {
        format!(
            r#"{{"status":"Scheduled","generator":{{"epaSiteId":"A"}},"transporters":[],
            "designatedFacility":{{"epaSiteId":"B"}},"wastes":[{{"lineNumber":7,"quantity":{{
            "containerNumber":{containers},"containerType":{{"code":"BA"}},"quantity":{quantity},
            "unitOfMeasurement":{{"code":"{unit}"}}}}}}]}}"#
        )
    }

    fn full_of(containers: u32) -> String {
        document(containers, "1", "K")
    }

    fn with(quantity: &str, unit: &str) -> Result<Option<u64>, EpaError> {
        read(document(3, quantity, unit).as_bytes()).map(|shipment| shipment.wastes[0].grams)
    }

    #[test]
    fn quantities_become_grams() {
        for (quantity, unit, grams) in [
            ("432", "K", Some(432_000)),
            ("0.0005", "K", Some(1)),
            ("0.000499", "K", Some(0)),
            ("1.5", "M", Some(1_500_000)),
            ("1", "P", Some(454)),
            ("100", "P", Some(45_359)),
            ("2", "T", Some(1_814_369)),
            ("480", "G", None),
            ("1", "Y", None),
        ] {
            assert_eq!(with(quantity, unit), Ok(grams), "{quantity} {unit}");
        }
        for quantity in ["-1", "0.0000001", "1e300", "18446744073709551615"] {
            assert!(
                matches!(with(quantity, "K"), Err(EpaError::Quantity { line: 7, .. })),
                "{quantity}"
            );
        }
        assert!(matches!(with("1", "Z"), Err(EpaError::Unit { .. })));
        let crowded = full_of(u32::MAX);
        assert_eq!(
            read(crowded.as_bytes()),
            Err(EpaError::Containers {
                line: 7,
                found: u32::MAX
            })
        );
        let most = read(full_of(MAX_CONTAINERS).as_bytes()).unwrap();
        assert_eq!(most.wastes[0].grams_each().unwrap().len(), 100_000);
        for json in ["", "[]", "{}", r#"{"status":1}"#] {
            assert!(matches!(read(json.as_bytes()), Err(EpaError::Malformed(_))));
        }
    }

    #[test]
    fn what_does_not_divide_goes_to_the_first_containers() {
        let waste = |containers, grams| Waste {
            line: 1,
            containers,
            container: "BA".into(),
            grams,
            code: None,
            method: None,
        };
        assert_eq!(waste(3, Some(10)).grams_each(), Some(vec![4, 3, 3]));
        assert_eq!(waste(0, Some(10)).grams_each(), None);
        assert_eq!(waste(3, None).grams_each(), None);
    }
}
