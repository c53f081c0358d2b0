"""Owns the registry's settings; variables begin with REGISTRY_."""

from pydantic_settings import SettingsConfigDict

from shared.service.config import OwnerSettings, ServiceSettings


class RegistrySettings(ServiceSettings):
    """What the running registry needs."""

    model_config = SettingsConfigDict(env_prefix="REGISTRY_")


class RegistryOwnerSettings(OwnerSettings):
    """What migrating the registry's database needs."""

    model_config = SettingsConfigDict(env_prefix="REGISTRY_")
