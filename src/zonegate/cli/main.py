"""Command table and outer edge: every error becomes one bilingual message and an exit code.

A command's module is imported only when the command is used, so that `zonegate --help` costs no more than click.
"""

import sys
from collections.abc import Sequence
from importlib import import_module

import click

from zonegate import __version__
from zonegate.cli.output import report

# name -> (module that holds a click command of the name `command`, one line of help)
COMMANDS: dict[str, tuple[str, str]] = {
    "approval": ("zonegate.cli.approval", "Propose, show, sign and check what needs several people. 审批"),
    "ca": ("zonegate.cli.ca", "Issue, list, revoke and check certificates. 证书签发与撤销"),
    "connector": ("zonegate.cli.connector", "Run the connector of a department system. 接入代理"),
    "csr": ("zonegate.cli.csr", "Make certificate requests. 证书请求"),
    "demo": ("zonegate.cli.demo", "Run the whole story and check every act. 演示"),
    "evidence": ("zonegate.cli.evidence", "Verify and show evidence. 证据校验"),
    "gateway": ("zonegate.cli.gateway", "Run or check a zone gateway. 区网关"),
    "import": ("zonegate.cli.importing", "Run the verifier and the importer of the intranet. 单向导入"),
    "key": ("zonegate.cli.key", "Make SM2 key pairs. 密钥"),
    "kmc": ("zonegate.cli.kmc", "Run the key management centre. 密钥管理中心"),
    "lab": ("zonegate.cli.lab", "Keep the demo's set-up running to play with. 试验环境"),
    "ocsp": ("zonegate.cli.ocsp", "Answer for the status of certificates, or ask. 在线证书状态"),
    "policy": ("zonegate.cli.policy", "Build, sign, check and explain policy bundles. 策略"),
    "reasons": ("zonegate.cli.reasons", "Print the registry of reasons. 原因代码"),
    "roles": ("zonegate.cli.roles", "Show who may do what; change and check the roster. 角色与名册"),
    "status": ("zonegate.cli.status", "Show processes, expiry, disk, upstreams, refusals. 运行状态"),
    "tsa": ("zonegate.cli.tsa", "Stamp time on bytes, or verify a stamp. 时间戳"),
    "why": ("zonegate.cli.why", "Tell why a crossing was refused and whom to call. 穿越为何被拒"),
}


class _LazyGroup(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in COMMANDS:
            return None
        command = import_module(COMMANDS[cmd_name][0]).command
        assert isinstance(command, click.Command)  # noqa: S101 - a programming error, not input
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Commands"):
            formatter.write_dl([(name, COMMANDS[name][1]) for name in sorted(COMMANDS)])


@click.command(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="zonegate")
def root() -> None:
    """Trust service and zone gateway of an e-government network.

    电子政务网络的信任服务与区网关。
    """


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; return the exit code. This is the outer edge: nothing escapes but the code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        result = root.main(args=arguments, prog_name="zonegate", standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as exc:
        click.echo(exc.format_message())
        return 2
    except click.ClickException as exc:
        exc.show()
        return 2
    except click.Abort:
        click.echo("aborted 已中止", err=True)
        return 1
    except Exception as exc:  # noqa: BLE001 - the outer edge of the CLI
        return report(exc)
    return result if isinstance(result, int) else 0
