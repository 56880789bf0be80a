//! Every entry point of a network against callers who mean harm: one network of the real program, a table
//! of who tries what where and the exact answer, and after each attempt the question whether the node still
//! serves those who may be served.
//!
//! The table is in docs/security.md, too; a test compares the two. `SECURITY_ONLY=deliver` (or
//! `deliver/expired`) tries only some; `SECURITY_WRITE=1` writes the documentation's table anew.

mod attempts;
mod ca;
mod cells;
mod http;
mod people;
mod site;
mod table;
mod tls;
mod wire;

use std::sync::Arc;
use std::time::{Duration, Instant};

use site::Site;
use table::{Attack, Cell, Entry};

/// No step takes so long unless it fails.
const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_entry_point_answers_as_the_table_says_and_serves_on() {
    let began = Instant::now();
    let site = Arc::new(Site::start().await);
    for entry in Entry::ALL {
        assert_eq!(
            site.serves(entry).await,
            Ok(()),
            "{entry:?} before any attack"
        );
    }
    let only = std::env::var("SECURITY_ONLY").unwrap_or_default();
    // The authority has its usual patience, which is half a minute: it is tried beside the others.
    let slow = {
        let site = site.clone();
        tokio::spawn(async move { attempts::attempt(&site, Entry::Ca, Attack::SlowBody).await })
    };
    let mut slow = Some(slow);
    let mut wrong = Vec::new();
    let mut tried = 0;
    for (entry, attack, cell) in table::cells() {
        let Cell::Here(expected) = cell else { continue };
        let name = format!("{entry}/{attack}");
        if !name.contains(&only) {
            continue;
        }
        tried += 1;
        let attempt = async {
            match slow.take_if(|_| (entry, attack) == (Entry::Ca, Attack::SlowBody)) {
                Some(slow) => slow.await.expect("no panic"),
                None => attempts::attempt(&site, entry, attack).await,
            }
        };
        let answer = match tokio::time::timeout(PATIENCE, attempt).await {
            Ok(answer) => answer,
            Err(_) => "no answer".to_owned(),
        };
        if answer != expected {
            wrong.push(format!(
                "{name}\n  expected {expected:?}\n  got      {answer:?}"
            ));
        }
        if let Err(reason) = site.serves(entry).await {
            wrong.push(format!("{name}: it does not serve any more: {reason}"));
        }
    }
    println!("{tried} attempts in {:?}", began.elapsed());
    assert!(tried > 0, "no attempt has such a name");
    assert!(wrong.is_empty(), "{}\n{}", wrong.join("\n"), site.logs());
}

#[test]
fn the_documentation_has_the_table() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/security.md");
    let text = std::fs::read_to_string(path).expect("docs/security.md");
    let [begin, end] = ["<!-- table -->\n", "<!-- end of the table -->"];
    let (before, rest) = text.split_once(begin).expect("the table's begin");
    let (shown, after) = rest.split_once(end).expect("the table's end");
    let table = table::render();
    if std::env::var_os("SECURITY_WRITE").is_some() {
        std::fs::write(path, [before, begin, &table, end, after].concat()).expect("written");
        return;
    }
    let different = shown.lines().zip(table.lines()).find(|(a, b)| a != b);
    assert_eq!(different, None, "SECURITY_WRITE=1 writes the table anew");
    assert_eq!(shown.lines().count(), table.lines().count());
}

#[test]
fn every_pair_of_entry_point_and_attack_has_one_cell_and_tests_elsewhere_exist() {
    let cells: Vec<_> = table::cells().collect();
    for entry in Entry::ALL {
        for attack in Attack::ALL {
            let found = cells.iter().filter(|(e, a, _)| (*e, *a) == (entry, attack));
            assert_eq!(found.count(), 1, "{entry}/{attack}");
        }
    }
    for (entry, attack, cell) in cells {
        let Cell::Elsewhere(_, test) = cell else {
            continue;
        };
        let (file, name) = test.split_once("::").expect("file::test");
        let path = format!("{}/../../{file}", env!("CARGO_MANIFEST_DIR"));
        let text = std::fs::read_to_string(&path).expect(file);
        assert!(
            text.contains(&format!("fn {name}(")),
            "{entry}/{attack}: {test}"
        );
    }
}
