"""A registrar: apps that register phones, and people who share, sell and reset them."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from threading import Event
from typing import Any, Final
from urllib.parse import quote

from botocore.httpsession import URLLib3Session

from sandbox.stack.deployment import Deployment
from soak.callers import UnexpectedError, signed
from soak.phones import Phone, user_id
from soak.seeded_random import SeededRandom

_PAUSE_SECONDS: Final = 0.1
_APPS: Final = 4
"""Apps that register at once at the beginning."""

_TRIES: Final = 100
_DONE: Final = frozenset({200, 201, 204, 404})
_REPEATED: Final = frozenset({429, 500, 502, 503, 504})

_CHANGES: Final = {"move": 0.4, "token": 0.2, "install": 0.15, "delete": 0.1, "erase": 0.05}
"""What happens to a phone; else its app registers it again."""

_OPTED_OUT: Final = 0.05


@dataclass
class _State:
    """What a phone's app knows: its installation, its token, and who is signed in."""

    installation: int = 0
    token: int = 0
    user: int = 0


class Registrar:
    """Registers phones and changes some of them, through the routes of the HTTP API.

    Parameters
    ----------
    deployment
        The deployed stack.
    phones
        All phones.
    random
        The source of the choices.
    """

    def __init__(
        self, deployment: Deployment, phones: Sequence[Phone], random: SeededRandom
    ) -> None:
        self._url = deployment.outputs["ApiUrl"]
        self._phones = phones
        self._random = random
        self._http = URLLib3Session(timeout=60, max_pool_connections=_APPS)
        self._states = {phone.name: _State(user=phone.users[0]) for phone in phones}

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """Register all phones; then change some of them until the block ends."""
        stopping = Event()
        with ThreadPoolExecutor(_APPS, thread_name_prefix="registrar") as pool:
            list(pool.map(self._register, self._phones))
            changing = pool.submit(self._change_until, stopping)
            try:
                yield
            finally:
                stopping.set()
                changing.result()

    def _change_until(self, stopping: Event) -> None:
        restless = [phone for phone in self._phones if len(phone.users) > 1]
        for number in count():
            if not restless or stopping.wait(_PAUSE_SECONDS):
                return
            phone = restless[int(self._random.draw("phone", number) * len(restless))]
            self._change(phone, self._random.choose(_CHANGES, "change", number))

    def _change(self, phone: Phone, change: str | None) -> None:
        state = self._states[phone.name]
        match change:
            case "delete":
                self._call("DELETE", f"/devices/{phone.device_id(state.installation)}")
                return
            case "erase":
                self._call("DELETE", f"/users/{user_id(state.user)}")
                return
            case "move":
                (state.user,) = set(phone.users) - {state.user}
            case "token":
                state.token += 1
            case "install":  # a new device id with the old token, which is taken over
                state.installation += 1
        self._register(phone)

    def _register(self, phone: Phone) -> None:
        state = self._states[phone.name]
        members: dict[str, Any] = {
            "token": phone.token(state.token),
            "service": phone.service,
            "user_id": user_id(state.user),
        }
        if len(phone.users) > 1:
            drawn = self._random.draw("opted out", phone.name, state.user, state.token)
            members["opted_out"] = drawn < _OPTED_OUT
        self._call("PUT", f"/devices/{phone.device_id(state.installation)}", members)

    def _call(self, method: str, path: str, members: Mapping[str, Any] | None = None) -> None:
        """Call a route until it succeeds, as an app does."""
        body = b"" if members is None else json.dumps(members).encode()
        headers = {"Content-Type": "application/json"}
        for _ in range(_TRIES):
            answer = self._http.send(signed(method, self._url + quote(path), headers, body))
            if answer.status_code in _DONE:
                return
            if answer.status_code not in _REPEATED:
                break
            time.sleep(_PAUSE_SECONDS)
        raise UnexpectedError(f"{method} of the registry got {answer.status_code}")
