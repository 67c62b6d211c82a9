"""`zonegate gateway run|check-config`."""

from pathlib import Path

import click

from zonegate.gateway import server

_CONFIG = click.option(
    "--config",
    "-c",
    required=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The gateway's TOML file. 配置文件",
)


@click.group("gateway")
def command() -> None:
    """Run or check a zone gateway.

    区网关：运行与配置检查。
    """


@command.command("run")
@_CONFIG
def run(config: Path) -> None:
    """Serve until SIGTERM; SIGHUP reloads certificate and policy.

    运行网关；SIGTERM 有序退出，SIGHUP 重新加载证书与策略。
    """
    server.run_gateway(config)


@command.command("check-config")
@_CONFIG
def check_config(config: Path) -> None:
    """Build everything without serving, and list what the zone's grade demands.

    不提供服务，仅检查配置与该区级别的要求。
    """
    gateway = server.check_config(config)
    zone = gateway.zone
    click.echo(f"{gateway.trust.uri} guards {zone.name} ({zone.zone_class.value}), policy {gateway.policy.version}")
    for finding in gateway.demands:
        row, outcome = finding.demand, finding.outcome
        click.echo(
            f"{outcome.value:11} {outcome.zh}\tGB/T 22239-2019 {row.clause}: {row.control_zh} / {row.control_en}"
        )
