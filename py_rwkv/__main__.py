"""`python -m py_rwkv` is `py-rwkv`."""

from py_rwkv.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
