//! Who builds a package, how building fails, and what is kept.

use crate::site::{ALL, Builders, COPY, Site, WAIT, package};
use crate::support::ORG1;
use consilium_chaincode::{Host, HostOptions, PeerSupport, Program};
use std::fs;
use std::sync::Arc;
use std::time::Duration;

const SOURCE: &[(&str, &str)] = &[("src/main.x", "code"), ("connection.json", "{}")];

fn refusal(site: &Site, package: &[u8]) -> String {
    let refused = site.consortium.peers[ORG1].host.install(package);
    refused.unwrap_err().to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_builder_that_takes_a_package_builds_it() {
    let seen = (
        "detect",
        "cat \"$2/metadata.json\" > OUT/metadata; cat \"$1/src/main.x\" > OUT/main; env > OUT/environment; false",
    );
    let builders = Builders::new()
        .with("absent", &[])
        .with("curious", &[seen])
        .with("taker", &[ALL, COPY])
        .with("late", &[ALL, ("build", "false")]);
    let site = Site::new(&builders).await;
    let file = package("golang", SOURCE);
    let id = site.consortium.install(&file);
    assert_eq!(builders.lines("builds").len(), 2, "one at each peer");
    assert_eq!(
        builders.lines("metadata"),
        [r#"{"path":"p","type":"golang","label":"cc"}"#]
    );
    assert_eq!(builders.lines("main"), ["code"]);
    let build = site.builds().join(id.replace(':', "-"));
    let info = fs::read_to_string(build.join("build-info.json")).unwrap();
    assert_eq!(info, r#"{"builder_name":"taker"}"#);
    assert!(build.join("bld/src/main.x").is_file());
    assert!(build.join("release").is_dir());
    let kept: Vec<_> = fs::read_dir(site.builds()).unwrap().collect();
    assert_eq!(kept.len(), 1, "no unfinished build is left");

    let environment = builders.lines("environment");
    let names: Vec<_> = environment
        .iter()
        .filter_map(|line| line.split('=').next())
        .collect();
    // CARGO_PKG_NAME is propagated, everything else of cargo is not.
    assert!(
        names.contains(&"PATH") && names.contains(&"CARGO_PKG_NAME"),
        "{names:?}"
    );
    assert!(
        !names.contains(&"CARGO_PKG_VERSION") && !names.contains(&"HOME"),
        "{names:?}"
    );

    let said = refusal(&site, &file);
    assert_eq!(
        said,
        format!("chaincode already successfully installed (package ID '{id}')")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn packages_that_no_builder_takes_are_ours_or_nobodys() {
    let builders = Builders::new().with("none", &[("detect", "exit 1")]);
    let site = Site::new(&builders).await;
    let said = refusal(&site, &package("golang", SOURCE));
    assert!(
        said.starts_with(
            "could not build chaincode: no builder of this peer takes packages of type 'golang'"
        ),
        "{said}"
    );
    let service = package(
        "ccaas",
        &[("connection.json", r#"{"address":"localhost:1"}"#)],
    );
    let installed = site.consortium.peers[ORG1].host.install(&service).unwrap();
    assert!(matches!(installed.program, Program::Service(_)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_build_that_fails_says_why_and_leaves_nothing() {
    for (build, reason) in [
        (
            "echo to the log >&2; echo no compiler >&2; exit 3",
            "external builder 'b' failed: build: exit status 3: to the log\nno compiler",
        ),
        ("kill -9 $$", "external builder 'b' failed: build: signal 9"),
        (
            "ln -s /etc/passwd \"$3/link\"",
            "external builder 'b' failed: refusing absolute symlink link -> /etc/passwd",
        ),
        (
            "ln -s ../../.. \"$3/link\"",
            "external builder 'b' failed: refusing symlink link -> ../../.. pointing outside of its folder",
        ),
    ] {
        let builders = Builders::new().with("b", &[ALL, ("build", build)]);
        let site = Site::new(&builders).await;
        let said = refusal(&site, &package("x", SOURCE));
        assert_eq!(said, format!("could not build chaincode: {reason}"));
        assert_eq!(fs::read_dir(site.builds()).unwrap().count(), 0);
        let packages = site.consortium.peers[ORG1].packages();
        assert_eq!(fs::read_dir(packages).unwrap().count(), 0);
    }
    let release = ("release", "exit 1");
    let builders = Builders::new().with("b", &[ALL, COPY, release]);
    let site = Site::new(&builders).await;
    let said = refusal(&site, &package("x", SOURCE));
    assert_eq!(
        said,
        "could not build chaincode: external builder 'b' failed: release: exit status 1"
    );
    let builders = Builders::new().with("b", &[ALL]);
    let site = Site::new(&builders).await;
    let said = refusal(&site, &package("x", SOURCE));
    assert!(
        said.contains("external builder 'b' failed: cannot start build: "),
        "{said}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_build_that_does_not_end_is_killed_with_all_it_started() {
    let endless = (
        "build",
        "sleep 1000 & echo $! > OUT/pid; echo $$ >> OUT/pid; wait",
    );
    let builders = Builders::new().with("b", &[ALL, endless]);
    let site = Site::with(&builders, None, |mut options| {
        options.launch.install_timeout = Duration::from_secs(1);
        options
    })
    .await;
    let said = refusal(&site, &package("x", SOURCE));
    assert_eq!(
        said,
        "could not build chaincode: external builder 'b' failed: build was not done after 1s"
    );
    for pid in builders.lines("pid") {
        crate::site::eventually("the end of the build", || {
            (!crate::site::lives(&pid)).then_some(())
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_of_a_package_gets_out_of_its_folder() {
    let builders = Builders::new().with("b", &[ALL, COPY]);
    let site = Site::new(&builders).await;
    let mut code = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.as_mut_bytes()[..6].copy_from_slice(b"../out");
    header.set_size(0);
    header.set_cksum();
    code.append(&header, &b""[..]).unwrap();
    let code = gzip(&code.into_inner().unwrap());
    let mut file = tar::Builder::new(Vec::new());
    let metadata = br#"{"path":"","type":"x","label":"cc"}"#;
    for (name, content) in [("metadata.json", &metadata[..]), ("code.tar.gz", &code)] {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        file.append_data(&mut header, name, content).unwrap();
    }
    let said = refusal(&site, &gzip(&file.into_inner().unwrap()));
    assert!(
        said.contains("could not create build context: could not untar source package"),
        "{said}"
    );
    assert_eq!(fs::read_dir(site.builds()).unwrap().count(), 0);
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    use std::io::Write;
    let mut zip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    zip.write_all(bytes).unwrap();
    zip.finish().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn many_who_install_the_same_package_build_it_once() {
    let slow = ("build", "echo built >> OUT/builds; sleep 0.5");
    let builders = Builders::new().with("b", &[ALL, slow]);
    let site = Site::new(&builders).await;
    let file = package("x", SOURCE);
    let installs = (0..4).map(|_| {
        let (host, file) = (site.consortium.peers[ORG1].host.clone(), file.clone());
        tokio::task::spawn_blocking(move || host.install(&file).map_err(|error| error.to_string()))
    });
    let outcomes = futures_util::future::join_all(installs).await;
    let (installed, refused): (Vec<_>, Vec<_>) = outcomes
        .into_iter()
        .map(Result::unwrap)
        .partition(Result::is_ok);
    assert_eq!((installed.len(), refused.len()), (1, 3));
    for refused in refused {
        assert!(
            refused
                .unwrap_err()
                .contains("already successfully installed")
        );
    }
    assert_eq!(builders.lines("builds").len(), 1);
}

/// The first peer again, after its process has ended.
fn reopened(site: &Site, builders: &Builders) -> Arc<Host> {
    let peer = &site.consortium.peers[ORG1];
    let mut options = HostOptions::new(peer.packages());
    options.launch.builds_dir = site.builds();
    options.launch.builders = builders.known.clone();
    let support: Arc<dyn PeerSupport> = peer.support.clone();
    Host::new(options, Vec::new(), support).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn builds_and_the_indexes_that_they_release_outlive_the_peer() {
    let release = (
        "release",
        "mkdir -p \"$2/statedb/couchdb/indexes\" \"$2/statedb/couchdb/collections/both/indexes\" \"$2/other\"
echo '{\"index\":{\"fields\":[\"size\"]},\"name\":\"size\",\"type\":\"json\"}' > \"$2/statedb/couchdb/indexes/size.json\"
cp \"$2/statedb/couchdb/indexes/size.json\" \"$2/statedb/couchdb/collections/both/indexes/\"
echo x > \"$2/other/file.json\"",
    );
    let builders = Builders::new().with("b", &[ALL, COPY, release, WAIT]);
    let site = Site::new(&builders).await;
    // What the package itself declares is for its builder to release.
    let unreleased = ("META-INF/statedb/couchdb/indexes/other.json", "{}");
    let id = site.consortium.install(&package("x", &[unreleased]));
    let indexes = |host: &Host| {
        let installed = host.installed();
        assert_eq!(installed[0].id, id);
        assert_eq!(installed[0].program, Program::External);
        let names = installed[0].indexes.iter();
        let names = names.map(|index| (index.collection.clone(), index.name.clone()));
        names.collect::<Vec<_>>()
    };
    let both = Some("both".to_owned());
    let expected = [
        (None, "size.json".to_owned()),
        (both, "size.json".to_owned()),
    ];
    assert_eq!(indexes(&site.consortium.peers[ORG1].host), expected);
    fs::create_dir_all(site.builds().join(".draft-x/src")).unwrap();
    assert_eq!(indexes(&reopened(&site, &builders)), expected);
    assert!(
        !site.builds().join(".draft-x").exists(),
        "what was not finished is gone"
    );
    assert_eq!(builders.lines("builds").len(), 2, "nothing is built again");
    // Without its build it is known all the same, and will be built when it is called.
    fs::remove_dir_all(site.builds()).unwrap();
    assert_eq!(indexes(&reopened(&site, &builders)), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn releases_that_are_too_large_are_refused() {
    for (release, reason) in [
        (
            "mkdir -p \"$2/statedb/couchdb/indexes\"; head -c 70000 /dev/zero > \"$2/statedb/couchdb/indexes/size.json\"",
            "META-INF/statedb/couchdb/indexes/size.json exceeds 65536 bytes",
        ),
        (
            "mkdir -p \"$2/statedb/couchdb/indexes\"; for i in $(seq 201); do echo x > \"$2/statedb/couchdb/indexes/$i.json\"; done",
            "more than 200 index definitions",
        ),
    ] {
        let builders = Builders::new().with("b", &[ALL, COPY, ("release", release)]);
        let site = Site::new(&builders).await;
        let said = refusal(&site, &package("x", SOURCE));
        assert!(said.contains(reason), "{said}");
    }
}
