use consilium_contracts::vault::{Binding, KeyRing};
use serde_json::json;

use super::*;
use crate::dates;
use crate::index;

const SID: &str = "JOHNNIEJOHNNIEJOHNNIEJOHNN";

fn new(id: &str, version: u32, day: &str) -> NewDocument {
    let resource = json!({"resourceType": "Observation", "status": "final", "code": {"text": "x"}, "effectiveDateTime": day});
    let binding = Binding {
        record_id: id,
        version,
        sid: SID,
    };
    NewDocument {
        id: id.into(),
        version,
        kind: "Observation".into(),
        custodian: "ClinicMSP".into(),
        sid: SID.into(),
        class: "lab",
        confidentiality: "N",
        epoch: 0,
        sealed: KeyRing::new()
            .seal(0, &binding, resource.to_string().as_bytes())
            .unwrap(),
        entries: index::entries("Observation", &resource),
    }
}

fn stored(documents: &[NewDocument]) -> Store {
    let store = Store::in_memory(&[7; 32]).unwrap();
    for document in documents {
        store
            .prepare(std::slice::from_ref(document), None, 1)
            .unwrap();
        settle(&store, document);
    }
    store
}

fn settle(store: &Store, document: &NewDocument) {
    let settlement = Settlement {
        tx: "tx",
        block: 3,
        at: 1_000,
        ..Settlement::default()
    };
    store
        .settle(&[(document.id.clone(), document.version)], &settlement)
        .unwrap();
}

fn query(filters: Vec<Filter>) -> Query {
    Query {
        kind: Some("Observation".into()),
        custodian: Some("ClinicMSP".into()),
        filters,
        order: Order::Date("date".into()),
        descending: false,
        count: 10,
        offset: 0,
    }
}

fn ids(store: &Store, query: &Query) -> Vec<String> {
    store
        .find(query)
        .unwrap()
        .0
        .into_iter()
        .map(|d| d.id)
        .collect()
}

#[test]
fn a_pending_document_is_not_there_until_it_is_settled() {
    let store = Store::in_memory(&[7; 32]).unwrap();
    let document = new("a", 1, "2020");
    store
        .prepare(std::slice::from_ref(&document), Some("r"), 1)
        .unwrap();
    assert!(store.current("Observation", "a").unwrap().is_none());
    assert!(ids(&store, &query(vec![])).is_empty());
    assert_eq!(store.pending().unwrap()[0].request.as_deref(), Some("r"));
    settle(&store, &document);
    let found = store.current("Observation", "a").unwrap().unwrap();
    assert_eq!(
        (found.tx.as_str(), found.at, found.version),
        ("tx", 1_000, 1)
    );
    assert_eq!(store.written_by("tx").unwrap().len(), 1);
    let second = new("b", 1, "2020");
    store
        .prepare(std::slice::from_ref(&second), None, 1)
        .unwrap();
    store.discard(&[("b".into(), 1), ("a".into(), 1)]).unwrap();
    assert!(store.pending().unwrap().is_empty());
    assert!(
        store.current("Observation", "a").unwrap().is_some(),
        "what is settled is not discarded"
    );
}

#[test]
fn a_later_version_is_current_and_the_earlier_stays_readable() {
    let store = stored(&[new("a", 1, "2020"), new("a", 2, "2021")]);
    assert_eq!(
        store.current("Observation", "a").unwrap().unwrap().version,
        2
    );
    assert_eq!(
        store
            .version("Observation", "a", 1)
            .unwrap()
            .unwrap()
            .version,
        1
    );
    assert_eq!(store.find(&query(vec![])).unwrap().1, 1);
}

#[test]
fn dates_compare_as_fhir_says() {
    let store = stored(&[
        new("y", 1, "2020"),
        new("m", 1, "2020-06"),
        new("d", 1, "2021-06-15"),
    ]);
    use Comparison::*;
    for (comparison, date, expected) in [
        (Equal, "2020", vec!["y", "m"]),
        (Equal, "2020-06", vec!["m"]),
        (NotEqual, "2020-06", vec!["y", "d"]),
        (Greater, "2020-06", vec!["y", "d"]),
        (GreaterOrEqual, "2020-06", vec!["y", "m", "d"]),
        (Less, "2020-06", vec!["y"]),
        (LessOrEqual, "2020-06", vec!["y", "m"]),
        (StartsAfter, "2020", vec!["d"]),
        (EndsBefore, "2021", vec!["y", "m"]),
    ] {
        let filter = Filter::Date(
            "date".into(),
            vec![(comparison, dates::span(date).unwrap())],
        );
        assert_eq!(
            ids(&store, &query(vec![filter])),
            expected,
            "{comparison:?} {date}"
        );
    }
}

