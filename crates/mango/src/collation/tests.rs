use super::*;
use proptest::prelude::*;
use serde_json::json;
use sha2::{Digest, Sha256};

/// couchdb: docs ddocs/views/collation
#[test]
fn values_order_as_couchdbs_documentation_says() {
    let ordered = [
        json!(null),
        json!(false),
        json!(true),
        json!(i64::MIN),
        json!(-1.5),
        json!(0),
        json!(1),
        json!(1.5),
        json!(2),
        json!(9_007_199_254_740_992_i64),
        json!(9_007_199_254_740_993_i64),
        json!(u64::MAX),
        json!(1e300),
        json!(""),
        json!("1"),
        json!("a"),
        json!("A"),
        json!("aa"),
        json!("b"),
        json!("B"),
        json!("ba"),
        json!("bb"),
        json!([]),
        json!(["a"]),
        json!(["b"]),
        json!(["b", "c"]),
        json!(["b", "c", "a"]),
        json!(["b", "d"]),
        json!({}),
        json!({"a": 1}),
        json!({"a": 2}),
        json!({"b": 1}),
        json!({"b": 2}),
        json!({"b": 2, "c": 2}),
    ];
    for (place, a) in ordered.iter().enumerate() {
        for (other, b) in ordered.iter().enumerate() {
            assert_eq!(compare(a, b), place.cmp(&other), "{a} {b}");
            assert_eq!(encoded(a).cmp(&encoded(b)), place.cmp(&other), "{a} {b}");
        }
    }
    for (a, b) in [
        (json!(1), json!(1.0)),
        (json!(0.0), json!(-0.0)),
        (json!("\u{e9}"), json!("e\u{301}")),
    ] {
        assert_eq!(compare(&a, &b), Ordering::Equal, "{a} {b}");
        assert_eq!(encoded(&a), encoded(&b));
    }
}

/// Index records hold sort keys. If new collation data changes them, this fails: count up
/// `index::RECORD_FORM`, so that stored indexes are built anew, and write the new hash here.
#[test]
fn sort_keys_are_those_that_lie_in_indexes() {
    let mut hasher = Sha256::new();
    for character in (1..0x3_0000).filter_map(char::from_u32) {
        hasher.update(encoded(&json!(format!("{character}x"))));
    }
    assert_eq!(
        hex::encode(hasher.finalize()),
        "ccb4d35918db003ebeab7802296623572ea9284c29f8f3a014470b01db293a9e"
    );
    assert_eq!(crate::index::RECORD_FORM, 2);
}

#[test]
fn members_of_objects_are_in_byte_order() {
    // Another crate could ask serde_json to keep the order of the text.
    assert_eq!(json!({"b": 1, "a": 2}).to_string(), r#"{"a":2,"b":1}"#);
}

fn any_value() -> impl Strategy<Value = Value> {
    let text = prop_oneof![
        "[a-cA-C]{0,3}",
        "[e\u{301}\u{e9}\u{0}\u{1}\u{4e00}\u{ac00}\u{10ffff} -]{0,4}",
        any::<String>()
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (-3i64..3).prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        (-4..4).prop_map(|n| Value::from(f64::from(n) / 2.0)),
        any::<f64>().prop_map(Value::from),
        text.clone().prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 12, 4, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("[a-c]{0,2}", inner, 0..3)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn encodings_compare_as_values_do(a in any_value(), b in any_value()) {
        let (x, y) = (encoded(&a), encoded(&b));
        prop_assert_eq!(x.cmp(&y), compare(&a, &b));
        prop_assert_eq!(compare(&b, &a), compare(&a, &b).reverse());
        if x != y {
            prop_assert!(!y.starts_with(&x));
        }
    }

    #[test]
    fn an_encoding_ends_where_the_next_one_begins(a in any_value(), rest in any::<Vec<u8>>()) {
        let mut bytes = encoded(&a);
        bytes.extend_from_slice(&rest);
        prop_assert_eq!(skip(&bytes), Some(rest.as_slice()));
    }
}
