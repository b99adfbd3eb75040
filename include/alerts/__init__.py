"""Incidents of a tenant's scans, and the alerts that people get about them. docs/alerts.md"""
