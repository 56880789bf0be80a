use std::sync::atomic::AtomicBool;

use super::*;
use serde_json::json;

fn matches(selector: Value, document: &Value) -> bool {
    let selector = Selector::parse(&selector).unwrap();
    selector.matches(document, &AtomicBool::new(false))
}

#[test]
fn operators_match_as_in_couchdb() {
    let document = json!({
        "n": 5, "f": 5.0, "s": "Straße", "nil": null, "yes": true,
        "tags": ["a", "b", 3], "none": [], "marks": [80, 85, 90],
        "owner": {"name": "tom", "age": 7}, "a.b": 1,
        "rows": [{"x": 1, "y": 2}, {"x": 3}],
    });
    for (selector, expected) in [
        (json!({}), true),
        (json!({"n": 5}), true),
        (json!({"n": 5.0}), true),
        (json!({"n": "5"}), false),
        (json!({"n": {"$gt": 4, "$lt": 6}}), true),
        (json!({"n": {"$gt": 5}}), false),
        (json!({"n": {"$gte": 5}}), true),
        (json!({"n": {"$lte": 4}}), false),
        (json!({"n": {"$lt": "a"}}), true),
        (json!({"n": {"$ne": 6}}), true),
        (json!({"missing": {"$ne": 6}}), false),
        (json!({"s": {"$gt": null}}), true),
        (json!({"n": {"$exists": true}}), true),
        (json!({"nil": {"$exists": true}}), true),
        (json!({"nil": null}), true),
        (json!({"missing": null}), false),
        (json!({"missing": {"$exists": false}}), true),
        (json!({"n": {"$exists": false}}), false),
        (json!({"n.deep": {"$exists": false}}), false),
        (json!({"n": {"$type": "number"}}), true),
        (json!({"nil": {"$type": "null"}}), true),
        (json!({"yes": {"$type": "boolean"}}), true),
        (json!({"s": {"$type": "string"}}), true),
        (json!({"tags": {"$type": "array"}}), true),
        (json!({"owner": {"$type": "object"}}), true),
        (json!({"n": {"$type": "whole"}}), false),
        (json!({"n": {"$in": [1, 5]}}), true),
        (json!({"n": {"$in": [5.0]}}), true),
        (json!({"n": {"$in": []}}), false),
        (json!({"tags": {"$in": ["b", "z"]}}), true),
        (json!({"n": {"$nin": [1, 5]}}), false),
        (json!({"n": {"$nin": []}}), true),
        (json!({"tags": {"$nin": ["z"]}}), true),
        (json!({"tags": {"$size": 3}}), true),
        (json!({"n": {"$size": 1}}), false),
        (json!({"n": {"$mod": [3, 2]}}), true),
        (json!({"f": {"$mod": [3, 2]}}), false),
        (json!({"s": {"$regex": "^Str"}}), true),
        (json!({"s": {"$regex": "ra"}}), true),
        (json!({"n": {"$regex": "5"}}), false),
        (json!({"s": {"$beginsWith": "Stra"}}), true),
        (json!({"s": {"$beginsWith": "stra"}}), false),
        (json!({"n": {"$beginsWith": "5"}}), false),
        (json!({"tags": {"$all": ["a", 3]}}), true),
        (json!({"tags": {"$all": ["a", "z"]}}), false),
        (json!({"tags": {"$all": []}}), false),
        (json!({"tags": {"$all": [["a", "b", 3]]}}), true),
        (
            json!({"marks": {"$elemMatch": {"$gte": 84, "$lt": 86}}}),
            true,
        ),
        (json!({"marks": {"$elemMatch": {"$gt": 90}}}), false),
        (json!({"rows": {"$elemMatch": {"x": 3}}}), true),
        (json!({"rows": {"$elemMatch": {"x": 3, "y": 2}}}), false),
        (json!({"rows": {"$elemMatch": {"$not": {"y": 2}}}}), true),
        (
            json!({"rows": {"$elemMatch": {"$nor": [{"y": 2}, {"x": 3}]}}}),
            false,
        ),
        (json!({"marks": {"$allMatch": {"$gt": 79}}}), true),
        (json!({"marks": {"$allMatch": {"$gt": 80}}}), false),
        (json!({"none": {"$allMatch": {"$gt": 80}}}), false),
        (json!({"owner": {"$keyMapMatch": {"$eq": "age"}}}), true),
        (json!({"owner": {"$keyMapMatch": {"$eq": "tom"}}}), false),
        (json!({"owner.name": "tom"}), true),
        (json!({"owner": {"name": "tom"}}), true),
        (json!({"owner": {"name": "tom", "age": {"$gt": 5}}}), true),
        (json!({"owner": {}}), false),
        (json!({"a\\.b": 1}), true),
        (json!({"a.b": 1}), false),
        (json!({"tags.1": "b"}), true),
        (json!({"tags.01": "b"}), false),
        (json!({"$and": [{"n": 5}, {"yes": true}]}), true),
        (json!({"$and": []}), true),
        (json!({"$or": [{"n": 6}, {"yes": true}]}), true),
        (json!({"$or": []}), true),
        (json!({"n": 6, "$or": []}), false),
        (json!({"$nor": [{"n": 6}, {"yes": false}]}), true),
        (json!({"$not": {"n": 6}}), true),
        (json!({"$not": {"missing": 6}}), false),
        (json!({"$not": {"n": 5, "yes": false}}), true),
        (json!({"$not": {"$nor": [{"n": 5}]}}), true),
        (json!({"n": {"$not": {"$gt": 5}}}), true),
        (json!({"n": {"$or": [{"$lt": 3}, {"$eq": 5}]}}), true),
        (json!({"s": {"$not": {"$regex": "x"}}}), true),
        (json!({"missing": {"$not": {"$regex": "x"}}}), false),
    ] {
        assert_eq!(matches(selector.clone(), &document), expected, "{selector}");
    }
}

