"""What CAIMI does in numbers, beside a peer that runs in the same minutes on the same machine.

`python3 tools/bootstrap.py bench`, or `make bench NAMES="..."`; docs/guide/benchmarks.md says how to read it.
"""
