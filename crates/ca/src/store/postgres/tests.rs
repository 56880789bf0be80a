//! What only a database that several servers share can get wrong, and what comes of its being
//! elsewhere.

use std::sync::Barrier;

use super::*;
use crate::store::tests::{add, certificate, in_postgres};
use crate::store::{CertificateFilter, Cursor, NewIdentity};
use crate::tests::postgres::Cluster;

#[test]
fn what_postgresql_cannot_hold_is_the_callers_mistake() {
    let store = in_postgres(&Cluster::shared().new_database());
    let long = "x".repeat(256);
    for id in ["a\0b", long.as_str()] {
        let identity = NewIdentity {
            id,
            password: "p",
            kind: "client",
            affiliation: "",
            attributes: &[],
            max_enrollments: -1,
        };
        let refused = store.add_identity(&identity).unwrap_err();
        assert!(matches!(refused, StoreError::Unfit(_)), "{refused}");
    }
    // The connection is still good.
    assert!(add(&store, "alice", -1));
}

/// Registers over one database enrol as one: with eight at once, the limit is kept to the last.
#[test]
fn two_registers_count_enrolments_together() {
    let options = Cluster::shared().new_database();
    let stores = [in_postgres(&options), in_postgres(&options)];
    add(&stores[0], "alice", 5);
    let together = Barrier::new(8);
    let granted = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|number| {
                let (store, together) = (&stores[number % 2], &together);
                scope.spawn(move || {
                    together.wait();
                    let serials = [format!("{number}a"), format!("{number}b")];
                    let add = |serial: &String| {
                        let issued = certificate("alice", serial);
                        store.add_certificate(&issued, Some(5)).unwrap()
                    };
                    serials.iter().filter(|serial| add(serial)).count()
                })
            })
            .collect();
        let counts = threads.into_iter().map(|thread| thread.join().unwrap());
        counts.sum::<usize>()
    });
    assert_eq!(granted, 5);
    for store in &stores {
        assert_eq!(store.identity("alice").unwrap().unwrap().state, 5);
        let filter = CertificateFilter::default();
        let all = store.certificates(&filter, &Cursor::default(), 99).unwrap();
        assert_eq!(all.len(), 5);
    }
}

/// Whoever is revoked while certificates are issued to it ends with none that is good.
#[test]
fn no_certificate_slips_past_a_revocation() {
    let options = Cluster::shared().new_database();
    let stores = [in_postgres(&options), in_postgres(&options)];
    for round in 0..10 {
        let id = format!("member{round}");
        add(&stores[0], &id, -1);
        std::thread::scope(|scope| {
            let (id, stores) = (&id, &stores);
            for (number, enrollments) in [(0, Some(-1)), (1, None)] {
                scope.spawn(move || {
                    for count in 0..20 {
                        let serial = format!("{round}{number}{count:02}");
                        let issued = certificate(id, &serial);
                        if !stores[number]
                            .add_certificate(&issued, enrollments)
                            .unwrap()
                        {
                            break;
                        }
                    }
                });
            }
            scope.spawn(move || {
                std::thread::sleep(std::time::Duration::from_millis(round * 3));
                stores[1].revoke_identity(id, 1).unwrap();
            });
        });
        let filter = CertificateFilter {
            id,
            not_revoked: true,
            ..CertificateFilter::default()
        };
        let good = stores[0].certificates(&filter, &Cursor::default(), 99);
        assert!(good.unwrap().is_empty(), "round {round}");
    }
}

#[test]
fn registers_that_start_at_once_make_one_database() {
    let options = Cluster::shared().new_database();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| in_postgres(&options).add_affiliation("org1").unwrap());
        }
    });
    assert_eq!(in_postgres(&options).affiliations("").unwrap(), ["org1"]);
}

/// Nobody is told of a restart but by patience: work goes on over new connections.
#[test]
fn a_database_that_restarts_is_connected_to_again() {
    let cluster = Cluster::start();
    let options = cluster.new_database();
    let store = in_postgres(&options);
    assert!(add(&store, "alice", -1));
    cluster.stop();
    let waiting = std::thread::scope(|scope| {
        let waiting = scope.spawn(|| store.count_wrong_password("alice"));
        std::thread::sleep(std::time::Duration::from_millis(500));
        cluster.restart();
        waiting.join().unwrap()
    });
    waiting.unwrap();
    let alice = store.identity("alice").unwrap().unwrap();
    assert_eq!(alice.incorrect_password_attempts, 1);
    // It is away for good: an error in time, which says so.
    cluster.stop();
    let began = std::time::Instant::now();
    let refused = store.identity("alice").unwrap_err().to_string();
    assert!(
        refused.contains("cannot connect to PostgreSQL"),
        "{refused}"
    );
    assert!(began.elapsed() < std::time::Duration::from_secs(30));
    cluster.restart();
    assert!(store.identity("alice").unwrap().is_some());
}

#[test]
fn who_may_not_connect_is_told_at_once_and_without_the_password() {
    let cluster = Cluster::shared();
    let cases = [
        ("password=wrong-one", "password authentication failed"),
        ("user=nobody", "authentication failed"),
    ];
    for (change, expected) in cases {
        let began = std::time::Instant::now();
        let options = cluster.options(change, &DatabaseTls::default()).unwrap();
        let Err(refused) = Postgres::open(options) else {
            panic!("{change}");
        };
        let refused = refused.to_string();
        assert!(refused.contains(expected), "{refused}");
        assert!(!refused.contains("wrong-one"), "{refused}");
        assert!(began.elapsed() < std::time::Duration::from_secs(8));
    }
}

#[test]
fn tls_to_the_database_proves_who_it_is() {
    let cluster = Cluster::shared();
    let tls = |root: &str| DatabaseTls {
        enabled: true,
        roots: vec![cluster.file(root)],
        ..DatabaseTls::default()
    };
    let open = |change: &str, root: &str| {
        let options = cluster.options(change, &tls(root)).unwrap();
        Postgres::open(options).map_err(|error| error.to_string())
    };
    let database = open("sslmode=verify-full host=localhost", "root.pem").unwrap();
    let query = "SELECT CAST(version AS TEXT) FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
    let version = database.query(query, &[]).unwrap()[0].text(0);
    assert!(version.starts_with("TLSv1."), "{version}");
    for (change, root, expected) in [
        (
            "sslmode=verify-full host=localhost",
            "other.pem",
            "UnknownIssuer",
        ),
        // Its certificate names localhost only.
        (
            "sslmode=verify-full host=127.0.0.1",
            "root.pem",
            "not valid for name",
        ),
        (
            "sslmode=require host=127.0.0.1",
            "root.pem",
            "not valid for name",
        ),
    ] {
        let Err(refused) = open(change, root) else {
            panic!("{change} {root}");
        };
        assert!(refused.contains(expected), "{change}: {refused}");
    }
}
