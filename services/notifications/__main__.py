"""`python -m services.notifications serve` or `migrate`."""

import sys

from services.notifications.bootstrap import INFO, build
from services.notifications.config import NotificationsOwnerSettings, NotificationsSettings
from shared.service.main import main

if __name__ == "__main__":
    main(INFO.name, NotificationsSettings, NotificationsOwnerSettings, build, sys.argv[1:])
