//! Chains by which whoever reads state knows at which block it is, and that it is a whole one.

use bytes::Bytes;
use consilium_protocol::rwset::NsRwSet;

use super::{CHAINCODES, Chain, Endorsers, Generator, World, write};
use crate::validation::encode;
use crate::validation::people::People;
use crate::validation::plan::Plan;

/// Keys that hold the number of the last block of transactions.
#[derive(Clone)]
pub(super) struct Counted {
    namespace: String,
    keys: Vec<String>,
}

impl Generator {
    /// A random chain as [`Generator::chain`] makes it, and besides: block 1 holds `setup`, which is
    /// to define `namespace` and is endorsed by a peer of each organization; every block of
    /// transactions after it writes its number under each of `keys`, each by a transaction of its own.
    pub fn counted_chain(
        &self,
        seed: u64,
        transactions: usize,
        setup: NsRwSet,
        namespace: &str,
        keys: &[&str],
    ) -> Chain {
        let mut world = self.world(seed);
        let mut first = world.empty("_lifecycle", Endorsers::Peers);
        first.creator = People::of(0, 2);
        world.push(&mut first, setup, Vec::new());
        let mut plans = vec![first];
        plans.extend(CHAINCODES.map(|name| world.deployment(name, Endorsers::Peers)));
        world.append(plans);
        world.counted = Some(Counted {
            namespace: namespace.to_owned(),
            keys: keys.iter().map(|key| (*key).to_owned()).collect(),
        });
        while world.chain.transactions() < transactions {
            world.step();
        }
        world.finish()
    }
}

impl World<'_> {
    /// The transactions that put the next block's number under the counted keys.
    pub(super) fn counting(&mut self) -> Vec<Plan> {
        let Some(Counted { namespace, keys }) = self.counted.clone() else {
            return Vec::new();
        };
        let number = Bytes::from((self.chain.blocks.len() + 1).to_string());
        let plans = keys.into_iter().map(|key| {
            let mut plan = self.empty(&namespace, Endorsers::Peers);
            plan.creator = People::of(0, 2);
            let mut results = encode::namespace(&namespace);
            results.writes = vec![write(key, number.clone())];
            self.push(&mut plan, results, Vec::new());
            plan
        });
        plans.collect()
    }
}
