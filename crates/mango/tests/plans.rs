//! What plans choose, and that the chosen records give what a full scan gives.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::atomic::AtomicBool;

use consilium_mango::{Access, Document, Index, Query, collation, plan};
use proptest::prelude::*;
use serde_json::{Value, json};

fn index(ddoc: &str, name: &str, fields: Value) -> Index {
    let definition = json!({"index": {"fields": fields}, "ddoc": ddoc, "name": name});
    Index::parse(definition.to_string().as_bytes()).unwrap()
}

/// Which index serves a query: its name, "" for a scan of all documents.
fn chosen(query: &Value, indexes: &[Index]) -> Result<String, String> {
    let query = Query::parse(&query.to_string(), "").unwrap();
    match plan(&query, indexes) {
        Ok(Access::Records { index, .. }) => Ok(indexes[index].name.clone()),
        Ok(Access::Documents { .. }) => Ok(String::new()),
        Ok(Access::Nothing) => Ok("nothing".into()),
        Err(error) => Err(error.to_string()),
    }
}

const NO_INDEX: &str = "error handling CouchDB request. Error:no_usable_index,  Status Code:400,  Reason:No index exists for this sort, try indexing by the sort fields.";

#[test]
fn the_index_that_fits_best_is_chosen() {
    let partial = json!({
        "index": {"fields": ["owner"], "partial_filter_selector": {"size": {"$gt": 3}}},
        "ddoc": "p", "name": "partial",
    });
    let indexes = [
        index("d", "owner", json!(["docType", "owner"])),
        index("d", "type", json!(["docType"])),
        index(
            "d",
            "size",
            json!([{"size": "desc"}, {"docType": "desc"}, {"owner": "desc"}]),
        ),
        Index::parse(partial.to_string().as_bytes()).unwrap(),
    ];
    for (query, expected) in [
        (
            json!({"selector": {"docType": "m", "owner": "t"}}),
            Ok("owner"),
        ),
        (json!({"selector": {"docType": "m"}}), Ok("type")),
        (
            json!({"selector": {"docType": {"$regex": "m"}}}),
            Ok("type"),
        ),
        (json!({"selector": {"owner": "t"}}), Ok("")),
        (json!({"selector": {}}), Ok("")),
        (
            json!({"selector": {"$or": [{"docType": "m"}, {"docType": "n"}]}}),
            Ok("type"),
        ),
        (
            json!({"selector": {"$or": [{"docType": "m"}, {"owner": "n"}]}}),
            Ok(""),
        ),
        (json!({"selector": {"docType": {"$exists": false}}}), Ok("")),
        (json!({"selector": {"$or": []}}), Ok("nothing")),
        (
            json!({"selector": {"docType": {"$gt": 3, "$lt": 2}}}),
            Ok("nothing"),
        ),
        (
            json!({"selector": {"docType": "m", "owner": "t"}, "use_index": "d/type"}),
            Ok("type"),
        ),
        (
            json!({"selector": {"owner": "t"}, "use_index": ["_design/p", "partial"]}),
            Ok("partial"),
        ),
        (
            json!({"selector": {"owner": "t"}, "use_index": "unknown"}),
            Ok(""),
        ),
        (
            json!({"selector": {"owner": "t"}, "use_index": "unknown", "allow_fallback": false}),
            Err(
                "error handling CouchDB request. Error:invalid_index,  Status Code:400,  Reason:_design/unknown specified by `use_index` could not be found or it is not suitable.",
            ),
        ),
        (
            json!({"selector": {"docType": "m"}, "sort": ["docType"]}),
            Ok("type"),
        ),
        (
            json!({"selector": {"docType": "m"}, "sort": ["owner"]}),
            Ok("owner"),
        ),
        (
            json!({"selector": {"docType": {"$gt": "m"}}, "sort": ["owner"]}),
            Err(NO_INDEX),
        ),
        (
            json!({"selector": {"docType": "m", "owner": "t"}, "sort": [{"size": "desc"}]}),
            Ok("size"),
        ),
        (
            json!({"selector": {"docType": "m"}, "sort": [{"size": "desc"}]}),
            Err(NO_INDEX),
        ),
        (json!({"selector": {}, "sort": ["color"]}), Err(NO_INDEX)),
        (
            json!({"selector": {"_id": {"$gt": null}}, "sort": [{"_id": "desc"}]}),
            Ok(""),
        ),
        (json!({"selector": {}, "sort": ["_id"]}), Err(NO_INDEX)),
    ] {
        let expected = expected.map(str::to_owned).map_err(str::to_owned);
        assert_eq!(chosen(&query, &indexes), expected, "{query}");
    }
}

