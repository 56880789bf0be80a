//! The life of certificates in a network that runs: they are renewed, replaced and refused while
//! transactions go on, and no node is restarted for it.

mod network;

use std::fs;

use network::{Load, Network, eventually, serial};

#[tokio::test(flavor = "multi_thread")]
async fn certificates_live_and_end_while_the_network_goes_on() {
    consilium_transport::install_crypto_provider();
    let network = Network::up();
    assert!(network.put("before", "1"));
    a_peer_takes_up_new_certificates_and_keys_by_itself(&network).await;
    orderers_renew_over_the_same_keys_and_stay_consenters(&network).await;
    an_orderer_shows_another_key_when_its_channel_lists_it(&network).await;
    a_bad_pair_is_refused_and_the_old_one_stays(&network).await;
    nodes_renew_by_themselves_when_the_time_has_come(&network).await;
    a_peer_signs_with_a_key_in_a_token(&network).await;
    a_revoked_user_is_refused_by_every_peer(&network).await;
    an_organization_gets_another_root_under_load(&network).await;
}

async fn a_peer_takes_up_new_certificates_and_keys_by_itself(network: &Network) {
    let dir = network.peer_dir("hospital");
    let config = dir.join("core.yaml");
    let config = config.to_str().unwrap();
    let pid = network.pid("peer0", "hospital");
    let old = network.shown("hospital", "peer").await;
    let old_key = fs::read(dir.join("tls/server.key")).unwrap();
    let printed = network.run(&["certificates", "renew", "--config", config, "--new-keys"]);
    assert!(
        printed.contains("renewed the enrollment certificate"),
        "{printed}"
    );
    let new = serial(&dir.join("tls/server.crt"));
    assert_ne!(old, new);
    assert_ne!(old_key, fs::read(dir.join("tls/server.key")).unwrap());
    network.signal("HUP", "peer0", "hospital");
    eventually("the listener to show the new certificate", || async {
        network.shown("hospital", "peer").await == new
    })
    .await;
    let signing = serial(&dir.join("msp/signcerts/cert.pem"));
    eventually("the new certificate to sign", || async {
        let log = network.log("peer0", "hospital");
        log.contains("took up the changed local MSP")
            && log.contains(&signing)
            && log.contains("gossip goes on with a new certificate")
    })
    .await;
    // The peer endorses, and pulls blocks, under its new name.
    assert!(network.put("renewed", "1"));
    assert_eq!(network.run(&["query", "kv", "get", "renewed"]).trim(), "1");
    assert_eq!(pid, network.pid("peer0", "hospital"));
    let shown = network.run(&["certificates", "show", "--config", config]);
    assert!(shown.contains(&signing) && shown.contains(&new), "{shown}");
}

async fn orderers_renew_over_the_same_keys_and_stay_consenters(network: &Network) {
    for organization in ["hospital", "maker", "regulator"] {
        let dir = network.orderer_dir(organization);
        let key = fs::read(dir.join("tls/server.key")).unwrap();
        let config = dir.join("orderer.yaml");
        network.run(&[
            "certificates",
            "renew",
            "--config",
            config.to_str().unwrap(),
        ]);
        assert_eq!(key, fs::read(dir.join("tls/server.key")).unwrap());
        let new = serial(&dir.join("tls/server.crt"));
        network.signal("HUP", "orderer0", organization);
        for kind in ["orderer", "orderer_admin"] {
            eventually("the listeners to show the new certificate", || async {
                network.shown(organization, kind).await == new
            })
            .await;
        }
    }
    // One that comes back has to be let in by the others with what it and they show now.
    network.signal("KILL", "orderer0", "maker");
    network.run(&["network", "up", "--dir", network.dir_name()]);
    eventually("a transaction to be ordered", || async {
        network.put("ordered", "1")
    })
    .await;
    eventually("all orderers to follow", || async {
        let status = network.try_run(&["network", "status", "--dir", network.dir_name()]);
        status.status.success()
    })
    .await;
}

