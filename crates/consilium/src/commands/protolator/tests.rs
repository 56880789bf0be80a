use consilium_proto::common;
use prost::Message as _;

use super::*;

fn shown(name: &str, bytes: &[u8]) -> anyhow::Result<String> {
    to_json(&decode(message_type(name)?, bytes)?, &Role::Plain)
}

fn back(name: &str, json: &str) -> anyhow::Result<Vec<u8>> {
    from_json(&message_type(name)?, json.as_bytes())
}

fn envelope(data: Vec<u8>, kind: i32) -> common::Envelope {
    let header = common::ChannelHeader {
        r#type: kind,
        channel_id: "health".into(),
        ..Default::default()
    };
    let payload = common::Payload {
        header: Some(common::Header {
            channel_header: header.encode_to_vec().into(),
            ..Default::default()
        }),
        data: data.into(),
    };
    common::Envelope {
        payload: payload.encode_to_vec().into(),
        ..Default::default()
    }
}

#[test]
fn what_lies_in_bytes_is_shown_and_becomes_the_same_bytes_again() {
    let value = common::ConfigValue {
        version: 7,
        value: vec![255].into(),
        mod_policy: "<Admins>".into(),
    };
    let bytes = envelope(value.encode_to_vec(), 0).encode_to_vec();
    let json = shown("common.Envelope", &bytes).unwrap();
    for part in [
        "\t\t\"data\": {\n\t\t\t\"mod_policy\": \"\\u003cAdmins\\u003e\",\n\t\t\t\"value\": \"/w==\",\n\t\t\t\"version\": \"7\"\n\t\t}",
        "\"signature_header\": null",
        "\"timestamp\": null",
        "\"signature\": \"\"\n}\n",
    ] {
        assert!(json.contains(part), "{json}");
    }
    assert_eq!(back("common.Envelope", &json).unwrap(), bytes);
}

#[test]
fn maps_are_written_in_order_and_with_empty_values() {
    let json = r#"{"capabilities": {"V3_0": {}, "": {}, "V2_0": {}}}"#;
    let expected =
        b"\x0a\x04\x0a\x00\x12\x00\x0a\x08\x0a\x04V2_0\x12\x00\x0a\x08\x0a\x04V3_0\x12\x00";
    assert_eq!(back("common.Capabilities", json).unwrap(), expected);
    let json = r#"{"TransientMap": {"b": "", "a": "AQ=="}}"#;
    let expected = b"\x12\x06\x0a\x01a\x12\x01\x01\x12\x05\x0a\x01b\x12\x00";
    assert_eq!(
        back("protos.ChaincodeProposalPayload", json).unwrap(),
        expected
    );
}

#[test]
fn what_nobody_can_know_is_refused() {
    for (name, bytes, part) in [
        (
            "common.Payload",
            &b"\x12\x01x"[..],
            "cannot determine payload type when header is missing",
        ),
        (
            "common.Policy",
            b"\x08\x02\x12\x01x",
            "unable to decode policy type: 2",
        ),
        (
            "common.Block",
            b"\xff",
            "cannot parse invalid wire-format data",
        ),
        ("common.Nothing", b"", "not found"),
        ("consilium.replication.Nothing", b"", "not found"),
    ] {
        let refused = format!("{:#}", shown(name, bytes).unwrap_err());
        assert!(refused.contains(part), "{refused}");
    }
    for (json, part) in [
        ("", "EOF"),
        ("[]", "expected an object, found a list"),
        ("{\"nothing\": 1}", "nothing"),
        (
            "{\"channel_group\": 1}",
            "expected an object, found a number",
        ),
        (
            "{\"channel_group\": {\"groups\": {\"Other\": {}}}}",
            "unknown channel group sub-group 'Other'",
        ),
    ] {
        let refused = format!("{:#}", back("common.Config", json).unwrap_err());
        assert!(refused.contains(part), "{refused}");
    }
}

#[test]
fn messages_do_not_lie_endlessly_in_each_other() {
    let mut bytes = Vec::new();
    for _ in 0..5000 {
        bytes = envelope(bytes, 4).encode_to_vec();
    }
    let refused = shown("common.Envelope", &bytes).unwrap_err().to_string();
    assert!(refused.contains("too deep"), "{refused:.300}");
}
