"""The command line: a table of contents whose commands load when they are called."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from typing import Any, NoReturn

import click

from sizer.cli.console import leave_stdout, print_what_can_be_printed
from sizer.errors import SizerError
from sizer.printable import one_line, shortened
from sizer.version import package_version

# Command -> what it answers. Each lives in its own module here, as `command`; none is imported to print this table.
COMMANDS = {
    "estimate": "How much memory, how fast: a table by device and precision.",
    "recommend": "Which precision to run here, why, and the command that runs it.",
    "fit": "Which models this machine (or --device) can run, best first.",
    "capacity": "How many users a machine serves within limits, and what it costs.",
    "hardware": "Which devices run a model at a wanted speed, context and batch.",
    "check": "Will this engine command start, what it takes, and which flag to change.",
    "web": "The same answers on a page, from this machine or as a static site.",
    "mcp": "The same answers as tools, over the Model Context Protocol.",
    "measured": "The measured rows nearest to a model, device, precision and engine.",
    "bench": "Load a model, generate, and print measured beside predicted.",
    "chat": "Chat in the terminal at the recommended precision.",
    "probe": "What this machine is, how that is known, and its measured memory bandwidth.",
    "sweep": "Estimates for every row of a CSV or JSON Lines file.",
    "validate": "The same, compared with the measured columns.",
    "calibrate": "Fit the engine constants from measurements.",
    "import": "Others' benchmark files as measured rows.",
    "installed": "The models found on this machine: what each takes, how fast it runs.",
    "devices": "The devices, instances and classes that sizer knows.",
    "models": "The models that sizer knows offline.",
    "precisions": "The precisions: bits per weight, engines, quality.",
}

MODULES = {"import": "importing"}
"""Commands whose module has another name: Python keeps `import` to itself."""

EXIT_INTERRUPTED = 130
"""What shells say of a command that Ctrl-C ended: 128 and the signal's number."""


@contextlib.contextmanager
def _reader_may_leave() -> Iterator[None]:
    """A reader of stdout that has left (`| head`) is no fault: click would end with 1."""
    try:
        yield
    except BrokenPipeError:
        leave_stdout()
        raise click.exceptions.Exit(0) from None


class CommandTable(click.Group):
    """A click group that imports a command's module only when that command runs."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The commands in the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command, imported now; None for an unknown name."""
        if cmd_name not in COMMANDS:
            return None
        from importlib import import_module

        command: click.Command = import_module(f"sizer.cli.{MODULES.get(cmd_name, cmd_name)}").command
        if not any("--offline" in option.opts for option in command.params):
            command.params.append(
                click.Option(["--offline"], is_flag=True, expose_value=False, help="Nothing here touches the network.")
            )
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click's, with the nearest commands offered for a misspelt one."""
        if args and not args[0].startswith("-") and args[0] not in COMMANDS:
            from sizer.cli.meant import command_hint

            raise click.UsageError(f"No such command {args[0]!r}. {command_hint(args[0], list(COMMANDS))}", ctx)
        return super().resolve_command(ctx, args)

    def make_context(self, *args: Any, **kwargs: Any) -> click.Context:
        """As click's; --help and --version write their text here."""
        with _reader_may_leave():
            return super().make_context(*args, **kwargs)

    def invoke(self, ctx: click.Context) -> Any:
        """As click's: here the command runs."""
        with _reader_may_leave():
            return super().invoke(ctx)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The table of contents, without importing any command."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


def _version(ctx: click.Context, _param: click.Parameter, asked: bool) -> None:
    if asked:
        click.echo(f"sizer, version {package_version()}")
        ctx.exit()


@click.group(cls=CommandTable, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=_version, help="Show the version and exit."
)
def cli(debug: bool) -> None:
    """Will it fit, and how fast? Memory and tokens/s of an LLM from its name, before you download it.

    \b
    sizer estimate meta-llama/Meta-Llama-3-8B-Instruct --device a100
    sizer estimate Qwen/Qwen3-30B-A3B --device 2xrtx-4090 --precision q4_k_m
    sizer recommend Qwen/Qwen3-8B --vram 12GiB
    sizer bench
    """
    if debug:
        os.environ["SIZER_DEBUG"] = "1"


def main(args: list[str] | None = None) -> NoReturn:
    """Run the command line and exit with the documented code: stdout is data, stderr is talk."""
    print_what_can_be_printed()
    asked = sys.argv[1:] if args is None else args
    try:
        result = cli.main(args=asked or ["--help"], prog_name="sizer", standalone_mode=False)
        if sys.stdout is not None:
            sys.stdout.flush()
        sys.exit(result if isinstance(result, int) else 0)
    except SizerError as error:
        _fail(f"{error.message} {error.hint}".strip(), error.exit_code, error)
    except click.UsageError as error:
        usage = f" Try 'sizer {error.ctx.info_name} --help'." if error.ctx and error.ctx.parent else ""
        _fail(shortened(_said(error)) + usage, 2, error)
    except click.ClickException as error:
        _fail(error.format_message(), error.exit_code, error)
    except (click.Abort, KeyboardInterrupt) as error:
        # An interrupt inside an exec, as dataclasses make, would end Python by the signal: a whole one clears that.
        exec("")  # noqa: S102
        _fail("interrupted.", EXIT_INTERRUPTED, error)
    except BrokenPipeError:
        leave_stdout()
        sys.exit(0)
    except OSError as error:
        leave_stdout()
        _fail(f"{error.strerror or error}{f': {error.filename!r}' if error.filename else ''}.", 2, error)
    except Exception as error:
        # A fault of sizer's own: still one line, and how to see where.
        _fail(f"internal error, {type(error).__name__}: {error}. 'sizer --debug ...' shows where.", 1, error)


def _said(error: click.UsageError) -> str:
    """click's words, with the option that other tools' word for it means, an example, or that words want quotes."""
    said = error.format_message()
    if isinstance(error, click.NoSuchOption) and error.ctx is not None:
        from sizer.cli.meant import OPTIONS

        meant = OPTIONS.get(error.option_name)
        if any(meant in option.opts for option in error.ctx.command.params):
            return f"{error.message} Did you mean {meant!r}?"
    if isinstance(error, click.MissingParameter) and error.ctx is not None and error.param is not None:
        from sizer.cli.meant import missing_hint

        return said + missing_hint(error.ctx, error.param)
    if said.startswith("Got unexpected extra argument"):
        return f"{said}. Quote a name of several words."
    return said


def _fail(message: str, code: int, error: BaseException) -> NoReturn:
    """One clear line on stderr, the traceback only on request, the documented exit code."""
    if os.environ.get("SIZER_DEBUG"):
        raise error
    with contextlib.suppress(OSError):
        click.echo(f"sizer: {one_line(message)}", err=True)
    sys.exit(code)
