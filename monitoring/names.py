"""Every metric that zonegate exports: its name, kind, labels, and what it means in English and Chinese.

Nothing else spells a metric's name; the alert rules and dashboards are tested against this table. Labels are closed
sets or bounded by the configuration: a serial number, a peer's name, an address or a crossing is never a label (MO-01).
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from zonegate.reasons import REGISTRY, Area, Reason


class Kind(StrEnum):
    """The kinds of the exposition format."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric. A counter's name ends in `_total`, units are in the name; a component may bring its own buckets."""

    name: str
    kind: Kind
    labels: tuple[str, ...]
    en: str
    zh: str
    buckets: tuple[float, ...] = ()

    @property
    def help_text(self) -> str:
        """The HELP line, in both languages."""
        return f"{self.en} {self.zh}"


# The decision words of architecture section 2; `zonegate.policies.zones.Decision` has the same, and a test says so.
DECISIONS: Final = (
    "within",
    "guarded",
    "review",
    "import",
    "release",
    "media",
    "open",
    "subject",
    "deny",
    "quarantine",
    "none",
)
REASONS: Final = tuple(reason.value for reason in Reason)
# Reasons that may end a handshake: those of the step itself, and what the admission of its certificate may find.
HANDSHAKE_REASONS: Final = tuple(
    reason.value for reason in Reason if REGISTRY[reason].area in {Area.HANDSHAKE, Area.ADMIT} and reason != Reason.OK
)
# What a bundle that was offered, and a transport object, may be refused for.
POLICY_REASONS: Final = tuple(reason.value for reason in Reason if REGISTRY[reason].area is Area.POLICY)
IMPORT_REASONS: Final = ("OK", *(reason.value for reason in Reason if REGISTRY[reason].area is Area.IMPORT))
SIDES: Final = ("downstream", "upstream")
DIRECTIONS: Final = ("request", "response")
# A zone that is not known: the caller was refused before the policy could name one.
NO_ZONE: Final = "-"
GRPC_CODES: Final = tuple(str(code) for code in range(17))

_LATENCY: Final = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60)
_DECIDING: Final = (0.000005, 0.00001, 0.00002, 0.00005, 0.0001, 0.0002, 0.0005, 0.001, 0.005, 0.02)

