//! Takes certificates up when their files change, and says when they end.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context;
use aws_lc_rs::digest;
use consilium_ca::folders;
use consilium_msp::{Certificate, Msp, MspVersion, SigningIdentity};
use consilium_protocol::config::ChannelConfig;
use consilium_transport::TlsIdentity;
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::{Notify, watch},
};

use super::{
    Purpose, SigningSource,
    expiry::{self, Standing},
    now,
    pair::{Pair, leaf},
    permissions,
    renewal::Renewer,
};
use crate::{config, config::Certificates};

/// How often dates are looked at.
const DATES: Duration = Duration::from_secs(3600);
/// How often the same warning is repeated.
const REPEAT: Duration = Duration::from_secs(24 * 3600);
/// The folders of an MSP, and its file.
const MSP: [&str; 9] = [
    "cacerts",
    "intermediatecerts",
    "admincerts",
    "crls",
    "tlscacerts",
    "tlsintermediatecerts",
    "config.yaml",
    "signcerts",
    "keystore",
];

/// Why what has changed is not taken up yet, although it can be used: it is looked at again and again.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct NotYet(pub String);

/// A certificate that was taken up, and what it is for.
type TakenUp = Option<(Purpose, Arc<Certificate>)>;
type TakeUp = Box<dyn FnMut() -> anyhow::Result<TakenUp> + Send>;
type Channels = Box<dyn Fn() -> Vec<(String, Arc<ChannelConfig>)> + Send>;

/// Files, and what to do when they change.
struct Watched {
    what: String,
    /// Files and folders.
    paths: Vec<PathBuf>,
    seen: Vec<u8>,
    /// A change that could not be used when it was seen first: it may have been half-written.
    doubtful: bool,
    /// Why it is not taken up yet, as it was said.
    waits: Option<String>,
    take_up: TakeUp,
}

/// A certificate in use.
struct Held {
    purpose: Purpose,
    certificate: Arc<Certificate>,
    warned: Option<(Standing, Instant)>,
}

/// A node's certificates and whoever uses them.
pub struct Keeper {
    file: PathBuf,
    settings: Certificates,
    watched: Vec<Watched>,
    held: Vec<Held>,
    channels: Option<Channels>,
    source: Option<SigningSource>,
    pairs: Vec<(Purpose, Pair)>,
    warned_of_channels: Option<Instant>,
}

impl Keeper {
    /// A keeper of the certificates that the configuration `file` names.
    pub fn new(file: &Path, settings: &Certificates) -> Self {
        Self {
            file: file.to_owned(),
            settings: settings.clone(),
            watched: Vec::new(),
            held: Vec::new(),
            channels: None,
            source: None,
            pairs: Vec::new(),
            warned_of_channels: None,
        }
    }

    /// Reads the TLS pair of a listener or client, and hands it to `install` whenever it changes.
    ///
    /// # Errors
    /// The pair cannot be used: the message names the keys of the configuration and the file.
    pub fn tls(
        &mut self,
        purpose: Purpose,
        key: &str,
        certificate: &Path,
        private: &Path,
        mut install: impl FnMut(TlsIdentity) -> anyhow::Result<()> + Send + 'static,
    ) -> anyhow::Result<()> {
        let pair = Pair {
            certificate: config::relative(&self.file, certificate),
            key: config::relative(&self.file, private),
        };
        if let Some(complaint) = permissions::complaint(&pair.key) {
            tracing::warn!("{}: {key}: {complaint}", self.file.display());
        }
        if !self.pairs.iter().any(|(_, known)| *known == pair) {
            self.pairs.push((purpose, pair.clone()));
        }
        let paths = vec![pair.certificate.clone(), pair.key.clone()];
        let identity = pair
            .read()
            .with_context(|| format!("{}: {key} and its key", self.file.display()))?;
        self.hold(purpose, leaf(&identity)?);
        let take_up = move || {
            let identity = pair.read()?;
            let certificate = leaf(&identity)?;
            check_dates(&certificate)?;
            install(identity)?;
            Ok(Some((purpose, certificate)))
        };
        self.watch(purpose.to_string(), paths, Box::new(take_up));
        Ok(())
    }

