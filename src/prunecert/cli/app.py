"""The `prunecert` command: its groups, its exit codes."""

from __future__ import annotations

import os
import sys
from importlib import import_module
from typing import Annotated, Any

import typer

import prunecert
from prunecert.types import CodeError, InputError

app = typer.Typer(
    name="prunecert",
    no_args_is_help=True,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
)

PRUNE, CERTIFY, UNDERSTAND, RESEARCH = "Prune", "Certify", "Understand", "Research"
NO, BAD_INPUT, INTERRUPTED = 1, 2, 130


def _say_version(asked: bool) -> None:
    if asked:
        print(f"prunecert {prunecert.__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool,
        typer.Option(
            "--version", help="Say which version this is.", callback=_say_version, is_eager=True
        ),
    ] = False,
) -> None:
    """Prune a neural network and get a certificate of how wrong it can be on new data."""


def main(arguments: list[str] | None = None) -> None:
    """Run one command; exit 0 done, 1 the answer is no, 2 bad usage or input."""
    sys.exit(run(sys.argv[1:] if arguments is None else arguments))


def run(arguments: list[str]) -> int:
    """The exit code of one command line."""
    try:
        # the order of the groups in --help; each module registers its commands when imported
        for name in (
            "prune",
            "certify",
            "posterior",
            "compress",
            "understand",
            "bounds",
            "diagnose",
            "lottery",
            "sketch",
            "paper",
            "sweep",
            "study",
        ):
            import_module(f"prunecert.cli.{name}")
        # not `command.main`, which ends an interrupt in silence and a closed pipe with 1
        with typer.main.get_command(app).make_context("prunecert", arguments) as context:
            context.command.invoke(context)
        sys.stdout.flush()
        return 0
    except typer.Exit as end:
        return int(end.exit_code)
    except InputError as error:
        return _say(str(error), BAD_INPUT)
    except CodeError as error:
        return _say(str(error), NO)
    except KeyboardInterrupt:
        return _say("interrupted: nothing half-written is left behind", INTERRUPTED)
    except BrokenPipeError:  # the reader of our output has gone, as in `| head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        return _usage(error)


def _usage(error: Exception) -> int:
    """Usage errors of the command-line library are one line too; others are a fault of ours."""
    message = getattr(error, "format_message", None)
    if message is None:
        raise error
    context: Any = getattr(error, "ctx", None)
    where = f" (see {context.command_path} --help)" if context is not None else ""
    text = str(message()).strip()
    return _say(f"{text}{where}", BAD_INPUT) if text else BAD_INPUT


def _say(line: str, code: int) -> int:
    print("prunecert:", line.replace("\n", " "), file=sys.stderr)
    return code
