//! Which blocks a seek asks for: a pure function of the request and the chain's extent.
//!
//! fabric: common/deliver/deliver.go deliverBlocks, common/ledger/blockledger/fileledger/impl.go

use consilium_proto::common::Status;
use consilium_proto::orderer::{SeekInfo, SeekPosition, seek_position};

/// How far a chain reaches when the request is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// Number of the first stored block; above 0 on a chain that began with a snapshot.
    pub first: u64,
    /// Number of the next block to come.
    pub height: u64,
}

/// The blocks to send: from `start` on, until the block whose number equals `stop` was sent.
///
/// `stop` below `start` is possible (a stop that Fabric reads as 0); such a stream never ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// Number of the first block to send.
    pub start: u64,
    /// Number of the block after which the stream is complete.
    pub stop: u64,
}

/// Resolves a seek's positions against the chain, or gives the status that ends the stream.
pub fn resolve(seek: &SeekInfo, extent: Extent) -> Result<Span, Status> {
    let (Some(start), Some(stop)) = (&seek.start, &seek.stop) else {
        return Err(Status::BadRequest);
    };
    let (number, start_exists) = start_number(start, extent);
    let stop_number = stop_number(start, stop, number, extent)?;
    if !start_exists {
        return Err(Status::NotFound);
    }
    Ok(Span {
        start: number,
        stop: stop_number,
    })
}

/// The start number, and whether there is anything at or ahead of it. A start that cannot be
/// found counts as 0 for the comparison with the stop, as Fabric does.
fn start_number(start: &SeekPosition, extent: Extent) -> (u64, bool) {
    use seek_position::Type;
    let number = match &start.r#type {
        Some(Type::Oldest(_)) => 0,
        Some(Type::Newest(_)) => newest(extent),
        Some(Type::Specified(specified)) if specified.number <= extent.height => specified.number,
        Some(Type::NextCommit(_)) => extent.height,
        Some(Type::Specified(_)) | None => return (0, false),
    };
    if number < extent.first {
        return (0, false);
    }
    (number, true)
}

/// The newest block; on a chain that holds nothing but a snapshot, the block to come.
fn newest(extent: Extent) -> u64 {
    if extent.height == extent.first {
        extent.height
    } else {
        extent.height.saturating_sub(1)
    }
}

fn stop_number(
    start: &SeekPosition,
    stop: &SeekPosition,
    start_number: u64,
    extent: Extent,
) -> Result<u64, Status> {
    use seek_position::Type;
    match &stop.r#type {
        Some(Type::Oldest(_)) => Ok(start_number),
        // Asking for just the newest block must not give two when one more arrives meanwhile.
        Some(Type::Newest(_)) if start == stop => Ok(start_number),
        Some(Type::Newest(_)) => Ok(extent.height.saturating_sub(1)),
        Some(Type::Specified(specified)) if specified.number < start_number => {
            Err(Status::BadRequest)
        }
        Some(Type::Specified(specified)) => Ok(specified.number),
        Some(Type::NextCommit(_)) | None => Ok(0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use consilium_proto::orderer::{SeekNewest, SeekNextCommit, SeekOldest, SeekSpecified};
    use seek_position::Type;

    fn oldest() -> SeekPosition {
        SeekPosition {
            r#type: Some(Type::Oldest(SeekOldest {})),
        }
    }
    fn newest() -> SeekPosition {
        SeekPosition {
            r#type: Some(Type::Newest(SeekNewest {})),
        }
    }
    fn specified(number: u64) -> SeekPosition {
        SeekPosition {
            r#type: Some(Type::Specified(SeekSpecified { number })),
        }
    }
    fn next_commit() -> SeekPosition {
        SeekPosition {
            r#type: Some(Type::NextCommit(SeekNextCommit {})),
        }
    }
    fn untyped() -> SeekPosition {
        SeekPosition { r#type: None }
    }
    fn seek(start: Option<SeekPosition>, stop: Option<SeekPosition>) -> SeekInfo {
        SeekInfo {
            start,
            stop,
            ..Default::default()
        }
    }

    #[test]
    fn positions_resolve_as_the_table_says() {
        let span = |start, stop| Ok(Span { start, stop });
        let cases = [
            // start, stop, height, outcome
            (Some(oldest()), Some(newest()), 5, span(0, 4)),
            (Some(oldest()), Some(oldest()), 5, span(0, 0)),
            (Some(newest()), Some(newest()), 5, span(4, 4)),
            (Some(newest()), Some(oldest()), 5, span(4, 4)),
            (Some(specified(2)), Some(specified(3)), 5, span(2, 3)),
            (Some(specified(2)), Some(specified(2)), 5, span(2, 2)),
            (Some(specified(3)), Some(oldest()), 5, span(3, 3)),
            (
                Some(specified(5)),
                Some(specified(u64::MAX)),
                5,
                span(5, u64::MAX),
            ),
            (
                Some(specified(6)),
                Some(specified(u64::MAX)),
                5,
                Err(Status::NotFound),
            ),
            (
                Some(specified(3)),
                Some(specified(2)),
                5,
                Err(Status::BadRequest),
            ),
            (Some(next_commit()), Some(specified(5)), 5, span(5, 5)),
            (Some(next_commit()), Some(newest()), 5, span(5, 4)),
            (
                Some(next_commit()),
                Some(specified(4)),
                5,
                Err(Status::BadRequest),
            ),
            (Some(specified(1)), Some(next_commit()), 5, span(1, 0)),
            (Some(oldest()), Some(next_commit()), 5, span(0, 0)),
            (Some(specified(1)), Some(untyped()), 5, span(1, 0)),
            (Some(untyped()), Some(newest()), 5, Err(Status::NotFound)),
            (None, Some(newest()), 5, Err(Status::BadRequest)),
            (Some(newest()), None, 5, Err(Status::BadRequest)),
            (None, None, 5, Err(Status::BadRequest)),
        ];
        for (start, stop, height, expected) in cases {
            let actual = resolve(&seek(start, stop), Extent { first: 0, height });
            assert_eq!(actual, expected, "start {start:?} stop {stop:?}");
        }
    }

    #[test]
    fn a_chain_born_from_a_snapshot_has_no_blocks_before_it() {
        let fresh = Extent {
            first: 10,
            height: 10,
        };
        let grown = Extent {
            first: 10,
            height: 12,
        };
        let cases = [
            (
                newest(),
                fresh,
                Ok(Span {
                    start: 10,
                    stop: 10,
                }),
            ),
            (
                newest(),
                grown,
                Ok(Span {
                    start: 11,
                    stop: 11,
                }),
            ),
            (oldest(), grown, Err(Status::NotFound)),
            (specified(9), grown, Err(Status::NotFound)),
            (
                specified(10),
                grown,
                Ok(Span {
                    start: 10,
                    stop: 11,
                }),
            ),
        ];
        for (start, extent, expected) in cases {
            let actual = resolve(&seek(Some(start), Some(newest())), extent);
            assert_eq!(actual, expected, "start {start:?} in {extent:?}");
        }
    }
}
