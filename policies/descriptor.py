"""[d] Reads a FileDescriptorSet: which methods it holds, of which types, streaming or not. Pure: bytes in, values out.

Descriptors come into a bundle with the catalogue; the gateway's inspection decodes messages by them (XZ-02).
"""

from collections.abc import Mapping
from dataclasses import dataclass

from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import DecodeError

DESCRIPTOR_MAX_BYTES = 4 << 20
FILES_MAX = 1000


@dataclass(frozen=True, slots=True)
class Shape:
    """The form of one method."""

    request_type: str
    response_type: str
    client_streaming: bool
    server_streaming: bool


def read_descriptor(raw: bytes) -> Mapping[str, Shape]:
    """Return the shape of every method by path; `ValueError` if the set is not complete and consistent."""
    if len(raw) > DESCRIPTOR_MAX_BYTES:
        msg = f"is {len(raw)} bytes, at most {DESCRIPTOR_MAX_BYTES} are allowed"
        raise ValueError(msg)
    files = FileDescriptorSet()
    try:
        files.ParseFromString(raw)
    except (DecodeError, RecursionError) as exc:
        msg = "is not a serialized FileDescriptorSet"
        raise ValueError(msg) from exc
    _check_whole(files)
    shapes = {
        f"/{file.package + '.' if file.package else ''}{service.name}/{method.name}": Shape(
            method.input_type.removeprefix("."),
            method.output_type.removeprefix("."),
            method.client_streaming,
            method.server_streaming,
        )
        for file in files.file
        for service in file.service
        for method in service.method
    }
    if not shapes:
        msg = "holds no service"
        raise ValueError(msg)
    return shapes


def _check_whole(files: FileDescriptorSet) -> None:
    """A pool of its own refuses missing imports, doubled names and wrong references before a decoder meets them."""
    if len(files.file) > FILES_MAX:
        msg = f"holds {len(files.file)} files, at most {FILES_MAX} are allowed"
        raise ValueError(msg)
    pool = DescriptorPool()
    waiting = list(files.file)
    added: set[str] = set()
    try:
        # Imports go in first, in whichever order the set has them.
        while ready := [file for file in waiting if added.issuperset(file.dependency)]:
            for file in ready:
                pool.AddSerializedFile(file.SerializeToString())
                pool.FindFileByName(file.name)
            added.update(file.name for file in ready)
            waiting = [file for file in waiting if file.name not in added]
    except (TypeError, KeyError, ValueError) as exc:
        msg = "does not hold together: a name is doubled or refers to nothing"
        raise ValueError(msg) from exc
    if waiting:
        msg = "lacks an import: make it with `protoc --include_imports --descriptor_set_out`"
        raise ValueError(msg)
