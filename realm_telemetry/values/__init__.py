"""Any Python value as a JSON value within limits."""
