"""Where the files beside the package are: in a checkout they lie next to `py_rwkv/`, in a wheel (and in the page) inside it."""

from __future__ import annotations

from pathlib import Path

PACKAGE = Path(__file__).resolve().parent


def _folder(name: str) -> Path:
    inside = PACKAGE / name
    return inside if inside.is_dir() else PACKAGE.parent / name


def shader_dir() -> Path:
    """The folder of the WGSL kernels, `shaders/`."""
    return _folder("shaders")


def web_dir() -> Path:
    """The folder of the page's sources, `web/`."""
    return _folder("web")


def checkout() -> Path | None:
    """The root of the source checkout the package runs from, or None when it was installed from a wheel."""
    root = PACKAGE.parent
    return root if (root / "pyproject.toml").is_file() and (root / "shaders").is_dir() else None
