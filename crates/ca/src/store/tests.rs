//! What the register does, the same in both databases.

use super::*;
use crate::tests::postgres::Cluster;

/// A register in memory, and one in PostgreSQL, which `cargo xtask test` installs.
fn on_both(test: impl Fn(&Store)) {
    test(&Store {
        database: Database::Sqlite(Sqlite::in_memory().unwrap()),
    });
    test(&in_postgres(&Cluster::shared().new_database()));
}

pub(super) fn in_postgres(options: &PostgresOptions) -> Store {
    Store {
        database: Database::Postgres(Postgres::open(options.clone()).unwrap()),
    }
}

pub(super) fn certificate<'a>(id: &'a str, serial: &'a str) -> NewCertificate<'a> {
    NewCertificate {
        id,
        serial,
        authority_key_id: "ab",
        not_after: 1_800_000_000,
        pem: "pem",
    }
}

pub(super) fn add(store: &Store, id: &str, max_enrollments: i64) -> bool {
    let attributes = [Attribute {
        name: "color".into(),
        value: "blue".into(),
        ecert: true,
    }];
    store
        .add_identity(&NewIdentity {
            id,
            password: "secret",
            kind: "client",
            affiliation: "org1",
            attributes: &attributes,
            max_enrollments,
        })
        .unwrap()
}

#[test]
fn an_identity_comes_back_as_it_was_added_and_only_once() {
    on_both(|store| {
        assert!(add(store, "alice", 2));
        assert!(!add(store, "alice", 3));
        let alice = store.identity("alice").unwrap().unwrap();
        assert_eq!(alice.max_enrollments, 2);
        assert_eq!(alice.attribute("color"), Some("blue"));
        assert!(alice.password_fits("secret") && !alice.password_fits("Secret"));
        assert!(alice.password_hash.starts_with("$2a$10$"));
        assert!(store.identity("bob").unwrap().is_none());
    });
}

#[test]
fn enrolments_are_counted_with_the_certificate_and_stop_at_the_limit() {
    on_both(|store| {
        add(store, "alice", 1);
        assert!(
            store
                .add_certificate(&certificate("alice", "1"), Some(1))
                .unwrap()
        );
        assert!(
            !store
                .add_certificate(&certificate("alice", "2"), Some(1))
                .unwrap()
        );
        assert!(!store.certificate("1", "ab").unwrap().unwrap().revoked);
        assert_eq!(store.certificate("2", "ab").unwrap(), None);
        assert!(
            store
                .add_certificate(&certificate("alice", "3"), None)
                .unwrap()
        );
        assert_eq!(store.identity("alice").unwrap().unwrap().state, 1);
    });
}

#[test]
fn affiliations_bring_those_above_them() {
    on_both(|store| {
        store.add_affiliation("org1.department1").unwrap();
        store.add_affiliation("org1.department1").unwrap();
        for (name, known) in [("org1", true), ("org1.department1", true), ("org2", false)] {
            assert_eq!(store.has_affiliation(name).unwrap(), known, "{name}");
        }
    });
}

#[test]
fn wrong_passwords_are_counted_and_forgotten() {
    on_both(|store| {
        add(store, "alice", -1);
        store.count_wrong_password("alice").unwrap();
        store.count_wrong_password("alice").unwrap();
        let attempts = |store: &Store| {
            store
                .identity("alice")
                .unwrap()
                .unwrap()
                .incorrect_password_attempts
        };
        assert_eq!(attempts(store), 2);
        store.forget_wrong_passwords("alice").unwrap();
        assert_eq!(attempts(store), 0);
    });
}

#[test]
fn identities_are_listed_page_by_page_below_an_affiliation_and_of_some_types() {
    on_both(|store| {
        for (id, kind, affiliation) in [
            ("a", "client", ""),
            ("b", "peer", "org1"),
            ("c", "client", "org1.x"),
            ("d", "client", "org10"),
        ] {
            let added = store.add_identity(&NewIdentity {
                id,
                password: "p",
                kind,
                affiliation,
                attributes: &[],
                max_enrollments: -1,
            });
            assert!(added.unwrap());
        }
        let ids = |affiliation: &str, kinds: Option<&[&str]>| {
            let filter = IdentityFilter {
                affiliation: affiliation.into(),
                kinds: kinds.map(|kinds| kinds.iter().map(|kind| (*kind).into()).collect()),
            };
            let (mut ids, mut after) = (String::new(), Cursor::default());
            while let Some((row, identity)) = store.identities(&filter, &after, 1).unwrap().pop() {
                ids.push_str(&identity.id);
                after = row;
            }
            ids
        };
        assert_eq!(ids("", None), "abcd");
        assert_eq!(ids("org1", None), "bc");
        assert_eq!(ids("", Some(&["client"])), "acd");
        assert_eq!(ids("org1", Some(&["client", "user"])), "c");
    });
}

