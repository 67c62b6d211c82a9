"""The shape of a reason. The codes themselves are here so that a typo is a type error."""

from dataclasses import dataclass
from enum import IntEnum, StrEnum


class GrpcCode(IntEnum):
    """The status codes of gRPC, so that what decides need not import grpc."""

    OK = 0
    CANCELLED = 1
    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    ABORTED = 10
    OUT_OF_RANGE = 11
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    DATA_LOSS = 15
    UNAUTHENTICATED = 16


class Area(StrEnum):
    """Where a reason arises; the pipeline's steps come first, in their order (architecture section 3)."""

    HANDSHAKE = "handshake"
    ADMIT = "admit"
    LABEL = "label"
    SPILL = "spill"
    ZONE = "zone"
    DOMINANCE = "dominance"
    INSPECTION = "inspection"
    SHARE = "share"
    RATE = "rate"
    EVIDENCE = "evidence"
    FORWARD = "forward"
    IMPORT = "import"
    POLICY = "policy"
    TRUST = "trust"
    CRYPTO = "crypto"
    CONFIG = "config"


class Executed(StrEnum):
    """Whether the provider has executed a call that ended with this reason."""

    NO = "no"
    YES = "yes"
    UNKNOWN = "unknown"


class Owner(StrEnum):
    """Who can mend it."""

    CALLER = "caller"
    PROVIDER = "provider"
    OPERATOR = "operator"
    SECURITY_OFFICER = "security-officer"
    NOBODY = "nobody"


