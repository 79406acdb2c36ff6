"""The shipper: moves spools through processors into the log, and the log into exporters."""
