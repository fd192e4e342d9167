"""As much of the ONNX file format as moving nodes takes, without the onnx package, which a line computer doesn't have.

ONNX files are protocol buffers: a message is a list of numbered fields. Here a message is read into such a list, what
is known by its number is changed, and everything else is written back as it was. Field numbers: onnx.proto3, unchanged
since IR version 3 (2017).
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Field = tuple[
    int, int, Any
]  # number, wire type, content: int for NUMBER, else bytes, a memoryview, or a message not yet written
Message = list[Field]

NUMBER, EIGHT_BYTES, BYTES, FOUR_BYTES = 0, 1, 2, 5  # wire types
MODEL_GRAPH = 7
GRAPH_NODE, GRAPH_INITIALIZER = 1, 5
NODE_INPUT, NODE_OUTPUT, NODE_NAME, NODE_OPERATOR, NODE_ATTRIBUTE = 1, 2, 3, 4, 5
TENSOR_DIMS, TENSOR_TYPE, TENSOR_NAME, TENSOR_RAW = 1, 2, 8, 9
ATTRIBUTE_NAME, ATTRIBUTE_INTS, ATTRIBUTE_TYPE = 1, 8, 20
TYPE_INTS = 7
ELEMENT_TYPES = {np.dtype(np.float32): 1, np.dtype(np.int64): 7}


def read_message(data: bytes | memoryview) -> Message:
    """The fields of a message, in order; contents are views, not copies. Raises ValueError where the bytes end too
    soon."""
    view, position, message = memoryview(data), 0, Message()
    while position < len(view):
        key, position = _read_varint(view, position)
        number, wire = key >> 3, key & 7
        if wire == NUMBER:
            value, position = _read_varint(view, position)
            message.append((number, wire, value))
            continue
        length, position = _length(view, wire, position)
        if position + length > len(view):
            raise ValueError("a message ends in the middle of a field")
        message.append((number, wire, view[position : position + length]))
        position += length
    return message


def write_message(message: Message) -> bytes:
    """The bytes of a message; what it holds is copied once, however deep it lies."""
    return b"".join(_parts(message))


def messages(message: Message, number: int) -> list[Message]:
    """All sub-messages with a field number, read."""
    return [read_message(content) for n, _, content in message if n == number]


def fields(number: int, messages: Sequence[Message]) -> list[Field]:
    """Messages as fields of the message that holds them."""
    return [(number, BYTES, message) for message in messages]


def texts(message: Message, number: int) -> list[str]:
    """All strings with a field number."""
    return [bytes(content).decode() for n, _, content in message if n == number]


def text(message: Message, number: int) -> str:
    """The one string with a field number; empty where there is none."""
    return next(iter(texts(message, number)), "")


def node(operator: str, inputs: Sequence[str], output: str, **attributes: Sequence[int]) -> Message:
    """A NodeProto with one output, named after it; attributes are lists of integers."""
    made: Message = [(NODE_INPUT, BYTES, name.encode()) for name in inputs]
    made += [
        (NODE_OUTPUT, BYTES, output.encode()),
        (NODE_NAME, BYTES, output.encode()),
        (NODE_OPERATOR, BYTES, operator.encode()),
    ]
    return made + [(NODE_ATTRIBUTE, BYTES, _attribute(name, value)) for name, value in attributes.items()]


def tensor(name: str, array: NDArray[np.float32] | NDArray[np.int64]) -> Message:
    """A TensorProto holding an array; the array's memory is not copied until the message is written."""
    made: Message = [(TENSOR_DIMS, NUMBER, size) for size in array.shape]
    made += [(TENSOR_TYPE, NUMBER, ELEMENT_TYPES[array.dtype]), (TENSOR_NAME, BYTES, name.encode())]
    return [*made, (TENSOR_RAW, BYTES, np.ascontiguousarray(array).data.cast("B"))]


def shape(initializer: Message) -> tuple[int, ...]:
    """The shape of a TensorProto."""
    sizes: list[int] = []
    for number, _, content in initializer:
        if number == TENSOR_DIMS:
            sizes += [content] if isinstance(content, int) else _packed(content)
    return tuple(sizes)


def floats(initializer: Message) -> NDArray[np.float32]:
    """The array of a TensorProto of float32 kept as raw bytes. Raises ValueError for any other."""
    raw = [content for number, _, content in initializer if number == TENSOR_RAW]
    if not raw or (TENSOR_TYPE, NUMBER, ELEMENT_TYPES[np.dtype(np.float32)]) not in initializer:
        raise ValueError(f"tensor {text(initializer, TENSOR_NAME)!r} is not raw float32")
    return np.frombuffer(raw[0], np.float32).reshape(shape(initializer))


def _parts(message: Message) -> list[bytes | memoryview]:
    parts: list[bytes | memoryview] = []
    for number, wire, content in message:
        parts.append(_varint(number << 3 | wire))
        if wire == NUMBER:
            parts.append(_varint(content))
            continue
        inner = _parts(content) if isinstance(content, list) else [content]
        if wire == BYTES:
            parts.append(_varint(sum(map(len, inner))))
        parts += inner
    return parts


def _attribute(name: str, values: Sequence[int]) -> Message:
    integers: Message = [(ATTRIBUTE_INTS, NUMBER, value) for value in values]
    return [(ATTRIBUTE_NAME, BYTES, name.encode()), *integers, (ATTRIBUTE_TYPE, NUMBER, TYPE_INTS)]


def _length(view: memoryview, wire: int, position: int) -> tuple[int, int]:
    if wire == BYTES:
        return _read_varint(view, position)
    if wire == EIGHT_BYTES:
        return 8, position
    if wire == FOUR_BYTES:
        return 4, position
    raise ValueError(f"unknown wire type {wire}")


def _packed(content: bytes | memoryview) -> list[int]:
    view, position, values = memoryview(content), 0, []
    while position < len(view):
        value, position = _read_varint(view, position)
        values.append(value)
    return values


def _read_varint(view: memoryview, position: int) -> tuple[int, int]:
    """Seven bits a byte, lowest first; the top bit says that more follow."""
    value = 0
    for shift in range(0, 70, 7):
        if position >= len(view):
            break
        byte = view[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
    raise ValueError("a message ends in the middle of a number")


def _varint(value: int) -> bytes:
    """Non-negative numbers only: nothing here is negative."""
    parts = bytearray()
    while value >= 0x80:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*parts, value])
