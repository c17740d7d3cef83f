"""The static site: fetch what it is made of, build it, serve it."""