async fn an_orderer_shows_another_key_when_its_channel_lists_it(network: &Network) {
    let dir = network.orderer_dir("regulator");
    let (config, certificate) = (dir.join("orderer.yaml"), dir.join("tls/server.crt"));
    let (config, certificate) = (config.to_str().unwrap(), certificate.to_str().unwrap());
    let old = network.shown("regulator", "orderer").await;
    network.run(&["certificates", "renew", "--config", config, "--new-keys"]);
    let new = serial(&dir.join("tls/server.crt"));
    network.signal("HUP", "orderer0", "regulator");
    eventually("the log to say why it waits", || async {
        let log = network.log("orderer0", "regulator");
        log.contains("the changed server TLS certificate waits, the one in use stays")
            && log.contains("the consenters of health do not list it")
    })
    .await;
    assert_eq!(network.shown("regulator", "orderer").await, old);
    // Another one is away: without this one nothing would be ordered, the update included.
    network.signal("KILL", "orderer0", "maker");
    eventually("a transaction to be ordered", || async {
        network.put("waiting", "1")
    })
    .await;
    network.run(&["network", "up", "--dir", network.dir_name()]);
    let address = format!("localhost:{}", network.port("regulator", "orderer"));
    let listed = format!("orderer.raft.consenters={address}@{certificate}");
    let file = network.dir().join("proposal.pb");
    let to = ["--submit", "--out", file.to_str().unwrap()];
    eventually("the update to be taken", || async {
        let update = [&["channel", "propose", "--add", &listed], &to[..]].concat();
        network.try_run(&update).status.success()
    })
    .await;
    eventually("the listener to show the listed certificate", || async {
        network.shown("regulator", "orderer").await == new
    })
    .await;
    eventually("all orderers to follow", || async {
        let status = network.try_run(&["network", "status", "--dir", network.dir_name()]);
        status.status.success()
    })
    .await;
    assert!(network.put("listed", "1"));
}

async fn a_bad_pair_is_refused_and_the_old_one_stays(network: &Network) {
    let certificate = network.peer_dir("maker").join("tls/server.crt");
    let good = fs::read(&certificate).unwrap();
    let old = network.shown("maker", "peer").await;
    let foreign = network.user_dir("maker", "Admin").join("tls/client.crt");
    fs::write(&certificate, fs::read(foreign).unwrap()).unwrap();
    network.signal("HUP", "peer0", "maker");
    eventually("the log to say so", || async {
        let log = network.log("peer0", "maker");
        log.contains("refused the changed server TLS certificate, the one in use stays")
            && log.contains("does not belong to the TLS certificate")
    })
    .await;
    assert_eq!(network.shown("maker", "peer").await, old);
    fs::write(&certificate, good).unwrap();
    assert!(network.put("refused", "1"));
}

async fn nodes_renew_by_themselves_when_the_time_has_come(network: &Network) {
    let dir = network.peer_dir("regulator");
    let file = dir.join("core.yaml");
    let settings = fs::read_to_string(&file).unwrap();
    // As if all of its life were over: then it is renewed at once.
    let due = settings.replace("    renewal:\n", "    renewal:\n      atShare: 0\n");
    assert_ne!(due, settings);
    fs::write(&file, due).unwrap();
    let [tls, signing] = ["tls/server.crt", "msp/signcerts/cert.pem"].map(|name| dir.join(name));
    let old = (serial(&tls), serial(&signing));
    network.signal("KILL", "peer0", "regulator");
    network.run(&["network", "up", "--dir", network.dir_name()]);
    eventually("both certificates to be renewed", || async {
        serial(&tls) != old.0 && serial(&signing) != old.1
    })
    .await;
    eventually("the listener to show the new certificate", || async {
        network.shown("regulator", "peer").await == serial(&tls)
    })
    .await;
    let metrics = network.metrics("regulator", "peer_operations").await;
    for line in [
        "certificate_not_after{use=\"enrollment\"}",
        "certificate_not_after{use=\"server\"}",
        "certificate_renewal_failures{use=\"server\"} 0",
        "kind=\"TLS root\"",
        "kind=\"consenter\"",
    ] {
        assert!(metrics.contains(line), "{line} in {metrics}");
    }
    assert!(network.put("by itself", "1"));
}