/// Index records of all documents, with the key each leads to.
fn records(index: &Index, documents: &BTreeMap<String, Document>) -> BTreeMap<Vec<u8>, String> {
    let covered = documents.iter().filter_map(|(key, document)| {
        let mut record = index.entry(document)?;
        record.extend_from_slice(key.as_bytes());
        Some((record, key.clone()))
    });
    covered.collect()
}

fn run(
    query: &Query,
    indexes: &[Index],
    documents: &BTreeMap<String, Document>,
) -> Option<Vec<String>> {
    let (mut keys, descending): (Vec<String>, bool) = match plan(query, indexes).ok()? {
        Access::Nothing => (Vec::new(), false),
        Access::Documents { descending } => (documents.keys().cloned().collect(), descending),
        Access::Records {
            index,
            start,
            end,
            descending,
        } => (
            records(&indexes[index], documents)
                .range(start..end)
                .map(|(record, key)| {
                    assert_eq!(indexes[index].key_of(record), Some(key.as_str()));
                    key.clone()
                })
                .collect(),
            descending,
        ),
    };
    if descending {
        keys.reverse();
    }
    keys.retain(|key| query.matches(&documents[key], &AtomicBool::new(false)));
    Some(keys)
}

fn member<'a>(document: &'a Document, path: &str) -> Option<&'a Value> {
    path.split('.')
        .try_fold(document.value(), |at, name| at.get(name))
}

/// The same without plan or index: filter, then sort those documents that have the sort's fields.
fn reference(
    query: &Query,
    sort: &[&str],
    descending: bool,
    documents: &BTreeMap<String, Document>,
) -> Vec<String> {
    let mut found: Vec<_> = documents
        .iter()
        .filter(|(_, document)| query.matches(document, &AtomicBool::new(false)))
        .filter(|(_, document)| sort.iter().all(|field| member(document, field).is_some()))
        .collect();
    found.sort_by(|(key, a), (other, b)| {
        let fields = sort
            .iter()
            .map(|field| match (member(a, field), member(b, field)) {
                (Some(a), Some(b)) => collation::compare(a, b),
                _ => Ordering::Equal,
            });
        fields
            .fold(Ordering::Equal, Ordering::then)
            .then_with(|| key.cmp(other))
    });
    if descending {
        found.reverse();
    }
    found.into_iter().map(|(key, _)| key.clone()).collect()
}

fn value() -> impl Strategy<Value = Value> + Clone {
    prop_oneof![
        (0i64..4).prop_map(Value::from),
        prop::sample::select(vec![
            json!(null),
            json!(true),
            json!(1.5),
            json!("a"),
            json!("A"),
            json!("ab"),
            json!("b"),
            json!("\u{e9}"),
            json!("e\u{301}"),
            json!("a\u{301}b"),
            json!([1, "a"]),
            json!([]),
            json!({"x": 1}),
            json!("a\u{0}"),
            json!("az"),
        ]),
    ]
}

const FIELDS: [&str; 3] = ["a", "b", "c.d"];

