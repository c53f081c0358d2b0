"""The services that own data; they know each other through topics only."""
