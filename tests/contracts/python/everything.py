"""A contract on Fabric's Python shim that makes every call that the shim offers.

The contracts beside it do the same in other languages; tests/node/languages says what each function
has to answer, and what version 2.5.4 of this shim lacks: private data, transient data, policies of
keys, multiple reads, batches, pages of composite keys, binding.
"""

import hashlib
import json

from fabric_chaincode_python.fabric_shim.interfaces import Chaincode
from fabric_chaincode_python.fabric_shim.response import error, success
from fabric_chaincode_python.fabric_shim.server import start


async def put(stub, key, value):
    await stub.put_state(key, value)


async def get(stub, key):
    value = await stub.get_state(key)
    if not value:
        raise ValueError(f"no such key {key}")
    return value


async def delete(stub, key):
    await stub.delete_state(key)


async def put_many(stub, prefix, count):
    for number in range(int(count)):
        await stub.put_state(f"{prefix}{number:04}", str(number))


async def range_of(stub, start_key, end_key):
    return await entries(await stub.get_state_by_range(start_key, end_key))


async def range_page(stub, start_key, end_key, size, bookmark):
    """Bookmarks to begin at are offered, but not the next page's."""
    found = await stub.get_state_by_range_with_pagination(start_key, end_key, int(size), bookmark)
    return {"entries": await entries(found)}


async def put_composite(stub, value, object_type, *attributes):
    await stub.put_state(stub.create_composite_key(object_type, attributes), value)


async def partial(stub, object_type, *attributes):
    found = await entries(await stub.get_state_by_partial_composite_key(object_type, attributes))
    split = []
    for key, value in found:
        kind, parts = stub.split_composite_key(key)
        split.append([[kind, *parts], value])
    return split


async def history(stub, key):
    changes = []
    async for change in await stub.get_history_for_key(key):
        changes.append({
            "txId": change.tx_id,
            "value": change.value.decode(),
            "deleted": change.is_delete,
            "seconds": change.timestamp.seconds,
        })
    return changes


async def query(stub, text):
    return await entries(await stub.get_query_result(text))


async def query_page(stub, text, size, bookmark):
    found = await stub.get_query_result_with_pagination(text, int(size), bookmark)
    return {"entries": await entries(found)}


async def event(stub, name, payload):
    stub.set_event(name, payload)


async def call(stub, chaincode, channel, *args):
    answer = await stub.invoke_chaincode(chaincode, args, channel)
    return {"status": answer.status, "message": answer.message, "payload": answer.payload.decode()}


async def context(stub, *_):
    """What a transaction knows of itself."""
    function, args = stub.get_function_and_parameters()
    creator = stub.get_creator()
    timestamp = stub.get_tx_timestamp()
    return {
        "txId": stub.get_txid(),
        "channel": stub.get_channel_id(),
        "function": function,
        "args": args,
        "mspId": creator["mspid"],
        "certificate": hashlib.sha256(creator["idBytes"]).hexdigest(),
        "seconds": timestamp.seconds,
        "nanos": timestamp.nanos,
    }


async def fail(_, message):
    raise ValueError(message)


async def entries(iterator):
    return [[entry.key, entry.value.decode()] async for entry in iterator]


FUNCTIONS = {
    "put": put,
    "get": get,
    "del": delete,
    "putMany": put_many,
    "range": range_of,
    "rangePage": range_page,
    "putComposite": put_composite,
    "partial": partial,
    "history": history,
    "query": query,
    "queryPage": query_page,
    "event": event,
    "call": call,
    "context": context,
    "fail": fail,
}


class Everything(Chaincode):
    async def init(self, stub):
        _, [value] = stub.get_function_and_parameters()
        await stub.put_state("initialized", value)
        return success(b"")

    async def invoke(self, stub):
        name, args = stub.get_function_and_parameters()
        if name == "crash":
            raise RuntimeError(args[0])
        if name not in FUNCTIONS:
            return error(f"no such function {name}")
        try:
            answer = await FUNCTIONS[name](stub, *args)
        except Exception as failure:
            return error(str(failure))
        if answer is None or isinstance(answer, (bytes, str)):
            return success(answer)
        return success(json.dumps(answer))


start(Everything)