#[test]
fn certificates_are_revoked_one_by_one_and_with_their_identity() {
    on_both(|store| {
        add(store, "alice", -1);
        for serial in ["1", "2", "3"] {
            let issued = certificate("alice", serial);
            assert!(store.add_certificate(&issued, None).unwrap());
        }
        store.revoke_certificate("1", "ab", 1).unwrap();
        assert!(store.certificate("1", "ab").unwrap().unwrap().revoked);
        let listed = |filter: CertificateFilter| {
            store
                .certificates(&filter, &Cursor::default(), 10)
                .unwrap()
                .len()
        };
        let good = CertificateFilter {
            not_revoked: true,
            ..CertificateFilter::default()
        };
        assert_eq!((listed(CertificateFilter::default()), listed(good)), (3, 2));
        let rest = store.revoke_identity("alice", 0).unwrap();
        let serials: Vec<_> = rest.iter().map(|one| one.serial.as_str()).collect();
        assert_eq!(serials, ["2", "3"]);
        assert_eq!(store.identity("alice").unwrap().unwrap().state, -1);
        let all = Times::default();
        let revoked = store.revoked(all, all).unwrap();
        assert_eq!(revoked.len(), 3);
        assert!(revoked.iter().all(|one| one.at > 1_700_000_000));
        let before = Times {
            from: None,
            to: Some(1_700_000_000),
        };
        assert!(store.revoked(all, before).unwrap().is_empty());
        assert!(store.revoked(before, all).unwrap().is_empty());
        let within = Times {
            from: Some(1_700_000_000),
            to: None,
        };
        assert_eq!(
            listed(CertificateFilter {
                revoked: within,
                ..CertificateFilter::default()
            }),
            3
        );
        assert_eq!(
            listed(CertificateFilter {
                expired: before,
                ..CertificateFilter::default()
            }),
            0
        );
    });
}

#[test]
fn affiliations_are_renamed_and_removed_with_all_that_hangs_on_them() {
    on_both(|store| {
        store.add_affiliation("org1.x").unwrap();
        store.add_affiliation("org10").unwrap();
        add(store, "alice", -1);
        let issued = certificate("alice", "1");
        assert!(store.add_certificate(&issued, None).unwrap());
        let refused = store.remove_affiliation("org1", |_| Err("no")).unwrap();
        assert_eq!(refused.unwrap_err(), "no");
        let moved = |identity: &mut Identity, affiliation| identity.affiliation = affiliation;
        let agree = |_: &Affiliated| Ok::<_, ()>(());
        let renamed = store
            .rename_affiliation("org1", "org2.y", agree, moved)
            .unwrap();
        assert_eq!(renamed.unwrap().affiliations, ["org2.y", "org2.y.x"]);
        assert_eq!(
            store.identity("alice").unwrap().unwrap().affiliation,
            "org2.y"
        );
        assert_eq!(
            store.affiliations("").unwrap(),
            ["org10", "org2.y", "org2.y.x"]
        );
        let removed = store.remove_affiliation("org2.y", agree).unwrap().unwrap();
        assert_eq!(removed.identities.len(), 1);
        assert!(store.identity("alice").unwrap().is_none());
        assert!(store.certificate("1", "ab").unwrap().unwrap().revoked);
        assert_eq!(store.affiliations("").unwrap(), ["org10"]);
    });
}

#[test]
fn pages_end_where_the_next_begins() {
    on_both(|store| {
        add(store, "alice", -1);
        // The same number of two authorities, and numbers in another order than they came.
        let issued = [("b", "1"), ("a", "2"), ("a", "1"), ("c", "1"), ("b", "2")];
        for (serial, authority_key_id) in issued {
            let issued = NewCertificate {
                authority_key_id,
                pem: &format!("{serial}/{authority_key_id}"),
                ..certificate("alice", serial)
            };
            assert!(store.add_certificate(&issued, None).unwrap());
        }
        for size in [1, 2, 5, 6] {
            let (mut all, mut after) = (Vec::new(), Cursor::default());
            loop {
                let filter = CertificateFilter::default();
                let page = store.certificates(&filter, &after, size).unwrap();
                let Some((last, _)) = page.last() else { break };
                after = last.clone();
                all.extend(page.into_iter().map(|(_, pem)| pem));
            }
            all.sort();
            assert_eq!(all, ["a/1", "a/2", "b/1", "b/2", "c/1"], "{size}");
        }
    });
}

