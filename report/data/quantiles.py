"""Computes quantiles of the inits in report/data/fleet with numpy, for a test of bantam-report.

It finds them by their text alone, whatever format a log has.
`pip install numpy && python3 report/data/quantiles.py > report/data/numpy.json`
"""

import gzip
import json
import pathlib
import re
import sys

import numpy

LOGS = pathlib.Path(__file__).parent / "fleet"
INIT = re.compile(rb'(?<!INIT_REPORT )Init Duration: ([0-9.]+) ms|initDurationMs[\\"]+:([0-9.]+)')

inits = [
    float(text or record)
    for path in sorted(LOGS.iterdir())
    for text, record in INIT.findall(gzip.decompress(path.read_bytes()))
]
quantiles = {"p50": 50, "p90": 90, "p95": 95, "p99": 99}
figures = {name: float(numpy.percentile(inits, q)) for name, q in quantiles.items()}
figures |= {"mean": float(numpy.mean(inits)), "min": min(inits), "max": max(inits)}
json.dump({"init_duration": figures}, sys.stdout, indent=2, sort_keys=True)
print()
