"""OpenTelemetry without code of ours: distro, configurator, configuration file."""
