//! Merkle trees over lists of entries, as certificate transparency has them (RFC 6962 §2.1).
//!
//! Leaves and nodes are hashed with different first bytes, so that no node passes for an entry. A
//! proof of inclusion has at most 64 hashes, however long the list is. Pure: whoever holds an
//! entry, its proof and a root that the ledger sealed checks it without the ledger.

use sha2::{Digest, Sha256};

/// A SHA-256.
pub type Hash = [u8; 32];

const LEAF: u8 = 0;
const NODE: u8 = 1;

/// The hash of an entry: SHA-256 over 0x00 and its bytes.
pub fn leaf_hash(entry: &[u8]) -> Hash {
    let mut hasher = Sha256::new();
    hasher.update([LEAF]);
    hasher.update(entry);
    hasher.finalize().into()
}

/// The hash over two nodes.
pub(crate) fn node_hash(left: &Hash, right: &Hash) -> Hash {
    let mut hasher = Sha256::new();
    hasher.update([NODE]);
    hasher.update(left);
    hasher.update(right);
    hasher.finalize().into()
}

/// The root of a list of leaf hashes; of the empty list, SHA-256 of nothing.
///
/// ```
/// use consilium_contracts::merkle::{leaf_hash, prove, root, verify};
/// let leaves: Vec<_> = [&b"a"[..], b"b", b"c"].map(leaf_hash).into();
/// let path = prove(&leaves, 2).unwrap();
/// assert!(verify(&leaf_hash(b"c"), 2, 3, &path, &root(&leaves)));
/// ```
pub fn root(leaves: &[Hash]) -> Hash {
    match leaves {
        [] => Sha256::digest([]).into(),
        [leaf] => *leaf,
        _ => {
            let (left, right) = leaves.split_at(split(leaves.len()));
            node_hash(&root(left), &root(right))
        }
    }
}

/// The largest power of two below `count`, which is 2 at least.
fn split(count: usize) -> usize {
    (count.div_ceil(2)).next_power_of_two()
}

/// The audit path of one leaf: sibling hashes from the leaf to the root. `None` when the list has
/// no such leaf.
pub fn prove(leaves: &[Hash], index: usize) -> Option<Vec<Hash>> {
    if index >= leaves.len() {
        return None;
    }
    let mut path = Vec::new();
    let (mut leaves, mut index) = (leaves, index);
    while leaves.len() > 1 {
        let (left, right) = leaves.split_at(split(leaves.len()));
        if index < left.len() {
            path.push(root(right));
            leaves = left;
        } else {
            path.push(root(left));
            index -= left.len();
            leaves = right;
        }
    }
    path.reverse();
    Some(path)
}

/// Whether a path leads from the leaf at `index` of `size` leaves to the root (RFC 9162 §2.1.3.2,
/// which spells out the check for the same trees).
pub fn verify(leaf: &Hash, index: u64, size: u64, path: &[Hash], root: &Hash) -> bool {
    if index >= size {
        return false;
    }
    let (mut at, mut last, mut hash) = (index, size - 1, *leaf);
    for sibling in path {
        if last == 0 {
            return false;
        }
        if at & 1 == 1 || at == last {
            hash = node_hash(sibling, &hash);
            while at & 1 == 0 && at != 0 {
                at >>= 1;
                last >>= 1;
            }
        } else {
            hash = node_hash(&hash, sibling);
        }
        at >>= 1;
        last >>= 1;
    }
    last == 0 && hash == *root
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The entries of certificate transparency's own tests, and their roots
    /// (google/certificate-transparency: `merkletree/merkle_tree_test`).
    const ENTRIES: [&str; 8] = [
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    ];
    const ROOTS: [&str; 8] = [
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
        "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
        "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
        "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
    ];

    fn leaves(count: usize) -> Vec<Hash> {
        (0..count)
            .map(|n| leaf_hash(&(n as u64).to_be_bytes()))
            .collect()
    }

    #[test]
    fn roots_are_those_of_certificate_transparency() {
        let leaves: Vec<_> = ENTRIES
            .iter()
            .map(|entry| leaf_hash(&hex::decode(entry).unwrap()))
            .collect();
        for (count, expected) in (1..).zip(ROOTS) {
            assert_eq!(hex::encode(root(&leaves[..count])), expected, "{count}");
        }
        assert_eq!(
            hex::encode(root(&[])),
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
        );
    }

    #[test]
    fn there_is_no_proof_of_what_is_not_there() {
        assert_eq!(prove(&[], 0), None);
        assert_eq!(prove(&leaves(3), 3), None);
        assert!(!verify(&leaf_hash(b"x"), 0, 0, &[], &root(&[])));
        assert!(!verify(&leaf_hash(b"x"), 1, 1, &[], &leaf_hash(b"x")));
        assert!(verify(&leaf_hash(b"x"), 0, 1, &[], &leaf_hash(b"x")));
    }

    #[test]
    fn every_leaf_of_every_small_tree_is_proved_at_its_place_only() {
        for size in 1..=20usize {
            let leaves = leaves(size);
            let root = root(&leaves);
            for index in 0..size {
                let path = prove(&leaves, index).unwrap();
                for claimed in 0..size {
                    let passes = verify(&leaves[index], claimed as u64, size as u64, &path, &root);
                    assert_eq!(passes, claimed == index, "{index} as {claimed} of {size}");
                }
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn a_proof_holds_and_breaks_with_any_change(size in 1usize..400, pick: usize, at: usize, bit in 0u8..8) {
            let leaves = leaves(size);
            let index = pick % size;
            let root = root(&leaves);
            let path = prove(&leaves, index).unwrap();
            prop_assert!(path.len() <= size.next_power_of_two().trailing_zeros() as usize);
            let holds = |leaf: &Hash, path: &[Hash]| verify(leaf, index as u64, size as u64, path, &root);
            prop_assert!(holds(&leaves[index], &path));
            prop_assert!(!holds(&leaf_hash(b"another"), &path));
            let mut longer = path.clone();
            longer.push(root);
            prop_assert!(!holds(&leaves[index], &longer));
            if !path.is_empty() {
                prop_assert!(!holds(&leaves[index], &path[1..]));
                let mut changed = path.clone();
                let at = at % changed.len();
                changed[at][pick % 32] ^= 1 << bit;
                prop_assert!(!holds(&leaves[index], &changed));
            }
        }

        #[test]
        fn another_list_has_another_root(size in 1usize..200, pick: usize) {
            let mut changed = leaves(size);
            changed[pick % size] = leaf_hash(b"another");
            prop_assert_ne!(root(&changed), root(&leaves(size)));
            prop_assert_ne!(root(&leaves(size + 1)), root(&leaves(size)));
        }
    }
}
