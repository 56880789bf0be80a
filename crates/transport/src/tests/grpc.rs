//! Who is let in, who is trusted, and what changes while running.

use super::*;
use crate::{ChannelPool, ClientTlsOptions, TlsError, check_roots, connect_lazy};

#[tokio::test]
async fn both_sides_prove_themselves_under_mutual_tls() {
    let authority = Authority::new("root");
    let client = authority.local();
    let tls = server_tls(authority.local(), ClientAuth::Require, &[authority.root()]);
    let server = Server::start(Some(tls)).await;
    let hash = client.leaf_hash();
    let leaf = hex::encode(client.leaf_der());
    let settings = authority.client(Some(client));
    assert_eq!(settings.identity_hash(), Some(hash));
    assert_eq!(
        call(&server.endpoint(), Some(settings)).await.unwrap(),
        leaf
    );
}

#[tokio::test]
async fn a_client_is_judged_by_what_the_server_asks_for() {
    let (own, foreign) = (Authority::new("own"), Authority::new("foreign"));
    let expired = own.issue(&["localhost"], Validity::Past);
    let early = own.issue(&["localhost"], Validity::Future);
    use ClientAuth::{None as NotAsked, Request, Require};
    // What is asked for, what is shown, and whether the server lets the client in and sees it.
    let cases = [
        (NotAsked, None, true, false),
        (NotAsked, Some(own.local()), true, false),
        (Request, None, true, false),
        (Request, Some(own.local()), true, true),
        (Request, Some(foreign.local()), true, true),
        (Request, Some(expired.clone()), true, true),
        (Require, None, false, false),
        (Require, Some(own.local()), true, true),
        (Require, Some(foreign.local()), false, false),
        (Require, Some(expired), false, false),
        (Require, Some(early), false, false),
    ];
    for (number, (auth, identity, let_in, seen)) in cases.into_iter().enumerate() {
        let server = Server::start(Some(server_tls(own.local(), auth, &[own.root()]))).await;
        let expected = match &identity {
            Some(identity) if seen => hex::encode(identity.leaf_der()),
            _ => "nobody".to_owned(),
        };
        let answer = call(&server.endpoint(), Some(own.client(identity))).await;
        match answer {
            Ok(caller) => assert!(let_in && caller == expected, "case {number}: {caller}"),
            Err(error) => assert!(!let_in, "case {number}: {error:?}"),
        }
    }
}

#[tokio::test]
async fn a_certificate_may_be_optional_and_yet_be_checked() {
    let (own, foreign) = (Authority::new("own"), Authority::new("foreign"));
    let roots = [own.root()];
    let cases = [
        (&roots[..], None, true),
        (&roots, Some(own.local()), true),
        (&roots, Some(foreign.local()), false),
        (
            &roots,
            Some(own.issue(&["localhost"], Validity::Past)),
            false,
        ),
        (&[], None, true),
        (&[], Some(own.local()), false),
    ];
    for (number, (roots, identity, let_in)) in cases.into_iter().enumerate() {
        let tls = server_tls(own.local(), ClientAuth::Verify, roots);
        let server = Server::start(Some(tls)).await;
        let answer = call(&server.endpoint(), Some(own.client(identity))).await;
        assert_eq!(answer.is_ok(), let_in, "case {number}: {answer:?}");
    }
}

