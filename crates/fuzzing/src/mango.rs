//! Rich queries: selectors, sort, bookmarks and index definitions, and what they say of documents.

use std::cmp::Ordering;
use std::sync::atomic::AtomicBool;

use consilium_mango::collation::{compare, encoded};
use consilium_mango::{Access, Bookmark, Document, Index, Query, plan};
use serde_json::Value;

/// Lines: a query, an index definition, and documents.
pub(crate) fn run(data: &[u8]) -> bool {
    let mut lines = data.split(|byte| *byte == b'\n');
    let query = lines.next().and_then(|line| std::str::from_utf8(line).ok());
    let index = lines.next().and_then(|line| Index::parse(line).ok());
    let documents: Vec<Document> = lines
        .take(8)
        .filter_map(|line| Document::parse("kéy", line))
        .collect();
    if let Some(index) = &index {
        documents
            .iter()
            .for_each(|document| covered(index, document));
    }
    for pair in documents.windows(2) {
        ordered(pair[0].value(), pair[1].value());
    }
    let Some(text) = query else {
        return false;
    };
    // A bookmark that is given counts, whatever the query's own is.
    if let Ok(query) = Query::parse(text, "given") {
        assert_eq!(query.bookmark, "given");
    }
    let Ok(query) = Query::parse(text, "") else {
        return bookmark(text);
    };
    asked(&query, index.as_ref(), &documents);
    index.is_some() && !documents.is_empty()
}

fn covered(index: &Index, document: &Document) {
    if let Some(mut record) = index.entry(document) {
        record.extend_from_slice("kéy".as_bytes());
        assert_eq!(index.key_of(&record), Some("kéy"), "a record has its key");
    }
}

/// Encodings order as the values do, and so do those of their members.
fn ordered(a: &Value, b: &Value) {
    let (encoded_a, encoded_b) = (encoded(a), encoded(b));
    assert_eq!(compare(a, b), encoded_a.cmp(&encoded_b), "{a} and {b}");
    assert_eq!(compare(b, a), compare(a, b).reverse(), "{a} and {b}");
    if encoded_a != encoded_b {
        assert!(!encoded_a.starts_with(&encoded_b) && !encoded_b.starts_with(&encoded_a));
    }
    if let (Value::Object(a), Value::Object(b)) = (a, b) {
        for (a, b) in a.values().zip(b.values()) {
            if compare(a, b) == Ordering::Equal {
                assert_eq!(encoded(a), encoded(b), "{a} and {b}");
            }
        }
    }
}

fn bookmark(text: &str) -> bool {
    let Ok(bookmark) = Bookmark::decode(text) else {
        return false;
    };
    let again = Bookmark::decode(&bookmark.encode());
    assert_eq!(again, Ok(bookmark), "a bookmark reads back");
    true
}

fn asked(query: &Query, index: Option<&Index>, documents: &[Document]) {
    let never = AtomicBool::new(false);
    let stopped = AtomicBool::new(true);
    let access = plan(query, index.as_slice());
    for document in documents {
        assert!(!query.matches(document, &stopped), "a stopped query ends");
        if !query.matches(document, &never) {
            continue;
        }
        let result = query.result(document.clone());
        let result: Result<serde_json::Map<String, Value>, _> = serde_json::from_slice(&result);
        assert!(!result.expect("a JSON object").contains_key("_id"));
        match (&access, index) {
            (Ok(Access::Nothing), _) if query.asks_for_nothing() => {}
            (Ok(Access::Nothing), _) => panic!("a plan leaves out {document:?}"),
            (Ok(Access::Records { start, end, .. }), Some(index)) => {
                // Who asks for an index with a filter asks only for what it covers.
                if let Some(mut record) = index.entry(document) {
                    record.extend_from_slice("kéy".as_bytes());
                    let found = *start <= record && record < *end;
                    assert!(found, "a range leaves out {document:?}");
                }
            }
            _ => {}
        }
    }
}
