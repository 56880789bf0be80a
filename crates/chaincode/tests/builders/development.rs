//! Development mode: chaincode that its developer starts.

use crate::site::{Builders, Site, script};
use crate::support::service::register;
use crate::support::{ORG1, ORG2, ask, ask_lifecycle, definition};

async fn connect(site: &Site) -> tonic::transport::Channel {
    let patience = std::time::Duration::from_secs(10);
    consilium_transport::connect(&site.address, None, patience)
        .await
        .unwrap()
}

/// A site whose peers are in development mode, or not, with the definition of `cc` at version 1.0.
async fn site(development: bool) -> Site {
    let builders = Builders::new();
    let site = Site::with(&builders, None, |mut options| {
        options.launch.development = development;
        options
    })
    .await;
    let cc = definition("cc", 1, "1.0");
    for peer in [ORG1, ORG2] {
        site.consortium.approve(peer, &cc, "cc:1.0").await;
    }
    let asked = ask_lifecycle("CommitChaincodeDefinition", &cc.commit());
    site.consortium.submit(&[ORG1, ORG2], &asked).await;
    site
}

async fn said(site: &Site) -> Result<String, String> {
    let executed = site
        .consortium
        .execute(ORG1, &ask("cc", &["get", "a"]))
        .await;
    let payload = executed
        .map_err(|error| error.to_string())?
        .response
        .payload;
    Ok(String::from_utf8_lossy(&payload).into_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_developers_chaincode_registers_under_name_and_version_and_may_be_restarted() {
    let site = site(true).await;
    let missing = said(&site).await.unwrap_err();
    let how = format!(
        "start it with CORE_CHAINCODE_ID_NAME=cc:1.0 and --peer.address {}",
        site.address
    );
    assert!(missing.contains(&how), "{missing}");
    for _ in 0..2 {
        let running = register(connect(&site).await, "cc:1.0", script())
            .await
            .unwrap();
        assert_eq!(said(&site).await.as_deref(), Ok(""));
        let twice = register(connect(&site).await, "cc:1.0", script()).await;
        assert_eq!(
            twice.unwrap_err().message(),
            "duplicate chaincodeID: cc:1.0"
        );
        running.abort();
        let gone = || async { said(&site).await.is_err() };
        for attempt in 0.. {
            if gone().await {
                break;
            }
            assert!(attempt < 500, "it is gone");
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    }
    let endless = register(connect(&site).await, &"x".repeat(2000), script()).await;
    assert_eq!(
        endless.unwrap_err().message(),
        "error in handling register chaincode, chaincodeID is longer than 1024 bytes"
    );
    // Another version is another chaincode.
    let _other = register(connect(&site).await, "cc:2.0", script())
        .await
        .unwrap();
    assert!(said(&site).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn without_development_mode_nobody_comes_by_himself() {
    let site = site(false).await;
    let refused = register(connect(&site).await, "cc:1.0", script()).await;
    assert_eq!(
        refused.unwrap_err().message(),
        "peer will not accept external chaincode connection cc:1.0 (except in dev mode)"
    );
    let missing = said(&site).await.unwrap_err();
    assert!(
        missing.contains("chaincode definition for 'cc' exists, but chaincode is not installed"),
        "{missing}"
    );
}
