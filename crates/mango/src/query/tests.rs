use super::*;

fn refusal(text: &str) -> String {
    Query::parse(text, "").unwrap_err().to_string()
}

#[test]
fn a_query_is_read_with_all_that_couchdb_takes() {
    let query = Query::parse(
        r#"{"selector":{"a":1},"sort":[{"a":"desc"},{"b":"desc"}],"fields":["a"],"limit":"any",
            "skip":3,"bookmark":"mine","use_index":["_design/d","n"],"r":1,"conflicts":false,
            "stale":"ok","update":true,"stable":false,"execution_stats":true} trailing"#,
        "",
    )
    .unwrap();
    assert!(query.descending && query.allow_fallback && query.sort.len() == 2);
    assert_eq!((query.skip, query.bookmark.as_str()), (3, "mine"));
    for (text, ddoc, name) in [
        (r#""d""#, "d", None),
        (r#""_design/d""#, "d", None),
        (r#""d/n""#, "d", Some("n")),
        (r#""_design/d/n""#, "d", Some("n")),
        (r#"["d"]"#, "d", None),
        (r#"["_design/d","n"]"#, "d", Some("n")),
    ] {
        let query = Query::parse(&format!(r#"{{"selector":{{}},"use_index":{text}}}"#), "");
        let hint = query.unwrap().use_index.unwrap();
        assert_eq!((hint.ddoc.as_str(), hint.name.as_deref()), (ddoc, name));
    }
}

#[test]
fn a_field_counts_once_and_there_are_not_too_many() {
    let names = |count: usize| (0..count).map(|n| format!("f{n}")).collect::<Vec<_>>();
    let query = |member: &str, names: Vec<String>| {
        let text = serde_json::json!({"selector": {}, member: names}).to_string();
        Query::parse(&text, "")
    };
    for (member, error) in [
        ("fields", "invalid_fields_json"),
        ("sort", "invalid_sort_json"),
    ] {
        assert!(query(member, names(256)).is_ok());
        let refused = query(member, names(257)).unwrap_err().to_string();
        assert!(refused.contains(error), "{refused}");
    }
    let twice = ["a", "b.c", r"b.\c", "a", "d"].map(str::to_owned).to_vec();
    let parsed = query("sort", twice.clone()).unwrap();
    let once: Vec<FieldPath> = ["a", "b.c", "d"]
        .map(|n| FieldPath::parse(n).unwrap())
        .into();
    assert_eq!(parsed.sort, once);
    assert_eq!(query("fields", twice).unwrap().fields, Some(once));
}

#[test]
fn the_bookmark_of_the_call_comes_before_that_of_the_query() {
    let query = Query::parse(r#"{"selector":{},"bookmark":"mine"}"#, "theirs").unwrap();
    assert_eq!(query.bookmark, "theirs");
}

#[test]
fn what_fabric_cannot_read_is_refused_before_couchdb() {
    for (text, reason) in [
        ("", "EOF"),
        ("x", "invalid character 'x' looking for beginning of value"),
        ("{", "unexpected EOF"),
        (
            "[]",
            "json: cannot unmarshal array into Go value of type map[string]interface {}",
        ),
        (
            "null",
            "json: cannot unmarshal null into Go value of type map[string]interface {}",
        ),
        (
            r#"{"selector":{},"fields":"a"}"#,
            "fields definition must be an array",
        ),
    ] {
        assert_eq!(refusal(text), reason, "{text}");
    }
    let deep = format!(
        r#"{{"selector":{}1{}}}"#,
        r#"{"a":"#.repeat(200),
        "}".repeat(200)
    );
    assert!(refusal(&deep).contains("recursion limit"));
    assert!(refusal(&" ".repeat(2 << 20)).contains("exceeds"));
}

#[test]
fn what_couchdb_refuses_is_refused_in_its_words() {
    for (rest, reason) in [
        (
            r#""x":1"#,
            "Error:missing_required_key,  Status Code:400,  Reason:Missing required key: selector",
        ),
        (
            r#""selector":{},"x":1"#,
            "Error:invalid_key,  Status Code:400,  Reason:Invalid key x for this request.",
        ),
        (
            r#""selector":{},"skip":-1"#,
            "Error:invalid_non_neg_integer,  Status Code:400,  Reason:-1 is not an integer greater than or equal to zero",
        ),
        (
            r#""selector":{},"sort":{}"#,
            "Error:invalid_sort_json,  Status Code:400,  Reason:Sort must be an array of sort specs, not: {[]}",
        ),
        (
            r#""selector":{},"sort":[{"a":"asc"},{"b":"desc"}]"#,
            "Error:unsupported_mixed_sort,  Status Code:400,  Reason:Sorts currently only support a single direction for all fields.",
        ),
        (
            r#""selector":{},"use_index":["a","b","c"]"#,
            "Error:invalid_index_name,  Status Code:400,  Reason:Invalid index name: [<<97>>,<<98>>,<<99>>]",
        ),
        (
            r#""selector":{},"bookmark":1"#,
            "Error:invalid_bookmark,  Status Code:400,  Reason:Invalid bookmark value: 1",
        ),
        (
            r#""selector":{},"conflicts":1"#,
            "Error:invalid_boolean,  Status Code:400,  Reason:Invalid boolean value: 1",
        ),
    ] {
        let text = format!("{{{rest}}}");
        assert_eq!(
            refusal(&text),
            format!("error handling CouchDB request. {reason}"),
        );
    }
}
