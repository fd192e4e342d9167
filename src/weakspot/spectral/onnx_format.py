"""As much of the ONNX file format as moving nodes takes, read and written by protobuf.

The onnx package is no dependency of inspection, protobuf is: ONNX Runtime brings it. What is not named here is kept
and written back, as protobuf does with every field that it doesn't know. The field numbers are those of onnx.proto,
unchanged since IR version 3 (2017).
"""

from functools import lru_cache
from typing import Any

import numpy as np
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import Message as AnyMessage
from numpy.typing import NDArray

INTS = 7  # the type of an attribute that is a list of integers
ELEMENT_TYPES = {np.dtype(np.float32): 1, np.dtype(np.int64): 7}
_FIELDS = {  # message → its fields: name, number, type
    "Model": "graph 7 Graph, training_info 20 Training*, functions 25 Function*",
    "Training": "initialization 1 Graph, algorithm 2 Graph",
    "Function": "node 7 Node*, attribute_proto 11 Attribute*",
    "Graph": "node 1 Node*, initializer 5 Tensor*, input 11 Value*, output 12 Value*, sparse_initializer 15 Sparse*",
    "Node": "input 1 string*, output 2 string*, name 3 string, op_type 4 string, attribute 5 Attribute*",
    "Attribute": "name 1 string, t 5 Tensor, g 6 Graph, ints 8 int64*, tensors 10 Tensor*, graphs 11 Graph*, "
    "type 20 int32, sparse_tensor 22 Sparse, sparse_tensors 23 Sparse*",
    "Tensor": "dims 1 int64*, data_type 2 int32, name 8 string, raw_data 9 bytes, external_data 13 Entry*, "
    "data_location 14 int32",
    "Entry": "key 1 string, value 2 string",
    "Sparse": "values 1 Tensor, indices 2 Tensor",
    "Value": "name 1 string, type 2 Type",
    "Type": "tensor_type 1 TensorType",
    "TensorType": "elem_type 1 int32",
}
_GRAPH, _INITIALIZER, _RAW_DATA = 7, 5, 9  # of those, what is written by hand
Message = Any  # protobuf makes its classes as it goes
Array = NDArray[np.float32] | NDArray[np.int64]


def read_model(data: bytes) -> Message:
    """A ModelProto. Raises protobuf's DecodeError where the bytes are none."""
    return _class_of("Model").FromString(data)


def names_other_files(model: Message) -> bool:
    """Whether any tensor of a ModelProto, wherever it stands, lies in another file.

    Both runtimes would take it from the folder that one happens to stand in.
    """
    if model.DESCRIPTOR.name == "Tensor":
        return bool(model.external_data or model.data_location)
    values = (value for _, value in model.ListFields())
    parts = (each for value in values for each in (value if hasattr(value, "add") else [value]))
    return any(names_other_files(part) for part in parts if isinstance(part, AnyMessage))


def node(operator: str, inputs: list[str], output: str, **attributes: tuple[int, ...]) -> Message:
    """A NodeProto with one output, named after it; attributes are lists of integers."""
    made = _class_of("Node")(op_type=operator, input=inputs, output=[output], name=output)
    for name, values in attributes.items():
        made.attribute.add(name=name, ints=values, type=INTS)
    return made


def model_bytes(model: Message, tensors: dict[str, Array]) -> bytes:
    """A ModelProto, written with arrays as further initializers of its graph. The model loses its graph.

    The arrays are framed here and joined once: protobuf copies a kernel's spectrum of 100 MB three times.
    """
    graph = [model.graph.SerializeToString()]
    for name, array in tensors.items():
        described = _class_of("Tensor")(name=name, dims=array.shape, data_type=ELEMENT_TYPES[array.dtype])
        data = _framed(_RAW_DATA, [np.ascontiguousarray(array).reshape(-1).view(np.uint8).data])
        graph += _framed(_INITIALIZER, [described.SerializeToString(), *data])
    model.ClearField("graph")
    return b"".join([model.SerializeToString(), *_framed(_GRAPH, graph)])


def floats(tensor: Message) -> NDArray[np.float32]:
    """The array of a TensorProto of float32 kept as raw bytes. Raises ValueError for any other."""
    if tensor.data_type != ELEMENT_TYPES[np.dtype(np.float32)] or not tensor.raw_data:
        raise ValueError(f"tensor {tensor.name!r} is not raw float32")
    return np.frombuffer(tensor.raw_data, np.float32).reshape(tensor.dims)


@lru_cache(maxsize=1)
def _pool() -> descriptor_pool.DescriptorPool:
    """A pool of its own, which doesn't meet the onnx package's messages of the same names."""
    kinds = {"string": 9, "bytes": 12, "int32": 5, "int64": 3}  # as protobuf numbers them; a message is 11
    file = descriptor_pb2.FileDescriptorProto(name="onnx.proto", package="onnx")
    for message, fields in _FIELDS.items():
        described = file.message_type.add(name=message)
        for name, number, kind in (field.split() for field in fields.split(", ")):
            field = described.field.add(name=name, number=int(number), label=3 if kind.endswith("*") else 1)
            kind = kind.removesuffix("*")
            field.type = kinds.get(kind, 11)
            if kind not in kinds:
                field.type_name = f".onnx.{kind}"
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return pool


def _class_of(message: str) -> Any:
    return message_factory.GetMessageClass(_pool().FindMessageTypeByName(f"onnx.{message}"))


def _framed(number: int, parts: list[bytes | memoryview]) -> list[bytes | memoryview]:
    """The parts as one field: key, length, content."""
    return [_varint(number << 3 | 2) + _varint(sum(map(len, parts))), *parts]


def _varint(number: int) -> bytes:
    """Seven bits a byte, lowest first; all but the last byte have the eighth set."""
    return bytes([number & 127 | 128]) + _varint(number >> 7) if number > 127 else bytes([number])
