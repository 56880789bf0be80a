//! What orderers send one another and keep of it, and the forms of the participation API.

use bytes::Bytes;

use crate::input::Input;

/// The first byte: 0 for a message, others for a log: values with a letter and an index each.
pub(crate) fn run(data: &[u8]) -> bool {
    let mut input = Input::new(data);
    if input.byte() == 0 {
        let message = Bytes::copy_from_slice(input.rest());
        return consilium_orderer::fuzzing::messages(&message) > 0;
    }
    let mut values = Vec::new();
    while !input.is_empty() {
        let kind = input.byte();
        // Indexes near both ends of their range.
        let index = i64::from(input.byte() as i8) as u64;
        values.push((kind, index, Bytes::copy_from_slice(input.part())));
    }
    consilium_orderer::fuzzing::log(values) > 0
}

/// A Content-Type up to the first line feed, then a body.
pub(crate) fn form(data: &[u8]) -> bool {
    let end = data.iter().position(|byte| *byte == b'\n');
    let (head, body) = data.split_at(end.unwrap_or(data.len()));
    let body = body.get(1..).unwrap_or_default();
    std::str::from_utf8(head).is_ok_and(|head| consilium_orderer::fuzzing::form(head, body) > 0)
}
