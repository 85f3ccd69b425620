"""The tutorial's web app: `/` greets, `/info` says where it runs, `/healthz` is for probes, `/crash` ends it."""

import http.server
import json
import os
import signal
import sys
import threading

GREETING = os.environ.get("GREETING", "Hello")
INFO = {name: os.environ.get(name.upper(), "") for name in ("pod", "namespace", "node", "ip", "version")}


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/crash":
            os._exit(3)
        if self.path == "/info":
            body = json.dumps(INFO)
        elif self.path == "/healthz":
            body = "ok"
        else:
            body = f"{GREETING} from {INFO['pod']}, version {INFO['version']}"
        data = body.encode() + b"\n"
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, text, *values):
        if self.path != "/healthz":
            print(text % values, flush=True)


class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 128
    # what has begun is answered before the end
    daemon_threads = False


server = Server(("", 8080), Handler)
# process 1 of a container ignores signals that it does not ask for
signal.signal(signal.SIGTERM, lambda number, frame: threading.Thread(target=server.shutdown).start())
print("listening on 8080", flush=True)
server.serve_forever()
server.server_close()
sys.exit(0)