fn document() -> impl Strategy<Value = Value> + Clone {
    let member = prop::option::weighted(0.8, value());
    (member.clone(), member.clone(), member).prop_map(|(a, b, d)| {
        let mut document = serde_json::Map::new();
        document.extend(a.map(|a| ("a".to_owned(), a)));
        document.extend(b.map(|b| ("b".to_owned(), b)));
        document.extend(d.map(|d| ("c".to_owned(), json!({"d": d}))));
        Value::Object(document)
    })
}

fn condition() -> impl Strategy<Value = Value> + Clone {
    let operator = prop::sample::select(vec!["$eq", "$ne", "$lt", "$lte", "$gt", "$gte"]);
    prop_oneof![
        4 => (operator, value()).prop_map(|(operator, value)| json!({operator: value})),
        1 => value().prop_filter("an object is no plain value here", |v| !v.is_object()),
        1 => any::<bool>().prop_map(|exists| json!({"$exists": exists})),
        1 => prop::sample::select(vec!["a", "ab", "", "\u{e9}", "e"]).prop_map(|p| json!({"$beginsWith": p})),
        1 => prop::collection::vec(value(), 0..3).prop_map(|values| json!({"$in": values})),
        1 => Just(json!({"$regex": "^a"})),
        1 => Just(json!({"$type": "string"})),
    ]
}

fn selector() -> impl Strategy<Value = Value> + Clone {
    let field = (prop::sample::select(FIELDS.to_vec()), condition())
        .prop_map(|(field, condition)| json!({field: condition}));
    let leaf = prop_oneof![3 => field.clone(), 1 => (field.clone(), field).prop_map(|(a, b)| json!({"$and": [a, b]}))];
    leaf.prop_recursive(2, 6, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 1..3).prop_map(|all| json!({"$and": all})),
            prop::collection::vec(inner.clone(), 1..3).prop_map(|any| json!({"$or": any})),
            prop::collection::vec(inner.clone(), 1..3).prop_map(|none| json!({"$nor": none})),
            inner.prop_map(|not| json!({"$not": not})),
        ]
    })
}

fn some_fields() -> impl Strategy<Value = Vec<&'static str>> {
    prop::sample::subsequence(FIELDS.to_vec(), 0..=3).prop_shuffle()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    #[test]
    fn an_index_gives_what_a_scan_gives(
        documents in prop::collection::vec(document(), 0..25),
        selector in selector(),
        sort in some_fields(),
        descending in any::<bool>(),
        declared in prop::collection::vec(some_fields().prop_filter("fields", |f| !f.is_empty()), 0..4),
    ) {
        let documents: BTreeMap<String, Document> = documents
            .iter()
            .enumerate()
            .map(|(place, document)| {
                let key = format!("k{place:02}");
                let document = Document::parse(&key, document.to_string().as_bytes()).unwrap();
                (key, document)
            })
            .collect();
        let indexes: Vec<Index> = declared
            .iter()
            .enumerate()
            .map(|(place, fields)| index("d", &format!("i{place}"), json!(fields)))
            .collect();
        let direction = if descending { "desc" } else { "asc" };
        let order: Vec<Value> = sort.iter().map(|field| json!({*field: direction})).collect();
        let query = json!({"selector": selector, "sort": order}).to_string();
        let query = Query::parse(&query, "").unwrap();
        if let Some(mut found) = run(&query, &indexes, &documents) {
            let mut expected = reference(&query, &sort, descending, &documents);
            if sort.is_empty() {
                found.sort();
                expected.sort();
            } else {
                // Columns behind those of the sort decide between equals, here as in CouchDB.
                let keys = |list: &[String]| -> Vec<Vec<Vec<u8>>> {
                    list.iter()
                        .map(|key| {
                            let values = sort.iter().filter_map(|f| member(&documents[key], f));
                            values.map(collation::encoded).collect()
                        })
                        .collect()
                };
                prop_assert_eq!(keys(&found), keys(&expected));
                found.sort();
                expected.sort();
            }
            prop_assert_eq!(found, expected);
        } else {
            // Refused only for want of an order.
            prop_assert!(!sort.is_empty());
        }
    }
}
