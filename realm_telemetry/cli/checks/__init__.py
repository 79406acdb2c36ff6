"""What `realm doctor` looks at, one module for each part of an event's path."""