#[test]
fn selectors_that_couchdb_refuses_are_refused_in_its_words() {
    for (selector, error, reason) in [
        (
            json!([]),
            "invalid_selector_json",
            "Selector must be a JSON object, not: []",
        ),
        (
            json!({"$gt": 1}),
            "invalid_selector",
            "One or more conditions is missing a field name.",
        ),
        (
            json!({"a": {"$foo": 1}}),
            "invalid_operator",
            "Invalid operator: $foo",
        ),
        (
            json!({"a": {"$where": 1}}),
            "not_supported",
            "Unsupported operator: $where",
        ),
        (
            json!({"$and": {"a": 1}}),
            "bad_arg",
            "Bad argument for operator $and: {[{<<97>>,1}]}",
        ),
        (
            json!({"$not": [1]}),
            "bad_arg",
            "Bad argument for operator $not: [1]",
        ),
        (
            json!({"a": {"$in": "x"}}),
            "bad_arg",
            "Bad argument for operator $in: <<120>>",
        ),
        (
            json!({"a": {"$exists": 1}}),
            "bad_arg",
            "Bad argument for operator $exists: 1",
        ),
        (
            json!({"a": {"$type": null}}),
            "bad_arg",
            "Bad argument for operator $type: null",
        ),
        (
            json!({"a": {"$mod": [0, 1]}}),
            "bad_arg",
            "Bad argument for operator $mod: [0,1]",
        ),
        (
            json!({"a": {"$mod": [1.5, 1]}}),
            "bad_arg",
            "Bad argument for operator $mod: [1.5,1]",
        ),
        (
            json!({"a": {"$size": -1}}),
            "bad_arg",
            "Bad argument for operator $size: -1",
        ),
        (
            json!({"a": {"$regex": "("}}),
            "bad_arg",
            "Bad argument for operator $regex: <<40>>",
        ),
        (
            json!({"a": {"$regex": 1}}),
            "invalid_operator",
            "Invalid operator: $regex",
        ),
        (
            json!({"a": {"$elemMatch": 1}}),
            "bad_arg",
            "Bad argument for operator $elemMatch: 1",
        ),
        (
            json!({"a..b": 1}),
            "invalid_field_name",
            "Invalid field name: a..b",
        ),
    ] {
        assert_eq!(
            Selector::parse(&selector).unwrap_err(),
            MangoError::refused(error, reason),
            "{selector}"
        );
    }
}

