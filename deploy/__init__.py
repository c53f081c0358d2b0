"""How the services are deployed, and how they are run on one machine."""
