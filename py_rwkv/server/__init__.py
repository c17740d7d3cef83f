"""OpenAI's API over HTTP, natively: an ASGI app around `chat/api.py`. Needs the extra `api` (starlette, uvicorn)."""
