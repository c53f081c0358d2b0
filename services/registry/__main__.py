"""`python -m services.registry serve` or `migrate`."""

import sys

from services.registry.bootstrap import INFO, build
from services.registry.config import RegistryOwnerSettings, RegistrySettings
from shared.service.main import main

if __name__ == "__main__":
    main(INFO.name, RegistrySettings, RegistryOwnerSettings, build, sys.argv[1:])
