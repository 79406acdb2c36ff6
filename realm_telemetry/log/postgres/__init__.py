"""PostgreSQL as the engine of the log: one server, any number of services beside each other."""
