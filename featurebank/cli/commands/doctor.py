"""`featurebank doctor`."""

from __future__ import annotations

import sys

import click

from featurebank.cli.context import Settings, as_json
from featurebank.cli.terminal import echo, print_json


@click.command()
@as_json
@click.pass_obj
def doctor(settings: Settings, *, as_json: bool) -> None:
    """Check this installation, and print how to repair it.

    The exit code is 1 if something is wrong.
    """
    from dataclasses import asdict

    from featurebank.doctor import diagnose

    checks = []
    findings = diagnose(settings.cache)
    while True:
        with settings.reporter().step("checking this installation"):
            check = next(findings, None)
        if check is None:
            break
        checks.append(check)
        if not as_json:
            echo(f"{'ok ' if check.ok else 'BAD'} {check.name}: {check.found}")
            if not check.ok:
                echo(f"    -> {check.remedy}")
    if as_json:
        print_json([asdict(check) for check in checks])
    if not all(check.ok for check in checks):
        sys.exit(1)
