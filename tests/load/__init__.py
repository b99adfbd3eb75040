"""`make load`: many tenants at once through the Compose topology, measured."""
