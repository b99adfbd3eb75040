"""What the warehouse tells of tenants, scans and their deals: for the REST API and the page."""
