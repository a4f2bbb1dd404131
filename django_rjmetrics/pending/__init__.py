"""What is pending, who is sending it, and what came of it: alone in touching the app's tables.

``marks`` is the writers' side: it appends, and never waits for anybody. ``claims`` is the workers': take keys
under a lease, and settle them. ``states`` keeps how delivery goes: back-off, pauses, rejections, the status.
"""
