"""Owns the settings of the dependencies service; variables begin with DEPENDENCIES_."""

from shared.service.config import OwnerSettings, ServiceSettings


class DependenciesSettings(ServiceSettings):
    """What the running dependencies needs."""

    prefix = "DEPENDENCIES_"


class DependenciesOwnerSettings(OwnerSettings):
    """What migrating the dependencies's database needs."""

    prefix = "DEPENDENCIES_"
