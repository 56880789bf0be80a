//! Models and units of devices.

mod setup;

use consilium_fhir::{Call, Ledger};
use serde_json::{Value, json};
use setup::*;

const DI: &str = "00844588018923";

async fn call(world: &World, token: &str, function: &'static str, args: Value) {
    let call = Call::new("devices", function, args);
    world.ledger.submit(&identity(token), call).await.unwrap();
}

#[tokio::test]
async fn a_unit_is_traced_from_its_maker() {
    let world = world();
    let definition = json!({
        "resourceType": "DeviceDefinition",
        "udiDeviceIdentifier": [{"deviceIdentifier": DI, "issuer": "http://hl7.org/fhir/NamingSystem/gs1-di", "jurisdiction": "urn:iso:std:iso:3166"}],
        "deviceName": [{"name": "Nail", "type": "model-name"}],
        "modelNumber": "N-1",
        "property": [{"type": {"coding": [{"code": "label"}]}, "valueCode": [{"coding": [{"code": "lot"}]}, {"coding": [{"code": "serial"}]}]}],
    });
    assert_eq!(
        world
            .post("/DeviceDefinition", CLINIC, &definition)
            .await
            .refusal(),
        (403, "forbidden", "WRONG_ORG")
    );
    let created = world
        .post("/DeviceDefinition", "MakerMSP regulatory", &definition)
        .await;
    assert_eq!(created.status, 201, "{}", created.body);
    let mut wrong = definition.clone();
    wrong["udiDeviceIdentifier"][0]["deviceIdentifier"] = "00844588018924".into();
    assert_eq!(
        world
            .post("/DeviceDefinition", "MakerMSP regulatory", &wrong)
            .await
            .refusal(),
        (422, "value", "BAD_CHECK_DIGIT")
    );
    assert_eq!(
        world
            .post("/DeviceDefinition", "MakerMSP regulatory", &definition)
            .await
            .refusal(),
        (409, "duplicate", "DUPLICATE")
    );
    call(
        &world,
        "MakerMSP regulatory",
        "SubmitCertification",
        json!({"di": DI, "certNo": "C-1", "type": "NMPA", "docHashes": ["0".repeat(64)]}),
    )
    .await;
    call(
        &world,
        "RegulatorMSP certifier",
        "Certify",
        json!({"di": DI, "certNo": "C-1", "validTo": 4_000_000_000_u64}),
    )
    .await;
    call(
        &world,
        "MakerMSP shipping",
        "RegisterLot",
        json!({"di": DI, "lot": "L1", "qty": 2}),
    )
    .await;

    let unit = json!({"resourceType": "Device", "udiCarrier": [{"deviceIdentifier": DI, "issuer": "http://hl7.org/fhir/NamingSystem/gs1-di"}], "lotNumber": "L1", "serialNumber": "7"});
    let created = world.post("/Device", "MakerMSP shipping", &unit).await;
    assert_eq!(created.status, 201, "{}", created.body);
    let id = format!("{DI}-L1-7");
    assert_eq!(created.body["id"], id);
    call(
        &world,
        "MakerMSP shipping",
        "Ship",
        json!({"units": [{"di": DI, "lot": "L1", "serial": "7"}], "to": "HospitalMSP"}),
    )
    .await;
    let carrier = format!("(01){DI}(10)L1(21)7");
    call(
        &world,
        "HospitalMSP supply",
        "Receive",
        json!({"units": [{"di": DI, "lot": "L1", "serial": "7"}], "scans": [carrier]}),
    )
    .await;

    let read = world
        .get(&format!("/Device/{id}"), "HospitalMSP supply")
        .await;
    assert_eq!(ok(&read)["owner"]["identifier"]["value"], "HospitalMSP");
    assert_eq!(read.body["statusReason"][0]["coding"][0]["code"], "InStock");
    let trace = world
        .get(&format!("/Device/{id}/$trace"), "HospitalMSP supply")
        .await;
    let states: Vec<_> = ok(&trace)["entry"]
        .as_array()
        .unwrap()
        .iter()
        .skip(1)
        .map(|e| e["resource"]["activity"]["coding"][0]["code"].clone())
        .collect();
    assert_eq!(states, ["Manufactured", "InTransit", "InStock"]);
    for (token, code) in [
        ("HospitalMSP supply", "OK"),
        ("ClinicMSP supply", "WRONG_HOLDER"),
    ] {
        let carrier: String = form_urlencoded::byte_serialize(carrier.as_bytes()).collect();
        let checked = world
            .get(&format!("/Device/$verify-udi?carrier={carrier}"), token)
            .await;
        ok(&checked);
        assert_eq!(checked.parameter("code"), code);
        let found = world
            .get(&format!("/Device?udi-carrier={carrier}"), token)
            .await;
        assert_eq!(found.matches()[0]["serialNumber"], "7");
    }
    let scanned = world.post("/Device/$verify-udi", "ClinicMSP supply", &json!({"resourceType": "Parameters", "parameter": [{"name": "carrier", "valueString": carrier}, {"name": "place", "valueString": "OR-1"}]})).await;
    ok(&scanned);
    assert_eq!(scanned.parameter("code"), "WRONG_HOLDER");
    assert!(scanned.header("link").contains("/Provenance/"));
    let held = world
        .get("/Device?organization=HospitalMSP", "HospitalMSP supply")
        .await;
    assert_eq!(ok(&held)["total"], 1);
    let model = world
        .get(&format!("/DeviceDefinition?identifier={DI}"), CLINIC)
        .await;
    assert_eq!(model.matches()[0]["modelNumber"], "N-1");
    assert_eq!(
        world
            .get("/DeviceDefinition/00844588018924", CLINIC)
            .await
            .status,
        404
    );
    assert_eq!(
        world
            .get(&format!("/Device/{DI}-L1-8"), CLINIC)
            .await
            .refusal(),
        (404, "not-found", "NOT_FOUND")
    );
}
