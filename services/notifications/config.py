"""Owns the settings of the notifications service; variables begin with NOTIFICATIONS_."""

from shared.service.config import OwnerSettings, ServiceSettings


class NotificationsSettings(ServiceSettings):
    """What the running notifications needs."""

    prefix = "NOTIFICATIONS_"


class NotificationsOwnerSettings(OwnerSettings):
    """What migrating the notifications's database needs."""

    prefix = "NOTIFICATIONS_"