    /// Hands what is in the local MSP folder to `install` whenever it changes, and lets `identity` sign
    /// with what is its signing pair then.
    pub fn local_msp(
        &mut self,
        source: &SigningSource,
        identity: &SigningIdentity,
        mut install: impl FnMut(Arc<Msp>) -> anyhow::Result<()> + Send + 'static,
    ) {
        let msp_dir = &source.msp_dir;
        if let Ok(entries) = std::fs::read_dir(msp_dir.join("keystore")) {
            for key in entries.flatten() {
                if let Some(complaint) = permissions::complaint(&key.path()) {
                    tracing::warn!("{complaint}");
                }
            }
        }
        self.hold(
            Purpose::Enrollment,
            identity.current().certificate().clone(),
        );
        self.source = Some(source.clone());
        let paths = MSP.iter().map(|name| msp_dir.join(name)).collect();
        let (source, identity) = (source.clone(), identity.clone());
        let take_up = move || {
            let msp = folders::read_msp_config(&source.msp_dir, identity.msp_id())?;
            let msp = Msp::new(&msp, MspVersion::V3_0).context("the local MSP is not valid")?;
            let signer = source.read()?;
            let certificate = signer.certificate().clone();
            check_dates(&certificate)?;
            let own = msp.deserialize(signer.serialized());
            own.and_then(|own| msp.validate(&own))
                .context("the local MSP does not accept its own signing certificate")?;
            install(Arc::new(msp))?;
            identity.replace(signer)?;
            Ok(Some((Purpose::Enrollment, certificate)))
        };
        self.watch("local MSP".to_owned(), paths, Box::new(take_up));
    }

    /// Calls `install` whenever one of the files changes that hold trusted TLS roots.
    pub fn roots(
        &mut self,
        key: &str,
        files: impl IntoIterator<Item = PathBuf>,
        mut install: impl FnMut() -> anyhow::Result<()> + Send + 'static,
    ) {
        let files = files.into_iter();
        let paths: Vec<_> = files
            .map(|path| config::relative(&self.file, &path))
            .collect();
        if !paths.is_empty() {
            let take_up = move || install().map(|()| None);
            self.watch(key.to_owned(), paths, Box::new(take_up));
        }
    }

    /// Also watches the dates of the certificates in the channels' configurations.
    pub fn channels(
        &mut self,
        channels: impl Fn() -> Vec<(String, Arc<ChannelConfig>)> + Send + 'static,
    ) {
        self.channels = Some(Box::new(channels));
    }

    fn watch(&mut self, what: String, paths: Vec<PathBuf>, take_up: TakeUp) {
        self.watched.push(Watched {
            what,
            seen: fingerprint(&paths),
            paths,
            doubtful: false,
            waits: None,
            take_up,
        });
    }

    fn hold(&mut self, purpose: Purpose, certificate: Arc<Certificate>) {
        expiry::show_own(purpose, &certificate);
        self.held.retain(|held| held.purpose != purpose);
        self.held.push(Held {
            purpose,
            certificate,
            warned: None,
        });
    }

    /// Works until `stopped` turns true. SIGHUP hurries it.
    ///
    /// # Errors
    /// The system gives no signals.
    pub async fn run(self, mut stopped: watch::Receiver<bool>) -> anyhow::Result<()> {
        let renewed = Arc::new(Notify::new());
        let renewing = self
            .renewer(renewed.clone())
            .map(|renewer| tokio::spawn(renewer.run()));
        let mut hangups = signal(SignalKind::hangup())?;
        let every = self.settings.reload_interval.max(Duration::from_millis(10));
        let mut ticks = tokio::time::interval(every);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut keeper = self;
        let mut dates: Option<Instant> = None;
        loop {
            let asked = tokio::select! {
                _ = stopped.wait_for(|stopped| *stopped) => break,
                _ = hangups.recv() => {
                    tracing::info!("looking at the files of all certificates and keys, as asked by SIGHUP");
                    true
                }
                () = renewed.notified() => false,
                _ = ticks.tick() => false,
            };
            let look_at_dates = dates.is_none_or(|at| at.elapsed() >= DATES);
            if look_at_dates {
                dates = Some(Instant::now());
            }
            // It reads files.
            let looking = tokio::task::spawn_blocking(move || {
                keeper.look(asked);
                if look_at_dates {
                    keeper.look_at_dates();
                }
                keeper
            });
            keeper = looking.await?;
        }
        if let Some(renewing) = renewing {
            renewing.abort();
        }
        Ok(())
    }

    fn renewer(&self, renewed: Arc<Notify>) -> Option<Renewer> {
        let settings = &self.settings.renewal;
        if !settings.enabled || settings.url.is_empty() {
            return None;
        }
        Some(Renewer {
            settings: settings.clone(),
            root_cert: config::relative(&self.file, &settings.root_cert),
            source: self.source.clone()?,
            pairs: self.pairs.clone(),
            renewed,
        })
    }

