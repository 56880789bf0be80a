//! Chaincode that a builder runs: who may register, how it ends, and that nothing is left of it.

use crate::site::{
    ALL, Builders, COPY, Launched, Site, WAIT, eventually, is_listed, lives, package, script,
};
use crate::support::service::{Service, register};
use crate::support::{ORG1, ORG2, ask, definition};
use consilium_chaincode::Credentials;
use std::fs;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

const SOURCE: &[(&str, &str)] = &[("src/main.x", "code")];

fn credentials() -> Arc<Credentials> {
    Credentials::new("127.0.0.1").unwrap()
}

fn runner() -> Builders {
    Builders::new().with("b", &[ALL, COPY, WAIT])
}

/// What the chaincode answers at the first peer, or why it does not.
async fn said(site: &Site, args: &[&str]) -> Result<String, String> {
    let asked = ask("cc", args);
    let executed = site.consortium.execute(ORG1, &asked).await;
    let payload = executed
        .map_err(|error| error.to_string())?
        .response
        .payload;
    Ok(String::from_utf8_lossy(&payload).into_owned())
}

/// A site whose chaincode `cc` is one that the builders take.
async fn deployed(builders: &Builders) -> Site {
    let site = Site::new(builders).await;
    deploy(&site).await;
    site
}

async fn deploy(site: &Site) {
    let file = package("x", SOURCE);
    let mut id = String::new();
    for peer in &site.consortium.peers {
        // Some tests have installed it before.
        let _ = peer.host.install(&file);
        id = peer.host.installed()[0].id.clone();
    }
    for peer in [ORG1, ORG2] {
        let definition = definition("cc", 1, "1.0");
        site.consortium.approve(peer, &definition, &id).await;
    }
    let commit = definition("cc", 1, "1.0").commit();
    let asked = crate::support::ask_lifecycle("CommitChaincodeDefinition", &commit);
    site.consortium.submit(&[ORG1, ORG2], &asked).await;
}

/// The first call, which launches the process, and what the process was told.
async fn launched(site: &Site, builders: &Builders) -> (Launched, tokio::task::JoinHandle<()>) {
    let (answer, started) = tokio::join!(said(site, &["get", "a"]), async {
        let told = Launched::next(builders).await;
        let registered = told.register().await;
        (told, registered)
    });
    assert_eq!(answer.as_deref(), Ok(""));
    started
}

