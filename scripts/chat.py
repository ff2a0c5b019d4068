"""Asks LiteLLM at the URL of the first argument what the second one says.

Its key is read from stdin, in base64 as a Secret has it. LiteLLM takes seconds to start, so
that it does not answer yet is no failure for two minutes.
"""

from __future__ import annotations

import base64
import sys
import time

import httpx

MODEL = "ollama/tinyllama"
LONGEST_SECONDS = 120.0


def main() -> int:
    url, question = sys.argv[1:]
    key = base64.b64decode(sys.stdin.read()).decode()
    body = {"model": MODEL, "messages": [{"role": "user", "content": question}]}
    until = time.monotonic() + LONGEST_SECONDS
    while True:
        try:
            answer = httpx.post(
                f"{url}/v1/chat/completions",
                headers={"Authorization": f"Bearer {key}"},
                json=body,
                timeout=60,
            )
        except httpx.TransportError as error:
            if time.monotonic() > until:
                print(f"Error: LiteLLM does not answer: {error}", file=sys.stderr)
                print(
                    "  to go on: look at log/litellm.log of the cluster, see docs/gateway.md", file=sys.stderr
                )
                return 1
            time.sleep(0.5)
            continue
        break
    if answer.status_code != 200:
        print(f"Error: LiteLLM answers {answer.status_code}: {answer.text}", file=sys.stderr)
        return 1
    print(f"{MODEL} was asked: {question}")
    print(f"It says: {answer.json()['choices'][0]['message']['content']}")
    print("Real: the API server, the port-forward and LiteLLM. Simulated: the pod and the model.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
