//! A PostgreSQL server of the tests' own, which `cargo xtask test` installs.
//!
//! A shell beside the tests starts and stops it, and when the tests end, however they end, it stops
//! the server for good and removes its files.

use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{LazyLock, Mutex};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};

use crate::server::CaError;
use crate::{DatabaseTls, PostgresOptions};

const PASSWORD: &str = "it's a secret";

/// Reads words and does them; at the end of its input it cleans up. Interrupting the tests must not
/// end it before.
const KEEPER: &str = r#"
trap '' INT HUP
folder=$1 bin=$2
control() { "$bin/pg_ctl" -D "$folder/data" -l "$folder/log" -w -t 60 "$@" </dev/null >/dev/null 2>&1; }
while read -r word; do
    case $word in
    start) control start && echo started || { tail -n 20 "$folder/log" | tr '\n' ' '; echo; } ;;
    stop) control -m fast stop && echo stopped || echo "it does not stop" ;;
    esac
done
control -m immediate stop
rm -rf "$folder"
"#;

/// A running server, with a certificate for `localhost`.
pub(crate) struct Cluster {
    folder: PathBuf,
    port: u16,
    keeper: Mutex<Keeper>,
}

struct Keeper {
    words: Option<ChildStdin>,
    said: BufReader<ChildStdout>,
    shell: Child,
}

impl Cluster {
    /// The one for tests that do not stop it.
    pub fn shared() -> &'static Self {
        static SHARED: LazyLock<Cluster> = LazyLock::new(Cluster::start);
        &SHARED
    }

    pub fn start() -> Self {
        let bin = programs();
        let folder = tempfile::tempdir().unwrap().keep();
        // The server refuses to run as root.
        let postgres = user();
        let own = |path: &Path| {
            if let Some((uid, gid)) = postgres {
                chown(path, Some(uid), Some(gid)).unwrap();
            }
        };
        own(&folder);
        fs::write(folder.join("password"), PASSWORD).unwrap();
        own(&folder.join("password"));
        let data = folder.join("data");
        let made = as_postgres(postgres, bin.join("initdb"))
            .args(["--username=ca", "--auth=scram-sha-256", "--encoding=UTF8"])
            .args(["--locale=C.UTF-8", "--no-sync"])
            .arg(format!("--pwfile={}", folder.join("password").display()))
            .arg("-D")
            .arg(&data)
            .current_dir(&folder)
            .output()
            .expect("initdb: apt-get install postgresql");
        assert!(made.status.success(), "{made:?}");
        certify(&folder);
        let key = folder.join("server.key");
        fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
        own(&key);
        let port = {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            listener.local_addr().unwrap().port()
        };
        let shown = folder.display();
        let settings = format!(
            "listen_addresses = '127.0.0.1'\nport = {port}\nunix_socket_directories = '{shown}'\n\
             fsync = off\nmax_connections = 200\nssl = on\nssl_cert_file = '{shown}/server.pem'\n\
             ssl_key_file = '{shown}/server.key'\n"
        );
        let file = data.join("postgresql.conf");
        let usual = fs::read_to_string(&file).unwrap();
        fs::write(&file, usual + &settings).unwrap();
        let mut shell = as_postgres(postgres, "sh")
            .args(["-c", KEEPER, "sh"])
            .args([&folder, &bin])
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let keeper = Keeper {
            words: shell.stdin.take(),
            said: BufReader::new(shell.stdout.take().unwrap()),
            shell,
        };
        let cluster = Self {
            folder,
            port,
            keeper: Mutex::new(keeper),
        };
        cluster.restart();
        cluster
    }

    /// Stops the server, ending its connections.
    pub fn stop(&self) {
        self.tell("stop", "stopped");
    }

    /// Starts it again; back when it takes connections.
    pub fn restart(&self) {
        self.tell("start", "started");
    }

    fn tell(&self, word: &str, expected: &str) {
        let mut keeper = self.keeper.lock().unwrap();
        writeln!(keeper.words.as_mut().unwrap(), "{word}").unwrap();
        let mut said = String::new();
        keeper.said.read_line(&mut said).unwrap();
        assert_eq!(said.trim(), expected);
    }

    /// A database that is not there yet.
    pub fn new_database(&self) -> PostgresOptions {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let change = format!("dbname=register-{number} sslmode=disable");
        self.options(&change, &DatabaseTls::default()).unwrap()
    }

    /// `db.datasource` with these pairs instead of the usual ones.
    pub fn datasource(&self, change: &str) -> String {
        let port = self.port;
        let password = PASSWORD.replace('\'', "\\'");
        format!(
            "host=127.0.0.1 port={port} user=ca password='{password}' dbname=register \
             sslmode=disable {change}"
        )
    }

    pub fn options(&self, change: &str, tls: &DatabaseTls) -> Result<PostgresOptions, CaError> {
        PostgresOptions::new(&self.datasource(change), &self.folder, tls)
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let keeper = self.keeper.get_mut().unwrap();
        keeper.words = None;
        let _ = keeper.shell.wait();
    }
}

/// Where Debian puts the server's programs, or whoever has them in the path.
fn programs() -> PathBuf {
    let entries = fs::read_dir("/usr/lib/postgresql").into_iter().flatten();
    let mut found: Vec<_> = entries
        .flatten()
        .map(|entry| entry.path().join("bin"))
        .filter(|bin| bin.join("initdb").is_file())
        .collect();
    found.sort();
    let path = std::env::var_os("PATH").unwrap_or_default();
    let in_path = std::env::split_paths(&path).find(|bin| bin.join("initdb").is_file());
    let found = found.pop().or(in_path);
    found.expect("PostgreSQL: apt-get install postgresql")
}

/// The user that the server runs as, if this is root: user and group number.
fn user() -> Option<(u32, u32)> {
    let id = |arguments: &[&str]| {
        let output = Command::new("id").args(arguments).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        text.trim().parse::<u32>().ok()
    };
    if id(&["-u"]) != Some(0) {
        return None;
    }
    let missing = "the user postgres, which Debian's package postgresql brings";
    let uid = id(&["-u", "postgres"]).expect(missing);
    Some((uid, id(&["-g", "postgres"]).expect(missing)))
}

fn as_postgres(user: Option<(u32, u32)>, program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    if let Some((uid, gid)) = user {
        command.uid(uid).gid(gid);
    }
    command
}

/// A root, another one, and a certificate for `localhost`.
fn certify(folder: &Path) {
    let root = |file: &str| {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, file);
        fs::write(folder.join(file), params.self_signed(&key).unwrap().pem()).unwrap();
        Issuer::new(params, key)
    };
    root("other.pem");
    let root = root("root.pem");
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(["localhost".to_owned()]).unwrap();
    let certificate = params.signed_by(&key, &root).unwrap();
    fs::write(folder.join("server.pem"), certificate.pem()).unwrap();
    fs::write(folder.join("server.key"), key.serialize_pem()).unwrap();
}
