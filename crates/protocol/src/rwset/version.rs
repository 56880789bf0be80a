//! Versions of keys and their order-preserving bytes.

use consilium_proto::kvrwset;

/// Height of a write: block number and index of the transaction in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Version {
    /// Block number.
    pub block: u64,
    /// Index of the transaction in the block.
    pub tx: u64,
}

impl Version {
    /// A version from its two numbers.
    pub const fn new(block: u64, tx: u64) -> Self {
        Self { block, tx }
    }

    /// Both numbers as order-preserving varints: comparing the bytes compares the versions.
    pub fn to_bytes(self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(6);
        append_ordered_varint(&mut bytes, self.block);
        append_ordered_varint(&mut bytes, self.tx);
        bytes
    }

    /// Reads [`Version::to_bytes`] off the front of `bytes`; also returns how many bytes it took.
    /// `None` when they are not canonical.
    pub fn from_bytes(bytes: &[u8]) -> Option<(Self, usize)> {
        let (block, first) = read_ordered_varint(bytes)?;
        let (tx, second) = read_ordered_varint(&bytes[first..])?;
        Some((Self { block, tx }, first + second))
    }
}

impl From<kvrwset::Version> for Version {
    fn from(version: kvrwset::Version) -> Self {
        Self {
            block: version.block_num,
            tx: version.tx_num,
        }
    }
}

impl From<Version> for kvrwset::Version {
    fn from(version: Version) -> Self {
        Self {
            block_num: version.block,
            tx_num: version.tx,
        }
    }
}

impl std::fmt::Display for Version {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{{BlockNum: {}, TxNum: {}}}", self.block, self.tx)
    }
}

/// Appends `number` so that byte order is number order: the count of significant bytes, then these
/// bytes, most significant first (0 is the single byte 0).
pub fn append_ordered_varint(bytes: &mut Vec<u8>, number: u64) {
    let significant = 8 - number.leading_zeros() as usize / 8;
    bytes.push(significant as u8); // at most 8
    bytes.extend_from_slice(&number.to_be_bytes()[8 - significant..]);
}

/// Reads [`append_ordered_varint`] off the front; also returns how many bytes it took. `None` when
/// there are too few bytes, the count is over 8, or a leading zero byte makes it not canonical.
pub fn read_ordered_varint(bytes: &[u8]) -> Option<(u64, usize)> {
    let (&count, rest) = bytes.split_first()?;
    let count = usize::from(count);
    let digits = rest
        .get(..count)
        .filter(|digits| count <= 8 && digits.first() != Some(&0))?;
    let number = digits
        .iter()
        .fold(0, |number, digit| number << 8 | u64::from(*digit));
    Some((number, count + 1))
}
