"""The project under test: makes requests of an OpenAI shape and judges what comes back. It knows nothing of who answers."""

from collections.abc import Callable, Iterable

Ask = Callable[[list[dict[str, str]]], str]


def capital(country: str, ask: Ask) -> str:
    """The last word of the answer, without its full stop."""
    answer = ask([{"role": "system", "content": "Answer briefly."}, {"role": "user", "content": f"What is the capital of {country}?"}])
    return answer.split()[-1].rstrip(".")


def best(logits: Iterable[float]) -> int:
    """The token with the highest logit."""
    values = list(logits)
    return values.index(max(values))
