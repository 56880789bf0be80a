//! What a connection is watched for: that its first request begins, that what is ready for the caller
//! is taken, that it does not ping too often.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::{Instant, Sleep, sleep};

use crate::frames::PingWatch;
use crate::limits::{ConnectionLimits, Refused};

/// Answers of one connection of which a piece is ready, and since when.
///
/// HTTP/2 lets a caller hold an answer back by its window; what was made of it waits in memory.
#[derive(Debug, Clone, Default)]
pub(crate) struct Stalls(Arc<Mutex<Waiting>>);

#[derive(Debug, Default)]
struct Waiting {
    next: u64,
    pieces: Vec<(u64, Instant)>,
}

impl Stalls {
    /// An answer begins to wait.
    pub fn begin(&self) -> Stall {
        let mut waiting = self.0.lock();
        waiting.next += 1;
        let number = waiting.next;
        waiting.pieces.push((number, Instant::now()));
        Stall {
            number,
            all: self.clone(),
        }
    }

    /// Since when the oldest piece waits.
    fn oldest(&self) -> Option<Instant> {
        let waiting = self.0.lock();
        waiting.pieces.iter().map(|(_, since)| *since).min()
    }
}

/// A piece of an answer that waits while this lives.
pub(crate) struct Stall {
    number: u64,
    all: Stalls,
}

impl Drop for Stall {
    fn drop(&mut self) {
        let mut waiting = self.all.0.lock();
        waiting.pieces.retain(|(number, _)| *number != self.number);
    }
}

/// The first bytes of a connection, which must come in time.
///
/// HTTP servers read until they can tell HTTP/1 from HTTP/2, and their own clocks start only
/// then: without this, a caller that sends nothing, or the beginning of HTTP/2's preface, stays
/// for ever.
struct Opening {
    /// How much of the preface has come; its length when the version is known.
    matched: usize,
    /// Whether the preface came whole.
    http2: bool,
    until: Instant,
}

/// RFC 9113, section 3.4.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

impl Opening {
    fn over(&self) -> bool {
        self.matched >= PREFACE.len()
    }

    /// Looks at bytes; gives what comes after the preface of HTTP/2.
    fn look<'a>(&mut self, arrived: &'a [u8]) -> &'a [u8] {
        let mut left = arrived;
        while let [byte, rest @ ..] = left
            && !self.over()
        {
            if PREFACE[self.matched] == *byte {
                self.matched += 1;
                self.http2 = self.over();
            } else {
                self.matched = PREFACE.len();
            }
            left = rest;
        }
        if self.http2 { left } else { &[] }
    }
}

/// Watches one connection.
pub(crate) struct Watch {
    listener: &'static str,
    opening: Opening,
    stall: Duration,
    /// Since when the socket takes nothing.
    blocked: Option<Instant>,
    stalls: Stalls,
    pings: Option<PingWatch>,
    alarm: Pin<Box<Sleep>>,
}

impl Watch {
    pub fn new(limits: &ConnectionLimits, stalls: Stalls, certified: bool) -> Self {
        let least = limits
            .certified_ping_interval
            .filter(|_| certified)
            .or(limits.min_ping_interval);
        Self {
            listener: limits.listener,
            opening: Opening {
                matched: 0,
                http2: false,
                until: Instant::now() + limits.handshake,
            },
            stall: limits.stall,
            blocked: None,
            stalls,
            pings: least.map(PingWatch::new),
            alarm: Box::pin(sleep(limits.handshake.min(limits.stall))),
        }
    }

    /// Gives the caller this long, from now, to begin its first request.
    pub fn allow_opening(&mut self, patience: Duration) {
        let until = Instant::now() + patience;
        self.opening.until = until;
        self.look_at(until);
    }

    /// Looks at the outcome of a read, and at what it brought.
    pub fn read(
        &mut self,
        cx: &mut Context<'_>,
        outcome: Poll<io::Result<()>>,
        arrived: &[u8],
    ) -> Poll<io::Result<()>> {
        let frames = match self.opening.over() && self.opening.http2 {
            true => arrived,
            false => self.opening.look(arrived),
        };
        if let Some(pings) = &mut self.pings
            && !pings.arrived(frames, std::time::Instant::now())
        {
            Refused::Pings.count(self.listener);
            return Poll::Ready(Err(io::Error::other("too many pings")));
        }
        if outcome.is_pending() {
            ready!(self.check(cx))?;
        }
        outcome
    }

    /// Looks at the outcome of a write of `buffers`.
    pub fn wrote(
        &mut self,
        cx: &mut Context<'_>,
        outcome: Poll<io::Result<usize>>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if let (Some(pings), Poll::Ready(Ok(written))) = (&mut self.pings, &outcome) {
            let mut left = *written;
            for buffer in buffers {
                let taken = left.min(buffer.len());
                pings.left(&buffer[..taken]);
                left -= taken;
            }
        }
        self.flushed(cx, outcome)
    }

    /// Looks at the outcome of anything that waits for the socket to take bytes.
    pub fn flushed<T>(
        &mut self,
        cx: &mut Context<'_>,
        outcome: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if !outcome.is_pending() {
            self.blocked = None;
            return outcome;
        }
        if self.blocked.is_none() {
            let now = Instant::now();
            self.blocked = Some(now);
            self.look_at(now + self.stall);
        }
        ready!(self.check(cx))?;
        outcome
    }

    /// Sees to it that it is time to look again at this moment at the latest.
    fn look_at(&mut self, moment: Instant) {
        if moment < self.alarm.deadline() {
            self.alarm.as_mut().reset(moment);
        }
    }

    /// An error if the caller's time is over; otherwise pending, until it is time to look again.
    fn check(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            ready!(self.alarm.as_mut().poll(cx));
            let now = Instant::now();
            if !self.opening.over() && now >= self.opening.until {
                return self.over(Refused::Opening, "no request in time");
            }
            let waiting = [self.blocked, self.stalls.oldest()];
            let oldest = waiting.into_iter().flatten().min();
            if oldest.is_some_and(|since| now >= since + self.stall) {
                return self.over(
                    Refused::Stall,
                    "the caller does not take what is ready for it",
                );
            }
            let begin = oldest.unwrap_or(now) + self.stall;
            let next = match self.opening.over() {
                true => begin,
                false => begin.min(self.opening.until),
            };
            self.alarm.as_mut().reset(next);
        }
    }

    fn over(&self, refused: Refused, reason: &'static str) -> Poll<io::Result<()>> {
        refused.count(self.listener);
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, reason)))
    }
}
