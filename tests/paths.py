"""Files outside the project that some tests use where they exist."""

from pathlib import Path

FIXTURES = Path(__file__).parents[2] / "shared" / "fixtures" / "rwkvcpp-tiny"
