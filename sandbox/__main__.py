"""The command line: ``python -m sandbox demo``, ``up`` and ``token``."""

from __future__ import annotations

import argparse
import errno
import os
import sys
from collections.abc import Callable
from io import TextIOWrapper
from typing import Final, NoReturn
from urllib.parse import urlsplit

from rich.console import Console

from sandbox.environment import isolate

DEFAULT_PORT: Final = 4580

_EPILOG: Final = """\
The inbox, a web page that shows every push, is at http://127.0.0.1:PORT/sandbox/.

For any other program that pushes, in any language:
  python -m sandbox up --pinpoint-only
  export AWS_ENDPOINT_URL_PINPOINT=http://127.0.0.1:4580   # in the shell that starts the program
"""


_MACHINE_ERRORS: Final = frozenset(
    (errno.EACCES, errno.EDQUOT, errno.EMFILE, errno.ENFILE, errno.ENOSPC, errno.EPERM, errno.EROFS)
)
"""Errors of the machine, not of the sandbox: a full disk, a port that needs privileges."""


def main(arguments: list[str] | None = None) -> int:
    """Run a command and return the exit status."""
    options = _parser().parse_args(arguments)
    isolate()
    if isinstance(sys.stdout, TextIOWrapper):
        # Write line by line also into a pipe or file. Replace what a terminal cannot show with ?.
        sys.stdout.reconfigure(line_buffering=True, errors="replace")
    console = Console(highlight=False, soft_wrap=False)
    try:
        return _runner(options)(console, options)
    except OSError as error:
        if error.errno not in _MACHINE_ERRORS:
            raise
        print(f"The sandbox cannot run: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:  # before the sandbox handles it
        return 130


# The functions import late: loading the CDK takes longer than --pinpoint-only takes to start,
# and --help needs neither.


def _runner(options: argparse.Namespace) -> Callable[[Console, argparse.Namespace], int]:
    if options.command == "token":
        return _run_token
    return _run_pinpoint_only if options.pinpoint_only else _run_full


def _run_token(_: Console, options: argparse.Namespace) -> int:
    from sandbox.issuer.client import NoTokenError, fetch_token

    names = ("sub", "scope", "audience", "issuer", "expires_in")
    order = {name: getattr(options, name) for name in names}
    try:
        print(fetch_token(options.port, order))
    except NoTokenError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _run_pinpoint_only(console: Console, options: argparse.Namespace) -> int:
    from sandbox import pinpoint_only
    from sandbox.server import PortTakenError, ended_by_signals

    try:
        with ended_by_signals():
            pinpoint_only.up(console, options.port)
    except PortTakenError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _run_full(console: Console, options: argparse.Namespace) -> int:
    from sandbox import commands
    from sandbox.server import PortTakenError, ended_by_signals

    try:
        with ended_by_signals():
            if options.command == "demo":
                return commands.demonstrate(console, DEFAULT_PORT)
            commands.up(console, options.port, dict(options.context))
    except (PortTakenError, *commands.EXPECTED) as error:
        print(error, file=sys.stderr)
        return 1
    return 0 if options.command == "up" else 130  # Ctrl-C is the normal end of `up`


class _Parser(argparse.ArgumentParser):
    """A parser that reports an error in one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="python -m sandbox",
        description="A local AWS for Push Sender, on loopback: no account, no Docker.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(pinpoint_only=False)
    subparsers = parser.add_subparsers(dest="command", required=True)
    subparsers.add_parser("demo", help="push the examples, show their reports, and exit")
    up = subparsers.add_parser("up", help="run until Ctrl-C, as an endpoint for aws and boto3")
    _add_port(up, "port on 127.0.0.1, 0 for a free one (default: %(default)s)")
    kind = up.add_mutually_exclusive_group()
    kind.add_argument(
        "--pinpoint-only",
        action="store_true",
        help="only SendMessages and the inbox, for any application id; starts at once",
    )
    kind.add_argument(
        "-c",
        "--context",
        metavar="KEY=VALUE",
        action="append",
        default=[],
        type=_setting,
        help="a setting of the stack, as for the CDK; overrides cdk.json",
    )
    _add_token(subparsers.add_parser("token", help="print a token of a user for a running sandbox"))
    return parser


def _add_token(token: argparse.ArgumentParser) -> None:
    token.description = (
        "Print a token (JWT) that the running sandbox accepts at the routes for apps. "
        "Send it as the header Authorization: Bearer TOKEN."
    )
    token.add_argument("--sub", required=True, metavar="USER", help="the user's id")
    token.add_argument("--scope", default="", help='scopes, separated by spaces: "push:send"')
    token.add_argument("--audience", help="its aud (default: one that the API accepts)")
    token.add_argument("--issuer", help="its iss (default: the one that the API accepts)")
    token.add_argument(
        "--expires-in",
        type=int,
        default=3600,
        metavar="SECONDS",
        help="how long it is valid; 0 gives an expired one (default: %(default)s)",
    )
    # Before isolate(), which removes the variable.
    default = port_of(os.environ.get("AWS_ENDPOINT_URL", ""))
    meaning = "port of the running sandbox (default: that of AWS_ENDPOINT_URL, here %(default)s)"
    _add_port(token, meaning, default)


def port_of(endpoint: str) -> int:
    """Return the port of an address on this machine, else the default port."""
    try:
        address = urlsplit(endpoint)
        port = address.port
    except ValueError:
        return DEFAULT_PORT
    return port if port and address.hostname in _THIS_MACHINE else DEFAULT_PORT


_THIS_MACHINE: Final = ("127.0.0.1", "localhost", "::1")


def _add_port(parser: argparse.ArgumentParser, meaning: str, default: int = DEFAULT_PORT) -> None:
    parser.add_argument("--port", type=_port, default=default, help=meaning)


def _port(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) > 65_535:
        raise argparse.ArgumentTypeError("must be a whole number from 0 to 65535")
    return int(text)


def _setting(text: str) -> tuple[str, str]:
    key, separator, value = text.partition("=")
    if not separator:
        raise argparse.ArgumentTypeError("must be a key and a value: key=value")
    return key, value


if __name__ == "__main__":
    sys.exit(main())
