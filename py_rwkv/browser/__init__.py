"""What needs Pyodide: the worker's Python side. Everything else in the package also runs natively."""
