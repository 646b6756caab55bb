"""The command line: a command parses, imports one stage inside its body, calls it and prints.

Nothing heavy is imported here: `featurebank --help` must answer at once.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from pathlib import Path
from types import FrameType

import click

from featurebank.cli.cache import cache
from featurebank.cli.doctor import doctor
from featurebank.cli.evaluate import evaluate
from featurebank.cli.extract import extract
from featurebank.cli.finetune import finetune
from featurebank.cli.heads import heads, leaderboard
from featurebank.cli.inspect import inspect
from featurebank.cli.lists import backbones, datasets
from featurebank.cli.predict import export, predict
from featurebank.cli.run import run
from featurebank.cli.settings import Settings
from featurebank.errors import FeatureBankError

INTERRUPTED = 130


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option(
    "--cache", type=click.Path(path_type=Path, file_okay=False),
    help="Where banks lie.  [default: $FEATUREBANK_CACHE, else ./cache]",
)  # fmt: skip
@click.option("--threads", type=int, help="Threads of all libraries together.  [default: every core]")
@click.option("--ram", metavar="SIZE", help="Memory for features, as 8GB.  [default: half of the machine's]")
@click.option("-q", "--quiet", is_flag=True, help="Results and errors only.")
@click.option("-v", "--verbose", is_flag=True, help="Also what helps to find a fault; tracebacks of errors.")
@click.version_option(package_name="featurebank")
@click.pass_context
def group(
    context: click.Context, cache: Path | None, threads: int | None, ram: str | None, *, quiet: bool, verbose: bool
) -> None:
    r"""Run each frozen backbone over each image once, keep its features, train hundreds of heads on them in seconds.

    \b
      featurebank run pipelines/quickstart.toml         the whole way, from images to a tested head
      featurebank extract --backbone resnet50           features of a dataset into a bank
      featurebank heads --grid                          many heads on the newest bank
      featurebank leaderboard                           the heads, best first
      featurebank finetune --unfreeze conv5             the network under the best head, trained too
      featurebank export best -o model.keras            one model: images in, probabilities out
    """
    from featurebank.runtime import default_cache, set_ram, set_threads

    set_threads(threads)
    set_ram(ram)
    context.obj = Settings(cache or default_cache(), quiet, verbose)


for command in (
    run,
    datasets,
    inspect,
    backbones,
    extract,
    heads,
    leaderboard,
    finetune,
    export,
    predict,
    evaluate,
    cache,
    doctor,
):
    group.add_command(command)


def main() -> None:
    """Runs the command line; the exit code is 0 done, 1 a failure to mend, 2 wrong usage, 130 interrupted."""
    _prepare()
    try:
        code = group(standalone_mode=False)
        sys.exit(code if isinstance(code, int) else 0)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (KeyboardInterrupt, click.Abort):
        click.echo("interrupted: what was finished is kept, run the same command again to go on", err=True)
        _leave_threads()
        sys.exit(INTERRUPTED)
    except BrokenPipeError:  # the reader of our output (head, less) has gone
        sys.stderr.close()
        sys.exit(1)
    except FeatureBankError as error:
        _fail(str(error))
    except OSError as error:
        _fail(f"the system refused: {error}")


def _leave_threads() -> None:
    """Ends the process at once where a thread is still at work: a library may take hours, a decoder seconds.

    Nothing is lost: whatever is on disk is whole at any moment, as after SIGKILL.
    """
    if any(thread.name.startswith("featurebank-") for thread in threading.enumerate()):
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(INTERRUPTED)


def _prepare() -> None:
    import os

    # TensorFlow's greetings are no news to our users; they can still ask for them.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
    signal.signal(signal.SIGTERM, _interrupt)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _fail(line: str) -> None:
    if "-v" in sys.argv or "--verbose" in sys.argv:
        import traceback

        traceback.print_exc()
    click.echo(f"Error: {line}", err=True)
    sys.exit(1)
