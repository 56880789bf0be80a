//! Devices on the ledger: models as DeviceDefinition, units as Device.
//!
//! A unit's id is its device identifier, lot and serial number; what FHIR's ids cannot hold is
//! written as `.` and two hexadecimal digits. Devices in patients' records are records like others
//! and have the server's ids.

mod mapping;

use http::StatusCode;
use serde_json::{Value, json};

use crate::ledger::Call;
use crate::operation::{input, needed, parameters};
use crate::outcome::{Refusal, Refused};
use crate::register::valid;
use crate::request::{Answer, Request, set_meta};
use crate::server::{Inner, now};

pub(crate) use mapping::{GS1, is_unit};
use mapping::{NONE, Unit, definition, device};

impl Inner {
    /// `GET DeviceDefinition/[device identifier]`.
    pub async fn read_device_definition(&self, request: &Request, id: &str) -> Refused<Answer> {
        let call = Call::new("devices", "ReadProduct", json!({"di": id}));
        match self.ask::<Value>(&request.caller, call).await {
            Ok(product) => Ok(Answer::ok(definition(
                product.get("product").unwrap_or(&product),
            ))),
            Err(refusal) if matches!(refusal.status.as_u16(), 400 | 404 | 422) => {
                Err(Refusal::not_found("DeviceDefinition", id))
            }
            Err(refusal) => Err(refusal),
        }
    }

    /// `GET DeviceDefinition?identifier=…`.
    pub async fn search_device_definitions(&self, request: &Request) -> Refused<Answer> {
        let identifier = request.parameter("identifier").ok_or_else(|| {
            Refusal::malformed(
                "MISSING",
                "DeviceDefinition is searched by identifier, a GTIN",
            )
        })?;
        let di = identifier.rsplit('|').next().unwrap_or_default();
        let found = match self.read_device_definition(request, di).await {
            Ok(answer) => answer.body.into_iter().collect(),
            Err(refusal) if refusal.status == StatusCode::NOT_FOUND => Vec::new(),
            Err(refusal) => return Err(refusal),
        };
        Ok(Answer::ok(self.devices_page(found)))
    }

    fn devices_page(&self, found: Vec<Value>) -> Value {
        let entries: Vec<Value> = found
            .into_iter()
            .map(|resource| {
                let kind = resource["resourceType"].as_str().unwrap_or_default();
                let id = resource["id"].as_str().unwrap_or_default();
                json!({
                    "fullUrl": format!("{}/{kind}/{id}", self.settings.base),
                    "resource": resource,
                    "search": {"mode": "match"},
                })
            })
            .collect();
        let mut bundle =
            json!({"resourceType": "Bundle", "type": "searchset", "total": entries.len()});
        if !entries.is_empty() {
            bundle["entry"] = entries.into();
        }
        bundle
    }

    /// `POST DeviceDefinition`: a manufacturer registers a model.
    pub async fn create_device_definition(&self, request: &Request) -> Refused<Answer> {
        let resource = request.resource()?;
        valid(&resource, "DeviceDefinition")?;
        let text = |pointer: &str| resource.pointer(pointer).and_then(Value::as_str);
        let Some(di) = text("/udiDeviceIdentifier/0/deviceIdentifier") else {
            return Err(Refusal::rule(
                "NO_UDI",
                "a model has a udiDeviceIdentifier with its GTIN",
            ));
        };
        let flag = |name: &str| {
            let list = resource["property"].as_array().into_iter().flatten();
            list.filter(|property| property["type"]["coding"][0]["code"] == "label")
                .flat_map(|property| {
                    property["valueCode"]
                        .as_array()
                        .cloned()
                        .unwrap_or_default()
                })
                .any(|value| value["coding"][0]["code"] == name)
        };
        let product = json!({
            "di": di,
            "issuer": "GS1",
            "name": text("/deviceName/0/name").unwrap_or_default(),
            "model": text("/modelNumber").unwrap_or_default(),
            "label": {"lot": flag("lot"), "serial": flag("serial"), "made": flag("made"), "expires": flag("expires")},
        });
        let call = Call::new("devices", "RegisterProduct", json!({"product": product}))
            .request_id(request.request_id()?);
        let committed = self.submit(&request.caller, call).await?;
        let receipt: Value = serde_json::from_slice(&committed.payload).unwrap_or_default();
        let di = receipt["id"].as_str().unwrap_or(di).to_owned();
        let mut answer = self.read_device_definition(request, &di).await?;
        if let Some(body) = &mut answer.body {
            set_meta(body, 1, now(), &committed.tx_id);
        }
        Ok(Answer {
            status: StatusCode::CREATED,
            location: Some(format!("DeviceDefinition/{di}")),
            tx: Some(committed.tx_id),
            ..answer
        })
    }

