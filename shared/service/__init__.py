"""How a service is put together and run; the parts that every service has."""
