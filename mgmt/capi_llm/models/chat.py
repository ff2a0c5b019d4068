"""One conversation with a model: what was said so far goes along with each question."""

from __future__ import annotations

from collections.abc import Generator

from capi_llm.models.gateway_answers import GatewayFailed, Reason
from capi_llm.models.gateway_client import GatewayClient, Message


class Conversation:
    """Questions to ``model`` one after the other; ``most`` tokens an answer, None: as many as it likes."""

    def __init__(self, client: GatewayClient, model: str, *, most: int | None = None) -> None:
        self._client = client
        self._model = model
        self._most = most
        self._said: list[Message] = []

    @property
    def said(self) -> tuple[Message, ...]:
        """Questions and answers so far."""
        return tuple(self._said)

    def ask(self, question: str) -> Generator[str]:
        """The answer, piece by piece. Raises GatewayFailed, also after some of it has come.

        What came of an answer that was ended is remembered as the answer, a question without any forgotten.
        """
        asked: Message = {"role": "user", "content": question}
        stream = self._client.stream(self._model, [*self._said, asked], most=self._most)
        pieces: list[str] = []
        try:
            for piece in stream:
                pieces.append(piece)
                yield piece
        finally:
            if pieces:
                self._said += [asked, {"role": "assistant", "content": "".join(pieces)}]
        if not pieces:
            raise GatewayFailed(
                Reason.NO_TOKENS, "the model thought, and gave no answer", fix="give it more --max-tokens"
            )


def printable(text: str) -> str:
    """``text`` without what would move a terminal's cursor or change its colours."""
    return "".join(c for c in text if c.isprintable() or c in "\n\t")
