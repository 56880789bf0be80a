//! Cases about MSPs and channel configurations, with our verdict on each. They are written to
//! target/judged/cases.json, where tests/go/judged gives them to Fabric's own code: its verdicts have to
//! be the same.

mod configs;
mod msps;
mod updates;

use serde_json::{Value, json};

/// A verdict as both sides write it: nothing, or why not.
fn verdict<T, E: std::fmt::Display>(outcome: &Result<T, E>) -> Value {
    match outcome {
        Ok(_) => Value::Null,
        Err(error) => json!(error.to_string()),
    }
}

#[test]
fn every_case_is_judged_as_its_table_says_and_written_for_fabric_to_judge() {
    let cases: Vec<Value> = [msps::cases(), configs::cases(), updates::cases()].concat();
    assert!(cases.len() > 100, "{} cases", cases.len());
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/judged");
    std::fs::create_dir_all(folder).expect("a folder");
    let text = serde_json::to_vec(&cases).expect("JSON");
    std::fs::write(format!("{folder}/cases.json"), text).expect("written");
    let wrong: Vec<String> = cases
        .iter()
        .filter(|case| case["accepted"] != case["verdict"].is_null())
        .map(|case| format!("{} {}: {}", case["kind"], case["name"], case["verdict"]))
        .collect();
    assert!(wrong.is_empty(), "judged otherwise:\n{}", wrong.join("\n"));
}
