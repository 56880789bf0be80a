use super::*;
use serde_json::json;

fn matches(selector: Value, document: &Value) -> bool {
    let selector = Selector::parse(&selector).unwrap();
    selector.matches(document)
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
}
