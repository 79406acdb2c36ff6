"""What `realm mcp` answers agents: tools over a RealmService, each answer bounded."""
