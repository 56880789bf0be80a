//! A bounded cache for many readers: two generations, the older thrown away when the younger is full.

use std::collections::HashMap;
use std::hash::Hash;

use parking_lot::RwLock;

/// A cache of at most twice `capacity` entries. What is asked for while it is in the older generation moves
/// to the younger, so what is in use stays.
pub(crate) struct GenerationCache<K, V> {
    capacity: usize,
    generations: RwLock<Generations<K, V>>,
}

struct Generations<K, V> {
    young: HashMap<K, V>,
    old: HashMap<K, V>,
}

impl<K: Hash + Eq + Clone, V: Clone> GenerationCache<K, V> {
    pub fn new(capacity: usize) -> Self {
        let generations = RwLock::new(Generations {
            young: HashMap::new(),
            old: HashMap::new(),
        });
        GenerationCache {
            capacity,
            generations,
        }
    }

    pub fn get(&self, key: &K) -> Option<V> {
        let (key, value) = {
            let generations = self.generations.read();
            if let Some(value) = generations.young.get(key) {
                return Some(value.clone());
            }
            generations
                .old
                .get_key_value(key)
                .map(|(key, value)| (key.clone(), value.clone()))?
        };
        self.insert(key, value.clone());
        Some(value)
    }

    pub fn insert(&self, key: K, value: V) {
        let mut generations = self.generations.write();
        if generations.young.len() >= self.capacity {
            generations.old = std::mem::take(&mut generations.young);
        }
        generations.young.insert(key, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_in_use_survives_and_the_size_stays_bounded() {
        let cache = GenerationCache::new(10);
        cache.insert(0, 0);
        for number in 1..1000 {
            cache.insert(number, number);
            assert_eq!(cache.get(&0), Some(0), "asked for at every step");
            let generations = cache.generations.read();
            assert!(generations.young.len() + generations.old.len() <= 20);
        }
        assert_eq!(cache.get(&1), None);
    }
}
