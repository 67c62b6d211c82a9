"""The registry of reasons: one string for a refusal in status, log, metric, evidence (architecture section 3).

`Reason` names them, `REGISTRY` says for each: gRPC code, whether a retry can help, whether the provider has
executed the call, who can mend it, what happened and what to do, in English and Chinese. The rows stand in
`reasons/reasons.toml`; `zonegate reasons [CODE]` prints them.
"""

from zonegate.reasons.model import Area, Executed, GrpcCode, Owner, Reason, ReasonInfo
from zonegate.reasons.table import REGISTRY

__all__ = ["REGISTRY", "Area", "Executed", "GrpcCode", "Owner", "Reason", "ReasonInfo"]
