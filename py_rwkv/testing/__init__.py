"""Help for headless tests of other projects: pytest fixtures with a model that answers in a browser (docs/testing.md).

Nothing here is imported by the rest of the package. pytest loads `plugin` through an entry point, and that imports Playwright only when a fixture is used.
"""

from py_rwkv.testing.page import RwkvPage

__all__ = ["RwkvPage"]
