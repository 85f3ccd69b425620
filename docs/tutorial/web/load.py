"""Asks a Service again and again, each time over a new connection and never twice, and says how many requests failed."""

import collections
import sys
import urllib.error
import urllib.request

url, count = sys.argv[1], int(sys.argv[2])
versions, failed = collections.Counter(), 0
for number in range(count):
    try:
        with urllib.request.urlopen(url, timeout=5) as reply:
            versions[reply.read().decode().split()[-1]] += 1
    except (urllib.error.URLError, OSError) as error:
        failed += 1
        print("failed:", error, flush=True)
    if number == 0:
        print("begun", flush=True)
print(f"{count} requests, {failed} failed, answers by version: {dict(versions)}", flush=True)
sys.exit(failed > 0)
