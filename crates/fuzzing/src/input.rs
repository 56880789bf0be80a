//! Inputs of several parts.

/// Reads parts off an input; an input that ends too early gives shorter or empty parts.
pub(crate) struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// The next byte, 0 at the end.
    pub(crate) fn byte(&mut self) -> u8 {
        self.take(1).first().copied().unwrap_or_default()
    }

    /// Two bytes for a length, lower first, then as many bytes.
    pub(crate) fn part(&mut self) -> &'a [u8] {
        let length = u16::from_le_bytes([self.byte(), self.byte()]);
        self.take(usize::from(length))
    }

    /// The next bytes, up to `length`.
    pub(crate) fn take(&mut self, length: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(length.min(self.0.len()));
        self.0 = rest;
        taken
    }

    /// All that is left.
    pub(crate) fn rest(self) -> &'a [u8] {
        self.0
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// A part as [`Input::part`] reads it; longer ones are cut.
pub(crate) fn put_part(input: &mut Vec<u8>, part: &[u8]) {
    let length = part.len().min(usize::from(u16::MAX));
    input.extend_from_slice(&(length as u16).to_le_bytes());
    input.extend_from_slice(&part[..length]);
}

/// A number out of an input: its first bytes.
pub(crate) fn number(bytes: &[u8]) -> usize {
    bytes
        .iter()
        .take(4)
        .fold(0, |number, byte| number << 8 | usize::from(*byte))
}

/// `bytes` with one bit changed.
pub(crate) fn with_other_bit(bytes: &[u8], bit: usize) -> Vec<u8> {
    let mut changed = bytes.to_vec();
    if !changed.is_empty() {
        let bit = bit % (changed.len() * 8);
        changed[bit / 8] ^= 1 << (bit % 8);
    }
    changed
}