BUILD_INFO: Final = Metric(
    "zonegate_build_info",
    Kind.GAUGE,
    ("version", "role", "zone"),
    "Always 1: what runs here.",
    "恒为 1：运行的版本。",
)
DECISIONS_TOTAL: Final = Metric(
    "zonegate_decisions_total",
    Kind.COUNTER,
    ("decision", "source", "target", "reason"),
    "Crossings decided; one for each decision record of the evidence.",
    "已裁决的穿越数，与证据中的裁决记录一一对应。",
)
CROSSINGS_FINISHED: Final = Metric(
    "zonegate_crossings_finished_total",
    Kind.COUNTER,
    ("code",),
    "Crossings that ended, by gRPC status code; one for each outcome record.",
    "已结束的穿越数（按 gRPC 状态码），与结果记录一一对应。",
)
CROSSING_SECONDS: Final = Metric(
    "zonegate_crossing_seconds",
    Kind.HISTOGRAM,
    (),
    "From a call's first byte to its last one.",
    "从调用的首字节到末字节的时间。",
    _LATENCY,
)
DECISION_SECONDS: Final = Metric(
    "zonegate_decision_seconds", Kind.HISTOGRAM, (), "Time to decide one crossing.", "一次裁决所用时间。", _DECIDING
)
CROSSINGS_OPEN: Final = Metric("zonegate_crossings_open", Kind.GAUGE, (), "Crossings under way.", "进行中的穿越数。")
CONNECTIONS_OPEN: Final = Metric(
    "zonegate_connections_open", Kind.GAUGE, ("side",), "Connections that are open.", "已建立的连接数。"
)
STREAMS_OPEN: Final = Metric("zonegate_streams_open", Kind.GAUGE, ("side",), "HTTP/2 streams open.", "HTTP/2 流数。")
MESSAGE_BYTES: Final = Metric(
    "zonegate_message_bytes_total", Kind.COUNTER, ("direction",), "Message bytes forwarded.", "转发的报文字节数。"
)
METADATA_STRIPPED: Final = Metric(
    "zonegate_metadata_stripped_total",
    Kind.COUNTER,
    (),
    "Reserved metadata fields removed from what systems sent.",
    "从系统报文中删除的保留元数据字段数。",
)
HANDSHAKES: Final = Metric("zonegate_handshakes_total", Kind.COUNTER, (), "Handshakes accepted.", "握手成功次数。")
HANDSHAKE_REFUSALS: Final = Metric(
    "zonegate_handshake_refusals_total",
    Kind.COUNTER,
    ("reason",),
    "Connections refused before admission, by reason.",
    "准入之前被拒绝的连接数（按原因）。",
)
HANDSHAKE_SECONDS: Final = Metric(
    "zonegate_handshake_seconds", Kind.HISTOGRAM, (), "Time of an accepted handshake.", "成功握手所用时间。", _LATENCY
)
UPSTREAM_UP: Final = Metric(
    "zonegate_upstream_up",
    Kind.GAUGE,
    ("upstream",),
    "1 while a connection to this configured upstream is established, else 0.",
    "与该上游的连接是否已建立（1 是，0 否）。",
)
CERTIFICATE_NOT_AFTER: Final = Metric(
    "zonegate_certificate_not_after_timestamp_seconds",
    Kind.GAUGE,
    ("use",),
    "When a certificate of this process expires.",
    "本进程证书的到期时间。",
)
CRL_NEXT_UPDATE: Final = Metric(
    "zonegate_crl_next_update_timestamp_seconds",
    Kind.GAUGE,
    ("source",),
    "When the revocation list in use becomes stale.",
    "当前撤销列表的失效时间。",
)
CRL_THIS_UPDATE: Final = Metric(
    "zonegate_crl_this_update_timestamp_seconds",
    Kind.GAUGE,
    ("source",),
    "When the revocation list in use was issued.",
    "当前撤销列表的签发时间。",
)
CRL_NUMBER: Final = Metric("zonegate_crl_number", Kind.GAUGE, ("source",), "Number of the CRL.", "当前 CRL 编号。")
STATUS_STALE: Final = Metric(
    "zonegate_status_stale",
    Kind.GAUGE,
    (),
    "1 while revocation status is stale; at grade 3 and above crossings are then refused.",
    "撤销状态是否过期（1 是）；三级及以上将拒绝穿越。",
)
STATUS_POLL_FAILURES: Final = Metric(
    "zonegate_status_poll_failures_total",
    Kind.COUNTER,
    (),
    "Polls of revocation status that brought nothing usable.",
    "撤销状态轮询失败次数。",
)
CONNECTIONS_CLOSED_BY_STATUS: Final = Metric(
    "zonegate_connections_closed_by_status_total",
    Kind.COUNTER,
    (),
    "Live connections ended because their peer was revoked or its status became stale.",
    "因对端证书被撤销或状态过期而关闭的连接数。",
)
POLICY_INFO: Final = Metric(
    "zonegate_policy_info",
    Kind.GAUGE,
    ("net", "digest"),
    "Always 1: the policy bundle in force.",
    "恒为 1：策略包。",
)
POLICY_VERSION: Final = Metric(
    "zonegate_policy_version", Kind.GAUGE, (), "Version of the policy bundle in force.", "当前策略包版本。"
)
POLICY_NOT_AFTER: Final = Metric(
    "zonegate_policy_not_after_timestamp_seconds",
    Kind.GAUGE,
    (),
    "When the policy bundle in force expires.",
    "当前策略包的到期时间。",
)
POLICY_REFUSALS: Final = Metric(
    "zonegate_policy_refusals_total",
    Kind.COUNTER,
    ("reason",),
    "Policy bundles that were offered and refused.",
    "被拒绝的策略包数（按原因）。",
)
EVIDENCE_RECORDS: Final = Metric(
    "zonegate_evidence_records_total", Kind.COUNTER, (), "Evidence records made durable.", "已落盘的证据记录数。"
)
EVIDENCE_COUNTED: Final = Metric(
    "zonegate_evidence_counted_total",
    Kind.COUNTER,
    (),
    "Refusals that counted records stand for.",
    "计数记录所代表的拒绝次数。",
)
EVIDENCE_QUEUE: Final = Metric(
    "zonegate_evidence_queue_records", Kind.GAUGE, (), "Records that wait to be durable.", "等待落盘的记录数。"
)
EVIDENCE_UNSEALED: Final = Metric(
    "zonegate_evidence_unsealed_records", Kind.GAUGE, (), "Durable records not yet sealed.", "已落盘未签封的记录数。"
)
EVIDENCE_FSYNC_SECONDS: Final = Metric(
    "zonegate_evidence_fsync_seconds",
    Kind.HISTOGRAM,
    (),
    "Time of one write and sync.",
    "一次写入同步的时间。",
)
EVIDENCE_SEAL_SECONDS: Final = Metric(
    "zonegate_evidence_seal_seconds",
    Kind.HISTOGRAM,
    (),
    "From the first record of a batch being durable to its seal.",
    "从批次首条记录落盘到签封的时间。",
)
EVIDENCE_FAILURES: Final = Metric(
    "zonegate_evidence_failures_total",
    Kind.COUNTER,
    (),
    "Writes or syncs of evidence that failed; the crossings concerned were refused.",
    "证据写入或同步失败次数，相关穿越已拒绝。",
)
EVIDENCE_SEAL_FAILURES: Final = Metric(
    "zonegate_evidence_seal_failures_total",
    Kind.COUNTER,
    (),
    "Seals that failed; they are tried again.",
    "签封失败次数。",
)
EVIDENCE_PEER_CONFLICTS: Final = Metric(
    "zonegate_evidence_peer_conflicts_total",
    Kind.COUNTER,
    (),
    "Heads of peer gateways that contradict an earlier one: their evidence was cut or rewritten.",
    "对端签封头与先前相矛盾的次数：其证据被截断或改写。",
)
EVIDENCE_SIGN_SECONDS: Final = Metric(
    "zonegate_evidence_sign_seconds", Kind.HISTOGRAM, (), "Time to sign one seal.", "一次签封签名的时间。"
)
EVIDENCE_OPEN_CROSSINGS: Final = Metric(
    "zonegate_evidence_open_crossings",
    Kind.GAUGE,
    (),
    "Decided, without an outcome yet.",
    "尚无结果记录的穿越数。",
)
EVIDENCE_LOST: Final = Metric(
    "zonegate_evidence_lost_total",
    Kind.COUNTER,
    (),
    "Records that could not be written; a gap record stands for them.",
    "未能写入的记录数，由缺口记录代表。",
)
EVIDENCE_REFUSING: Final = Metric(
    "zonegate_evidence_refusing",
    Kind.GAUGE,
    (),
    "1 while evidence cannot be written and every crossing is refused.",
    "证据无法写入、全部穿越被拒绝时为 1。",
)
EVIDENCE_DISK_USED_RATIO: Final = Metric(
    "zonegate_evidence_disk_used_ratio",
    Kind.GAUGE,
    (),
    "Used part of the file system that holds the evidence, 0 to 1.",
    "证据所在文件系统的已用比例（0 至 1）。",
)
EVIDENCE_DISK_FREE_BYTES: Final = Metric(
    "zonegate_evidence_disk_free_bytes", Kind.GAUGE, (), "Bytes free for evidence.", "证据可用的剩余字节数。"
)
IMPORT_OBJECTS: Final = Metric(
    "zonegate_import_objects_total",
    Kind.COUNTER,
    ("reason",),
    "Transport objects handled by this process, by reason (OK: passed on).",
    "本进程处理的摆渡对象数（按原因，OK 为通过）。",
)
IMPORT_QUEUE: Final = Metric(
    "zonegate_import_queue_objects", Kind.GAUGE, (), "Transport objects waiting here.", "等待处理的摆渡对象数。"
)
IMPORT_GAPS: Final = Metric(
    "zonegate_import_gaps_total",
    Kind.COUNTER,
    (),
    "Sequence numbers of the one-way link found missing.",
    "单向链路上缺失的序号数。",
)
OCSP_ANSWERS: Final = Metric(
    "zonegate_ocsp_answers_total",
    Kind.COUNTER,
    ("result", "signing"),
    "OCSP answers given: what they say, and whether they were signed ahead.",
    "OCSP 应答数（按结果与是否预签名）。",
)
TIMESTAMPS: Final = Metric(
    "zonegate_timestamps_total",
    Kind.COUNTER,
    ("result",),
    "Time stamp requests answered: granted, or the failure that was named.",
    "时间戳应答数（按结果）。",
)
CLOCK_OFFSET: Final = Metric(
    "zonegate_clock_offset_seconds",
    Kind.GAUGE,
    (),
    "This machine's clock minus the time reference.",
    "本机时钟与时间参考源之差。",
)
CLOCK_TRUSTED: Final = Metric(
    "zonegate_clock_trusted",
    Kind.GAUGE,
    (),
    "1 while the clock may be used for time stamps, else 0.",
    "时钟可用于签发时间戳时为 1，否则为 0。",
)


def all_metrics() -> tuple[Metric, ...]:
    """Return every metric of this module."""
    return tuple(value for value in globals().values() if isinstance(value, Metric))
