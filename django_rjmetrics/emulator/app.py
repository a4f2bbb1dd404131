"""The Import API's answers: every check in its order, then the data is stored."""

from __future__ import annotations

import logging
from hmac import compare_digest

from . import control, validation
from .faults import FaultSet
from .messages import Call, Reply, Request, RequestError, code_reply
from .stats import Stats
from .store import Store

logger = logging.getLogger("django_rjmetrics.emulator")


class App:
    """Answers requests; knows nothing of sockets."""

    def __init__(self, client_id: int, api_key: str, store: Store) -> None:
        self.client_id = client_id
        self._api_key = api_key
        self.store = store
        self.stats = Stats()
        self.faults = FaultSet()

    def reset(self) -> None:
        """Empty the tables, the counts and the faults."""
        self.faults.set([])
        self.store.clear()
        self.stats.clear()

    def respond(self, request: Request) -> Reply:
        """Return the answer to a request; whatever goes wrong is an answer too."""
        try:
            if request.call is not None:
                return self._import_api(request, request.call)
            if control.owns(request.path):
                return control.respond(self, request)
            raise RequestError(404, "not found", ["there is nothing at this path"])
        except RequestError as refused:
            return refused.reply()
        except Exception:
            logger.exception("The emulator failed to answer a request.")
            return RequestError(500, "internal server error", ["see the emulator's log"]).reply()

    def _import_api(self, request: Request, call: Call) -> Reply:
        if request.method != call.method and (request.method, call.method) != ("HEAD", "GET"):
            refused = RequestError(405, "method not allowed", [f"this path takes {call.method}"])
            return refused.reply({"Allow": call.method})
        if call.kind == "status":
            return code_reply(200, "Data Import API v2 emulator; browse its tables at /_emulator/")
        self._check_credentials(request, call)
        if call.kind == "authenticate":
            return code_reply(200, "authenticated")
        validation.check_table(call.table)
        body = validation.check_size(request.body)
        validation.check_content_type(request.content_type)
        points = validation.parse_points(body)
        if not call.sandbox:
            self.store.add(call.table, points)
        self.stats.accepted(request, len(points))
        return code_reply(201, "created")

    def _check_credentials(self, request: Request, call: Call) -> None:
        if call.client != str(self.client_id):
            raise RequestError(404, "not found", ["there is no such client"])
        key = request.query.get("apikey")
        if key is None:
            raise RequestError(401, "unauthorized", ["the apikey parameter is missing"])
        if not compare_digest(key.encode(), self._api_key.encode()):
            raise RequestError(401, "unauthorized", ["the apikey parameter is not this client's key"])
