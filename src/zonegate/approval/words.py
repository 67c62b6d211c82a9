"""[d] An act, an approval and a delegation in words, Chinese and English: what an officer reads before signing.

Pure. The text that the act itself carries is shown whole, below the fields that the signature covers with it.
"""

from zonegate.approval.act import Act, Proposal
from zonegate.approval.delegation import Delegation
from zonegate.approval.record import Approval
from zonegate.approval.rules import RULES
from zonegate.canonical import time_text


def act_text(act: Act) -> str:
    """Return the fields of an act."""
    rule = RULES.get(act.kind)
    lines = [
        f"事项 act: {act.kind.zh} {act.kind}",
        f"对象 target: {act.target}",
        f"网络 net: {act.net}",
        f"机构 organ: {act.organ}",
        f"申请人 applicant: {act.applicant}",
        f"有效期 valid: {time_text(act.not_before)} 至 to {time_text(act.not_after)}",
        f"内容摘要 payload SM3: {act.payload}",
        f"所示文字摘要 view SM3: {act.view}",
        f"一次性编号 nonce: {act.nonce}",
    ]
    if rule is None:
        lines.append("所需签名 signatures: 无规则 no rule, refused")
    else:
        lines += [
            f"所需签名 signature needed: {item.part.zh} {item.part} – "
            + " / ".join(f"{role.zh} {role.en}" for role in sorted(item.roles))
            for item in rule.seats
        ]
    return "\n".join(lines)


def proposal_text(proposal: Proposal) -> str:
    """Return the act and the text that goes with it, each line of the text marked as such."""
    shown = "\n".join(f"  | {line}" for line in proposal.view.split("\n"))
    return f"{act_text(proposal.act)}\n内容说明 what is to be done:\n{shown}"


def approval_text(approval: Approval) -> str:
    """Return who signed what."""
    lines = [
        act_text(approval.act),
        f"签名人 signer: {approval.signer} {approval.certificate.subject}",
        f"签名身份 as: {approval.part.zh} {approval.part}, {approval.role.zh} {approval.role.en}",
        f"签名时间 signed at: {time_text(approval.signed_at)}",
        f"证书 certificate SM3: {approval.certificate.fingerprint}",
    ]
    if approval.delegation is not None:
        lines.append(delegation_text(approval.delegation))
    return "\n".join(lines)


def delegation_text(delegation: Delegation) -> str:
    """Return who may sign for whom."""
    kinds = ", ".join(f"{kind.zh} {kind}" for kind in sorted(delegation.kinds))
    return "\n".join(
        (
            f"委托 delegation: {delegation.id}",
            f"  委托人 delegator: {delegation.delegator}",
            f"  受托人 delegate: {delegation.delegate}",
            f"  角色 role: {delegation.role.zh} {delegation.role.en}",
            f"  事项 acts: {kinds}",
            f"  有效期 valid: {time_text(delegation.not_before)} 至 to {time_text(delegation.not_after)}",
            f"  签于 signed at: {time_text(delegation.signed_at)}",
        )
    )
