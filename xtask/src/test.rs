//! `cargo xtask test`: all tests, cheap ones first.

use std::sync::atomic::{AtomicBool, Ordering};

use clap::Args;

use crate::{
    contracts, data,
    demo::{BINARY, build},
    run::{self, command, run, stage},
    system,
};

/// Options of the tests.
#[derive(Args)]
pub struct Test {
    /// Run only stages whose name contains this text.
    #[arg(long)]
    only: Option<String>,
}

/// A channel that Fabric's peers recorded; it lies beside the repository (`consilium_testkit::recorded`).
const RECORDING: &str = "../shared/fabric-chain/manifest.json";

/// Programs of Fabric's that ours are compared with.
const FABRIC_PROGRAMS: [&str; 8] = [
    "configtxgen",
    "configtxlator",
    "cryptogen",
    "discover",
    "ledgerutil",
    "orderer",
    "osnadmin",
    "peer",
];

type Stage = (&'static str, fn() -> anyhow::Result<()>);

const STAGES: [Stage; 18] = [
    ("system packages", || {
        system::for_build()?;
        system::for_tests()
    }),
    ("format", || {
        run(&mut command("cargo", ["fmt", "--all", "--check"]))
    }),
    ("lints", || {
        run(&mut command(
            "cargo",
            [
                "clippy",
                "--workspace",
                "--all-targets",
                "--",
                "-D",
                "warnings",
            ],
        ))
    }),
    ("unit and property tests", || {
        run(&mut command("cargo", ["test", "--workspace"]))
    }),
    ("build", build),
    ("manifests", manifests),
    ("a network under real clients", node),
    ("health contracts on a running network", health),
    ("the console in Chromium", console),
    ("FHIR clients", fhir),
    ("Fabric's own programs and SDKs", fabric),
    ("a consortium's life under Fabric's names", life),
    ("contracts in four languages", contracts),
    ("contracts that the peers build and run", running),
    ("faults", faults),
    ("ordering under Fabric's Go modules", ordering),
    ("faults of ordering", ordering_faults),
    ("demo", demo),
];

impl Test {
    /// Runs the stages in order.
    ///
    /// # Errors
    /// The first stage that fails.
    pub fn run(self) -> anyhow::Result<()> {
        let mut passed = 0;
        for (name, work) in STAGES {
            if self.only.as_deref().is_none_or(|only| name.contains(only)) {
                stage(name, work)?;
                passed += 1;
            }
        }
        anyhow::ensure!(passed > 0, "no stage has such a name");
        println!("\nstages: {passed} passed, 0 failed");
        // Where it is absent, the tests that need it pass without having looked at anything.
        if !std::path::Path::new(RECORDING).exists() {
            println!(
                "skipped: the tests against a channel recorded by Fabric; {RECORDING} is absent"
            );
        }
        Ok(())
    }
}

/// Kubernetes manifests against the schemas.
fn manifests() -> anyhow::Result<()> {
    let venv = data::venv(
        "target/test/venv",
        &["kubernetes-validate==1.37.0", "PyYAML==6.0.3"],
    )?;
    run(&mut command(
        &venv.join("bin/python").to_string_lossy(),
        ["tests/deploy/manifests.py"],
    ))
}

/// npm's Fabric SDK, shim and CA client against a network of our processes.
fn node() -> anyhow::Result<()> {
    with_network(|network| {
        let mut tests = command("npm", ["test", "--prefix", "tests/node"]);
        run(tests
            .env("CONSILIUM", absolute(BINARY)?)
            .env("NETWORK_DIR", network))
    })
}

/// The eight health contracts between eight organizations, from the view of everybody who acts there,
/// with npm's Fabric SDK and CA client.
fn health() -> anyhow::Result<()> {
    with_network_of(&["--health"], |network| {
        let mut tests = command("npm", ["run", "health", "--prefix", "tests/node"]);
        run(tests.env("NETWORK_DIR", network))
    })
}

/// The gateways' pages as people use them: signing in, every page in two languages and on a phone, by
/// keyboard, with axe's rules for accessibility.
fn console() -> anyhow::Result<()> {
    with_network_of(&["--health"], |network| {
        let mut tests = command("npm", ["run", "console", "--prefix", "tests/node"]);
        run(tests
            .env("CONSILIUM", absolute(BINARY)?)
            .env("NETWORK_DIR", network))
    })
}

/// npm's FHIR clients against the gateways of a health network, and PyPI's models of FHIR, which judge
/// every answer that the clients got.
fn fhir() -> anyhow::Result<()> {
    let venv = data::venv("target/test/fhir-venv", &["fhir.resources==8.3.0"])?;
    let answers = absolute("target/test/fhir-answers")?;
    with_network_of(&["--health"], |network| {
        let mut tests = command("npm", ["run", "fhir", "--prefix", "tests/node"]);
        run(tests
            .env("CONSILIUM", absolute(BINARY)?)
            .env("NETWORK_DIR", network)
            .env("ANSWERS", &answers))
    })?;
    run(&mut command(
        &venv.join("bin/python").to_string_lossy(),
        ["tests/node/fhir/answers.py", &answers.to_string_lossy()],
    ))
}

/// Fabric's command line and a peer of Fabric's in one channel with ours, built from their source;
/// applications on the gateway SDKs for Go and Java; in networks of their own, applications that go on
/// while everything changes, and many listeners. Fabric's own code judges our verdicts on MSPs and
/// configurations.
fn fabric() -> anyhow::Result<()> {
    // It writes the cases that tests/go/judged reads.
    run(&mut command(
        "cargo",
        ["test", "--workspace", "--test", "judged"],
    ))?;
    let programs = fabric_programs()?;
    with_network_of(&["--builder", "tests/builders/golang"], |network| {
        let mut tests = command("go", ["test", "-count=1", "-p=1", "-timeout=20m", "./..."]);
        run(tests
            .current_dir("tests/go")
            .env("CONSILIUM", absolute(BINARY)?)
            .env("FABRIC_BIN", &programs)
            .env("NETWORK_DIR", network))
    })?;
    fabric_ca()
}

/// Fabric CA's own server and client, built from their source, beside ours and against ours.
fn fabric_ca() -> anyhow::Result<()> {
    let programs = absolute("target/test/fabric-ca")?;
    run(command(
        "go",
        [
            "build",
            "-o",
            &format!("{}/", programs.display()),
            "github.com/hyperledger/fabric-ca/cmd/fabric-ca-client",
            "github.com/hyperledger/fabric-ca/cmd/fabric-ca-server",
        ],
    )
    .current_dir("tests/go/ca"))?;
    let mut tests = command("go", ["test", "-count=1", "-timeout=10m", "."]);
    run(tests
        .current_dir("tests/go/ca")
        .env("CONSILIUM", absolute(BINARY)?)
        .env("FABRIC_CA_BIN", &programs))
}

/// Builds Fabric's programs from their source, and tells their folder.
fn fabric_programs() -> anyhow::Result<std::path::PathBuf> {
    let programs = absolute("target/test/fabric")?;
    let output = format!("{}/", programs.display());
    let packages = FABRIC_PROGRAMS.map(|name| format!("github.com/hyperledger/fabric/cmd/{name}"));
    run(command("go", ["build", "-o", &output])
        .args(packages)
        .current_dir("tests/go"))?;
    Ok(programs)
}

/// Scripts of the tools alone, with the configuration files that Fabric brings; in the second, peers of
/// Fabric's are replaced by ours.
fn life() -> anyhow::Result<()> {
    contracts::go()?;
    node_modules()?;
    let folder = run::output_in(
        "tests/go",
        "go",
        &[
            "list",
            "-m",
            "-f",
            "{{.Dir}}",
            "github.com/hyperledger/fabric",
        ],
    )?;
    let tools = absolute("target/test/tools")?;
    let links = tools.to_string_lossy();
    run(&mut command(BINARY, ["link-programs", &links]))?;
    let fabric = fabric_programs()?;
    for (script, programs) in [("life.sh", &tools), ("move.sh", &fabric)] {
        run(command(&format!("tests/cli/{script}"), [])
            .env("TOOLS", programs)
            .env("MOVE_TO", &tools)
            .env("CONTRACT", absolute("target/test/contracts/notes")?)
            .env(
                "SAMPLECONFIG",
                std::path::Path::new(&folder).join("sampleconfig"),
            ))?;
    }
    Ok(())
}

/// Contracts on Fabric's shims for Go, Node, Java and Python, and contracts that misbehave.
fn contracts() -> anyhow::Result<()> {
    contracts::build()?;
    contracts::unit_tests()?;
    with_network(|network| {
        contracts::shorten_patience(network)?;
        let mut tests = command("npm", ["run", "languages", "--prefix", "tests/node"]);
        run(tests
            .env("CONSILIUM", absolute(BINARY)?)
            .env("NETWORK_DIR", network))
    })
}

/// Contracts that the peers build and run by external builders, and contracts under development.
fn running() -> anyhow::Result<()> {
    contracts::go()?;
    let builders = ["tests/builders/golang", "tests/builders/node"];
    let builders = builders.map(|folder| ["--builder", folder]);
    for (suite, options) in [
        ("running", builders.as_flattened()),
        ("development", &["--peer-chaincodedev"]),
    ] {
        with_network_of(options, |network| {
            let mut tests = command("npm", ["run", suite, "--prefix", "tests/node"]);
            run(tests
                .env("CONSILIUM", absolute(BINARY)?)
                .env("NETWORK_DIR", network))
        })?;
    }
    Ok(())
}

/// `kill -9` at random points.
fn faults() -> anyhow::Result<()> {
    with_network(|network| {
        let mut tests = command("node", ["tests/faults/kill.mjs"]);
        run(tests
            .env("CONSILIUM", absolute(BINARY)?)
            .env("NETWORK_DIR", network))
    })
}

/// Orderers of ours under Fabric's Go modules: genesis blocks, config updates, consenters that come
/// and go, every block signature.
fn ordering() -> anyhow::Result<()> {
    go_test(&["test", "-count=1", "-timeout=15m", "./..."])
}

/// A few rounds of each fault; the tests' own defaults are many more. The clients are SDKs too, and
/// one of them is npm's.
fn ordering_faults() -> anyhow::Result<()> {
    node_modules()?;
    go_test(&["test", "-count=1", "-timeout=15m", "-run=Fault", "."])
}

fn go_test(args: &[&str]) -> anyhow::Result<()> {
    let mut tests = command("go", args.iter().copied());
    tests.current_dir("tests/ordering");
    tests.env("CONSILIUM", absolute(BINARY)?);
    for (name, rounds) in [
        ("FAULT_ROUNDS", "15"),
        ("FAULT_ALL_ROUNDS", "5"),
        ("FAULT_CUT_ROUNDS", "1"),
        ("FAULT_GATEWAY_ROUNDS", "2"),
    ] {
        if std::env::var_os(name).is_none() {
            tests.env(name, rounds);
        }
    }
    run(&mut tests)
}

/// The demo, on other ports than a person's.
fn demo() -> anyhow::Result<()> {
    let data = data::population()?;
    run(&mut command(
        BINARY,
        [
            "demo",
            "--fresh",
            "--once",
            "--free-ports",
            "--dir",
            "target/test/demo",
            "--data",
            &data.to_string_lossy(),
        ],
    ))
}

/// Starts a network on free ports, lends it to `work`, and removes it whatever happens.
///
/// # Errors
/// Those of `work`, or that the network does not start or stop.
pub fn with_network(
    work: impl FnOnce(&std::path::Path) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    with_network_of(&[], work)
}

/// The same with further options of `network up`.
fn with_network_of(
    options: &[&str],
    work: impl FnOnce(&std::path::Path) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    node_modules()?;
    let folder = absolute("target/test/network")?;
    let dir = folder.to_string_lossy().into_owned();
    let down = || {
        run(&mut command(
            BINARY,
            ["network", "down", "--clean", "--dir", &dir],
        ))
    };
    if folder.join("network.json").is_file() {
        down()?;
    }
    let outcome =
        run(command(BINARY, ["network", "up", "--free-ports", "--dir", &dir]).args(options))
            .and_then(|()| work(&folder));
    if outcome.is_err() {
        // What the nodes said is the first thing to look at.
        let _ = run(&mut command(
            "sh",
            ["-c", &format!("tail -n 15 {dir}/logs/*.log")],
        ));
    }
    let stopped = if folder.join("network.json").is_file() {
        down()
    } else {
        Ok(())
    };
    outcome.and(stopped)
}

/// Installs what the lock file names, and nothing else; once for all stages.
fn node_modules() -> anyhow::Result<()> {
    static INSTALLED: AtomicBool = AtomicBool::new(false);
    if INSTALLED.load(Ordering::Relaxed) {
        return Ok(());
    }
    run(&mut command(
        "npm",
        [
            "ci",
            "--prefix",
            "tests/node",
            "--no-audit",
            "--no-fund",
            "--loglevel=error",
        ],
    ))?;
    INSTALLED.store(true, Ordering::Relaxed);
    Ok(())
}

fn absolute(path: &str) -> anyhow::Result<std::path::PathBuf> {
    Ok(std::path::absolute(path)?)
}
