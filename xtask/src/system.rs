//! System packages that a build, the demo or the tests need.

use std::{fs, path::Path};

use anyhow::{Context, bail};

use crate::run::{command, output, run, succeeds};

/// Something the system must have, and the Debian package that brings it.
struct Need {
    what: &'static str,
    package: &'static str,
    present: fn() -> bool,
}

const BUILD: [Need; 3] = [
    Need {
        what: "a C++ compiler",
        package: "build-essential",
        present: || succeeds("c++", &["--version"]),
    },
    Need {
        what: "libclang, which RocksDB's bindings are made with",
        package: "libclang-dev",
        present: has_libclang,
    },
    Need {
        what: "Python 3 with venv",
        package: "python3-venv",
        present: || succeeds("python3", &["-c", "import venv, ensurepip"]),
    },
];

const TEST: [Need; 14] = [
    Need {
        what: "Node.js 20.9 or newer",
        package: "nodejs",
        present: has_node,
    },
    Need {
        what: "npm",
        package: "npm",
        present: || succeeds("npm", &["--version"]),
    },
    Need {
        what: "Go 1.21 or newer, which fetches the version that go.mod names",
        package: "golang-go",
        present: has_go,
    },
    Need {
        what: "openssl, which asks for certificates as an administrator would",
        package: "openssl",
        present: || succeeds("openssl", &["version"]),
    },
    Need {
        what: "a JDK of Java 17 or newer",
        package: "default-jdk-headless",
        present: has_java,
    },
    Need {
        what: "Maven",
        package: "maven",
        present: || succeeds("mvn", &["--version"]),
    },
    Need {
        what: "Python 3.10 or newer",
        package: "python3",
        present: || {
            let check = "import sys; sys.exit(sys.version_info < (3, 10))";
            succeeds("python3", &["-c", check])
        },
    },
    Need {
        what: "SoftHSM, a PKCS#11 token of software",
        package: "softhsm2",
        present: || succeeds("softhsm2-util", &["--version"]),
    },
    Need {
        what: "PostgreSQL's server",
        package: "postgresql",
        present: has_postgresql,
    },
    Need {
        what: "ip, for hosts that a test cuts off",
        package: "iproute2",
        present: || succeeds("ip", &["-V"]),
    },
    Need {
        what: "jq, with which scripts edit configurations",
        package: "jq",
        present: || succeeds("jq", &["--version"]),
    },
    Need {
        what: "Chromium, in which the console is looked at",
        package: "chromium",
        present: || succeeds("chromium", &["--version"]),
    },
    Need {
        what: "a font with Chinese characters, for the console's pages",
        package: "fonts-wqy-microhei",
        present: has_chinese,
    },
    Need {
        what: "kubectl",
        package: "kubernetes-client",
        present: || succeeds("kubectl", &["version", "--client"]),
    },
];

fn has_chinese() -> bool {
    Path::new("/usr/share/fonts/truetype/wqy/wqy-microhei.ttc").is_file()
        || output("fc-list", &[":lang=zh"]).is_some_and(|fonts| !fonts.is_empty())
}

/// Installs what building and the demo need.
///
/// # Errors
/// Something is missing and cannot be installed; says what.
pub fn for_build() -> anyhow::Result<()> {
    ensure(&BUILD)
}

/// Installs what the tests need besides.
///
/// # Errors
/// Something is missing and cannot be installed; says what.
pub fn for_tests() -> anyhow::Result<()> {
    ensure(&TEST)
}

fn ensure(needs: &[Need]) -> anyhow::Result<()> {
    let missing: Vec<_> = needs.iter().filter(|need| !(need.present)()).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let packages: Vec<_> = missing.iter().map(|need| need.package).collect();
    let list: Vec<_> = missing.iter().map(|need| need.what).collect();
    let advice = format!(
        "missing: {}; install it, on Debian and Ubuntu with `apt-get install {}`",
        list.join(", "),
        packages.join(" ")
    );
    if !succeeds("apt-get", &["--version"]) {
        bail!("{advice}");
    }
    println!("installing {}", packages.join(" "));
    let is_root = output("id", &["-u"]).as_deref() == Some("0");
    let apt = |args: &[&str]| {
        let mut words = if is_root { vec![] } else { vec!["sudo", "-n"] };
        words.extend(["env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-qq"]);
        words.extend(args);
        run(&mut command(words[0], words[1..].iter().copied()))
    };
    apt(&["update"]).with_context(|| advice.clone())?;
    let mut install = vec!["install", "-y", "--no-install-recommends"];
    install.extend(packages);
    apt(&install).with_context(|| advice.clone())?;
    for need in missing {
        if !(need.present)() {
            bail!("the package {} did not bring {}", need.package, need.what);
        }
    }
    Ok(())
}

fn has_go() -> bool {
    output("go", &["env", "GOVERSION"])
        .and_then(|version| {
            let mut parts = version.trim_start_matches("go").split('.');
            let major: u32 = parts.next()?.parse().ok()?;
            let minor: u32 = parts.next()?.parse().ok()?;
            Some((major, minor) >= (1, 21))
        })
        .unwrap_or(false)
}

/// `javac 17.0.15`; before Java 9 versions began with `1.`.
fn has_java() -> bool {
    output("javac", &["--version"])
        .and_then(|version| {
            let major = version.strip_prefix("javac ")?.split('.').next()?;
            major.parse::<u32>().ok()
        })
        .is_some_and(|major| major >= 17)
}

fn has_node() -> bool {
    output("node", &["--version"])
        .and_then(|version| {
            let mut parts = version.trim_start_matches('v').split('.');
            let major: u32 = parts.next()?.parse().ok()?;
            let minor: u32 = parts.next()?.parse().ok()?;
            Some((major, minor) >= (20, 9))
        })
        .unwrap_or(false)
}

/// Debian keeps the programs of each version out of the path.
fn has_postgresql() -> bool {
    let entries = fs::read_dir("/usr/lib/postgresql").into_iter().flatten();
    let mut installed = entries
        .flatten()
        .map(|entry| entry.path().join("bin/initdb"));
    installed.any(|program| program.is_file()) || succeeds("initdb", &["--version"])
}

/// The library that bindgen loads, where Debian's packages put it.
fn has_libclang() -> bool {
    if std::env::var_os("LIBCLANG_PATH").is_some() {
        return true;
    }
    let mut folders = vec!["/usr/lib".into(), "/usr/lib64".into()];
    for parent in [
        "/usr/lib",
        "/usr/lib/x86_64-linux-gnu",
        "/usr/lib/aarch64-linux-gnu",
    ] {
        folders.push(Path::new(parent).to_owned());
        if let Ok(entries) = fs::read_dir(parent) {
            folders.extend(
                entries
                    .flatten()
                    .filter(|entry| entry.file_name().to_string_lossy().starts_with("llvm"))
                    .map(|entry| entry.path().join("lib")),
            );
        }
    }
    folders.iter().any(|folder| {
        fs::read_dir(folder).is_ok_and(|entries| {
            entries.flatten().any(|entry| {
                let name = entry.file_name();
                let name = name.to_string_lossy();
                (name.starts_with("libclang.so") || name.starts_with("libclang-"))
                    && name.contains(".so")
                    && !name.starts_with("libclang-cpp")
            })
        })
    })
}
