"""Asks a Service again and again, each time over a new connection and never twice, and says how many requests failed.

Arguments: URL COUNT [SECONDS], where the requests are spread over at least that time. Four are under way at once.
"""

import collections
import concurrent.futures
import sys
import time
import urllib.error
import urllib.request

url, count = sys.argv[1], int(sys.argv[2])
pause = float(sys.argv[3]) / count if len(sys.argv) > 3 else 0
begin = time.monotonic()


def ask(number):
    """The version that answered."""
    time.sleep(max(0, begin + number * pause - time.monotonic()))
    try:
        with urllib.request.urlopen(url, timeout=5) as reply:
            return reply.read().decode().split()[-1]
    except (urllib.error.URLError, OSError) as error:
        print("failed:", error, flush=True)
        return None


versions = collections.Counter()
with concurrent.futures.ThreadPoolExecutor(4) as pool:
    for version in pool.map(ask, range(count)):
        if not versions:
            print("begun", flush=True)
        versions[version] += 1
failed = versions.pop(None, 0)
print(f"{count} requests, {failed} failed, answers by version: {dict(sorted(versions.items()))}", flush=True)
sys.exit(failed > 0)
