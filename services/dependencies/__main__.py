"""`python -m services.dependencies serve` or `migrate`."""

import sys

from services.dependencies.bootstrap import INFO, build
from services.dependencies.config import DependenciesOwnerSettings, DependenciesSettings
from shared.service.main import main

if __name__ == "__main__":
    main(INFO.name, DependenciesSettings, DependenciesOwnerSettings, build, sys.argv[1:])
