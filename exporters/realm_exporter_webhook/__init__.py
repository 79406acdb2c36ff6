"""Sends events to webhooks: by rules, and where an event names an address itself."""

from realm_exporter_webhook.exporter import WebhookExporter

__all__ = ["WebhookExporter"]
