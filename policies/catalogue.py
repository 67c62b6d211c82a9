"""[d] The code of a catalogue entry (standards.md C8.1, C8.2, SH-01, SH-02). Text in, value or `ValueError` out."""

import re
from dataclasses import dataclass
from enum import StrEnum

_CODE = re.compile(r"([123])([0-9]{2})([0-9]{3})([0-9]{0,20})/([0-9]{1,10})")


class Attribute(StrEnum):
    """类, the first digit of a code: what kind of resource it is."""

    BASE = "1"
    TOPIC = "2"
    DEPARTMENT = "3"

    @property
    def zh(self) -> str:
        """The word of the 编制指南."""
        return {"1": "基础", "2": "主题", "3": "部门"}[self.value]


@dataclass(frozen=True, slots=True)
class ResourceCode:
    """类 项 目 细目 / 顺序码 of the 政务信息资源目录编制指南."""

    attribute: Attribute
    item: str
    heading: str
    subheading: str
    sequence: str

    def __str__(self) -> str:
        return f"{self.attribute.value}{self.item}{self.heading}{self.subheading}/{self.sequence}"


def parse_resource_code(text: str) -> ResourceCode:
    """Return the code in `text`, e.g. ``1010010001/000001``; `ValueError` says what form is needed."""
    match = _CODE.fullmatch(text)
    if match is None or not text.isascii():
        msg = (
            "must be 类 (1, 2 or 3), 项 (2 digits), 目 (3 digits), 细目 (up to 20), then / and 顺序码 (1 to 10 digits)"
        )
        raise ValueError(msg)
    return ResourceCode(Attribute(match[1]), match[2], match[3], match[4], match[5])
