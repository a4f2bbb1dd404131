"""The Data Import API v2 on this machine: for demos, tests and staging. It needs no Django."""

from .emulator import Emulator

__all__ = ["Emulator"]
