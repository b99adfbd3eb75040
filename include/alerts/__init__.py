"""Incidents of a tenant's scans, and the alerts about them. See docs/alerts.md."""
