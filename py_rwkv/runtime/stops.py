"""Stop strings in streamed text: finds them across any cut, and holds back what may turn out to be the beginning of one."""

from __future__ import annotations

from collections.abc import Callable, Sequence


class StopMatcher:
    """The first stop string to be complete wins (of several complete at once, the one that began first). How the text is cut changes nothing.

    counts: asked with all of the text before a stop string whether it is one there.
    """

    def __init__(self, stops: Sequence[str] = (), counts: Callable[[str], bool] | None = None) -> None:
        self._stops = tuple(stop for stop in stops if stop)
        self._counts, self._said, self._held = counts, "", ""
        self.hit: str | None = None

    def feed(self, text: str) -> tuple[str, str | None]:
        """(text that is safe to show, the stop string that was hit or None). After a hit nothing more comes out; the stop string itself never does."""
        if self.hit is not None:
            return "", self.hit
        text = self._held + text
        found = [(at + len(stop), at, stop) for stop in self._stops if (at := self._find(text, stop)) >= 0]
        if found:
            _, at, self.hit = min(found)
            self._held = ""
            return text[:at], self.hit
        cut = len(text) - self._partial(text)
        self._held = text[cut:]
        if self._counts:
            self._said += text[:cut]
        return text[:cut], None

    def _find(self, text: str, stop: str) -> int:
        at = text.find(stop)
        while self._counts and at >= 0 and not self._counts(self._said + text[:at]):
            at = text.find(stop, at + 1)
        return at

    def flush(self) -> str:
        """The text held back, once it is certain that nothing follows."""
        text, self._held = self._held, ""
        return text

    def _partial(self, text: str) -> int:
        """Length of the longest end of `text` that begins a stop string."""
        longest = min(len(text), max(map(len, self._stops), default=1) - 1)
        return next((n for n in range(longest, 0, -1) if any(stop.startswith(text[-n:]) for stop in self._stops)), 0)
