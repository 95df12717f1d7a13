"""Whose device a token was at which time, by the transactions that the registry committed.

The proxy in front of DynamoDB records them. It knows that a transaction took effect between the
beginning and the end of its call, so a token counts as both users' in between.
"""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from threading import Lock
from typing import Any, Final, NamedTuple

from soak.phones import phone_in

_DEVICE: Final = "D#"
_USER: Final = "U#"


class Spell(NamedTuple):
    """A time in which a push for a user could go to a token.

    Attributes
    ----------
    user, device, token
        Their ids and the token.
    since, until
        On ``time.monotonic``. It ends with the first change of one of the three.
    """

    user: str
    device: str
    token: str
    since: float
    until: float = math.inf


@dataclass
class Ownership:
    """The devices of all users over the time of a run.

    Attributes
    ----------
    committing
        Held during each transaction, so that they are recorded in the order of their effects.
    moved
        How often a device moved to another user.
    """

    committing: Lock = field(default_factory=Lock)
    moved: int = 0
    _now: dict[str, Spell] = field(default_factory=dict)
    _past: list[Spell] = field(default_factory=list)
    _users: dict[str, str | None] = field(default_factory=dict)
    _transactions: set[str] = field(default_factory=set)
    _reads: dict[tuple[str, str], float] = field(default_factory=dict)

    @property
    def devices(self) -> int:
        """The number of device ids that were registered."""
        return len(self._users)

    @property
    def spells(self) -> Sequence[Spell]:
        """All times of all devices."""
        return [*self._past, *self._now.values()]

    def commit(self, call: Mapping[str, Any], began: float, ended: float) -> None:
        """Record a transaction that took effect. The same one again has no effect.

        Parameters
        ----------
        call
            The body of TransactWriteItems.
        began, ended
            When the call began and ended.
        """
        if call["ClientRequestToken"] in self._transactions:
            return
        self._transactions.add(call["ClientRequestToken"])
        for entry in call["TransactItems"]:
            match entry:
                case {"Put": {"Item": {"id": {"S": str(id_)}, "value": {"S": str(value)}}}}:
                    device = json.loads(value)
                case {"Delete": {"Key": {"id": {"S": str(id_)}}}}:
                    device = {}
                case _:
                    continue
            if id_.startswith(_DEVICE):
                self._set(id_, device, began, ended)

    def _set(self, id_: str, device: Mapping[str, Any], began: float, ended: float) -> None:
        user = device.get("user_id")
        self.moved += None not in (user, self._users.get(id_)) and user != self._users[id_]
        self._users[id_] = user
        before, after = self._now.get(id_), None
        if user is not None and not device.get("opted_out") and not device.get("invalid"):
            after = Spell(user, device["device_id"], device["token"], began)
        if before and after and before[:3] == after[:3]:
            return
        if before:
            self._past.append(self._now.pop(id_)._replace(until=ended))
        if after:
            self._now[id_] = after

    def read(self, run: str, keys: Iterable[str], began: float) -> None:
        """Record that an invocation reads items of users."""
        for key in keys:
            if key.startswith(_USER):
                self._reads.setdefault((run, key.rpartition("#")[2]), began)

    def looked_up_at(self, run: str, user: str) -> float:
        """Return when an invocation first read a user; infinity if it did not."""
        return self._reads.get((run, user), math.inf)

    def by_token(self) -> Mapping[str, Collection[Spell]]:
        """Return all times by token."""
        return _grouped((spell.token, spell) for spell in self.spells)

    def by_user(self) -> Mapping[str, Mapping[str, Collection[Spell]]]:
        """Return all times by user and phone."""
        by_user = _grouped((spell.user, spell) for spell in self.spells)
        return {
            user: _grouped((phone_in(spell.token) or "", spell) for spell in spells)
            for user, spells in by_user.items()
        }


def _grouped(pairs: Iterable[tuple[str, Spell]]) -> Mapping[str, Collection[Spell]]:
    groups: defaultdict[str, list[Spell]] = defaultdict(list)
    for name, spell in pairs:
        groups[name].append(spell)
    return groups
