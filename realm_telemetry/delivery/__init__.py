"""Deliver events to receivers: retry, bisect, dead-letter. Exporters may import it."""
