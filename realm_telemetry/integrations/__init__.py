"""Bridges from other libraries; importing this imports none of them."""
