//! `consilium peer snapshot` and `consilium peer channel` on a consortium of processes.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Output},
    thread,
    time::{Duration, Instant},
};

const CHANNEL: &str = "health";
/// No test waits that long for one thing unless it fails.
const PATIENCE: Duration = Duration::from_secs(120);

fn consilium() -> Command {
    Command::new(env!("CARGO_BIN_EXE_consilium"))
}

/// What a command printed and how it ended.
#[derive(Debug)]
struct Ended {
    code: Option<i32>,
    out: String,
    err: String,
}

impl From<Output> for Ended {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code(),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

impl Ended {
    fn well(self) -> String {
        assert_eq!(self.code, Some(0), "{self:?}");
        self.out
    }

    /// The message of a command that failed as Fabric's do.
    fn message(self) -> String {
        assert_eq!(self.code, Some(1), "{self:?}");
        self.err.trim_end().to_owned()
    }
}

/// A local consortium; it ends with the test.
struct Network {
    folder: tempfile::TempDir,
    /// A peer that the test runs itself.
    own: Option<Child>,
}

impl Drop for Network {
    fn drop(&mut self) {
        if let Some(child) = &mut self.own {
            let _ = child.kill();
            let _ = child.wait();
        }
        let _ = consilium()
            .args(["network", "down", "--dir"])
            .arg(self.dir())
            .output();
    }
}

impl Network {
    fn up() -> Self {
        let network = Self {
            folder: tempfile::tempdir().unwrap(),
            own: None,
        };
        network
            .run(&["network", "up", "--free-ports", "--dir", network.dir_name()])
            .well();
        network
    }

    fn dir(&self) -> PathBuf {
        self.folder.path().join("network")
    }

    fn dir_name(&self) -> &'static str {
        // Set by `run` as the current folder.
        "network"
    }

    fn run(&self, args: &[&str]) -> Ended {
        let output = consilium()
            .args(args)
            .current_dir(self.folder.path())
            .output();
        output.unwrap().into()
    }

    fn organization(&self, name: &str) -> PathBuf {
        self.dir()
            .join("organizations")
            .join(format!("{name}.example"))
    }

    fn peer(&self, name: &str) -> PathBuf {
        let peer = format!("peers/peer0.{name}.example");
        self.organization(name).join(peer)
    }

    /// A command of `consilium peer` as a user of an organization, to the organization's peer.
    fn peer_command(&self, organization: &str, user: &str, args: &[&str]) -> Command {
        let users = self.organization(organization).join("users");
        let home = users.join(format!("{user}@{organization}.example"));
        let mut command = consilium();
        command
            .arg("peer")
            .args(args)
            .current_dir(self.folder.path())
            .env("FABRIC_CFG_PATH", self.peer(organization))
            .env("CORE_PEER_MSPCONFIGPATH", home.join("msp"))
            .env("CORE_PEER_TLS_CLIENTCERT_FILE", home.join("tls/client.crt"))
            .env("CORE_PEER_TLS_CLIENTKEY_FILE", home.join("tls/client.key"));
        command
    }

    fn admin(&self, organization: &str, args: &[&str]) -> Ended {
        let mut command = self.peer_command(organization, "Admin", args);
        command.output().unwrap().into()
    }

    /// `peer snapshot`, with the flags that say which peer.
    fn snapshot(&self, organization: &str, user: &str, args: &[&str]) -> Ended {
        let roots = self.peer(organization).join("tls/ca.crt");
        let address = self.address(organization);
        let mut command = self.peer_command(organization, user, &["snapshot"]);
        command
            .args(args)
            .args([
                "-c",
                CHANNEL,
                "--peerAddress",
                &address,
                "--tlsRootCertFile",
            ])
            .arg(roots)
            // The flag counts.
            .env("CORE_PEER_ADDRESS", "localhost:1");
        command.output().unwrap().into()
    }

    fn address(&self, organization: &str) -> String {
        let network = fs::read(self.dir().join("network.json")).unwrap();
        let network: serde_json::Value = serde_json::from_slice(&network).unwrap();
        let mut organizations = network["organizations"].as_array().unwrap().iter();
        let found = organizations.find(|found| found["name"] == organization);
        format!("localhost:{}", found.unwrap()["ports"]["peer"])
    }

