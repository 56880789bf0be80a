//! HTTP/2 frames that pass by on a connection, looked at for the sake of pings.
//!
//! Fabric's servers disconnect clients that ping more often than `minInterval`, by the rules of
//! grpc-go: pings after something was sent to the client do not count, and the third in a row that
//! comes too early is the last. fabric: internal/pkg/comm/config.go (`ServerKeepaliveOptions`)

use std::time::{Duration, Instant};

/// RFC 9113, section 4.1.
const HEADER: usize = 9;
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const PING: u8 = 6;
const ACK: u8 = 1;

/// Pings that may come too early, one after another.
const STRIKES: u8 = 2;

/// Finds the frames in a stream of bytes.
#[derive(Default)]
pub(crate) struct Frames {
    header: [u8; HEADER],
    filled: usize,
    payload: usize,
}

/// What was among some bytes.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    /// Pings that ask for an answer.
    pub pings: usize,
    /// Messages of calls, or parts of them.
    pub messages: bool,
}

impl Frames {
    pub fn scan(&mut self, mut bytes: &[u8]) -> Seen {
        let mut seen = Seen::default();
        while !bytes.is_empty() {
            if self.payload > 0 {
                let skipped = self.payload.min(bytes.len());
                self.payload -= skipped;
                bytes = &bytes[skipped..];
                continue;
            }
            let taken = (HEADER - self.filled).min(bytes.len());
            self.header[self.filled..self.filled + taken].copy_from_slice(&bytes[..taken]);
            self.filled += taken;
            bytes = &bytes[taken..];
            if self.filled < HEADER {
                break;
            }
            self.filled = 0;
            let [high, middle, low, kind, flags, ..] = self.header;
            self.payload = u32::from_be_bytes([0, high, middle, low]) as usize;
            match kind {
                PING if flags & ACK == 0 => seen.pings += 1,
                DATA | HEADERS => seen.messages = true,
                _ => {}
            }
        }
        seen
    }
}

/// Whether a caller pings too often.
pub(crate) struct PingWatch {
    least: Duration,
    arriving: Frames,
    leaving: Frames,
    last: Option<Instant>,
    strikes: u8,
    answered: bool,
}

impl PingWatch {
    pub fn new(least: Duration) -> Self {
        Self {
            least,
            arriving: Frames::default(),
            leaving: Frames::default(),
            last: None,
            strikes: 0,
            answered: false,
        }
    }

    /// Looks at what the caller sent; false if it has pinged once too often.
    pub fn arrived(&mut self, bytes: &[u8], now: Instant) -> bool {
        let pings = self.arriving.scan(bytes).pings;
        (0..pings).all(|_| self.ping(now))
    }

    /// Looks at what is sent to the caller.
    pub fn left(&mut self, bytes: &[u8]) {
        self.answered |= self.leaving.scan(bytes).messages;
    }

    fn ping(&mut self, now: Instant) -> bool {
        let early = self.last.is_some_and(|last| now < last + self.least);
        self.last = Some(now);
        if std::mem::take(&mut self.answered) {
            self.strikes = 0;
        } else if early {
            self.strikes += 1;
        }
        self.strikes <= STRIKES
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, flags: u8, payload: usize) -> Vec<u8> {
        let length = u32::try_from(payload).unwrap().to_be_bytes();
        let mut bytes = vec![length[1], length[2], length[3], kind, flags, 0, 0, 0, 1];
        // What looks like a ping in a payload is none.
        bytes.extend([0, 0, 8, PING, 0, 0, 0, 0, 0].iter().cycle().take(payload));
        bytes
    }

    #[test]
    fn frames_are_found_however_the_bytes_are_cut() {
        let bytes = [
            frame(4, 0, 18),
            frame(PING, 0, 8),
            frame(DATA, 0, 70_000),
            frame(PING, ACK, 8),
            frame(PING, 0, 8),
        ]
        .concat();
        for cut in [1, 3, 9, 10, 4096, bytes.len()] {
            let mut frames = Frames::default();
            let seen = bytes.chunks(cut).map(|piece| frames.scan(piece));
            let (pings, messages) = seen.fold((0, false), |(pings, messages), seen| {
                (pings + seen.pings, messages | seen.messages)
            });
            assert_eq!((pings, messages), (2, true), "cut at {cut}");
        }
    }

    #[test]
    fn the_third_early_ping_in_a_row_is_the_last() {
        let begin = Instant::now();
        let at = |second| begin + Duration::from_secs(second);
        let ping = frame(PING, 0, 8);
        let cases: [(&[u64], bool); 5] = [
            (&[0, 60, 120, 180, 240], true),
            (&[0, 10, 20], true),
            (&[0, 10, 20, 30], false),
            // Pauses that are long enough do not make good for those that were not.
            (&[0, 10, 20, 80, 90], false),
            (&[0, 59, 118, 177], false),
        ];
        for (pings, expected) in cases {
            let mut watch = PingWatch::new(Duration::from_secs(60));
            let kept = pings.iter().all(|&second| watch.arrived(&ping, at(second)));
            assert_eq!(kept, expected, "{pings:?}");
        }
    }

    #[test]
    fn pings_after_an_answer_do_not_count() {
        let (begin, ping) = (Instant::now(), frame(PING, 0, 8));
        let mut watch = PingWatch::new(Duration::from_secs(60));
        for _ in 0..100 {
            assert!(watch.arrived(&ping, begin));
            watch.left(&frame(DATA, 0, 100));
        }
        // Answers to pings are no answers to calls.
        for expected in [true, true, true, false] {
            assert_eq!(watch.arrived(&ping, begin), expected);
            watch.left(&frame(PING, ACK, 8));
        }
    }
}
