#!/usr/bin/env python3
"""Claims a sandbox with an environment, starts a process in it, follows its output, and releases it.

A file goes in before, and another one comes out after. All that this needs is Python's standard library:

    python3 claim.py [SOCKET]
"""

import base64
import http.client
import json
import socket
import sys
from urllib.parse import urlencode


class Connection(http.client.HTTPConnection):
    """A connection of HTTP over a unix socket."""

    def __init__(self, path):
        super().__init__("sandpool")
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.connect(self.path)


class Failure(Exception):
    """What the daemon refused or could not do; code is stable."""

    def __init__(self, error):
        super().__init__(error["message"])
        self.code = error["code"]


class Sandpool:
    """The API of the daemon that listens on a socket."""

    def __init__(self, path="/run/sandpool/sandpool.sock"):
        self.path = path

    def open(self, method, path, body=None, /, **query):
        """Sends bytes as they are, and all else as JSON; returns the answer to read from."""
        if query:
            path += "?" + urlencode(query)
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode()
        connection = Connection(self.path)
        connection.request(method, path, body)
        answer = connection.getresponse()
        if answer.status >= 400:
            raise Failure(json.load(answer))
        return answer

    def ask(self, method, path, body=None, /, **query):
        """Returns what the answer has as JSON, None for nothing."""
        with self.open(method, path, body, **query) as answer:
            text = answer.read()
            return json.loads(text) if text else None

    def lines(self, method, path, /, **query):
        """Yields the values of an answer that has one a line, as they come."""
        with self.open(method, path, **query) as answer:
            for line in answer:
                yield json.loads(line)


def main():
    pool = Sandpool(*sys.argv[1:2])
    claim = pool.ask("POST", "/v1/claims", {"env": ["NAME=world"], "lifetime": "10m", "metadata": {"example": "claim.py"}})
    at = "/v1/claims/" + claim["id"]
    try:
        pool.ask("PUT", at + "/files", b"what came in\n", path="/tmp/in.txt")
        script = 'echo "hello, $NAME"; for i in 1 2 3; do echo "step $i"; done; tr a-z A-Z </tmp/in.txt >/tmp/out.txt'
        process = pool.ask("POST", at + "/processes", {"args": ["sh", "-c", script]})
        for line in pool.lines("GET", f"{at}/processes/{process['pid']}/output", follow="true"):
            if "error" in line:
                raise Failure(line["error"])
            if "process" in line:  # the last line
                print("exit code", line["process"]["exit_code"])
            else:
                sys.stdout.write(base64.b64decode(line["data"]).decode(errors="replace"))
        with pool.open("GET", at + "/files", path="/tmp/out.txt") as content:
            sys.stdout.write(content.read().decode())
    finally:
        pool.ask("DELETE", at)


if __name__ == "__main__":
    main()
