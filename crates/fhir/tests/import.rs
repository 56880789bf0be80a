//! Bulk import that goes on where it stopped.

mod setup;

use std::io::{BufRead, BufReader, Read};
use std::sync::Arc;

use consilium_fhir::testing::MemoryLedger;
use consilium_fhir::{Import, ImportError, Progress};
use setup::*;

/// The entries of Johnnie's bundle as NDJSON with plain references, and three bad lines.
fn lines() -> String {
    let bundle = bundle("johnnie");
    let mut text = String::new();
    for entry in bundle["entry"].as_array().unwrap() {
        text.push_str(&entry["resource"].to_string());
        text.push('\n');
    }
    for entry in bundle["entry"].as_array().unwrap() {
        let kind = entry["resource"]["resourceType"].as_str().unwrap();
        let id = entry["resource"]["id"].as_str().unwrap();
        text = text.replace(entry["fullUrl"].as_str().unwrap(), &format!("{kind}/{id}"));
    }
    text.push_str("\n{\"resourceType\":\"Observation\"}\nnonsense\n{\"resourceType\":\"Observation\",\"id\":\"x\",\"status\":\"final\",\"code\":{},\"subject\":{\"reference\":\"Patient/unknown\"}}\n");
    text
}

fn job(name: &str, batch: usize) -> Import {
    Import {
        job: name.to_owned(),
        caller: identity(CLINIC),
        batch,
    }
}

async fn run(
    world: &World,
    import: &Import,
    source: impl BufRead + Send,
) -> (Result<Progress, ImportError>, Vec<Progress>, Vec<u64>) {
    let (mut steps, mut refused) = (Vec::new(), Vec::new());
    let result = world
        .fhir
        .import(
            import,
            source,
            |step| steps.push(step),
            |line, _| refused.push(line),
        )
        .await;
    (result, steps, refused)
}

#[tokio::test]
async fn all_lines_are_imported_once_and_the_bad_ones_named() {
    let world = world();
    let text = lines();
    let (result, steps, refused) = run(&world, &job("night", 50), text.as_bytes()).await;
    let expected = Progress {
        lines: 241,
        stored: 237,
        refused: 3,
    };
    assert_eq!(result.unwrap(), expected);
    assert_eq!(refused, [239, 240, 241]);
    assert_eq!(steps.len(), 5);
    assert_eq!(world.height(), 5, "one transaction per batch");
    // Again: nothing happens. Under another name: other records of the same person.
    assert_eq!(
        run(&world, &job("night", 50), text.as_bytes())
            .await
            .0
            .unwrap(),
        expected
    );
    assert_eq!(world.height(), 5);
    let found = world
        .get("/Patient?identifier=999-66-6607", CLINIC_DOCTOR)
        .await;
    let id = found.matches()[0]["id"].as_str().unwrap();
    let all = world
        .get(
            &format!("/Observation?patient={id}&_summary=count"),
            CLINIC_DOCTOR,
        )
        .await;
    assert_eq!(ok(&all)["total"], 106);
    let one = world
        .get(
            &format!("/Observation?patient={id}&_count=1"),
            CLINIC_DOCTOR,
        )
        .await;
    assert_eq!(
        one.matches()[0]["subject"]["reference"],
        format!("Patient/{id}")
    );
    assert_eq!(world.fhir.progress(&job("night", 1)).unwrap(), expected);
}

/// A source that breaks off, as when the process is killed.
struct Broken<'t>(&'t [u8]);

impl Read for Broken<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if self.0.is_empty() {
            return Err(std::io::Error::other("killed"));
        }
        self.0.read(buffer)
    }
}

