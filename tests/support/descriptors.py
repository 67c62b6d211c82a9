"""Descriptor sets written by hand, so that tests need no protoc and can hold what protoc would refuse."""

from google.protobuf import any_pb2, descriptor_pb2

F = descriptor_pb2.FieldDescriptorProto
OPTIONAL, REQUIRED, REPEATED = F.LABEL_OPTIONAL, F.LABEL_REQUIRED, F.LABEL_REPEATED


def file_set(*files: descriptor_pb2.FileDescriptorProto) -> bytes:
    return descriptor_pb2.FileDescriptorSet(file=files).SerializeToString()


def any_file() -> descriptor_pb2.FileDescriptorProto:
    file = descriptor_pb2.FileDescriptorProto()
    any_pb2.DESCRIPTOR.CopyToProto(file)
    return file


def statistics_file() -> descriptor_pb2.FileDescriptorProto:
    """A flat report, a rich record with every shape that inspection treats apart, and a service."""
    file = descriptor_pb2.FileDescriptorProto(
        name="stats/v1/stats.proto", package="stats.v1", syntax="proto3", dependency=["google/protobuf/any.proto"]
    )
    kind = file.enum_type.add(name="Kind")
    for number, name in ((0, "KIND_UNSPECIFIED"), (1, "KIND_BIRTH"), (2, "KIND_MOVE"), (-5, "KIND_OLD")):
        kind.value.add(name=name, number=number)

    report = file.message_type.add(name="Report")
    report.field.add(name="organ", number=1, type=F.TYPE_STRING, label=OPTIONAL)
    report.field.add(name="period", number=2, type=F.TYPE_STRING, label=OPTIONAL)
    report.field.add(name="count", number=3, type=F.TYPE_INT64, label=OPTIONAL)
    report.field.add(name="lines", number=4, type=F.TYPE_MESSAGE, type_name=".stats.v1.Line", label=REPEATED)

    line = file.message_type.add(name="Line")
    line.field.add(name="area", number=1, type=F.TYPE_STRING, label=OPTIONAL)
    line.field.add(name="value", number=2, type=F.TYPE_DOUBLE, label=OPTIONAL)

    rich = file.message_type.add(name="Rich")
    rich.oneof_decl.add(name="choice")
    entry = rich.nested_type.add(name="ByAreaEntry")
    entry.options.map_entry = True
    entry.field.add(name="key", number=1, type=F.TYPE_STRING, label=OPTIONAL)
    entry.field.add(name="value", number=2, type=F.TYPE_MESSAGE, type_name=".stats.v1.Line", label=OPTIONAL)
    kinds = rich.nested_type.add(name="KindsEntry")
    kinds.options.map_entry = True
    kinds.field.add(name="key", number=1, type=F.TYPE_INT32, label=OPTIONAL)
    kinds.field.add(name="value", number=2, type=F.TYPE_ENUM, type_name=".stats.v1.Kind", label=OPTIONAL)
    rich.field.add(name="kind", number=1, type=F.TYPE_ENUM, type_name=".stats.v1.Kind", label=OPTIONAL)
    rich.field.add(name="kinds", number=2, type=F.TYPE_ENUM, type_name=".stats.v1.Kind", label=REPEATED)
    rich.field.add(
        name="by_area", number=3, type=F.TYPE_MESSAGE, type_name=".stats.v1.Rich.ByAreaEntry", label=REPEATED
    )
    rich.field.add(
        name="kind_by_age", number=4, type=F.TYPE_MESSAGE, type_name=".stats.v1.Rich.KindsEntry", label=REPEATED
    )
    rich.field.add(name="text", number=5, type=F.TYPE_STRING, label=OPTIONAL, oneof_index=0)
    rich.field.add(
        name="line", number=6, type=F.TYPE_MESSAGE, type_name=".stats.v1.Line", label=OPTIONAL, oneof_index=0
    )
    rich.field.add(name="child", number=7, type=F.TYPE_MESSAGE, type_name=".stats.v1.Rich", label=OPTIONAL)
    rich.field.add(name="extra", number=8, type=F.TYPE_MESSAGE, type_name=".google.protobuf.Any", label=OPTIONAL)
    rich.field.add(name="blob", number=9, type=F.TYPE_BYTES, label=OPTIONAL)
    rich.field.add(name="fixed", number=10, type=F.TYPE_FIXED32, label=REPEATED)
    rich.field.add(name="big", number=20, type=F.TYPE_SFIXED64, label=OPTIONAL)

    service = file.service.add(name="Statistics")
    service.method.add(name="Submit", input_type=".stats.v1.Report", output_type=".stats.v1.Line")
    return file


def old_file() -> descriptor_pb2.FileDescriptorProto:
    """proto2: a required field, a group, an unchecked string, a closed enum, an extension."""
    file = descriptor_pb2.FileDescriptorProto(name="old.proto", package="old")
    level = file.enum_type.add(name="Level")
    level.value.add(name="LOW", number=1)
    paper = file.message_type.add(name="Paper")
    paper.field.add(name="title", number=1, type=F.TYPE_STRING, label=REQUIRED)
    paper.field.add(name="level", number=2, type=F.TYPE_ENUM, type_name=".old.Level", label=OPTIONAL)
    paper.field.add(name="part", number=3, type=F.TYPE_GROUP, type_name=".old.Paper.Part", label=REPEATED)
    paper.nested_type.add(name="Part").field.add(name="page", number=1, type=F.TYPE_INT32, label=OPTIONAL)
    paper.extension_range.add(start=100, end=200)
    file.extension.add(name="stamp", number=100, type=F.TYPE_STRING, label=OPTIONAL, extendee=".old.Paper")
    return file


def statistics_set() -> bytes:
    return file_set(statistics_file(), any_file())