    /// `POST Device` by who keeps no records: a unit of a registered lot.
    pub async fn create_device(&self, request: &Request) -> Refused<Answer> {
        let resource = request.resource()?;
        valid(&resource, "Device")?;
        let text = |pointer: &str| resource.pointer(pointer).and_then(Value::as_str);
        let (Some(di), Some(serial)) = (
            text("/udiCarrier/0/deviceIdentifier"),
            text("/serialNumber"),
        ) else {
            return Err(Refusal::rule(
                "NO_UDI",
                "a unit has udiCarrier.deviceIdentifier, serialNumber and, where the label has it, lotNumber",
            ));
        };
        let unit = Unit {
            di: di.to_owned(),
            lot: text("/lotNumber").unwrap_or(NONE).to_owned(),
            serial: serial.to_owned(),
        };
        let mut args = json!({"di": unit.di, "serials": [unit.serial]});
        if unit.lot != NONE {
            args["lot"] = unit.lot.clone().into();
        }
        let call = Call::new("devices", "RegisterUnits", args).request_id(request.request_id()?);
        let committed = self.submit(&request.caller, call).await?;
        let trace = self.trace_of(request, &unit).await?;
        let mut body = device(&trace["unit"], &trace["product"], &trace["lot"]);
        set_meta(&mut body, 1, now(), &committed.tx_id);
        Ok(Answer {
            status: StatusCode::CREATED,
            location: unit.id().map(|id| format!("Device/{id}")),
            tx: Some(committed.tx_id),
            ..Answer::ok(body)
        })
    }

    async fn trace_of(&self, request: &Request, unit: &Unit) -> Refused<Value> {
        let call = Call::new("devices", "TraceUnit", json!({"unit": unit.json()}));
        self.ask(&request.caller, call).await
    }

    async fn known_unit(&self, request: &Request, id: &str) -> Refused<Value> {
        let unit = Unit::parse(id).ok_or_else(|| Refusal::not_found("Device", id))?;
        match self.trace_of(request, &unit).await {
            Err(refusal) if matches!(refusal.status.as_u16(), 400 | 404) => {
                Err(Refusal::not_found("Device", id))
            }
            other => other,
        }
    }

    /// `GET Device/[unit]`.
    pub async fn read_device(&self, request: &Request, id: &str) -> Refused<Answer> {
        let trace = self.known_unit(request, id).await?;
        let version = trace["history"].as_array().map_or(0, Vec::len);
        let mut body = device(&trace["unit"], &trace["product"], &trace["lot"]);
        let last = trace["history"].as_array().and_then(|list| list.last());
        let tx = last
            .and_then(|change| change["txId"].as_str())
            .unwrap_or_default();
        let at = trace["unit"]["at"]
            .as_i64()
            .unwrap_or_default()
            .saturating_mul(1000);
        let version = u32::try_from(version).unwrap_or(u32::MAX);
        set_meta(&mut body, version, at, tx);
        Ok(Answer {
            version: Some(version),
            tx: Some(tx.to_owned()),
            ..Answer::ok(body)
        })
    }

    /// Whether a search of Device means units on the ledger.
    pub fn asks_for_units(&self, request: &Request) -> bool {
        request
            .query
            .iter()
            .any(|(name, _)| matches!(name.as_str(), "udi-carrier" | "organization"))
            || !self.settings.custodians.contains_key(&request.caller.msp)
                && !request.caller.is_person()
    }