#[test]
fn regular_expressions_stay_small() {
    let selector = json!({"a": {"$regex": "(((a{100}){100}){100})"}});
    let refused = Selector::parse(&selector).unwrap_err().to_string();
    assert!(refused.contains("Error:bad_arg"), "{refused}");
    for pattern in [
        r"^\w+@\w+\.\w{2,}$",
        r"^\w{3,20}$",
        "(?i)^straße [0-9]+",
        r"^[A-Z]{2}\d{6,12}$",
        "^(red|green|blue|black|white)$",
        "^.{1,40}$",
    ] {
        let parsed = Selector::parse(&json!({"a": {"$regex": pattern}}));
        assert!(parsed.is_ok(), "{pattern}: {parsed:?}");
    }
}

#[test]
fn a_selector_has_so_much_and_no_more() {
    let many = |count: usize, one: Value| Value::from(vec![one; count]);
    let path = vec!["a"; 64].join(".");
    let regex = |n: usize| json!({ format!("f{n}"): {"$regex": "x"} });
    let regexes = |count: usize| (0..count).map(regex).collect::<Vec<_>>();
    for (fits, too_much, reason) in [
        (
            json!({ path.as_str(): {"$and": many(1_999, json!(1))} }),
            json!({ path.as_str(): {"$and": many(2_000, json!(1))} }),
            "Bad argument for operator $eq: more than 2000 conditions in one selector",
        ),
        (
            json!({"a": {"$elemMatch": {"$or": many(1_998, json!({"b": {"$gt": 1}}))}}}),
            json!({"a": {"$elemMatch": {"$or": many(1_999, json!({"b": {"$gt": 1}}))}}}),
            "Bad argument for operator $gt: more than 2000 conditions in one selector",
        ),
        (
            json!({"$or": many(1_999, json!({"$and": []}))}),
            json!({"$or": many(2_000, json!({"$and": []}))}),
            "Bad argument for operator $and: more than 2000 conditions in one selector",
        ),
        (
            json!({"a": {"$in": many(4_000, json!(1))}, "b": {"$all": many(6_000, json!(1))}}),
            json!({"a": {"$in": many(4_000, json!(1))}, "b": {"$all": many(6_001, json!(1))}}),
            "Bad argument for operator $all: more than 10000 list items in one selector",
        ),
        (
            json!({"$or": regexes(8)}),
            json!({"$or": regexes(9)}),
            "Bad argument for operator $regex: more than 8 regular expressions in one selector",
        ),
    ] {
        assert!(Selector::parse(&fits).is_ok(), "{reason}");
        let refused = Selector::parse(&too_much).unwrap_err();
        assert_eq!(refused, MangoError::refused("bad_arg", reason));
    }
    // A long name that comes in parts.
    let deep = json!({ path: {"b": 1} });
    let refused = Selector::parse(&deep).unwrap_err().to_string();
    assert!(refused.contains("Error:invalid_field_name"), "{refused}");
}

#[test]
fn a_match_ends_when_it_is_stopped() {
    let document = json!({"a": [1, 2, 3]});
    for selector in [
        json!({"a": {"$in": [3]}}),
        json!({"a": {"$elemMatch": {"$gt": 2}}}),
    ] {
        let selector = Selector::parse(&selector).unwrap();
        assert!(selector.matches(&document, &AtomicBool::new(false)));
        assert!(!selector.matches(&document, &AtomicBool::new(true)));
    }
}