#[tokio::test]
async fn after_a_kill_it_goes_on_where_the_last_batch_was_committed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("fhir.db");
    let (ledger, keys) = (MemoryLedger::new(), Arc::default());
    let text = lines();
    let half = &text.as_bytes()[..text.len() / 2];
    let before = {
        let world = world_at(Some(&path), ledger.clone(), Arc::clone(&keys));
        let (result, _, _) = run(&world, &job("night", 40), BufReader::new(Broken(half))).await;
        assert!(matches!(result, Err(ImportError::Source(_))));
        world.fhir.progress(&job("night", 1)).unwrap()
    };
    assert!(before.lines > 0 && before.lines < 237);
    // Killed between commit and note: the ledger has a batch that the store calls pending.
    {
        let world = world_at(Some(&path), ledger.clone(), Arc::clone(&keys));
        ledger.lose_next_answer();
        let (result, _, _) = run(&world, &job("night", 40), text.as_bytes()).await;
        assert!(
            matches!(result, Err(ImportError::Stopped { .. })),
            "{result:?}"
        );
        assert_eq!(world.fhir.progress(&job("night", 1)).unwrap(), before);
    }
    let world = world_at(Some(&path), ledger.clone(), keys);
    let (result, steps, _) = run(&world, &job("night", 40), text.as_bytes()).await;
    let done = result.unwrap();
    assert_eq!(
        done,
        Progress {
            lines: 241,
            stored: 237,
            refused: 3
        }
    );
    assert!(
        steps[0].lines > before.lines + 40,
        "the pending batch was not done again"
    );
    let patients = world
        .get("/Patient?identifier=999-66-6607", CLINIC_DOCTOR)
        .await;
    assert_eq!(ok(&patients)["total"], 1);
}

#[tokio::test]
async fn a_ledger_that_is_away_stops_it_and_nothing_is_lost() {
    let world = world();
    let text = lines();
    world.ledger.set_unavailable(true);
    let (result, steps, _) = run(&world, &job("night", 40), text.as_bytes()).await;
    assert!(matches!(result, Err(ImportError::Stopped { line: 1, .. })));
    assert!(steps.is_empty());
    world.ledger.set_unavailable(false);
    assert_eq!(
        run(&world, &job("night", 40), text.as_bytes())
            .await
            .0
            .unwrap()
            .stored,
        237
    );
    assert!(
        run(&world, &job("no such name!", 40), text.as_bytes())
            .await
            .0
            .is_err()
    );
}

#[tokio::test]
async fn it_can_be_posted_and_asked_about() {
    let world = world();
    let post = |kind: &'static str, job: &'static str, text: String| {
        http::Request::post(format!("/$import?job={job}"))
            .header("authorization", format!("Bearer {CLINIC}"))
            .header("content-type", kind)
            .body(axum::body::Body::from(text))
            .unwrap()
    };
    let ndjson = "application/fhir+ndjson";
    let wrong = world.raw(post("text/plain", "night", lines())).await;
    assert_eq!(wrong.refusal(), (415, "not-supported", "MEDIA_TYPE"));
    let unnamed = world.raw(post(ndjson, "a/b", lines())).await;
    assert_eq!(unnamed.refusal(), (400, "invalid", "STOPPED"));
    world.ledger.set_unavailable(true);
    let away = world.raw(post(ndjson, "night", lines())).await;
    assert_eq!(away.refusal(), (503, "transient", "STOPPED"));
    world.ledger.set_unavailable(false);
    let done = world.raw(post(ndjson, "night", lines())).await;
    ok(&done);
    assert_eq!(done.parameter("stored"), 237);
    assert!(
        done.parameter("issue")
            .as_str()
            .unwrap()
            .starts_with("line 239: MISSING at Observation.")
    );
    let asked = world.get("/$import?job=night", CLINIC).await;
    assert_eq!(asked.parameter("lines"), 241);
    // Another organization's job of the same name is another job.
    assert_eq!(
        world
            .get("/$import?job=night", "HospitalMSP records")
            .await
            .parameter("lines"),
        0
    );
    let scoped = world
        .get("/$import?job=night", "ClinicMSP records;user/Patient.c")
        .await;
    assert_eq!(scoped.refusal(), (403, "forbidden", "SCOPE"));
    assert_eq!(
        world.get("/$import", CLINIC).await.refusal(),
        (400, "invalid", "MISSING")
    );
}
