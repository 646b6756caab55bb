"""The command line: each command parses its options, imports and calls one stage, and prints the result.

Commands are in `commands/`, one file per command or group; `context` has the global options, and `reporter` draws
progress. Open `main` first.
"""

from __future__ import annotations

import atexit
import gc
import os
import signal
import sys
import threading
import traceback
from types import FrameType

import click

from featurebank.cli.commands.advise import advise
from featurebank.cli.commands.completion import completion_script
from featurebank.cli.commands.curves import curves
from featurebank.cli.commands.doctor import doctor
from featurebank.cli.commands.evaluate import evaluate
from featurebank.cli.commands.explain import explain
from featurebank.cli.commands.extract import extract
from featurebank.cli.commands.finetune import finetune
from featurebank.cli.commands.heads import heads, leaderboard
from featurebank.cli.commands.inspect import inspect
from featurebank.cli.commands.lists import backbones, datasets
from featurebank.cli.commands.predict import export, predict
from featurebank.cli.commands.race import race
from featurebank.cli.commands.report import report
from featurebank.cli.commands.run import run
from featurebank.cli.commands.schema import schema
from featurebank.cli.commands.similar import similar
from featurebank.cli.commands.upkeep.banks import cache
from featurebank.cli.context import Current, Settings, global_options, reset
from featurebank.cli.groups import Commands
from featurebank.cli.terminal import echo, echo_lines, prepare_streams
from featurebank.errors import ConfigError, FeatureBankError
from featurebank.system.parallel import clean_up
from featurebank.system.progress import shown_by
from featurebank.system.stderr import without_tracing_advice

INTERRUPTED = 130


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="featurebank")
@click.pass_context
def group(context: click.Context) -> None:
    """Run each frozen backbone once over each image, keep its features, and train hundreds of heads in seconds.

    \b
    Compute the features of a dataset (without --dataset: of the digits):
      featurebank extract --backbone efficientnet_lite0
    Train many heads on them, and list the heads, best first:
      featurebank heads --grid
      featurebank leaderboard
    Train the network under the best head as well:
      featurebank finetune --progressive
    Write one model that turns images into probabilities, and use it:
      featurebank export best -o model.keras
      featurebank predict model.keras photo.jpg
    Run all of this from one file:
      featurebank run pipelines/quickstart.toml
    """  # noqa: D301 - click reads the escaped sign
    context.with_resource(shown_by(Current(context.ensure_object(Settings))))
    context.with_resource(without_tracing_advice())


group.params = [*global_options(hidden=False), *group.params]
for command in (
    run,
    datasets,
    inspect,
    backbones,
    extract,
    race,
    heads,
    leaderboard,
    curves,
    finetune,
    explain,
    export,
    predict,
    evaluate,
    similar,
    advise,
    report,
    cache,
    schema,
    doctor,
    completion_script,
):
    group.add_command(command)


def main() -> None:
    """Runs the command line; exit codes: 0 success, 1 an error, 2 wrong usage, 130 an interruption."""
    _prepare()
    try:
        code = group(standalone_mode=False)
        sys.exit(code if isinstance(code, int) else 0)
    except click.ClickException as error:
        _show_usage(error)
        sys.exit(error.exit_code)
    except (KeyboardInterrupt, click.Abort):
        echo("interrupted: finished work is saved; run the same command again to continue", err=True)
        _leave_threads()
        sys.exit(INTERRUPTED)
    except BrokenPipeError:  # the program that reads our output (head, less) has ended
        sys.stderr.close()
        sys.exit(1)
    except ConfigError as error:  # a file may have several problems, one per line
        _fail(*str(error).splitlines())
    except FeatureBankError as error:
        _fail(str(error))
    except OSError as error:
        _fail(f"operating system error: {error}")
    except Exception as error:  # noqa: BLE001 - our own bug; names in its traceback must not reach the terminal raw
        echo_lines(traceback.format_exc(), err=True)
        _fail(f"internal error of featurebank, {type(error).__name__}: report it with the lines above")


def _show_usage(error: click.ClickException) -> None:
    if isinstance(error, click.exceptions.NoArgsIsHelpError):  # its message is the whole help
        echo_lines(error.format_message(), err=True)
        return
    context = error.ctx if isinstance(error, click.UsageError) else None
    if context is not None:
        echo_lines(context.get_usage(), err=True)
        echo(f"Try '{context.command_path} --help' for help.", err=True)
    echo(f"Error: {' '.join(error.format_message().split())}", err=True)


def _leave_threads() -> None:
    """Ends the process at once if a thread is still working: a library may take hours, a decoder seconds.

    Nothing is lost: as after SIGKILL, files on disk are complete at any moment.
    """
    if any(thread.name.startswith("featurebank-") for thread in threading.enumerate()):
        sys.stdout.flush()
        sys.stderr.flush()
        clean_up()
        os._exit(INTERRUPTED)


def _prepare() -> None:
    prepare_streams()
    reset()
    os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
    signal.signal(signal.SIGTERM, _interrupt)
    atexit.register(gc.freeze)  # or Python, as it ends, looks for garbage in all of TensorFlow, which takes 1 s


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _fail(*lines: str) -> None:
    if "-v" in sys.argv or "--verbose" in sys.argv:
        echo_lines(traceback.format_exc(), err=True)
    for number, line in enumerate(lines):
        echo(line if number else f"Error: {line}", err=True)
    sys.exit(1)
