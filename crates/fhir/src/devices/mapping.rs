//! Units and products of the contract as Device and DeviceDefinition. Pure.

use serde_json::{Value, json};

/// The issuer of GTINs as FHIR names it.
pub(crate) const GS1: &str = "http://hl7.org/fhir/NamingSystem/gs1-di";
/// The lot and serial number of products without one.
pub(super) const NONE: &str = "-";

/// A unit as the contract names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Unit {
    pub di: String,
    pub lot: String,
    pub serial: String,
}

impl Unit {
    pub fn json(&self) -> Value {
        json!({"di": self.di, "lot": self.lot, "serial": self.serial})
    }

    pub fn of(unit: &Value) -> Option<Self> {
        let text = |name: &str| unit[name].as_str().map(str::to_owned);
        Some(Unit {
            di: text("di")?,
            lot: text("lot")?,
            serial: text("serial")?,
        })
    }

    /// FHIR's id, `None` where 64 characters do not hold it.
    pub fn id(&self) -> Option<String> {
        let part = |text: &str| {
            if text == NONE {
                return String::new();
            }
            text.bytes()
                .map(|byte| {
                    if byte.is_ascii_alphanumeric() {
                        char::from(byte).to_string()
                    } else {
                        format!(".{byte:02x}")
                    }
                })
                .collect()
        };
        let id = format!("{}-{}-{}", self.di, part(&self.lot), part(&self.serial));
        (id.len() <= 64).then_some(id)
    }

    pub fn parse(id: &str) -> Option<Self> {
        let mut parts = id.split('-');
        let (di, lot, serial) = (parts.next()?, parts.next()?, parts.next()?);
        let is_di = di.len() == 14 && di.bytes().all(|b| b.is_ascii_digit());
        if !is_di || parts.next().is_some() {
            return None;
        }
        Some(Unit {
            di: di.to_owned(),
            lot: unescaped(lot)?,
            serial: unescaped(serial)?,
        })
    }
}

fn unescaped(part: &str) -> Option<String> {
    if part.is_empty() {
        return Some(NONE.to_owned());
    }
    let mut pieces = part.split('.');
    let mut bytes = pieces.next()?.as_bytes().to_vec();
    for piece in pieces {
        let (code, rest) = piece.split_at_checked(2)?;
        bytes.push(u8::from_str_radix(code, 16).ok()?);
        bytes.extend_from_slice(rest.as_bytes());
    }
    String::from_utf8(bytes).ok()
}

/// Whether an id is that of a unit on the ledger.
pub(crate) fn is_unit(id: &str) -> bool {
    Unit::parse(id).is_some()
}

fn carrier_text(unit: &Unit) -> String {
    let part = |ai: &str, text: &str| {
        if text == NONE {
            String::new()
        } else {
            format!("({ai}){text}")
        }
    };
    format!(
        "(01){}{}{}",
        unit.di,
        part("10", &unit.lot),
        part("21", &unit.serial)
    )
}

/// The Device of a unit, with its lot and product where they are known. Pure.
pub(super) fn device(unit: &Value, product: &Value, lot: &Value) -> Value {
    let Some(id) = Unit::of(&unit["unit"]) else {
        return Value::Null;
    };
    let state = unit["state"].as_str().unwrap_or_default();
    let status = match state {
        "Manufactured" | "InTransit" | "InStock" | "Implanted" => "active",
        _ => "inactive",
    };
    let ours = |name: &str| format!("{}:{name}", crate::SYSTEM);
    let mut device = json!({
        "resourceType": "Device",
        "udiCarrier": [{"deviceIdentifier": id.di, "issuer": GS1, "carrierHRF": carrier_text(&id)}],
        "status": status,
        "statusReason": [{"coding": [{"system": ours("unit-state"), "code": state}]}],
        "owner": {"identifier": {"system": ours("msp"), "value": unit["holder"]}},
    });
    if let Some(text) = id.id() {
        device["id"] = text.into();
    }
    if id.lot != NONE {
        device["lotNumber"] = id.lot.clone().into();
    }
    if id.serial != NONE {
        device["serialNumber"] = id.serial.clone().into();
    }
    if lot["made"].is_string() {
        device["manufactureDate"] = lot["made"].clone();
    }
    if lot["expires"].is_string() {
        device["expirationDate"] = lot["expires"].clone();
    }
    if product.is_object() {
        device["definition"] = json!({"reference": format!("DeviceDefinition/{}", id.di)});
        device["deviceName"] = json!([{"name": product["name"], "type": "model-name"}]);
        device["modelNumber"] = product["model"].clone();
    }
    let at = unit["at"].as_i64().unwrap_or_default();
    device["meta"] = json!({"lastUpdated": crate::dates::instant_of_seconds(at)});
    device
}

/// The DeviceDefinition of a product. Pure.
pub(super) fn definition(product: &Value) -> Value {
    let ours = |name: &str| format!("{}:{name}", crate::SYSTEM);
    json!({
        "resourceType": "DeviceDefinition",
        "id": product["di"],
        "udiDeviceIdentifier": [{"deviceIdentifier": product["di"], "issuer": GS1, "jurisdiction": "urn:iso:std:iso:3166"}],
        "deviceName": [{"name": product["name"], "type": "model-name"}],
        "modelNumber": product["model"],
        "manufacturerString": product["registrant"],
        "property": [{
            "type": {"coding": [{"system": ours("product"), "code": "state"}]},
            "valueCode": [{"coding": [{"system": ours("product-state"), "code": product["state"]}]}],
        }],
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn ids_of_units_are_recognized() {
        for (id, found) in [
            ("00844588018923-L1-7", true),
            ("00844588018923--.2341", true),
            ("00844588018923-L1", false),
            ("00844588018923-L1-7-8", false),
            ("2cd30bd6-3a87-4191-af90-6daa70f58f55", false),
            ("00844588018923-L1-.2", false),
            ("00844588018923-L1-.zz", false),
        ] {
            assert_eq!(is_unit(id), found, "{id}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]
        #[test]
        fn an_id_leads_back_to_its_unit(lot in "[!-~]{1,10}", serial in "[!-~]{1,6}") {
            let unit = Unit { di: "00844588018923".into(), lot, serial };
            if let Some(id) = unit.id() {
                prop_assert!(crate::references::is_id(&id));
                prop_assert_eq!(Unit::parse(&id), Some(unit));
            }
        }
    }
}
