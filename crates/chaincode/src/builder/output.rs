//! What programs say goes to the peer's log, line by line, and no faster than a log can bear.

use parking_lot::Mutex;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;
use tokio::io::{AsyncRead, AsyncReadExt};

/// Bytes of a line that are kept.
const LONGEST_LINE: usize = 4096;
/// Lines of one program that are logged per second, in the long run.
const LINES_PER_SECOND: f64 = 200.0;
/// Lines that a program may say at once.
const BURST: f64 = 2000.0;
/// Lines that are remembered for whoever asks why a program failed.
const REMEMBERED: usize = 8;

/// Who speaks.
#[derive(Debug, Clone)]
pub(super) struct Speaker {
    pub(super) builder: String,
    pub(super) command: &'static str,
    pub(super) chaincode: String,
}

/// The last lines that a program said.
#[derive(Debug, Default, Clone)]
pub(super) struct LastWords(Arc<Mutex<VecDeque<String>>>);

impl LastWords {
    fn add(&self, line: &str) {
        let mut lines = self.0.lock();
        if lines.len() == REMEMBERED {
            lines.pop_front();
        }
        lines.push_back(line.chars().take(200).collect());
    }

    /// The lines after a colon, or nothing.
    pub(super) fn text(&self) -> String {
        let lines = self.0.lock();
        if lines.is_empty() {
            return String::new();
        }
        let lines: Vec<_> = lines.iter().map(String::as_str).collect();
        format!(": {}", lines.join("\n"))
    }
}

/// Reads to the end of `from`. Never stops reading, however much there is: a program must not wait for
/// the log.
pub(super) async fn log(mut from: impl AsyncRead + Unpin, speaker: Speaker, last: LastWords) {
    let mut lines = Lines::default();
    let mut allowance = Allowance::new(Instant::now());
    let mut bytes = vec![0; 16 << 10];
    loop {
        let read = from.read(&mut bytes).await.unwrap_or(0);
        let mut say = |line: &str| {
            last.add(line);
            if allowance.takes(Instant::now()) {
                say(&speaker, line);
            }
        };
        if read == 0 {
            lines.finish(&mut say);
            break;
        }
        lines.take(&bytes[..read], &mut say);
        if let Some(dropped) = allowance.dropped() {
            say_dropped(&speaker, dropped);
        }
    }
    if let Some(dropped) = allowance.dropped() {
        say_dropped(&speaker, dropped);
    }
}

fn say(speaker: &Speaker, line: &str) {
    tracing::info!(
        target: "chaincode::externalbuilder",
        builder = speaker.builder,
        command = speaker.command,
        chaincode = speaker.chaincode,
        "{line}"
    );
}

fn say_dropped(speaker: &Speaker, dropped: u64) {
    tracing::warn!(
        target: "chaincode::externalbuilder",
        builder = speaker.builder,
        command = speaker.command,
        chaincode = speaker.chaincode,
        dropped,
        "it says too much to be logged"
    );
}

/// Cuts what arrives into lines that can be logged.
#[derive(Debug, Default)]
struct Lines {
    begun: Vec<u8>,
}

impl Lines {
    fn take(&mut self, bytes: &[u8], say: &mut impl FnMut(&str)) {
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            let (text, ended) = match part.split_last() {
                Some((b'\n', text)) => (text, true),
                _ => (part, false),
            };
            let room = LONGEST_LINE.saturating_sub(self.begun.len());
            self.begun.extend_from_slice(&text[..text.len().min(room)]);
            if ended {
                self.finish(say);
            }
        }
    }

    /// The line that was begun is all there is of it.
    fn finish(&mut self, say: &mut impl FnMut(&str)) {
        let line = String::from_utf8_lossy(&self.begun);
        // A terminal that shows the log must not obey a chaincode.
        let line: String = line
            .chars()
            .filter(|character| !character.is_control() || *character == '\t')
            .collect();
        if !line.is_empty() {
            say(&line);
        }
        self.begun.clear();
    }
}

/// How many more lines may be logged now: a burst, then so many per second.
#[derive(Debug)]
struct Allowance {
    left: f64,
    at: Instant,
    dropped: u64,
}

impl Allowance {
    fn new(now: Instant) -> Self {
        Self {
            left: BURST,
            at: now,
            dropped: 0,
        }
    }

    fn takes(&mut self, now: Instant) -> bool {
        let earned = now.saturating_duration_since(self.at).as_secs_f64() * LINES_PER_SECOND;
        self.left = (self.left + earned).min(BURST);
        self.at = now;
        if self.left < 1.0 {
            self.dropped += 1;
            return false;
        }
        self.left -= 1.0;
        true
    }

    /// Lines that were not logged, once lines are logged again.
    fn dropped(&mut self) -> Option<u64> {
        let dropped = std::mem::take(&mut self.dropped);
        (dropped > 0).then_some(dropped)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn lines(parts: &[&[u8]]) -> Vec<String> {
        let mut said = Vec::new();
        let mut say = |line: &str| said.push(line.to_owned());
        let mut lines = Lines::default();
        for part in parts {
            lines.take(part, &mut say);
        }
        lines.finish(&mut say);
        said
    }

    #[test]
    fn lines_are_lines_however_they_arrive() {
        for (parts, expected) in [
            (vec![&b"one\ntwo\n"[..]], vec!["one", "two"]),
            (vec![b"on", b"e\nt", b"wo"], vec!["one", "two"]),
            (vec![b"\n\n", b"x\r\n"], vec!["x"]),
            (vec![b"\x1b[31mred\x1b[0m\tx"], vec!["[31mred[0m\tx"]),
            (vec![b"\xff\n"], vec!["\u{fffd}"]),
            (vec![], vec![]),
        ] {
            assert_eq!(lines(&parts), expected);
        }
    }

    #[test]
    fn a_line_without_end_takes_no_more_room_than_others() {
        let much = vec![b'x'; 3 * LONGEST_LINE];
        let said = lines(&[&much, &much, b"\nshort\n"]);
        assert_eq!(said.len(), 2);
        assert_eq!(said[0].len(), LONGEST_LINE);
        assert_eq!(said[1], "short");
    }

    #[test]
    fn a_flood_is_cut_to_what_a_log_can_bear() {
        let start = Instant::now();
        let mut allowance = Allowance::new(start);
        let now = (0..10_000).filter(|_| allowance.takes(start)).count();
        assert_eq!(now, BURST as usize);
        assert_eq!(allowance.dropped(), Some(10_000 - now as u64));
        assert_eq!(allowance.dropped(), None);
        let later = start + Duration::from_secs(1);
        let then = (0..10_000).filter(|_| allowance.takes(later)).count();
        assert_eq!(then, LINES_PER_SECOND as usize);
    }

    #[test]
    fn the_last_words_are_the_last_ones() {
        let last = LastWords::default();
        assert_eq!(last.text(), "");
        for number in 0..20 {
            last.add(&number.to_string());
        }
        assert_eq!(last.text(), ": 12\n13\n14\n15\n16\n17\n18\n19");
    }
}
