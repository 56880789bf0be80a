//! Threads that talk to the token: a few sessions at once, and a queue of limited length before them.

use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::thread;
use std::time::Duration;

use cryptoki::mechanism::Mechanism;
use parking_lot::Mutex;

use crate::library::{self, Opened};
use crate::{TokenError, TokenOptions};

/// Digests that may wait for a session.
const QUEUE: usize = 256;
/// How long whoever signs waits for the token.
const PATIENCE: Duration = Duration::from_secs(30);

/// A digest to sign, and where the signature goes.
struct Job {
    digest: Vec<u8>,
    answer: SyncSender<Result<Vec<u8>, String>>,
}

/// The threads; they end when it is dropped.
pub(crate) struct Pool {
    jobs: SyncSender<Job>,
}

impl Pool {
    /// Opens all sessions, so that what is wrong is known at once.
    pub(crate) fn open(options: &TokenOptions, key_id: &[u8]) -> Result<Self, TokenError> {
        let (jobs, queue) = mpsc::sync_channel(QUEUE);
        let queue = Arc::new(Mutex::new(queue));
        for number in 0..options.sessions.max(1) {
            let worker = Worker {
                opened: Some(library::open(options, key_id)?),
                options: options.clone(),
                key_id: key_id.to_vec(),
                queue: queue.clone(),
            };
            thread::Builder::new()
                .name(format!("pkcs11-{number}"))
                .spawn(move || worker.run())
                .map_err(|error| TokenError::Token(error.to_string()))?;
        }
        Ok(Self { jobs })
    }

    /// Signs a digest: R and S, each as long as the curve's order. Waits for it.
    pub(crate) fn sign(&self, digest: Vec<u8>) -> Result<Vec<u8>, String> {
        let (answer, answered) = mpsc::sync_channel(1);
        let job = Job { digest, answer };
        self.jobs
            .send(job)
            .map_err(|_| "the threads of the PKCS#11 token have ended".to_owned())?;
        answered
            .recv_timeout(PATIENCE)
            .map_err(|_| format!("the PKCS#11 token did not answer within {PATIENCE:?}"))?
    }
}

struct Worker {
    opened: Option<Opened>,
    options: TokenOptions,
    key_id: Vec<u8>,
    queue: Arc<Mutex<Receiver<Job>>>,
}

impl Worker {
    fn run(mut self) {
        loop {
            // Whoever waits for work holds the queue; the next takes its turn meanwhile.
            let job = self.queue.lock().recv();
            let Ok(job) = job else {
                return;
            };
            let signed = self.sign(&job.digest);
            // Nobody may be waiting any more.
            let _ = job.answer.send(signed);
        }
    }

    /// Signs; a session that broke, as after the token was taken out, is opened anew once.
    fn sign(&mut self, digest: &[u8]) -> Result<Vec<u8>, String> {
        if let Some(opened) = &self.opened {
            match opened.session.sign(&Mechanism::Ecdsa, opened.key, digest) {
                Ok(signature) => return Ok(signature),
                Err(error) => {
                    tracing::warn!(%error, "a session with the PKCS#11 token broke, opening another");
                    self.opened = None;
                }
            }
        }
        let opened =
            library::open(&self.options, &self.key_id).map_err(|error| error.to_string())?;
        let signed = opened.session.sign(&Mechanism::Ecdsa, opened.key, digest);
        self.opened = Some(opened);
        signed.map_err(|error| error.to_string())
    }
}
