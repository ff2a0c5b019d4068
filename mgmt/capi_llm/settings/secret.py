"""A text that nobody sees by accident."""

from __future__ import annotations

import hmac
from typing import Any, NoReturn

MASK = "****"
"""What is shown in place of a secret: always the same, so that it tells nothing of it."""


class Secret:
    """A key or token. Logs, messages, ``repr`` and ``str`` show ``****``; only :meth:`reveal` has it."""

    __slots__ = ("__text",)

    def __init__(self, text: str) -> None:
        self.__text = text

    def reveal(self) -> str:
        """The text itself: for the one request or Secret object that needs it."""
        return self.__text

    def __bool__(self) -> bool:
        return bool(self.__text)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and hmac.compare_digest(
            self.__text.encode(errors="surrogatepass"), other.__text.encode(errors="surrogatepass")
        )

    def __hash__(self) -> int:
        return hash(self.__text)

    def __repr__(self) -> str:
        return MASK

    __str__ = __repr__

    def __copy__(self) -> Secret:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Secret:
        return self

    def __reduce__(self) -> NoReturn:
        raise TypeError("a secret is not pickled")