async fn a_peer_signs_with_a_key_in_a_token(network: &Network) {
    let dir = network.peer_dir("maker");
    let keystore = dir.join("msp/keystore");
    let key = fs::read_dir(&keystore).unwrap().next().unwrap().unwrap();
    let name = key.file_name().into_string().unwrap();
    let id = name.strip_suffix("_sk").unwrap();
    let library = network.token("maker", &key.path(), id);
    fs::remove_file(key.path()).unwrap();
    let file = dir.join("core.yaml");
    let settings = fs::read_to_string(&file).unwrap();
    let token = format!(
        "peer:\n  BCCSP:\n    Default: PKCS11\n    PKCS11:\n      Library: {library}\n      \
         Label: maker\n      Pin: 98765432\n"
    );
    fs::write(&file, settings.replacen("peer:\n", &token, 1)).unwrap();
    network.signal("KILL", "peer0", "maker");
    network.run(&["network", "up", "--dir", network.dir_name()]);
    assert_eq!(fs::read_dir(&keystore).unwrap().count(), 0);
    // The policy wants an endorsement of this peer.
    eventually("an endorsement by the token", || async {
        network.put("token", "1")
    })
    .await;
}

async fn a_revoked_user_is_refused_by_every_peer(network: &Network) {
    let user = network.user_dir("regulator", "User1");
    let put = |key: &str| {
        let peers = ["hospital", "maker", "regulator"];
        peers.map(|peer| {
            let roots = network
                .organization_dir(peer)
                .join("msp/tlscacerts/tlsca-cert.pem");
            network.put_at(peer, &roots, "RegulatorMSP", &user, [key, "1"])
        })
    };
    assert_eq!(put("revoked"), [true; 3]);
    let printed = network.run(&["channel", "revoke", "User1", "--as", "regulator/Admin"]);
    assert!(printed.contains("is in force"), "{printed}");
    eventually("every peer to refuse the user", || async {
        put("revoked") == [false; 3]
    })
    .await;
    assert!(network.put("others", "1"));
}

async fn an_organization_gets_another_root_under_load(network: &Network) {
    let load = Load::begin(network);
    let root = network
        .dir()
        .join("organizations/hospital.example/ca/ca-cert.pem");
    let former = serial(&root);
    let step = |option: &[&str]| {
        let command = ["network", "rotate-root", "hospital"];
        network.run(&[&command[..], &["--dir", network.dir_name()], option].concat());
    };
    step(&[]);
    assert_ne!(serial(&root), former);
    load.went_on("both roots are trusted").await;
    // An application that trusts both, and keeps its user's certificates.
    let kept = network.dir().join("kept");
    copy(&network.user_dir("hospital", "User1"), &kept);
    step(&["--renew"]);
    for kind in ["peer", "orderer"] {
        let dir = match kind {
            "peer" => network.peer_dir("hospital"),
            _ => network.orderer_dir("hospital"),
        };
        eventually(
            "the listener to show a certificate of the new root",
            || async {
                network.shown("hospital", kind).await == serial(&dir.join("tls/server.crt"))
            },
        )
        .await;
    }
    load.went_on("everything is certified anew").await;
    assert!(
        network.put_as("hospital", &kept, "former", "1"),
        "the former root is trusted"
    );

    step(&["--finish"]);
    load.went_on("one root is trusted").await;
    assert!(
        !network.put_as("hospital", &kept, "former", "2"),
        "the former root is refused"
    );
    load.end();

    // What is read at a start is right as well.
    for node in ["peer0", "orderer0"] {
        network.signal("KILL", node, "hospital");
    }
    network.run(&["network", "up", "--dir", network.dir_name()]);
    eventually("a transaction after a restart", || async {
        network.put("rotated", "1")
    })
    .await;
}

fn copy(from: &std::path::Path, to: &std::path::Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}