#[tokio::test]
async fn a_server_that_cannot_be_trusted_is_refused_with_the_reason() {
    let (own, foreign) = (Authority::new("own"), Authority::new("foreign"));
    let cases = [
        (
            foreign.local(),
            "not issued by any of the trusted TLS roots",
        ),
        (own.issue(&["localhost"], Validity::Past), "has expired"),
        (own.issue(&["localhost"], Validity::Future), "not valid yet"),
        (
            own.issue(&["elsewhere.example.com"], Validity::Now),
            "does not name this host",
        ),
    ];
    for (identity, expected) in cases {
        let server = Server::start(Some(server_tls(identity, ClientAuth::None, &[]))).await;
        match call(&server.endpoint(), Some(own.client(None))).await {
            Err(Failed::Connecting(ConnectError::Tls { reason, endpoint })) => {
                assert_eq!(endpoint, server.endpoint());
                assert!(reason.contains(expected), "{reason}");
            }
            other => panic!("{expected}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn a_server_may_be_checked_against_another_name_than_the_one_dialled() {
    let authority = Authority::new("root");
    let identity = authority.issue(&["peer0.example.com"], Validity::Now);
    let server = Server::start(Some(server_tls(identity, ClientAuth::None, &[]))).await;
    let roots = [authority.root()];
    let named = ClientTls::with_server_name(None, &roots, "peer0.example.com").unwrap();
    assert_eq!(
        call(&server.endpoint(), Some(named)).await.unwrap(),
        "nobody"
    );
    assert!(ClientTls::with_server_name(None, &roots, "not a name").is_err());
}

#[tokio::test]
async fn a_client_whose_clock_is_set_back_takes_a_certificate_that_has_expired_since() {
    let authority = Authority::new("root");
    let identity = authority.issue(&["localhost"], Validity::Past);
    let server = Server::start(Some(server_tls(identity, ClientAuth::None, &[]))).await;
    let now = std::time::SystemTime::now();
    let since = now.duration_since(std::time::UNIX_EPOCH).unwrap();
    let in_2020 = Duration::from_secs(1_590_000_000);
    for (clock_behind, taken) in [(Duration::ZERO, false), (since - in_2020, true)] {
        let options = ClientTlsOptions {
            clock_behind,
            ..ClientTlsOptions::default()
        };
        let tls = ClientTls::with(None, &[authority.root()], options).unwrap();
        // Later configurations keep the clock.
        tls.set_identity(Some(authority.local())).unwrap();
        let answer = call(&server.endpoint(), Some(tls)).await;
        assert_eq!(answer.is_ok(), taken, "{answer:?}");
    }
}

#[tokio::test]
async fn an_intermediate_counts_as_a_trust_anchor() {
    let authority = Authority::new("root");
    let mut params = CertificateParams::default();
    params
        .distinguished_name
        .push(rcgen::DnType::CommonName, "intermediate");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    let issuer = CertifiedIssuer::signed_by(params, key, &authority.issuer).unwrap();
    let intermediate = Authority { issuer };
    let tls = server_tls(
        intermediate.local(),
        ClientAuth::Require,
        &[intermediate.root()],
    );
    let server = Server::start(Some(tls)).await;
    let client = intermediate.client(Some(intermediate.local()));
    call(&server.endpoint(), Some(client)).await.unwrap();
}

#[tokio::test]
async fn roots_and_identities_change_while_the_server_runs() {
    let (first, second) = (Authority::new("first"), Authority::new("second"));
    let tls = server_tls(first.local(), ClientAuth::Require, &[]);
    let server = Server::start(Some(tls.clone())).await;
    let client = first.client(Some(second.local()));
    let reachable = || async { call(&server.endpoint(), Some(client.clone())).await.is_ok() };

    assert!(!reachable().await, "no root is trusted yet");
    tls.set_client_roots(&[first.root()]).unwrap();
    assert!(!reachable().await, "the client's root is not trusted yet");
    tls.set_client_roots(&[first.root(), second.root()])
        .unwrap();
    assert!(reachable().await, "both roots are trusted");
    tls.set_identity(second.local()).unwrap();
    assert!(
        !reachable().await,
        "the client does not trust the server's new root"
    );
    client.set_roots(&[second.root()]).unwrap();
    assert!(reachable().await, "the client trusts it now");
    client.set_identity(None).unwrap();
    assert!(
        !reachable().await,
        "the client shows no certificate any more"
    );
}

#[tokio::test]
async fn a_root_that_cannot_be_used_does_not_spoil_the_others() {
    let authority = Authority::new("root");
    let roots = ["garbage".into(), Bytes::new(), authority.root()];
    let tls = server_tls(authority.local(), ClientAuth::Require, &roots);
    let server = Server::start(Some(tls)).await;
    let client = ClientTls::new(Some(authority.local()), &roots).unwrap();
    call(&server.endpoint(), Some(client)).await.unwrap();
    assert!(matches!(
        check_roots(&roots),
        Err(TlsError::NoCertificate { .. })
    ));
    check_roots(&roots[2..]).unwrap();
}

#[tokio::test]
async fn plain_connections_work_where_tls_is_off() {
    let server = Server::start(None).await;
    assert_eq!(call(&server.endpoint(), None).await.unwrap(), "nobody");
}

#[tokio::test]
async fn a_pooled_channel_finds_its_server_again_after_a_restart() {
    let authority = Authority::new("root");
    let tls = server_tls(authority.local(), ClientAuth::None, &[]);
    let pool = ChannelPool::new(Some(authority.client(None)));
    let server = Server::start(Some(tls.clone())).await;
    let (endpoint, address) = (server.endpoint(), server.address.to_string());
    call_over(pool.get(&endpoint)).await.unwrap();

    drop(server);
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while call_over(pool.get(&endpoint)).await.is_ok() {
        assert!(
            tokio::time::Instant::now() < deadline,
            "the server does not go away"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let _server = Server::start_at(&address, Some(tls), crate::HANDSHAKE_TIMEOUT).await;
    while call_over(pool.get(&endpoint)).await.is_err() {
        assert!(
            tokio::time::Instant::now() < deadline,
            "the channel does not come back"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn addresses_that_are_none_are_named() {
    for endpoint in [
        "",
        "localhost",
        "localhost:",
        "localhost:99999",
        ":7051",
        "a b:1",
        "http://a:1",
    ] {
        match connect(endpoint, None, PATIENCE).await {
            Err(ConnectError::Endpoint { endpoint: named }) => assert_eq!(named, endpoint),
            other => panic!("{endpoint}: {other:?}"),
        }
        let lazy = connect_lazy(endpoint, None, PATIENCE);
        assert_eq!(
            call_over(lazy).await.unwrap_err().code(),
            tonic::Code::Unavailable
        );
    }
}

#[tokio::test]
async fn nobody_listening_and_nobody_answering_are_told_apart() {
    let listener = listen("127.0.0.1:0").await.unwrap();
    let endpoint = listener.local_addr().unwrap().to_string();
    let tls = Authority::new("root").client(None);
    let silent = connect(&endpoint, Some(tls), Duration::from_millis(200)).await;
    assert!(
        matches!(silent, Err(ConnectError::TimedOut { .. })),
        "{silent:?}"
    );
    drop(listener);
    let closed = connect(&endpoint, None, PATIENCE).await;
    assert!(
        matches!(closed, Err(ConnectError::Tcp { .. })),
        "{closed:?}"
    );
}

#[test]
fn identities_that_do_not_fit_are_refused() {
    let (one, other) = (Authority::new("one"), Authority::new("other"));
    let key = other.issuer.key().serialize_pem();
    let cases = [
        (one.root(), key.as_str(), "does not belong"),
        ("garbage".into(), key.as_str(), "no PEM certificate"),
        (one.root(), "garbage", "private key cannot be used"),
    ];
    for (chain, key, expected) in cases {
        let error = TlsIdentity::from_pem(&chain, key.as_bytes()).unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
    }
}

#[tokio::test]
async fn a_pool_shows_a_renewed_certificate_from_the_next_question_on() {
    let authority = Authority::new("root");
    let tls = server_tls(authority.local(), ClientAuth::Require, &[authority.root()]);
    let server = Server::start(Some(tls)).await;
    let [old, new] = [(); 2].map(|()| authority.local());
    let [seen_old, seen_new] = [&old, &new].map(|identity| hex::encode(identity.leaf_der()));
    let client = authority.client(Some(old));
    let pool = ChannelPool::new(Some(client.clone()));
    let kept = pool.get(&server.endpoint());
    assert_eq!(call_over(kept.clone()).await.unwrap(), seen_old);

    client.set_identity(Some(new)).unwrap();
    let fresh = pool.get(&server.endpoint());
    assert_eq!(call_over(fresh).await.unwrap(), seen_new);
    // A connection that stands lives on.
    assert_eq!(call_over(kept).await.unwrap(), seen_old);
}
