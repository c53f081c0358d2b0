"""Owns the settings of the notifications service; variables begin with NOTIFICATIONS_."""

from pydantic_settings import SettingsConfigDict

from shared.service.config import OwnerSettings, ServiceSettings


class NotificationsSettings(ServiceSettings):
    """What the running notifications needs."""

    model_config = SettingsConfigDict(env_prefix="NOTIFICATIONS_")


class NotificationsOwnerSettings(OwnerSettings):
    """What migrating the notifications's database needs."""

    model_config = SettingsConfigDict(env_prefix="NOTIFICATIONS_")
