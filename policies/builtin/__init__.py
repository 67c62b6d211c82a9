"""The shipped default policies: one folder's worth of documents for each net, to copy and change.

They are documents like any other: strictly read, compiled, self-tested; what is built of them two officers must sign.
"""

from importlib import resources

from zonegate.identity import Net

_FILES = ("{net}.yaml", "statistics.binpb")


def builtin_documents(net: Net) -> dict[str, bytes]:
    """Return the default documents of `net` by file name."""
    folder = resources.files(__name__)
    names = [name.format(net=net.value) for name in _FILES]
    return {name: folder.joinpath(name).read_bytes() for name in names}
