//! Doors for the fuzz targets to what other orderers send and to what the Raft log holds. Each
//! panics where something does not hold that must hold for any bytes.

use std::collections::BTreeMap;
use std::io;
use std::ops::Bound;
use std::sync::Arc;

use bytes::Bytes;
use consilium_proto::consilium::replication as wire;
use prost::Message;

use crate::multipart;
use crate::raft::codec::{self, CodecError};
use crate::raft::log::ChannelLog;
use crate::raft::machine;
use crate::raft::store::{self, Record, Store};
use crate::storage::{LogDisk, Op, Visit};

/// Reads bytes as each message between orderers, as far as a node that got it reads it. What can be
/// read is sent on as something that reads the same. Gives how many kinds it can be.
pub fn messages(bytes: &Bytes) -> usize {
    let mut found = 0;
    if let Ok(entry) = codec::decode_entry(bytes.clone()) {
        let again = codec::decode_entry(codec::entry(&entry).encode_to_vec().into());
        assert_eq!(again, Ok(entry), "an entry");
        found += 1;
    }
    found += usize::from(append(bytes));
    found += message(bytes, |request: wire::VoteRequest| {
        let read = codec::read_vote_request(&request)?;
        let sent = codec::vote_request(&request.channel, request.to, &read, request.pre_vote);
        Ok((format!("{read:?}"), sent))
    });
    found += message(bytes, |response: wire::VoteResponse| {
        let read = codec::read_vote_response(&response)?;
        Ok((format!("{read:?}"), codec::vote_response(&read)))
    });
    found += message(bytes, |response: wire::AppendResponse| {
        let read = codec::read_appended(response)?;
        Ok((format!("{read:?}"), codec::appended(read)))
    });
    if let Ok(snapshot) = wire::Snapshot::decode(bytes.clone())
        && let Ok(read) = machine::to_raft(snapshot)
    {
        let sent = wire::Snapshot {
            id: read.meta.last_log_id.as_ref().map(codec::log_id),
            membership: Some(codec::stored_membership(&read.meta.last_membership)),
            ..read.snapshot
        };
        let again = machine::to_raft(sent).map(|snapshot| snapshot.meta);
        assert_eq!(again.ok(), Some(read.meta), "a snapshot's position");
        found += 1;
    }
    if let Ok(vote) = store::decode_vote(bytes.clone()) {
        let again = store::decode_vote(store::encode_vote(&vote).into());
        assert_eq!(again.ok(), Some(vote), "a vote");
    }
    found
}

/// What is read of a message is what is read of what it makes.
fn message<M: Message + Default>(
    bytes: &Bytes,
    read: impl Fn(M) -> Result<(String, M), CodecError>,
) -> usize {
    let Ok(Ok((seen, sent))) = M::decode(bytes.clone()).map(&read) else {
        return 0;
    };
    let again = read(sent).map(|(seen, _)| seen);
    assert_eq!(again, Ok(seen), "a message between orderers");
    1
}

fn append(bytes: &Bytes) -> bool {
    let Ok(request) = wire::AppendRequest::decode(bytes.clone()) else {
        return false;
    };
    let (channel, to) = (request.channel.clone(), request.to);
    let Ok(read) = codec::read_append(request) else {
        return false;
    };
    let mut next = read
        .prev_log_id
        .map_or(0, |id| id.index().saturating_add(1));
    for entry in &read.entries {
        assert_eq!(entry.log_id.index(), next, "entries follow one another");
        next = next.saturating_add(1);
    }
    let seen = format!("{read:?}");
    let again = codec::read_append(codec::append(&channel, to, read));
    assert_eq!(again.map(|again| format!("{again:?}")), Ok(seen), "append");
    true
}

/// A log database in memory.
struct Memory(BTreeMap<Vec<u8>, Bytes>);

impl LogDisk for Memory {
    fn get(&self, key: &[u8]) -> io::Result<Option<Bytes>> {
        Ok(self.0.get(key).cloned())
    }

    fn scan(&self, from: &[u8], until: &[u8], visit: &mut Visit<'_>) -> io::Result<()> {
        if from < until {
            let range = (Bound::Included(from), Bound::Excluded(until));
            for (key, value) in self.0.range::<[u8], _>(range) {
                if !visit(key, value.clone())? {
                    break;
                }
            }
        }
        Ok(())
    }

    fn last(&self, from: &[u8], until: &[u8]) -> io::Result<Option<(Vec<u8>, Bytes)>> {
        let range = (Bound::Included(from), Bound::Excluded(until));
        let last = self.0.range::<[u8], _>(range).next_back();
        Ok(last.map(|(key, value)| (key.clone(), value.clone())))
    }

    fn write(&self, _: Vec<Op>, _: bool) -> io::Result<()> {
        Err(io::Error::other("nothing is written"))
    }
}

/// Opens the log of a channel whose database holds these values: of records by their letters (`n`,
/// `v`, `p`, `s`), of entries by their index behind the letter `l`. Gives how many entries were read.
pub fn log(values: impl IntoIterator<Item = (u8, u64, Bytes)>) -> usize {
    const CHANNEL: &str = "channel";
    let keyed = values.into_iter().map(|(kind, index, value)| {
        let key = match kind {
            b'n' => store::record_key(CHANNEL, Record::Node),
            b'v' => store::record_key(CHANNEL, Record::Vote),
            b'p' => store::record_key(CHANNEL, Record::Purged),
            b's' => store::record_key(CHANNEL, Record::Snapshot),
            _ => store::entry_key(CHANNEL, index),
        };
        (key, value)
    });
    let store = Store::new(Arc::new(Memory(keyed.collect())));
    if let Ok(Some(vote)) = store.record(CHANNEL, Record::Vote) {
        let _ = store::decode_vote(vote);
    }
    let last = store.last(CHANNEL);
    if let Ok(log) = ChannelLog::open(store.clone(), CHANNEL) {
        let last = last.ok().flatten().map(|entry| entry.log_id);
        assert!(
            log.last() >= last,
            "the log ends with its last entry or later"
        );
        let _ = log.is_pristine();
        let _ = log.purged();
        let _ = log.snapshot();
    }
    let mut read = 0;
    for start in [0, 1, u64::MAX - 1] {
        for bytes in [0, usize::MAX] {
            if let Ok(entries) = store.entries(CHANNEL, start, u64::MAX, bytes) {
                assert!(bytes > 0 || entries.len() <= 2, "as many as fit");
                read += entries.len();
            }
        }
    }
    read
}

/// Reads a body of the channel participation API as its Content-Type announces it. Gives how many
/// parts it has.
pub fn form(content_type: &str, body: &[u8]) -> usize {
    let Some(boundary) = multipart::boundary(content_type) else {
        return 0;
    };
    let Ok(parts) = multipart::parts(body, &boundary) else {
        return 0;
    };
    let delimiter = format!("\r\n--{boundary}");
    for part in &parts {
        assert!(!part.name.is_empty(), "only parts with names are given");
        let within = part.content.windows(delimiter.len());
        assert!(
            !within.into_iter().any(|w| w == delimiter.as_bytes()),
            "a part ends where the next one begins"
        );
    }
    parts.len()
}
