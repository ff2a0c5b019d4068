"""``chat``: one question, a pipe, and a session on a terminal."""

from __future__ import annotations

import os
import pty
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest
from backends import KEY, MODEL, Backends

from capi_llm.models.chat import Conversation, printable
from capi_llm.models.gateway_address import Gateway
from capi_llm.models.gateway_answers import GatewayFailed
from capi_llm.models.gateway_client import GatewayClient
from capi_llm.settings import Secret

ANSWER = "One two three four five"


def environment() -> dict[str, str]:
    return {**os.environ, "CAPI_LLM_GATEWAY_KEY": KEY}


def command(*argv: str) -> list[str]:
    return [sys.executable, "-m", "capi_llm", "chat", *argv]


def run(*argv: str, said: str | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(*argv), env=environment(), text=True, capture_output=True, input=said or "")


def test_the_answer_is_on_stdout_and_all_else_on_stderr(backends: Backends) -> None:
    done = run("--url", backends.url("good"), "What is a pod?")
    assert (done.returncode, done.stdout) == (0, f"{ANSWER}\n")
    assert MODEL in done.stderr
    assert KEY not in done.stdout + done.stderr
    body = backends.asked("good")[-1].body
    assert body["messages"] == [{"role": "user", "content": "What is a pod?"}]
    assert "max_tokens" not in body


def test_the_question_may_come_by_a_pipe(backends: Backends) -> None:
    done = run("--url", backends.url("good"), "--max-tokens", "7", said="Count.\nTo five.\n")
    assert (done.returncode, done.stdout) == (0, f"{ANSWER}\n")
    body = backends.asked("good")[-1].body
    assert body["messages"] == [{"role": "user", "content": "Count.\nTo five."}]
    assert body["max_tokens"] == 7


@pytest.mark.parametrize(
    ("kind", "answer", "said"),
    [
        ("empty-stream", "", "not one token"),
        ("cut", "One two three \n", "cut short"),
        ("error-later", "One two \n", "the worker died"),
        ("thinking", "", "gave no answer"),
        ("locked", "", "CAPI_LLM_GATEWAY_KEY"),
    ],
)
def test_a_failure_is_told(backends: Backends, kind: str, answer: str, said: str) -> None:
    env = environment() | ({"CAPI_LLM_GATEWAY_KEY": "sk-wrong-one"} if kind == "locked" else {})
    done = subprocess.run(
        command("--url", backends.url(kind), "Hello?"), env=env, text=True, capture_output=True
    )
    assert (done.returncode, done.stdout) == (1, answer)
    assert said in done.stderr
    assert "sk-wrong-one" not in done.stderr


@pytest.mark.parametrize(
    ("argv", "code", "said"),
    [
        (["--url", "http://127.0.0.1:9"], 2, "no question"),
        (["--url", "http://127.0.0.1:9", "Hi"], 1, "reached"),
    ],
)
def test_what_can_not_be_asked(argv: list[str], code: int, said: str) -> None:
    done = run(*argv)
    assert done.returncode == code
    assert said in done.stderr


def test_what_was_said_goes_along(backends: Backends) -> None:
    with GatewayClient(Gateway(backends.url("good"), key=Secret(KEY)), within=5) as client:
        conversation = Conversation(client, MODEL)
        assert "".join(conversation.ask("first")) == ANSWER
        # An answer that is ended is remembered as far as it came.
        for _ in conversation.ask("second"):
            break
        list(conversation.ask("third"))
    asked = [(item["role"], item["content"]) for item in backends.asked("good")[-1].body["messages"]]
    first, second = [("user", "first"), ("assistant", ANSWER)], [("user", "second"), ("assistant", "One ")]
    assert asked == [*first, *second, ("user", "third")]


def test_a_question_without_an_answer_is_forgotten(backends: Backends) -> None:
    with GatewayClient(Gateway(backends.url("empty-stream")), within=5) as client:
        conversation = Conversation(client, MODEL)
        with pytest.raises(GatewayFailed):
            list(conversation.ask("first"))
    assert conversation.said == ()


def test_an_answer_moves_no_cursor() -> None:
    assert printable("a\x1b[2J\x07b\tc\nd é 你") == "a[2Jb\tc\nd é 你"


class Terminal:
    """The command on a terminal of the test's own."""

    def __init__(self, *argv: str) -> None:
        self._own, other = pty.openpty()
        self.process = subprocess.Popen(
            command(*argv), env=environment(), stdin=other, stdout=other, stderr=other, start_new_session=True
        )
        os.close(other)
        self._said = ""

    def until(self, text: str) -> str:
        """What it says up to ``text``."""
        deadline = time.monotonic() + 60
        while text not in self._said:
            assert time.monotonic() < deadline, self._said
            if select.select([self._own], [], [], 0.2)[0]:
                try:
                    self._said += os.read(self._own, 4096).decode()
                except OSError:
                    raise AssertionError(self._said) from None
        before, _, self._said = self._said.partition(text)
        return before

    def type(self, text: str) -> None:
        os.write(self._own, text.encode())

    def interrupt(self) -> None:
        self.process.send_signal(signal.SIGINT)

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._own)


@pytest.fixture
def terminals() -> Iterator[list[Terminal]]:
    opened: list[Terminal] = []
    yield opened
    for terminal in opened:
        terminal.close()


def test_a_session_on_a_terminal(backends: Backends, terminals: list[Terminal]) -> None:
    terminals.append(Terminal("--url", backends.url("good")))
    (terminal,) = terminals
    terminal.until("> ")
    for number in (1, 2):
        terminal.type(f"Question {number}\n")
        assert ANSWER in terminal.until("> ")
    terminal.type("\x04")
    assert terminal.process.wait(30) == 0
    assert len(backends.asked("good")[-1].body["messages"]) == 3


def test_ctrl_c_ends_the_answer_and_then_the_session(backends: Backends, terminals: list[Terminal]) -> None:
    terminals.append(Terminal("--url", backends.url("endless")))
    (terminal,) = terminals
    terminal.until("> ")
    terminal.type("Count\n")
    terminal.until("two")
    terminal.interrupt()
    terminal.until("(ended)")
    terminal.until("> ")
    assert terminal.process.poll() is None
    terminal.interrupt()
    assert terminal.process.wait(30) == 130
