"""The REST API and the page "HubSpot scans": an app at /hubspot-deals on Airflow's API server."""
