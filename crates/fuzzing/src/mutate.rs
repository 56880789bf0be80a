//! Mutations of known inputs, the same ones every time.

/// Numbers that look random and are not (SplitMix64).
pub struct Numbers(u64);

impl Numbers {
    /// Those of a seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next one below `end`, which is not 0.
    pub fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % end.max(1) as u64) as usize
    }
}

/// Bytes that mean something to decoders: ends of ranges, wire types, brackets.
const TELLING: [u8; 16] = [
    0, 1, 0x7f, 0x80, 0xff, 0x08, 0x0a, 0x12, b'(', b')', b'{', b'[', b'"', b'\'', b',', b'$',
];

/// One to four changes of `input`: bytes set, flipped, removed, doubled, or taken from `other`.
pub fn mutated(input: &[u8], other: &[u8], numbers: &mut Numbers) -> Vec<u8> {
    let mut bytes = input.to_vec();
    for _ in 0..=numbers.below(4) {
        let at = numbers.below(bytes.len() + 1);
        let longest = 1 << numbers.below(7);
        let length = 1 + numbers.below(longest);
        let end = (at + length).min(bytes.len());
        match numbers.below(7) {
            0 | 1 => {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= 1 << numbers.below(8);
                }
            }
            2 => {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte = TELLING[numbers.below(TELLING.len())];
                }
            }
            3 => drop(bytes.drain(at..end)),
            4 => {
                let doubled = bytes[at..end].to_vec();
                bytes.splice(at..at, doubled);
            }
            5 => {
                let from = numbers.below(other.len() + 1);
                let taken = &other[from..(from + length).min(other.len())];
                bytes.splice(at..end, taken.iter().copied());
            }
            _ => bytes.insert(at, TELLING[numbers.below(TELLING.len())]),
        }
    }
    bytes
}
