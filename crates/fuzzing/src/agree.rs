//! What every message must do: our tolerant decoder and prost agree on what both take, and what was
//! read is written as something that reads the same.

use std::fmt::Debug;

use bytes::Bytes;
use prost::Message;

/// The message in `bytes`, if it is one to the tolerant decoder.
pub(crate) fn decoded<M>(bytes: &Bytes) -> Option<M>
where
    M: Message + Default + PartialEq + Debug,
{
    let strict = M::decode(bytes.clone());
    let tolerant = consilium_proto::decode::<M>(bytes);
    if let Ok(strict) = &strict {
        assert_eq!(
            Some(strict),
            tolerant.as_ref().ok(),
            "the decoders disagree"
        );
    }
    let message = tolerant.ok()?;
    let again = M::decode(Bytes::from(message.encode_to_vec()));
    assert_eq!(
        again.as_ref().ok(),
        Some(&message),
        "a message does not read back"
    );
    Some(message)
}
