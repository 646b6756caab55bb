"""`featurebank completion`."""

from __future__ import annotations

import os

import click
from click.shell_completion import (
    BashComplete,
    CompletionItem,
    FishComplete,
    ShellComplete,
    ZshComplete,
    add_completion_class,
    split_arg_string,
)


@add_completion_class
class _Bash(BashComplete):
    """Completes words with a colon, which bash splits, and writes no space after a final colon."""

    source_template = BashComplete.source_template.replace(
        'COMP_WORDS="${COMP_WORDS[*]}"', 'COMP_WORDS="${COMP_LINE:0:COMP_POINT}" BREAKS="$COMP_WORDBREAKS"'
    ).replace("COMPREPLY+=($value)", "COMPREPLY+=($value)\n            [[ $value == *: ]] && compopt -o nospace")

    def get_completion_args(self) -> tuple[list[str], str]:
        """Returns the words before the cursor, and the one at it."""
        line = os.environ["COMP_WORDS"]
        words = split_arg_string(line)[1:]
        return (words, "") if line[-1:].isspace() or not words else (words[:-1], words[-1])

    def complete(self) -> str:
        """Returns the completions of what bash takes for the last word."""
        words, incomplete = self.get_completion_args()
        breaks = [sign for sign in "=:" if sign in os.environ.get("BREAKS", "")]
        start = max((incomplete.rfind(sign) + 1 for sign in breaks), default=0)
        items = _with_options(self.get_completions(words, incomplete), incomplete)
        return "\n".join(self.format_completion(CompletionItem(item.value[start:], item.type)) for item in items)


@add_completion_class
class _Zsh(ZshComplete):
    """Completes the value in `--option=value`, and writes no space after a final colon."""

    source_template = ZshComplete.source_template.replace(
        "    local -a response\n", "    local -a response\n    [[ $words[CURRENT] == --*=* ]] && compset -P '*='\n"
    ).replace(
        "        compadd -U -V unsorted -a completions\n",
        "        local -a before=(${(M)completions:#*:})\n"
        "        completions=(${completions:#*:})\n"
        "        compadd -U -i \"$IPREFIX\" -S '' -V unsorted -a before\n"
        '        compadd -U -i "$IPREFIX" -V unsorted -a completions\n',
    )


@add_completion_class
class _Fish(FishComplete):
    """Completes the value in `--option=value`."""

    source_template = FishComplete.source_template.replace(
        "            __fish_complete_path $metadata[2];\n",
        "            set -l option (string match -r -- '^--[^=]*=' $metadata[2]);\n"
        "            for path in (__fish_complete_path (string replace -- \"$option\" '' $metadata[2]));\n"
        '                echo "$option$path";\n'
        "            end;\n",
    )

    def get_completions(self, args: list[str], incomplete: str) -> list[CompletionItem]:
        return _with_options(super().get_completions(args, incomplete), incomplete)


def _with_options(items: list[CompletionItem], incomplete: str) -> list[CompletionItem]:
    """Returns the completions of a value with the option before it, if the word has both."""
    option, equals, _ = incomplete.partition("=") if incomplete.startswith("--") else ("", "", "")
    return [CompletionItem(option + equals + item.value, item.type, item.help) for item in items]


@click.command("completion")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion_script(context: click.Context, shell: str) -> None:
    """Print the script that completes commands and names.

    \b
    Save it and load it in each new shell:
      featurebank completion bash > ~/.featurebank-completion
      echo '. ~/.featurebank-completion' >> ~/.bashrc
    """  # noqa: D301 - click reads the escaped sign
    kinds: dict[str, type[ShellComplete]] = {"bash": _Bash, "zsh": _Zsh, "fish": _Fish}
    click.echo(kinds[shell](context.find_root().command, {}, "featurebank", "_FEATUREBANK_COMPLETE").source())
