"""What every way to a broker shares."""

from __future__ import annotations


class NotAvailable(Exception):
    """This machine has no broker to test on; the text says why."""
