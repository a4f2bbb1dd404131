from __future__ import annotations

import http.client
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode, urlsplit


@dataclass
class Answer:
    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def text(self) -> str:
        return self.body.decode()


class Client:
    """One keep-alive connection to an emulator."""

    def __init__(self, url: str) -> None:
        self.connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=10)

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.connection.close()

    def call(
        self, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None
    ) -> Answer:
        self.connection.request(method, path, body, headers or {})
        response = self.connection.getresponse()
        return Answer(response.status, response.headers, response.read())

    def get(self, path: str) -> Answer:
        return self.call("GET", path)

    def post(self, path: str, value: object = None) -> Answer:
        return self.call("POST", path, json.dumps(value).encode())

    def push(
        self,
        points: object,
        table: str = "orders",
        *,
        base: str = "/v2",
        client_id: str = "1",
        api_key: str | None = "emulator",
        content_type: str | None = "application/json",
    ) -> Answer:
        """Push points; bytes go as they are."""
        body = points if isinstance(points, bytes) else json.dumps(points).encode()
        query = "" if api_key is None else "?" + urlencode({"apikey": api_key})
        headers = {} if content_type is None else {"Content-Type": content_type}
        return self.call("POST", f"{base}/client/{client_id}/table/{table}/data{query}", body, headers)


def point(number: int, **fields: object) -> dict[str, object]:
    return {"keys": ["id"], "id": number, **fields}


def wait_until(condition: Callable[[], bool], seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.005)