    /// Height and newest block hash of an organization's peer, as `network status` prints them.
    fn height(&self, organization: &str) -> Option<(u64, String)> {
        let status = self.run(&["network", "status", "--dir", self.dir_name()]);
        let peer = format!("peer0.{organization}.example");
        let line = status.out.lines().find(|line| line.contains(&peer))?;
        let cells: Vec<&str> = line.split_whitespace().collect();
        let [_border, _node, _process, _address, height, hash, ..] = cells[..] else {
            return None;
        };
        Some((height.parse().ok()?, hash.to_owned()))
    }

    fn invoke(&self, value: &str) {
        let put = ["invoke", "--network", self.dir_name(), "kv", "put", "color"];
        self.run(&[&put[..], &[value]].concat()).well();
    }

    /// Takes the network's own process of a peer away.
    fn stop_peer(&self, organization: &str) {
        let file = self
            .dir()
            .join(format!("run/peer0.{organization}.example.pid"));
        let text = fs::read_to_string(&file).unwrap();
        let (pid, _) = text.split_once(' ').unwrap();
        let stopped = Command::new("kill").args(["-s", "TERM", pid]).status();
        assert!(stopped.unwrap().success());
        let folder = Path::new("/proc").join(pid);
        eventually("the peer stops", || {
            let state = fs::read_to_string(folder.join("stat")).unwrap_or_default();
            state.is_empty() || state.contains(") Z ")
        });
    }
}

fn eventually(what: &str, mut check: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !check() {
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        thread::sleep(Duration::from_millis(50));
    }
}

fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    fs::read_dir(folder)
        .unwrap()
        .map(|entry| {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            (name, fs::read(entry.path()).unwrap())
        })
        .collect()
}

