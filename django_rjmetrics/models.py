"""The tables of the app. Writers only ever append to Mark; all other tables are written by workers alone.

``pending`` is the one module that touches them. Times that the protocol compares are readings of the
database's clock (see ``clock``).
"""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _


class Mark(models.Model):
    """Says that one record differs from the warehouse; written in the transaction that changed the record."""

    id = models.BigAutoField(primary_key=True)
    mirror = models.CharField(max_length=255)
    key = models.TextField()
    # The mirror's key columns of a deleted row, as JSON: a tombstone needs them and the row is gone.
    tombstone_keys = models.TextField(null=True)  # noqa: DJ001
    marked_at = models.BigIntegerField()

    class Meta:
        verbose_name = _("mark")
        verbose_name_plural = _("marks")
        indexes = [models.Index(fields=["mirror", "id"], name="rjmetrics_mark_mirror_id")]

    def __str__(self) -> str:
        return f"{self.mirror} {self.key}"


class Lease(models.Model):
    """One page of keys that one worker is sending, until ``expires_at``."""

    id = models.BigAutoField(primary_key=True)
    mirror = models.CharField(max_length=255, db_index=True)
    keys = models.TextField()
    expires_at = models.BigIntegerField()

    class Meta:
        verbose_name = _("lease")
        verbose_name_plural = _("leases")

    def __str__(self) -> str:
        return f"{self.mirror} lease {self.pk}"


class Rejection(models.Model):
    """A record that can't be sent, with the reason, until it is saved again, retried or discarded."""

    id = models.BigAutoField(primary_key=True)
    mirror = models.CharField(max_length=255)
    key = models.TextField()
    # Unique keys go by digest: collations compare 'abc', 'ABC' and 'abc ' as equal, and cap an index's width.
    key_digest = models.CharField(max_length=64)
    tombstone_keys = models.TextField(null=True)  # noqa: DJ001
    reason = models.TextField()
    rejected_at = models.DateTimeField()

    class Meta:
        verbose_name = _("rejected record")
        verbose_name_plural = _("rejected records")
        constraints = [
            models.UniqueConstraint(fields=["mirror", "key_digest"], name="rjmetrics_rejection_key")
        ]

    def __str__(self) -> str:
        return f"{self.mirror} {self.key}: {self.reason}"


class MirrorState(models.Model):
    """How one mirror's delivery goes; its row is what claims of the mirror are serialised by.

    The row named ``*`` speaks for all mirrors: the API down, or the key refused.
    """

    mirror = models.CharField(max_length=255, primary_key=True)
    claims = models.BigIntegerField(default=0)
    failures = models.IntegerField(default=0)
    resume_at = models.BigIntegerField(default=0)
    paused = models.BooleanField(default=False)
    last_success_at = models.DateTimeField(null=True)
    last_error = models.TextField(default="")
    last_error_at = models.DateTimeField(null=True)

    class Meta:
        verbose_name = _("mirror state")
        verbose_name_plural = _("mirror states")

    def __str__(self) -> str:
        return self.mirror
