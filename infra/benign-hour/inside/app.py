#!/usr/bin/python3
"""The dynamic part of the web server's load: tells the site's version by asking git, and counts. Loopback only."""

import http.server
import itertools
import json
import subprocess

COUNT = itertools.count(1)


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        version = ""
        if self.path.endswith("/version"):
            asked = subprocess.run(["git", "-C", "/srv/www", "rev-parse", "HEAD"], capture_output=True, text=True, check=False)
            version = asked.stdout.strip()
        body = json.dumps({"count": next(COUNT), "version": version}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


http.server.ThreadingHTTPServer(("127.0.0.1", 8000), Handler).serve_forever()