#[test]
fn an_administrator_takes_snapshots_and_joins_a_peer_by_one() {
    let mut network = Network::up();
    let (height, _) = network.height("hospital").unwrap();
    let at = (height + 1).to_string();
    let far = (height + 1000).to_string();

    // Two peers are asked for the block after the next.
    for organization in ["hospital", "maker"] {
        let submit = ["submitrequest", "-b", &at];
        let submitted = network.snapshot(organization, "Admin", &submit);
        assert_eq!(
            submitted.well(),
            "Snapshot request submitted successfully\n"
        );
    }
    let hospital = |args: &[&str]| network.snapshot("hospital", "Admin", args);
    hospital(&["submitrequest", "--blockNumber", &far]).well();
    assert_eq!(
        hospital(&["listpending"]).well(),
        format!("Successfully got pending snapshot requests: [{at} {far}]\n")
    );
    assert_eq!(
        hospital(&["cancelrequest", "-b", &far]).well(),
        "Snapshot request cancelled successfully\n"
    );
    assert_eq!(
        hospital(&["cancelrequest", "-b", &far]).message(),
        format!(
            "Error: failed to cancel the request: rpc error: code = Unknown desc = no snapshot request exists for block number {far}"
        )
    );
    assert_eq!(
        hospital(&["submitrequest", "-b", "1"]).message(),
        format!(
            "Error: failed to submit the request: rpc error: code = Unknown desc = requested snapshot for block number 1 cannot be less than the last committed block number {}",
            height - 1
        )
    );
    for args in [["submitrequest"], ["listpending"]] {
        let refused = network.snapshot("hospital", "User1", &args).message();
        let because = "rpc error: code = Unknown desc = failed verifying that the signed data identity satisfies local MSP principal during channelless check policy with policy [Admins]: [";
        assert!(refused.contains(because), "{refused}");
    }

    // What Fabric's command refuses before it calls anybody.
    let admin = |args: &[&str]| network.admin("hospital", args).message();
    assert_eq!(
        admin(&["snapshot", "submitrequest"]),
        "Error: the required parameter 'channelID' is empty. Rerun the command with -c flag"
    );
    assert_eq!(
        admin(&["snapshot", "cancelrequest", "-c", CHANNEL]),
        "Error: the required parameter 'blockNumber' is empty or set to 0. Rerun the command with -b flag"
    );
    assert_eq!(
        admin(&["snapshot", "listpending", "-c", CHANNEL]),
        "Error: the required parameter 'tlsRootCertFile' is empty. Rerun the command with --tlsRootCertFile flag"
    );
    assert_eq!(
        admin(&["channel", "joinbysnapshot"]),
        "Error: the required parameter 'snapshotpath' is empty. Rerun the command with --snapshotpath flag"
    );
    assert_eq!(
        admin(&["channel", "joinbysnapshotstatus", "what", "else"]),
        "Error: trailing args detected: [what else]"
    );
    admin(&["channel", "joinbysnapshot", "--no-such-flag"]);
    let elsewhere = network
        .peer_command("hospital", "Admin", &["channel", "joinbysnapshotstatus"])
        .env("CORE_PEER_ADDRESS", "localhost:1")
        .output();
    let elsewhere = Ended::from(elsewhere.unwrap()).message();
    assert!(
        elsewhere.starts_with("Error: error getting endorser client for channel: endorser client failed to connect to localhost:1"),
        "{elsewhere}"
    );

    // The blocks come, and both peers make the same files.
    network.invoke("blue");
    network.invoke("green");
    let completed = |organization: &str| {
        let peer = network.peer(organization);
        peer.join("data/snapshots/completed")
            .join(CHANNEL)
            .join(&at)
    };
    for organization in ["hospital", "maker"] {
        eventually("a snapshot", || completed(organization).exists());
    }
    let ours = files(&completed("hospital"));
    assert!(ours.contains_key("public_state.data"));
    assert!(ours == files(&completed("maker")));

    // The regulator's peer loses its channel and joins again by the hospital's snapshot.
    assert_eq!(
        network
            .admin("regulator", &["channel", "joinbysnapshotstatus"])
            .well(),
        "No joinbysnapshot operation is in progress\n"
    );
    network.stop_peer("regulator");
    let config = network.peer("regulator").join("core.yaml");
    let config = config.to_str().unwrap().to_owned();
    let unjoin = ["ledger", "unjoin", "--config", &config, "-c", CHANNEL];
    network.run(&unjoin).well();
    let log = fs::File::create(network.folder.path().join("regulator.log")).unwrap();
    let start = consilium()
        .args(["peer", "start", "--config", &config])
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .spawn();
    network.own = Some(start.unwrap());
    let status = ["channel", "joinbysnapshotstatus"];
    eventually("the peer answers", || {
        network.admin("regulator", &status).code == Some(0)
    });
    let absent = network
        .admin(
            "regulator",
            &["channel", "joinbysnapshot", "--snapshotpath", "/absent"],
        )
        .message();
    assert!(
        absent.starts_with("Error: proposal failed (err: bad proposal response 500: cannot create ledger from snapshot /absent: error opening dir [/absent]: "),
        "{absent}"
    );
    let hospital = network.peer("hospital").join("data/snapshots/completed");
    let snapshot = hospital.join(CHANNEL).join(&at);
    let snapshot = snapshot.to_str().unwrap();
    let join = ["channel", "joinbysnapshot", "--snapshotpath", snapshot];
    let begun = network.admin("regulator", &join);
    assert_eq!(begun.code, Some(0), "{begun:?}");
    assert!(
        begun
            .err
            .contains("Successfully submitted proposal to join channel"),
        "{begun:?}"
    );
    eventually("the join ends", || {
        network.admin("regulator", &status).well() == "No joinbysnapshot operation is in progress\n"
    });
    let expected = network.height("hospital").unwrap();
    eventually("the peer catches up", || {
        network.height("regulator").as_ref() == Some(&expected)
    });
    let query = [
        "query",
        "--network",
        network.dir_name(),
        "--as",
        "regulator/User1",
    ];
    let color = network.run(&[&query[..], &["kv", "get", "color"]].concat());
    assert_eq!(color.well(), "green\n");
    let again = network.admin("regulator", &join).message();
    assert!(
        again.ends_with("ledger [health] already exists with state [ACTIVE])"),
        "{again}"
    );
}