#[tokio::test(flavor = "multi_thread")]
async fn a_launched_chaincode_registers_with_what_it_was_given() {
    let builders = runner();
    let site = deployed(&builders).await;
    assert!(
        builders.lines("pids").is_empty(),
        "nothing runs before it is called"
    );
    let (told, _) = launched(&site, &builders).await;
    assert_eq!(told.mspid, "Org1MSP");
    assert!(told.chaincode_id.starts_with("cc:"));
    assert_eq!(told.peer_address, site.address);
    // Many calls, one process.
    for _ in 0..5 {
        assert_eq!(said(&site, &["get", "a"]).await.as_deref(), Ok(""));
    }
    assert_eq!(builders.lines("pids").len(), 1);
    site.consortium.peers[ORG1].host.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_registers_as_another_chaincode_or_twice() {
    let builders = runner();
    let site = deployed(&builders).await;
    let (told, first) = launched(&site, &builders).await;
    let refused = async |peer, name: &str| {
        let registered = register(peer, name, script()).await;
        registered.map(drop).unwrap_err().message().to_owned()
    };
    let again = refused(told.connect().await, &told.chaincode_id).await;
    assert_eq!(
        again,
        format!("duplicate chaincodeID: {}", told.chaincode_id)
    );
    let other = refused(told.connect().await, "other:1").await;
    assert!(
        other.ends_with("belongs to a different chaincode"),
        "{other}"
    );
    let nameless = refused(told.connect().await, "").await;
    assert_eq!(
        nameless,
        "error in handling register chaincode, chaincodeID is empty"
    );
    assert_eq!(
        said(&site, &["get", "a"]).await.as_deref(),
        Ok(""),
        "nothing of that hurts"
    );

    // A certificate is worth nothing once its process has ended.
    let peer = told.connect().await;
    let pid = builders.lines("pids")[0].clone();
    Command::new("kill").args(["-9", &pid]).status().unwrap();
    first.await.unwrap();
    let connected = eventually("the end of the certificate", || {
        (!lives(&pid)).then_some(())
    });
    connected.await;
    let late = async || refused(peer.clone(), &told.chaincode_id).await;
    for attempt in 0.. {
        let late = late().await;
        if late.ends_with("not found in registry") {
            break;
        }
        assert!(attempt < 200, "{late}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_was_killed_is_started_again_by_the_next_call() {
    let builders = runner();
    let site = deployed(&builders).await;
    let (_, stream) = launched(&site, &builders).await;
    let pid = builders.lines("pids")[0].clone();
    Command::new("kill").args(["-9", &pid]).status().unwrap();
    // Its stream ends with it.
    stream.await.unwrap();
    launched(&site, &builders).await;
    let pids = builders.lines("pids");
    assert_eq!(pids.len(), 2);
    assert!(!is_listed(&pids[0]), "no zombie is left");
    assert_eq!(builders.lines("builds").len(), 2, "built once at each peer");
    site.consortium.peers[ORG1].host.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_whose_stream_has_ended_is_stopped() {
    let builders = runner();
    let site = deployed(&builders).await;
    let (_, stream) = launched(&site, &builders).await;
    stream.abort();
    let pid = builders.lines("pids")[0].clone();
    eventually("the end of the process", || {
        (!is_listed(&pid)).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_peer_takes_every_process_with_it() {
    // One that does not want to go, and has a child.
    let stubborn = (
        "run",
        "trap '' TERM; echo $$ >> OUT/pids; sleep 1000 & echo $! >> OUT/pids; cp \"$2/chaincode.json\" OUT/new; mv OUT/new OUT/launched.1; echo \"$2\" > OUT/folder; wait; sleep 1000",
    );
    let builders = Builders::new().with("b", &[ALL, COPY, stubborn]);
    let site = deployed(&builders).await;
    launched(&site, &builders).await;
    let pids = builders.lines("pids");
    assert!(pids.iter().all(|pid| lives(pid)), "{pids:?}");
    let folder = builders.lines("folder")[0].clone();
    assert!(fs::exists(&folder).unwrap());
    site.consortium.peers[ORG1].host.shutdown().await;
    assert!(!is_listed(&pids[0]), "it is gone, and no zombie");
    eventually("the end of its child", || (!lives(&pids[1])).then_some(())).await;
    assert!(!fs::exists(&folder).unwrap(), "the key is gone with it");
    let refused = said(&site, &["get", "a"]).await.unwrap_err();
    assert!(refused.contains("the peer is shutting down"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_ends_or_never_registers_is_a_launch_that_failed() {
    for (run, patience, reason) in [
        (
            "echo no luck >&2; exit 7",
            60,
            "chaincode registration failed: container exited with exit status 7",
        ),
        (
            "echo $$ >> OUT/pids; sleep 1000",
            1,
            "timeout expired while starting chaincode cc:",
        ),
    ] {
        let builders = Builders::new().with("b", &[ALL, COPY, ("run", run)]);
        let site = Site::with(&builders, Some(credentials()), |mut options| {
            options.launch.startup_timeout = Duration::from_secs(patience);
            options
        })
        .await;
        deploy(&site).await;
        let refused = said(&site, &["get", "a"]).await.unwrap_err();
        assert!(
            refused.contains("could not launch chaincode cc:"),
            "{refused}"
        );
        assert!(refused.contains(reason), "{refused}");
        for pid in builders.lines("pids") {
            eventually("the end of the process", || (!lives(&pid)).then_some(())).await;
        }
    }
    let builders = Builders::new().with("b", &[ALL, COPY]);
    let site = deployed(&builders).await;
    let refused = said(&site, &["get", "a"]).await.unwrap_err();
    assert!(
        refused.contains("builder 'b' run failed to start"),
        "{refused}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_builder_may_say_that_the_chaincode_is_a_service() {
    let service = Service::start(None, script()).await;
    let release = (
        "release",
        "mkdir -p \"$2/chaincode/server\"; cp \"$1/connection.json\" \"$2/chaincode/server/\"",
    );
    let builders = Builders::new().with("b", &[ALL, COPY, release]);
    let site = Site::new(&builders).await;
    let connection = format!(r#"{{"address":"{}"}}"#, service.address);
    let file = package("x", &[("connection.json", &connection)]);
    let id = site
        .consortium
        .deploy(&definition("cc", 1, "1.0"), &file)
        .await;
    service.set_ccid(&id);
    assert_eq!(said(&site, &["get", "a"]).await.as_deref(), Ok(""));
    assert_eq!(service.connections(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_builder_says_of_a_service_is_not_read_when_it_is_too_large() {
    let release = (
        "release",
        "mkdir -p \"$2/chaincode/server\"; head -c 2000000 /dev/zero > \"$2/chaincode/server/connection.json\"",
    );
    let builders = Builders::new().with("b", &[ALL, COPY, release]);
    let site = deployed(&builders).await;
    let refused = said(&site, &["get", "a"]).await.unwrap_err();
    assert!(
        refused.contains("external builder 'b' failed: connection.json exceeds 1048576 bytes"),
        "{refused}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_build_that_was_lost_is_made_again_when_it_is_called() {
    let builders = runner();
    let site = deployed(&builders).await;
    fs::remove_dir_all(site.builds()).unwrap();
    fs::create_dir(site.builds()).unwrap();
    launched(&site, &builders).await;
    assert_eq!(builders.lines("builds").len(), 3);
    site.consortium.peers[ORG1].host.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_be_called_is_started_ahead_and_what_cannot_is_ended_after_its_calls() {
    let builders = runner();
    let site = Site::with(&builders, Some(credentials()), |mut options| {
        options.execute_timeout = Duration::from_millis(300);
        options
    })
    .await;
    let host = site.consortium.peers[ORG1].host.clone();
    let first = site.consortium.install(&package("x", SOURCE));
    host.keep_launched();
    deploy(&site).await;
    assert!(builders.lines("pids").is_empty(), "installed is not enough");
    host.keep_launched();
    let told = Launched::next(&builders).await;
    assert_eq!(told.chaincode_id, first);
    let stream = told.register().await;
    assert_eq!(said(&site, &["get", "a"]).await.as_deref(), Ok(""));
    host.keep_launched();
    assert_eq!(builders.lines("pids").len(), 1, "once is enough");

    // The next sequence is another package's.
    let second = site
        .consortium
        .install(&package("x", &[("src/main.x", "other")]));
    let next = definition("cc", 2, "2.0");
    for peer in [ORG1, ORG2] {
        site.consortium.approve(peer, &next, &second).await;
    }
    let asked = crate::support::ask_lifecycle("CommitChaincodeDefinition", &next.commit());
    site.consortium.submit(&[ORG1, ORG2], &asked).await;
    host.keep_launched();
    let told = Launched::next(&builders).await;
    assert_eq!(told.chaincode_id, second);
    let _second = told.register().await;
    stream.await.unwrap();
    let pids = builders.lines("pids");
    eventually("the end of the first", || {
        (!is_listed(&pids[0])).then_some(())
    })
    .await;
    assert!(lives(&pids[1]));
    host.shutdown().await;
}