    /// `GET Device?udi-carrier=…` and `GET Device?organization=…`.
    pub async fn search_units(&self, request: &Request) -> Refused<Answer> {
        if let Some(carrier) = request.parameter("udi-carrier") {
            let call = Call::new("devices", "CheckUdi", json!({"carrier": carrier}));
            let checked: Value = self.ask(&request.caller, call).await?;
            let found = if checked["unit"].is_object() {
                vec![device(&checked["unit"], &Value::Null, &Value::Null)]
            } else {
                Vec::new()
            };
            return Ok(Answer::ok(self.devices_page(found)));
        }
        let organization = request.parameter("organization").ok_or_else(|| {
            Refusal::malformed(
                "MISSING",
                "units are searched by udi-carrier or organization, an MSP id",
            )
        })?;
        let msp = organization.trim_start_matches("Organization/");
        let call = Call::new("devices", "UnitsHeld", json!({"org": msp}));
        let held: Value = self.ask(&request.caller, call).await?;
        let found = held["units"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|unit| device(unit, &Value::Null, &Value::Null))
            .collect();
        Ok(Answer::ok(self.devices_page(found)))
    }

    /// `Device/[unit]/$trace`: the unit, and every change of it as a Provenance, oldest first.
    pub async fn trace(&self, request: &Request, id: &str) -> Refused<Answer> {
        let trace = self.known_unit(request, id).await?;
        let mut resources = vec![device(&trace["unit"], &trace["product"], &trace["lot"])];
        for (place, change) in trace["history"]
            .as_array()
            .into_iter()
            .flatten()
            .enumerate()
        {
            let tx = change["txId"].as_str().unwrap_or_default();
            let proof = self.ledger.proof(&request.caller, tx).await?;
            let version = u32::try_from(place + 1).unwrap_or(u32::MAX);
            let targets = [("Device".to_owned(), id.to_owned(), version)];
            let mut provenance = self.provenance_of(&proof, &targets);
            provenance["activity"] = json!({"coding": [{"system": format!("{}:unit-state", crate::SYSTEM), "code": change["unit"]["state"]}]});
            provenance["occurredDateTime"] =
                crate::dates::instant_of_seconds(change["at"].as_i64().unwrap_or_default()).into();
            resources.push(provenance);
        }
        let entries: Vec<Value> = resources
            .into_iter()
            .map(|resource| json!({"resource": resource}))
            .collect();
        let mut bundle = json!({"resourceType": "Bundle", "type": "collection", "entry": entries});
        let recalls = trace["recalls"].as_array().map_or(0, Vec::len);
        if recalls > 0 {
            bundle["meta"] = json!({"tag": [{"system": format!("{}:recalls", crate::SYSTEM), "code": recalls.to_string()}]});
        }
        Ok(Answer::ok(bundle))
    }

    /// `Device/$verify-udi`: by GET a question, by POST with `place` a scan that leaves evidence.
    pub async fn verify_udi(&self, request: &Request, posted: bool) -> Refused<Answer> {
        let carrier = needed(request, "carrier")?;
        let place = input(request, "place")?;
        if let (true, Some(place)) = (posted, place) {
            let call = Call::new(
                "devices",
                "ScanUdi",
                json!({"carrier": carrier, "place": place}),
            )
            .request_id(request.request_id()?);
            let committed = self.submit(&request.caller, call).await?;
            let verdict: Value = serde_json::from_slice(&committed.payload).unwrap_or_default();
            return Ok(Answer {
                tx: Some(committed.tx_id),
                ..Answer::ok(parameters(vec![
                    ("code", verdict["code"].clone()),
                    ("decision", verdict["decision"].clone()),
                    ("state", verdict["state"].clone()),
                ]))
            });
        }
        let call = Call::new("devices", "CheckUdi", json!({"carrier": carrier}));
        let checked: Value = self.ask(&request.caller, call).await?;
        let unit = if checked["unit"].is_object() {
            device(&checked["unit"], &Value::Null, &Value::Null)
        } else {
            Value::Null
        };
        Ok(Answer::ok(parameters(vec![
            ("code", checked["code"].clone()),
            ("di", checked["di"].clone()),
            ("unit", unit),
        ])))
    }
}
