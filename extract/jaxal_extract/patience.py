"""How long the Hugging Face hub is waited for."""

import threading
from collections.abc import Callable
from typing import Any

_SECONDS = 6.0  # a command without a network ends within 10, imports included


def first_answer(call: Callable[[], Any]) -> Any:
    """What `call`, a first question to the hub, returns or raises; TimeoutError after some seconds without an answer.

    The hub's library has limits for parts of a request, which add up, and none for name servers.
    """
    outcome: dict[str, Any] = {}

    def run():
        try:
            outcome["value"] = call()
        except BaseException as error:
            outcome["error"] = error

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(_SECONDS)
    if "error" in outcome:
        raise outcome["error"]
    if "value" not in outcome:
        raise TimeoutError(f"no answer within {_SECONDS:.0f} s")
    return outcome["value"]