#[test]
fn pages_follow_one_another_in_either_order() {
    let store = stored(&[
        new("a", 1, "2019"),
        new("b", 1, "2020"),
        new("c", 1, "2021"),
    ]);
    let mut page = Query {
        count: 2,
        ..query(vec![])
    };
    assert_eq!(ids(&store, &page), ["a", "b"]);
    assert_eq!(store.find(&page).unwrap().1, 3);
    page.offset = 2;
    assert_eq!(ids(&store, &page), ["c"]);
    page.descending = true;
    assert_eq!(ids(&store, &page), ["a"]);
    let none = Query {
        count: 0,
        ..query(vec![])
    };
    assert_eq!(store.find(&none).unwrap().1, 3);
    let elsewhere = Query {
        custodian: Some("HospitalMSP".into()),
        ..query(vec![])
    };
    assert_eq!(store.find(&elsewhere).unwrap().1, 0);
}

#[test]
fn tokens_and_ids_and_subjects_filter() {
    let store = stored(&[new("a", 1, "2019"), new("b", 1, "2020")]);
    for (filter, count) in [
        (Filter::Token("status".into(), vec!["final".into()]), 2),
        (
            Filter::Token("status".into(), vec!["amended".into(), "final".into()]),
            2,
        ),
        (Filter::Token("status".into(), vec!["amended".into()]), 0),
        (Filter::Ids(vec!["a".into(), "z".into()]), 1),
        (Filter::Subject(SID.into()), 2),
        (Filter::Subject("X".into()), 0),
        (
            Filter::Updated(vec![(
                Comparison::Equal,
                dates::span("1970-01-01T00:00:01Z").unwrap(),
            )]),
            2,
        ),
        (
            Filter::Updated(vec![(
                Comparison::Greater,
                dates::span("1970-01-02").unwrap(),
            )]),
            0,
        ),
    ] {
        assert_eq!(
            store.find(&query(vec![filter.clone()])).unwrap().1,
            count,
            "{filter:?}"
        );
    }
}

#[test]
fn a_request_is_new_once() {
    let store = Store::in_memory(&[7; 32]).unwrap();
    assert_eq!(store.begin_request("M", "r", &["x"]).unwrap(), Known::New);
    assert_eq!(
        store.begin_request("M", "r", &["x"]).unwrap(),
        Known::Unfinished
    );
    assert_eq!(store.begin_request("M", "r", &["y"]).unwrap(), Known::Other);
    assert_eq!(store.begin_request("N", "r", &["y"]).unwrap(), Known::New);
    let settlement = Settlement {
        request: Some(("M", "r", "done".into())),
        ..Settlement::default()
    };
    store.settle(&[], &settlement).unwrap();
    assert_eq!(
        store.begin_request("M", "r", &["x"]).unwrap(),
        Known::Answered("done".into())
    );
    store.forget_request("N", "r").unwrap();
    assert_eq!(store.begin_request("N", "r", &["z"]).unwrap(), Known::New);
}

#[test]
fn erasure_leaves_the_id_and_nothing_else() {
    let store = stored(&[new("a", 1, "2019")]);
    assert_eq!(store.erase("HospitalMSP", SID).unwrap(), 0);
    assert_eq!(store.erase("ClinicMSP", SID).unwrap(), 1);
    let left = store.current("Observation", "a").unwrap().unwrap();
    assert!(left.sealed.ciphertext.is_empty() && left.sealed.wrapped_key.is_empty());
    assert_eq!(store.find(&query(vec![])).unwrap().1, 0);
}

#[test]
fn the_file_names_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("fhir.db");
    let store = Store::open(&path, &[7; 32]).unwrap();
    let patient = json!({"resourceType": "Patient", "birthDate": "2009-03-20", "name": [{"family": "Hermiston71"}], "identifier": [{"value": "999-66-6607"}]});
    let mut document = new("p", 1, "2020");
    document.kind = "Patient".into();
    document.entries = index::entries("Patient", &patient);
    store
        .prepare(std::slice::from_ref(&document), None, 1)
        .unwrap();
    settle(&store, &document);
    drop(store);
    let mut bytes = Vec::new();
    for file in std::fs::read_dir(folder.path()).unwrap() {
        bytes.extend(std::fs::read(file.unwrap().path()).unwrap());
    }
    for name in ["Hermiston71", "hermiston71", "999-66-6607", "2009-03-20"] {
        assert!(
            !bytes.windows(name.len()).any(|w| w == name.as_bytes()),
            "{name}"
        );
    }
}
