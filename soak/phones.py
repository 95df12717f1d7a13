"""The users of a run and their phones, and what happens to the phones.

Half of the users are restless: two of them share their phones, and a registrar moves these from
one to the other, replaces their tokens, and deletes and erases. Nobody touches the phones of the
other users, so every request to such a user must reach them.

Of two users who share phones one has an even and the other an odd number, and a request is for
users of one kind. So a phone and a request name the user at whom a push was aimed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from soak.seeded_random import SeededRandom

PHONE_SERVICES: Final = ("GCM", "GCM", "GCM", "APNS", "APNS", "APNS_SANDBOX", "BAIDU", "ADM")
"""Without those for calls: a user's device of such a service needs a filter."""

_USERS: Final = (40, 400)
"""The least and the largest number of users. Each is in several requests."""

_RECIPIENTS_A_USER: Final = 50
_WITHOUT_PHONE: Final = 0.08
_PAIRS: Final = 0.2
_MOST_PHONES: Final = 3
_PHONE: Final = re.compile(r"phone-\d+")


@dataclass(frozen=True, slots=True)
class Phone:
    """A phone, which keeps its name whatever its device id and its token are.

    Attributes
    ----------
    name
        Its name, with which its device ids and tokens begin.
    users
        The numbers of its users: of the first one, and of the one who shares it, if there is one.
    service
        Its push service.
    """

    name: str
    users: tuple[int, ...]
    service: str

    def device_id(self, installation: int = 0) -> str:
        """Return the device id of an installation of the app."""
        return f"{self.name}.device-{installation}"

    def token(self, number: int = 0) -> str:
        """Return one of its tokens, in the order in which it gets them."""
        return f"{self.name}.token-{number}"


def user_id(number: int) -> str:
    """Return the id of a user."""
    return f"user-{number:05}"


def users_for(recipients: int) -> int:
    """Return the number of users for a plan with a number of recipients."""
    least, most = _USERS
    return min(max(recipients // _RECIPIENTS_A_USER, least), most) // 4 * 4


def phones(users: int, random: SeededRandom) -> Iterator[Phone]:
    """Give each user up to three phones."""
    for user in range(users):
        if random.draw("no phone", user) < _WITHOUT_PHONE:
            continue
        for place in range(1 + int(random.draw("phones", user) * _MOST_PHONES)):
            name = f"phone-{user:05}{place}"
            drawn = random.draw("service", name)
            is_restless = user % 4 > 1
            yield Phone(
                name,
                (user, user ^ 1) if is_restless else (user,),
                PHONE_SERVICES[int(drawn * len(PHONE_SERVICES))],
            )


def users_of_request(
    users: int, size: int, number: int, random: SeededRandom
) -> Iterator[dict[str, Any]]:
    """Choose the users of a request, all of one kind: some as a pair with their first phone."""
    first = int(random.draw("first user", number) * users)
    for place in range(min(size, users // 2)):
        user = (first + 2 * place) % users
        recipient = {"user_id": user_id(user)}
        if random.draw("pair", number, user) < _PAIRS:
            recipient["device_id"] = Phone(f"phone-{user:05}0", (user,), "").device_id()
        yield recipient


def phone_in(text: str | None) -> str | None:
    """Return the phone that a token or a device id belongs to; None for another token."""
    found = _PHONE.search(text or "")
    return found[0] if found else None


def result_name(token: str, request: int | str) -> str:
    """Name the result of a token in a request.

    A device of a user is in several requests; another token is in one, and is the name.
    """
    phone = phone_in(token)
    return token if phone is None else f"{phone} of {request}"