    /// Takes up what has changed. What cannot be used is refused, and the old one stays: said at once if
    /// somebody `asked`, otherwise when it is still so at the next look, as files are written one by one.
    fn look(&mut self, asked: bool) {
        let mut taken = Vec::new();
        for watched in &mut self.watched {
            let seen = fingerprint(&watched.paths);
            if seen == watched.seen && !watched.doubtful && watched.waits.is_none() {
                continue;
            }
            let is_second_look = seen == watched.seen;
            watched.seen = seen;
            match (watched.take_up)() {
                Ok(certificate) => {
                    (watched.doubtful, watched.waits) = (false, None);
                    match &certificate {
                        Some((_, certificate)) => tracing::info!(
                            subject = certificate.subject_cn(),
                            serial = certificate.serial_hex(),
                            until = expiry::until(certificate.not_after(), now()),
                            "took up the changed {}",
                            watched.what
                        ),
                        None => tracing::info!("took up the changed {}", watched.what),
                    }
                    taken.extend(certificate);
                }
                Err(error) if error.is::<NotYet>() => {
                    watched.doubtful = false;
                    let reason = error.to_string();
                    if watched.waits.as_ref() != Some(&reason) {
                        tracing::warn!(
                            "the changed {} waits, the one in use stays: {reason}",
                            watched.what
                        );
                    }
                    watched.waits = Some(reason);
                }
                Err(_) if !asked && !is_second_look => {
                    (watched.doubtful, watched.waits) = (true, None);
                }
                Err(error) => {
                    (watched.doubtful, watched.waits) = (false, None);
                    tracing::error!(
                        "refused the changed {}, the one in use stays: {error:#}",
                        watched.what
                    );
                }
            }
        }
        for (purpose, certificate) in taken {
            self.hold(purpose, certificate);
        }
    }

    fn look_at_dates(&mut self) {
        let (now, warn_before) = (now(), self.settings.warn_before);
        for held in &mut self.held {
            let standing = expiry::standing(held.certificate.not_after(), now, warn_before);
            let is_news = held
                .warned
                .is_none_or(|(known, at)| known != standing || at.elapsed() >= REPEAT);
            if !is_news {
                continue;
            }
            held.warned = Some((standing, Instant::now()));
            let until = expiry::until(held.certificate.not_after(), now);
            // Fabric's sentences. fabric: common/crypto/expiration.go
            match standing {
                Standing::Good => {
                    tracing::info!(until, "The {} will expire", held.purpose);
                }
                Standing::Ending => tracing::warn!(
                    until,
                    "The {} expires within {}",
                    held.purpose,
                    humantime::format_duration(warn_before)
                ),
                Standing::Expired => {
                    tracing::error!(until, "The {} has expired", held.purpose);
                }
            }
        }
        let Some(channels) = &self.channels else {
            return;
        };
        let repeat = self
            .warned_of_channels
            .is_none_or(|at| at.elapsed() >= REPEAT);
        if repeat {
            self.warned_of_channels = Some(Instant::now());
        }
        for (channel, config) in channels() {
            let found = expiry::of_channel(config.root());
            expiry::show_channel(&channel, &found);
            for ((organization, kind), certificate) in found.iter().filter(|_| repeat) {
                let standing = expiry::standing(certificate.not_after(), now, warn_before);
                if standing != Standing::Good {
                    tracing::warn!(
                        channel,
                        organization,
                        subject = certificate.subject_cn(),
                        until = expiry::until(certificate.not_after(), now),
                        "a {kind} certificate in the channel's configuration ends"
                    );
                }
            }
        }
    }
}

fn check_dates(certificate: &Certificate) -> anyhow::Result<()> {
    let now = now();
    anyhow::ensure!(
        now <= certificate.not_after(),
        "the certificate of {} {}",
        certificate.subject_cn(),
        expiry::until(certificate.not_after(), now)
    );
    anyhow::ensure!(
        now >= certificate.not_before(),
        "the certificate of {} is not valid yet",
        certificate.subject_cn()
    );
    Ok(())
}

/// Contents and names of files, those in folders included; what is missing counts as such.
fn fingerprint(paths: &[PathBuf]) -> Vec<u8> {
    let mut context = digest::Context::new(&digest::SHA256);
    let mut add = |path: &Path| {
        let contents = std::fs::read(path).unwrap_or_default();
        context.update(path.as_os_str().as_encoded_bytes());
        context.update(&(contents.len() as u64).to_be_bytes());
        context.update(&contents);
    };
    for path in paths {
        if !path.is_dir() {
            add(path);
            continue;
        }
        let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
        let mut inside: Vec<_> = entries.map(|entry| entry.path()).collect();
        inside.sort();
        // Hidden files are half-written ones.
        inside.retain(|path| {
            let name = path.file_name().unwrap_or_default();
            !name.as_encoded_bytes().starts_with(b".")
        });
        inside.iter().for_each(|path| add(path));
    }
    context.finish().as_ref().to_vec()
}
