//! Who may ask: verdicts on signed requests, remembered. `fabric: discovery/authcache.go`

use std::collections::HashMap;

use consilium_msp::SignedData;
use consilium_protocol::hash::sha256_parts;
use parking_lot::Mutex;

/// How many verdicts are remembered (`peer.discovery.authCache*`).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AuthCacheOptions {
    /// Most verdicts of one channel (`authCacheMaxSize`).
    pub max_size: usize,
    /// The part of them, from 0 to 1, that stays when there is no room (`authCachePurgeRetentionRatio`).
    pub purge_retention_ratio: f64,
}

impl Default for AuthCacheOptions {
    fn default() -> Self {
        Self {
            max_size: 1000,
            purge_retention_ratio: 0.75,
        }
    }
}

type Verdict = Result<(), String>;

/// Verdicts by channel, until its configuration changes. Channels are those of the peer, so there are
/// few of them; the name of none stands for requests without a channel.
pub(crate) struct AuthCache {
    options: Option<AuthCacheOptions>,
    channels: Mutex<HashMap<String, Verdicts>>,
}

#[derive(Default)]
struct Verdicts {
    sequence: u64,
    known: HashMap<[u8; 32], Verdict>,
}

impl AuthCache {
    /// Without options nothing is remembered.
    pub(crate) fn new(options: Option<AuthCacheOptions>) -> Self {
        Self {
            options,
            channels: Mutex::default(),
        }
    }

    /// The verdict on a request under the configuration of this sequence: a remembered one, or what
    /// `judge` says.
    pub(crate) fn check(
        &self,
        channel: &str,
        sequence: u64,
        data: &SignedData,
        judge: impl FnOnce() -> Verdict,
    ) -> Verdict {
        let Some(options) = &self.options else {
            return judge();
        };
        let key = key(data);
        if let Some(verdicts) = self.channels.lock().get(channel)
            && verdicts.sequence == sequence
            && let Some(known) = verdicts.known.get(&key)
        {
            return known.clone();
        }
        let verdict = judge();
        let mut channels = self.channels.lock();
        let verdicts = channels.entry(channel.to_owned()).or_default();
        verdicts.remember(sequence, key, &verdict, options);
        verdict
    }
}

impl Verdicts {
    fn remember(
        &mut self,
        sequence: u64,
        key: [u8; 32],
        verdict: &Verdict,
        options: &AuthCacheOptions,
    ) {
        if sequence < self.sequence || options.max_size == 0 {
            // The configuration has changed meanwhile; newer verdicts stay.
            return;
        }
        if sequence > self.sequence {
            *self = Self {
                sequence,
                ..Self::default()
            };
        }
        if self.known.len() >= options.max_size {
            let ratio = options.purge_retention_ratio.clamp(0.0, 1.0);
            let kept = (ratio * options.max_size as f64) as usize;
            // At least one has to go.
            let mut room = kept.min(options.max_size - 1);
            self.known.retain(|_, _| {
                let stays = room > 0;
                room = room.saturating_sub(1);
                stays
            });
        }
        self.known.insert(key, verdict.clone());
    }
}

/// The same only for the same identity, data and signature.
fn key(data: &SignedData) -> [u8; 32] {
    let lengths =
        [data.identity.len(), data.data.len()].map(|length| (length as u64).to_be_bytes());
    sha256_parts(&[
        &lengths[0],
        &lengths[1],
        &data.identity,
        &data.data,
        &data.signature,
    ])
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use std::cell::Cell;

    fn data(text: &str) -> SignedData {
        SignedData {
            data: Bytes::copy_from_slice(text.as_bytes()),
            identity: Bytes::from_static(b"somebody"),
            signature: Bytes::from_static(b"signature"),
        }
    }

    fn options(max_size: usize, purge_retention_ratio: f64) -> Option<AuthCacheOptions> {
        Some(AuthCacheOptions {
            max_size,
            purge_retention_ratio,
        })
    }

    #[test]
    fn a_verdict_is_remembered_until_the_configuration_changes() {
        let cache = AuthCache::new(options(10, 0.5));
        let asked = Cell::new(0);
        let ask = |channel: &str, sequence, data: &SignedData, verdict: Verdict| {
            cache.check(channel, sequence, data, || {
                asked.set(asked.get() + 1);
                verdict
            })
        };
        let one = data("one");
        let refused = || Err("no".to_owned());
        // channel, sequence, judged now, what is said, judgements so far
        let steps = [
            ("c", 3, Ok(()), Ok(()), 1),
            ("c", 3, refused(), Ok(()), 1),
            ("d", 3, refused(), refused(), 2),
            ("c", 4, refused(), refused(), 3),
            ("c", 4, Ok(()), refused(), 3),
            // An older configuration does not take the newer one's place.
            ("c", 3, Ok(()), Ok(()), 4),
            ("c", 4, Ok(()), refused(), 4),
        ];
        for (step, (channel, sequence, judged, said, count)) in steps.into_iter().enumerate() {
            assert_eq!(ask(channel, sequence, &one, judged), said, "step {step}");
            assert_eq!(asked.get(), count, "step {step}");
        }
        for other in [
            data("two"),
            SignedData {
                signature: Bytes::new(),
                ..one.clone()
            },
            SignedData {
                identity: Bytes::new(),
                ..one.clone()
            },
            // The same bytes cut elsewhere.
            SignedData {
                identity: Bytes::from_static(b"somebodyo"),
                data: Bytes::from_static(b"ne"),
                ..one.clone()
            },
        ] {
            let before = asked.get();
            assert_eq!(ask("c", 4, &other, Ok(())), Ok(()), "{other:?}");
            assert_eq!(asked.get(), before + 1, "{other:?}");
        }
    }

    #[test]
    fn never_more_than_allowed_and_a_part_stays() {
        for (max, ratio, after) in [
            (4, 0.5, 3),
            (4, 0.75, 4),
            (4, 1.0, 4),
            (4, 0.0, 1),
            (4, -3.0, 1),
            (4, f64::NAN, 1),
            (1, 0.75, 1),
            (0, 0.75, 0),
        ] {
            let cache = AuthCache::new(options(max, ratio));
            for n in 0..=max {
                cache
                    .check("c", 0, &data(&n.to_string()), || Ok(()))
                    .unwrap();
            }
            let known = cache.channels.lock().get("c").map_or(0, |c| c.known.len());
            assert_eq!(known, after, "{max} {ratio}");
        }
    }

    #[test]
    fn without_a_cache_every_request_is_judged() {
        let cache = AuthCache::new(None);
        let one = data("one");
        assert_eq!(cache.check("c", 0, &one, || Ok(())), Ok(()));
        let refused = Err("no".to_owned());
        assert_eq!(cache.check("c", 0, &one, || refused.clone()), refused);
    }
}
