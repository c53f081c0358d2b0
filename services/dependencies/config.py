"""Owns the settings of the dependencies service; variables begin with DEPENDENCIES_."""

from pydantic_settings import SettingsConfigDict

from shared.service.config import OwnerSettings, ServiceSettings


class DependenciesSettings(ServiceSettings):
    """What the running dependencies needs."""

    model_config = SettingsConfigDict(env_prefix="DEPENDENCIES_")


class DependenciesOwnerSettings(OwnerSettings):
    """What migrating the dependencies's database needs."""

    model_config = SettingsConfigDict(env_prefix="DEPENDENCIES_")