class Reason(StrEnum):
    """Why something was allowed or refused. The value is the only spelling used anywhere."""

    OK = "OK"
    # handshake: a refused handshake has only its TLS alert, so these show in log, metric and counted records
    E_TLS_PROTOCOL = "E_TLS_PROTOCOL"
    E_TLS_VERSION = "E_TLS_VERSION"
    E_TLS_SUITE = "E_TLS_SUITE"
    E_TLS_GROUP = "E_TLS_GROUP"
    E_TLS_SIGNATURE = "E_TLS_SIGNATURE"
    E_TLS_ALERT = "E_TLS_ALERT"
    E_TLS_INCOMPLETE = "E_TLS_INCOMPLETE"
    E_TLS_TIMEOUT = "E_TLS_TIMEOUT"
    E_TLS_RATE = "E_TLS_RATE"
    E_TLS_ALPN = "E_TLS_ALPN"
    E_NO_CERTIFICATE = "E_NO_CERTIFICATE"
    E_TRUST_DOMAIN = "E_TRUST_DOMAIN"
    E_CERT_CHAIN = "E_CERT_CHAIN"
    E_CERT_USAGE = "E_CERT_USAGE"
    E_CERT_EXPIRED = "E_CERT_EXPIRED"
    E_CERT_NOT_YET_VALID = "E_CERT_NOT_YET_VALID"
    E_CERT_REVOKED = "E_CERT_REVOKED"
    E_STATUS_STALE = "E_STATUS_STALE"
    E_CONNECTIONS = "E_CONNECTIONS"
    # admit
    E_IDENTITY = "E_IDENTITY"
    E_ZONE_IDENTITY = "E_ZONE_IDENTITY"
    E_PEER_IDENTITY = "E_PEER_IDENTITY"
    E_LOCAL_PEER = "E_LOCAL_PEER"
    E_TICKET = "E_TICKET"
    E_TICKET_EXPIRED = "E_TICKET_EXPIRED"
    E_METADATA = "E_METADATA"
    E_HTTP2 = "E_HTTP2"
    E_HEADER_SIZE = "E_HEADER_SIZE"
    # label, spill, zone, dominance
    E_LABEL = "E_LABEL"
    E_LABEL_LOWER = "E_LABEL_LOWER"
    E_LABEL_KIND = "E_LABEL_KIND"
    E_SPILL = "E_SPILL"
    E_ZONE_RULE = "E_ZONE_RULE"
    E_CEILING = "E_CEILING"
    E_OBJECT_ONLY = "E_OBJECT_ONLY"
    E_NO_FLOW_RULE = "E_NO_FLOW_RULE"
    E_CLEARANCE = "E_CLEARANCE"
    E_CATEGORY = "E_CATEGORY"
    # inspection
    E_SCHEMA = "E_SCHEMA"
    E_MESSAGE_SIZE = "E_MESSAGE_SIZE"
    E_MESSAGE_COMPRESSED = "E_MESSAGE_COMPRESSED"
    E_RESPONSE_RAISED = "E_RESPONSE_RAISED"
    # share overlay, rate
    E_NOT_CATALOGUED = "E_NOT_CATALOGUED"
    E_NEED_APPROVAL = "E_NEED_APPROVAL"
    E_NOT_SHARED = "E_NOT_SHARED"
    E_PURPOSE = "E_PURPOSE"
    E_CASE = "E_CASE"
    E_RATE = "E_RATE"
    # evidence, forward
    E_EVIDENCE = "E_EVIDENCE"
    E_EVIDENCE_BROKEN = "E_EVIDENCE_BROKEN"
    E_NO_RECORD = "E_NO_RECORD"
    E_UPSTREAM = "E_UPSTREAM"
    E_UPSTREAM_RESET = "E_UPSTREAM_RESET"
    E_DEADLINE = "E_DEADLINE"
    E_CANCELLED = "E_CANCELLED"
    E_STREAMS = "E_STREAMS"
    E_DRAINING = "E_DRAINING"
    E_INTERNAL = "E_INTERNAL"
    # import
    E_IMPORT_FORMAT = "E_IMPORT_FORMAT"
    E_IMPORT_SEAL = "E_IMPORT_SEAL"
    E_IMPORT_SIGNATURE = "E_IMPORT_SIGNATURE"
    E_IMPORT_DUPLICATE = "E_IMPORT_DUPLICATE"
    E_IMPORT_EXPIRED = "E_IMPORT_EXPIRED"
    E_IMPORT_TARGET = "E_IMPORT_TARGET"
    E_IMPORT_REJECTED = "E_IMPORT_REJECTED"
    E_IMPORT_SPACE = "E_IMPORT_SPACE"
    # policy bundle
    E_DOCUMENT = "E_DOCUMENT"
    E_BUNDLE_FORMAT = "E_BUNDLE_FORMAT"
    E_BUNDLE_SIGNATURE = "E_BUNDLE_SIGNATURE"
    E_BUNDLE_VERSION = "E_BUNDLE_VERSION"
    E_BUNDLE_EXPIRED = "E_BUNDLE_EXPIRED"
    E_BUNDLE_SELFTEST = "E_BUNDLE_SELFTEST"
    E_POLICY_CHANGED = "E_POLICY_CHANGED"
    # trust service
    E_CSR = "E_CSR"
    E_PROFILE = "E_PROFILE"
    E_LINT = "E_LINT"
    E_VALIDITY = "E_VALIDITY"
    E_DUPLICATE_KEY = "E_DUPLICATE_KEY"
    E_UNKNOWN_SERIAL = "E_UNKNOWN_SERIAL"
    E_LEDGER = "E_LEDGER"
    E_CRL = "E_CRL"
    E_CRL_NUMBER = "E_CRL_NUMBER"
    # key management centre
    E_KMC = "E_KMC"
    E_KMC_SEALED = "E_KMC_SEALED"
    E_KMC_REQUEST = "E_KMC_REQUEST"
    E_KMC_REPLAY = "E_KMC_REPLAY"
    E_KEY_SHARE = "E_KEY_SHARE"
    E_KEY_STATE = "E_KEY_STATE"
    E_NOT_ESCROWED = "E_NOT_ESCROWED"
    E_RECOVERY = "E_RECOVERY"
    E_OCSP = "E_OCSP"
    E_OCSP_UNKNOWN = "E_OCSP_UNKNOWN"
    E_OCSP_NONCE = "E_OCSP_NONCE"
    E_TIMESTAMP = "E_TIMESTAMP"
    E_TIME_UNAVAILABLE = "E_TIME_UNAVAILABLE"
    # approval, roles, log-in
    E_APPROVAL_FORMAT = "E_APPROVAL_FORMAT"
    E_APPROVAL_RULE = "E_APPROVAL_RULE"
    E_APPROVAL_NONE = "E_APPROVAL_NONE"
    E_APPROVAL_TOO_FEW = "E_APPROVAL_TOO_FEW"
    E_APPROVAL_TOO_MANY = "E_APPROVAL_TOO_MANY"
    E_APPROVAL_SAME_PERSON = "E_APPROVAL_SAME_PERSON"
    E_APPROVAL_SAME_ROLE = "E_APPROVAL_SAME_ROLE"
    E_APPROVAL_SELF = "E_APPROVAL_SELF"
    E_APPROVAL_APPLICANT = "E_APPROVAL_APPLICANT"
    E_APPROVAL_ROLE = "E_APPROVAL_ROLE"
    E_APPROVAL_ROLE_CHANGED = "E_APPROVAL_ROLE_CHANGED"
    E_APPROVAL_CERT_CHANGED = "E_APPROVAL_CERT_CHANGED"
    E_APPROVAL_EXCLUDED = "E_APPROVAL_EXCLUDED"
    E_APPROVAL_ACT = "E_APPROVAL_ACT"
    E_APPROVAL_PAYLOAD = "E_APPROVAL_PAYLOAD"
    E_APPROVAL_VIEW = "E_APPROVAL_VIEW"
    E_APPROVAL_TARGET = "E_APPROVAL_TARGET"
    E_APPROVAL_REPLAY = "E_APPROVAL_REPLAY"
    E_APPROVAL_EXPIRED = "E_APPROVAL_EXPIRED"
    E_APPROVAL_NOT_YET_VALID = "E_APPROVAL_NOT_YET_VALID"
    E_APPROVAL_SERVICE = "E_APPROVAL_SERVICE"
    E_APPROVAL_NET = "E_APPROVAL_NET"
    E_APPROVAL_ORGAN = "E_APPROVAL_ORGAN"
    E_APPROVAL_SIGNATURE = "E_APPROVAL_SIGNATURE"
    E_APPROVAL_DELEGATION = "E_APPROVAL_DELEGATION"
    E_APPROVAL_WITHDRAWN = "E_APPROVAL_WITHDRAWN"
    E_ROLE_ACT = "E_ROLE_ACT"
    E_ROLE_INCOMPATIBLE = "E_ROLE_INCOMPATIBLE"
    E_ROSTER = "E_ROSTER"
    E_LOGIN = "E_LOGIN"
    E_LOGIN_LOCKED = "E_LOGIN_LOCKED"
    E_SESSION = "E_SESSION"
    # cryptography
    E_SELFTEST = "E_SELFTEST"
    E_SIGNATURE_FORMAT = "E_SIGNATURE_FORMAT"
    E_SIGNATURE = "E_SIGNATURE"
    E_CIPHERTEXT = "E_CIPHERTEXT"
    E_KEY = "E_KEY"
    E_KEY_SEALED = "E_KEY_SEALED"
    E_DER = "E_DER"
    # configuration
    E_CONFIG = "E_CONFIG"
    E_GRADE_DEMAND = "E_GRADE_DEMAND"


@dataclass(frozen=True, slots=True)
class ReasonInfo:
    """What a person needs to know of a reason. `zh` and `en` say what happened, the hints what to do."""

    reason: Reason
    area: Area
    grpc: GrpcCode
    retryable: bool
    executed: Executed
    owner: Owner
    en: str
    zh: str
    hint_en: str
    hint_zh: str
