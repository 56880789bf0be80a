//! Two servers of one authority over one PostgreSQL database, which `cargo xtask test` installs.

use std::sync::Barrier;

use serde_json::json;

use super::postgres::Cluster;
use super::refusals::{basic, call, csr, enroll, refused, signed};
use super::*;
use crate::DatabaseOptions;
use crate::client::RevokeRequest;
use crate::server::Endpoint;

/// A server, and another one with the same key.
fn two(change: impl Fn(&mut CaOptions)) -> [Fixture; 2] {
    let database = DatabaseOptions::Postgres(Cluster::shared().new_database());
    let change = |options: &mut CaOptions| {
        options.database = database.clone();
        change(options);
    };
    let first = Fixture::with(change);
    let from = first.home.path();
    let keys = std::fs::read_dir(from.join("msp/keystore")).unwrap();
    let key = keys.flatten().next().unwrap().path();
    let second = Fixture::with(|options| {
        change(options);
        std::fs::copy(from.join("ca-cert.pem"), options.home.join("ca-cert.pem")).unwrap();
        std::fs::copy(&key, options.home.join("ca-key.pem")).unwrap();
    });
    assert_eq!(
        first.ca.ca_certificate_pem(),
        second.ca.ca_certificate_pem()
    );
    [first, second]
}

#[test]
fn enrolments_are_counted_together() {
    let servers = two(|_| {});
    let admin = enroll(&servers[0].ca, ADMIN, PASSWORD);
    let register = json!({"id": "nurse", "secret": "pw", "max_enrollments": 3});
    let granted = servers[1]
        .ca
        .answer(Endpoint::Register, &signed(&admin, &register));
    assert_eq!(granted.unwrap().status, 201);
    let (csr, _) = csr(|params| {
        params
            .distinguished_name
            .push(rcgen::DnType::CommonName, "nurse");
    });
    let body = json!({ "certificate_request": csr }).to_string();
    let together = Barrier::new(6);
    let answers = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..6)
            .map(|number| {
                let (ca, body, together) = (&servers[number % 2].ca, &body, &together);
                scope.spawn(move || {
                    let call = call(basic("nurse", "pw"), body.clone());
                    together.wait();
                    [(); 2].map(|()| match ca.answer(Endpoint::Enroll, &call) {
                        Ok(granted) => (granted.status, 0),
                        Err(refusal) => (refusal.status, refusal.local.0),
                    })
                })
            })
            .collect();
        let answers = threads.into_iter().map(|thread| thread.join().unwrap());
        answers.flatten().collect::<Vec<_>>()
    });
    let count = |expected| answers.iter().filter(|one| **one == expected).count();
    assert_eq!((count((201, 0)), count((401, 24))), (3, 9), "{answers:?}");
}

/// Opened, used and closed within an asynchronous program.
#[tokio::test]
async fn what_one_does_the_other_knows() {
    let servers = two(|options| {
        options.password_attempts = 3;
        options.remove_identities = true;
    });
    let (first, second) = (servers[0].serve().await, servers[1].serve().await);
    let admin = first.admin().await;
    let secret = second.register(&admin, "nurse", "client").await;
    let nurse = first.enroll("nurse", &secret, "").await;
    second
        .client
        .reenroll(&nurse, &request("nurse", "", ""))
        .await
        .unwrap();
    // Wrong passwords.
    for served in [&first, &second, &first] {
        let wrong = request("nurse", "wrong", "");
        assert!(served.client.enroll(&wrong).await.is_err());
    }
    let body = json!({ "certificate_request": csr(|_| {}).0 }).to_string();
    let locked = call(basic("nurse", &secret), body);
    assert_eq!(
        refused(&servers[1].ca, Endpoint::Enroll, &locked),
        (401, 73, 73)
    );
    // Lists and revocation.
    let listed = second.client.identities(&admin).await.unwrap();
    let ids: Vec<_> = listed.iter().map(|one| one.id.as_str()).collect();
    assert_eq!(ids, [ADMIN, "nurse"]);
    let revoke = RevokeRequest {
        id: "nurse".into(),
        gencrl: true,
        ..RevokeRequest::default()
    };
    let revoked = second.client.revoke(&admin, &revoke).await.unwrap();
    assert_eq!(revoked.certificates.len(), 2);
    let again = request("nurse", "", "");
    let refused = first.client.reenroll(&nurse, &again).await.unwrap_err();
    assert!(refused.to_string().contains("401"), "{refused}");
}

#[test]
fn two_authorities_of_a_server_do_not_share_a_database() {
    let database = DatabaseOptions::Postgres(Cluster::shared().new_database());
    let homes = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let [one, other] = ["ca1", "ca2"].map(|name| {
        let home = &homes[usize::from(name == "ca2")];
        CaOptions {
            database: database.clone(),
            ..CaOptions::new(home.path(), name, name)
        }
    });
    let Err(refused) = CaServer::open_all(one, vec![other]) else {
        panic!("they share one");
    };
    let refused = refused.to_string();
    assert!(refused.contains("db.datasource"), "{refused}");
    assert!(refused.starts_with("postgres://127.0.0.1:"), "{refused}");
}
