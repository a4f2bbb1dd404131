"""What can go wrong with a delivery, as the engine tells it apart. None of these ever holds the URL or the key.

Mistakes in the project's set-up are Django's ``ImproperlyConfigured`` and stand outside this tree: the engine
never swallows them.
"""

from __future__ import annotations


class RJMetricsError(Exception):
    """The root of this package's errors."""


class AlreadyRegistered(RJMetricsError):
    """The model has a mirror already."""


class NotRegistered(RJMetricsError):
    """The model has no mirror."""


class OpenTransaction(RJMetricsError):
    """A flush or a backfill was started inside an open transaction."""


class RecordError(RJMetricsError):
    """A record that can't become a data point; the text names the column and the type, never the value."""


class DeliveryError(RJMetricsError):
    """A batch that the API did not take.

    Attributes:
        status: the HTTP status, or None where no answer came.
        reasons: what the API said, as it said it.
        retry_after: seconds the API asked to be left alone for, or None.
        ambiguous: True where the API may have stored the batch, or may yet.
        everywhere: True where every mirror is affected, not this batch alone.
        final: True where only a person can mend it: trying again soon is no use.
    """

    ambiguous = False
    everywhere = False
    final = False

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        reasons: tuple[str, ...] = (),
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.reasons = reasons
        self.retry_after = retry_after

    def __str__(self) -> str:
        message = super().__str__()
        return f"{message} ({'; '.join(self.reasons)})" if self.reasons else message


class Refused(DeliveryError):
    """400 or 413: something in the batch is wrong, and sending it again will not help."""


class Unavailable(DeliveryError):
    """The API could not be reached or asked for a pause (429, 503): nothing was stored, all mirrors wait."""

    everywhere = True


class ServerError(DeliveryError):
    """Any other 5xx, or an answer that isn't the API's: trouble there, perhaps with this batch alone."""


class Ambiguous(DeliveryError):
    """No answer, a broken one, or a gateway's: the batch may have been stored, or may be any moment."""

    ambiguous = True


class CredentialsRefused(DeliveryError):
    """401, 404 or a redirect: the key, client id or address is wrong, for every mirror alike."""

    everywhere = True
    final = True


class AllRefused(DeliveryError):
    """Every record of a mirror is refused: the mirror's declaration is wrong, not the records."""

    final = True


class ReadFailed(DeliveryError):
    """The mirror's rows could not be read: its queryset, or the database, raised."""

    final = True
