"""Options of commands that compute on several machines."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, cast

import click

from tlcli.commands.options import Command

if TYPE_CHECKING:
    from tlcli.cluster.ray_options import RayOptions
    from tlcli.features.extraction import Elsewhere

RAY = "ray"


def with_ray(command: Command) -> Command:
    """Add --ray-address and --ray-workers; the command takes `ray: RayOptions`."""

    @functools.wraps(command)
    def with_options(
        *arguments: Any, ray_address: str | None, ray_workers: int | None, **options: Any
    ) -> Any:
        given = None
        if ray_address is not None or ray_workers is not None:
            from tlcli.cluster.ray_options import RayOptions

            given = RayOptions(ray_address, ray_workers)
        return command(*arguments, ray=given, **options)

    address = click.option(
        "--ray-address",
        help="A Ray cluster, as HOST:PORT or auto.  [default: one on this machine]",
    )
    workers = click.option(
        "--ray-workers",
        type=click.IntRange(1, 100_000),
        help="How many processes compute.  [default: as the processors allow]",
    )
    return address(workers(cast(Command, with_options)))


def refuse_ray_options(option: str, place: str | None, ray: RayOptions | None) -> None:
    """Raise `click.UsageError` for options of Ray where Ray does not compute."""
    if ray is not None and place != RAY:
        raise click.UsageError(f"--ray-address and --ray-workers need {option} ray")


def computing_on(place: str | None, ray: RayOptions | None) -> Elsewhere | None:
    """What opens the place where features are computed; None for this process.

    Raises `TlcliError` where Ray is asked for and not installed.
    """
    if place != RAY:
        return None
    from tlcli.cluster.ray_extraction import check_ray, ray_cluster
    from tlcli.cluster.ray_options import RayOptions

    check_ray()
    return functools.partial(ray_cluster, ray or RayOptions())
