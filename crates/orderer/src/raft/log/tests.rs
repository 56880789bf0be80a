//! What openraft relies on, and one of its reports was about.

use std::sync::Mutex;
use std::sync::mpsc;
use std::time::Duration;

use bytes::Bytes;
use openraft::AsyncRuntime;
use openraft::async_runtime::Oneshot;

use super::*;
use crate::storage::{LogDisk, Op, Visit};

/// An empty disk whose writes do not end before they are let through.
struct Gated {
    let_through: Mutex<mpsc::Receiver<()>>,
}

impl LogDisk for Gated {
    fn get(&self, _: &[u8]) -> io::Result<Option<Bytes>> {
        Ok(None)
    }

    fn scan(&self, _: &[u8], _: &[u8], _: &mut Visit<'_>) -> io::Result<()> {
        Ok(())
    }

    fn last(&self, _: &[u8], _: &[u8]) -> io::Result<Option<(Vec<u8>, Bytes)>> {
        Ok(None)
    }

    fn write(&self, _: Vec<Op>, _: bool) -> io::Result<()> {
        let gate = self.let_through.lock().map_err(|_| io::ErrorKind::Other)?;
        gate.recv_timeout(Duration::from_secs(60))
            .map_err(io::Error::other)
    }
}

fn entries(indexes: std::ops::Range<u64>) -> Vec<Entry> {
    let entry = |index| Entry {
        log_id: LogId::new_term_index(1, index),
        payload: EntryPayload::Normal(Proposal::Config(Bytes::from(vec![index as u8]))),
    };
    indexes.map(entry).collect()
}

/// Entries that cannot be read as soon as `append` returns made openraft's leader panic in
/// replication.
#[tokio::test]
async fn openraft_1544_entries_are_readable_when_append_returns_though_they_are_not_on_disk() {
    let (open, let_through) = mpsc::channel();
    let let_through = Mutex::new(let_through);
    let store = Store::new(Arc::new(Gated { let_through }));
    let mut log = ChannelLog::open(store, "mychannel").unwrap();
    // Dropped before the log, which waits for its writer.
    let open = open;
    let mut reader = log.get_log_reader().await;
    let (mut written, mut waiting) = (0, Vec::new());
    for batch in [1, 3, 64] {
        let (from, until) = (written, written + batch);
        let (flushed, done) = <rt::Runtime as AsyncRuntime>::Oneshot::channel();
        log.append(entries(from..until), IOFlushed::signal(flushed))
            .await
            .unwrap();
        let new = reader.limited_get_log_entries(from, until).await.unwrap();
        assert_eq!(new, entries(from..until));
        let all = reader.try_get_log_entries(0..until).await.unwrap();
        assert_eq!(all, entries(0..until));
        let last = log.get_log_state().await.unwrap().last_log_id;
        assert_eq!(last, all.last().map(|entry| entry.log_id));
        written = until;
        waiting.push(done);
    }
    // Nothing was on disk all the while.
    for done in &mut waiting {
        let polled = futures_util::poll!(&mut *done);
        assert!(polled.is_pending(), "a write ended behind a closed gate");
    }
    for _ in 0..3 {
        open.send(()).unwrap();
    }
    for done in waiting {
        done.await.unwrap().unwrap();
    }
}
