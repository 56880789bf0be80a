#!/usr/bin/env python3
"""Records what Fabric's own protocol buffers look like, for crates/proto/tests/golden.rs.

Run it in an environment with the published package, from the root of the workspace:

    python3 -m venv /tmp/protos
    /tmp/protos/bin/pip install hyperledger-fabric-protos==0.3.7.dev349689853811
    /tmp/protos/bin/python tests/golden/record_protos.py

It writes two files under crates/proto/tests/golden/:
  schema.txt    every message, field, enum and service method, one a line, sorted
  messages.txt  messages filled with values, one a line: name, number of the variant, bytes in hex

Variants cover each alternative of each oneof. Values are a function of the field alone, so a second run
with the same package gives the same files.
"""

import importlib
import importlib.metadata
import pathlib
import pkgutil

import fabric_protos
from google.protobuf import descriptor

PACKAGE = "hyperledger-fabric-protos"
FOLDER = pathlib.Path(__file__).resolve().parents[2] / "crates/proto/tests/golden"
# Messages nest this deep in a sample; what lies deeper stays empty, and maps to messages without entries.
DEPTH = 2

Field = descriptor.FieldDescriptor


def file_descriptors():
    found = {}
    for module in pkgutil.walk_packages(fabric_protos.__path__, "fabric_protos."):
        if module.name.endswith("_pb2"):
            loaded = importlib.import_module(module.name)
            found[loaded.DESCRIPTOR.name] = loaded.DESCRIPTOR
    return [found[name] for name in sorted(found)]


def messages_of(container):
    for message in container:
        if message.GetOptions().map_entry:
            continue
        yield message
        yield from messages_of(message.nested_types)


def is_repeated(field):
    return field.label == Field.LABEL_REPEATED


def is_map(field):
    return field.type == Field.TYPE_MESSAGE and field.message_type.GetOptions().map_entry


KINDS = {
    getattr(Field, name): name.removeprefix("TYPE_").lower()
    for name in dir(Field)
    if name.startswith("TYPE_")
}


def kind(field):
    if is_map(field):
        entry = field.message_type.fields_by_name
        return f"map<{kind(entry['key'])},{kind(entry['value'])}>"
    name = KINDS[field.type]
    if field.type == Field.TYPE_MESSAGE:
        name = field.message_type.full_name
    if field.type == Field.TYPE_ENUM:
        name = field.enum_type.full_name
    return f"repeated {name}" if is_repeated(field) else name


def schema(files):
    for file in files:
        for enum in file.enum_types_by_name.values():
            yield from enum_lines(enum)
        for message in messages_of(file.message_types_by_name.values()):
            yield f"message {message.full_name}"
            for field in message.fields:
                oneof = f" oneof {field.containing_oneof.name}" if field.containing_oneof else ""
                yield f"field {message.full_name} {field.number} {field.name} {kind(field)}{oneof}"
            for enum in message.enum_types:
                yield from enum_lines(enum)
        for service in file.services_by_name.values():
            for method in service.methods:
                sent = "stream " * method.client_streaming + method.input_type.full_name
                answered = "stream " * method.server_streaming + method.output_type.full_name
                yield f"method {service.full_name} {method.name} ({sent}) ({answered})"


def enum_lines(enum):
    for value in enum.values:
        yield f"value {enum.full_name} {value.number} {value.name}"


def scalar(field, index):
    number = field.number + index
    if field.type == Field.TYPE_STRING:
        return f"{field.name}-{index} é"
    if field.type == Field.TYPE_BYTES:
        return bytes([0, 255, number % 256])
    if field.type == Field.TYPE_BOOL:
        return True
    if field.type == Field.TYPE_ENUM:
        values = [value.number for value in field.enum_type.values if value.number]
        return values[-1] if values else 0
    if field.type in (Field.TYPE_INT32, Field.TYPE_SINT32, Field.TYPE_SFIXED32):
        return -number
    if field.type in (Field.TYPE_INT64, Field.TYPE_SINT64, Field.TYPE_SFIXED64):
        return -(1 << 40) - number
    if field.type in (Field.TYPE_UINT32, Field.TYPE_FIXED32):
        return (1 << 32) - number
    if field.type in (Field.TYPE_UINT64, Field.TYPE_FIXED64):
        return (1 << 64) - number
    return number / 2


def fill(message, depth, choice):
    """Fills a message; of each oneof the alternative number `choice`, counted around."""
    for field in message.DESCRIPTOR.fields:
        oneof = field.containing_oneof
        if oneof and field is not oneof.fields[choice % len(oneof.fields)]:
            continue
        if is_map(field):
            fill_map(message, field, depth, choice)
        elif field.type == Field.TYPE_MESSAGE:
            fill_message(message, field, depth, choice)
        elif is_repeated(field):
            getattr(message, field.name).extend([scalar(field, 0), scalar(field, 1)])
        else:
            setattr(message, field.name, scalar(field, 0))


def fill_message(message, field, depth, choice):
    target = getattr(message, field.name)
    targets = [target.add(), target.add()] if is_repeated(field) else [target]
    for target in targets:
        target.SetInParent()
        if depth > 0:
            fill(target, depth - 1, choice)


def fill_map(message, field, depth, choice):
    entry = field.message_type.fields_by_name
    target = getattr(message, field.name)
    # Libraries agree on the order of strings, but not on that of numbers.
    sorts_alike = entry["key"].type == Field.TYPE_STRING
    for index in (1, 0) if sorts_alike else (0,):
        key = scalar(entry["key"], index)
        if entry["value"].type != Field.TYPE_MESSAGE:
            target[key] = scalar(entry["value"], index)
        elif depth > 0:
            fill(target[key], depth - 1, choice)


def samples(files):
    for file in files:
        for message in messages_of(file.message_types_by_name.values()):
            seen = set()
            alternatives = max([len(oneof.fields) for oneof in message.oneofs], default=1)
            for choice in range(max(alternatives, 2)):
                sample = message._concrete_class()
                fill(sample, DEPTH, choice)
                encoded = sample.SerializeToString(deterministic=True).hex()
                if encoded not in seen:
                    seen.add(encoded)
                    yield f"{message.full_name} {choice} {encoded}"


def write(name, lines):
    version = importlib.metadata.version(PACKAGE)
    head = f"# Recorded by tests/golden/record_protos.py from {PACKAGE} {version}\n"
    (FOLDER / name).write_text(head + "".join(f"{line}\n" for line in sorted(set(lines))))


if __name__ == "__main__":
    described = file_descriptors()
    FOLDER.mkdir(parents=True, exist_ok=True)
    write("schema.txt", schema(described))
    write("messages.txt", samples(described))
