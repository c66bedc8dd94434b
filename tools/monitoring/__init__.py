"""The tables from which `tools/gen_monitoring.py` writes the alert rules and the dashboard in `deploy/`."""
