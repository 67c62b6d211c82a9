"""Stock grpcio on both ends, two gateways in between: what a department system sees of a crossing."""

from collections.abc import Iterator

import grpc
import pytest

from support.lab import BIDI, CLIENT_STREAM, METADATA, SERVER_STREAM, UNARY, Lab

pytestmark = pytest.mark.xdist_group("lab")


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    lab = Lab(tmp_path_factory.mktemp("lab"))
    lab.start()
    yield lab
    lab.close()


@pytest.mark.req("TL-06")
def test_all_four_call_kinds_are_byte_identical(lab: Lab) -> None:
    big = bytes(range(256)) * 40_960  # 10 MiB
    with lab.channel() as channel:
        assert channel.unary_unary(UNARY)(b"one", metadata=METADATA) == b"one"
        assert channel.unary_unary(UNARY)(b"", metadata=METADATA) == b""
        assert channel.unary_unary(UNARY)(big, metadata=METADATA) == big
        assert channel.stream_unary(CLIENT_STREAM)(iter([b"a", b"b", b"c"]), metadata=METADATA) == b"abc"
        listed = list(channel.unary_stream(SERVER_STREAM)(b"1000:x", metadata=METADATA))
        assert listed == [b"%d:x" % number for number in range(1000)]
        assert list(channel.stream_stream(BIDI)(iter([b"1", big, b"3"]), metadata=METADATA)) == [b"1", big, b"3"]


def test_a_call_without_purpose_is_refused_with_details(lab: Lab) -> None:
    before = lab.echo.calls
    with lab.channel() as channel, pytest.raises(grpc.RpcError) as caught:
        channel.unary_unary(UNARY)(b"x")
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert caught.value.details().startswith("E_PURPOSE")
    assert lab.echo.calls == before


def test_the_provider_learns_who_calls_and_nothing_else(lab: Lab) -> None:
    with lab.channel() as channel:
        channel.unary_unary(UNARY)(
            b"x",
            metadata=(
                *METADATA,
                ("zg-caller-organ", "spoofed"),
                ("zg-peer-uri", "spoofed"),
                ("x-note", "listed"),
                ("x-blob-bin", b"\x00\xff"),
                ("x-other", "not listed"),
            ),
        )
    seen = lab.echo.seen[-1]
    assert seen["zg-caller-organ"] == "1210000099030001XT"
    assert seen["zg-caller-system"] == "credit"
    assert seen["zg-purpose"] == "check"
    assert len(seen["zg-crossing"]) == 28
    assert seen["x-note"] == "listed"
    assert seen["x-blob-bin"] == b"\x00\xff"
    assert "x-other" not in seen
    assert not any(name.startswith(("zg-peer", "zg-ticket")) for name in seen)
