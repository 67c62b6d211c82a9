"""`zonegate connector run|check-config`."""

from pathlib import Path

import click

from zonegate.gateway import connector

_CONFIG = click.option(
    "--config",
    "-c",
    required=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The connector's TOML file. 配置文件",
)


@click.group("connector")
def command() -> None:
    """Run or check the connector of a department system.

    接入代理：运行与配置检查。
    """


@command.command("run")
@_CONFIG
def run(config: Path) -> None:
    """Serve until SIGTERM; SIGHUP reloads the certificate.

    运行接入代理；SIGTERM 有序退出，SIGHUP 重新加载证书。
    """
    connector.run_connector(config)


@command.command("check-config")
@_CONFIG
def check_config(config: Path) -> None:
    """Build everything without serving.

    不提供服务，仅检查配置。
    """
    built = connector.check_config(config)
    click.echo(f"{built.trust.uri}: {len(built.config.routes)} routes, provider: {built.config.provider is not None}")