#[test]
fn certificates_are_found_by_number_owner_and_affiliation() {
    on_both(|store| {
        add(store, "alice", -1);
        let issued = certificate("alice", "1");
        assert!(store.add_certificate(&issued, None).unwrap());
        let filter = |change: fn(&mut CertificateFilter)| {
            let mut filter = CertificateFilter::default();
            change(&mut filter);
            let found = store.certificates(&filter, &Cursor::default(), 9).unwrap();
            found.len()
        };
        let expiry = 1_800_000_000;
        assert_eq!(issued.not_after, expiry);
        assert_eq!(filter(|it| it.serial = "1".into()), 1);
        assert_eq!(filter(|it| it.serial = "01".into()), 0);
        assert_eq!(filter(|it| it.authority_key_id = "ab".into()), 1);
        assert_eq!(filter(|it| it.authority_key_id = "AB".into()), 0);
        assert_eq!(filter(|it| it.id = "alice".into()), 1);
        assert_eq!(filter(|it| it.id = "bob".into()), 0);
        assert_eq!(filter(|it| it.affiliation = "org1".into()), 1);
        assert_eq!(filter(|it| it.affiliation = "org".into()), 0);
        assert_eq!(filter(|it| it.expired.from = Some(1_800_000_000)), 1);
        assert_eq!(filter(|it| it.expired.from = Some(1_800_000_001)), 0);
        assert_eq!(filter(|it| it.expired.to = Some(1_800_000_000)), 1);
        assert_eq!(filter(|it| it.expired.to = Some(1_799_999_999)), 0);
        assert_eq!(filter(|it| it.revoked.to = Some(1_800_000_000)), 0);
    });
}

#[test]
fn who_was_revoked_or_removed_gets_nothing_more() {
    on_both(|store| {
        for (id, gone) in [("alice", false), ("bob", true)] {
            add(store, id, -1);
            match gone {
                true => assert!(store.remove_identity(id).unwrap()),
                false => assert!(store.revoke_identity(id, 1).unwrap().is_empty()),
            }
            for enrollments in [Some(-1), None] {
                let issued = certificate(id, "7");
                assert!(
                    !store.add_certificate(&issued, enrollments).unwrap(),
                    "{id}"
                );
            }
            assert_eq!(store.certificate("7", "ab").unwrap(), None);
        }
        assert!(!store.remove_identity("bob").unwrap());
    });
}

#[test]
fn a_changed_identity_keeps_what_was_not_changed() {
    on_both(|store| {
        add(store, "alice", 2);
        store.count_wrong_password("alice").unwrap();
        let mut alice = store.identity("alice").unwrap().unwrap();
        alice.kind = "peer".into();
        alice.max_enrollments = -1;
        assert!(store.update_identity(&alice, None).unwrap());
        let read = store.identity("alice").unwrap().unwrap();
        assert_eq!((read.kind.as_str(), read.max_enrollments), ("peer", -1));
        assert_eq!(read.incorrect_password_attempts, 1);
        assert!(read.password_fits("secret"));
        assert!(store.update_identity(&alice, Some("new")).unwrap());
        let read = store.identity("alice").unwrap().unwrap();
        assert!(read.password_fits("new"));
        assert_eq!(read.incorrect_password_attempts, 0);
        alice.id = "nobody".into();
        assert!(!store.update_identity(&alice, None).unwrap());
    });
}

#[test]
fn names_of_all_kinds_are_values_and_nothing_else() {
    on_both(|store| {
        for id in [
            "'; DROP TABLE users; --",
            "a?1$1",
            "Zo\u{eb} \u{1f600}",
            "%",
            "\\x00",
        ] {
            assert!(add(store, id, -1), "{id}");
            assert_eq!(store.identity(id).unwrap().unwrap().id, id);
            store.add_affiliation(id).unwrap();
            assert!(store.affiliations(id).unwrap().contains(&id.to_owned()));
        }
        assert!(store.identity("_").unwrap().is_none());
    });
}

#[test]
fn a_failed_transaction_leaves_nothing_behind() {
    on_both(|store| {
        store.add_affiliation("org1").unwrap();
        let failed = store.database.transaction(|session| {
            session.execute("DELETE FROM affiliations", &[])?;
            session.execute("this is not SQL", &[])
        });
        assert!(matches!(failed, Err(StoreError::Database(_))));
        assert!(store.has_affiliation("org1").unwrap());
    });
}
